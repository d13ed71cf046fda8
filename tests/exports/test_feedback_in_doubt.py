"""Feedback that could not be read or known is told, and nothing else suffers from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from annolake.feedback.reader import IN_DOUBT
from annolake.sandbox import Feedback, Population, Sandbox
from annolake.sandbox.answers import Answer, Asked
from annolake.sandbox.rows import Row
from exporting import export_once
from exports.test_feedback import OK, Lake, at, on_rows, outcome, served
from feedback_oracle import assert_equals_service, present
from hostile import Hostile, Wire

STILL: dict[str, Any] = {"source.include_stats": False}  # no row changes with what is said on its run
UNREAD = "the feedback of this queue was not read whole before"


# --- an export of new rows alone, where older feedback was never read


@pytest.mark.parametrize("endpoint", ["runs", "items"])
@pytest.mark.parametrize("before", ["off", "partial"])
def test_new_only_is_a_full_export_once_where_feedback_was_not_read(tmp_path: Path, endpoint: str, before: str) -> None:
    """Be it left out, as in the lakes of earlier versions, or not readable; then it is one of new rows again."""
    with served(ignores=("run",) if before == "partial" else ()) as sandbox:
        settings: dict[str, Any] = {"source__feedback": False} if before == "off" else {}
        assert Lake(tmp_path, sandbox, endpoint).export(1, **settings).feedback.status == before
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, endpoint)
        report = lake.export(2, mode="new")
        assert (report.mode, report.mode_reason, *outcome(report)) == ("full", UNREAD, *OK)
        assert_equals_service(lake.path, sandbox, threads=endpoint == "items")
        report = lake.export(3, mode="new")
        assert (report.mode, *outcome(report)) == ("new", *OK)


def test_new_only_is_one_of_new_rows_where_feedback_is_left_out_or_rows_are_filtered(tmp_path: Path) -> None:
    """Nobody waits for the feedback of the others then."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export(1, source__feedback=False)
        assert lake.export(2, mode="new", source__feedback=False).mode == "new"
        assert lake.export(3, mode="new", source__status="completed").mode == "new"


def test_new_only_stays_so_while_feedback_is_refused(tmp_path: Path) -> None:
    """It never says that feedback is there; once it is served again, the next but one export has all of it."""
    with served(status=403) as sandbox:
        lake = Lake(tmp_path, sandbox)
        assert lake.export(1).feedback.status == "refused"
        sandbox.queue().add()
        for hours in (48, 49, 24 * 4):
            report = lake.export(hours, mode="new")
            assert (report.mode, *outcome(report)) == ("new", "ok", 0, "refused", False)
            assert len(report.feedback.because) == 1
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        (row,) = sandbox.queue().add()
        said = sandbox.feedback.add(str(row.run_id))
        report = lake.export(24 * 4 + 1, mode="new")
        assert (report.mode, *outcome(report)) == ("new", "partial", 3, "partial", False)
        assert said.id in present(lake.path)
        report = lake.export(24 * 4 + 2, mode="new")
        assert (report.mode, report.mode_reason, *outcome(report)) == ("full", UNREAD, *OK)
        assert {one.id for one in on_rows(sandbox)} <= present(lake.path).keys()


# --- answers that are cut short by their bytes

CUT = 9_000  # bytes


def test_a_crowd_on_a_server_of_short_answers_costs_no_other_feedback(tmp_path: Path) -> None:
    """Some feedback has more than half of the bytes of an answer."""
    with served(Population(rows=150, days=6, crowd=250), bytes_cap=CUT) as sandbox:
        lake = Lake(tmp_path, sandbox)
        assert outcome(lake.export()) == OK
        assert_equals_service(lake.path, sandbox, threads=False)


def hide(sandbox: Sandbox, queue_id: str | None = None) -> list[str]:
    """Leave a queue little feedback, one of it so heavy that the small answer before it is cut; return its runs.

    On the fifth run, of the first group, are four feedbacks, on the eleventh the light one and the heavy one.
    """
    queue = sandbox.queue(queue_id) if queue_id else sandbox.queue()
    for one in sandbox.feedback.of_queue(queue):
        sandbox.feedback.delete(one)
    runs = [str(row.run_id) for section in ("active", "archived") for row in queue.listing(section) if row.run_id]
    for place in (4, 4, 4, 4, 10, 10):
        sandbox.feedback.add(runs[place], comment="x" * 100)
    _, heavy = sorted(sandbox.feedback.of(runs[10]), key=lambda one: one.rank)
    sandbox.feedback.edit(heavy, comment="x" * (CUT - 1_000))
    return runs


def test_what_was_cut_before_that_was_noticed_is_read_again(tmp_path: Path) -> None:
    """By the same export; later ones know that answers are cut, and lose nothing that follows a small answer."""
    with served(Population(rows=150, days=6, crowd=0, threads=0), bytes_cap=CUT) as sandbox:
        runs = hide(sandbox)
        for _ in range(40):
            sandbox.feedback.add(runs[-1])
        lake = Lake(tmp_path, sandbox, "runs", **STILL)
        assert outcome(lake.export(1)) == OK
        assert_equals_service(lake.path, sandbox, threads=False)
        for one in sandbox.feedback.of(runs[-1]):
            sandbox.feedback.delete(one)
        light, heavy = sorted(sandbox.feedback.of(runs[10]), key=lambda one: one.rank)
        sandbox.feedback.edit(light, comment="another word")
        sandbox.feedback.edit(heavy, comment="y" * (CUT - 1_000))
        report = lake.export(2, refresh=True, accept_removals=True)
        assert (outcome(report), report.feedback.removed) == (OK, 40)
        assert_equals_service(lake.path, sandbox, threads=False)


@pytest.mark.parametrize("which", [0, 1])
def test_reviewers_of_all_rows_of_a_run_count_when_it_is_read_again(tmp_path: Path, which: int) -> None:
    """Whichever row was completed by the author: the last reading knows of both."""
    author = "00000000-0000-4000-8000-000000000003"
    with served(Population(rows=150, days=6, crowd=0, threads=0), bytes_cap=CUT) as sandbox:
        runs, queue = hide(sandbox), sandbox.queue()
        for _ in range(40):
            sandbox.feedback.add(runs[-1])
        for one in sandbox.feedback.of(runs[10]):
            sandbox.feedback.edit(one, feedback_source={"type": "app", "user_id": author})
        row = queue.run(runs[10])
        assert row
        (twin,) = queue.add(text=row.text.replace(row.id.encode(), b"00000000-0000-4000-8000-000000000002"))
        for place, each in enumerate((row, twin)):
            queue.edit(each.id, completed_by=[author] if place == which else [])
        lake = Lake(tmp_path, sandbox, "runs", **STILL)
        assert outcome(lake.export(1)) == OK
        there = present(lake.path)
        assert [there[one.id]["by_reviewer"] for one in sandbox.feedback.of(runs[10])] == [True, True]


def test_what_was_said_on_threads_is_read_again_as_well(tmp_path: Path) -> None:
    """A small answer on one, and later an answer on another that shows that the service cuts."""
    with served(Population(rows=12, days=6, crowd=0, threads=6), bytes_cap=CUT) as sandbox:
        queue = sandbox.queue()
        for one in sandbox.feedback.of_queue(queue):
            sandbox.feedback.delete(one)
        rows = [row for section in ("active", "archived") for row in queue.listing(section)]
        run_id = next(str(row.run_id) for row in rows if row.run_id)
        threads = [str(row.value()["thread_id"]) for row in rows if not row.run_id]
        for subject, count in ((run_id, 4), (threads[0], 2), (threads[-1], 40)):
            for _ in range(count):
                sandbox.feedback.add(subject, comment="x" * 100)
        _, heavy = sorted(sandbox.feedback.of(threads[0]), key=lambda one: one.rank)
        sandbox.feedback.edit(heavy, comment="x" * (CUT - 1_000))
        lake = Lake(tmp_path, sandbox, "items", **{"source.concurrency": 1})
        assert outcome(lake.export(1)) == OK
        assert_equals_service(lake.path, sandbox, threads=True)


def test_a_queue_that_ended_before_another_showed_the_cuts_is_told(tmp_path: Path) -> None:
    """Its table is partial, and the next export of it reads all its feedback whole, without the other's help."""
    with served(Population(rows=60, days=6, queues=2, crowd=40, threads=0), bytes_cap=CUT) as sandbox:
        first, second = sandbox.queue_ids
        runs = hide(sandbox, first)
        report = export_once(sandbox, tmp_path, STILL, clock=at(1), at_once=1)
        told, other = report.queues
        assert (told.queue_id, other.queue_id, report.exit_code) == (first, second, 3)
        assert (*outcome(told), told.feedback.because) == ("partial", 3, "partial", False, [IN_DOUBT])
        assert outcome(other) == OK
        report = export_once(sandbox, tmp_path, {**STILL, "source.queues": [first]}, clock=at(2))
        (told,) = report.queues
        assert outcome(told) == OK
        assert {one.id for one in sandbox.feedback.of(runs[10])} <= present(tmp_path / "lake").keys()


# --- feedback whose id cannot be read


@pytest.mark.parametrize("its", [{}, {"run_id": None}])
def test_feedback_without_an_id_holds_up_removals_on_its_own_run_alone(tmp_path: Path, its: dict[str, Any]) -> None:
    """It may be the one that is missing there; where its run is not known either, of those asked for together."""
    with served() as sandbox:
        by_run = {str(one.run_id): one for one in on_rows(sandbox)}
        lake = Lake(tmp_path, sandbox, "runs", **STILL)
        lake.export(1)
        said = sandbox.feedback.of(next(run for run in by_run if len(sandbox.feedback.of(run)) > 1))
        sandbox.feedback.edit(said[0], id=None, **its)
        sandbox.feedback.delete(said[1])
        others = [one for run, one in by_run.items() if run != said[0].run_id]
        deleted = others[:: len(others) // 12]
        for one in deleted:
            sandbox.feedback.delete(one)
        for hours in (2, 3):
            report = lake.export(hours, refresh=True)
            assert (report.feedback.status, report.feedback.complete) == ("ok", True)
        there = present(lake.path).keys()
        assert {said[0].id, said[1].id} <= there
        kept = sum(one.id in there for one in deleted)
        assert 0 < kept < len(deleted) if its else kept == 0


# --- rows that were rejected


@pytest.mark.parametrize(
    ("endpoint", "broken"),
    [
        ("runs", {"total_tokens": "many"}),
        ("items", {"total_tokens": "many"}),
        ("items", {"source_proposed_example_id": 5}),
    ],
)
def test_what_was_said_on_a_rejected_row_is_read(tmp_path: Path, endpoint: str, broken: dict[str, Any]) -> None:
    """By the export that rejects it, and by each that meets it again; who was its reviewer is not known."""
    with served() as sandbox:
        one = on_rows(sandbox)[0]
        run_id = str(one.run_id)
        row = sandbox.queue().run(run_id)
        assert row
        sandbox.queue().edit(row.id, **broken)
        lake = Lake(tmp_path, sandbox, endpoint, **STILL)
        report = lake.export(1)
        assert (report.rejected, report.feedback.status, report.feedback.complete) == (1, "ok", True)
        there = present(lake.path)
        assert there.keys() == {each.id for each in to_be_held(sandbox, endpoint)}
        assert there[one.id]["by_reviewer"] is None
        added = sandbox.feedback.add(run_id)
        report, asked = lake.asked(48)
        assert (outcome(report), asked <= 6) == (OK, True)
        assert added.id in present(lake.path)


def to_be_held(sandbox: Sandbox, endpoint: str) -> list[Feedback]:
    """Return what the lake is to have: over the runs endpoint that of runs alone."""
    return on_rows(sandbox) if endpoint == "runs" else sandbox.feedback.of_queue(sandbox.queue())


def test_rejected_rows_whose_run_is_not_readable_are_told(tmp_path: Path) -> None:
    """In the report of each export; the exit code is that of the rejects, and nothing is read again for it."""
    with served() as sandbox:
        sandbox.queue().add(text=b'{"queue_run_id": "00000000-0000-4000-8000-000000000001", "id": 5}')
        lake = Lake(tmp_path, sandbox)
        told = ["what was said on 1 rejected row is not known: the id of the run cannot be read"]
        for hours, code in ((1, 3), (48, 0)):
            report, asked = lake.asked(hours)
            assert (report.rejected, report.exit_code) == (1, code)
            assert (report.feedback.status, report.feedback.complete, report.feedback.because) == ("ok", False, told)
        assert asked <= 4
        assert present(lake.path).keys() == {each.id for each in on_rows(sandbox)}


# --- a run in two rows of one queue


def shown_twice(sandbox: Sandbox) -> tuple[Feedback, Row, Row]:
    """Return feedback by a reviewer of its run, the row by which it is that, and another row of the run."""
    queue = sandbox.queue()
    one = next(
        each
        for each in on_rows(sandbox)
        if (row := queue.run(str(each.run_id))) and each.people() & set(row.value().get("completed_by") or ())
    )
    row = queue.run(str(one.run_id))
    assert row
    (twin,) = queue.add(text=row.text.replace(row.id.encode(), b"00000000-0000-4000-8000-000000000002"))
    queue.edit(twin.id, completed_by=[])
    return one, row, twin


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_who_completed_any_row_of_a_run_is_its_reviewer(tmp_path: Path, endpoint: str) -> None:
    """Whichever row is read last, and whichever changes: a further reading of all writes no file."""
    with served() as sandbox:
        queue = sandbox.queue()
        one, row, twin = shown_twice(sandbox)
        lake = Lake(tmp_path, sandbox, endpoint, **STILL)
        assert outcome(lake.export(1))[2:] == OK[2:]
        first = {key: each["by_reviewer"] for key, each in present(lake.path).items()}
        assert first[one.id] is True
        before = feedback_files(lake)
        for hours, touched in ((2, row.id), (3, twin.id)):
            queue.edit(touched, last_reviewed_time="2026-11-20T00:00:00Z")
            report, asked = lake.asked(hours)
            assert (outcome(report)[2:], asked > 1, report.updated) == (OK[2:], True, 1)
            assert feedback_files(lake) == before
        assert outcome(lake.export(4, refresh=True))[2:] == OK[2:]
        assert feedback_files(lake) == before


@pytest.mark.parametrize("endpoint", ["runs", "items"])
@pytest.mark.parametrize("twice", [True, False])
def test_a_reviewer_whose_row_leaves_is_none_of_the_run_any_more(tmp_path: Path, endpoint: str, twice: bool) -> None:
    """Where another row shows the run, and stays as it was; that of a run whose only row leaves stays."""
    with served() as sandbox:
        queue = sandbox.queue()
        one, row, twin = shown_twice(sandbox)

        def behave(_wire: Wire, _asked: Asked, answer: Answer) -> Answer:
            """Have the item name the run that the planted text has."""
            return replace(answer, body=answer.body.replace(str(twin.run_id).encode(), one.subject.encode()))

        if not twice:
            queue.delete(twin.id)
        with Hostile(sandbox, behave) as hostile:
            lake = Lake(tmp_path, cast("Sandbox", hostile), endpoint, **STILL)
            lake.export(1)
            assert present(lake.path)[one.id]["by_reviewer"] is True
            queue.delete(row.id)
            report = lake.export(2)
            assert (outcome(report)[2:], report.removed, report.feedback.removed) == (OK[2:], 1, 0)
            assert present(lake.path)[one.id]["by_reviewer"] is not twice
            before = feedback_files(lake)
            lake.export(3, refresh=True)
            assert feedback_files(lake) == before


def feedback_files(lake: Lake) -> dict[Path, tuple[int, int]]:
    """Return the files of the table."""
    return {path: file for path, file in lake.files.items() if "feedback" in path.parts}
