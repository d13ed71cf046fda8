"""The numbering of keys: which row a 16-byte key belongs to, counted from 0 in the order of their coming.

Few keys are held in a dict, many in flat arrays (open addressing). Measured on a page of 100 keys: 6 us and 60; a key
in memory: 200 bytes, and 23 to 30. Written by one thread, while no other looks keys up.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from annolake.keys import KEY_BYTES
from annolake.load.merge.columns import Bools, Bytes16, Numbers, equal, halves

FREE = -1
"""The number of a key that has none."""

FEW = 1 << 16  # 13 MB as a dict

_DICT_BYTES = 200  # of a key, its number and their place
_SMALLEST = 1024
_FULLEST = 0.6
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)
_HALF = np.uint64(32)
_REHASHED_AT_ONCE = 1 << 16


class KeyTable:
    """Numbers for keys, those of the first `few` in a dict."""

    def __init__(self, few: int = FEW) -> None:
        self._few = few
        self._dict: dict[bytes, int] | None = {}
        self._size = 0  # of the arrays
        self._keys: Bytes16 = np.zeros((0, 2), np.uint64)
        self._slots: Numbers = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return self._size if self._dict is None else len(self._dict)

    @property
    def nbytes(self) -> int:
        """Bytes that the keys take, with the table; what there is room for besides was never written to."""
        if self._dict is not None:
            return len(self._dict) * _DICT_BYTES
        return self._slots.nbytes + self._keys[: self._size].nbytes

    def find(self, keys: Bytes16) -> Numbers:
        """Return the keys' numbers, `FREE` where one is unknown."""
        if self._dict is None:
            return self._find(keys)
        get = self._dict.get
        return np.array([get(key, FREE) for key in _apart(keys)], np.int32)

    def number(self, keys: Bytes16) -> Numbers:
        """Return the keys' numbers, giving new ones to unknown keys."""
        return self._number(keys) if self._dict is None else np.array(self.number_each(_apart(keys)), np.int32)

    def number_each(self, keys: Sequence[bytes]) -> list[int]:
        """Do the same with keys one by one."""
        table = self._dict
        if table is None:
            numbers: list[int] = self._number(halves(b"".join(keys))).tolist()
            return numbers
        numbers = [table.setdefault(key, len(table)) for key in keys]
        if len(table) > self._few:
            self._flatten(table)
        return numbers

    def _flatten(self, table: dict[bytes, int]) -> None:
        """Go over to arrays."""
        self._dict, self._size = None, len(table)
        self._keys = halves(b"".join(table)).copy()  # a view of bytes cannot be written to
        self._room(self._size)

    # --- the arrays

    def _find(self, keys: Bytes16) -> Numbers:
        at = self._home(keys)
        numbers: Numbers = self._slots[at]
        sought = np.flatnonzero((numbers != FREE) & ~self._are_at(numbers, keys))
        at, hop = at[sought], 0
        while sought.size:
            hop += 1
            at = (at + hop) & (len(self._slots) - 1)
            found = self._slots[at]
            numbers[sought] = found
            elsewhere = np.flatnonzero((found != FREE) & ~self._are_at(found, keys[sought]))
            sought, at = sought[elsewhere], at[elsewhere]
        return numbers

    def _are_at(self, numbers: Numbers, keys: Bytes16) -> Bools:
        """Tell which of the keys are those of the rows of these numbers."""
        return equal(self._keys.take(numbers, axis=0), keys)

    def _home(self, keys: Bytes16) -> npt.NDArray[np.int64]:
        # the upper half is folded into the lower one: ids that differ in few bytes must spread as well
        mixed = (keys * _MIX).sum(axis=1, dtype=np.uint64)
        mixed ^= mixed >> _HALF
        mixed *= _MIX[0]
        return np.asarray(mixed >> np.uint64(65 - len(self._slots).bit_length())).astype(np.int64)

    def _number(self, keys: Bytes16) -> Numbers:
        numbers = self._find(keys)
        unknown = np.flatnonzero(numbers == FREE)
        if unknown.size:
            ordered = unknown[np.lexsort(keys[unknown].T)]
            first = np.append(True, (keys[ordered[1:]] != keys[ordered[:-1]]).any(axis=1))
            numbers[ordered] = self._size + np.cumsum(first) - 1
            new = numbers[ordered[first]]
            self._room(self._size + len(new))
            self._keys[new] = keys[ordered[first]]
            self._settle(new)
            self._size += len(new)
        return numbers

    def _settle(self, numbers: Numbers) -> None:
        """Give each numbered key, none of which is in the table yet, a free slot."""
        at, hop = self._home(self._keys[numbers]), 0
        while numbers.size:
            free = self._slots[at] == FREE
            self._slots[at[free]] = numbers[free]
            homeless = self._slots[at] != numbers
            hop += 1
            numbers, at = numbers[homeless], (at[homeless] + hop) & (len(self._slots) - 1)

    def _room(self, size: int) -> None:
        self._keys = with_room(self._keys, size)
        slots = max(len(self._slots), _SMALLEST)
        while size > slots * _FULLEST:
            slots *= 2
        if slots > len(self._slots):
            self._slots = np.zeros(0, np.int32)  # lets the old table go first
            self._slots = np.full(slots, FREE, np.int32)
            for start in range(0, self._size, _REHASHED_AT_ONCE):
                self._settle(np.arange(start, min(start + _REHASHED_AT_ONCE, self._size), dtype=np.int32))


def with_room(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Return the array with room for `size` values, zeros behind those that it has.

    It grows to twice its size at least. The system gives memory for the zeros when they are written to; resized in
    place, all of them are written to at once: measured at 2 million rows, 10 MB more.
    """
    if size <= len(array):
        return array
    larger = np.zeros((max(size, len(array) * 2), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def _apart(keys: Bytes16) -> list[bytes]:
    joined = keys.tobytes()
    return [joined[start : start + KEY_BYTES] for start in range(0, len(joined), KEY_BYTES)]
