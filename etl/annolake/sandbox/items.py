"""The platform's endpoints: the items of a queue by cursor, and their counts.

Owns cursors and the form of an item (metadata of RUN and THREAD rows, no payload).
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

from annolake.sandbox.answers import Answer, choice, integer, invalid, moment, required, text
from annolake.sandbox.queue import Queue, Section
from annolake.sandbox.rows import Row, instant, join, utc_text
from annolake.sandbox.runs import archived_between, told
from annolake.sandbox.showing import Showing

Cursors = Literal["offset", "keyset"]
"""What a cursor holds: a count of rows before it (it shifts with the list), or the row it stands behind."""

ProjectField = Literal["project_id", "session_id"]
"""What an item calls the project of its run: the second one until August 2026."""

ItemFilters = Literal["kept", "refused", "ignored", "listing ignores", "count ignores", "count refused"]
"""What becomes of item_type, min_start_time and max_start_time in the listing and in the count."""

SECTIONS = ("needs_my_review", "needs_others_review", "archived")

_TIMES = ("start_time", "added_at", "effective_added_at", "last_reviewed_time")
_SAME = ("thread_id", "reserved_by", "completed_by", "source_proposed_example_id")
_LONG_AGO, _FAR_OFF = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_NO_BOUND = 1  # the year of the zero time, which means no bound


def page(
    queue: Queue,
    query: Mapping[str, list[str]],
    *,
    page_cap: int | None,
    cursors: Cursors,
    project_field: ProjectField,
    filters: ItemFilters,
    showing: Showing,
) -> Answer:
    """Answer a page of one section: `items` in the order of the list, and the cursor behind them or null."""
    status = required(query, "status", SECTIONS)
    size = integer(query, "page_size", 100, low=1, high=100)
    backward = choice(query, "direction", ("forward", "backward")) == "backward"
    cursor = text(query, "cursor")
    if backward and cursor is None:
        raise invalid(("query", "cursor"), "Field required when direction is backward", "missing")
    pages = _Cursor(queue, _section(status), status, cursors)
    rows = _filtered(queue, status, query, filters, where="listing")
    at = pages.read(cursor, rows)
    size = min(size, page_cap or size)
    first, last = (max(0, at - size), at) if backward else (at, min(at + size, len(rows)))
    shown, reach = showing.window(rows[first:last], lambda row: item(queue, row, project_field))
    last = last if backward else first + reach
    edge, done = (first, first <= 0) if backward else (last, last >= len(rows))
    done |= showing.nothing or (showing.ends_when_short and len(shown) < size)
    texts = [showing.text(item(queue, row, project_field)) for row in shown]
    following = "null" if done else json.dumps(pages.write(edge, rows))
    body = b'{"items":[' + b",".join(texts) + b'],"next_cursor":' + following.encode() + b"}"
    return Answer(200, body, rows=len(texts))


def count(queue: Queue, query: Mapping[str, list[str]], filters: ItemFilters, showing: Showing) -> Answer:
    """Answer the number of items of a section, or of all, that the filters leave."""
    status = required(query, "status", ("all", *SECTIONS))
    rows = _filtered(queue, status, query, filters, where="count")
    if status == "archived":
        after = moment(text(query, "start_time"), ("query", "start_time"))
        before = moment(text(query, "end_time"), ("query", "end_time"))
        rows = archived_between(rows, after, before)
    return told({"count": len(rows)}, showing)


def item(queue: Queue, row: Row, project_field: ProjectField) -> bytes:
    """Return the JSON text of a row's item; what the row leaves out, the item leaves out."""
    there = row.members()
    texts = {
        "id": json.dumps(row.id).encode(),
        "queue_id": json.dumps(queue.id).encode(),
        "item_type": json.dumps(row.item_type).encode(),
        "run_id": json.dumps(row.run_id).encode(),
        project_field: there.get("session_id", b"null"),
        "assigned_to": json.dumps(queue.assigned_to(row.id)).encode(),
        "last_reviewed_time": b"null",
    }
    texts |= {name: utc_text(there[name]) for name in _TIMES if name in there}
    texts |= {name: there[name] for name in _SAME if name in there}
    return join(texts)


def _section(status: str) -> Section:
    return "archived" if status == "archived" else "active"


def _rows(queue: Queue, status: str) -> list[Row]:
    if status == "all":
        return [*queue.listing("active"), *queue.listing("archived")]
    return queue.listing(_section(status), state=None if status == "archived" else status)


def _filtered(
    queue: Queue, status: str, query: Mapping[str, list[str]], filters: ItemFilters, *, where: str
) -> Sequence[Row]:
    item_type = choice(query, "item_type", ("RUN", "THREAD"))
    low, high = (_bound(query, name) for name in ("min_start_time", "max_start_time"))
    if not (item_type or low or high) or filters in {"ignored", f"{where} ignores"}:
        return _rows(queue, status)
    if filters in {"refused", f"{where} refused"}:
        name = "item_type" if item_type else "min_start_time"
        raise invalid(("query", name), "Extra inputs are not permitted", "extra_forbidden")
    return _part(queue, status, item_type, low, high)


def _part(queue: Queue, status: str, item_type: str | None, low: datetime | None, high: datetime | None) -> list[Row]:
    """Return what the filters leave of a section; every request for a page of it asks, so it is remembered."""
    memory = _MEMORY.setdefault(queue, _Memory())
    if memory.events != len(queue.history):
        memory.parts, memory.types, memory.events = {}, {}, len(queue.history)
    filters = (status, item_type, low, high)
    if filters not in memory.parts:
        rows = memory.of_type(queue, status, item_type)
        if low or high:
            least, most = low or _LONG_AGO, high or _FAR_OFF
            rows = [(row, start) for row, start in rows if start is not None and least <= start <= most]
        memory.parts[filters] = [row for row, _ in rows]
    return memory.parts[filters]


@dataclass
class _Memory:
    """What was worked out for a queue: the start of each row, and parts of sections until something happens to it."""

    events: int = 0
    parts: dict[Any, list[Row]] = field(default_factory=dict)
    types: dict[Any, list[tuple[Row, datetime | None]]] = field(default_factory=dict)
    starts: dict[Row, datetime | None] = field(default_factory=dict)

    def of_type(self, queue: Queue, status: str, item_type: str | None) -> list[tuple[Row, datetime | None]]:
        if (status, item_type) not in self.types:
            rows = [row for row in _rows(queue, status) if item_type in (None, row.item_type)]
            self.types[status, item_type] = [(row, self._start(row)) for row in rows]
        return self.types[status, item_type]

    def _start(self, row: Row) -> datetime | None:
        if row not in self.starts:
            self.starts[row] = _instant(row.members().get("start_time"))
        return self.starts[row]


_MEMORY: WeakKeyDictionary[Queue, _Memory] = WeakKeyDictionary()


def _bound(query: Mapping[str, list[str]], name: str) -> datetime | None:
    at = moment(text(query, name), ("query", name))
    return None if at is None or at.year == _NO_BOUND else at


def within(start: bytes | None, low: datetime | None, high: datetime | None, *, unknown: bool) -> bool:
    """Tell whether a start time, as JSON text, lies in [low, high]; `unknown` is said of one not there."""
    at = _instant(start)
    if at is None:
        return unknown
    return (low is None or at >= low) and (high is None or at <= high)


@lru_cache(maxsize=100_000)  # the same rows are asked for again and again
def _instant(start: bytes | None) -> datetime | None:
    return instant(json.loads(start)) if start else None


class _Cursor:
    """Reads and writes the opaque cursors of one section."""

    def __init__(self, queue: Queue, section: Section, status: str, kind: Cursors) -> None:
        self._queue = queue
        self._section: Section = section
        self._status = status
        self._kind = kind

    def write(self, at: int, rows: Sequence[Row]) -> str:
        """Return the cursor that stands before `rows[at]`."""
        place: Any = at
        if self._kind == "keyset":
            # Behind the row before it: a row that joins right here later is read by whoever goes on.
            place = [*self._queue.sort_key(self._section, rows[at - 1]), 1] if at else [0, "", 0]
        return base64.urlsafe_b64encode(json.dumps([self._status, place]).encode()).decode()

    def read(self, cursor: str | None, rows: Sequence[Row]) -> int:
        """Return how many of `rows` stand before a cursor of this section; Refusal 422 for any other text."""
        if cursor is None:
            return 0
        try:
            status, place = json.loads(base64.urlsafe_b64decode(cursor))
            at = place if self._kind == "offset" else self._rows_before(place, rows)
        except (ValueError, TypeError):
            raise invalid(("query", "cursor"), "Invalid cursor", "value_error") from None
        if status != self._status:
            raise invalid(("query", "cursor"), "The cursor belongs to another status", "value_error")
        return min(int(at), len(rows))

    def _rows_before(self, place: list[Any], rows: Sequence[Row]) -> int:
        key, row_id, _ = place
        if not row_id:
            return 0
        return sum(self._queue.sort_key(self._section, row) <= (key, row_id) for row in rows)
