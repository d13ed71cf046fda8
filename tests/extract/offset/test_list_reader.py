"""Reading one list: what it costs, where it ends, what it survives, and when it gives up."""

import random
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from annolake.errors import RefusedError, UnavailableError
from annolake.extract.offset.in_flight import Fetch
from annolake.extract.offset.list_reader import Listing, ListReader, Pace
from annolake.extract.offset.unjoined import MOST_UNJOINED
from annolake.extract.paging.readings import Ledger
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.waiting import Wait, wait_for_one
from extract.moving import BROKEN, Answer, Change, Model, still
from extract.rows import PlainSeenKeys, key


def reader_of(
    model: Model,
    *,
    lanes: int = 1,
    limit: Callable[[], int] = lambda: 100,
    spare: int = 0,
    hint: int | None = None,
    wait: Wait | None = None,
) -> ListReader:
    """Return a reader of the model's active list."""
    pace = Pace(lanes, limit, lambda: spare, wait or model.wait)
    return ListReader(Listing("active", model.fetch("active")), Ledger(PlainSeenKeys()), pace, hint=lambda: hint)


def reader_over(
    fetch: Fetch, *, hint: int | None = None, met: PlainSeenKeys | None = None, wait: Wait = wait_for_one
) -> ListReader:
    """Return a reader of a list that is fetched so, over four lanes."""
    ledger, pace = Ledger(met or PlainSeenKeys()), Pace(4, lambda: 100, wait=wait)
    return ListReader(Listing("active", fetch), ledger, pace, hint=lambda: hint)


def read(reader: ListReader, model: Model, change: Change = still, seed: int = 0) -> list[bytes]:
    """Return the rows read, in the order handed out, those read twice included."""
    model.change, model.rng = change, random.Random(seed)
    return [row for piece in reader.pieces() for row in piece.slice.keys]


def after(requests: int, happening: Callable[[Model], object]) -> Change:
    """Let something happen once, when so many requests have been answered."""
    waiting = [happening]

    def change(model: Model, _rng: random.Random) -> None:
        if len(model.log) == requests and waiting:
            waiting.pop()(model)

    return change


@pytest.mark.parametrize(
    ("rows", "requests"), [(0, 1), (1, 3), (2, 3), (99, 3), (100, 3), (101, 4), (195, 4), (196, 5), (1000, 13)]
)
def test_a_still_list_costs_its_pages_and_a_proof_of_its_end(rows: int, requests: int) -> None:
    """Pages of 100 rows overlap by 5; two more requests, for the last rows and behind them, prove the end.

    Where no size is told there are four probes besides, and one more for each doubling of the list from 1,600 rows on.
    """
    for told, probes in ((rows, 0), (None, 4)):
        model = Model(rows)
        reader = reader_of(model, hint=told)

        assert set(read(reader, model)) == model.start
        assert len(model.log) == reader.requests == requests + probes
        assert not reader.reading.moved
        assert not reader.reading.gaps


@pytest.mark.parametrize("lanes", [2, 8])
@pytest.mark.parametrize("rows", [0, 1, 100, 280, 1000])
def test_lanes_ask_for_little_behind_the_end_of_a_list(rows: int, lanes: int) -> None:
    """Speculation costs fewer requests than there are lanes, and none where the hint is right."""
    alone, guessing, told = Model(rows), Model(rows), Model(rows)
    for model, count, hint in ((alone, 1, None), (guessing, lanes, None), (told, lanes, rows)):
        assert set(read(reader_of(model, lanes=count, hint=hint), model)) == model.start

    assert len(guessing.log) < len(alone.log) + lanes
    assert len(told.log) <= len(alone.log)


@pytest.mark.parametrize("spare", [0, 5])
def test_lanes_have_as_many_requests_under_way_as_they_may(spare: int) -> None:
    """With a hint eight lanes are busy from the second request on, and never more than may be spare wait besides."""
    model = Model(3000)
    busy = []

    def wait(requests: Collection[Future[Any]]) -> None:
        busy.append(len(requests))
        model.answer(next(iter(requests)))

    list(reader_of(model, lanes=8, spare=spare, hint=3000, wait=wait).pieces())

    assert busy[0] == 1
    assert set(busy[1:20]) == {8 + spare}


def test_a_list_of_known_size_takes_two_round_trips() -> None:
    """One for the first page, one for all others and the proof of the end, if there are lanes enough."""
    model = Model(950)
    trips = []

    def wait(requests: Collection[Future[Any]]) -> None:
        trips.append(len(requests))
        for answer in requests:
            model.answer(answer)

    list(reader_of(model, lanes=16, hint=950, wait=wait).pieces())

    assert len(trips) == 2


@pytest.mark.parametrize("places", [[95], [99], [100], [92, 93, 94], [189, 190, 191], [398, 399], [0, 95, 200, 399]])
def test_rows_that_can_not_be_told_apart_disturb_nothing(places: list[int]) -> None:
    """Rows of the same content without an id, wherever they are, leave no sign and cost no request."""
    model = Model(400)
    model.broken = {key(place) for place in places}
    reader = reader_of(model, lanes=3, hint=400)
    rows = read(reader, model)
    read(reader, model)

    assert set(rows) == model.start - model.broken | {BROKEN}
    assert rows.count(BROKEN) >= len(places)
    assert not reader.reading.moved
    assert reader.requests <= 9


@pytest.mark.parametrize("cap", [2, 3, 37, 50])
@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_server_that_caps_pages_is_read_to_the_end(cap: int, lanes: int, times: int) -> None:
    """A page shorter than asked for is no end, be the list as long as one page, two, or five."""
    for rows in (times * cap, times * cap + 1):
        model = Model(rows, cap=cap)
        reader = reader_of(model, lanes=lanes)

        assert set(read(reader, model)) == model.start
        assert not reader.reading.moved


@pytest.mark.parametrize("limits", [[1], [2], [100, 1], [1, 100], [20, 20, 100], [5, 50, 7]])
@pytest.mark.parametrize("lanes", [1, 8])
def test_the_limit_may_change_with_every_request(limits: list[int], lanes: int) -> None:
    """Small limits cost requests, not rows; a limit of 1 is raised to 2, the least that can join."""
    model = Model(150)
    asked: Iterator[int] = iter(range(10_000))
    reader = reader_of(model, lanes=lanes, limit=lambda: limits[next(asked) % len(limits)])

    assert set(read(reader, model)) == model.start
    assert not reader.reading.moved
    assert min(limit for _, _, limit, _ in model.log) >= 2


def test_an_empty_page_is_not_the_end() -> None:
    """All rows but those not read yet leave: the next page is empty, and the rows are met all the same."""
    model = Model(190)
    rows = read(reader_of(model), model, after(1, lambda model: model.delete("active", 0, 90)))

    assert ("active", 95, 100, 100 - 95) in model.log
    assert model.throughout <= set(rows)
    model = Model(190)
    rows = read(reader_of(model), model, after(1, lambda model: model.delete("active", 0, 100)))

    assert ("active", 95, 100, 0) in model.log
    assert model.throughout <= set(rows)


def test_rows_read_last_may_leave_altogether() -> None:
    """The frontier and 59 rows before it leave: the page after steps back to rows that are still there."""
    model = Model(500)
    reader = reader_of(model)
    rows = read(reader, model, after(2, lambda model: model.delete("active", 130, 60)))

    assert model.throughout <= set(rows)
    assert reader.reading.breaks
    assert not reader.reading.restless


def test_two_rows_that_leave_at_the_frontier_are_a_sign() -> None:
    """The page after joins where it was to join, but the rows read last are not in it."""
    model = Model(500)
    reader = reader_of(model)
    read(reader, model, after(2, lambda model: model.delete("active", 193, 2)))

    assert (reader.reading.shifts, reader.reading.breaks) == (1, 0)


def test_pages_overlap_more_once_rows_were_seen_to_leave() -> None:
    """One row that leaves has the pages after it begin 10 rows before the frontier, and as many more as lately left."""
    model = Model(1000)
    read(reader_of(model), model, after(2, lambda model: model.delete("active", 0)))
    steps = [one[1] - other[1] for other, one in zip(model.log, model.log[1:], strict=False)]

    assert steps[:6] == [95, 95, 89, 90, 90, 90]


def test_the_rest_of_a_list_may_leave_behind_a_full_page() -> None:
    """Stepping back meets the rows that are left: those read behind them are given up."""
    model = Model(1260)
    reader = reader_of(model)
    rows = read(reader, model, after(13, lambda model: model.delete("active", 985, 275)))

    assert model.throughout <= set(rows)
    assert reader.reading.breaks
    assert reader.requests < 30


def test_a_look_after_the_last_rows_left_is_quiet() -> None:
    """Rows that left while the end was proved are not expected again."""
    model = Model(500)
    reader = reader_of(model)
    read(reader, model, after(6, lambda model: model.delete("active", 460, 40)))
    requests = reader.requests
    read(reader, model)

    assert not reader.reading.moved
    assert reader.requests == requests + 1


def test_a_list_that_grows_in_front_of_a_reading_that_begins_again_is_read_to_its_end() -> None:
    """Rows that came in front, and are read where it begins again, are none that it has followed the list by."""
    model = Model(8, cap=5)
    reader = reader_of(model, limit=lambda: 6)
    growth = {1: 3, 2: 3, 12: 8}  # rows, when so many requests were answered

    def grow(model: Model, _rng: random.Random) -> None:
        model.insert("active", 0, growth.pop(len(model.log), 0))

    assert model.throughout <= set(read(reader, model, grow))
    assert not growth


def test_everything_may_leave() -> None:
    """A list that is empty at its start holds no row that stayed."""
    model = Model(500)
    reader = reader_of(model)
    read(reader, model, after(3, lambda model: model.delete("active", 0, 500)))

    assert ("active", 0, 100, 0) in model.log
    assert reader.reading.joined


def test_more_rows_may_leave_than_are_remembered() -> None:
    """The last 3,000 rows read leave at once: the reading begins anew and loses nothing."""
    model = Model(4000)
    reader = reader_of(model)
    rows = read(reader, model, after(40, lambda model: model.delete("active", 500, 3000)))

    assert model.throughout <= set(rows)
    assert reader.reading.joined
    assert not reader.reading.restless


@pytest.mark.parametrize("count", [5, 95, 700])
def test_rows_that_come_in_front_are_slow_progress(count: int) -> None:
    """Pages of rows already met break nothing and show where the frontier is now."""
    model = Model(1000)
    reader = reader_of(model)
    rows = read(reader, model, after(9, lambda model: model.insert("active", 0, count)))

    assert model.throughout <= set(rows)
    assert reader.reading.shifts == 1
    assert reader.reading.breaks == 0
    assert reader.requests <= 20


@pytest.mark.parametrize("at", [90, 99, 100, 101])
def test_rows_that_come_at_the_frontier_break_nothing(at: int) -> None:
    """A hundred rows come exactly where the next page begins."""
    model = Model(300)
    reader = reader_of(model)
    rows = read(reader, model, after(1, lambda model: model.insert("active", at, 100)))

    assert model.throughout <= set(rows)
    assert not reader.reading.restless


def test_a_list_that_grows_at_its_end_with_every_request_is_read_to_an_end() -> None:
    """Rows that come behind the end can't keep the reading going for ever."""
    for start in (0, 1, 2, 40, 250):
        model = Model(start)
        read(reader_of(model), model, lambda model, _rng: model.insert("active", len(model.lists["active"])))

        assert len(model.log) < 20


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_a_tiny_list_that_grows_in_front_is_read_to_an_end(rows: int) -> None:
    """A page as long as any before it may be cut by the server or not: one page further back tells."""
    model = Model(rows)
    read(reader_of(model), model, lambda model, _rng: model.insert("active", 0))

    assert len(model.log) < 20


@pytest.mark.parametrize("rows", [43, 100, 1000])
def test_a_listing_that_repeats_itself_is_an_error(rows: int) -> None:
    """A server that ignores the offset gives the same page for ever."""
    model = Model(rows)
    fetch = model.fetch("active")
    reader = reader_over(lambda _, limit: fetch(0, limit), wait=model.wait)

    with pytest.raises(UnavailableError, match="the active list repeats itself"):
        read(reader, model)
    assert len(model.log) < 300


@pytest.mark.parametrize("rows", [1000, 5000])
def test_a_listing_that_begins_again_behind_its_end_is_an_error(rows: int) -> None:
    """A server that takes the offset modulo the list's length never ends."""

    def fetch(offset: int, limit: int) -> Answer:
        part = tuple(key((offset + place) % rows) for place in range(limit))
        answer: Answer = Answer()
        answer.set_result(Slice(part, {"added_at": [None] * limit}, part))
        return answer

    with pytest.raises(UnavailableError, match="the active list repeats itself"):
        list(reader_over(fetch).pieces())


def test_a_listing_of_one_unreadable_row_is_an_error() -> None:
    """Nothing tells the row from others, so no answer joins; but none brings a row that is new, either."""
    asked: list[int] = []

    def fetch(offset: int, _limit: int) -> Answer:
        asked.append(offset)
        answer: Answer = Answer()
        answer.set_result(Slice((BROKEN,), {"added_at": [None]}, (), ambiguous_keys=frozenset({BROKEN})))
        return answer

    with pytest.raises(UnavailableError, match="the active list repeats itself"):
        list(reader_over(fetch).pieces())
    assert len(asked) < 500


def test_a_list_read_far_before_it_is_given_up_is_read_to_its_end() -> None:
    """What was met before is new once more where slices are taken unjoined, from the start of the list on."""
    rng = random.Random(2)
    model = Model(14_000)
    model.view = lambda rows: [*rows[:13_000], *rng.sample(rows[13_000:], 1000)]
    reader = reader_of(model)
    read(reader, model)

    assert not reader.reading.joined
    assert reader.seen >= 13_000


def test_a_listing_of_which_nothing_repeats_is_an_error() -> None:
    """A server that invents rows for every answer joins nowhere and ends nowhere."""
    made = iter(range(10**9))

    def fetch(_offset: int, limit: int) -> Answer:
        rows = [key(next(made)) for _ in range(limit)]
        answer: Answer = Answer()
        answer.set_result(Slice(rows, {"added_at": [None] * limit}, tuple(rows)))
        return answer

    with pytest.raises(UnavailableError, match="never ends"):
        list(reader_over(fetch).pieces())
    assert next(made) < 2 * MOST_UNJOINED


def test_pages_of_one_row_are_read_with_gaps() -> None:
    """A slice of one row can't show what it follows: the row behind it is taken all the same, with a gap."""
    model = Model(5, cap=1)
    reader = reader_of(model, hint=5)

    assert set(read(reader, model)) == model.start
    assert reader.reading.gaps
    assert not reader.reading.moved


@pytest.mark.parametrize("group", [12, 100, 1000])
def test_an_order_that_does_not_repeat_leaves_a_sign(group: int) -> None:
    """Rows of equal rank come in another order in every answer."""
    rng = random.Random(4)

    def view(rows: list[bytes]) -> list[bytes]:
        groups = [rows[start : start + group] for start in range(0, len(rows), group)]
        return [row for one in groups for row in rng.sample(one, len(one))]

    model = Model(1000)
    model.view = view
    reader = reader_of(model, lanes=3)
    read(reader, model)

    assert reader.reading.restless


@pytest.mark.parametrize(("rows", "sign"), [(1000, "disorders"), (4000, "again")])
def test_a_row_that_moves_ahead_is_seen_again(rows: int, sign: str) -> None:
    """A row read before, lately or long ago, turns up behind the frontier: the sign that rows move."""
    model = Model(rows)
    reader = reader_of(model)
    read(reader, model, after(rows // 100, lambda model: model.move("active", 5, rows - 5)))

    assert getattr(reader.reading, sign) == 1


def test_answers_may_come_in_any_sequence_while_rows_leave() -> None:
    """With lanes a later slice can be of an earlier moment; what joins is judged all the same."""
    for seed in range(30):
        model = Model(2000)
        reader = reader_of(model, lanes=6)
        rows = read(
            reader, model, lambda model, rng: model.delete("active", rng.randrange(len(model.lists["active"])), 3), seed
        )

        assert model.throughout <= set(rows)
        assert not reader.reading.restless


def test_no_request_is_under_way_when_a_reading_ends() -> None:
    """Slices asked for behind the end are waited for: the next list is asked for after the last answer."""
    model = Model(1000)
    reader = reader_of(model, lanes=8)
    read(reader, model)

    assert not model.under_way
    assert reader.requests == len(model.log)


def test_a_look_at_the_end_costs_one_request_and_finds_what_came() -> None:
    """Read again, the reader goes on from the frontier."""
    model = Model(400)
    reader = reader_of(model)
    read(reader, model)
    before = reader.requests

    assert set(read(reader, model)) <= model.start
    assert reader.requests == before + 1
    assert not reader.reading.moved
    new = model.insert("active", 400, 250)
    rows = read(reader, model)

    assert set(new) <= set(rows)
    assert reader.reading.fresh == 250
    assert not reader.reading.moved


@pytest.mark.parametrize("place", [0, 310, 399])
def test_a_look_at_the_end_sees_a_row_that_came_before_it(place: int) -> None:
    """The rows read last stand one place further back; a pair that makes up for it among them is seen, too."""
    model = Model(400)
    reader = reader_of(model)
    read(reader, model)
    model.insert("active", place)
    read(reader, model)

    assert reader.reading.moved
    model = Model(400)
    reader = reader_of(model)
    read(reader, model)
    model.insert("active", 330)
    model.delete("active", 325)
    read(reader, model)

    assert reader.reading.moved


def test_the_first_error_of_any_request_ends_the_reading() -> None:
    """An error is raised at once, though answers before it are still out; what can be is cancelled."""
    model = Model(1000)
    asked: list[Answer] = []

    def fetch(offset: int, limit: int) -> Answer:
        answer: Answer = Answer()
        asked.append(answer)
        if offset == 0:
            rows = model.lists["active"][:limit]
            answer.set_result(Slice(rows, {"added_at": [None] * len(rows)}, tuple(rows)))
        return answer

    refusal = RefusedError("no", status=403, endpoint="/runs", attempts=1)
    reader = reader_over(fetch, hint=1000, wait=lambda _: asked[3].set_exception(refusal))

    with pytest.raises(RefusedError, match="no"):
        list(reader.pieces())
    assert not asked[1].done() or asked[1].cancelled()
    assert all(answer.cancelled() for answer in asked if answer not in {asked[0], asked[3]})


def test_a_reading_given_up_cancels_its_requests() -> None:
    """Whoever stops reading leaves nothing queued."""
    model = Model(1000)
    asked: list[Answer] = []

    def fetch(offset: int, limit: int) -> Answer:
        asked.append(Answer() if offset else model.fetch("active")(offset, limit))
        if not offset:
            model.answer(asked[-1])
        return asked[-1]

    pieces = reader_over(fetch, hint=1000).pieces()
    next(pieces)
    pieces.close()

    assert [answer.cancelled() for answer in asked] == [False, True, True, True, True]


def test_real_threads_read_a_changing_list() -> None:
    """Eight threads answer while rows leave; nothing that stays is missed."""
    model = Model(3000)
    lock, rng = threading.Lock(), random.Random(5)

    def answer(offset: int, limit: int) -> Slice:
        with lock:
            model.delete("active", rng.randrange(len(model.lists["active"])), 2)
            rows = model.lists["active"][offset : offset + limit]
        return Slice(rows, {"added_at": [None] * len(rows)}, tuple(rows))

    met = PlainSeenKeys()
    with ThreadPoolExecutor(8) as lanes:
        reader = reader_over(lambda offset, limit: lanes.submit(answer, offset, limit), met=met, hint=3000)
        list(reader.pieces())

    assert model.throughout <= met.readings.keys()
    assert not reader.reading.restless
