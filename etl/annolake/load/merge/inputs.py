"""The two inputs of a partition's merge, as `decide` wants them: what its file holds, what arrives for it.

Owns the reading of key columns and their look-up in the index. Decides nothing, writes nothing.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.merge.columns import (
    Bytes16,
    Days,
    Numbers,
    distinct,
    hashes_of,
    mask_of,
    one_chunk,
    places_of,
    row_keys,
    times_of,
    valid_of,
)
from annolake.load.merge.decide import Arriving, Stored
from annolake.load.merge.index import STORED, Index
from annolake.load.merge.owners import Owners
from annolake.load.merge.spill import UNAVAILABLE, Arrival
from annolake.load.storage.files import Location
from annolake.load.table.file_format import FileFormat
from annolake.load.table.part_file import PartReader, prove
from annolake.load.table.partitions import Partitions

_OWN_COLUMNS = ("row_hash", "removed_at", "exported_at")


def key_columns(file_format: FileFormat) -> tuple[str, ...]:
    """Return the columns of a table that the index is made from."""
    return tuple(dict.fromkeys((*file_format.key, *file_format.owners, *_OWN_COLUMNS)))


def enter_rows(
    index: Index,
    table: pa.Table,
    day: int,
    key: Sequence[str],
    *,
    owners: Owners | None = None,
    items: Bytes16 | None = None,
    marks: npt.NDArray[np.uint8] | None = None,
) -> bool:
    """Enter the `key_columns` of rows that the partition of a day holds; False where it holds one twice."""
    keys = row_keys(table, key)
    hashes, removed, exported = (one_chunk(table.column(name)) for name in _OWN_COLUMNS)
    gone = valid_of(removed)
    times = times_of(exported)
    if not index.enter(keys, hashes_of(hashes), day, removed=gone, exported=times, items=items, marks=marks):
        return False
    if owners is not None:
        owners.note(index.find(keys), table)
    return True


def nothing_stored(file_format: FileFormat) -> Stored:
    """Return the stored side of a partition that is not there yet."""
    none = np.zeros(0, np.bool_)
    keys = _empty(file_format.schema, file_format.sort_by)
    return Stored(np.zeros(0, np.int32), keys, np.zeros((0, 2), np.uint64), none, none, none)


def stored_side(
    index: Index, reader: PartReader, file_format: FileFormat, day: int, *, ahead: set[int], remove_gone: bool
) -> tuple[Stored, bool]:
    """Return what a partition's file holds, and whether rows stay that leave for a day still `ahead`."""
    numbers: list[Numbers] = [np.zeros(0, np.int32)]
    hashes: list[Bytes16] = [np.zeros((0, 2), np.uint64)]
    removed, keys = [np.zeros(0, np.bool_)], []
    for table in reader.key_columns((*file_format.sort_by, "row_hash", "removed_at")):
        numbers.append(known_numbers(index, table, file_format.key, reader.part.path))
        hashes.append(hashes_of(one_chunk(table.column("row_hash"))))
        removed.append(valid_of(one_chunk(table.column("removed_at"))))
        keys.append(table.select(file_format.sort_by))
    line = np.concatenate(numbers)
    days: Days = index.days(line)
    away = days != day
    leaving = away & ~np.isin(days, list(ahead))
    gone = index.gone(line) & ~away if remove_gone else np.zeros(len(line), np.bool_)
    order = pa.concat_tables(keys) if keys else _empty(reader.schema, file_format.sort_by)
    stored = Stored(line, order, np.concatenate(hashes), np.concatenate(removed), leaving, gone)
    return stored, bool((away & ~leaving).any())


def arriving_side(index: Index, arrival: Arrival, file_format: FileFormat, day: int) -> Arriving:
    """Return what one sorted chunk of the spill has for a partition."""
    numbers = index.find(row_keys(arrival.keys, file_format.key))
    return Arriving(
        numbers=numbers,
        keys=arrival.keys.select(file_format.sort_by),
        hashes=hashes_of(one_chunk(arrival.keys.column("row_hash"))),
        staying=index.days(numbers) == day,
        known=index.flagged(numbers, STORED),
        unavailable=np.asarray(one_chunk(arrival.keys.column(UNAVAILABLE))),
    )


def stored_values(
    partitions: Partitions, index: Index, *, preserved_numbers: Numbers, columns: Sequence[str]
) -> pa.Table:
    """Return some columns of rows of the lake, in the order of `preserved_numbers`, wherever they are stored."""
    files, file_format, parts = partitions.files, partitions.file_format, partitions.parts
    if not len(preserved_numbers):
        return _empty(file_format.schema, columns)
    found = [np.zeros(0, np.int32)]
    tables = [_empty(file_format.schema, columns)]
    for day in distinct(index.origins(preserved_numbers)):
        with PartReader(files, parts[int(day)].path, file_format) as reader:
            prove(files, reader.part.path)
            for group, table in enumerate(reader.key_columns(file_format.key)):
                numbers = known_numbers(index, table, file_format.key, reader.part.path)
                here = np.isin(numbers, preserved_numbers) & (index.origins(numbers) == day)
                if here.any():
                    found.append(numbers[here])
                    tables.append(reader.row_group(group, columns).filter(mask_of(here)))
    line = np.concatenate(found)
    if len(line) != len(preserved_numbers):
        raise LakeError("cannot trust the lake: a row that was read from it is no longer there; run again")
    by_number = np.argsort(line)
    places = by_number[np.searchsorted(line, preserved_numbers, sorter=by_number)]
    return pa.concat_tables(tables).combine_chunks().take(places_of(places))


def known_numbers(index: Index, table: pa.Table, key: Sequence[str], path: Location) -> Numbers:
    """Return the numbers of rows that the index was read from."""
    numbers = index.find(row_keys(table, key))
    if (numbers < 0).any():
        raise LakeError(f"cannot trust {path}: another export replaced it meanwhile; run again")
    return numbers


def _empty(schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    return pa.schema([schema.field(name) for name in names]).empty_table()
