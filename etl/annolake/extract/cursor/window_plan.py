"""Where a section is cut into windows of start time that hold about as many items each.

Owns the plan. Pure logic over a function that asks for counts side by side. What it costs, and why a wrong plan costs
requests and never an item: docs/paging.md#windows.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import msgspec

from annolake.extract.cursor.section_reader import WHOLE, CursorSlice, Part

MOST_WINDOWS = 16

_FEWEST_PAGES = 16  # of a section that is cut
_PAGES_A_WINDOW = 2.5  # so that three requests bring it, though windows differ
_UNEVEN = 1.5  # windows of so many times their share are not even
_FAT = 4.0  # a stretch with so many times the items of a window is looked into
_ROUNDS = 2  # of looking into stretches, and of counting between windows
_LONG = 1.5  # pages: a window with so many more than its share is worth another round of counts
_NEAR = 0.2  # of a window: a bound need not be more exact
_FAR = 60 * 86_400 * 1_000_000  # microseconds: so far out, where the items lie further out than expected
_UNITS = (1_000_000, 1_000, 1)  # microseconds: bounds are as round as the stretch they lie in allows
_STEPS = 64
_SAMPLE = 2_048

RUNS = Part("RUN", low=0)  # those with a start
THREADS = Part("THREAD")

Counts = Callable[[Sequence[Part]], Sequence[int | None]]


class Plan(msgspec.Struct, frozen=True):
    """The parts of a section: windows between `bounds`, THREADs apart; `first` is the section's first page.

    `counted` has what the service counted before they are read, of the section, of the THREADs, of the RUNs and of
    those up to each bound.
    """

    first: CursorSlice
    bounds: tuple[int, ...]
    counted: Mapping[Part, int]

    @property
    def parts(self) -> dict[Part, int]:
        """The parts, the THREADs last, each with the number of its items that are in none before."""
        before, parts = 0, {}
        for low, high in pairwise([None, *self.bounds, None]):
            until = self.counted[RUNS if high is None else Part("RUN", high=high)]
            parts[Part("RUN", low, high)] = until - before
            before = until
        return parts | ({THREADS: self.counted[THREADS]} if THREADS in self.counted else {})


class Starts:
    """A sample of starts, of the lake's rows and of those met in windows: a section may be cut there as well."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._every = 1

    def add(self, starts: Sequence[int | None]) -> None:
        """Take starts, a page's or those of a queue's rows."""
        self._kept += [start for start in starts if start is not None][:: self._every]
        while len(self._kept) > _SAMPLE:
            del self._kept[::2]
            self._every *= 2

    def clear(self) -> None:
        """Forget them: the service does not show its items in windows."""
        self._kept.clear()

    def parts(self, size: int, page: int, *, lanes: int) -> list[Part]:
        """Return what to count of a section of that size beside its first page; nothing where there is no sample."""
        windows = _windows(size // page, lanes)
        if not (windows and self._kept):
            return []
        kept = sorted(self._kept)
        bounds = {kept[len(kept) * number // windows] for number in range(1, windows)}
        return [WHOLE, RUNS, THREADS, *(Part("RUN", high=bound) for bound in sorted(bounds))]


def _windows(pages: int, lanes: int) -> int:
    """Return how many windows a section of so many pages is cut into; 0: none."""
    windows = min(lanes, MOST_WINDOWS, int(pages / _PAGES_A_WINDOW))
    return windows if windows > 1 and pages >= _FEWEST_PAGES else 0


def cut(
    first: CursorSlice, size: int, *, lanes: int, newest: int | None, counts: Counts, counted: Mapping[Part, int | None]
) -> Plan | None:
    """Plan the parts of a section by its first page; None where it is better, or has to be, read as a whole.

    `size` is the number of items as reported. No item began much later than `newest` (microseconds since 1970).
    `counted` has what was counted beside the first page: nothing, or the parts of `Starts`. Where these do, no more is
    asked for.
    """
    windows = _windows(size // max(len(first.keys), 1), lanes)
    sample = [start for start in first.starts if start is not None]
    if not (windows and sample) or first.ambiguous_keys:
        return None
    if plan := _at_those_bounds(first, size, windows, counted):
        return plan
    counts = _beside(counted, counts)
    guessed = [] if counted else _guessed(sample, size, windows, newest)
    times = sorted({min(sample), max(sample), *guessed})
    total, started, threads, *until = counts([WHOLE, RUNS, THREADS, *(Part("RUN", high=time) for time in times)])
    known = {part.high: count for part, count in counted.items() if part.high is not None and count is not None}
    known |= {time: count for time, count in zip(times, until, strict=True) if count is not None}
    if total != size or started is None or not {min(sample), max(sample)} <= known.keys():
        return None
    if started + (threads or 0) != total:
        return None  # of some items no window would know
    spread = _Spread(sample, started, known, newest)
    spread.look_into(windows, counts)
    bounds = spread.bounds(windows, len(first.keys), counts)
    if not (bounds and spread.is_plausible):
        return None
    parts = {Part("RUN", high=bound): count for bound, count in bounds.items()}
    return Plan(first, tuple(bounds), {WHOLE: total, RUNS: started, **parts, **({THREADS: threads} if threads else {})})


def _guessed(sample: Sequence[int], size: int, windows: int, newest: int | None) -> list[int]:
    """Return times between every other window as the first page alone has it: all items follow each other like its own.

    They are counted beside the size of all, and right where items are added day by day: a round trip less.
    """
    later = sample[len(sample) // 2 :]
    rising = sum(one < other for one, other in zip(sample, later, strict=False)) * 4 / len(later)
    before, until = (1, len(sample)) if rising > 3 else (size - len(sample), size) if rising < 1 else (1, size)  # noqa: PLR2004
    return _Spread(sample, size, {min(sample): before, max(sample): until}, newest).quantiles(windows)[1::2]


def _beside(counted: Mapping[Part, int | None], counts: Counts) -> Counts:
    """Return what counts the parts that were not counted yet."""

    def count(parts: Sequence[Part]) -> list[int | None]:
        missing = [part for part in parts if part not in counted]
        told = {**counted, **dict(zip(missing, counts(missing), strict=True))}
        return [told[part] for part in parts]

    return count


def _at_those_bounds(first: CursorSlice, size: int, windows: int, counted: Mapping[Part, int | None]) -> Plan | None:
    """Plan windows between the bounds that were counted; None where that gives no windows of about as many items."""
    known = {part: count for part, count in counted.items() if count is not None}
    if not known or len(known) < len(counted):
        return None
    total, items, threads = (known.pop(part) for part in (WHOLE, RUNS, THREADS))
    until = {count: part for part, count in known.items() if 0 < count < items}
    rising = list(known.values()) == sorted(known.values())
    largest = max(high - low for low, high in pairwise([0, *sorted(until), items]))
    if total != size or items + threads != total or not rising or largest > items / windows * _UNEVEN:
        return None
    bounds = tuple(part.high for part in until.values() if part.high is not None)
    kept = {part: count for count, part in until.items()} | ({THREADS: threads} if threads else {})
    return Plan(first, bounds, {WHOLE: total, RUNS: items, **kept})


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

    def look_into(self, windows: int, counts: Counts) -> None:
        """Find out where too many items lie together: with half as many counts as windows, and again if need be."""
        self._reach_out(self._items / windows * _UNEVEN)
        for _ in range(_ROUNDS):
            times = self.quantiles(windows, _FAT)
            if not times:
                return
            self._count(times[:: -(-2 * len(times) // windows)], counts)
            self._reach_out(self._items / windows * _FAT)

    def bounds(self, windows: int, page: int, counts: Counts) -> dict[int, int]:
        """Return times between windows of about as many items, and how many began until then.

        They are counted once more where that makes the longest window shorter by round trips, of a `page` each.
        """
        share = self._items / windows
        chosen: dict[int, int] = {}
        for _ in range(_ROUNDS):
            times = [time for time in self.quantiles(windows) if not self._is_near(time, share)]
            self._count(times, counts)
            chosen = self._chosen(windows)
            longest = max(high - low for low, high in pairwise([0, *chosen.values(), self._items]))
            if not times or longest <= share + _LONG * page:
                break
        return chosen

    def _chosen(self, windows: int) -> dict[int, int]:
        inside = {count: time for time, count in self._known.items() if 0 < count < self._items}
        sought = [self._items * number / windows for number in range(1, windows)]
        nearest = {min(inside, key=lambda count: abs(count - one)) for one in sought} if inside else set()
        return {inside[count]: count for count in sorted(nearest)}

    def _count(self, times: Sequence[int], counts: Counts) -> None:
        told = counts([Part("RUN", high=time) for time in times])
        self._known.update((time, count) for time, count in zip(times, told, strict=True) if count is not None)

    def _is_near(self, time: int, share: float) -> bool:
        """Tell whether a time that is known already does as well."""
        points = self._points()
        at = bisect_left(points, time, lo=1, hi=len(points) - 1, key=lambda point: point[0])
        (low, before), (high, until) = points[at - 1], points[at]
        count = before + (until - before) * (time - low) / max(high - low, 1)
        near = [one for known, one in points[at - 1 : at + 1] if known in self._known]
        return any(abs(one - count) < share * _NEAR for one in near)

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
                time = low + (high - low) * min(max(sought - before, 0) / (until - before), 1)
                unit = next(unit for unit in _UNITS if high - low >= unit * _STEPS or unit == 1)
                found.add(int(time) // unit * unit + unit // 2)
        return sorted(found - self._known.keys())

    def _points(self) -> list[tuple[int, int]]:
        return [(self._low, 0), *sorted(self._known.items()), (self._high, self._items)]
