"""What the lake holds of a queue, read back when an export of it begins: key columns alone, a row group at a time.

Owns what an export must know of the rows before it meets them. Over items that is more (`ItemFacts`): whether a run has
to be asked for (docs/guarantees.md#how-old-a-value-can-be). Heals one thing: of two files that a kill left in a
partition the later one stays.
"""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.merge.columns import Bools, Bytes16, Ints, hashes_of, one_chunk, times_of, true_of, valid_of
from annolake.load.merge.index import DUE, NO_PAYLOAD, Index
from annolake.load.merge.inputs import enter_rows, key_columns
from annolake.load.merge.owners import Owners
from annolake.load.table.days import NO_DAY, NO_TIME, day_from, microseconds
from annolake.load.table.file_format import FileFormat
from annolake.load.table.part_file import PartReader
from annolake.load.table.partitions import Partitions

RECENT = timedelta(days=3)
"""For so long after its start a run that had not ended, or was not found, is asked for by each export."""

_OF_ANY_RUN = ("name", "run_type", "trace_id")
"""Columns of which every run has one: where all are null, the lake never had the run."""

_INDEX_BYTES = 50  # of a row of a large queue
_ROWS_A_START = 16


class ItemFacts(msgspec.Struct, frozen=True):
    """What is read back for an export over items that began at `now`; `refresh`: every run is asked for in any case."""

    now: datetime
    refresh: bool


class State(msgspec.Struct):
    """What the lake holds of a queue in one table: its rows' keys and owners.

    `starts`, over items: when the runs of some of the rows began, in microseconds since 1970.
    """

    index: Index
    owners: Owners
    expected: int = 0
    starts: list[Ints] = msgspec.field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Bytes that index and owners hold, or will hold with as many rows as are expected."""
        return max(self.index.nbytes, self.expected * _INDEX_BYTES) + self.owners.nbytes


def read_state(partitions: Partitions, *, items: ItemFacts | None = None) -> State:
    """Read back the rows of a queue's partitions. Raises LakeError."""
    file_format = partitions.file_format
    state = State(Index(items=items is not None and not items.refresh), Owners(file_format.owners))
    for day, reader in partitions.stored():
        _enter(state, reader, file_format, day, items)
    state.index.close_reading()
    return state


def _enter(state: State, reader: PartReader, file_format: FileFormat, day: int, items: ItemFacts | None) -> None:
    key, owners = file_format.key, state.owners if file_format.owners else None
    for group, table in enumerate(reader.key_columns(key_columns(file_format))):
        hashes, marks = _item_facts(state, reader, group, day, items) if items else (None, None)
        if not enter_rows(state.index, table, day, key, owners=owners, items=hashes, marks=marks):
            raise LakeError(f"cannot trust {reader.part.path}: it has a row twice; move it away")


def _item_facts(
    state: State, reader: PartReader, group: int, day: int, items: ItemFacts
) -> tuple[Bytes16 | None, npt.NDArray[np.uint8]]:
    """Return the hashes of a row group's items, where they are wanted, and the flags that its rows begin with."""
    recent = not items.refresh and _is_recent(day, items.now)
    names = ["run_found", "start_time"]
    names += [] if items.refresh else ["item_hash"]
    names += ["end_time", "added_at"] if recent else []
    table = reader.row_group(group, names)
    found = one_chunk(table.column("run_found"))
    lost = valid_of(found) & ~true_of(found)
    marks = np.where(_without_payload(reader, group, lost), NO_PAYLOAD, 0).astype(np.uint8)
    if recent:
        marks |= np.where(_unfinished(table, lost, items.now), DUE, 0).astype(np.uint8)
    starts = times_of(one_chunk(table.column("start_time")))
    state.starts.append(starts[starts != NO_TIME][::_ROWS_A_START].copy())  # a view would keep them all
    return None if items.refresh else _hashes_or_none(one_chunk(table.column("item_hash"))), marks


def _hashes_or_none(hashes: pa.Array) -> Bytes16:
    """Return hashes, zeros where there is none."""
    return np.where(valid_of(hashes)[:, None], hashes_of(hashes), np.uint64(0))


def _is_recent(day: int, now: datetime) -> bool:
    """Tell whether a run that began less than `RECENT` ago can be in a partition: it was added after it began."""
    return day == NO_DAY or day >= day_from((now.astimezone(UTC) - RECENT).date())


def _unfinished(table: pa.Table, lost: Bools, now: datetime) -> Bools:
    """Tell which runs began a short while ago, and had not ended or were not found when they were last asked for."""
    start, added = (times_of(one_chunk(table.column(name))) for name in ("start_time", "added_at"))
    running = true_of(one_chunk(table.column("run_found"))) & ~valid_of(one_chunk(table.column("end_time")))
    recent = np.where(start == NO_TIME, added, start) >= microseconds(now - RECENT)
    return np.asarray((running | lost) & recent)


def _without_payload(reader: PartReader, group: int, lost: Bools) -> Bools:
    """Tell of which rows with a run that was not found the lake never had the run."""
    if not lost.any():
        return lost
    table = reader.row_group(group, _OF_ANY_RUN)
    for name in _OF_ANY_RUN:
        lost = lost & ~valid_of(one_chunk(table.column(name)))
    return lost
