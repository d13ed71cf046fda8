"""Where sections are cut: into windows of about as many items, with few counts, or not at all."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from annolake.extract.cursor.section_reader import WHOLE, CursorSlice, Part
from annolake.extract.cursor.window_plan import RUNS, THREADS, Plan, Starts, cut

DAY = 86_400_000_000
NOW = 20_000 * DAY
RNG = random.Random(3)


class Counted:
    """What a service counts of items that began then; `asked` has how many counts each round had."""

    def __init__(self, starts: Sequence[int], *, threads: int = 0) -> None:
        self.starts = sorted(starts)
        self.threads = threads
        self.asked: list[int] = []

    def __call__(self, parts: Sequence[Part]) -> list[int | None]:
        """Count."""
        self.asked += [len(parts)] if parts else []
        return [self.count(part) for part in parts]

    def count(self, part: Part) -> int | None:
        """Return the number of items of a part."""
        if part in (WHOLE, THREADS):
            return self.threads + (len(self.starts) if part == WHOLE else 0)
        first = 0 if part.low is None else bisect_left(self.starts, part.low)
        return (len(self.starts) if part.high is None else bisect_right(self.starts, part.high)) - first


def plan_of(
    rows: Sequence[int], counted: Counted, *, lanes: int = 16, size: int | None = None, starts: Starts | None = None
) -> Plan | None:
    """Plan a section whose items began then, in this order; `starts`: of the sections before it."""
    first = CursorSlice([b"x"] * 100, {}, None, cursor="more", starts=rows[:100])
    size = len(rows) + counted.threads if size is None else size
    parts = starts.parts(size, 100, lanes=lanes) if starts else []
    beside = dict(zip(parts, counted(parts), strict=True))
    return cut(first, size, lanes=lanes, newest=NOW, counts=counted, counted=beside)


SPREADS: dict[str, Callable[[], int]] = {
    "evenly, until a week ago": lambda: NOW - RNG.randrange(7 * DAY, 27 * DAY),
    "evenly, a year ago": lambda: NOW - RNG.randrange(365 * DAY, 385 * DAY),
    "ever more": lambda: NOW - int(RNG.expovariate(0.1) * DAY),
    "by day": lambda: NOW - RNG.randrange(60) * DAY - RNG.randrange(DAY // 3),
    "eight batches": lambda: NOW - RNG.randrange(8) * 9 * DAY - RNG.randrange(60_000_000),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("order", ["oldest first", "newest first", "unsorted"])
@pytest.mark.parametrize("rows", [2_000, 8_400, 30_000])
def test_windows_hold_about_as_many_items(spread: str, order: str, rows: int) -> None:
    """No window has four times its share, and counts are few; the parts hold all items, at bounds twice."""
    starts = [SPREADS[spread]() for _ in range(rows)]
    if order != "unsorted":
        starts.sort(reverse=order == "newest first")
    counted = Counted(starts)
    plan = plan_of(starts, counted)

    assert plan
    assert max(plan.parts.values()) < 4 * rows / min(16, rows // 700)
    assert len(counted.asked) <= 5
    assert sum(counted.asked) <= rows / 400 + 30
    assert sum(plan.parts.values()) == rows
    assert all(low.high == high.low for low, high in pairwise(plan.parts))
    assert plan.counted == {part: counted.count(part) for part in plan.counted}


@pytest.mark.parametrize("order", ["oldest first", "unsorted"])
def test_items_that_follow_each_other_like_those_of_the_first_page_cost_two_rounds(order: str) -> None:
    """What is guessed by that page is counted beside the whole: one round more makes the windows even."""
    rng = random.Random(1)
    starts = [NOW - rng.randrange(7 * DAY, 27 * DAY) for _ in range(12_000)]
    if order != "unsorted":
        starts.sort()
    counted = Counted(starts)
    plan = plan_of(starts, counted)

    assert plan
    assert len(counted.asked) == 2
    assert max(plan.parts.values()) < 1.3 * 12_000 / 16


def test_threads_are_a_part_of_their_own() -> None:
    """They are read without bounds."""
    starts = [SPREADS["evenly, a year ago"]() for _ in range(3_000)]
    plan = plan_of(starts, Counted(starts, threads=200))

    assert plan
    assert plan.parts[THREADS] == 200
    assert plan.counted[RUNS] + plan.counted[THREADS] == plan.counted[WHOLE]


def test_short_sections_and_single_lanes_cost_no_count() -> None:
    """Under 16 pages, or with one lane, nothing is asked for."""
    starts = [SPREADS["ever more"]() for _ in range(3_000)]
    for rows, lanes in ((starts[:1_599], 16), (starts, 1)):
        counted = Counted(rows)

        assert plan_of(rows, counted, lanes=lanes) is None
        assert counted.asked == []


@pytest.mark.parametrize("told", [None, 0, 7, 2_999, 3_000, 10_000])
def test_counts_that_do_not_fit_are_no_plan(told: int | None) -> None:
    """Refused, the same for every part, or not the size that was reported: the section is read as a whole."""
    starts = sorted(SPREADS["ever more"]() for _ in range(3_000))

    class Lying(Counted):
        def count(self, part: Part) -> int | None:  # noqa: ARG002 - the same for every part
            return told

    assert plan_of(starts, Lying(starts)) is None
    assert plan_of(starts, Counted(starts), size=3_001) is None


def test_items_that_began_at_one_moment_are_not_cut() -> None:
    """There is no bound between them."""
    starts = [NOW - DAY] * 3_000

    assert plan_of(starts, Counted(starts)) is None


def starts_of(rows: Sequence[int]) -> Starts:
    """Return what is known of a section that was read, page after page."""
    starts = Starts()
    for page in range(0, len(rows), 100):
        starts.add(rows[page : page + 100])
    return starts


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("threads", [0, 200])
@pytest.mark.parametrize("rows", [2_000, 30_000])
def test_a_section_like_the_one_before_costs_one_round_of_counts(spread: str, threads: int, rows: int) -> None:
    """Those that are asked for beside its first page: its windows begin where the other's rows lie."""
    starts = [SPREADS[spread]() for _ in range(rows)]
    counted = Counted(starts, threads=threads)
    plan = plan_of(starts, counted, starts=starts_of([SPREADS[spread]() for _ in range(60_000)]))

    assert plan
    assert counted.asked == [len(counted.asked) and min(16, (rows + threads) // 250) + 2]
    assert max(plan.parts.values()) < 1.5 * rows / min(16, (rows + threads) // 250) + threads
    assert sum(plan.parts.values()) == rows + threads
    assert plan.counted == {part: counted.count(part) for part in plan.counted}


def test_a_section_unlike_the_one_before_is_cut_by_its_own_counts() -> None:
    """Where most of its rows would lie in one window, or the counts do not fit, they are looked into as ever."""
    starts = [SPREADS["evenly, a year ago"]() for _ in range(5_000)]
    late = starts_of([SPREADS["evenly, until a week ago"]() for _ in range(5_000)])
    counted = Counted(starts)
    plan = plan_of(starts, counted, starts=late)

    assert plan
    assert len(counted.asked) <= 5
    assert max(plan.parts.values()) < 4 * 5_000 / 12
    assert plan_of(starts, Counted(starts), size=5_001, starts=starts_of(starts)) is None
    forgotten = starts_of(starts)
    forgotten.clear()
    assert forgotten.parts(5_000, 100, lanes=16) == []
    assert starts_of(starts).parts(1_599, 100, lanes=16) == starts_of(starts).parts(5_000, 100, lanes=1) == []
