"""The answers of the items endpoint, decoded: the items of a section, and the runs of a query.

Owns what differs in form from the runs endpoint: where a column is (`items` in the contract: a field of the item, or of
the run that a query selects), enumerations in upper case, maps wrapped in `{"raw": ...}`, answers as an object with a
cursor. An element that does not fit never costs its neighbours. `join` makes rows of both.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import replace

from annolake.contract import RUNS
from annolake.transform.decode import NOT_KEPT, PageDecoder
from annolake.transform.elements import Element, told_apart
from annolake.transform.guard import Guard
from annolake.transform.row_batch import Reject
from annolake.transform.row_types import Rows

STATISTICS = "feedback_stats"
LAST_PARENT = "parent_run_ids[-1]"

_COLUMNS = {column.name: column for column in RUNS.column}
_ENUMERATIONS = ("run_type", "status")  # upper case here, lower case in the table


def _run_places() -> Mapping[str, tuple[str, str]]:
    places = ([c.name, *c.items.split(".")] for c in RUNS.column if c.items and c.items.startswith("run."))
    return {"thread_id": ("THREAD_ID", "thread_id")} | {name: (select, place) for name, _, select, place in places}


RUN_PLACES = _run_places()
"""The columns that a run has: the name to select, and the field it comes back in."""


class _RunRows(Rows):
    """Runs in the query's form."""

    def normalize(self, rows: Sequence[Any]) -> None:
        super().normalize(rows)
        for name in _ENUMERATIONS:
            for row in rows:
                if (value := getattr(row, name)) is not None:
                    setattr(row, name, value.lower())


class _ItemRows(Rows):
    """Items, which called their project by the column's own name until August 2026."""

    def normalize(self, rows: Sequence[Any]) -> None:
        for row in rows:
            if row.session_id is None:
                row.session_id = row.former_session_id
            row.former_session_id = None
        super().normalize(rows)


def item_rows() -> Rows:
    """Return how items are decoded."""
    told = {c.items.removeprefix("item."): c for c in RUNS.column if c.items and c.items.startswith("item.")}
    told["start_time"] = _COLUMNS["start_time"]
    told["session_id"] = replace(_COLUMNS["session_id"], name="former_session_id")
    fields = {name: replace(column, required=not column.nullable) for name, column in told.items()}
    return _ItemRows(RUNS, fields, name="Item", key="id", dropped=("queue_id", *NOT_KEPT))


def run_rows() -> Rows:
    """Return how the runs of a query are decoded."""
    columns = {place: _COLUMNS[name] for name, (_, place) in RUN_PLACES.items() if place != LAST_PARENT}
    fields = {place: replace(column, required=False) for place, column in columns.items()}
    fields["id"] = replace(_COLUMNS["id"], required=True)
    wrapped = [place for place, column in fields.items() if column.type.startswith("map<")]
    # query_metadata is about the query, not about the run
    dropped = ("query_metadata", *NOT_KEPT)
    return _RunRows(RUNS, fields, name="QueriedRun", key="id", dropped=dropped, wrapped=wrapped)


@cache
def _items() -> PageDecoder:
    return PageDecoder(item_rows())


@cache
def _runs() -> PageDecoder:
    return PageDecoder(run_rows())


class Item(msgspec.Struct, gc=False):
    """An item of a section: the row's metadata, normalized, and the text of its unmapped fields.

    `hash` is over all that the item itself says (docs/lake.md#item-hash). `run_id` is the run that is to be asked for,
    in the project of `project_id`; a THREAD has none, nor a RUN made from a proposed example. `start_time`: when the
    run, or the thread, began. `number` is the row's number in the index of its queue, once it was met.
    """

    key: bytes
    row: Any
    unmapped: bytes | None
    archived: bool
    hash: bytes
    run_id: str | None
    project_id: str | None
    start_time: datetime | None
    number: int = -1


class ItemsPage(msgspec.Struct):
    """One answer of a section: `keys` of all its elements in order, rejects included; `size` in bytes."""

    size: int
    cursor: str | None
    keys: list[bytes] = msgspec.field(default_factory=list)
    items: list[Item] = msgspec.field(default_factory=list)
    rejects: list[Reject] = msgspec.field(default_factory=list)


class RunsPage(msgspec.Struct):
    """One answer of a query: the runs by their id; one whose id cannot be read is left out. `size` in bytes."""

    size: int
    cursor: str | None
    runs: dict[str, Element] = msgspec.field(default_factory=dict)


def selects(*, include_stats: bool = True, without: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names that a query must select for the table: the id, and what the contract has from the run.

    Columns that are done `without` are not asked for.
    """
    left_out = {*without, *(() if include_stats else (STATISTICS,))}
    told = {select for name, (select, _) in RUN_PLACES.items() if name not in left_out}
    return ("ID", *sorted(told))


def decode_items(body: bytes, *, archived: bool, guard: Guard | None = None) -> ItemsPage:
    """Decode an answer of a section; the guard takes out what is not to be kept.

    Raises ValueError where the body is cut off or of another shape.
    """
    elements, cursor = _items().read_answer(body)
    met = told_apart(list(guard.elements(elements)) if guard else elements)
    items = [
        Item(key, row, unmapped, archived, digest, row.id, row.session_id, row.start_time)
        for key, digest, (row, unmapped) in zip(met.keys, met.hashes(archived=archived), met.rows, strict=True)
    ]
    return ItemsPage(len(body), cursor, met.in_order, items, met.rejects)


def decode_runs(body: bytes, *, guard: Guard | None = None) -> RunsPage:
    """Decode an answer of a query of runs; raises and guards as `decode_items` does."""
    elements, cursor = _runs().read_answer(body)
    page = RunsPage(len(body), cursor)
    for element in guard.elements(elements) if guard else elements:
        run_id = element.queue_run_id if isinstance(element, Reject) else element[0].id
        if run_id is not None:
            page.runs[run_id] = element
    return page
