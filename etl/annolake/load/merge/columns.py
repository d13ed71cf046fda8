"""Arrow columns as flat numpy arrays: keys, hashes, days and times of a row.

Owns the mapping between a column's values and their fixed-width form. Never looks at a row one by one, ids of
another form than a UUID aside.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annolake.keys import JOINING, KEY_BYTES, key_of
from annolake.load.table.days import NO_DAY, NO_TIME
from annolake.load.table.pieces import cut

Bytes16 = npt.NDArray[np.uint64]
"""n x 2: the two halves of 16 bytes, compared for equality only."""
Numbers = npt.NDArray[np.int32]
"""Rows by their number in the index."""
Ints = npt.NDArray[np.int64]
Days = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Number = TypeVar("Number", bound=np.number[Any])

SLICE_BYTES = 100_000
"""A slice costs what a copy of so much does, for each of the 85 columns has one: heavier rows are never copied."""

_DAY_US = 86_400_000_000
_UUID_CHARS = 36
_DASHES = np.array([8, 13, 18, 23])
_DIGITS = np.delete(np.arange(_UUID_CHARS), _DASHES)
_DASH = ord("-")
_NO_DIGIT = 255
_HEX = np.full(256, _NO_DIGIT, np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)


def halves(values: bytes) -> Bytes16:
    """View joined 16-byte values as an n x 2 array."""
    return np.frombuffer(values, np.uint64).reshape(-1, 2)


def equal(values: Bytes16, others: Bytes16) -> Bools:
    """Tell which values are the same as the other at their place."""
    same = values == others
    return np.asarray(same[:, 0] & same[:, 1])  # measured, a hundred: 1 us, and 4 us by `all`


def keys_of(ids: pa.Array) -> Bytes16:
    """Return the keys of a string column without nulls: `annolake.keys.key_of`, a column at a time."""
    size = len(ids)
    starts = np.frombuffer(ids.buffers()[1], np.int32, size + 1, ids.offset * 4) if size else np.zeros(1, np.int32)
    keys = np.zeros((size, KEY_BYTES), np.uint8)
    odd = np.diff(starts) != _UUID_CHARS
    if not odd.all():
        text = np.frombuffer(ids.buffers()[2], np.uint8)
        digits, fits = _digits(text, starts[:-1][~odd])
        keys[~odd] = digits
        odd[~odd] = ~fits
    for row in np.flatnonzero(odd):
        keys[row] = np.frombuffer(key_of(ids[int(row)].as_py()), np.uint8)
    return keys.view(np.uint64)


def row_keys(table: pa.Table, names: Sequence[str]) -> Bytes16:
    """Return the keys of a table's rows by the columns that make it up: `annolake.keys.joint_key_of`."""
    first, *others = (keys_of(one_chunk(table.column(name))) for name in names)
    for other in others:
        first = first * np.uint64(JOINING) + other
    return first


def _digits(text: npt.NDArray[np.uint8], starts: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.uint8], Bools]:
    """Return the 16 bytes spelt by the 36 characters at each start, and which of them are canonical UUIDs."""
    first, last = int(starts[0]), int(starts[-1]) + _UUID_CHARS
    if last - first == len(starts) * _UUID_CHARS:
        spelt = text[first:last].reshape(-1, _UUID_CHARS)
    else:
        spelt = text[starts[:, None] + np.arange(_UUID_CHARS)]
    digits: npt.NDArray[np.uint8] = _HEX[spelt[:, _DIGITS]]
    fits = (digits != _NO_DIGIT).all(axis=1) & (spelt[:, _DASHES] == _DASH).all(axis=1)
    return ((digits[:, 0::2] << 4) | (digits[:, 1::2] & 15)).astype(np.uint8), fits


def valid_of(values: pa.Array) -> Bools:
    """Tell which values are not null, as `is_valid` does, which would import Arrow's compute functions."""
    return _bits(values.buffers()[0], values) if values.null_count else np.ones(len(values), np.bool_)


def true_of(values: pa.Array) -> Bools:
    """Tell which values of a bool column are true, and not null."""
    return _bits(values.buffers()[1], values) & valid_of(values)


def _bits(bitmap: pa.Buffer, values: pa.Array) -> Bools:
    """Return one bit for each value, of a bitmap that an array without values need not have."""
    if not len(values):
        return np.zeros(0, np.bool_)
    until = values.offset + len(values)
    bits: Bools = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=until, bitorder="little").view(np.bool_)
    return bits[values.offset :]


def hashes_of(hashes: pa.Array) -> Bytes16:
    """Return a fixed_size_binary[16] column without nulls as an n x 2 array (no copy)."""
    if not len(hashes):
        return np.zeros((0, 2), np.uint64)
    raw = np.frombuffer(hashes.buffers()[1], np.uint8)
    start = hashes.offset * KEY_BYTES
    return raw[start : start + len(hashes) * KEY_BYTES].view(np.uint64).reshape(-1, 2)


def times_of(times: pa.Array) -> Ints:
    """Return a timestamp[us] column as microseconds since 1970, `NO_TIME` where null."""
    if not len(times):
        return np.zeros(0, np.int64)
    found = np.frombuffer(times.buffers()[1], np.int64, len(times), times.offset * 8)
    return np.where(valid_of(times), found, NO_TIME) if times.null_count else found


def days_of(times: pa.Array) -> Days:
    """Return the UTC day of each timestamp as days since 1970, `NO_DAY` where null."""
    found = times_of(times)
    return np.where(found == NO_TIME, NO_DAY, found // _DAY_US).astype(np.int32)


def distinct(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return the distinct values in order: np.unique, which imports numpy.ma for it (20 ms of a start)."""
    ordered: npt.NDArray[Number] = np.sort(values)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def repeated(numbers: npt.NDArray[Number]) -> Bools:
    """Tell which values are there more than once."""
    ordered = np.sort(numbers)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.isin(numbers, again) if again.size else np.zeros(len(numbers), np.bool_)


def places_of(order: Ints) -> pa.Array:
    """Return row numbers as Arrow has them, without a copy: `pa.array` imports numpy.ma, 10 ms of a start."""
    return pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(np.ascontiguousarray(order, np.int64))])


def mask_of(rows: Bools) -> pa.Array:
    """Return a mask as Arrow has it, for the same reason."""
    return pa.Array.from_buffers(pa.bool_(), len(rows), [None, pa.py_buffer(np.packbits(rows, bitorder="little"))])


def in_slices(table: pa.Table, order: Ints) -> pa.Table | None:
    """Return rows of a table in another order, without a copy; None where they are better taken one by one.

    That is where the slices would be small. Measured on rows of 300 kB: a tenth of what a merge takes is saved.
    """
    begins = np.concatenate([[0], np.flatnonzero(np.diff(order) != 1) + 1])
    if len(begins) == 1:
        return cut(table, int(order[0]), len(order))
    least = SLICE_BYTES * len(begins) / max(len(order), 1) * table.num_rows  # bytes of the table
    # what its buffers take is known at once, while `nbytes` looks at each column (0.2 ms); of columns that are all null
    # they take less than their rows do, and then these are copied
    if table.get_total_buffer_size() < least or table.nbytes < least:
        return None
    ends = np.append(begins[1:], len(order))
    return pa.concat_tables(
        table.slice(int(order[begin]), int(end - begin)) for begin, end in zip(begins, ends, strict=True)
    )


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([*column.chunks, *_none(column)])


def _none(column: pa.ChunkedArray) -> list[pa.Array]:
    return [] if column.num_chunks else [pa.array([], column.type)]
