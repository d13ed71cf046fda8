"""What is known of every row of a queue, in flat arrays: about 50 bytes a row, over items 16 more.

Owns the flags of each row: what the lake holds, and what this export read. A row's number (`key_table`) is its position
in the arrays. Written by one thread, while no other looks things up. Never touches a file.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from annolake.load.merge.columns import Bools, Bytes16, Days, Ints, Numbers, distinct, equal, halves, repeated
from annolake.load.merge.key_table import FREE, KeyTable, with_room
from annolake.load.table.days import NO_TIME

Flags = npt.NDArray[np.uint8]

STORED = 1  # the lake holds the row
REMOVED = 2  # as one that left the queue
MET = 4  # this export met its key
ACCEPTED = 8  # and could decode it
ASKED = 16  # and found it changed
TAKEN = 32  # and spilled it: the day is that of the version read
DUE = 64  # over items: its run is to be asked for, or was
NO_PAYLOAD = 128  # over items: its run is gone, and the lake never had it

_SMALLEST = 1024


class Index:
    """The rows of one queue by their keys (`annolake.keys.key_of`), with the hashes of their `items` where wanted."""

    def __init__(self, *, items: bool = False) -> None:
        self.newest_export = NO_TIME  # the latest exported_at in the lake, microseconds since 1970
        self._table = KeyTable()
        self._hashes: Bytes16 = np.zeros((_SMALLEST, 2), np.uint64)
        self._days: Days = np.zeros(_SMALLEST, np.int32)
        self._flags: Flags = np.zeros(_SMALLEST, np.uint8)
        self._readings: npt.NDArray[np.uint8] = np.zeros(_SMALLEST, np.uint8)
        self._exported: Ints = np.zeros(_SMALLEST, np.int64)  # only while the lake is read back
        self._items: Bytes16 = np.zeros((_SMALLEST if items else 0, 2), np.uint64)  # zeros: not read over items
        self._columns = ["_hashes", "_days", "_flags", "_readings", *(["_items"] if items else []), "_exported"]
        self._stale: set[int] = set()  # days with a row whose true version is in another partition
        self._moved: list[tuple[Numbers, Days]] = []  # stored rows read with another day, and the day they left

    @property
    def size(self) -> int:
        """How many rows have a number."""
        return len(self._table)

    # --- what the lake holds

    def enter(
        self,
        keys: Bytes16,
        hashes: Bytes16,
        day: int,
        *,
        removed: Bools,
        exported: Ints,
        items: Bytes16 | None = None,
        marks: Flags | None = None,
    ) -> bool:
        """Enter rows of the partition of `day`; of one key in two partitions the later `exported` is true.

        `marks` are flags that the rows have besides. Returns False where a key is in this partition twice, which no
        export writes.
        """
        known = self.size
        numbers = self._table.number(keys)
        self._room()
        again = numbers < known
        old = numbers[again]
        if len(distinct(numbers)) < len(numbers) or bool((self._days[old] == day).any()):
            return False
        exported_before = self._exported
        stale = again.copy()
        stale[again] = exported_before[old] >= exported[again]
        true = numbers[~stale]
        self._stale |= {day} if stale.any() else set()
        self._stale |= {int(left) for left in self._days[numbers[again & ~stale]]}
        self._hashes[true], self._days[true] = hashes[~stale], day
        self._flags[true] = STORED | (removed[~stale] * REMOVED).astype(np.uint8)
        if marks is not None:
            self._flags[true] |= marks[~stale]
        if items is not None:
            self._items[true] = items[~stale]
        exported_before[true] = exported[~stale]
        self.newest_export = max(self.newest_export, int(exported.max(initial=NO_TIME)))
        return True

    def close_reading(self) -> None:
        """Forget what only the reading back needed: no partition is entered after this."""
        self._columns.remove("_exported")
        self._exported = np.zeros(0, np.int64)

    # --- what the export meets, a page at a time

    def meet(self, keys: Sequence[bytes], reading: int = 1) -> tuple[list[int], list[int]]:
        """Note that `reading` (1 to 255) met the keys.

        Returns the reading noted before for each, 0: none, and the number of each row.
        """
        rows = self._table.number_each(keys)
        self._room()
        numbers = np.array(rows, np.int32)
        before: list[int] = self._readings[numbers].tolist()
        self._readings[numbers] = reading
        self._flags[numbers] |= MET
        return before, rows

    def keep(self, rows: Sequence[int], items: Sequence[bytes]) -> list[bool]:
        """Note items by their hashes; True where the lake's version of the row stays, without asking for its run.

        That is where the item is the stored one and nothing else makes the run due. A run that was asked for once is
        due from then on: of a row's versions in one export the last one counts.
        """
        numbers, sent = np.array(rows, np.int32), halves(b"".join(items))
        flags = self._flags[numbers]
        kept = (flags & (STORED | REMOVED | DUE)) == STORED
        kept &= equal(self._items[numbers], sent) if len(self._items) else False
        if len(set(rows)) < len(rows):
            kept &= ~repeated(numbers)
        self._flags[numbers] = flags | np.where(kept, MET | ACCEPTED, MET | DUE).astype(np.uint8)
        listed: list[bool] = kept.tolist()
        return listed

    def ask_for(self, keys: Sequence[bytes]) -> None:
        """Have the runs of rows that the lake holds asked for, whatever their items say."""
        numbers = self.find(halves(b"".join(keys)))
        self._flags[numbers[numbers != FREE]] |= DUE

    def note_found(self, rows: Sequence[int], found: Sequence[bool | None]) -> None:
        """Note which runs that were asked for were found (None: there is none to find)."""
        numbers = np.array(rows, np.int32)
        flags = self._flags[numbers]
        lost = np.array([one is False for one in found], np.bool_)
        lost &= ((flags & STORED) == 0) | ((flags & NO_PAYLOAD) != 0)
        self._flags[numbers] = np.where(lost, flags | NO_PAYLOAD, flags & ~np.uint8(NO_PAYLOAD))

    def changed(self, rows: Sequence[int], hashes: Sequence[bytes]) -> list[bool]:
        """Note decoded rows, given by their numbers, as accepted; True where one must be flattened and taken.

        That is where the row is new, its hash is another than that of the version last read or stored, or the
        lake holds it as removed. What was asked for once is not asked for again, so it must be taken.
        """
        numbers, sent = np.array(rows, np.int32), halves(b"".join(hashes))
        flags = self._flags[numbers]
        same = equal(self._hashes[numbers], sent)
        wanted = ~(same & (((flags & ASKED) != 0) | ((flags & (STORED | REMOVED)) == STORED)))
        if len(set(rows)) < len(rows):
            wanted |= repeated(numbers)
        self._flags[numbers] = flags | MET | ACCEPTED
        self._flags[numbers[wanted]] = (flags[wanted] | MET | ACCEPTED | ASKED) & ~np.uint8(TAKEN)
        self._hashes[numbers] = sent
        listed: list[bool] = wanted.tolist()
        return listed

    def take(self, numbers: Numbers, days: Days) -> None:
        """Note that rows asked for were spilled, in reading order: of one row the last version counts."""
        stored = (self._flags[numbers] & STORED) != 0
        moved = stored & (self._days[numbers] != days)
        if moved.any():
            self._moved.append((numbers[moved], self._days[numbers[moved]]))
        self._days[numbers] = days
        self._flags[numbers] |= TAKEN

    @property
    def awaited(self) -> int:
        """How many rows were asked for and not taken."""
        return self.count(ASKED) - self.count(ASKED | TAKEN)

    def no_more_rows(self) -> None:
        """Forget what only rows that come need, none of which does after this: 17 bytes a row, 33 over items."""
        self._columns = ["_days", "_flags"]
        self._hashes = self._items = np.zeros((0, 2), np.uint64)
        self._readings = np.zeros(0, np.uint8)

    # --- what the merge asks

    def find(self, keys: Bytes16) -> Numbers:
        """Return the rows' numbers, `FREE` where a key is unknown."""
        return self._table.find(keys)

    def days(self, numbers: Numbers) -> Days:
        """Return the day that the last known version of each row is in."""
        return self._days[numbers]

    def flagged(self, numbers: Numbers, flags: int) -> Bools:
        """Tell which rows have all of the flags."""
        return np.asarray((self._flags[numbers] & flags) == flags)

    def gone(self, numbers: Numbers) -> Bools:
        """Tell which rows the lake holds as present while this export did not meet them."""
        return np.asarray((self._flags[numbers] & (STORED | REMOVED | MET)) == STORED)

    def days_of_gone(self) -> set[int]:
        """Return the days of the rows that are gone."""
        days = self._days[: self.size][self._all_gone()]
        return {int(day) for day in distinct(days)}

    @property
    def live(self) -> int:
        """How many rows the lake holds as present."""
        return self.count(STORED) - self.count(STORED | REMOVED)

    @property
    def missing(self) -> int:
        """How many of these this export did not meet."""
        return int(self._all_gone().sum())

    def pass_over(self, rows: Bools) -> None:
        """Have rows, told by their numbers, count as met where the lake holds them: they were not read again."""
        self._flags[: len(rows)] |= np.where(rows, MET, 0).astype(np.uint8)

    def _all_gone(self) -> Bools:
        return np.asarray((self._flags[: self.size] & (STORED | REMOVED | MET)) == STORED)

    def days_left(self) -> set[int]:
        """Return the days whose partition may hold rows that are now, or truly, in another one."""
        return self._stale | {int(day) for _, days in self._moved for day in distinct(days)}

    def origins(self, numbers: Numbers) -> Days:
        """Return the day whose partition held each stored row when this export began."""
        origin: Days = self._days[numbers]
        if self._moved:
            movers = np.concatenate([movers for movers, _ in self._moved])
            days = np.concatenate([days for _, days in self._moved])
            movers, first = np.unique(movers, return_index=True)
            place = np.minimum(np.searchsorted(movers, numbers), len(movers) - 1)
            moved = movers[place] == numbers
            origin[moved] = days[first[place[moved]]]
        return origin

    def count(self, flags: int) -> int:
        """Return how many rows have all of the flags."""
        return int(((self._flags[: self.size] & flags) == flags).sum())

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take, with the table; what there is room for besides was never written to."""
        columns: list[npt.NDArray[Any]] = [getattr(self, name) for name in self._columns]
        return self._table.nbytes + sum(column[: self.size].nbytes for column in columns)

    def _room(self) -> None:
        """Make room for the rows that have numbers."""
        if self.size > len(self._days):
            for name in self._columns:  # one after the other, so that only one is there twice
                setattr(self, name, with_room(getattr(self, name), self.size))
