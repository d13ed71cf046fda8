"""Over items a run is asked for only where that may change its row: when, and what stays meanwhile."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from errno import ENOSPC
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest
from msgspec.structs import replace

from annolake.clock import Clock
from annolake.config import Config
from annolake.contract import FEEDBACK, QUEUES, RUNS, TURNS
from annolake.load.lake import Lake as LakeOnDisk
from annolake.load.place import on_disk
from annolake.report import QueueReport
from annolake.sandbox import Population, Queue, Rules, Sandbox
from annolake.transform.row_types import hash_seed
from exporting import (
    ROWS_ALONE,
    FakeClock,
    annolake,
    export_once,
    files_of,
    one_queue,
    queries,
    with_polars,
    write_config,
)
from load.faults import Killed
from load.model_queue import RunsContract
from test_rejects import lake_with

ITEMS: dict[str, Any] = {**ROWS_ALONE, "source.endpoint": "items"}
START = datetime(2026, 12, 1, tzinfo=UTC)  # days after the last run of a sandbox began
DAY = 24


def at(hours: float) -> Clock:
    """Return a clock that stands so many hours after `START`."""
    return replace(FakeClock().clock, now=lambda: START + timedelta(hours=hours))


class Lake:
    """A lake in a folder, and the exports into it, one after another."""

    def __init__(self, folder: Path, sandbox: Sandbox, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.sandbox, self.settings = folder, sandbox, ITEMS | settings

    def export(self, hours: float = 0, *, mode: Any = "full", **settings: Any) -> QueueReport:
        """Export so many hours after `START`."""
        chosen = self.settings | {name.replace("__", "."): value for name, value in settings.items()}
        return one_queue(export_once(self.sandbox, self.folder, chosen, clock=at(hours), mode=mode))

    def asked(self, hours: float = 0, **settings: Any) -> tuple[QueueReport, set[str]]:
        """Export, and return the runs that were asked for as well."""
        before = len(queries(self.sandbox))
        report = self.export(hours, **settings)
        return report, {run_id for record in queries(self.sandbox)[before:] for run_id in record.body["ids"]}

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows that the lake holds."""
        return with_polars(self.folder / "lake")

    @property
    def files(self) -> dict[Path, tuple[int, int]]:
        """The files of the tables."""
        return files_of(self.folder / "lake")

    @property
    def proofs(self) -> Path:
        """The file of what was proved."""
        return self.folder / "lake/_annolake/proofs" / f"{self.sandbox.queue_ids[0]}.json"


def sandbox_of(rows: int, *, rules: Rules | None = None, **population: Any) -> Sandbox:
    """Return a sandbox of ordinary rows over two days."""
    return Sandbox(Population(rows=rows, odd=False, days=2, **population), seed=31, rules=rules)


def recent(queue: Queue, count: int = 1, **fields: Any) -> list[str]:
    """Add rows whose runs begin just before `START`, and return their ids."""
    begun = {"start_time": "2026-11-30T23:00:00Z", "end_time": "2026-11-30T23:00:10Z"} | fields
    times = {"added_at": "2026-11-30T23:30:00Z", "effective_added_at": "2026-11-30T23:30:00Z"}
    rows = queue.add(count)
    for row in rows:
        queue.edit(row.id, **(times | begun))
    return [row.id for row in rows]


def values(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the time at which it was written."""
    return {name: value for name, value in row.items() if name != "exported_at"}


# --- what is asked for


def test_an_unchanged_queue_costs_no_query_and_no_file(tmp_path: Path) -> None:
    """Runs of items that are as they were are not asked for, THREADs included; every row counts as unchanged."""
    with sandbox_of(300, threads=20) as sandbox:
        lake = Lake(tmp_path, sandbox)
        first, before = lake.export(), lake.files
        second, asked = lake.asked(24)

    assert (first.runs_asked, first.runs_kept, first.inserted, first.queries > 0) == (300, 0, 320, True)
    assert (asked, second.queries, second.runs_asked, second.runs_kept) == (set(), 0, 0, 320)
    assert (second.complete, second.rows_seen, second.unchanged, second.updated) == (True, 320, 320, 0)
    assert second.newest_added_at == first.newest_added_at
    assert lake.files == before


def test_ten_changed_items_cost_one_query_or_two(tmp_path: Path) -> None:
    """Reviewed, finished and new ones alike, and no other run."""
    with sandbox_of(600) as sandbox:
        lake, queue = Lake(tmp_path, sandbox), sandbox.queue()
        lake.export()
        rows = queue.rows("active")
        for row in rows[:4]:
            queue.review(row.id)
        for row in rows[4:8]:
            queue.finish(row.id)
        new = queue.add(2)
        report, asked = lake.asked(1)

    assert asked == {row.run_id for row in [*rows[:8], *new]}
    assert report.queries in {1, 2}
    assert (report.updated, report.inserted, report.runs_asked, report.runs_kept) == (8, 2, 10, 592)
    assert {lake.rows[row.id]["archived"] for row in rows[4:8]} == {True}


def test_a_change_of_the_run_alone_shows_after_the_refresh(tmp_path: Path) -> None:
    """Feedback and tags of an old run whose item stays are up to sync.refresh_runs_every_s old, and no older."""
    with sandbox_of(50) as sandbox:
        lake, queue = Lake(tmp_path, sandbox, **{"sync.refresh_runs_every_s": 2 * 86_400}), sandbox.queue()
        lake.export()
        row = queue.rows("active")[0]
        queue.edit(row.id, tags=["later"], feedback_stats={"helpful": {"n": 1, "avg": 1}})
        kept = lake.export(2 * DAY)
        before = lake.rows[row.id]
        refreshed, asked = lake.asked(2 * DAY + 1)
        after = lake.rows[row.id]

    assert (kept.runs_asked, before["tags"] == ["later"]) == (0, False)
    assert (len(asked), refreshed.updated, refreshed.runs_kept) == (50, 1, 0)
    assert (after["tags"], json.loads(after["feedback_stats"])["helpful"]["n"]) == (["later"], 1)


def test_refresh_asks_for_everything_at_once(tmp_path: Path) -> None:
    """The option of the command line, and a setting of 0 for every export."""
    with sandbox_of(40) as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export()
        config = write_config(tmp_path, sandbox, ITEMS)
        ran = annolake("run", "--refresh", "--json", "--config", config, key=sandbox.api_key, cwd=tmp_path)
        always = [lake.export(1, sync__refresh_runs_every_s=0) for _ in range(2)]

    (queue,) = ran.report["queues"]
    assert (ran.exit_code, queue["runs_asked"], queue["runs_kept"], queue["updated"]) == (0, 40, 0, 0)
    assert queue["runs_refreshed_at"] >= ran.report["started_at"]
    assert [(one.runs_asked, one.runs_kept) for one in always] == [(40, 0)] * 2


def test_the_report_says_when_all_runs_were_last_read(tmp_path: Path) -> None:
    """That is the start of the last complete full export that kept none; over runs there is no such time."""
    with sandbox_of(40) as sandbox:
        lake = Lake(tmp_path, sandbox)
        times = [lake.export(hours).runs_refreshed_at for hours in (0, 5, 8 * DAY, 9 * DAY)]
        over_runs = lake.export(9 * DAY, source__endpoint="runs")

    assert times == [START, START, START + timedelta(days=8), START + timedelta(days=8)]
    assert (over_runs.runs_refreshed_at, over_runs.runs_asked, over_runs.runs_kept) == (None, 0, 0)


def test_an_export_that_does_not_read_everything_proves_no_refresh(tmp_path: Path) -> None:
    """Neither one of new rows, nor one that failed: all runs stay due."""
    with sandbox_of(300) as sandbox:
        lake, due = Lake(tmp_path, sandbox), 8 * DAY
        lake.export()
        new = lake.export(due, mode="new", sync__full_every_s=10**8)
        failed = one_queue(export_once(_Away(sandbox), tmp_path, ITEMS | {"retry.max_attempts": 1}, clock=at(due)))
        full, again = lake.export(due), lake.export(due)

    assert (new.mode, failed.status) == ("new", "failed")
    assert {report.runs_refreshed_at for report in (new, failed)} == {START}
    assert (full.runs_asked, again.runs_asked) == (300, 0)
    assert full.runs_refreshed_at == START + timedelta(hours=due)


def test_a_refresh_of_the_active_rows_is_none_of_the_archived_ones(tmp_path: Path) -> None:
    """Without archived rows it is as with them; once they are wanted, all runs are asked for."""
    active = {"source__include_archived": False}
    with sandbox_of(300, archived_share=0.3) as sandbox:
        lake, due = Lake(tmp_path, sandbox), 8 * DAY
        reports = [lake.export(0, **active), lake.export(1, **active), lake.export(2), lake.export(3, **active)]
        reports += [lake.export(due, **active), lake.export(due + 1, **active), lake.export(due + 2)]

    assert [report.runs_asked for report in reports] == [210, 0, 300, 0, 210, 0, 300]
    hours = [0, 0, 2, 2, due, due, due + 2]
    assert [report.runs_refreshed_at for report in reports] == [START + timedelta(hours=each) for each in hours]


class _Away:
    """A service with the queues and the key of another, that is away."""

    url = "http://127.0.0.1:9"

    def __init__(self, sandbox: Sandbox) -> None:
        self.queue_ids, self.api_key = sandbox.queue_ids, sandbox.api_key


# --- runs of the last three days


def test_a_run_that_ends_later_is_asked_for_until_it_has(tmp_path: Path) -> None:
    """For three days after its start each export looks; once it has ended, none does."""
    with sandbox_of(50) as sandbox:
        lake, queue = Lake(tmp_path, sandbox), sandbox.queue()
        (row_id,) = recent(queue, end_time=None, outputs=None)
        lake.export()
        running, asked = lake.asked(2)
        queue.edit(row_id, end_time="2026-12-01T02:30:00Z", outputs={"answer": 42})
        ended = lake.export(3)
        row = lake.rows[row_id]
        after = lake.export(4)

    assert (running.runs_asked, running.updated, asked) == (1, 0, {row["id"]})
    assert (ended.runs_asked, ended.updated, json.loads(row["outputs"])) == (1, 1, {"answer": 42})
    assert (after.runs_asked, after.queries) == (0, 0)


@pytest.mark.parametrize(("hours", "asked"), [(2.9 * DAY - 1, 1), (3 * DAY, 0)])
def test_a_run_that_never_ends_is_given_up_after_three_days(hours: float, asked: int, tmp_path: Path) -> None:
    """From then on it waits for the refresh."""
    with sandbox_of(50) as sandbox:
        lake = Lake(tmp_path, sandbox)
        recent(sandbox.queue(), end_time=None)
        lake.export()

        assert lake.export(hours).runs_asked == asked


def test_a_run_without_a_start_counts_from_when_it_was_added(tmp_path: Path) -> None:
    """Nothing else is known of it."""
    with sandbox_of(50) as sandbox:
        lake = Lake(tmp_path, sandbox)
        recent(sandbox.queue(), start_time=None, end_time=None)
        lake.export()

        assert [lake.export(hours).runs_asked for hours in (1, 3 * DAY)] == [1, 0]


def test_a_run_that_is_found_late_is_in_the_lake_within_three_days(tmp_path: Path) -> None:
    """It was not there when its item was: exit code 3 once, then its payload comes by itself."""
    with sandbox_of(50) as sandbox:
        lake, queue = Lake(tmp_path, sandbox), sandbox.queue()
        (row_id,) = recent(queue)
        run_id = str(queue.row(row_id).run_id)
        with hidden(queue, run_id):
            first, second = lake.export(), lake.export(1)
            lost = lake.rows[row_id]
        found = lake.export(2)
        row = lake.rows[row_id]

    assert [(one.exit_code, one.payloads_missing, one.payloads_missing_new) for one in (first, second, found)] == [
        (3, 1, 1),
        (0, 1, 0),
        (0, 0, 0),
    ]
    assert (lost["run_found"], lost["name"], row["run_found"], row["name"] is None) == (False, None, True, False)
    assert (second.runs_asked, found.runs_asked, found.updated) == (1, 1, 1)


class hidden:  # noqa: N801 - reads as a verb
    """Have some runs of a queue not found for a while."""

    def __init__(self, queue: Queue, *run_ids: str) -> None:
        self._queue, self._run_ids = queue, run_ids
        self._there: dict[str, Any] = {}

    def __enter__(self) -> None:
        self._there = {run_id: self._queue._runs.pop(run_id) for run_id in self._run_ids}

    def __exit__(self, *_: object) -> None:
        self._queue._runs.update(self._there)


def test_old_runs_that_are_gone_wait_for_the_refresh(tmp_path: Path) -> None:
    """They are not asked for, keep their stored values, and the exit code is 0; the number of lost ones stays."""
    with sandbox_of(200, rules=Rules(runs_gone=0.1)) as sandbox:
        lake = Lake(tmp_path, sandbox)
        first, before = lake.export(), lake.files
        lost = [row for row in lake.rows.values() if row["run_found"] is False]
        kept = lake.export(1)
        refreshed, asked = lake.asked(8 * DAY)

    assert len(lost) > 5
    assert (first.exit_code, first.payloads_missing, first.payloads_missing_new) == (3, len(lost), len(lost))
    assert (kept.exit_code, kept.queries, kept.payloads_missing, kept.payloads_missing_new) == (0, 0, len(lost), 0)
    assert (refreshed.exit_code, refreshed.payloads_missing, refreshed.updated) == (0, len(lost), 0)
    assert {row["id"] for row in lost} <= asked
    assert lake.files == before


def test_a_run_that_went_after_its_payload_was_exported_is_not_missing(tmp_path: Path) -> None:
    """The lake keeps what it has: told as news at the refresh, and counted among the missing never."""
    with sandbox_of(60) as sandbox:
        lake, queue = Lake(tmp_path, sandbox), sandbox.queue()
        lake.export()
        row = queue.rows("active")[0]
        before = lake.rows[row.id]
        with hidden(queue, str(row.run_id)):
            unnoticed, refreshed, again = lake.export(1), lake.export(8 * DAY), lake.export(8 * DAY + 1)
        after = lake.rows[row.id]

    assert (unnoticed.runs_asked, unnoticed.payloads_missing) == (0, 0)
    assert (refreshed.exit_code, refreshed.payloads_missing, refreshed.payloads_missing_new) == (3, 0, 1)
    assert (again.exit_code, again.runs_asked, again.payloads_missing) == (0, 0, 0)
    assert after["run_found"] is False
    kept = {"run_found", "row_hash", "exported_at"}
    assert {n: v for n, v in after.items() if n not in kept} == {n: v for n, v in before.items() if n not in kept}


# --- rows that cannot be kept


def test_a_switch_of_endpoint_and_back_asks_for_everything_again(tmp_path: Path) -> None:
    """A row's item hash goes when the runs listing writes it, since that says nothing of the item."""
    with sandbox_of(60) as sandbox:
        lake = Lake(tmp_path, sandbox, **{"source.endpoint": "runs"})
        lake.export()
        listed = {row["item_hash"] for row in lake.rows.values()}
        items = [lake.export(hours, source__endpoint="items").runs_asked for hours in (1, 2)]
        hashes = {row["item_hash"] for row in lake.rows.values()}
        lake.export(3)
        gone = {row["item_hash"] for row in lake.rows.values()}
        back = lake.export(4, source__endpoint="items")

    assert (listed, len(hashes), None in hashes, gone) == ({None}, 60, False, {None})
    assert (items, back.runs_asked, back.runs_kept) == ([60, 0], 60, 0)


FORMER = RunsContract(1, RUNS.schema.remove(RUNS.schema.get_field_index("item_hash")))
"""The table `runs` before its rows had the hash of an item."""


def test_a_lake_of_the_former_schema_version_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows have no item hash, nor was one part of their own: each is written with one, and then kept."""

    def open_lake(config: Config, *_: object) -> LakeOnDisk:
        return LakeOnDisk(on_disk(Path(config.lake.path)), tables=[FORMER, QUEUES, FEEDBACK, TURNS], hash_version=1)

    with sandbox_of(60, rules=Rules(runs_gone=0.1)) as sandbox:
        lake = Lake(tmp_path, sandbox)
        with monkeypatch.context() as patched:
            patched.setattr("annolake.pipeline.open_lake", open_lake)
            patched.setattr("annolake.transform.join.hash_seed", lambda *parts: hash_seed(*parts, b"former"))
            former = lake.export()
        first, second = lake.export(1), lake.export(2)

    assert (first.runs_asked, first.updated, first.payloads_missing) == (60, 60, former.payloads_missing)
    assert (second.runs_asked, second.partitions_written) == (0, 0)


def test_a_row_that_comes_back_is_asked_for(tmp_path: Path) -> None:
    """Its item is as it was, and it may have missed anything meanwhile."""
    with sandbox_of(60) as sandbox:
        lake, queue = Lake(tmp_path, sandbox), sandbox.queue()
        lake.export()
        row = queue.rows("active")[0]
        queue.delete(row.id)
        lake.export(1)
        removed = lake.rows[row.id]["removed_at"]
        queue.load([("active", row.with_fields({"tags": ["back"]}))])
        back, asked = lake.asked(2)

    assert removed is not None
    assert (asked, back.updated) == ({row.run_id}, 1)
    assert (lake.rows[row.id]["removed_at"], lake.rows[row.id]["tags"]) == (None, ["back"])


def test_a_row_that_was_rejected_is_asked_for_until_it_fits(tmp_path: Path) -> None:
    """Its last good version stays in the lake with the item's hash, and yet the reject goes when the run is mended."""
    with sandbox_of(60) as sandbox:
        lake, queue = Lake(tmp_path, sandbox), sandbox.queue()
        lake.export()
        row = queue.rows("active")[0]
        queue.edit(row.id, total_cost="0.0000000000000000001")
        broken = lake.export(8 * DAY)
        still = lake.export(8 * DAY + 1)
        queue.set_text(row.id, row.text)
        mended = lake.export(8 * DAY + 2)

    assert (broken.exit_code, broken.rejected_new, broken.runs_kept) == (3, 1, 0)
    assert (still.exit_code, still.rejected, still.runs_asked) == (0, 1, 1)
    assert (mended.rejected, mended.rejects_known, mended.runs_asked) == (0, 0, 1)


# --- other terms


def test_statistics_stay_of_rows_that_are_kept(tmp_path: Path) -> None:
    """Without include_stats nothing is lost; with it again all runs are asked for, since some rows may lack them."""
    with sandbox_of(60, archived_share=0.9) as sandbox:
        lake, queue = Lake(tmp_path, sandbox), sandbox.queue()
        lake.export()
        before = {key: row["feedback_stats"] for key, row in lake.rows.items()}
        (new,) = queue.add(1)
        queue.edit(new.id, feedback_stats={"helpful": {"n": 1}})
        without = lake.export(1, source__include_stats=False)
        between = {key: row["feedback_stats"] for key, row in lake.rows.items()}
        again = [lake.export(1, source__include_stats=False).runs_asked, lake.export(2).runs_asked]

    assert any(before.values())
    assert between == before | {new.id: None}
    assert (without.runs_asked, again) == (61, [0, 61])
    assert lake.rows[new.id]["feedback_stats"] is not None


def test_other_terms_end_the_proof_before_they_change_a_row(tmp_path: Path) -> None:
    """An export without statistics that dies half-way leaves rows that lack them: the next one with them asks anew."""
    with sandbox_of(60) as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export()
        failing = ITEMS | {"source.include_stats": False, "retry.max_attempts": 1}
        failed = one_queue(export_once(_Away(sandbox), tmp_path, failing, clock=at(1)))
        report = lake.export(2)

    assert (failed.status, report.runs_asked) == ("failed", 60)


def test_usage_on_other_terms_is_asked_for_at_once(tmp_path: Path) -> None:
    """A change of source.subtree_usage does not wait for the refresh."""
    with sandbox_of(40) as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export()

        assert lake.export(1, source__subtree_usage=False).runs_asked == 40


# --- what was proved


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _newer(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"proofs_version": 2}))


def _no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize("spoil", [Path.unlink, _cut, _newer, _no_text, lambda path: path.write_text("[]")])
def test_without_readable_proofs_the_reports_tell_and_runs_are_read_again(
    spoil: Callable[[Path], Any], tmp_path: Path
) -> None:
    """--new-only goes on from the reports for rows; all runs are asked for, and the file is whole again."""
    with sandbox_of(100, order="newest_first") as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export()
        before = json.loads(lake.proofs.read_text())
        spoil(lake.proofs)
        new = lake.export(1, mode="new")
        between = json.loads(lake.proofs.read_text())
        full, kept = lake.export(2), lake.export(3)

    assert (new.mode, new.complete) == ("new", True)
    assert between["full"]["orders"] == before["full"]["orders"]
    assert between["runs"] is None
    assert (full.runs_asked, kept.runs_asked) == (100, 0)
    assert set(json.loads(lake.proofs.read_text())) == set(before)


def test_an_export_that_fails_leaves_the_proofs_as_they_are(tmp_path: Path) -> None:
    """Only what was read to the end and published counts."""
    with sandbox_of(40) as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export()
        before = lake.proofs.read_text()
        failed = one_queue(export_once(_Away(sandbox), tmp_path, ITEMS | {"retry.max_attempts": 1}, clock=at(8 * DAY)))

    assert (failed.status, lake.proofs.read_text()) == ("failed", before)


@pytest.mark.parametrize(("later", "proved"), [(0, False), (1, False), (2, False), (3, True), (4, True)])
def test_an_export_that_is_killed_proves_nothing(
    later: int, proved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the file is in its place: the next export asks for all that was due."""
    steps: list[int] = []  # each of them the thread that did it: another one writes reports beside

    def gate(_verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if path.name.startswith("proofs-") or get_ident() in steps:
            steps.append(get_ident())
        if len(steps) > later:
            raise Killed
        return call()

    with sandbox_of(20) as sandbox:
        lake = Lake(tmp_path, sandbox)
        with monkeypatch.context() as patched, suppress(Killed):
            lake_with(patched, gate)
            lake.export()
        there = lake.proofs.exists()
        report = lake.export(1)

    assert (there, report.runs_asked) == (proved, 0 if proved else 20)


def test_proofs_that_cannot_be_written_are_not_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The export is as good as any: its rows are in the lake, and the next one asks for all again."""

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "write" and path.parent.name == "proofs":
            raise OSError(ENOSPC, "full", str(path))
        return call()

    with sandbox_of(20) as sandbox:
        lake = Lake(tmp_path, sandbox)
        with monkeypatch.context() as patched:
            lake_with(patched, gate)
            report = lake.export()
        again = lake.export(1)

    assert (report.exit_code, report.inserted, report.runs_refreshed_at) == (0, 20, None)
    assert (again.runs_asked, again.runs_refreshed_at) == (20, START + timedelta(hours=1))


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_exports_of_many_queues_open_no_report(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither new-only nor full ones, however many reports there are; where the proofs are missing, each once."""
    opened: list[Path] = []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "read" and path.parent.name == "reports" and path.suffix == ".json":
            opened.append(path)
        return call()

    with Sandbox(Population(rows=6, odd=False, queues=8, days=2), seed=31) as sandbox:
        settings = {**ROWS_ALONE, "source.endpoint": endpoint}
        modes: list[Any] = ["full", *["new"] * 5, "full", "new"]
        with monkeypatch.context() as patched:
            lake_with(patched, gate)
            for hours, mode in enumerate(modes):
                report = export_once(sandbox, tmp_path, settings, clock=at(hours), mode=mode)
                if mode == "new":
                    assert {queue.mode for queue in report.queues} == {"new"}
            with_proofs = len(opened)
            for path in (tmp_path / "lake/_annolake/proofs").iterdir():
                path.unlink()
            for hours in (20, 21):
                report = export_once(sandbox, tmp_path, settings, clock=at(hours), mode="new")

    assert {queue.mode for queue in report.queues} == {"new"}
    assert with_proofs == 0
    assert len(opened) == 2 * (len(modes) + 1)  # each once for all queues; it is looked at, then read


def test_only_partitions_of_the_last_days_are_looked_at_for_recent_runs(tmp_path: Path) -> None:
    """A run cannot have begun after it was added, so an old day holds none of the last three days."""
    with sandbox_of(30) as sandbox:
        lake, queue = Lake(tmp_path, sandbox), sandbox.queue()
        old, odd, new = recent(queue, 3, end_time=None)
        queue.edit(old, added_at="2026-11-27T23:59:59Z")  # before its run began: no service does that
        queue.edit(odd, added_at=None, effective_added_at=None)
        lake.export()
        report, asked = lake.asked(1)

    assert asked == {lake.rows[row_id]["id"] for row_id in (odd, new)}
    assert report.runs_asked == 2


def test_a_refresh_of_a_time_to_come_is_none(tmp_path: Path) -> None:
    """Its clock was wrong: runs stay due in time."""
    with sandbox_of(40) as sandbox:
        lake = Lake(tmp_path, sandbox)
        lake.export(72 * 365 * DAY)

        assert [lake.export(hours).runs_asked for hours in (0, 1, 8 * DAY)] == [40, 0, 40]


# --- the whole

Step = Callable[[Queue, int], object]

STEPS: Sequence[Step] = (
    lambda queue, n: queue.review(queue.rows("active")[n % 7].id),
    lambda queue, n: queue.finish(queue.rows("active")[n % 5].id),
    lambda queue, n: queue.edit(queue.rows("active")[n % 3].id, tags=[str(n)], outputs={"n": n}),
    lambda queue, n: queue.delete(queue.rows("archived" if n % 2 else "active")[n % 4].id),
    lambda queue, n: queue.unarchive(queue.rows("archived")[n % 4].id),
    lambda queue, n: queue.requeue(queue.rows("active")[n % 6].id),
    lambda queue, n: recent(queue, end_time=None if n % 2 else "2026-12-01T00:00:00Z"),
    lambda queue, n: queue.add(1 + n % 3),
)


@pytest.mark.parametrize("seed", range(6))
def test_after_a_refresh_the_lake_is_as_one_exported_anew(seed: int, tmp_path: Path) -> None:
    """Whatever changed, and however exports followed one another: every present row, stamps of time aside."""
    numbers = _numbers(seed)
    with sandbox_of(60, threads=4, archived_share=0.4) as sandbox:
        lake, queue = Lake(tmp_path / "kept", sandbox), sandbox.queue()
        for hours in range(5):
            for _ in range(4):
                number = next(numbers)
                STEPS[number % len(STEPS)](queue, number)
            endpoint, mode = (
                ("runs" if next(numbers) % 5 == 0 else "items"),
                ("new" if next(numbers) % 3 == 0 else "full"),
            )
            lake.export(hours, mode=mode, source__endpoint=endpoint)
        last = lake.export(6, sync__refresh_runs_every_s=0)
        anew = Lake(tmp_path / "anew", sandbox)
        anew.export(7)

    runs_alone = {"assigned_to", *OF_RUNS_LISTING}
    present = {key: values(row) for key, row in lake.rows.items() if row["removed_at"] is None}
    assert last.complete
    assert present.keys() == anew.rows.keys()
    for key, row in anew.rows.items():
        expected = values(row)
        assert {n: v for n, v in present[key].items() if n not in runs_alone} == {
            n: v for n, v in expected.items() if n not in runs_alone
        }


OF_RUNS_LISTING = {
    *("child_run_ids", "direct_child_run_ids", "execution_order", "inputs_s3_urls", "outputs_s3_urls", "s3_urls"),
    *("manifest_id", "manifest_s3_id", "messages", "trace_first_received_at", "trace_min_start_time", "unmapped"),
    *("trace_max_start_time", "trace_tier", "trace_upgrade", "ttl_seconds"),
}
"""Columns that only the runs listing has: the values of a switch stay."""


def _numbers(seed: int) -> Any:
    number = seed * 7919 + 13
    while True:
        number = (number * 1_103_515_245 + 12_345) % 2**31
        yield number >> 8


def test_light_rows_cost_few_queries(tmp_path: Path) -> None:
    """Few queries at first, none for an unchanged queue, and one or two after ten changes all over it."""
    with sandbox_of(1500) as sandbox:
        lake, queue = Lake(tmp_path, sandbox), sandbox.queue()
        first, unchanged = lake.export(), lake.export(1)
        for row in queue.rows("active")[::100][:10]:
            queue.review(row.id)
        changed = lake.export(2)

    assert first.queries <= 6
    assert (unchanged.queries, changed.queries in {1, 2}, changed.updated) == (0, True, 10)
