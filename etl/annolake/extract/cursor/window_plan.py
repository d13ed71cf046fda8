"""Where a section is cut into windows of start time that hold about as many items each.

Owns the plan. Pure logic over a function that asks for counts side by side. What it costs, and why a wrong plan costs
requests and never an item: docs/paging.md#windows.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from annolake.extract.cursor.section_reader import WHOLE, CursorSlice, Part

MOST_WINDOWS = 16

_FEWEST_PAGES = 16  # of a section that is cut
_PAGES_A_WINDOW = 6
_PAGES_A_COUNT = 10
_ROUNDS = 3
_FAT = 1.5  # a stretch with so many times the items of a window is looked into
_FAR = 60 * 86_400 * 1_000_000  # microseconds: so far out, where the items lie further out than expected
_UNITS = (1_000_000, 1_000, 1)  # microseconds: bounds are as round as the stretch they lie in allows
_STEPS = 64

Counts = Callable[[Sequence[Part]], Sequence[int | None]]


@dataclass(frozen=True)
class Plan:
    """The parts of a section, how many items it has as a whole, and its first page."""

    first: CursorSlice
    parts: tuple[Part, ...]
    total: int


def cut(first: CursorSlice, size: int, *, lanes: int, newest: int | None, counts: Counts) -> Plan | None:
    """Plan the parts of a section by its first page; None where it is better, or has to be, read as a whole.

    `size` is the number of items as reported. No item began much later than `newest` (microseconds since 1970).
    """
    pages = size // max(len(first.keys), 1)
    windows = min(lanes, MOST_WINDOWS, pages // _PAGES_A_WINDOW)
    sample = [start for start in first.starts if start is not None]
    if windows < 2 or pages < _FEWEST_PAGES or not sample or first.ambiguous_keys:  # noqa: PLR2004 - one is no cut
        return None
    ends = [Part("RUN", high=min(sample)), Part("RUN", high=max(sample))]
    total, started, low, high = counts([WHOLE, Part("RUN", low=0), *ends])
    if total != size or started is None or low is None or high is None:
        return None
    threads = Part("THREAD")
    others = [threads] if started < total else []
    if started + sum(told or 0 for told in counts(others)) != total:
        return None  # of some items no window would know
    spread = _Spread(sample, started, {min(sample): low, max(sample): high}, newest)
    spread.look_into(windows, pages // _PAGES_A_COUNT, counts)
    bounds: list[int | None] = [None, *spread.quantiles(windows), None]
    if not spread.is_plausible or len(bounds) < 3:  # noqa: PLR2004 - two windows have a bound between them
        return None
    return Plan(first, (*others, *(Part("RUN", low, high) for low, high in pairwise(bounds))), total)


class _Spread:
    """How the starts of `items` items are spread, by what is `known`: how many began at a time or before it."""

    def __init__(self, sample: Sequence[int], items: int, known: dict[int, int], newest: int | None) -> None:
        self._items = items
        self._known = known
        self._newest = newest
        low, high = min(sample), max(sample)
        apart = max(high - low, _UNITS[0]) * 2 / len(sample)
        self._low = low - int(known[low] * apart) - _UNITS[0]
        self._high = self._no_later_than(high + int((items - known[high]) * apart) + _UNITS[0])

    def _no_later_than(self, high: int) -> int:
        known = max(self._known)
        return high if self._newest is None or self._newest <= known else min(high, self._newest)

    @property
    def is_plausible(self) -> bool:
        """Whether the counts rise with the time."""
        return all(0 <= low <= high <= self._items for (_, low), (_, high) in pairwise(self._points()))

    def look_into(self, windows: int, most: int, counts: Counts) -> None:
        """Ask for at most so many counts, where too many items lie together."""
        for left in range(_ROUNDS, 0, -1):
            share = -(-most // left)
            times = [time for time in self.quantiles(windows, fat=_FAT) if time not in self._known]
            times = times[:: -(-len(times) // share)] if share and times else []
            if not times:
                return
            most -= len(times)
            told = counts([Part("RUN", high=time) for time in times])
            self._known.update((time, count) for time, count in zip(times, told, strict=True) if count is not None)
            self._reach_out(self._items / windows * _FAT)

    def _reach_out(self, fat: float) -> None:
        """Where many items began before the first known time, or after the last, look further out for them."""
        low, high = min(self._known), max(self._known)
        if self._known[low] > fat:
            self._low = min(self._low, low - _FAR)
        if self._items - self._known[high] > fat:
            self._high = self._no_later_than(max(self._high, high + _FAR))

    def quantiles(self, windows: int, fat: float = 0) -> list[int]:
        """Return the times between windows of as many items, those in stretches of `fat` times as many alone."""
        points = self._points()
        found = set()
        for number in range(1, windows):
            sought = self._items * number / windows
            at = bisect_left(points, sought, lo=1, hi=len(points) - 1, key=lambda point: point[1])
            (low, before), (high, until) = points[at - 1], points[at]
            if until - before > self._items / windows * fat and high > low:
                time = low + (high - low) * min(max(sought - before, 0) / max(until - before, 1), 1)
                unit = next(unit for unit in _UNITS if high - low >= unit * _STEPS or unit == 1)
                found.add(int(time) // unit * unit + unit // 2)
        return sorted(found)

    def _points(self) -> list[tuple[int, int]]:
        return [(self._low, 0), *sorted(self._known.items()), (self._high, self._items)]
