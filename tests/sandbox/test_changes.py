"""What happens to a queue while it is read, and what the queue remembers of it."""

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from annolake.clock import Clock
from annolake.sandbox import Changes, Population, Queue, Sandbox
from annolake.sandbox.changes import KINDS

Connect = Callable[[Sandbox], httpx.Client]


def _runs_path(sandbox: Sandbox) -> str:
    return f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}/runs"


def _ids(queue: Queue, section: Any = "active") -> list[str]:
    return [row.id for row in queue.rows(section)]


@pytest.fixture(params=["oldest_first", "newest_first"])
def queue(request: pytest.FixtureRequest) -> Queue:
    """Return a queue of 14 active and 6 archived rows in either order."""
    return Sandbox(Population(rows=20, odd=False, order=request.param)).queue()


def _newest_end(queue: Queue) -> int:
    rows = queue.rows("active")
    return -1 if rows[0].key < rows[-1].key else 0


def test_finish_archives_a_row_and_tells_who_and_when(queue: Queue) -> None:
    """The last review makes a row leave the active list for its place in the archived one."""
    row_id = _ids(queue)[4]
    queue.finish(row_id, reviewer=2)
    value = queue.row(row_id).value()
    keys = [row.key for row in queue.rows("archived")]

    assert row_id not in _ids(queue)
    assert row_id in _ids(queue, "archived")
    assert queue.cast.reviewers[2].id in value["completed_by"]
    assert value["last_reviewed_time"].startswith("2026-11-20T18:00:01")
    assert keys in (sorted(keys), sorted(keys, reverse=True))


def test_review_keeps_a_row_active_but_changes_whose_turn_it_is(queue: Queue) -> None:
    """A first of several reviews moves an item from one section to the other, its place stays."""
    row = queue.listing("active", state="needs_my_review")[3]
    before = _ids(queue)
    queue.review(row.id)

    assert _ids(queue) == before
    assert row.id in [other.id for other in queue.listing("active", state="needs_others_review")]


def test_delete_leaves_no_row_but_its_run(queue: Queue) -> None:
    """A deleted row is in neither list, while its run can still be had."""
    row = queue.row(_ids(queue)[0])
    queue.delete(row.id)

    assert row.id not in _ids(queue) + _ids(queue, "archived")
    assert queue.run(str(row.run_id)) is row
    with pytest.raises(KeyError):
        queue.row(row.id)


def test_new_rows_come_at_the_newest_end(queue: Queue) -> None:
    """Added rows have ids and times of their own, later than all, and stand where new ones come."""
    end = _newest_end(queue)
    one, two = queue.add(2)
    there = _ids(queue)

    assert there[end] == two.id
    assert there[-2 if end else 1] == one.id
    assert len(there) == len(set(there)) == 16
    assert one.value()["added_at"] > "2026-11-20T18:00:00Z"


def test_rows_join_anywhere_with_times_that_keep_the_order(queue: Queue) -> None:
    """A row inserted at an index stands there, and the list is as sorted as before."""
    front, middle = queue.add(at=0)[0], queue.add(at=7)[0]
    keys = [row.key for row in queue.rows("active")]

    assert (_ids(queue)[0], _ids(queue)[7]) == (front.id, middle.id)
    assert keys in (sorted(keys), sorted(keys, reverse=True))
    assert middle.value()["added_at"] == queue.rows("active")[8].value()["added_at"]


def test_a_row_can_be_planted_by_its_text(queue: Queue) -> None:
    """A text given to `add` is sent as it is; its times decide its place."""
    text = b'{"queue_run_id": "p", "added_at": "2001-01-01T00:00:00"}'
    row = queue.add(text=text)[0]

    assert queue.row(row.id).text == text
    assert _ids(queue)[0 if _newest_end(queue) else -1] == row.id


@pytest.mark.parametrize("section", ["active", "archived"])
def test_requeue_sends_a_row_to_where_new_ones_come(queue: Queue, section: Any) -> None:
    """A requeued row keeps `added_at`, has a new effective time, and is active at the newest end."""
    row = queue.rows(section)[2]
    queue.requeue(row.id)
    before, after = row.value(), queue.row(row.id).value()

    assert _ids(queue)[_newest_end(queue)] == row.id
    assert row.id not in _ids(queue, "archived")
    assert after["added_at"] == before["added_at"]
    assert after["effective_added_at"] > "2026-11-20T18:00:00Z"


def test_unarchive_puts_a_row_back_to_its_old_place(queue: Queue) -> None:
    """Finished and taken back, a row stands where it stood."""
    before = _ids(queue)
    queue.finish(before[5])
    queue.unarchive(before[5])

    assert _ids(queue) == before


def test_move_changes_a_place_and_nothing_else(queue: Queue) -> None:
    """A moved row stands at the index it was moved to; the others keep their order."""
    before = _ids(queue)
    text = queue.row(before[9]).text
    queue.move(before[9], 2)

    assert _ids(queue) == [*before[:2], before[9], *before[2:9], *before[10:]]
    assert queue.row(before[9]).text == text


def test_edit_sets_fields_and_moves_only_on_new_times(queue: Queue) -> None:
    """Other fields leave a row in its place; another `added_at` puts it where that time belongs."""
    before = _ids(queue)
    text = queue.row(before[3]).text
    queue.edit(before[3], name="new\u0000name", x_new=[1, {"a": None}])
    renamed = queue.row(before[3])
    queue.edit(before[3], added_at="1999-01-01T00:00:00Z", effective_added_at=None)

    assert renamed.value() == {**renamed.with_text(text).value(), "name": "new\u0000name", "x_new": [1, {"a": None}]}
    assert _ids(queue)[0 if _newest_end(queue) else -1] == before[3]
    assert queue.moved(0, 1) == {before[3]}


def test_archived_rows_can_be_ordered_by_their_last_review() -> None:
    """With `archived_by` the archived list follows the reviews, and a finished row comes to its end."""
    queue = Sandbox(Population(rows=60, odd=False, archived_by="last_reviewed_time")).queue()
    queue.finish(_ids(queue)[0])
    times = [row.value()["last_reviewed_time"] for row in queue.rows("archived")]

    assert times == sorted(times)
    assert _ids(queue) != _ids(queue, "archived")


def test_history_tells_who_was_there_throughout(connect: Connect) -> None:
    """Rows that came or left between two requests are not among those that were there throughout."""
    with Sandbox(Population(rows=20, archived_share=0, odd=False)) as sandbox:
        client, queue = connect(sandbox), sandbox.queue()
        start = _ids(queue)
        queue.delete(start[0])  # seen from request 1 on
        client.get(_runs_path(sandbox))
        new = queue.add()[0].id
        queue.delete(start[1])
        queue.finish(start[2])
        client.get(_runs_path(sandbox))
        queue.requeue(start[2])
        queue.delete(start[3])
        client.get(_runs_path(sandbox))

        assert queue.throughout(1, 1) == set(start[1:])
        assert queue.throughout(1, 2) == set(start[2:])
        assert queue.throughout(2, 2) == {*start[2:], new}
        assert queue.throughout(1, 3) == {start[2], *start[4:]}
        assert queue.throughout(0, 3) == {start[2], *start[4:]}
        assert (queue.moved(1, 2), queue.moved(1, 3)) == (set(), {start[2]})
        assert [(event.request, event.kind) for event in queue.history] == [
            *((1, "delete"), (2, "add"), (2, "delete"), (2, "finish"), (3, "requeue"), (3, "delete"))
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_change_happens_and_is_the_same_for_a_seed(connect: Connect, kind: Any) -> None:
    """A rate of one change a request changes the queue before every request, by seed in the same way."""
    histories = []
    for _ in range(2):
        with Sandbox(Population(rows=400, odd=False), changes=Changes(rate=1, kinds=(kind,), burst=20)) as sandbox:
            client = connect(sandbox)
            for _ in range(3):
                client.get(_runs_path(sandbox), params={"limit": 1})
            histories.append([(e.request, e.id, e.kind) for e in sandbox.queue().history])
    happened = {"insert": "add", "insert_front": "add", "burst_finish": "finish", "burst_delete": "delete"}

    assert histories[0] == histories[1]
    assert {event[2] for event in histories[0]} == {happened.get(kind, kind)}
    assert [event[0] for event in histories[0]] == [
        n for n in (1, 2, 3) for _ in range(20 if kind.startswith("burst") else 1)
    ]


def test_bursts_take_front_middle_and_tail_by_turns(connect: Connect) -> None:
    """Three bursts leave from three places of the list, neighbours together."""
    with Sandbox(Population(rows=300, archived_share=0), changes=Changes(rate=1, kinds=("burst_delete",))) as sandbox:
        start = _ids(sandbox.queue())
        for _ in range(3):
            connect(sandbox).get(_runs_path(sandbox))
        gone = [[e.id for e in sandbox.queue().history if e.request == n] for n in (1, 2, 3)]

    assert gone == [start[:60], start[150:210], start[240:]]


def test_fractions_of_a_rate_add_up_and_a_limit_ends_them(connect: Connect) -> None:
    """A rate of 0.5 changes the queue before every second request, until the limit is reached."""
    with Sandbox(Population(rows=100), changes=Changes(rate=0.5, limit=3)) as sandbox:
        client = connect(sandbox)
        for _ in range(12):
            client.get(_runs_path(sandbox))
        requests = [event.request for event in sandbox.queue().history]

    assert requests == [2, 4, 6]


def test_changes_can_follow_the_clock(connect: Connect) -> None:
    """A rate a second is made up for when the next request comes."""
    at = [0.0]
    changes = Changes(rate=2, per_request=False)
    with Sandbox(Population(rows=100), changes=changes, clock=Clock(monotonic=lambda: at[0])) as sandbox:
        client = connect(sandbox)
        client.get(_runs_path(sandbox))
        at[0] = 2.5
        client.get(_runs_path(sandbox))
        client.get(_runs_path(sandbox))
        requests = [event.request for event in sandbox.queue().history]

    assert requests == [2] * 5


def test_no_row_is_brought_back_twice(connect: Connect) -> None:
    """However long it goes on, a row is requeued or unarchived at most once."""
    changes = Changes(rate=3, kinds=("requeue", "unarchive"))
    with Sandbox(Population(rows=40, odd=False), changes=changes) as sandbox:
        for _ in range(60):
            connect(sandbox).get(_runs_path(sandbox), params={"limit": 1})
        back = [event.id for event in sandbox.queue().history]

    assert len(back) == len(set(back)) > 20


def test_only_the_queue_that_is_asked_for_changes(connect: Connect) -> None:
    """A change meets the queue of the request, others stay quiet."""
    with Sandbox(Population(rows=20, queues=2), changes=Changes(rate=1)) as sandbox:
        connect(sandbox).get(_runs_path(sandbox))
        connect(sandbox).get("/api/v1/annotation-queues")
        first, second = (sandbox.queue(queue_id) for queue_id in sandbox.queue_ids)

    assert (len(first.history), len(second.history)) == (1, 0)


def test_a_test_s_own_hand_acts_before_a_request(connect: Connect) -> None:
    """`before_request` is called with the number of the request, which then sees what it did."""

    def before(sandbox: Sandbox, number: int) -> None:
        if number == 2:
            sandbox.queue().delete(_ids(sandbox.queue())[0])

    with Sandbox(Population(rows=10, archived_share=0), before_request=before) as sandbox:
        sizes = [len(connect(sandbox).get(_runs_path(sandbox)).json()) for _ in range(3)]

    assert sizes == [10, 9, 9]


def test_a_page_is_a_slice_of_one_moment(connect: Connect) -> None:
    """While rows come and go from another thread, a page is a contiguous slice of some state of the list."""
    with Sandbox(Population(rows=60, archived_share=0, odd=False)) as sandbox:
        queue = sandbox.queue()
        states = [_ids(queue)]
        stop = threading.Event()

        def churn() -> None:
            while not stop.is_set():
                queue.add(at=0)
                states.append(_ids(queue))
                queue.delete(states[-1][0])
                states.append(_ids(queue))

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            client = connect(sandbox)
            pages = [
                [row["queue_run_id"] for row in client.get(_runs_path(sandbox), params={"limit": 20}).json()]
                for _ in range(40)
            ]
        finally:
            stop.set()
            thread.join()

    known = {tuple(state[:20]) for state in states}
    assert all(tuple(page) in known for page in pages)
    assert len({tuple(page) for page in pages}) > 1


def test_unknown_kinds_of_change_are_told() -> None:
    """A misspelt kind does not pass silently."""
    kinds: Any = ("finnish",)
    with pytest.raises(ValueError, match="unknown kind of change 'finnish', choose from finish"):
        Changes(kinds=kinds)
