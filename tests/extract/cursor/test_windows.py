"""Whether sections that are read in windows of start time lose a row, and what that costs."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from annolake.extract.cursor.queue_reader import QueueReader
from annolake.extract.cursor.section_reader import WHOLE
from annolake.extract.cursor.single_pass import Place
from annolake.extract.cursor.window_plan import RUNS
from annolake.extract.endpoints.items import SECTIONS
from annolake.extract.paging.sort_order import Order
from extract.any_order import AnyOrder
from extract.cursor.test_queue_reader import (
    CHANGES,
    Change,
    check_nothing_is_missed_untold,
    once,
    read,
    reader_of,
    sometimes,
)
from extract.passing import Cursors, Filters, Passing

MINE, THEIRS, ARCHIVED = SECTIONS
BEGUN = 10_000_000_000  # later than all starts
SIZES = (3_000, 400, 2_000)  # the first and the last are cut


def reader_in_windows(queue: Passing, *, lanes: int = 6, touched_since: int | None = BEGUN) -> QueueReader:
    """Return a reader with several lanes, which are answered in any sequence."""
    return reader_of(queue, lanes=AnyOrder(lanes, random.Random(lanes)), touched_since=touched_since)


def in_windows(queue: Passing) -> list[str]:
    """Return which sections were asked for in parts."""
    return [name for name in SECTIONS if any(one[0] == name and part != WHOLE for one, part in asked(queue))]


def asked(queue: Passing) -> list[tuple[tuple[str, str | None, int], object]]:
    """Return the pages that were asked for, with the part of each."""
    return list(zip(queue.log, queue.parts, strict=True))


def test_long_sections_are_read_in_windows() -> None:
    """All rows are met, each is handed over once, and it takes about as many requests as reading straight on."""
    queue = Passing(SIZES)
    reader = reader_in_windows(queue)
    handed = Counter(row for piece in filter(None, reader.read()) for row in piece.wanted)

    assert handed == Counter(queue.start)
    assert (reader.verdict.complete, reader.verdict.signs.repairs, reader.verdict.rows) == (True, 0, 5_400)
    assert in_windows(queue) == [MINE, ARCHIVED]
    plain = Passing(SIZES)
    read(reader_of(plain))
    assert len(queue.log) + len(queue.counted) <= 1.45 * (len(plain.log) + len(plain.counted))


@pytest.mark.parametrize("sizes", [(0, 0, 0), (500, 300, 1_500), (90, 1, 250)])
def test_short_sections_cost_no_request_more(sizes: tuple[int, int, int]) -> None:
    """Under 16 pages a section is read straight on, and no part of it is counted."""
    queue, plain = Passing(sizes), Passing(sizes)

    assert read(reader_in_windows(queue)) == queue.start
    read(reader_of(plain))
    assert Counter(queue.log) == Counter(plain.log)
    assert Counter(queue.counted) == Counter(plain.counted)


def test_one_lane_reads_straight_on() -> None:
    """Where requests cannot be made side by side, windows are no use."""
    queue = Passing(SIZES)

    assert read(reader_in_windows(queue, lanes=1)) == queue.start
    assert in_windows(queue) == []


def test_rows_at_a_bound_are_met_twice_and_handed_over_once() -> None:
    """Bounds are inclusive on both sides: a row that began right there is in two windows, and no sign of movement."""
    queue = Passing(SIZES)
    queue.starts = {row: start + 500 for row, start in queue.starts.items()}  # as bounds are
    reader = reader_in_windows(queue)
    pages = list(filter(None, reader.read()))
    handed = Counter(row for piece in pages for row in piece.wanted)
    met = Counter(row for piece in pages for row in piece.slice.keys)

    assert handed == Counter(queue.start)
    assert max(met.values()) == 2
    assert sum(times == 2 for times in met.values()) > 200  # more than the two first pages
    assert (reader.verdict.complete, reader.verdict.signs.repairs, in_windows(queue)) == (True, 0, [MINE, ARCHIVED])
    assert len(queue.log) < 80


# --- what a service may do differently


def _without_start(queue: Passing) -> None:
    queue.starts = {row: at for number, (row, at) in enumerate(queue.starts.items()) if number % 10}


def _threads(queue: Passing) -> None:
    queue.threads = {row for number, row in enumerate(sorted(queue.start)) if number % 10 == 0}


def _threads_and_without_start(queue: Passing) -> None:
    _threads(queue)
    queue.starts = {row: at for number, (row, at) in enumerate(queue.starts.items()) if number % 9}


def _unreadable(queue: Passing) -> None:
    queue.unreadable = set(sorted(queue.start)[1_000:1_050])


def _all_at_once(queue: Passing) -> None:
    queue.starts = dict.fromkeys(queue.starts, 5)


def _shuffled(queue: Passing) -> None:
    starts = list(queue.starts.values())
    random.Random(1).shuffle(starts)
    queue.starts = dict(zip(queue.starts, starts, strict=True))


def _capped(queue: Passing) -> None:
    queue.cap = 30


ODD = [_without_start, _threads, _threads_and_without_start, _unreadable, _all_at_once, _shuffled, _capped]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("cursors", ["offset", "keyset"])
def test_odd_queues_are_read_completely(odd: Callable[[Passing], None], cursors: Cursors) -> None:
    """Rows that no window holds are met by other means, and none is handed over twice."""
    queue = Passing(SIZES, cursors)
    odd(queue)
    reader = reader_in_windows(queue)
    handed = Counter(row for piece in filter(None, reader.read()) for row in piece.wanted)

    assert queue.start - queue.unreadable <= handed.keys()
    assert set(handed.values()) == {1}
    assert reader.verdict.complete
    assert not reader.verdict.signs.repairs


LIES: dict[str, Callable[[int], int | None]] = {
    "refused": lambda _: None,
    "nothing": lambda _: 0,
    "a constant": lambda _: 2_500,
    "twice": lambda size: 2 * size,
    "less": lambda size: size * 9 // 10,
    "one more": lambda size: size + 1,
    "rounded": lambda size: size // 7 * 7,
    "capped": lambda size: min(size, 1_000),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("odd", [lambda _: None, _without_start, _threads])
def test_counts_are_never_a_reason_to_miss_a_row(lie: str, odd: Callable[[Passing], None]) -> None:
    """Whatever the service says of sizes: all rows are met."""
    queue = Passing(SIZES, told=LIES[lie])
    odd(queue)
    handed = Counter(row for piece in filter(None, reader_in_windows(queue).read()) for row in piece.wanted)

    assert handed == Counter(queue.start)


@pytest.mark.parametrize("filters", ["ignored", "refused"])
def test_a_service_without_filters_is_read_straight_on(filters: Filters) -> None:
    """Where filters are refused or ignored all rows are met, for a few requests more."""
    queue = Passing(SIZES, filters=filters)
    reader = reader_in_windows(queue)

    assert read(reader) == queue.start
    assert (reader.verdict.complete, reader.verdict.signs.repairs) == (True, 0)
    assert len(queue.log) <= 54 + 5 + 6 + 4


def test_a_listing_that_ignores_what_its_count_keeps_is_given_up_at_once() -> None:
    """A row outside its window shows that the listing has no windows."""
    queue = Passing(SIZES)
    fetch = queue.fetch
    queue.fetch = lambda name, _part=WHOLE: fetch(name)  # type: ignore[method-assign,assignment]
    reader = reader_in_windows(queue)

    assert read(reader) == queue.start
    assert (reader.verdict.complete, reader.verdict.signs.repairs) == (True, 0)
    assert len(queue.log) <= 54 + 5 + 2 * 6 + 4


def test_rows_that_no_window_shows_are_told() -> None:
    """Where fewer rows are shown than counted, the section is read straight on, and again until readings agree."""
    queue = Passing(SIZES)
    queue.hidden = set(queue.sections[MINE][1_500:1_510])
    reader = reader_in_windows(queue)

    assert read(reader) == queue.start - queue.hidden
    assert (reader.verdict.complete, reader.verdict.not_shown) == (True, 10)


def test_rows_without_a_start_that_no_count_knows() -> None:
    """Where even the count without bounds leaves them out, one on the first page is enough to tell."""
    queue = Passing(SIZES)
    _without_start(queue)
    count = queue.count
    queue.count = lambda name, part: count(name, RUNS if part == WHOLE else part)  # type: ignore[method-assign]

    assert read(reader_in_windows(queue)) == queue.start


# --- movement


@pytest.mark.parametrize("share", [1.0, 0.3, 0.04])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cursors", ["offset", "keyset"])
@pytest.mark.parametrize("lanes", [2, 6])
def test_no_row_is_missed_untold(cursors: Cursors, change: Change, share: float, lanes: int) -> None:
    """Whatever moves, however seldom: every row that stays is met, and only requeueing may leave that unshown."""
    for seed in range(2):
        rng = random.Random(f"{change.__name__}{seed}{share}")
        queue = Passing((2_000, 150, 1_700), cursors, change=sometimes(change, share, rng))

        check_nothing_is_missed_untold(queue, reader_in_windows(queue, lanes=lanes), change)


@pytest.mark.parametrize("cursors", ["offset", "keyset"])
def test_one_change_in_a_quiet_queue_is_noticed(cursors: Cursors) -> None:
    """A single row that passes on, leaves, is replaced or requeued at any moment costs no other row."""
    for seed in range(40):
        rng = random.Random(f"one {seed}")
        queue = Passing((1_900, 150, 200), cursors)
        queue.change = once(CHANGES[seed % len(CHANGES)], rng.randrange(1, 30), rng)
        met = read(reader_in_windows(queue))

        assert queue.throughout <= met


def _swap(queue: Passing, name: str, rng: random.Random) -> None:
    """A row leaves while another one that began at the same time comes, anywhere: no count tells."""
    row = queue.sections[name][rng.randrange(1_900)]
    queue.delete(name, queue.sections[name].index(row))
    queue.insert(name, rng.randrange(1_900))
    (new,) = set(queue.sections[name]) & queue.times.keys() - {row}
    queue.starts[new] = queue.starts[row]


def replace(queue: Passing, rng: random.Random) -> None:
    """A row is replaced in the section that is read first."""
    _swap(queue, MINE, rng)


def replace_archived(queue: Passing, rng: random.Random) -> None:
    """Likewise in the one read last."""
    _swap(queue, ARCHIVED, rng)


def pass_on(queue: Passing, rng: random.Random) -> None:
    """A row passes on, another one leaves where it comes to, and a third takes its place."""
    queue.pass_to(MINE, rng.randrange(1_900), ARCHIVED, rng.randrange(1_900))
    queue.delete(ARCHIVED, rng.randrange(1_900))
    queue.insert(MINE, rng.randrange(1_900))


@pytest.mark.parametrize("change", [replace, replace_archived, pass_on])
def test_true_counts_alone_are_enough(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pages asked for again show nothing: a row can only be missed where one was met that came meanwhile."""
    monkeypatch.setattr(Place, "fits", lambda *_: True)
    for seed in range(120):
        rng = random.Random(seed)
        queue = Passing((1_900, 0, 1_900))
        queue.change = once(change, rng.randrange(2, 60), rng)
        met = read(reader_in_windows(queue))

        assert queue.throughout <= met


# --- again, and orders


def test_reading_again_takes_windows_as_well() -> None:
    """Another reading finds only rows that came since."""
    queue = Passing(SIZES)
    reader = reader_in_windows(queue, touched_since=None)
    read(reader)
    queue.insert(MINE, 500, 3)
    handed = {row for piece in filter(None, reader.read_again()) for row in piece.wanted}

    assert handed == set(queue.sections[MINE]) - queue.start
    assert reader.verdict.complete


def _order(queue: Passing, *, lanes: int = 6) -> Order | None:
    reader = reader_in_windows(queue, lanes=lanes, touched_since=None)
    read(reader)
    assert in_windows(queue) == [MINE]
    return reader.verdict.orders[MINE]


def _timed(times: Callable[[int], int]) -> Passing:
    queue = Passing((3_000, 0, 0))
    queue.times = {row: times(number) for number, row in enumerate(queue.sections[MINE])}
    return queue


@pytest.mark.parametrize("sign", [1, -1])
def test_the_order_of_a_section_is_that_of_its_windows(sign: int) -> None:
    """Sorted in each window, with the first page in front of all others: sorted."""
    assert _order(_timed(lambda number: sign * number)) == Order("added_at", descending=sign < 0)
    assert _order(_timed(lambda number: sign * (number ^ 1))) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_windows_that_follow_each_other_against_the_order_are_not_sorted(sign: int) -> None:
    """Each half is sorted, and rows of the later one should be on the first page: there is no order."""
    queue = _timed(lambda number: sign * ((number + 1_500) % 3_000))
    queue.starts = {row: start + start // 1_500_000 * 9_000_000 for row, start in queue.starts.items()}

    assert _order(queue, lanes=2) is None
