"""The answers of the threads endpoint, decoded into rows of the table `turns`.

Owns what differs in form from the table: maps wrapped in `{"raw": ...}`, an answer as an object with a cursor, and that
a turn does not say which item it is a turn of.
"""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET

from annolake.contract import TURNS
from annolake.keys import joint_key_of
from annolake.transform.decode import PageDecoder
from annolake.transform.guard import Guard
from annolake.transform.row_batch import DecodedRow, Page, Reject
from annolake.transform.row_types import Rows, hash_seed, reader, row_hash

_COLUMNS = [column for column in TURNS.columns_of("field") if column.threads]
_PLACES = {column.name: (column.threads or "").split(".") for column in _COLUMNS}
"""The columns that a turn has: the name to select, and the field it comes back in."""

_Turn = msgspec.defstruct(
    "Turn",
    [
        ("queue_run_id", str),
        ("added_at", datetime | None),
        *((column.name, Any, UNSET if column.json else None) for column in _COLUMNS),
    ],
    omit_defaults=True,
    gc=False,
)
_read = reader(tuple(column.name for column in _COLUMNS))


class Thread(msgspec.Struct, frozen=True):
    """A THREAD item, and where its turns are asked for."""

    queue_run_id: str
    thread_id: str
    project_id: str
    added_at: datetime | None

    @classmethod
    def of_row(cls, row: Any) -> "Thread | None":
        """Return the thread of an item's typed values; None of a RUN, and where it says too little to be asked for."""
        if row.item_type != "THREAD" or not row.thread_id or not row.session_id:
            return None
        return cls(row.queue_run_id, row.thread_id, row.session_id, row.added_at)


class TurnsPage(Page):
    """One answer of a thread, and the cursor behind it, None at the thread's end."""

    cursor: str | None = None


def turn_rows() -> Rows:
    """Return how turns are decoded."""
    fields = {_PLACES[column.name][1]: column for column in _COLUMNS}
    wrapped = [place for place, column in fields.items() if column.type.startswith("map<")]
    return Rows(TURNS, fields, name="WireTurn", key="trace_id", wrapped=wrapped)


@cache
def _decoder() -> PageDecoder:
    return PageDecoder(turn_rows())


def turn_selects(*, without: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of the fields that the table wants, but for columns that are done `without`."""
    return tuple(select for name, (select, _) in _PLACES.items() if name not in without)


def decode_turns(body: bytes, thread: Thread, *, guard: Guard | None = None) -> TurnsPage:
    """Decode an answer; the guard takes out what is not to be kept.

    Raises ValueError where the body is cut off or of another shape.
    """
    elements, cursor = _decoder().read_answer(body)
    page = TurnsPage(len(body), cursor=cursor)
    for element in guard.elements(elements) if guard else elements:
        if isinstance(element, Reject):
            reject = _of_item(element, thread)
            page.keys.append(reject.key)
            page.rejects.append(reject)
            continue
        sent, unmapped = element
        row: Any = _Turn(thread.queue_run_id, thread.added_at, *_read(sent))
        page.keys.append(joint_key_of(thread.queue_run_id, row.trace_id))
        digest = row_hash(row, hash_seed(unmapped or b""))
        page.rows.append(DecodedRow(page.keys[-1], row, digest, unmapped, archived=False))
    return page


def _of_item(reject: Reject, thread: Thread) -> Reject:
    """Return a reject by the key that its row would have; its name is that key, for an id alone is none."""
    if reject.queue_run_id is None:
        return reject
    key = joint_key_of(thread.queue_run_id, reject.queue_run_id)
    return Reject(key, key.hex(), reject.path, reject.reason, reject.text)
