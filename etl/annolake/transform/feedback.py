"""The answers of the feedback endpoint, decoded into rows of the table `feedback`.

Owns what differs in form from the table: the author stands in an object of its own, scores can be true and false. The
members of that object that the contract does not name are unmapped fields like any other. Whether the author is a
reviewer of the row is added here, for it is part of the hash.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import astuple, replace

from annolake.contract import FEEDBACK
from annolake.keys import key_of
from annolake.transform.decode import PageDecoder, with_more
from annolake.transform.guard import NO_GUARDS, Guards
from annolake.transform.json_cut import members
from annolake.transform.json_text import joined, without_lone_surrogates
from annolake.transform.row_batch import DecodedRow, Page, Reject
from annolake.transform.row_types import MisfitError, Rows, hash_seed, json_type, row_hash

Reviewers = Mapping[str, Collection[str] | None]
"""Who has completed a row, by the run (in lower case) or the thread that it is of; None: not known."""

_SOURCE = "feedback_source"
_COLUMNS = FEEDBACK.columns_of("field")
_FROM_SOURCE = {c.name: c.feedback.partition(".")[2] for c in _COLUMNS if c.feedback and "." in c.feedback}
"""The columns that come from the source, each with the member it stands in."""
_METADATA = "source_metadata"

_Source = msgspec.defstruct(
    "Source",
    [(name, Raw | UnsetType, UNSET) if name == _METADATA else (name, str | None, None) for name in _FROM_SOURCE],
    rename=_FROM_SOURCE,
    forbid_unknown_fields=True,
)
_source = msgspec.json.Decoder(_Source | None)
_text = msgspec.json.Decoder(str | None)

_OWN = {"in_rubric": bool | None, "by_reviewer": bool | None}
_Feedback = msgspec.defstruct(
    "Feedback",
    [(c.name, json_type(c), UNSET if c.json else None) for c in _COLUMNS]
    + [(name, kind, None) for name, kind in _OWN.items()],
    omit_defaults=True,
    gc=False,
)

# How a row comes out of what was sent: measured, a quarter of the time that its 22 columns take by their names.
_SENT = [c.name for c in _COLUMNS if c.name not in _FROM_SOURCE]
_sent_values = attrgetter(*_SENT)
_in_order = itemgetter(*([*_SENT, *_FROM_SOURCE].index(c.name) for c in _COLUMNS))


class _FeedbackRows(Rows):
    """Feedback in the endpoint's form; the source becomes a pair: what the columns hold, and the members beside.

    With `owned` one that is on neither a run nor a thread does not fit.
    """

    owned = False

    def normalize(self, rows: Sequence[Any]) -> None:
        super().normalize(rows)
        for row in rows:
            if self.owned and owner_of(row) is None:
                raise MisfitError("$.run_id", "on neither a run nor a thread")
            if isinstance(row.score, bool):
                row.score = float(row.score)
            row.feedback_source = _read_source(row.feedback_source)


def feedback_rows(*, owned: bool = False) -> Rows:
    """Return how feedback is decoded, all of it or that on runs and threads."""
    fields = {c.feedback: c for c in _COLUMNS if c.feedback and "." not in c.feedback}
    fields["key"] = replace(fields["key"], nullable=True)  # it must be there, and may be empty
    fields[_SOURCE] = replace(next(c for c in _COLUMNS if c.json), name=_SOURCE)
    rows = _FeedbackRows(FEEDBACK, fields, name="WireFeedback", key="id")
    rows.owned = owned
    return rows


@cache
def _decoder(*, owned: bool) -> PageDecoder:
    return PageDecoder(feedback_rows(owned=owned))


def decode_feedback(body: bytes, *, reviewers: Reviewers, guards: Guards = NO_GUARDS, owned: bool = False) -> Page:
    """Decode an answer. Raises ValueError where the body is cut off or no JSON array.

    `reviewers` tells of the runs and threads that were asked for who has completed their rows, as the table runs has
    them. The guards take out what is not to be kept. `owned`: what is on neither a run nor a thread is a reject.
    """
    page, guard = Page(len(body)), guards.feedback
    for element in _decoder(owned=owned).read(body):
        if isinstance(element, Reject):
            page.rejects.append(guard.reject(element) if guard else element)
            page.keys.append(page.rejects[-1].key)
            continue
        row, unmapped = _in_columns(*element)
        row.by_reviewer = _by_reviewer(row, reviewers, guards)
        if guard:
            guard.row(row)
            unmapped = None
        page.keys.append(key_of(row.id))
        digest = row_hash(row, hash_seed(unmapped or b""))
        page.rows.append(DecodedRow(page.keys[-1], row, digest, unmapped, archived=False))
    return page


def owner_of(row: Any) -> str | None:
    """Return the run that a feedback is on (in lower case), else the thread; None where it is on neither."""
    owner: str | None = row.run_id.lower() if row.run_id else row.thread_id
    return owner or None


def plain_texts(values: Collection[str | None]) -> list[str | None]:
    """Return what each JSON text says where it is a string, a number or a bool, else None."""
    return [None if value is None else _plain_text(value) for value in values]


def _plain_text(value: str) -> str | None:
    if value.startswith('"'):
        text: str | None = _text.decode(without_lone_surrogates(value.encode()))
        return text
    return None if value.startswith(("{", "[")) or value == "null" else value


def _in_columns(sent: Any, unmapped: bytes | None) -> tuple[Any, bytes | None]:
    """Return a row of the table and the text of its unmapped fields, those of the source among them."""
    source, beside = sent.feedback_source
    if beside:
        unmapped = with_more(unmapped, {_SOURCE: joined(sorted(beside.items()))})
    return _Feedback(*_in_order((*_sent_values(sent), *astuple(source)))), unmapped


def _by_reviewer(row: Any, reviewers: Reviewers, guards: Guards) -> bool | None:
    """Tell whether the author is a reviewer, in either identity space; None where one of both is not known."""
    owner = owner_of(row) or ""
    there = reviewers[owner] if owner in reviewers else reviewers.get(row.thread_id or "")
    authors = {guards.reviewer(each) for each in (row.user_id, row.ls_user_id) if each is not None}
    return None if there is None or not authors else not authors.isdisjoint(there)


def _read_source(text: Raw | UnsetType) -> tuple[Any, Mapping[str, bytes]]:
    """Return the columns that a source holds, and its other members. Raises MisfitError."""
    if text is UNSET:
        return _Source(), {}
    try:
        return _source.decode(text) or _Source(), {}
    except (ValueError, RecursionError):
        return _read_members(bytes(text))


def _read_members(text: bytes) -> tuple[Any, Mapping[str, bytes]]:
    try:
        there = dict(members(text))
    except ValueError:
        raise MisfitError(f"$.{_SOURCE}", "not a JSON object") from None
    source = _Source()
    read: Callable[[bytes], Any]
    for column, name in _FROM_SOURCE.items():
        if name in there:
            read = Raw if column == _METADATA else _text.decode
            try:
                setattr(source, column, read(bytes(there.pop(name))))
            except ValueError:
                raise MisfitError(f"$.{_SOURCE}.{name}", "not a text") from None
    return source, {name: bytes(value) for name, value in there.items()}
