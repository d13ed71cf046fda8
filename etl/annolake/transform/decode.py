"""From the text of an answer to typed rows, unmapped fields and rejects.

A page that fits the contract is decoded in one call. Any other is decoded row by row, so that a row that does not fit
becomes a reject and its neighbours go through (docs/guarantees.md#nothing-dropped). Fields that the contract does not
name are learned from the first row that has them; from then on pages with them are decoded in one call too
(docs/architecture.md#fields-that-the-contract-does-not-name). Raises only for an answer that is no page, never for a
row.
"""

import codecs
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw

from annolake import contract
from annolake.transform.elements import Element, told_apart
from annolake.transform.guard import Guard
from annolake.transform.json_cut import Members, View, cut_answer, cut_array, is_readable, members, split_object
from annolake.transform.json_text import as_object, joined
from annolake.transform.misfits import check_json, misfit_at, misfit_of, surrogate_in
from annolake.transform.rejected import rejected
from annolake.transform.row_batch import DecodedRow, Page
from annolake.transform.row_types import MisfitError, Place, Rows
from annolake.transform.secrets import scrubbed
from annolake.transform.strict_decoder import MOST_LEARNED, StrictDecoder

_CHECKED_AT_ONCE = 1 << 20
_SETTLED_AT_ONCE = 16

NOT_KEPT = (*contract.RUNS.dropped, "share_url")
"""Fields of a run that are read and forgotten; one that the documents do not name holds a share token."""


class PageDecoder:
    """Decodes the pages of one endpoint. Safe to share between threads.

    It learns up to `most` fields that the contract does not name. What it has learned changes how fast a page is
    decoded, and nothing else.
    """

    def __init__(self, rows: Rows, *, most: int = MOST_LEARNED) -> None:
        self._rows = rows
        self._most = most
        self._strict = StrictDecoder(rows)
        self._open = msgspec.json.Decoder(rows.struct(None))
        self._learning = threading.Lock()

    def decode(
        self, body: bytes, *, archived: bool, unavailable: frozenset[str] = frozenset(), guard: Guard | None = None
    ) -> Page:
        """Decode the body of one answer of a list; `unavailable` are columns that it does not have.

        The `guard` takes out what is not to be kept. Raises ValueError where the body is cut off or no JSON array.
        """
        elements = self.read(body)
        if guard:
            elements = list(guard.elements(elements))
        met = told_apart(elements)
        rows = [
            DecodedRow(key, row, digest, unmapped, archived, "RUN", True, unavailable)
            for key, digest, (row, unmapped) in zip(met.keys, met.hashes(archived=archived), met.rows, strict=True)
        ]
        return Page(len(body), rows, met.rejects, keys=met.in_order)

    def read(self, body: bytes) -> list[Element]:
        """Decode a JSON array: of each element the normalized row and the text of its unmapped fields, or a reject.

        Raises ValueError where the body is cut off or no JSON array.
        """
        strict = self._strict  # another lane may learn meanwhile
        try:
            return self._read_at_once(body, strict)
        except (ValueError, RecursionError):
            return self._read_each(body, cut_array(body), strict, lambda taught: self._read_at_once(body, taught))

    def read_answer(self, body: bytes) -> tuple[list[Element], str | None]:
        """Do the same with a JSON object that has the array in `items`, and return the cursor in `next_cursor` too.

        A null array is an empty one. Without a cursor, or with an empty one, that is None.
        """
        strict = self._strict
        try:
            return self._answer_at_once(body, strict)
        except (ValueError, RecursionError):
            texts, cursor = _opened(body)
            return self._read_each(body, texts, strict, lambda taught: self._answer_at_once(body, taught)[0]), cursor

    def _read_at_once(self, body: bytes, strict: StrictDecoder) -> list[Element]:
        """Decode an array of rows that fit exactly; ValueError or RecursionError for any other."""
        _check_utf8(body)
        return [*self._settled(strict, strict.page.decode(body))]

    def _answer_at_once(self, body: bytes, strict: StrictDecoder) -> tuple[list[Element], str | None]:
        """Decode an object with such an array, and its cursor."""
        _check_utf8(body)
        answer = strict.answer.decode(body)
        return [*self._settled(strict, answer.items or [])], answer.next_cursor or None

    def _read_each(
        self,
        body: bytes,
        texts: Sequence[View],
        strict: StrictDecoder,
        at_once: Callable[[StrictDecoder], list[Element]],
    ) -> list[Element]:
        """Decode the elements of a body one by one, since `strict` could not read them `at_once`.

        Once something was learned from one of them all is tried again: most often each row has the field.
        """
        is_text = _is_utf8(body)
        fitting: list[tuple[View, Any]] = []
        others: dict[int, Element] = {}
        for at, text in enumerate(texts):
            try:
                fitting.append((text, strict.row.decode(text) if is_text else _decoded(bytes(text), strict)))
            except (ValueError, RecursionError) as error:
                others[at] = self._read_closely(bytes(text), error)
                if self._strict is not strict:
                    break
        if self._strict is not strict:
            with suppress(ValueError, RecursionError):  # once a page, for its other rows may bring new fields too
                return at_once(self._strict)
        elements = _in_place(others, self._settled_in_batches(strict, fitting))
        return elements + [self._read_row(text) for text in texts[len(elements) :]]

    def _settled_in_batches(self, strict: StrictDecoder, decoded: Sequence[tuple[View, Any]]) -> list[Element]:
        """Settle rows with their texts: of a batch in which one does not fit, each is read alone.

        Batches grow as long as all fit, so that many misfits have few rows read twice.
        """
        settled: list[Element] = []
        size = 1
        while batch := decoded[len(settled) : len(settled) + size]:
            try:
                settled += self._settled(strict, [row for _, row in batch])
                size = min(2 * size, _SETTLED_AT_ONCE)
            except MisfitError as error:
                texts = [text for text, _ in batch]
                settled += map(self._read_row, texts) if size > 1 else [self._read_closely(bytes(texts[0]), error)]
                size = 1
        return settled

    def _settled(self, strict: StrictDecoder, decoded: Sequence[Any]) -> Iterator[tuple[Any, bytes | None]]:
        """Normalize rows, and take their unmapped fields out of them. Raises MisfitError for the first that fails."""
        unmapped = strict.unmapped(decoded)
        self._rows.normalize(decoded)
        return zip(decoded, unmapped, strict=True)

    def _read_row(self, view: View) -> Element:
        text = bytes(view)
        try:
            return self._strictly(text)
        except (ValueError, RecursionError) as error:
            return self._read_closely(text, error)

    def _read_closely(self, text: bytes, error: Exception) -> Element:
        """Read a row that strict decoding refused with this error: it may fit all the same."""
        misfit = misfit_of(error)
        members = _members(text)
        if misfit and members and members.plain and members.compact:
            return rejected(text, members, self._rows, misfit)  # looking closer would find the same
        try:
            return self._patiently(text, members)
        except MisfitError as found:
            return rejected(text, members, self._rows, found)

    def decode_row(self, text: bytes) -> tuple[Any, bytes | None]:
        """Decode the text of one row into a normalized row and the JSON object of its unmapped fields.

        Raises MisfitError where the contract cannot hold the row.
        """
        try:
            return self._strictly(text)
        except (ValueError, RecursionError):
            return self._patiently(text, _members(text))

    def _strictly(self, text: bytes) -> tuple[Any, bytes | None]:
        """Decode a row that fits exactly; ValueError or RecursionError for any other."""
        strict = self._strict
        [element] = self._settled(strict, [_decoded(text, strict)])
        return element

    def _patiently(self, text: bytes, members: Members | None) -> tuple[Any, bytes | None]:
        """Decode a row member by member, and learn what the contract does not name."""
        try:
            text.decode()
        except UnicodeDecodeError:
            raise MisfitError("$", "not UTF-8 text") from None
        if members is None:
            raise MisfitError("$", "not a JSON object")
        there = members.there
        known, unknown = self._known_and_unknown(there)
        apart = {} if members.plain else self._texts_apart(known, unknown)
        if not members.plain or len(there) < len(members.pairs):
            text = joined((name, value) for name, value in known.items() if name not in apart)
        try:
            row = self._open.decode(text)
        except msgspec.ValidationError as error:
            raise misfit_at(error) from None
        except (ValueError, RecursionError):
            raise surrogate_in(known) from None
        for name, value in apart.items():
            setattr(row, self._rows.fields[name].name, Raw(value))
        self._rows.normalize((row,))
        whole = as_object(unknown)
        return row, None if whole is None else scrubbed(whole)

    def _known_and_unknown(self, there: Mapping[str, bytes]) -> tuple[Mapping[str, bytes], dict[str, bytes]]:
        """Return the texts of a row's known fields, and of what its unmapped fields are made of, which are learned."""
        unknown = {name: value for name, value in there.items() if name not in self._rows.names}
        known = {name: value for name, value in there.items() if name not in unknown} if unknown else there
        places = [("", name) for name in unknown]
        for field in self._rows.wrapped:
            if field in known and (beside := self._rows.beside(bytes(known[field]))):
                places += [(field, name) for name in beside]
                unknown[field] = joined(sorted(beside.items()))
        self._learn(places)
        return known, unknown

    def _texts_apart(self, known: Mapping[str, bytes], unknown: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the JSON columns' texts that are sound, and that msgspec all the same cannot read.

        Raises MisfitError where a text is no JSON.
        """
        for name, value in {**known, **unknown}.items():
            check_json(name, value)
        return {name: value for name, value in known.items() if name in self._rows.texts and not is_readable(value)}

    def _learn(self, places: Collection[Place]) -> None:
        if self._strict.extra.issuperset(places):
            return
        with self._learning:
            self._strict = self._strict.learning(places, self._most)


def _decoded(text: bytes, strict: StrictDecoder) -> Any:
    """Decode the text of one row; ValueError or RecursionError where it does not fit exactly."""
    _check_utf8(text)
    return strict.row.decode(text)


def _in_place(others: Mapping[int, Element], fitting: Sequence[Element]) -> list[Element]:
    """Return elements in their order: those that fit, and the others, whose places ascend."""
    elements, rest = list[Element](), iter(fitting)
    for at, other in others.items():
        elements += [*islice(rest, at - len(elements)), other]
    return [*elements, *rest]


def listed_rows() -> Rows:
    """Return how the rows of the runs listing are decoded."""
    fields = {column.runs: column for column in contract.RUNS.column if column.runs}
    return Rows(contract.RUNS, fields, name="Run", dropped=NOT_KEPT)


@cache
def runs_decoder() -> PageDecoder:
    """Return the decoder of the runs listing: one for the process, with what it has learned."""
    return PageDecoder(listed_rows())


def with_more(unmapped: bytes | None, more: Mapping[str, bytes]) -> bytes:
    """Return the text of a row's unmapped fields with the texts of `more` fields."""
    return scrubbed(joined(sorted({**(members(unmapped) if unmapped else {}), **more}.items())))


def _check_utf8(body: bytes) -> None:
    """Raise UnicodeDecodeError where a text is not UTF-8, for msgspec does not look into the JSON columns' text.

    A large one is decoded piece by piece, for all of it would be there again.
    """
    if body.isascii():  # measured: a third of the time
        return
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(body)
    for start in range(0, len(body), _CHECKED_AT_ONCE):
        decoder.decode(view[start : start + _CHECKED_AT_ONCE])
    decoder.decode(b"", final=True)


def _is_utf8(body: bytes) -> bool:
    try:
        _check_utf8(body)
    except UnicodeDecodeError:
        return False
    return True


def _opened(body: bytes) -> tuple[Sequence[View], str | None]:
    """Return the texts of an answer's elements and the cursor behind them, None at the end.

    Raises ValueError where it is no object with a list.
    """
    texts, others = cut_answer(body, "items")
    cursor = msgspec.json.decode(others.get("next_cursor", b"null"), type=str | None)
    return texts, cursor or None


def _members(text: bytes) -> Members | None:
    try:
        return split_object(text)
    except ValueError:
        return None
