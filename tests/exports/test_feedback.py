"""What was said on a queue's runs is in the table `feedback`, or the report says which reading was not complete."""

import itertools
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from msgspec import structs

from annolake.clock import Clock
from annolake.extract.http.client import Client
from annolake.feedback import export as feedback_export
from annolake.report import QueueReport
from annolake.sandbox import Changes, Feedback, FeedbackRules, Population, Rules, Sandbox
from annolake.sources.feedback import FeedbackSource
from annolake.sources.new_feedback import TooMuchError
from exporting import FakeClock, export_once, one_queue, with_polars
from feedback_oracle import assert_equals_service, present, stored
from feedback_refusals import refusing
from load.faults import Gate, Killed
from test_rejects import lake_with

UNTIL = datetime(2026, 11, 20, 18, tzinfo=UTC)  # the end of a sandbox's data
NEW = int(UNTIL.timestamp() * 1_000_000)
WEEK = 7 * 24
HOUR = 3_600_000_000
NEVER: dict[str, Any] = {"sync.refresh_feedback_every_s": 10 * WEEK * 3600}
SMALL = Population(rows=120, days=6, threads=4, odd=False)


def at(hours: float) -> Clock:
    """Return a clock that stands so many hours after the end of the data."""
    return structs.replace(FakeClock().clock, now=lambda: UNTIL + timedelta(hours=hours))


class Lake:
    """A lake in a folder, and the exports of a sandbox into it, one after another."""

    def __init__(self, folder: Path, sandbox: Sandbox, endpoint: str = "runs", **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.sandbox, self.path = folder, sandbox, folder / "lake"
        self.settings = {"source.endpoint": endpoint, **settings}

    def export(self, hours: float = 1, *, mode: Any = "full", **settings: Any) -> QueueReport:
        """Export so many hours after the end of the data; settings have two underscores."""
        chosen = self.settings | {name.replace("__", "."): value for name, value in settings.items() if "__" in name}
        asked = {name: value for name, value in settings.items() if "__" not in name}
        return one_queue(export_once(self.sandbox, self.folder, chosen, clock=at(hours), mode=mode, **asked))

    def asked(self, hours: float = 1, **settings: Any) -> tuple[QueueReport, int]:
        """Export, and return how many requests for feedback there were as well."""
        before = len(self.sandbox.requests)
        report = self.export(hours, **settings)
        return report, sum(record.endpoint == "feedback" for record in self.sandbox.requests[before:])

    @property
    def files(self) -> dict[Path, tuple[int, int]]:
        """Inode and time of change of every file of every table."""
        tables = [path for path in self.path.iterdir() if path.name != "_annolake"]
        return {
            path: (path.stat().st_ino, path.stat().st_mtime_ns) for each in tables for path in sorted(each.rglob("*.*"))
        }


def outcome(report: QueueReport) -> tuple[Any, ...]:
    """Return how an export of a queue went, and of its feedback."""
    return report.status, report.exit_code, report.feedback.status, report.feedback.complete


OK = ("ok", 0, "ok", True)


@contextmanager
def served(population: Population = SMALL, *, changes: Changes | None = None, **rules: Any) -> Iterator[Sandbox]:
    """Start a sandbox whose feedback obeys these rules."""
    with Sandbox(population, changes=changes, rules=Rules(feedback=FeedbackRules(**rules))) as sandbox:
        yield sandbox


def on_rows(sandbox: Sandbox) -> list[Feedback]:
    """Return what was said on the runs of the queue."""
    return [one for one in sandbox.feedback.of_queue(sandbox.queue()) if one.run_id]


# --- every field


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_each_field_equals_the_service(tmp_path: Path, endpoint: str) -> None:
    """Of 1,500 odd rows with some 6,000 feedbacks, at no more requests than promised."""
    rows, threads = 1_500, 6
    with served(Population(rows=rows, threads=threads, feedback=3.8, odd=True)) as sandbox:
        lake = Lake(tmp_path, sandbox, endpoint)
        report, asked = lake.asked()
        assert outcome(report) == OK
        assert_equals_service(lake.path, sandbox, threads=endpoint == "items")
        there = len(present(lake.path))
        assert there > 5_000
        assert (report.feedback.rows, report.feedback.inserted, report.feedback.rejected) == (there, there, 0)
        assert asked <= rows / 40 + there / 100 + 20 + (threads if endpoint == "items" else 0)


@pytest.mark.parametrize(
    ("crowd", "rules"),
    [(730, {"page_cap": 37}), (250, {"bytes_cap": 9_000}), (730, {"most_url": 900}), (730, {"most_runs": 20})],
)
def test_a_run_with_many_feedbacks_on_servers_that_cut(tmp_path: Path, crowd: int, rules: dict[str, Any]) -> None:
    """All of them are there, whatever the server cuts or refuses."""
    with served(Population(rows=150, crowd=crowd), **rules) as sandbox:
        lake = Lake(tmp_path, sandbox)
        assert outcome(lake.export()) == OK
        assert_equals_service(lake.path, sandbox, threads=False)
        assert len(present(lake.path)) > crowd


def test_groups_of_heavy_feedback_are_small(tmp_path: Path) -> None:
    """Answers aim at 4 MB, where 100 rows have 25 MB."""
    with served(Population(rows=40, days=6, crowd=0)) as sandbox:
        for one in on_rows(sandbox):
            sandbox.feedback.edit(one, comment="x" * 250_000)
        lake = Lake(tmp_path, sandbox)
        assert outcome(lake.export()) == OK
        answers = [record.bytes for record in sandbox.requests if record.endpoint == "feedback"]
        assert sum(answers) > 20_000_000
        assert max(answers) < 12_000_000
        assert_equals_service(lake.path, sandbox, threads=False)


def test_two_queues_that_share_a_run_show_the_same_in_both(tmp_path: Path) -> None:
    """Feedback belongs to the run: each queue has it under its own partition."""
    with served(Population(rows=30, days=6, queues=2)) as sandbox:
        first, second = (sandbox.queue(queue_id) for queue_id in sandbox.queue_ids)
        row = first.rows("active")[0]
        second.add(text=row.text.replace(row.id.encode(), b"00000000-0000-4000-8000-000000000001"))
        said = {one.id for one in sandbox.feedback.of(str(row.run_id))}
        export_once(sandbox, tmp_path, clock=at(1))
        folders = [tmp_path / "lake" / "feedback" / f"queue_id={queue_id}" for queue_id in sandbox.queue_ids]
        held = [{key for key, row in stored_in(folder).items() if row["run_id"]} for folder in folders]
        assert said
        assert said <= held[0]
        assert said <= held[1]


def stored_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of one queue's folder."""
    rows = pl.scan_parquet(folder, hive_partitioning=True).collect().to_dicts()
    return {row["id"]: row for row in rows}


# --- unchanged


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_an_unchanged_queue_costs_few_requests_and_no_file(tmp_path: Path, endpoint: str) -> None:
    """One question about the projects is enough."""
    with served(Population(rows=2_000, threads=4)) as sandbox:
        lake = Lake(tmp_path, sandbox, endpoint)
        lake.export(48)
        before = lake.files
        report, asked = lake.asked(49)
        assert (outcome(report), asked <= 3, lake.files == before) == (OK, True, True)


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_what_was_said_lately_and_is_known_is_not_read_again(tmp_path: Path, endpoint: str) -> None:
    """Feedback within the look-back is listed, 97 in a request; what the lake has of it costs nothing more."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, endpoint)
        runs = [row.run_id for row in sandbox.queue().listing("archived") if row.run_id]
        for place, run_id in enumerate(runs * 8):
            sandbox.feedback.add(run_id, at=NEW - place)
        lake.export(1)
        before = lake.files
        report, asked = lake.asked(2)
        assert (outcome(report), lake.files == before) == (OK, True)
        assert (report.queries, report.runs_asked, report.feedback.rows) == (0, 0, 0)
        assert 2 <= asked <= len(runs) * 8 / 97 + 4


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_an_edit_of_what_was_said_lately_is_seen_by_the_next_export(tmp_path: Path, endpoint: str) -> None:
    """Its time of change is another one, though over items nothing else tells."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, endpoint)
        run_id = next(row.run_id for row in sandbox.queue().listing("archived") if row.run_id)
        added = sandbox.feedback.add(str(run_id), at=NEW)
        lake.export(1)
        sandbox.feedback.edit(added, comment="on second thought")
        lake.export(2)
        assert present(lake.path)[added.id]["comment"] == "on second thought"


def answering(monkeypatch: pytest.MonkeyPatch, *, after: int, outcome: Any) -> list[bool]:
    """Have news come (or be too much) only when so many pages were read; return whether that was in time."""
    in_time: list[bool] = []
    read, enough = itertools.count(1), threading.Event()
    get, new_since = Client.get, FeedbackSource.new_since

    def counted(client: Client, endpoint: str, *arguments: Any, **more: Any) -> Any:
        answer = get(client, endpoint, *arguments, **more)
        if endpoint.endswith(("/runs", "/items")) and next(read) >= after:
            enough.set()
        return answer

    def look(source: FeedbackSource, *arguments: Any, **more: Any) -> Any:
        in_time.append(enough.wait(60))
        if outcome is not None:
            raise outcome
        return new_since(source, *arguments, **more)

    monkeypatch.setattr(Client, "get", counted)
    monkeypatch.setattr(FeedbackSource, "new_since", look)
    return in_time


@pytest.mark.parametrize("too_much", [False, True])
def test_over_runs_rows_do_not_wait_for_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, too_much: bool
) -> None:
    """All pages are read before it is known which runs have new feedback; that is then read as well."""
    with served(Population(rows=900, days=6, odd=False)) as sandbox:
        lake = Lake(tmp_path, sandbox, **NEVER)
        lake.export(24)
        subject = next(row.run_id for row in sandbox.queue().listing("archived") if row.run_id)
        added = sandbox.feedback.add(str(subject), at=NEW + 20 * HOUR)
        in_time = answering(monkeypatch, after=10, outcome=TooMuchError() if too_much else None)
        report, asked = lake.asked(48)
        assert (outcome(report), in_time) == (OK, [True])
        assert added.id in present(lake.path)
        assert (asked >= 900 / 50) == too_much


def test_over_items_rows_do_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new is read in the end; that a payload's statistics moved is then seen when all runs are asked for."""
    monkeypatch.setattr(feedback_export, "_PATIENCE_S", 0.0)
    with served(SMALL) as sandbox:
        lake = Lake(tmp_path, sandbox, "items", **NEVER)
        lake.export(24)
        subject = next(row.run_id for row in sandbox.queue().listing("archived") if row.run_id)
        sandbox.feedback.add(str(subject), at=NEW + 20 * HOUR, key="brand new")
        with monkeypatch.context() as patched:
            in_time = answering(patched, after=4, outcome=None)
            report = lake.export(48)
        assert (outcome(report), in_time, report.runs_asked) == (OK, [True], 0)
        assert "brand new" in {row["key"] for row in present(lake.path).values()}


def test_a_queue_without_feedback_has_an_empty_table(tmp_path: Path) -> None:
    """A scan answers, and few requests are made."""
    with served(Population(rows=300, days=6, feedback=0, crowd=0)) as sandbox:
        lake = Lake(tmp_path, sandbox)
        report, asked = lake.asked()
        assert (outcome(report), present(lake.path)) == (OK, {})
        assert asked <= 300 / 40 + 20


def test_a_whole_reading_of_what_is_unchanged_writes_no_file(tmp_path: Path) -> None:
    """Each is met, and none has changed."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        first = lake.export(1)
        before = lake.files
        report = lake.export(1 + WEEK + 1)
        assert (outcome(report), lake.files == before) == (OK, True)
        assert report.feedback.unchanged == first.feedback.rows == report.feedback.rows


# --- between exports


def test_over_runs_every_change_is_found_by_the_next_export(tmp_path: Path) -> None:
    """What is added, edited and deleted moves the statistics of the run, and so changes its row."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, **NEVER)
        lake.export(24)
        change(sandbox)
        report = lake.export(48)
        assert outcome(report) == OK
        assert_equals_service(lake.path, sandbox, threads=False)
        counts = report.feedback
        assert (counts.inserted, counts.updated, counts.removed) == (5, 5, 5)
        assert sum(row["removed_at"] is not None for row in stored(lake.path).values()) == 5


def change(sandbox: Sandbox, at: int | None = NEW) -> None:
    """Delete five feedbacks, edit five others, and add five, each on a run of its own."""
    by_run = list({str(one.run_id): one for one in on_rows(sandbox)}.values())
    for one in by_run[:5]:
        sandbox.feedback.delete(one)
    for one in by_run[5:10]:
        sandbox.feedback.edit(one, score=0.123, comment="another word")
    for one in by_run[10:15]:
        sandbox.feedback.add(str(one.run_id), at=at)


def test_over_items_what_is_new_is_found_at_once_and_the_rest_by_the_refresh(tmp_path: Path) -> None:
    """Additions show in the projects; edits and deletions alone leave no trace."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, "items")
        lake.export(24)
        new_at = NEW + 30 * HOUR
        change(sandbox, at=new_at)
        report = lake.export(48)
        assert (outcome(report), report.feedback.inserted, report.runs_asked) == (OK, 5, 5)
        assert (report.feedback.updated, report.feedback.removed) == (0, 0)
        report = lake.export(24 + WEEK + 1)
        assert (report.feedback.updated, report.feedback.removed) == (5, 5)
        assert_equals_service(lake.path, sandbox, threads=True)


def test_new_feedback_asks_for_the_payload_over_items(tmp_path: Path) -> None:
    """Its statistics moved."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, "items")
        lake.export(24)
        run_id = str(on_rows(sandbox)[0].run_id)
        before = stats_of(lake, run_id)
        sandbox.feedback.add(run_id, at=NEW + 30 * HOUR, key="brand new")
        report = lake.export(48)
        assert (report.runs_asked, report.updated) == (1, 1)
        assert "brand new" in stats_of(lake, run_id)
        assert "brand new" not in before


def stats_of(lake: Lake, run_id: str) -> str:
    """Return the statistics of a run as the lake has them."""
    return next(str(row["feedback_stats"]) for row in with_polars(lake.path).values() if row["id"] == run_id)


def test_feedback_on_a_thread_is_followed(tmp_path: Path) -> None:
    """A new one is found through its project, a deleted one when all is read."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, "items")
        lake.export(24)
        one, other, *_ = {
            each.thread_id: each for each in sandbox.feedback.of_queue(sandbox.queue()) if each.thread_id
        }.values()
        sandbox.feedback.delete(one)
        added = sandbox.feedback.add(other.subject, at=NEW + 30 * HOUR)
        lake.export(48)
        assert {added.id, one.id} <= present(lake.path).keys()
        lake.export(24 + WEEK + 1)
        assert_equals_service(lake.path, sandbox, threads=True)


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_new_only_reads_what_it_meets_and_what_is_new(tmp_path: Path, endpoint: str) -> None:
    """The feedback of new rows, and new feedback on old ones; nothing is removed."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, endpoint)
        lake.export(24)
        old = sorted(on_rows(sandbox), key=lambda one: one.created)[:50]
        new_at = NEW + 30 * HOUR
        added = [sandbox.feedback.add(old[0].subject, at=new_at)]
        sandbox.feedback.delete(old[-1])
        (row,) = sandbox.queue().add()
        added.append(sandbox.feedback.add(str(row.run_id), at=new_at))
        report, asked = lake.asked(48, mode="new")
        assert (report.mode, *outcome(report)) == ("new", *OK)
        assert {one.id for one in added} <= present(lake.path).keys()
        assert old[-1].id in present(lake.path)
        assert asked <= 12


def test_new_only_reads_again_what_was_said_on_rows_within_the_look_back(tmp_path: Path) -> None:
    """An edit leaves no trace over items, but of rows that are read as new all is read."""
    with served(replace(SMALL, days=20)) as sandbox:
        lake = Lake(tmp_path, sandbox, "items", **{"sync.lookback_s": 3 * 24 * 3600})
        lake.export(1)
        by_time = sorted(on_rows(sandbox), key=lambda one: one.created)
        for one in (by_time[0], by_time[-1]):
            sandbox.feedback.edit(one, comment="another word")
        report, asked = lake.asked(2, mode="new")
        assert (report.mode, *outcome(report)) == ("new", *OK)
        assert present(lake.path)[by_time[-1].id]["comment"] == "another word"
        assert present(lake.path)[by_time[0].id]["comment"] != "another word"
        assert asked <= 8


def test_by_reviewer_follows_the_row(tmp_path: Path) -> None:
    """Who completes a row later was its reviewer all along."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, **NEVER)
        lake.export(24)
        queue = sandbox.queue()
        for row in queue.rows("active")[:20]:
            queue.finish(row.id)
        lake.export(48)
        assert_equals_service(lake.path, sandbox, threads=False)


def test_a_change_of_the_rubric_changes_no_feedback(tmp_path: Path) -> None:
    """What is stored is as of the moment at which it was written."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export(24)
        before = {path: file for path, file in lake.files.items() if "queues" not in path.parts}
        sandbox.profile()["rubric_items"] = []
        lake.export(24 + WEEK + 1)
        assert {path: file for path, file in lake.files.items() if "queues" not in path.parts} == before


# --- while it is exported


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_feedback_that_changes_during_the_export_is_there_after_the_next(tmp_path: Path, endpoint: str) -> None:
    """What stays throughout is there at once, unless the report says otherwise."""
    changes = Changes(feedback_rate=0.7, feedback_limit=60)
    with served(Population(rows=300, days=6, threads=2), changes=changes, page_cap=37) as sandbox:
        before = {one.id for one in on_rows(sandbox)}
        lake = Lake(tmp_path, sandbox, endpoint, **{"sync.refresh_feedback_every_s": 0, "sync.refresh_runs_every_s": 0})
        report = lake.export(1)
        gone = {event.id for event in sandbox.feedback.history if event.kind == "delete"}
        assert report.feedback.status in {"ok", "partial"}
        assert report.feedback.status != "ok" or before - gone <= present(lake.path).keys()
        while len(sandbox.feedback.history) < 60:
            lake.export(2)
        assert outcome(lake.export(3)) == OK
        assert_equals_service(lake.path, sandbox, threads=endpoint == "items")


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_an_export_killed_anywhere_is_made_good_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """Rows are published last: until then they, and so their feedback, are met as changed once more."""
    with served(Population(rows=40, days=6, threads=2, odd=False)) as sandbox:
        Lake(tmp_path / "before", sandbox, endpoint).export(24)
        change(sandbox, at=NEW + 30 * HOUR)
        for row in sandbox.queue().rows("active")[:3]:
            sandbox.queue().finish(row.id)
        whole = {"sync.refresh_feedback_every_s": 0, "sync.refresh_runs_every_s": 0} if endpoint == "items" else NEVER
        step, steps = 0, Gate()
        while step <= len(steps.steps):
            folder = tmp_path / f"{step}"
            shutil.copytree(tmp_path / "before", folder)
            lake = Lake(folder, sandbox, endpoint, **whole)
            with monkeypatch.context() as patched, suppress(Killed):
                lake_with(patched, steps if not step else Gate("kill", step))
                lake.export(48)
            assert outcome(lake.export(49)) == OK, step
            assert_equals_service(lake.path, sandbox, threads=endpoint == "items")
            step += 1 + len(steps.steps) // 12


# --- removals


def test_feedback_of_rows_that_left_stays(tmp_path: Path) -> None:
    """It is not read any more; nor is it gone because its run is."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export(1)
        before = len(present(lake.path))
        for row in sandbox.queue().rows("active")[:5]:
            sandbox.queue().delete(row.id)
        assert outcome(lake.export(1 + WEEK + 1)) == OK
        assert len(present(lake.path)) == before


def test_many_feedbacks_are_not_removed_at_once(tmp_path: Path) -> None:
    """Unless that is accepted."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export(1)
        before = present(lake.path)
        for one in on_rows(sandbox)[::2]:
            sandbox.feedback.delete(one)
        report = lake.export(2)
        assert outcome(report) == ("partial", 3, "partial", False)
        assert report.feedback.removed_unconfirmed == len(before) - len(on_rows(sandbox))
        assert present(lake.path).keys() == before.keys()
        assert report.complete
        assert outcome(lake.export(3, accept_removals=True)) == OK
        assert_equals_service(lake.path, sandbox, threads=False)


def test_feedback_is_gone_only_where_this_export_found_its_run(tmp_path: Path) -> None:
    """Over items all feedback can be read without any run: what is missing then may be missing with its run."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, "items", **{"sync.refresh_runs_every_s": 10 * WEEK * 3600})
        lake.export(1)
        one = on_rows(sandbox)[0]
        sandbox.feedback.delete(one)
        report = lake.export(1 + WEEK + 1)
        assert outcome(report) == OK
        assert (report.runs_asked, report.feedback.rows, report.feedback.removed) == (0, len(present(lake.path)) - 1, 0)
        report = lake.export(1 + WEEK + 2, refresh=True)
        assert (report.feedback.removed, one.id in present(lake.path)) == (1, False)


def test_feedback_whose_run_is_in_upper_case_is_removed_like_any(tmp_path: Path) -> None:
    """It stays as the service wrote it; what is compared has one form."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        one = on_rows(sandbox)[0]
        upper = one.subject.upper()
        sandbox.feedback.edit(one, run_id=upper)
        lake.export(1)
        assert present(lake.path)[one.id]["run_id"] == upper
        sandbox.feedback.delete(next(each for each in on_rows(sandbox) if each.id == one.id))
        report = lake.export(1 + WEEK + 1)
        assert (outcome(report), report.feedback.removed) == (OK, 1)
        assert one.id not in present(lake.path)


def test_feedback_that_comes_back_loses_removed_at(tmp_path: Path) -> None:
    """The same id, said again."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export(1)
        one = on_rows(sandbox)[0]
        sandbox.feedback.delete(one)
        lake.export(2)
        assert stored(lake.path)[one.id]["removed_at"] is not None
        sandbox.feedback.add(one.subject, text=one.text, at=NEW)
        lake.export(1 + WEEK + 1)
        assert present(lake.path)[one.id]["comment"] == one.value()["comment"]


@pytest.mark.parametrize("second", ["agrees", "does not"])
def test_what_is_gone_is_read_a_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    """A run that does not show a feedback once, and shows it then, has lost nothing."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export(1)
        one, hidden = on_rows(sandbox)[0], [0]
        of = type(sandbox.feedback).of

        def hiding(book: Any, subject: str) -> list[Feedback]:
            there = of(book, subject)
            if subject == one.subject and (second == "agrees" or not hidden[0]):
                hidden[0] += 1
                return [each for each in there if each.id != one.id]
            return there

        monkeypatch.setattr(type(sandbox.feedback), "of", hiding)
        report = lake.export(1 + WEEK + 1)
        assert outcome(report) == OK
        assert report.feedback.removed == (second == "agrees")


# --- a service without feedback, or of another kind


@pytest.mark.parametrize("status", [401, 403, 404, 501])
def test_a_service_that_refuses_feedback_alone(tmp_path: Path, status: int) -> None:
    """One request, one warning, and the exit code of the rows; when it is served, all of it is read."""
    with served(status=status) as sandbox:
        lake = Lake(tmp_path, sandbox)
        report, asked = lake.asked()
        assert outcome(report) == ("ok", 0, "refused", False)
        assert asked <= 4
        assert len(with_polars(lake.path)) == SMALL.rows
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        assert outcome(lake.export(2)) == OK
        assert_equals_service(lake.path, sandbox, threads=False)


@pytest.mark.parametrize("status", [403, 404])
def test_a_run_that_is_refused_is_told_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Exit code 3, for the list showed the run; nothing of it is removed."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export(1)
        one, other = on_rows(sandbox)[0], on_rows(sandbox)[-1]
        sandbox.feedback.edit(other, comment="another word")
        with monkeypatch.context() as patched:
            refusing(patched, status, lambda some: one.subject in some)
            report = lake.export(1 + WEEK + 1)
        assert outcome(report) == ("partial", 3, "partial", False)
        assert report.feedback.because == ["the service refused what was said on 1 row"]
        assert_equals_service(lake.path, sandbox, threads=False)
        assert outcome(lake.export(1 + WEEK + 2)) == OK


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_a_run_that_is_refused_and_the_only_one_asked_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """What is new in the project was told: the service serves feedback."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, endpoint)
        lake.export(24)
        one = on_rows(sandbox)[0]
        sandbox.feedback.add(one.subject, at=NEW + 30 * HOUR)
        refusing(monkeypatch, 403, lambda some: one.subject in some)
        report = lake.export(48)
        assert outcome(report) == ("partial", 3, "partial", False)
        assert report.feedback.because == ["the service refused what was said on 1 row"]


def test_an_expired_run_that_the_service_does_not_find_keeps_its_feedback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over items this export did not find the run itself: there is nothing to tell."""
    with Sandbox(SMALL, rules=Rules(runs_gone=0.1)) as sandbox:
        lake = Lake(tmp_path, sandbox, "items")
        lake.export(1)
        gone = next(one.subject for one in on_rows(sandbox) if sandbox.is_gone(one.subject))
        before = len(present(lake.path))
        refusing(monkeypatch, 404, lambda some: gone in some)
        report = lake.export(1 + WEEK + 1, refresh=True)
        assert (report.feedback.status, report.feedback.complete, report.feedback.removed) == ("ok", True, 0)
        assert 0 < report.feedback.rows < before == len(present(lake.path))


def test_a_service_that_refuses_feedback_from_some_moment_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered is in the lake, and exit code 3 tells that the rest is not."""
    with served() as sandbox:
        one_lane: dict[str, Any] = {"source.concurrency": 1}
        lake, answered = Lake(tmp_path, sandbox, **one_lane), [0]

        def later(some: Sequence[str]) -> bool:
            answered[0] += len(some) > 1
            return answered[0] > 6  # the requests for a group or two

        refusing(monkeypatch, 403, later)
        report = lake.export()
        assert outcome(report) == ("partial", 3, "partial", False)
        assert 0 < len(present(lake.path)) < len(on_rows(sandbox))


@pytest.mark.parametrize("rules", [{"status": 500}, {"ignores": ("run",)}])
def test_what_cannot_be_read_is_told_and_rows_do_not_suffer(tmp_path: Path, rules: dict[str, Any]) -> None:
    """Exit code 3; the rows are there, and the next export that can reads all feedback."""
    with served(**rules) as sandbox:
        lake = Lake(tmp_path, sandbox)
        report = lake.export()
        assert outcome(report) == ("partial", 3, "partial", False)
        assert (report.complete, len(report.feedback.because)) == (True, 1)
        assert len(with_polars(lake.path)) == SMALL.rows
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        assert outcome(lake.export(2)) == OK
        assert_equals_service(lake.path, sandbox, threads=False)


@pytest.mark.parametrize("between", [{"source__feedback": False}, {}])
def test_an_export_that_does_not_read_feedback_makes_the_next_one_read_all(
    tmp_path: Path, between: dict[str, Any]
) -> None:
    """Rows were published without it: be it left out, or refused."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox, **NEVER)
        lake.export(1)
    with served(status=0 if between else 403) as sandbox:
        change(sandbox)
        lake = Lake(tmp_path, sandbox, **NEVER)
        report = lake.export(2, **between)
        assert report.feedback.status == ("off" if between else "refused")
        told = [sandbox.feedback.of(row.run_id or "") for row in sandbox.queue().rows("active")]
    with served() as sandbox:
        change(sandbox)
        assert told
        lake = Lake(tmp_path, sandbox, **NEVER)
        assert outcome(lake.export(3)) == OK
        assert_equals_service(lake.path, sandbox, threads=False)


def test_feedback_can_be_left_out(tmp_path: Path) -> None:
    """No request, no table."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        report, asked = lake.asked(source__feedback=False)
        assert (outcome(report), asked) == (("ok", 0, "off", False), 0)
        assert not (lake.path / "feedback").exists()


def test_a_service_that_tells_no_new_feedback_is_read_whole(tmp_path: Path) -> None:
    """It ignores min_created_at: each full export reads all, and says so in the log."""
    with served(ignores=("min_created_at",)) as sandbox:
        lake = Lake(tmp_path, sandbox, "items")
        lake.export(24)
        change(sandbox)
        assert outcome(lake.export(25)) == OK
        present_now = present(lake.path).keys()
        assert {one.id for one in on_rows(sandbox)} <= present_now


def test_projects_with_far_more_feedback_than_the_queue_cost_one_whole_reading(tmp_path: Path) -> None:
    """What is new is then found by reading the feedback of all rows."""
    with served(page_cap=10) as sandbox:
        lake = Lake(tmp_path, sandbox, "items", **NEVER)
        lake.export(24)
        elsewhere = on_rows(sandbox)[0].session_id
        for _ in range(300):
            sandbox.feedback.add(elsewhere, at=NEW + 30 * HOUR)
        added = sandbox.feedback.add(on_rows(sandbox)[-1].subject, at=NEW + 30 * HOUR)
        report = lake.export(48)
        assert outcome(report) == OK
        assert report.feedback.unchanged > 200
        assert added.id in present(lake.path)


# --- rejects


def test_feedback_that_breaks_the_contract_is_set_aside(tmp_path: Path) -> None:
    """News once, and taken back when it fits; its neighbours go through."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        one, other = on_rows(sandbox)[0], on_rows(sandbox)[-1]
        broken = sandbox.feedback.edit(one, score="high")
        report = lake.export(1)
        assert outcome(report)[:2] == ("partial", 3)
        assert (report.feedback.rejected, report.feedback.rejected_new, report.rejected) == (1, 1, 0)
        assert other.id in present(lake.path)
        assert one.id not in present(lake.path)
        lake.export(48)
        _, asked = lake.asked(49)
        assert asked <= 2  # a reject is no reason to read all feedback again
        assert lake.export(1 + WEEK + 1).exit_code == 0
        sandbox.feedback.edit(broken, score=1)
        report = lake.export(1 + WEEK + 2)
        assert (report.feedback.rejected, report.rejects_known, report.exit_code) == (0, 0, 0)
        assert_equals_service(lake.path, sandbox, threads=False)


def test_a_known_feedback_that_no_longer_fits_is_not_removed(tmp_path: Path) -> None:
    """It is there, if unreadable: its last version stays."""
    with served() as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export(1)
        one = on_rows(sandbox)[0]
        sandbox.feedback.edit(one, score="high")
        lake.export(2)
        assert stored(lake.path)[one.id]["removed_at"] is None
