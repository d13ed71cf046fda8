"""An item and its run, joined to one row of the table.

Owns the row that both make, its hash, and the columns that the two answers could not tell, whose stored values stay
(docs/guarantees.md#nothing-dropped). A run that does not fit the contract rejects its own item alone.

Two columns have a second source, for where the first is null: `start_time` is the item's where the run has none or was
not found, `thread_id` the run's where the item has none.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

from annolake.contract import RUNS
from annolake.transform.elements import Element
from annolake.transform.items import LAST_PARENT, RUN_PLACES, STATISTICS, Item, run_rows
from annolake.transform.json_cut import members
from annolake.transform.json_text import as_object
from annolake.transform.row_batch import DecodedRow, Reject, RowBatch
from annolake.transform.row_types import hash_seed, row_hash

_TOLD = tuple(column for column in RUNS.column if column.items)
_OF_RUN = frozenset(RUN_PLACES) - {"thread_id"}
_OF_ITEM = tuple(column.name for column in _TOLD if column.name not in _OF_RUN)
_PARENT = next(name for name, (_, place) in RUN_PLACES.items() if place == LAST_PARENT)
_COPIED = tuple(name for name in RUN_PLACES if name in _OF_RUN and name != _PARENT)

_Row = msgspec.defstruct(
    "JoinedRow", [(column.name, Any, UNSET if column.json else None) for column in _TOLD], omit_defaults=True, gc=False
)
_NO_RUN: Any = run_rows().struct(None)(id="")


def join(
    items: Iterable[Item], runs: Mapping[str, Element], *, include_stats: bool = True, own: Collection[str] = ()
) -> RowBatch:
    """Join items with those of their runs that were found; `include_stats` as the runs were selected.

    `own` are runs whose descendants' usage the service refused to report: what is stored of their usage stays.
    """
    batch, buffer = RowBatch(), bytearray()
    usual = _unavailable(None, found=True, unmapped=None, include_stats=include_stats)
    for item in items:
        run_id = item.run_id
        run = runs.get(run_id) if run_id else None
        if isinstance(run, Reject):
            path = f"$.run{run.path.removeprefix('$')}"
            batch.rejects.append(Reject(item.key, item.row.queue_run_id, path, run.reason, run.text))
        else:
            row = _joined(item, run, buffer, usual, include_stats=include_stats, own=run_id in own)
            batch.rows.append(row)
    return batch


def _joined(
    item: Item,
    run: tuple[Any, bytes | None] | None,
    buffer: bytearray,
    usual: frozenset[str],
    *,
    include_stats: bool,
    own: bool,
) -> DecodedRow:
    """Return the row; `usual` are the columns that stay where all that is asked for was told."""
    unmapped, found = item.unmapped, bool(run) if item.run_id else None
    of_run = _NO_RUN
    if run:
        of_run, unmapped = run[0], _merged(item.unmapped, run[1])
    in_order = _in_order(item.row.__class__, of_run.__class__)
    row: Any = _Row(*in_order((*astuple(item.row), *astuple(of_run), (of_run.parent_run_ids or [None])[-1])))
    if row.start_time is None:
        row.start_time = item.start_time
    if row.thread_id is None:
        row.thread_id = of_run.thread_id
    # the item's hash is among them: a row is written anew whenever its item changes, be it in a field of no column
    parts = [b"items", item.hash.hex().encode(), str(found).encode(), unmapped or b""]
    unavailable = usual
    if unmapped or not found:
        unavailable = _unavailable(row, found=found, unmapped=unmapped, include_stats=include_stats)
    if own:  # equal numbers mean another thing once descendants are reported
        parts.append(b"own usage")
        unavailable |= _OF_DESCENDANTS
    digest = row_hash(row, hash_seed(*parts), buffer)
    return DecodedRow(
        item.key, row, digest, unmapped, item.archived, row.item_type, found, unavailable, item.number, item.hash
    )


@cache
def _in_order(item: Any, run: Any) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return what puts the values of an item, of a run and its parent into the order of the table.

    Measured, a row: 1.2 us with `astuple`, 2.0 where attributes are read by name, 30 where they are set by it.
    """
    of_item, of_run = item.__struct_fields__, run.__struct_fields__
    places = {name: place for place, name in enumerate(of_run, len(of_item)) if name in _COPIED}
    places |= {name: place for place, name in enumerate(of_item) if name in _OF_ITEM}
    places[_PARENT] = len(of_item) + len(of_run)
    return itemgetter(*(places[column.name] for column in _TOLD))


def _merged(of_item: bytes | None, of_run: bytes | None) -> bytes | None:
    """Return the unmapped fields of an item and its run as one object; the item's get a prefix where both have one."""
    if of_item is None or of_run is None:
        return of_item or of_run
    item, run = members(of_item), members(of_run)
    return as_object({**{(f"item.{name}" if name in run else name): text for name, text in item.items()}, **run})


# --- what could not be known


def _dependants(names: Iterable[str]) -> frozenset[str]:
    """Return the columns, with those that are computed from them."""
    known = frozenset(names)
    return known | {c.name for c in RUNS.column if c.source and known.intersection(re.findall(r"\w+", c.source))}


_NEVER = _dependants(column.name for column in RUNS.columns_of("field") if not column.items)
_WITHOUT_RUN = _NEVER | _dependants(_OF_RUN - {"start_time"})
_OF_DESCENDANTS = _dependants(
    # The service adds descendants to tokens and costs, and tells the first token of them all (the public SDK's words).
    ["first_token_time", *(c.name for c in RUNS.columns_of("field") if c.unit in {"tokens", "USD"})]
)


def _unavailable(row: Any, *, found: bool | None, unmapped: bytes | None, include_stats: bool) -> frozenset[str]:
    """Return the columns whose stored value stays: one of few sets.

    `unmapped` is among them where nothing is in it, since this endpoint does not send what the runs listing
    does beyond the contract. A stored `unmapped` stays until there is another one.
    """
    unavailable = _NEVER
    if found is False:
        unavailable = _WITHOUT_RUN.union(name for name in ("start_time", "thread_id") if getattr(row, name) is None)
    if not include_stats:
        unavailable |= {STATISTICS}
    return unavailable if unmapped else unavailable | {"unmapped"}
