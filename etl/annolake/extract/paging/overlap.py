"""Where a slice meets what was read before it: the tail of a reading, and a slice held against it.

Owns the memory of the last rows read and the comparison; what follows from it is decided by the readers. A row may be
`NAMELESS`: it has its place among the others, is never known, and is never missed. docs/paging.md#overlaps
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import takewhile

import msgspec

from annolake.extract.paging.slices import NAMELESS

JOINING = 3  # known rows, at least, that a slice must begin with (docs/paging.md#overlaps)
LEAST = 2  # rows: the fewest that can hold a known row and a new one
TAIL_ROWS = 1024  # at least so many of the last rows are remembered, at most twice as many: about 0.3 MB


class Overlap(msgspec.Struct, frozen=True):
    """A slice held against the tail. A *known* row of the slice is one that is in the tail."""

    anchors: tuple[tuple[int, int], ...] = ()  # of every known row: its index in the slice, its place in the tail
    ordered: bool = True  # the known rows follow each other as they did, and no row is there twice
    shift: int = 0  # how much further behind than expected the first known row is
    strangers: int = 0  # rows before the last known one that are not known
    missing: int = 0  # rows of the tail between the first and the last known one that are not there
    left: int = 0  # rows of the tail behind the last known one
    behind: int = 0  # index of the first row behind all known ones

    @property
    def first(self) -> int:
        """Index of the first known row, 0 if there is none."""
        return self.anchors[0][0] if self.anchors else 0

    @property
    def moved(self) -> bool:
        """Tell whether the list is seen to have changed since the tail was read."""
        return bool(self.shift or self.strangers or self.missing or not self.ordered)

    def holds(self, need: int) -> bool:
        """Tell whether `need` of the slice's first 2 x `need` rows are known and follow each other as they did."""
        rising: list[int] = []  # by its length, the lowest place that ends a rising run
        for index, place in self.anchors:
            if index < 2 * need:
                run = bisect_left(rising, place)
                rising[run : run + 1] = [place]
        return len(rising) >= need


class Tail:
    """The last rows of a joined reading, in the list's order; `end` is the offset expected right behind them.

    `assumed` is the number of rows at the end of the tail that the last slice did not reach, though they were
    read before it. `loose` has rows whose place is not known any more: a later slice of their part of the list
    did not hold them. They left, or were pushed back by inserted rows, or that slice was of an earlier moment.
    """

    def __init__(self) -> None:
        self.end = 0
        self.assumed = 0
        self.loose: dict[bytes, None] = {}
        self._rows: list[bytes] = []
        self._place: dict[bytes, int] = {}
        self._next = 0  # the place behind the last row; places only grow

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: bytes) -> bool:
        return key in self._place

    def remembers(self, key: bytes) -> bool:
        """Tell whether the row was among the last ones read, be its place known or not."""
        return key in self._place or key in self.loose

    def compare(self, offset: int, keys: Sequence[bytes]) -> Overlap:
        """Hold the slice at `offset` against the tail."""
        places, rows, origin = self._place, self._rows, self._next - len(self._rows)
        anchors = tuple((index, places[key]) for index, key in enumerate(keys) if key in places)
        named = [key for key in keys if key]
        once = len(set(named)) == len(named)
        if not anchors:
            return Overlap(ordered=once)
        known = [place - origin for _, place in anchors]
        low, high = min(known), max(known)
        first, last = anchors[0][0], anchors[-1][0]
        after = rows[high + 1 :]
        return Overlap(
            anchors=anchors,
            ordered=once and known == sorted(known),
            shift=offset + first - (self.end - (len(rows) - known[0])),
            strangers=last + 1 - len(anchors) - keys[: last + 1].count(NAMELESS),
            missing=high + 1 - low - len(set(known)) - rows[low : high + 1].count(NAMELESS),
            left=len(after) - after.count(NAMELESS),
            behind=last + 1 + min(_nameless_first(keys[last + 1 :]), _nameless_first(after)),
        )

    def named(self, offset: int) -> int:
        """Return how many rows of the tail, expected at `offset` or behind it, can be known again."""
        rows = self._rows[max(0, len(self._rows) - max(0, self.end - offset)) :]
        return len(rows) - rows.count(NAMELESS)

    def extend(self, offset: int, keys: Sequence[bytes], overlap: Overlap, *, ends: bool) -> None:
        """Take a slice that joins (or, with an empty tail, opens the reading); `ends`: it holds the list's end."""
        still = overlap.ordered and not (overlap.strangers or overlap.missing or overlap.left)
        self.end, self.assumed = offset + len(keys), 0
        if still and (offset or not self._rows):
            self._append(keys[overlap.behind :])
        else:
            self._rearrange(keys, overlap, starts=offset == 0, ends=ends)

    def doubt(self) -> None:
        """Give up the assumed rows: a slice aimed at them did not join."""
        gone = self._rows[len(self._rows) - self.assumed :]
        self.end -= self.assumed
        self._replace(self._rows[: len(self._rows) - self.assumed], gone)

    def clear(self) -> None:
        """Forget everything: the reading starts over."""
        self.end = 0
        self.loose.clear()
        self._replace([], [])

    def _append(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            if key:
                self._place[key] = self._next
                self.loose.pop(key, None)
            self._next += 1
            self._rows.append(key)
        if len(self._rows) > 2 * TAIL_ROWS:
            for key in self._rows[:-TAIL_ROWS]:
                self._place.pop(key, None)
            del self._rows[:-TAIL_ROWS]

    def _rearrange(self, keys: Sequence[bytes], overlap: Overlap, *, starts: bool, ends: bool) -> None:
        """Set the slice in the place of the part of the tail that it overlaps."""
        seen = {key for key in keys if key}
        origin = self._next - len(self._rows)
        known = [place - origin for _, place in overlap.anchors] or [0, len(self._rows)]
        low, high = min(known), max(known)
        before = [] if starts else [key for key in self._rows[:low] if key not in seen]
        # rows in front of the first known one may stand before or behind some of `before`
        rows = [*before, *keys[overlap.first if before else 0 :]]
        follow = self._rows[high + 1 :] if overlap.behind == len(keys) and not ends else []
        self.end += len(follow)
        self._replace(rows + follow, [*self._rows[low:], *keys[: overlap.first]])
        self.assumed = len(follow)

    def _replace(self, rows: list[bytes], loose: Iterable[bytes]) -> None:
        self.assumed = 0
        self._rows = rows[-2 * TAIL_ROWS :]
        self._place = {key: self._next + index for index, key in enumerate(self._rows) if key}
        self._next += len(self._rows)
        self.loose.update(dict.fromkeys(loose))
        self.loose.pop(NAMELESS, None)
        unplaced = [key for key in self.loose if key not in self._place]
        self.loose = dict.fromkeys(unplaced[-2 * TAIL_ROWS :])


def _nameless_first(keys: Sequence[bytes]) -> int:
    return len(list(takewhile(lambda key: not key, keys)))
