"""From the text of an answer to typed rows, unmapped fields and rejects.

A page that fits the contract is decoded in one call. Any other is decoded row by row, so that a row that does not fit
becomes a reject and its neighbours go through (docs/guarantees.md#nothing-dropped). Raises only for an answer that is
no page, never for a row.
"""

import codecs
import hashlib
import json
from typing import Any

import msgspec
from msgspec import Raw

from annolake import contract
from annolake.keys import KEY_BYTES, key_of
from annolake.transform.json_text import split_array, split_object
from annolake.transform.row_batch import DecodedRow, Page, Reject
from annolake.transform.row_types import Key, MisfitError, Rows, hash_seed, row_hash
from annolake.transform.secrets import scrubbed, scrubbed_words

_CHECKED_AT_ONCE = 1 << 20

NOT_KEPT = (*contract.RUNS.dropped, "share_url")
"""Fields of a run that are read and forgotten; one that the documents do not name holds a share token."""


class PageDecoder:
    """Decodes the pages of one endpoint. Safe to share between threads."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._page = msgspec.json.Decoder(list[rows.strict])  # type: ignore[name-defined]  # made at run time
        self._strict = msgspec.json.Decoder(rows.strict)
        self._open = msgspec.json.Decoder(rows.open)

    def decode(self, body: bytes, *, archived: bool, unavailable: frozenset[str] = frozenset()) -> Page:
        """Decode the body of one answer of a list; `unavailable` are columns that it does not have.

        Raises ValueError where the body is cut off or no JSON array.
        """
        which, buffer = b"archived" if archived else b"active", bytearray()
        usual_seed = hash_seed(which, b"")

        def decoded(row: Any, unmapped: bytes | None) -> DecodedRow:
            seed = usual_seed if unmapped is None else hash_seed(which, unmapped)
            digest = row_hash(row, seed, buffer)
            return DecodedRow(key_of(row.queue_run_id), row, digest, unmapped, archived, "RUN", True, unavailable)

        elements = [each if isinstance(each, Reject) else decoded(*each) for each in self.read(body)]
        rows = [each for each in elements if isinstance(each, DecodedRow)]
        rejects = [each for each in elements if isinstance(each, Reject)]
        return Page(len(body), rows, rejects, [each.key for each in elements])

    def read(self, body: bytes) -> list[tuple[Any, bytes | None] | Reject]:
        """Decode a JSON array: of each element the normalized row and the text of its unmapped fields, or a reject.

        Raises ValueError where the body is cut off or no JSON array.
        """
        rows = self._fitting(body)
        if rows is None:
            return [self._read_row(text) for text in split_array(body)]
        return [(row, None) for row in rows]

    def _fitting(self, body: bytes) -> list[Any] | None:
        """Decode and normalize all rows of a page at once, None where one of them does not fit the contract exactly."""
        try:
            _check_utf8(body)  # msgspec does not look whether the JSON columns' text is
            rows: list[Any] = self._page.decode(body)
            for row in rows:
                self._rows.normalize(row)
        except (ValueError, RecursionError):
            return None
        return rows

    def _read_row(self, text: bytes) -> tuple[Any, bytes | None] | Reject:
        try:
            return self.decode_row(text)
        except MisfitError as misfit:
            return _reject(text, self._rows, misfit)

    def decode_row(self, text: bytes) -> tuple[Any, bytes | None]:
        """Decode the text of one row into a normalized row and the JSON object of its unmapped fields.

        Raises MisfitError where the contract cannot hold the row.
        """
        try:
            text.decode()
        except UnicodeDecodeError:
            raise MisfitError("$", "not UTF-8 text") from None
        try:
            row, unmapped = self._strict.decode(text), None
        except (ValueError, RecursionError):
            row, unmapped = self._patiently(text)
        self._rows.normalize(row)
        return row, unmapped

    def _patiently(self, text: bytes) -> tuple[Any, bytes | None]:
        known, unknown = self._members(text)
        for name, value in {**known, **unknown}.items():
            _check_json(name, value)
        apart = {name: value for name, value in known.items() if self._is_text_apart(name, value)}
        plain = b",".join(_quoted(name) + b":" + value for name, value in known.items() if name not in apart)
        try:
            row = self._open.decode(b"{" + plain + b"}")
        except msgspec.ValidationError as error:
            raise _misfit(error) from None
        except (ValueError, RecursionError):
            raise _surrogate(known) from None
        for name, value in apart.items():
            setattr(row, self._rows.fields[name].name, Raw(value))
        if not unknown:
            return row, None
        members = b",".join(_quoted(name) + b":" + unknown[name] for name in sorted(unknown))
        return row, scrubbed(b"{" + members + b"}")

    def _members(self, text: bytes) -> tuple[dict[str, bytes], dict[str, bytes]]:
        try:
            members = {json.loads(name): value for name, value in split_object(text)}
        except ValueError:
            raise MisfitError("$", "not a JSON object") from None
        known = {name: value for name, value in members.items() if name in self._rows.names}
        unknown = {name: value for name, value in members.items() if name not in known}
        beside = {name: self._rows.beside(name, value) for name, value in known.items()}
        return known, unknown | {name: text for name, text in beside.items() if text is not None}

    def _is_text_apart(self, name: str, value: bytes) -> bool:
        """Whether a JSON column's text is sound JSON that msgspec all the same cannot read."""
        column = self._rows.fields.get(name)
        return column is not None and column.json and not _plain(value)


def runs_decoder() -> PageDecoder:
    """Return the decoder of the runs listing."""
    fields = {column.runs: column for column in contract.RUNS.column if column.runs}
    return PageDecoder(Rows(contract.RUNS, fields, name="Run", dropped=NOT_KEPT))


_queue_record = PageDecoder(
    Rows(
        contract.QUEUES, {column.queue: column for column in contract.QUEUES.column if column.queue}, name="QueueRecord"
    )
)


def decode_queue(body: bytes) -> DecodedRow:
    """Decode a queue's own record, as a row of the table `queues`.

    Raises MisfitError, a ValueError, where the body is no such record.
    """
    row, unmapped = _queue_record.decode_row(body)
    return DecodedRow(b"", row, row_hash(row, hash_seed(unmapped or b"")), unmapped, archived=False)


def _check_utf8(body: bytes) -> None:
    """Raise UnicodeDecodeError where a text is not UTF-8; a large one piece by piece, for it would be there again."""
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(body)
    for start in range(0, len(body), _CHECKED_AT_ONCE):
        decoder.decode(view[start : start + _CHECKED_AT_ONCE])
    decoder.decode(b"", final=True)


def _quoted(name: str) -> bytes:
    return json.dumps(name).encode()


def _plain(value: bytes) -> bool:
    try:
        msgspec.json.decode(value, type=Raw)
    except (ValueError, RecursionError):
        return False
    return True


def _check_json(name: str, value: bytes) -> None:
    """Raise MisfitError where a field's value is no JSON (NaN, cut words); lone surrogate escapes are."""
    if _plain(value):
        return
    try:
        json.loads(value, parse_constant=_refuse_constant)
    except RecursionError:
        raise MisfitError(f"$.{_printable(name)}", "nested too deeply to be read") from None
    except ValueError:
        raise MisfitError(f"$.{_printable(name)}", "not JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _printable(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()[:100]


def _surrogate(known: dict[str, bytes]) -> MisfitError:
    name = next((name for name, value in known.items() if not _plain(value)), None)
    return MisfitError(f"$.{name}" if name else "$", "a lone surrogate escape, which no text can hold")


def _misfit(error: msgspec.ValidationError) -> MisfitError:
    reason, _, path = str(error).partition(" - at `")
    if reason.startswith("Object missing required field `"):
        return MisfitError("$." + reason.split("`")[1], "missing, and required by the contract")
    return MisfitError(path.rstrip("`") or "$", reason)


def _reject(text: bytes, rows: Rows, misfit: MisfitError) -> Reject:
    queue_run_id = None
    try:
        members = [(json.loads(name), value) for name, value in split_object(text)]
    except ValueError:
        shown = scrubbed(text)
    else:
        kept = [
            scrubbed(_quoted(name) + b":" + scrubbed(value, urls=name in rows.url_fields))
            for name, value in members
            if name not in rows.dropped
        ]
        shown = b"{" + b",".join(kept) + b"}"
        queue_run_id = _readable_id(dict(members).get(rows.key, b"null"))
    key = hashlib.blake2b(shown, digest_size=KEY_BYTES).digest() if queue_run_id is None else key_of(queue_run_id)
    path = scrubbed_words(misfit.path)
    return Reject(key, queue_run_id, path, misfit.reason, shown.decode(errors="backslashreplace"))


def _readable_id(value: bytes) -> str | None:
    try:
        return msgspec.json.decode(value, type=Key)
    except ValueError:
        return None
