"""What reports say of a queue's attempts, written by hand: running, finished and unfinished, old and odd ones."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from annolake.load.attempts import Attempts, History, read_attempts
from annolake.load.lake import Lake
from load.model_queue import FIRST_EXPORT, QUEUE, lake_at, root_of

OTHER = QUEUE.replace("1", "a")
THIRD = QUEUE.replace("1", "b")
NOW = FIRST_EXPORT + timedelta(days=30)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake without a row."""
    lake = lake_at(tmp_path)
    lake.prepare()
    return lake


def at(hour: float) -> datetime:
    """Return a time so many hours after the first export."""
    return FIRST_EXPORT + timedelta(hours=hour)


def entry(queue_id: str = QUEUE, **facts: Any) -> dict[str, Any]:
    """Return a queue's entry, of a good full export unless `facts` say otherwise."""
    return {"queue_id": queue_id, "status": "ok", "mode": "full", "complete": True} | facts


def skipped(queue_id: str = QUEUE) -> dict[str, Any]:
    """Return the entry of a queue whose lock another export had."""
    return entry(queue_id, status="skipped", complete=False)


def stub(queue_id: str = QUEUE) -> dict[str, Any]:
    """Return the entry of a queue that is being exported."""
    return entry(queue_id, status="running", complete=False)


def report(lake: Lake, hour: float, *queues: dict[str, Any], **facts: Any) -> str:
    """Write the report of an export that began at that hour; return its id."""
    export_id = f"e{hour:g}".replace(".", "-")
    record = {"export_id": export_id, "started_at": at(hour).isoformat(), "queues": list(queues)} | facts
    path = root_of(lake) / "_annolake" / "reports" / f"{at(hour):%Y%m%dT%H%M%S}-{export_id}.json"
    path.write_text(json.dumps(record))
    return export_id


def read(lake: Lake, *queue_ids: str, now: datetime = NOW) -> Attempts:
    """Return what the reports say."""
    return read_attempts(lake.reports, queue_ids or (QUEUE,), now=now, is_running=lake.is_running)


def of(lake: Lake, queue_id: str = QUEUE) -> History:
    """Return what they say of one queue."""
    return read(lake, queue_id).histories[queue_id]


def ids(history: History) -> tuple[object, ...]:
    """Return the exports that were the last, the last good one, and the last that read all rows."""
    attempts = (history.last, history.good, history.full)
    return tuple(attempt and attempt.report["export_id"] for attempt in attempts)


def test_without_reports_nothing_is_known(lake: Lake) -> None:
    """Neither of a queue nor of the lake."""
    found = read(lake)

    assert (found.newest, found.listed, ids(found.histories[QUEUE])) == (None, None, (None, None, None))


def test_a_good_export_is_complete_and_published(lake: Lake) -> None:
    """The last attempt, the last good one and the last full one can be three."""
    report(lake, 1, entry())
    good = report(lake, 2, entry(mode="new"))
    full = report(lake, 3, entry(status="partial", complete=False))
    report(lake, 4, entry(mode="new", status="partial"))
    last = report(lake, 5, entry(status="failed", complete=False))

    assert ids(of(lake)) == (last, good, full)


def test_a_skipped_attempt_hides_no_good_one(lake: Lake) -> None:
    """It is the last attempt, and the good one stays."""
    good = report(lake, 1, entry())
    last = report(lake, 2, skipped())

    assert ids(of(lake)) == (last, good, good)


def test_a_skipped_attempt_hides_no_export_that_is_running_or_was_killed(lake: Lake) -> None:
    """The one that had the lock runs beside the last attempt; where it did not finish, it is the last attempt."""
    good, holder = report(lake, 1, entry()), report(lake, 2, stub(), state="running")
    last = report(lake, 3, skipped())

    with lake.workspace(holder, since=at(2)):
        history = of(lake)
        assert ids(history) == (last, good, good)
        assert history.running is not None
        assert (history.running.report["export_id"], history.running.finished_at) == (holder, None)
    assert ids(of(lake)) == (holder, good, good)
    assert of(lake).running is None


@pytest.mark.parametrize(
    ("hour", "facts", "is_last"),
    [
        (5, {"status": "failed", "complete": False}, True),
        (5, {"status": "partial"}, True),
        (5, {}, False),
        (2.5, {"status": "failed", "complete": False}, False),
    ],
    ids=["failed", "partial", "good", "before"],
)
def test_a_skipped_attempt_hides_not_how_the_holder_of_the_lock_ended(
    lake: Lake, hour: float, facts: dict[str, Any], is_last: bool
) -> None:
    """Where that was not well, and after the skipped one began."""
    report(lake, 1, entry())
    holder = report(lake, 2, entry(finished_at=at(hour).isoformat(), **facts))
    skips = [report(lake, 3, skipped()), report(lake, 4, skipped())]

    assert ids(of(lake))[0] == (holder if is_last else skips[1])


def test_a_report_without_an_end_whose_lock_is_free_did_not_finish(lake: Lake) -> None:
    """Killed, or the machine went down, whether the lock's file is left or not."""
    killed = report(lake, 1, stub(), state="running")
    (root_of(lake) / "_annolake" / "tmp" / f"{killed}.lock").touch()

    last = of(lake).last

    assert last is not None
    assert (last.report["export_id"], last.state, last.is_good) == (killed, "unfinished", False)


@pytest.mark.parametrize("state", ["unfinished", "running"])
def test_a_queue_that_has_ended_is_good_however_the_export_ends(lake: Lake, state: str) -> None:
    """Each queue is published by itself; those that had not ended share the state of the export."""
    ended = at(1.5)
    export_id = report(lake, 1, entry(finished_at=ended.isoformat()), stub(OTHER), state="running")

    with lake.workspace(export_id if state == "running" else "another", since=at(1)):
        found = read(lake, QUEUE, OTHER)

    first, second = found.histories[QUEUE], found.histories[OTHER]
    assert ids(first) == (export_id, export_id, export_id)
    assert first.last is not None
    assert (first.last.state, first.last.time) == ("finished", ended)
    attempt = second.running if state == "running" else second.last
    assert attempt is not None
    assert (attempt.state, second.good) == (state, None)
    assert found.newest is not None
    assert found.newest.state == state


def test_an_export_that_ends_while_it_is_looked_at_has_finished(lake: Lake) -> None:
    """Its last report is written before its lock is free: it is read again."""
    export_id = report(lake, 1, stub(), state="running")

    def ends(asked: str) -> bool:
        report(lake, 1, entry(), state="finished", finished_at=at(2).isoformat())
        return asked != export_id

    found = read_attempts(lake.reports, [QUEUE], now=NOW, is_running=ends)

    assert ids(found.histories[QUEUE]) == (export_id, export_id, export_id)
    assert found.newest is not None
    assert (found.newest.state, found.newest.finished_at) == ("finished", at(2))


@pytest.mark.parametrize(
    ("facts", "state"),
    [({"state": "finished", "error": "a wrong key"}, "finished"), ({"state": "running"}, "unfinished")],
)
def test_an_attempt_that_names_no_queue_concerns_each(lake: Lake, facts: dict[str, Any], state: str) -> None:
    """A wrong key with queues = "all", or a kill before they were listed: also those that only older reports name."""
    good = report(lake, 1, entry(), entry(OTHER))
    last = report(lake, 2, **facts)

    found = read(lake)

    assert {queue_id: ids(history) for queue_id, history in found.histories.items()} == {
        QUEUE: (last, good, good),
        OTHER: (last, good, good),
    }
    assert found.newest is not None
    assert (found.newest.state, found.newest.entry) == (state, None)


def test_an_export_of_no_queue_concerns_none(lake: Lake) -> None:
    """The service listed none: nothing went wrong, and no queue was tried."""
    good = report(lake, 1, entry())
    last = report(lake, 2, state="finished", exit_code=0)

    found = read(lake)

    assert ids(found.histories[QUEUE]) == (good, good, good)
    assert found.newest is not None
    assert found.newest.report["export_id"] == last


def test_the_newest_report_that_names_queues_and_those_of_a_day_before_add_to_what_is_known(lake: Lake) -> None:
    """An export of one queue alone hides none that failed the night before; what is older is forgotten."""
    report(lake, 1, entry(), entry(THIRD, status="failed"))
    report(lake, 20, entry(), entry(OTHER, status="failed"))
    report(lake, 30, entry())
    report(lake, 60, error="a wrong key")

    found = read(lake)

    assert found.histories.keys() == {QUEUE, OTHER}


def test_the_newest_export_of_all_queues_lists_them(lake: Lake) -> None:
    """Not one of some queues alone, nor one that ended before they were known."""
    report(lake, 1, entry(), entry(OTHER), entry(THIRD), all_queues=True)
    report(lake, 2, entry(), entry(OTHER), all_queues=True)
    report(lake, 3, entry())
    report(lake, 4, error="a wrong key", all_queues=True)

    assert read(lake).listed == frozenset({QUEUE, OTHER})


@pytest.mark.parametrize(
    ("of_entry", "of_report", "hour"),
    [
        ({"finished_at": at(3).isoformat()}, {"finished_at": at(4).isoformat()}, 3),
        ({}, {"finished_at": at(4)}, 4),
        ({}, {}, 2),
    ],
)
def test_the_age_counts_from_the_end_of_the_queue_s_export(
    lake: Lake, of_entry: dict[str, Any], of_report: dict[str, Any], hour: int
) -> None:
    """Older reports have no end of a queue, and none of the export where they were cut: then the next best counts."""
    facts = {name: str(value) for name, value in of_report.items()}
    report(lake, 2, entry(**of_entry), **facts)

    good = of(lake).good

    assert good is not None
    assert good.time == at(hour)


def test_a_report_of_a_time_to_come_is_passed_over(lake: Lake) -> None:
    """Its clock was wrong, or ours is."""
    good = report(lake, 1, entry())
    report(lake, 5, entry(status="failed"))

    assert ids(read(lake, now=at(4)).histories[QUEUE]) == (good, good, good)


@pytest.mark.parametrize(
    "odd",
    [
        {"queues": "none"},
        {"queues": [1, None, "x", {"name": "no id"}, {"queue_id": 7}, {"queue_id": None}]},
        {"started_at": "yesterday", "queues": [entry()]},
        {"export_id": "../../x", "state": "running", "queues": []},
        {"export_id": None, "state": "running", "queues": {}},
        {"state": 1, "error": "", "finished_at": [], "queues": []},
    ],
)
def test_an_odd_report_hides_no_other(lake: Lake, odd: dict[str, Any]) -> None:
    """What can be understood of it is; nothing is raised, and no file outside is looked for."""
    good = report(lake, 1, entry(OTHER))
    report(lake, 2, **odd)

    found = read(lake, OTHER)

    assert found.histories.keys() == {OTHER}
    assert ids(found.histories[OTHER])[1] == good


def test_no_more_reports_are_read_than_are_needed(lake: Lake) -> None:
    """The pass ends when each queue's attempts are known; it goes on while one has no good export."""
    for hour in range(0, 200, 10):
        report(lake, hour, entry(), entry(OTHER, status="failed", complete=False))
    gate: list[str] = []

    class Counting:
        def read(self) -> Iterator[dict[str, Any]]:
            for one in lake.reports.read():
                gate.append(one["export_id"])
                yield one

    reports: Any = Counting()
    read_attempts(reports, [QUEUE], now=NOW, is_running=lake.is_running)
    assert len(gate) == 20

    report(lake, 250, entry(), entry(OTHER))
    gate.clear()
    read_attempts(reports, [QUEUE], now=NOW, is_running=lake.is_running)
    assert gate == ["e250", "e190"]
