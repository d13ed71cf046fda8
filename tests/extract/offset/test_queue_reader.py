"""Reading both lists of a queue: the sequence, its cost, the verdict, and queues that never stand still."""

import random
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import Any

import pytest
from msgspec.structs import replace

from annolake.errors import RefusedError
from annolake.extract.offset.list_reader import Listing
from annolake.extract.offset.queue_reader import QueueReader
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.verdict import Signs
from annolake.extract.paging.waiting import Wait, answered, wait_for_one
from extract.moving import Answer, Change, Model, still
from extract.rows import PlainSeenKeys


def reader_of(
    model: Model,
    *,
    lanes: int = 1,
    spare: int = 0,
    hints: bool = False,
    wait: Wait | None = None,
    meanwhile: Callable[[], bool] = lambda: False,
) -> QueueReader:
    """Return a reader of the model's lists; without `hints` nothing is reported of their sizes."""
    if not hints:
        model.told = lambda _: None
    return QueueReader(
        [model.listing(name) for name in model.lists],
        seen_keys=PlainSeenKeys(),
        lanes=lanes,
        limit=lambda: 100,
        spare=lambda: spare,
        wait=wait or model.wait,
        meanwhile=meanwhile,
    )


def reader_over(*listings: Listing, lanes: int = 1, spare: int = 0, wait: Wait = wait_for_one) -> QueueReader:
    """Return a reader of these lists."""
    return QueueReader(
        listings, seen_keys=PlainSeenKeys(), lanes=lanes, limit=lambda: 100, spare=lambda: spare, wait=wait
    )


def read(reader: QueueReader, model: Model, change: Change = still, seed: float = 0) -> dict[bytes, str]:
    """Return the rows read, each with the list it was read in last."""
    model.change, model.rng = change, random.Random(seed)
    return {row: piece.name for piece in reader.read() for row in piece.slice.keys}


def sequence(model: Model) -> list[str]:
    """Return the lists in the sequence they were asked for, repeats left out."""
    return [name for name, _ in groupby(name for name, *_ in model.log)]


# --- a queue that stands still


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("hints", [False, True])
@pytest.mark.parametrize("active", [0, 1, 99, 100, 101, 280, 2500])
@pytest.mark.parametrize("archived", [0, 1, 43, 100, 191, 2500])
def test_a_quiet_queue_costs_its_pages_and_little_more(lanes: int, hints: bool, active: int, archived: int) -> None:
    """One request for 95 rows and at most 10 besides, without hints two for each lane and ten probes more."""
    model = Model(active, archived)
    reader = reader_of(model, lanes=lanes, hints=hints)
    rows = read(reader, model)

    assert rows.keys() == model.start
    assert reader.verdict.complete
    assert reader.verdict.signs == Signs()
    assert reader.verdict.rows == active + archived
    assert (
        reader.requests == len(model.log) <= (active + archived) / 95 + 10 + lanes // 2 + (0 if hints else lanes + 10)
    )


def test_the_archived_list_is_first_asked_for_after_the_last_active_answer() -> None:
    """With eight lanes guessing ahead, no active slice is under way any more when archived ones are asked for."""
    model = Model(1000, 1000)
    reader = reader_of(model, lanes=8)
    read(reader, model)

    assert sequence(model) == ["active", "archived", "active", "archived"]


def test_one_list_alone_is_read_once() -> None:
    """Without the archived list there is nothing to look at again."""
    model = Model(250)
    reader = reader_over(Listing("active", model.fetch("active")), wait=model.wait)

    assert read(reader, model).keys() == model.start
    assert [offset for _, offset, *_ in model.log] == [0, 95, 190, 245, 250, 350, 450, 650, 1050]
    assert reader.verdict.complete


def test_rows_are_counted_as_they_are_read() -> None:
    """Whoever watches sees the number grow with every page, and rows met twice count once."""
    model = Model(300, 100)
    reader = reader_of(model)
    seen = [reader.verdict.rows for _ in reader.read()]

    assert seen[:4] == [100, 195, 290, 300]
    assert seen[-1] == reader.verdict.rows == 400


# --- something happens


def when(requests: int, name: str, happening: Callable[[Model], object]) -> Change:
    """Let something happen once, when the list has given so many answers."""
    waiting = [happening]

    def change(model: Model, _rng: random.Random) -> None:
        if waiting and sum(name == listed for listed, *_ in model.log) == requests:
            waiting.pop()(model)

    return change


@pytest.mark.parametrize("sizes", [(1, 0), (2, 0), (1, 1), (5, 3), (40, 0), (40, 3)])
@pytest.mark.parametrize("back", [0, 1])
def test_rows_that_all_finish_are_not_taken_for_one_list_shown_twice(back: int, sizes: tuple[int, int]) -> None:
    """Each row of the archived list was met in the active one before; one of them comes back and is met there again."""
    rows, _ = sizes
    model = Model(*sizes)
    finish = when(1, "active", lambda model: model.hand_over("active", 0, 0, rows))
    come_back = when(1, "archived", lambda model: model.hand_over("archived", 0, 0, back))

    def change(model: Model, rng: random.Random) -> None:
        finish(model, rng)
        come_back(model, rng)

    reader = reader_of(model)
    read(reader, model, change)

    assert reader.verdict.complete


def test_a_row_that_finishes_is_met_in_both_lists_and_its_last_reading_counts() -> None:
    """The row was read as active and is handed out as archived; the active list is read again."""
    model = Model(500, 300)
    row = model.lists["active"][10]
    reader = reader_of(model)
    rows = read(reader, model, when(1, "archived", lambda model: model.hand_over("active", 10, 290)))

    assert rows[row] == "archived"
    assert reader.verdict.signs.finished == 1
    assert sequence(model)[:3] == ["active", "archived", "active"]
    assert reader.verdict.complete


@pytest.mark.parametrize("to", [0, 250, 500])
def test_a_row_requeued_behind_both_readings_is_met(to: int) -> None:
    """The row leaves the archived list unread and comes to the active one when that has been read."""
    model = Model(500, 300)
    row = model.lists["archived"][250]
    reader = reader_of(model)
    rows = read(reader, model, when(1, "archived", lambda model: model.hand_over("archived", 250, to)))

    assert rows[row] == "active"
    assert reader.verdict.complete


def test_a_requeue_that_a_finishing_row_makes_up_for_is_met() -> None:
    """The active list is as long as before when it is looked at; what finished shows in the archived one."""
    model = Model(1500, 300)
    row = model.lists["archived"][250]

    def requeue(model: Model) -> None:
        model.hand_over("archived", 250, 0)

    def finish(model: Model) -> None:
        model.hand_over("active", 400, 0)

    def change(model: Model, rng: random.Random) -> None:
        early(model, rng)
        late(model, rng)

    early = when(1, "archived", requeue)
    late = when(5, "archived", finish)  # after the last page of the archived list
    reader = reader_of(model)
    rows = read(reader, model, change)

    assert row in rows
    assert reader.verdict.complete


def test_a_row_that_comes_back_and_finishes_again_is_met() -> None:
    """Each time it leaves a list before it is reached, and enters the other one behind what was read."""
    model = Model(500, 500)
    row = model.lists["archived"][400]

    def change(model: Model, rng: random.Random) -> None:
        for one in (requeue, finish):
            one(model, rng)

    def come_back(model: Model) -> None:
        model.hand_over("archived", 400, 250)
        model.hand_over("archived", 5, 0)  # a sign that the archived list moved

    requeue = when(2, "archived", come_back)
    finish = when(12 + 2, "active", lambda model: model.hand_over("active", 251, 0))  # in the second reading
    reader = reader_of(model)
    rows = read(reader, model, change)

    assert model.passed[row] == ["active", "archived"]
    assert rows[row] == "archived"
    assert sequence(model) == ["active", "archived", "active", "archived", "active", "archived"]
    assert sum((name, offset) == ("active", 0) for name, offset, *_ in model.log) == 3
    assert reader.verdict.complete


def test_a_row_that_a_reading_skipped_is_told() -> None:
    """Met, missed by the reading after, met again: it moved, as rows that come or go never do."""
    model = Model(500)
    row = model.lists["active"][400]
    begun: list[int] = []

    def change(model: Model, _rng: random.Random) -> None:
        begun[:] = [place for place, (_, offset, *_) in enumerate(model.log) if offset == 0]
        if begun and len(model.log) - begun[-1] == 2:
            model.insert("active", 0)  # in each reading, so that there is a third
            if len(begun) == 2:
                model.move("active", model.lists["active"].index(row), 0)

    reader = reader_over(Listing("active", model.fetch("active")), wait=model.wait)
    read(reader, model, change)

    assert reader.verdict.signs.skipped == 1
    assert reader.verdict.reasons == ["rows of the active list kept changing their order"]


def test_rows_that_keep_coming_back_while_others_turn_up_are_told() -> None:
    """New rows can't be told from rows missed before, once rows are seen coming back."""
    model = Model(500, 500)

    def change(model: Model, rng: random.Random) -> None:
        model.insert("active", 0)
        if len(model.log) % 3 == 0:
            model.hand_over("archived", rng.randrange(len(model.lists["archived"])), 0)

    reader = reader_of(model)
    read(reader, model, change)

    assert "rows kept coming back to the active list, with others never met before" in reader.verdict.reasons


def test_an_archived_list_that_moved_since_it_was_read_is_read_again() -> None:
    """The look at its end comes last, and sees a row that came to its front."""
    model = Model(300, 300)
    reader = reader_of(model)
    rows = read(reader, model, when(5 + 1, "active", lambda model: model.insert("archived", 0)))

    assert len(rows) == 601
    assert reader.verdict.complete


def telling(model: Model, *told: tuple[int | None, int | None]) -> None:
    """Have the service tell these sizes, of the active and the archived list, one pair after the other."""
    for_lists = {name: list(sizes) for name, sizes in zip(model.lists, zip(*told, strict=True), strict=True)}
    model.told = lambda name: for_lists[name].pop(0) if len(for_lists[name]) > 1 else for_lists[name][0]


@pytest.mark.parametrize("after", [(501, 300), (500, 299)])
def test_sizes_that_differ_are_a_sign(after: tuple[int, int]) -> None:
    """The service tells another size after than before: the active list is read again."""
    model = Model(500, 300)
    telling(model, (500, 300), after)
    reader = reader_of(model, hints=True)
    read(reader, model)

    assert reader.verdict.signs.resized == 1
    assert reader.verdict.signs.rereadings == 1
    assert sum((name, offset) == ("active", 0) for name, offset, *_ in model.log) == 2
    assert reader.verdict.complete


@pytest.mark.parametrize("told", [[(None, None)], [(5, 3), (None, None)], [(5, None), (5, None)], [(5, 3), (5, 3)]])
def test_sizes_not_told_or_equal_are_no_sign(told: list[tuple[int | None, int | None]]) -> None:
    """A service that keeps its sizes to itself, before or after, is asked once, and leaves no sign."""
    model = Model(500, 300)
    telling(model, *told)
    reader = reader_of(model, hints=True)
    read(reader, model)

    assert reader.verdict.signs == Signs()


@pytest.mark.parametrize("told", [0, 1, 99, 700, -1])
def test_sizes_that_are_too_small_cost_little_and_no_rows(told: int) -> None:
    """Rows beyond the told size are read all the same: at most a window of requests for each list, no sign, no row."""
    model = Model(1400, 1400)
    model.told = lambda _: told
    reader = reader_of(model, lanes=8, spare=8, hints=True)
    rows = read(reader, model)

    assert rows.keys() == model.start
    assert reader.verdict.signs == Signs()
    assert reader.requests <= 2 * (1400 / 90 + 9 + 16)


@pytest.mark.parametrize("told", [1401, 1450, 1500, 5000])
def test_sizes_that_are_too_large_are_a_reason_to_look_further(told: int) -> None:
    """Each offset up to the told size is asked for alone, twice, and then the queue is complete."""
    model = Model(1400, 1400)
    model.told = lambda _: told
    reader = reader_of(model, lanes=8, spare=8, hints=True)
    rows = read(reader, model)

    assert rows.keys() == model.start
    assert reader.verdict.complete
    assert reader.verdict.not_shown == 2 * (told - 1400)
    assert reader.requests <= 4 * (1400 / 90 + 10 + 16 + told - 1400)


def test_a_list_longer_than_told_is_read_by_all_lanes() -> None:
    """Behind the size told slices are asked for by 1, 2, 4, ... again."""
    model = Model(3000)
    model.told = lambda name: 500 if name == "active" else 0

    assert trips(model) <= 17


def trips(model: Model, *, spare: int = 0) -> int:
    """Return how often all that was asked for, over eight lanes, was answered at once."""
    counted = []

    def wait(requests: Collection[Future[Any]]) -> None:
        counted.append(len(requests))
        for answer in requests:
            model.answer(answer)

    list(reader_of(model, lanes=8, spare=spare, hints=True, wait=wait).read())
    return len(counted)


def test_a_quiet_queue_takes_five_round_trips() -> None:
    """The first page beside the sizes, the rest of the list, the other list, and two looks, sizes beside the first."""
    model = Model(1400, 900)

    assert trips(model, spare=8) == 5


def test_sizes_told_late_are_used_at_once() -> None:
    """The first page is not held up by them, and all lanes are sent out when they come, be it before the next page."""
    model = Model(3000)
    busy: list[int] = []

    def wait(requests: Collection[Future[Any]]) -> None:
        slices = [request for request in requests if request not in model.sizes]
        busy.append(len(slices))
        for request in slices[:1] if len(busy) < 3 else list(model.sizes):
            model.answer(request)
        if len(busy) > 3:
            model.answer(slices[0])

    list(reader_of(model, lanes=8, hints=True, wait=wait).read())

    assert busy[0] == 1
    assert max(busy[:3]) < 8
    assert busy[3] == 8


def test_rows_are_handed_out_when_the_next_list_is_asked_for() -> None:
    """The last page of the active list does not hold up the first ones of the archived list."""
    model, asked = Model(600, 300), list[str]()

    def listing(name: str) -> Listing:
        there = model.listing(name)

        def fetch(offset: int, limit: int) -> Answer:
            asked.append(name)
            return there.fetch(offset, limit)

        return replace(there, fetch=fetch)

    def wait(requests: Collection[Future[Any]]) -> None:
        for request in requests:
            model.answer(request)

    reader = reader_over(*map(listing, model.lists), lanes=8, spare=8, wait=wait)
    handed_out = [(piece.name, asked[-1]) for piece in reader.read()]

    assert handed_out.index(("archived", "active")) == 8  # when the look at the active list is under way
    assert handed_out[:8] == [("active", "active"), *[("active", "archived")] * 7]


def test_other_work_is_done_while_looks_alone_are_waited_for() -> None:
    """By then every row was handed out; it ends when there is no more, or an answer is there."""
    model, met, done = Model(500, 300), list[bytes](), list[int]()

    def meanwhile() -> bool:
        done.append(len(set(met)))
        return len(done) < 3

    reader = reader_of(model, hints=True, meanwhile=meanwhile)
    for piece in reader.read():
        met += piece.slice.keys

    assert done[:3] == [800] * 3
    assert sequence(model) == ["active", "archived", "active", "archived"]
    assert len(done) <= 3 + 4  # asked once more for each wait of the looks and sizes


def test_no_other_work_is_done_while_a_list_is_to_be_read_again() -> None:
    """A row that moved while the active list was read has it read again: only then may all be known."""
    model, done = Model(300, 300), list[int]()

    def meanwhile() -> bool:
        done.append(reader.verdict.signs.rereadings)
        return False

    model.change = when(2, "active", lambda model: model.move("active", 0, 250))
    reader = reader_of(model, meanwhile=meanwhile)
    list(reader.read())

    assert reader.verdict.signs.rereadings == 1
    assert set(done) == {1}


def test_slices_are_taken_while_the_caller_is_busy() -> None:
    """What is spare is taken ahead, so that its place is asked for again before the caller comes back."""
    for spare in (0, 3):
        model, met = Model(5000), PlainSeenKeys()
        source = Listing("active", partial(answered_by, model))
        reader = QueueReader([source], seen_keys=met, lanes=2, limit=lambda: 100, spare=partial(int, spare))
        taken = [len(met.readings) for _ in zip(range(3), reader.read(), strict=False)]

        assert taken == [100 + 95 * (spare + place) for place in range(3)]


def answered_by(model: Model, offset: int, limit: int) -> Answer:
    """Return a slice of the active list, answered already."""
    answer = model.fetch("active")(offset, limit)
    model.answer(answer)
    return answer


def test_a_row_that_moves_back_is_found_by_reading_again() -> None:
    """An unread row moves to the part already read; one place too many tells, and the list is read again."""
    for name in ("active", "archived"):
        model = Model(1000, 1000)
        row = model.lists[name][900]
        reader = reader_of(model)
        rows = read(reader, model, when(5, name, partial(Model.move, name=name, at=900, to=3)))

        assert row in rows
        assert reader.verdict.signs.shifts
        assert reader.verdict.complete


def test_rows_that_keep_moving_make_the_export_incomplete() -> None:
    """No list is read more often than allowed, and the reason names it."""
    model = Model(1000, 500)

    def change(model: Model, rng: random.Random) -> None:
        model.move("active", rng.randrange(1000), rng.randrange(1000))

    reader = reader_of(model)
    read(reader, model, change)

    assert reader.verdict.reasons == ["rows of the active list kept changing their order"]
    assert not reader.verdict.complete
    assert reader.verdict.signs.rereadings == 2


def test_an_order_that_does_not_repeat_makes_the_export_incomplete() -> None:
    """Every answer shows the rows in another order: what is met is handed out, and the verdict says so."""
    rng = random.Random(1)
    model = Model(1500, 0)
    model.view = lambda rows: rng.sample(rows, len(rows))
    reader = reader_of(model)
    rows = read(reader, model)

    assert reader.verdict.reasons == ["the pages of the active list do not join: its order does not repeat"]
    assert len(rows) > 1000


def test_the_order_of_each_list_is_measured() -> None:
    """One list rises by added_at, the other falls by the time of review."""
    model = Model(300, 200)
    for place, row in enumerate(model.lists["active"]):
        model.times[row] = {"added_at": place // 2, "reviewed": None}
    for place, row in enumerate(model.lists["archived"]):
        model.times[row] = {"added_at": place % 7, "reviewed": 1000 - place}
    reader = reader_of(model, lanes=4)
    read(reader, model)

    assert {name: str(order) for name, order in reader.verdict.orders.items()} == {
        "active": "added_at asc",
        "archived": "reviewed desc",
    }


# --- errors


def test_an_error_reaches_the_caller_and_cancels_the_rest() -> None:
    """The first refused page ends the reading."""
    asked: list[Future[Slice]] = []

    def fetch(_offset: int, _limit: int) -> Future[Slice]:
        asked.append(Future())
        asked[-1].set_exception(RefusedError("no", status=403, endpoint="/runs", attempts=1))
        return asked[-1]

    reader = reader_over(Listing("active", fetch), lanes=4)

    with pytest.raises(RefusedError, match="no"):
        list(reader.read())
    assert len(asked) == 1


def test_a_caller_that_stops_reading_cancels_what_is_under_way() -> None:
    """Closing the iterator leaves nothing queued in the lanes."""
    model = Model(5000)
    asked: list[Future[Slice]] = []

    def fetch(offset: int, limit: int) -> Future[Slice]:
        rows = model.lists["active"][offset : offset + limit]
        asked.append(Future())
        if len(asked) < 3:
            asked[-1].set_result(Slice(rows, {"added_at": [None] * len(rows)}, tuple(rows)))
        return asked[-1]

    pages = reader_over(Listing("active", fetch, size=lambda: answered(5000)), lanes=4).read()
    next(pages)
    next(pages)
    pages.close()

    assert len(asked) > 3
    assert all(answer.cancelled() for answer in asked[2:])


def test_real_threads_read_a_queue() -> None:
    """`read` waits for the lanes itself."""
    model = Model(1500, 700)

    def fetch(name: str) -> Callable[[int, int], Future[Slice]]:
        def answer(offset: int, limit: int) -> Slice:
            rows = model.lists[name][offset : offset + limit]
            return Slice(rows, {"added_at": [None] * len(rows)}, tuple(rows))

        return lambda offset, limit: lanes.submit(answer, offset, limit)

    with ThreadPoolExecutor(8) as lanes:
        reader = reader_over(*[Listing(name, fetch(name)) for name in model.lists], lanes=8)
        rows = {row for piece in reader.read() for row in piece.slice.keys}

    assert rows == model.start
    assert reader.verdict.complete


# --- queues that never stand still


class Work:
    """Reviewers and others at work: before each answer `rate` things happen, of kinds drawn by lot.

    `newest_first`: where rows come to a list, and where bursts and inserts are likeliest.
    """

    def __init__(self, kinds: str, *, rate: float, newest_first: bool) -> None:
        self._kinds = kinds.split()
        self._rate = rate
        self._newest_first = newest_first

    def __call__(self, model: Model, rng: random.Random) -> None:
        """Let things happen."""
        for _ in range(int(self._rate) + (rng.random() < self._rate % 1)):
            getattr(self, rng.choice(self._kinds))(model, rng)

    def _end(self, rows: list[bytes]) -> int:
        return 0 if self._newest_first else len(rows)

    def _burst_place(self, rows: list[bytes], rng: random.Random) -> int:
        return rng.choice([0, max(0, len(rows) - 60), rng.randrange(len(rows) + 1)])

    def finish(self, model: Model, rng: random.Random) -> None:
        """A row's last review."""
        if model.lists["active"]:
            model.hand_over("active", rng.randrange(len(model.lists["active"])), self._end(model.lists["archived"]))

    def burst(self, model: Model, rng: random.Random) -> None:
        """Sixty rows that follow each other finish at once: at the front, at the tail, anywhere."""
        place = self._burst_place(model.lists["active"], rng)
        model.hand_over("active", place, self._end(model.lists["archived"]), 60)

    def delete(self, model: Model, rng: random.Random) -> None:
        """A row is deleted."""
        name = rng.choice(["active", "archived"])
        model.delete(name, rng.randrange(len(model.lists[name]) + 1))

    def burst_delete(self, model: Model, rng: random.Random) -> None:
        """Sixty rows are deleted at once."""
        name = rng.choice(["active", "archived"])
        model.delete(name, self._burst_place(model.lists[name], rng), 60)

    def insert(self, model: Model, rng: random.Random) -> None:
        """New rows come to the front, or anywhere."""
        place = rng.choice([0, 0, rng.randrange(len(model.lists["active"]) + 1)])
        model.insert("active", place, rng.choice([1, 3]))

    def append(self, model: Model, _rng: random.Random) -> None:
        """A new row comes to the end."""
        model.insert("active", len(model.lists["active"]))

    def requeue(self, model: Model, rng: random.Random) -> None:
        """A row that was not requeued before comes back to where new rows come, or to any place."""
        rows = model.lists["archived"]
        fresh = [place for place, row in enumerate(rows) if "active" not in model.passed.get(row, [])]
        if fresh:
            active = model.lists["active"]
            model.hand_over(
                "archived", rng.choice(fresh), rng.choice([self._end(active), rng.randrange(len(active) + 1)])
            )

    def move(self, model: Model, rng: random.Random) -> None:
        """A row changes its place within its list."""
        name = rng.choice(["active", "archived"])
        size = len(model.lists[name])
        if size:
            model.move(name, rng.randrange(size), rng.randrange(size))


def queue(rng: random.Random) -> Model:
    """Return 2,500 rows, most of them active, or archived, or all active."""
    active = rng.choice([2500, 1500, 700])
    return Model(active, 2500 - active)


COME_AND_GO = [
    "finish",
    "burst",
    "delete",
    "burst_delete",
    "insert",
    "append",
    "finish delete insert",
    "finish burst delete insert append",
]


@pytest.mark.parametrize("kinds", COME_AND_GO)
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("lanes", [1, 6])
def test_rows_that_come_and_go_are_never_missed(kinds: str, newest_first: bool, lanes: int) -> None:
    """Whatever finishes, is deleted or inserted while it is read, the export is complete and misses nothing."""
    for rate in (0.2, 1, 4):
        rng = random.Random(f"{kinds} {newest_first} {lanes} {rate}")
        model = queue(rng)
        reader = reader_of(model, lanes=lanes, hints=rng.random() < 0.5)
        rows = read(reader, model, Work(kinds, rate=rate, newest_first=newest_first), rng.random())

        assert model.throughout <= rows.keys()
        assert reader.verdict.complete, reader.verdict.reasons
        assert len(model.log) < 330


@pytest.mark.parametrize("kinds", ["requeue", "finish requeue", "finish requeue delete insert"])
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("lanes", [1, 6])
def test_rows_that_come_back_are_never_missed(kinds: str, newest_first: bool, lanes: int) -> None:
    """Rows are requeued, each once, while others finish: nothing is missed."""
    for rate in (0.05, 0.3, 1, 3):
        rng = random.Random(f"{kinds} {newest_first} {lanes} {rate}")
        model = queue(rng)
        reader = reader_of(model, lanes=lanes)
        rows = read(reader, model, Work(kinds, rate=rate, newest_first=newest_first), rng.random())

        assert model.throughout <= rows.keys()


@pytest.mark.parametrize("kinds", ["move", "move finish", "move delete insert"])
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("lanes", [1, 6])
def test_rows_that_move_are_found_or_told(kinds: str, newest_first: bool, lanes: int) -> None:
    """Rows change their place within a list: what is missed makes the export incomplete."""
    for rate in (0.05, 0.3, 1, 3):
        rng = random.Random(f"{kinds} {newest_first} {lanes} {rate}")
        model = queue(rng)
        reader = reader_of(model, lanes=lanes)
        rows = read(reader, model, Work(kinds, rate=rate, newest_first=newest_first), rng.random())

        assert model.throughout <= rows.keys() or not reader.verdict.complete


@pytest.mark.parametrize("group", [2, 5, 30, 400])
@pytest.mark.parametrize("how", ["shuffled", "reversed"])
def test_ties_that_are_not_stable_are_found_or_told(group: int, how: str) -> None:
    """Rows of one time come in another order in some answers, or in all."""
    for often in (0.05, 0.5, 1.0):
        rng = random.Random(f"{group} {how} {often}")
        model = queue(rng)

        def view(rows: list[bytes], rng: random.Random = rng, often: float = often) -> list[bytes]:
            groups = [rows[start : start + group] for start in range(0, len(rows), group)]
            return [row for one in groups for row in (arrange(one, rng) if rng.random() < often else one)]

        def arrange(rows: list[bytes], rng: random.Random) -> list[bytes]:
            return rows[::-1] if how == "reversed" else rng.sample(rows, len(rows))

        model.view = view
        reader = reader_of(model, lanes=rng.choice([1, 6]))
        rows = read(reader, model, still, rng.random())

        assert model.throughout <= rows.keys() or not reader.verdict.complete
