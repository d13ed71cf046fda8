"""What was said on whole threads: a thread that the service does not like costs its own feedback, and is told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annolake.sandbox import Feedback, FeedbackRules, Population, Rules, Sandbox
from annolake.sources.refusals import MOST_REFUSED
from exporting import annolake, write_config
from exports.test_feedback import NEW, OK, WEEK, Lake, outcome, served
from feedback_oracle import assert_equals_service, expected, present, stored
from feedback_refusals import refusing

THREAD = "feedback_thread_id"
POPULATION = Population(rows=30, days=2, threads=12, odd=False)
MANY = Population(rows=30, days=6, threads=60, odd=False)
ONE_LANE: dict[str, Any] = {"source.concurrency": 1}


def threads_of(sandbox: Sandbox) -> list[str]:
    """Return the threads of the queue."""
    queue = sandbox.queue()
    return [row.value()["thread_id"] for row in (*queue.threads("active"), *queue.threads("archived"))]


def say_on_each(sandbox: Sandbox) -> list[str]:
    """Have something said on every thread; return the threads."""
    threads = threads_of(sandbox)
    for thread in threads:
        sandbox.feedback.add(thread, at=NEW)
    return threads


def by_turn(*places: int) -> tuple[list[str], Callable[[Sequence[str]], bool]]:
    """Return a list of the threads that were asked for, and what tells whether one came at any of these places."""
    asked: list[str] = []

    def come(threads: Sequence[str]) -> bool:
        asked.extend(thread for thread in threads if thread not in asked)
        return any(asked.index(thread) in places for thread in threads)

    return asked, come


def missing(lake: Lake) -> set[str]:
    """Return on which threads something was said that the lake does not have."""
    wanted = expected(lake.sandbox, threads=True)
    return {wanted[key]["thread_id"] for key in wanted.keys() - present(lake.path).keys()}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("place", [0, 5, 11])
def test_a_thread_that_is_refused_costs_its_own_feedback_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, place: int
) -> None:
    """Exit code 3, be it the first that is asked for or the last; the next export that can reads it."""
    with served(POPULATION) as sandbox:
        say_on_each(sandbox)
        lake = Lake(tmp_path, sandbox, "items", **ONE_LANE)
        with monkeypatch.context() as patched:
            asked, come = by_turn(place)
            refusing(patched, status, come, THREAD)
            report = lake.export(1)
        assert outcome(report) == ("partial", 3, "partial", False)
        assert report.feedback.because == ["the service refused what was said on 1 row"]
        assert missing(lake) == {asked[place]}
        assert outcome(lake.export(2)) == OK
        assert_equals_service(lake.path, sandbox, threads=True)


@pytest.mark.parametrize("place", [0, 5])
def test_a_thread_that_is_forbidden_in_a_queue_of_threads_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """No run was answered for; what was said in the project shows that the service serves feedback."""
    with served(replace(POPULATION, rows=0)) as sandbox:
        say_on_each(sandbox)
        lake, (asked, come) = Lake(tmp_path, sandbox, "items", **ONE_LANE), by_turn(place)
        refusing(monkeypatch, 403, come, THREAD)
        report = lake.export(1)
        assert outcome(report) == ("partial", 3, "partial", False)
        assert report.feedback.because == ["the service refused what was said on 1 row"]
        assert missing(lake) == {asked[place]}


@pytest.mark.parametrize("place", [0, 5, 11])
def test_a_thread_for_which_other_feedback_comes_costs_its_own_alone(tmp_path: Path, place: int) -> None:
    """Exit code 3; what the lake has of the thread stays, and all others are as the service has them."""
    with served(POPULATION) as sandbox:
        threads = say_on_each(sandbox)
        lake = Lake(tmp_path, sandbox, "items", **ONE_LANE)
        assert lake.export(1).exit_code == 0
        for thread in threads:
            sandbox.feedback.edit(sandbox.feedback.of(thread)[0], score=0.123)
        other = sandbox.feedback.edit(sandbox.feedback.of(threads[place])[0], feedback_thread_id="another")
        report = lake.export(2, refresh=True)
        assert outcome(report) == ("partial", 3, "partial", False)
        assert report.feedback.because == ["the service answered with other feedback than that on 1 thread"]
        fresh = {row["thread_id"] for row in present(lake.path).values() if row["score"] == 0.123}
        assert fresh == {*threads} - {threads[place]}
        assert stored(lake.path)[other.id]["removed_at"] is None


@pytest.mark.parametrize("odd", ["refused", "foreign"])
def test_a_thread_that_is_odd_and_the_only_one_asked_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """One that does not exist is then asked for, and shows that the service knows threads."""
    with served(POPULATION) as sandbox:
        threads = say_on_each(sandbox)
        lake = Lake(tmp_path, sandbox, "items")
        assert lake.export(24).exit_code == 0
        added = sandbox.feedback.add(threads[3], at=NEW + 30 * 3_600_000_000)
        if odd == "refused":
            refusing(monkeypatch, 422, lambda asked: threads[3] in asked, THREAD)
        else:
            sandbox.feedback.edit(sandbox.feedback.of(threads[3])[0], feedback_thread_id="another")
        report = lake.export(48)
        assert outcome(report) == ("partial", 3, "partial", False)
        assert added.id not in present(lake.path)


def test_many_odd_threads_are_told_and_no_more_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once 20 more were refused than answered."""
    with served(MANY) as sandbox:
        say_on_each(sandbox)
        lake, (asked, come) = Lake(tmp_path, sandbox, "items", **ONE_LANE), by_turn(*range(2, 60))
        refusing(monkeypatch, 422, come, THREAD)
        report = lake.export(1)
        refused = 2 + MOST_REFUSED + 1
        assert outcome(report) == ("partial", 3, "partial", False)
        assert report.feedback.because == [
            f"the service was not asked for {60 - 2 - refused} threads more, after so many in vain",
            f"the service refused what was said on {refused} rows",
        ]
        assert len(asked) == 2 + refused


@pytest.mark.parametrize("refuses", [True, False])
def test_a_service_that_knows_no_threads_costs_a_few_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    """Feedback of runs is complete; that of threads is left out, and told once."""
    ignores = () if refuses else (THREAD,)
    with Sandbox(MANY, rules=Rules(feedback=FeedbackRules(ignores=ignores))) as sandbox:
        if refuses:
            refusing(monkeypatch, 422, bool, THREAD)
        config = write_config(tmp_path, sandbox, {"source.endpoint": "items"})
        done = annolake("run", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path)
        (queue,) = done.report["queues"]
        asked = sum(record.endpoint == "feedback" for record in sandbox.requests)
        assert (done.exit_code, queue["feedback"]["status"], queue["feedback"]["complete"]) == (0, "ok", True)
        assert done.err.count("feedback_of_threads_unknown") == 1
        assert_equals_service(tmp_path / "lake", sandbox, threads=False)
        assert asked <= (90 if refuses else 50)  # a refused one is asked again without the names


def on_runs(sandbox: Sandbox) -> list[Feedback]:
    """Return what was said on the runs of the queue."""
    return [one for one in sandbox.feedback.of_queue(sandbox.queue()) if one.run_id]


@pytest.mark.parametrize("field", ["run_id", THREAD])
def test_feedback_that_names_no_owner_is_set_aside(tmp_path: Path, field: str) -> None:
    """News once; all other feedback is read, on its own run or thread as well, and nothing is removed."""
    with served(POPULATION) as sandbox:
        threads = say_on_each(sandbox)
        lake = Lake(tmp_path, sandbox, "items")
        assert lake.export(1).exit_code == 0
        one = on_runs(sandbox)[0] if field == "run_id" else sandbox.feedback.of(threads[0])[0]
        nobodys = sandbox.feedback.edit(one, **{field: None})
        for thread in threads:
            sandbox.feedback.add(thread, at=NEW)
        sandbox.feedback.add(one.subject, at=NEW)
        report = lake.export(2, refresh=True)
        assert outcome(report) == ("partial", 3, "ok", True)
        assert (report.feedback.rejected, report.feedback.rejected_new, report.feedback.removed) == (1, 1, 0)
        wanted = expected(sandbox, threads=True)
        assert present(lake.path).keys() == wanted.keys()
        assert lake.export(1 + WEEK + 1).exit_code == 0
        sandbox.feedback.edit(nobodys, **{field: one.subject})
        assert lake.export(1 + WEEK + 2, refresh=True).exit_code == 0
        assert_equals_service(lake.path, sandbox, threads=True)
