"""What the stored rows of a table belong to: the run of a feedback, the item of a turn. About 20 bytes a row.

Owns which rows are told to be gone where not everything was read: those of what was read. Never touches a file.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annolake import arrow_compute as pc
from annolake.load.merge.columns import Bools, Bytes16, Numbers, keys_of, one_chunk

_SMALLEST = 1024
_AT_ONCE = 1 << 16
_RUN = "run_id"  # runs are asked for in lower case, however the service writes them


class Owners:
    """The owners of a queue's stored rows, read back from the `columns` that name them."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._pairs = {column: _Pairs() for column in columns}

    def note(self, numbers: Numbers, table: pa.Table) -> None:
        """Note the owners of rows, given by their numbers in the index; a row without one belongs to nothing."""
        for column, pairs in self._pairs.items():
            ids = one_chunk(table.column(column))
            there = np.asarray(ids.is_valid())
            if column == _RUN:
                ids = pc.utf8_lower(ids)
            pairs.append(numbers[there], keys_of(pc.drop_null(ids)))

    def belonging(self, owners: Bytes16, size: int) -> Bools:
        """Tell which of the rows below the number `size` belong to one of the `owners`, given by their keys."""
        belongs, wanted = np.zeros(size, np.bool_), np.sort(_texts(owners))
        for pairs in self._pairs.values():
            for numbers, keys in pairs.pieces() if len(wanted) else ():
                place = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
                belongs[numbers[wanted[place] == keys]] = True
        return belongs

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return sum(pairs.nbytes for pairs in self._pairs.values())


class _Pairs:
    """Numbers of rows with the keys of their owners."""

    def __init__(self) -> None:
        self._size = 0
        self._numbers: Numbers = np.zeros(_SMALLEST, np.int32)
        self._keys: Bytes16 = np.zeros((_SMALLEST, 2), np.uint64)

    def append(self, numbers: Numbers, keys: Bytes16) -> None:
        begin, self._size = self._size, self._size + len(numbers)
        if self._size > len(self._numbers):
            room = max(self._size, len(self._numbers) * 9 // 8)
            self._numbers.resize(room, refcheck=False)  # in place: a copy would double the peak
            self._keys.resize((room, 2), refcheck=False)
        self._numbers[begin : self._size], self._keys[begin : self._size] = numbers, keys

    def pieces(self) -> list[tuple[Numbers, npt.NDArray[Any]]]:
        """Return the pairs in views of bounded length."""
        cuts = range(0, self._size, _AT_ONCE)
        ends = [min(start + _AT_ONCE, self._size) for start in cuts]
        pieces = zip(cuts, ends, strict=True)
        return [(self._numbers[start:stop], _texts(self._keys[start:stop])) for start, stop in pieces]

    @property
    def nbytes(self) -> int:
        return self._numbers.nbytes + self._keys.nbytes


def _texts(keys: Bytes16) -> npt.NDArray[Any]:
    """View keys as texts of 16 bytes, which numpy sorts and compares as a whole."""
    return np.ascontiguousarray(keys).view("S16").reshape(-1)
