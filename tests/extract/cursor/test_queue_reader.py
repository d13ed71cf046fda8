"""Whether sections that change while they are read lose a row, and what reading them costs."""

import random
from collections.abc import Callable, Iterator

import msgspec
import pytest

from annolake.errors import UnavailableError
from annolake.extract.cursor.lanes import Lanes
from annolake.extract.cursor.overlapping import OverlappingReader
from annolake.extract.cursor.queue_reader import QueueReader
from annolake.extract.cursor.section_reader import CursorSlice, Section
from annolake.extract.endpoints.items import SECTIONS
from annolake.extract.paging.readings import Ledger
from annolake.extract.paging.sort_order import Order
from annolake.extract.paging.watermark import Watermark
from extract.passing import Cursors, Passing
from extract.rows import PlainSeenKeys, key

MINE, THEIRS, ARCHIVED = SECTIONS
BEGUN = 1_000

Change = Callable[[Passing, random.Random], None]


def reader_of(queue: Passing, *, touched_since: int | None = BEGUN, lanes: Lanes | None = None) -> QueueReader:
    """Return a reader of the model's sections."""
    sections = [queue.section(name) for name in SECTIONS]
    return QueueReader(sections, seen_keys=PlainSeenKeys(), limit=lambda: 100, lanes=lanes, touched_since=touched_since)


def read(reader: QueueReader) -> set[bytes]:
    """Read to the end; return the rows that were handed over."""
    return {row for piece in filter(None, reader.read()) for row in piece.wanted}


def check_nothing_is_missed_untold(queue: Passing, reader: QueueReader, change: "Change") -> None:
    """Read to the end: each row that stayed was met, or else it is said; only requeueing may be a reason."""
    met = read(reader)

    assert queue.throughout <= met or not reader.verdict.complete
    assert reader.verdict.complete or (change is requeue and reader.verdict.reasons)


# --- what happens


def _any(queue: Passing, rng: random.Random, names: tuple[str, ...] = SECTIONS) -> tuple[str, int]:
    name = rng.choices(names, [len(queue.sections[name]) + 1 for name in names])[0]
    return name, rng.randrange(len(queue.sections[name]) + 1)


def finish(queue: Passing, rng: random.Random) -> None:
    """Three rows pass on, from one section or the other."""
    for _ in range(3):
        name, at = _any(queue, rng, (MINE, THEIRS))
        to = ARCHIVED if name == THEIRS or rng.random() < 0.7 else THEIRS
        queue.pass_to(name, at, to, rng.randrange(len(queue.sections[to]) + 1))


def burst(queue: Passing, rng: random.Random) -> None:
    """Sixty neighbours leave at once: at the front, at the tail or in between."""
    last = max(0, len(queue.sections[MINE]) - 60)
    at = rng.choice((0, last, rng.randrange(last + 1)))
    if rng.random() < 0.5:
        queue.delete(MINE, at, 60)
    else:
        queue.pass_to(MINE, at, ARCHIVED, len(queue.sections[ARCHIVED]), 60)


def delete(queue: Passing, rng: random.Random) -> None:
    """A row is deleted."""
    queue.delete(*_any(queue, rng))


def insert(queue: Passing, rng: random.Random) -> None:
    """A row comes: first, last or in between."""
    rows = len(queue.sections[MINE])
    queue.insert(MINE, rng.choice((0, rows, rng.randrange(rows + 1))))


def replace(queue: Passing, rng: random.Random) -> None:
    """A row is deleted while another one comes."""
    queue.delete(MINE, rng.randrange(len(queue.sections[MINE]) + 1))
    queue.insert(MINE, len(queue.sections[MINE]))


def requeue(queue: Passing, rng: random.Random) -> None:
    """A row that was not requeued before goes to where new rows come, first or last; another one finishes."""
    name, at = _any(queue, rng)
    row = queue.sections[name][at : at + 1]
    if row and row[0] not in queue.backs and row[0] not in queue.moved:
        end = rng.choice((0, len(queue.sections[MINE])))
        if name == MINE:
            queue.move(MINE, at, max(0, end - 1))
        else:
            queue.pass_to(name, at, MINE, end)
    finish(queue, rng)


CHANGES = [finish, burst, delete, insert, replace, requeue]


def sometimes(change: Change, share: float, rng: random.Random) -> Callable[[Passing], None]:
    """Make a change before that share of the requests."""
    return lambda queue: change(queue, rng) if rng.random() < share else None


def once(change: Change, request: int, rng: random.Random) -> Callable[[Passing], None]:
    """Make a change once, before that request."""
    return lambda queue: change(queue, rng) if len(queue.log) == request else None


@pytest.mark.parametrize("share", [1.0, 0.3, 0.04])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cursors", ["offset", "keyset"])
def test_no_row_is_missed_untold(cursors: Cursors, change: Change, share: float) -> None:
    """Whatever moves, however seldom: every row that stays is met, and only requeueing may leave that unshown."""
    for seed in range(4):
        rng = random.Random(f"{change.__name__}{seed}{share}")
        queue = Passing((900, 350, 500), cursors, change=sometimes(change, share, rng))

        check_nothing_is_missed_untold(queue, reader_of(queue), change)


@pytest.mark.parametrize("cursors", ["offset", "keyset"])
def test_one_change_in_a_quiet_queue_is_noticed(cursors: Cursors) -> None:
    """A single row that passes on, leaves, is replaced or requeued at any moment costs no other row."""
    for seed in range(60):
        rng = random.Random(f"one {seed}")
        queue = Passing((900, 150, 200), cursors)
        queue.change = once(CHANGES[seed % len(CHANGES)], rng.randrange(1, 16), rng)
        met = read(reader_of(queue))

        assert queue.throughout <= met


def test_a_row_replaced_shows_by_its_time_alone() -> None:
    """Where cursors count rows, one deleted while one is added is told by the new one's time, else another is lost."""

    def on_the_second_page(queue: Passing, _: random.Random) -> None:
        queue.delete(MINE, 150)
        queue.insert(MINE, len(queue.sections[MINE]))

    lost = []
    for touched_since in (None, BEGUN):
        queue = Passing((400, 0, 0))
        queue.change = once(on_the_second_page, 2, random.Random(1))
        met = read(reader_of(queue, touched_since=touched_since))
        lost.append(len(queue.throughout - met))

    assert lost == [1, 0]


def _back_to(end: int) -> Change:
    return lambda queue, _: queue.pass_to(ARCHIVED, 150, MINE, end)


# Each of them, in a queue where nothing else happens, is told by one sign alone.
ALONE = {
    "a probe": ((4000, 0, 0), 20, lambda queue, _: queue.delete(MINE, 150)),
    "a row met in two sections": ((400, 0, 100), 3, lambda queue, _: queue.pass_to(MINE, 150, ARCHIVED, 0)),
    "the first page": ((400, 0, 300), 5, _back_to(0)),
    "the last page": ((400, 0, 300), 5, _back_to(400)),
}


@pytest.mark.parametrize("sign", ALONE)
def test_each_sign_alone_is_enough(sign: str) -> None:
    """Where neither sizes nor times tell, what is read again, or met twice, does."""
    sizes, request, change = ALONE[sign]
    queue = Passing(sizes, told=lambda _: None, change=once(change, request, random.Random(1)))
    reader = reader_of(queue, touched_since=None)
    met = read(reader)

    assert queue.throughout <= met
    assert reader.verdict.signs.rereadings


def first_to_last(queue: Passing, _: random.Random) -> None:
    """The first row becomes the last one."""
    queue.move(MINE, 0, len(queue.sections[MINE]) - 1)


def last_to_first(queue: Passing, _: random.Random) -> None:
    """The last row becomes the first one."""
    queue.move(MINE, len(queue.sections[MINE]) - 1, 0)


def come_back(queue: Passing, _: random.Random) -> None:
    """A row comes back, and another one comes for the first time."""
    queue.pass_to(ARCHIVED, 0, MINE, len(queue.sections[MINE]))
    queue.insert(MINE, len(queue.sections[MINE]))


UNREST = [(first_to_last, "changing their order"), (last_to_first, "changing their order"), (come_back, "coming back")]


@pytest.mark.parametrize(("change", "reason"), UNREST)
def test_unrest_without_end_is_told(change: Change, reason: str) -> None:
    """Rows that move within a section, or come back, as long as it is read: readings are bounded, and it is told."""
    queue = Passing((3000, 0, 900), "keyset", change=sometimes(change, 1.0, random.Random(1)))
    reader = reader_of(queue)
    read(reader)

    assert not reader.verdict.complete
    assert any(reason in one for one in reader.verdict.reasons)
    assert reader.requests < 300


def test_unrest_that_ends_is_read_off() -> None:
    """Once rows keep their order for a whole reading, the section is complete."""
    rng = random.Random(1)
    queue = Passing((1500, 0, 300))
    queue.change = lambda queue: first_to_last(queue, rng) if len(queue.log) < 55 else None
    reader = reader_of(queue)

    assert read(reader) >= queue.start
    assert reader.verdict.complete
    assert reader.verdict.signs.again + reader.verdict.signs.disorders


def test_unstable_order_is_told() -> None:
    """A section whose order does not repeat is read, and reported as one that could not be verified complete."""
    rng = random.Random(3)
    queue = Passing((900, 0, 0), shuffle=lambda rows: rng.sample(rows, len(rows)))
    reader = reader_of(queue)
    read(reader)

    assert not reader.verdict.complete
    assert any("do not join" in reason or "changing their order" in reason for reason in reader.verdict.reasons)


@pytest.mark.parametrize("cap", [1, 2, 3, 7, 30])
def test_a_service_that_caps_pages_is_read_to_its_end(cap: int) -> None:
    """The end is where there is no next cursor, not where a page is short; joints need a page of two rows."""
    queue = Passing((80, 20, 31), cap=cap)
    quiet = reader_of(queue)
    assert read(quiet) == queue.start

    rng = random.Random(cap)
    queue = Passing((80, 20, 31), cap=cap, change=sometimes(delete, 0.05, rng))
    if cap == 1:
        with pytest.raises(UnavailableError, match="repeats itself"):
            read(reader_of(queue))
    else:
        met = read(reader_of(queue))
        assert queue.throughout <= met


@pytest.mark.parametrize("cursors", ["offset", "keyset"])
def test_rows_that_cannot_be_told_apart_are_no_unrest(cursors: Cursors) -> None:
    """Rows without a readable id can have one key: in a quiet queue they are no sign, in a moving one no joint."""
    for share in (0.0, 0.3):
        rng = random.Random(share)
        queue = Passing((500, 200, 300), cursors, change=sometimes(finish, share, rng))
        queue.unreadable = set(rng.sample(sorted(queue.start), 90))
        reader = reader_of(queue)
        met = read(reader)

        assert queue.throughout - queue.unreadable <= met
        assert reader.verdict.complete
        assert bool(reader.verdict.signs.rereadings) == bool(share)


@pytest.mark.parametrize("sizes", [(1, 0, 0), (2, 1, 0), (1, 1, 1), (0, 3, 0), (30, 0, 0)])
@pytest.mark.parametrize("request_", range(1, 9))
def test_rows_that_all_pass_on_are_not_taken_for_one_section_shown_twice(
    request_: int, sizes: tuple[int, int, int]
) -> None:
    """All rows of a section were met in the one before it, then again in the next."""
    queue = Passing(sizes)

    def change(queue: Passing) -> None:
        if len(queue.log) in {request_, request_ + 2}:
            for name, to in ((THEIRS, ARCHIVED), (MINE, THEIRS)):
                for _ in range(len(queue.sections[name])):
                    queue.pass_to(name, 0, to, 0)

    queue.change = change
    reader = reader_of(queue)

    assert queue.throughout <= read(reader)
    assert reader.verdict.complete


# --- what it costs


def test_a_quiet_queue_costs_a_request_for_a_hundred_rows() -> None:
    """One page for each 100 rows, one more for each ten pages, and a look at the ends of the sections in review."""
    for sizes, pages in (((900, 0, 0), 11), ((440, 190, 270), 10), ((20_000, 500, 7_000), 275), ((0, 0, 0), 3)):
        queue = Passing(sizes)
        reader = reader_of(queue)

        assert read(reader) == queue.start
        assert reader.verdict.complete
        assert not reader.verdict.signs.repairs
        assert pages <= reader.requests == len(queue.log) <= pages + min(pages // 10, 32) + 4


def test_a_moving_queue_costs_a_few_times_that() -> None:
    """At the first sign the straight reading is broken off, and joined ones of two requests each 100 rows follow."""
    rng = random.Random(5)
    queue = Passing((3000, 1000, 6000), change=sometimes(finish, 0.2, rng))
    reader = reader_of(queue)
    read(reader)

    assert reader.verdict.complete
    assert reader.verdict.signs.finished
    assert not reader.verdict.signs.requeued
    assert reader.requests < 4 * 100


def test_a_row_is_handed_over_again_only_when_it_came_elsewhere() -> None:
    """What was read again without having moved needs no payload again; a row that passed on does."""
    queue = Passing((300, 100, 100))
    passing = queue.sections[MINE][0]
    queue.change = lambda queue: queue.pass_to(MINE, 0, ARCHIVED, 5) if len(queue.log) == 4 else None
    handed = [(piece.name, row) for piece in filter(None, reader_of(queue).read()) for row in piece.wanted]

    assert [section for section, row in handed if row == passing] == [MINE, ARCHIVED]
    assert len(handed) == 501


# --- no loop


def _endless(pages: Iterator[CursorSlice]) -> QueueReader:
    return QueueReader(
        [Section(name, lambda _cursor, _limit: next(pages)) for name in SECTIONS],
        seen_keys=PlainSeenKeys(),
        limit=lambda: 100,
    )


def _page(rows: range, cursor: str) -> CursorSlice:
    keys = tuple(key(number) for number in rows)
    return CursorSlice(keys, {"added_at": [None] * len(keys)}, keys, cursor=cursor)


@pytest.mark.parametrize("rows", [0, 1, 100])
@pytest.mark.parametrize("changing", [False, True])
def test_a_section_that_never_ends_is_an_error(rows: int, changing: bool) -> None:
    """The same cursor, or ever another one, behind the same rows or none: an error after a while, not a loop."""
    pages = (_page(range(rows), str(number if changing else 1)) for number in range(10_000))

    with pytest.raises(UnavailableError, match="needs_my_review (repeats itself|has a cursor that repeats)"):
        read(_endless(pages))


def test_a_row_that_cannot_be_told_apart_is_no_progress() -> None:
    """Ever the same unreadable item, behind ever another cursor, is an error after a while, too."""
    page = msgspec.structs.replace(_page(range(1), ""), ambiguous_keys=frozenset({key(0)}))
    reader = _endless(msgspec.structs.replace(page, cursor=str(number)) for number in range(10_000))

    with pytest.raises(UnavailableError, match="needs_my_review repeats itself.*10[0-9] pages"):
        read(reader)


def test_ever_new_rows_are_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of new rows without end is not followed for ever."""
    monkeypatch.setattr("annolake.extract.cursor.section_reader.MOST_PAGES", 500)
    pages = (_page(range(number, number + 1), str(number)) for number in range(10_000))

    with pytest.raises(UnavailableError, match="never ends"):
        read(_endless(pages))


def test_a_section_that_is_ever_begun_again_is_read_on_unjoined() -> None:
    """The first page joins each time and has a new row in front, so it is progress; the page behind it never joins."""
    asked: list[str | None] = []

    def fetch(cursor: str | None, limit: int) -> CursorSlice:
        asked.append(cursor)
        assert len(asked) < 5_000
        if cursor is None:
            keys = tuple(map(key, (1_000 + len(asked), *range(limit - 1))))
        else:
            keys = tuple(map(key, range(500, 500 + limit)))
        return CursorSlice(keys, {"added_at": [None] * limit}, keys, cursor=None if cursor else "behind")

    reader = OverlappingReader(Section(MINE, fetch), Ledger(PlainSeenKeys()), limit=lambda: 100)
    met = {row for piece in reader.pages() for row in piece.slice.keys}

    assert {key(number) for number in (*range(99), *range(500, 600))} <= met
    assert not reader.reading.joined


# --- orders and marks


def _timed(sizes: tuple[int, int, int], *, descending: bool) -> Passing:
    queue = Passing(sizes)
    for rows in queue.sections.values():
        times = range(len(rows), 0, -1) if descending else range(len(rows))
        queue.times.update(zip(rows, times, strict=True))
    return queue


def test_orders_are_measured_across_pages() -> None:
    """The neighbours of two pages count, so that a section of sorted pages is not taken for sorted."""
    queue = _timed((250, 120, 1), descending=False)
    queue.sections[THEIRS] = queue.sections[THEIRS][100:] + queue.sections[THEIRS][:100]
    reader = reader_of(queue, touched_since=None)
    read(reader)

    assert reader.verdict.orders == {MINE: Order("added_at", descending=False), THEIRS: None, ARCHIVED: None}


def _since(queue: Passing, order: Order) -> QueueReader:
    sections = [Section(name, queue.fetch(name), Watermark(order, 350)) for name in SECTIONS]
    return QueueReader(sections, seen_keys=PlainSeenKeys(), limit=lambda: 100)


def test_newest_first_is_read_from_the_mark_on() -> None:
    """A section whose newest rows come first is read down to a row before the mark."""
    queue = _timed((500, 350, 1000), descending=True)
    reader = _since(queue, Order("added_at", descending=True))
    met = read(reader)

    assert {row for row, time in queue.times.items() if time >= 350} <= met
    assert (reader.verdict.complete, reader.verdict.swept) == (True, [])
    assert [name for name, _, _ in queue.log].count(ARCHIVED) == 7


@pytest.mark.parametrize("descending", [False, True])
def test_any_other_section_is_read_whole(descending: bool) -> None:
    """Where the newest rows come last, or not in the recorded order, the whole section is read, and it says so."""
    queue = _timed((500, 150, 400), descending=False)
    reader = _since(queue, Order("added_at", descending=descending))

    assert read(reader) == queue.start
    assert (reader.verdict.complete, reader.verdict.swept) == (True, list(SECTIONS))
