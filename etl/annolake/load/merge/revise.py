"""Stored rows written anew without an export: some of them changed, some of them gone, a partition after the other.

Owns which files are written: those of which `Change` changes a row. The order of rows stays. Needs the queue's lock.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa

from annolake.load.merge.upsert import EMPTY_DAY
from annolake.load.table.days import NO_DAY
from annolake.load.table.part_file import PartReader
from annolake.load.table.partitions import Partitions


class Change(NamedTuple):
    """What becomes of rows: `apply` returns the table itself where nothing does, else another one or a part of it.

    `names` are the columns that it has to see to know that; what becomes of the rows it is asked of all.
    """

    names: frozenset[str]
    apply: Callable[[pa.Table], pa.Table]


class Revised(NamedTuple):
    """One file that was written anew, or withdrawn: how many of its rows were changed, and how many are gone."""

    changed: int
    gone: int


def revise(partitions: Partitions, change: Change) -> Iterator[Revised]:
    """Write the files anew of which rows change, one a step, and publish. Raises LakeError.

    Where files of several schema versions cannot lie side by side, the older ones are written anew with them.
    """
    found = {day: concerns(change, reader) for day, reader in partitions.stored()}
    version = None if partitions.mixes_versions or not any(found.values()) else partitions.file_format.version
    for day, is_concerned in found.items():
        part = partitions.parts[day]
        if is_concerned or version not in (None, part.footer.schema_version):
            with PartReader(partitions.files, part.path, partitions.file_format) as reader:
                yield _revised(partitions, day, reader, change)
    if not found:  # nor a folder
        return
    keyed = bool(partitions.file_format.key)
    if keyed and partitions.needs_file and not _has_dated_rows(partitions) and EMPTY_DAY not in partitions.parts:
        partitions.publish(EMPTY_DAY, [])
    partitions.finish({})


def _revised(partitions: Partitions, day: int, reader: PartReader, change: Change) -> Revised:
    counts = _Counts()
    if _stays(reader, change):
        partitions.publish(day, _rows(reader, change, counts))
    else:
        counts.gone = sum(reader.row_groups)
        partitions.withdraw(day)
    return Revised(counts.changed, counts.gone)


class _Counts:
    """Rows of one file by what became of them."""

    changed = 0
    gone = 0


def concerns(change: Change, reader: PartReader) -> bool:
    """Tell whether anything becomes of a row of a file."""

    def changes(table: pa.Table) -> bool:
        return change.apply(table) is not table

    groups = range(len(reader.row_groups))
    return any(changes(reader.stored_rows(group, _seen(reader, change))) for group in groups)


def _stays(reader: PartReader, change: Change) -> bool:
    """Tell whether any row is left."""
    groups = range(len(reader.row_groups))
    return any(change.apply(reader.stored_rows(group, _seen(reader, change))).num_rows for group in groups)


def _seen(reader: PartReader, change: Change) -> list[str]:
    """Return the columns to look at in the order of the file's format."""
    return [name for name in reader.names if name in change.names]


def _rows(reader: PartReader, change: Change, counts: _Counts) -> Iterator[pa.Table]:
    for group in range(len(reader.row_groups)):
        before = reader.stored_rows(group)
        after = change.apply(before)
        counts.gone += before.num_rows - after.num_rows
        counts.changed += _differing(before, after)
        if after.num_rows:
            yield after


def _differing(before: pa.Table, after: pa.Table) -> int:
    """Return how many rows lost their hash: those that were changed."""
    if after is before or after.num_rows != before.num_rows:
        return 0
    pairs = zip(before.column("row_hash").to_pylist(), after.column("row_hash").to_pylist(), strict=True)
    return sum(one != other for one, other in pairs)


def _has_dated_rows(partitions: Partitions) -> bool:
    return any(part.rows for day, part in partitions.parts.items() if day != NO_DAY)
