"""What becomes of the rows of one partition: pure, and a row group at a time.

`decide` looks at key columns alone and fixes which rows the partition's new file has, in which order, and what is
stamped on them. `merged` carries that out, reading each input forward, so that a partition far larger than memory
passes through. Nothing here touches a file; Arrow values are taken as they are, never converted.

The rules (docs/lake.md#partitions): the last version of a row read counts; a row equal by hash to the stored one leaves
that one as it is; a row that is back loses its removed_at; a row that is gone gets one; a row that moved to another
partition leaves; an unavailable column keeps the stored value.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annolake import arrow_compute as pc
from annolake.load.merge.blocks import Blocks
from annolake.load.merge.columns import (
    Bools,
    Bytes16,
    Ints,
    Numbers,
    in_slices,
    mask_of,
    one_chunk,
    places_of,
    times_of,
)
from annolake.load.merge.spill import last_of, sort_order
from annolake.load.table.pieces import joined

NONE = -1
PIECE_BYTES = 8 << 20


class Stored(msgspec.Struct, frozen=True):
    """The rows that a partition's file holds, in its order."""

    numbers: Numbers
    keys: pa.Table  # the columns that rows are sorted by, the time first
    hashes: Bytes16
    removed: Bools  # removed_at is set
    leaving: Bools  # the row's true version is published in another partition
    gone: Bools  # the row left the queue


class Arriving(msgspec.Struct, frozen=True):
    """The rows of a sorted chunk that arrive for a partition, in its order; a later chunk was read later."""

    numbers: Numbers
    keys: pa.Table
    hashes: Bytes16
    staying: Bools  # the row's last version belongs to this partition
    known: Bools  # the lake holds the row, here or in another partition
    unavailable: npt.NDArray[np.uint8]  # which set of columns the export could not know, 0: none


class Counts(msgspec.Struct, frozen=True):
    """Rows by what happened to them."""

    inserted: int = 0
    updated: int = 0
    removed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.inserted + other.inserted, self.updated + other.updated, self.removed + other.removed)


class Decision(msgspec.Struct, frozen=True):
    """The rows of the new file, in its order; `input_number` 0 is the stored file, n the nth chunk."""

    input_number: Numbers
    position: Ints
    stamped: Bools  # exported_at becomes now
    removing: Bools  # removed_at becomes now
    clearing: Bools  # removed_at becomes null
    unavailable: npt.NDArray[np.uint8]
    preserved_from: Ints  # place in the stored file of the row whose values stay; NONE: there is none in this order
    preserved_at: Ints  # place in `preserved_numbers` of such a row out of this order or elsewhere; NONE: there is none
    preserved_numbers: Numbers  # the rows whose stored values are to be fetched beforehand
    counts: Counts
    changed: bool

    def __len__(self) -> int:
        return len(self.input_number)

    @property
    def touched(self) -> Ints:
        """The place in the stored file that each row needs, NONE where it needs none."""
        return np.where(self.input_number == 0, self.position, self.preserved_from)

    @property
    def forward(self) -> bool:
        """Whether the stored file is read forward, as it is where it is sorted."""
        touched = self.touched
        return bool((np.diff(touched[touched != NONE]) > 0).all())


def decide(stored: Stored, arriving: Sequence[Arriving]) -> Decision:
    """Fix what the partition's new file holds; `changed` is False where that is what it holds already."""
    here = len(stored.numbers)
    line = _line_up(stored, arriving)
    twin = _places(stored.numbers, line.numbers)
    final = line.staying.copy()
    final[final] = last_of(line.numbers[final])
    same = final & (twin != NONE) & (line.hashes[twin] == line.hashes).all(axis=1)
    taken = final & ~same

    back, gone, keep = (np.zeros(len(line.numbers), np.bool_) for _ in range(3))
    back[twin[same]] = stored.removed[twin[same]]
    gone[:here] = stored.gone & ~stored.removed
    keep[:here] = ~stored.leaving
    keep[twin[taken & (twin != NONE)]] = False
    keep |= taken

    order = _order(line, keep)
    needs = (taken & line.known & (line.unavailable > 0))[order]
    in_order = needs & (twin[order] != NONE) & (line.times[twin[order]] == line.times[order])
    far = needs & ~in_order
    return Decision(
        input_number=line.input_number[order],
        position=line.position[order],
        stamped=(taken | back | gone)[order],
        removing=gone[order],
        clearing=(taken | back)[order],
        unavailable=line.unavailable[order],
        preserved_from=np.where(in_order, twin[order], NONE),
        preserved_at=np.where(far, np.cumsum(far) - 1, NONE),
        preserved_numbers=line.numbers[order][far],
        counts=Counts(
            inserted=int((taken & ~line.known).sum()),
            updated=int((taken & line.known).sum() + back.sum()),
            removed=int(gone.sum()),
        ),
        changed=bool(taken.any() or back.any() or gone.any() or stored.leaving.any()),
    )


class _Line(msgspec.Struct, frozen=True):
    """The rows of all inputs in one line, the stored ones first."""

    input_number: Numbers
    position: Ints
    numbers: Numbers
    hashes: Bytes16
    times: Ints
    keys: pa.Table
    staying: Bools
    known: Bools
    unavailable: npt.NDArray[np.uint8]


def _line_up(stored: Stored, arriving: Sequence[Arriving]) -> _Line:
    here = len(stored.numbers)
    sizes = [here, *(len(chunk.numbers) for chunk in arriving)]
    keys = pa.concat_tables([stored.keys, *(chunk.keys for chunk in arriving)]).combine_chunks()
    no = np.zeros(here, np.bool_)
    return _Line(
        input_number=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        position=np.concatenate([np.arange(size) for size in sizes]),
        numbers=np.concatenate([stored.numbers, *(chunk.numbers for chunk in arriving)]),
        hashes=np.concatenate([stored.hashes, *(chunk.hashes for chunk in arriving)]),
        times=times_of(one_chunk(keys.column(0))),
        keys=keys,
        staying=np.concatenate([no, *(chunk.staying for chunk in arriving)]),
        known=np.concatenate([no, *(chunk.known for chunk in arriving)]),
        unavailable=np.concatenate([no.astype(np.uint8), *(chunk.unavailable for chunk in arriving)]),
    )


def _places(stored: Numbers, numbers: Numbers) -> Ints:
    """Return the place of each row in the stored file, NONE where it is not there."""
    if not len(stored):
        return np.full(len(numbers), NONE)
    by_number = np.argsort(stored)
    nearest = by_number[np.minimum(np.searchsorted(stored, numbers, sorter=by_number), len(stored) - 1)]
    return np.where(stored[nearest] == numbers, nearest, NONE)


def _order(line: _Line, keep: Bools) -> Ints:
    kept = np.flatnonzero(keep)
    if not line.input_number[kept].any():
        return kept
    return kept[sort_order(line.keys.take(places_of(kept)))]


def merged(
    decision: Decision,
    inputs: Sequence[Blocks],
    *,
    preserved: pa.Table,
    unavailable_sets: Sequence[frozenset[str]],
    now: datetime,
    schema: pa.Schema,
) -> Iterator[pa.Table]:
    """Yield the rows of the new file in pieces: of one block of the stored file at most, and `PIECE_BYTES`.

    `inputs` are the stored file and the chunks; `preserved` has the rows of `decision.preserved_numbers`, with those
    columns that any of the `unavailable_sets` names.
    """
    for start, stop in pairwise(_cuts(decision, inputs)):
        piece = _gathered(
            decision, slice(start, stop), inputs, preserved=preserved, unavailable_sets=unavailable_sets, schema=schema
        )
        yield _stamped(piece, decision, slice(start, stop), now)


def _cuts(decision: Decision, inputs: Sequence[Blocks]) -> list[int]:
    """Return where pieces begin: at each block of the stored file, and when `PIECE_BYTES` came together."""
    size = len(decision)
    weights = np.array([input_number.row_bytes for input_number in inputs])
    full = np.cumsum(weights[decision.input_number]) // PIECE_BYTES
    touched = decision.touched
    rows = np.flatnonzero(touched != NONE)
    blocks = np.searchsorted(inputs[0].ends, touched[rows], side="right")
    cuts = {*np.flatnonzero(np.diff(full)) + 1, *rows[1:][np.diff(blocks) > 0]}
    return [0, *sorted(int(cut) for cut in cuts), size] if size else []


def _gathered(
    decision: Decision,
    rows: slice,
    inputs: Sequence[Blocks],
    *,
    preserved: pa.Table,
    unavailable_sets: Sequence[frozenset[str]],
    schema: pa.Schema,
) -> pa.Table:
    """Return some rows of the new file as they were stored or read, values that stay in their place."""
    input_number, position, preserved_from = (
        decision.input_number[rows],
        decision.position[rows],
        decision.preserved_from[rows],
    )
    tables: list[pa.Table] = []
    begins = np.zeros(len(inputs), np.int64)
    total = 0
    for number in range(len(inputs)):
        needed = position[input_number == number]
        needed = np.concatenate([needed, preserved_from[preserved_from != NONE]]) if number == 0 else needed
        if len(needed):
            low, high = int(needed.min()), int(needed.max()) + 1
            tables.append(inputs[number].read(low, high))
            begins[number] = total - low
            total += high - low
    table = joined(tables)
    takes = begins[input_number] + position
    keeps = np.where(preserved_from != NONE, begins[0] + preserved_from, total + decision.preserved_at[rows])
    keeping = (preserved_from != NONE) | (decision.preserved_at[rows] != NONE)
    if not keeping.any() and (sliced := in_slices(table, takes)) is not None:
        return sliced
    table = table.combine_chunks()
    found = table.take(places_of(takes))  # all at once: column by column costs thrice as much where rows are few
    for name in {name for known in unavailable_sets for name in known} if keeping.any() else ():
        lacking = np.array([name in known for known in unavailable_sets])
        stays = keeping & lacking[decision.unavailable[rows]]
        candidates = one_chunk(pa.chunked_array([*table.column(name).chunks, *preserved.column(name).chunks]))
        values = candidates.take(places_of(np.where(stays, keeps, takes)))
        found = found.set_column(schema.get_field_index(name), schema.field(name), values)
    return found


def _stamped(table: pa.Table, decision: Decision, rows: slice, now: datetime) -> pa.Table:
    """Set what the export itself says of its rows: exported_at and removed_at."""
    moment = pa.scalar(now, pa.timestamp("us", "UTC"))
    never = pa.scalar(None, moment.type)
    for name, mask, value in (
        ("exported_at", decision.stamped[rows], moment),
        ("removed_at", decision.removing[rows], moment),
        ("removed_at", decision.clearing[rows], never),
    ):
        place = table.schema.get_field_index(name)
        if mask.any() and (value.is_valid or table.column(place).null_count < len(mask)):
            whole = mask.all()
            column = pa.repeat(value, len(mask)) if whole else pc.if_else(mask_of(mask), value, table.column(place))
            table = table.set_column(place, table.schema.field(place), column)
    return table
