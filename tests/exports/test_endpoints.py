"""The successor endpoint, end to end: the same rows, the same lake, and the day the runs listing goes."""

import json
import runpy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from annolake.sandbox import Changes, Faults, Population, Rules, Sandbox
from exporting import (
    ROWS_ALONE,
    annolake,
    export_rows,
    files_of,
    held,
    one_queue,
    with_duckdb,
    with_polars,
    write_config,
)

ITEMS = {**ROWS_ALONE, "source.endpoint": "items"}
GENERATE = Path(__file__).parents[2] / "docs/generate.py"

# What the runs listing alone tells, and what differs between two exports by design.
GONE = {
    *("child_run_ids", "direct_child_run_ids", "execution_order", "inputs_s3_urls", "outputs_s3_urls", "s3_urls"),
    *("manifest_id", "manifest_s3_id", "messages", "trace_first_received_at", "trace_min_start_time"),
    *("trace_max_start_time", "trace_tier", "trace_upgrade", "ttl_seconds"),
}
OWN = {"endpoint", "row_hash", "item_hash", "exported_at", "assigned_to", "unmapped"}
JSON = ("inputs", "outputs", "extra", "serialized", "events", "feedback_stats")


def comparable(row: dict[str, Any], without: set[str]) -> dict[str, Any]:
    """Return a row with its JSON columns parsed, without some columns."""
    parsed = {
        name: json.loads(value, parse_float=Decimal) if name in JSON and value is not None else value
        for name, value in row.items()
    }
    return {name: value for name, value in parsed.items() if name not in without}


def test_rows_over_items_equal_rows_over_runs(tmp_path: Path) -> None:
    """Every column that the successor has comes out as over the runs listing, costs to the last digit."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    with Sandbox(Population(rows=900, days=2), seed=13) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path / "a", ITEMS))
        export_rows(sandbox, tmp_path / "b")
        asked = [record.path for record in sandbox.requests if "/items" in record.path or "query" in record.path]

    over_items, over_runs = with_duckdb(tmp_path / "a/lake"), with_duckdb(tmp_path / "b/lake")
    assert (report.endpoint, report.status, report.complete, report.inserted) == ("items", "ok", True, 900)
    assert over_items.keys() == over_runs.keys()
    for key, row in over_items.items():
        assert comparable(row, GONE | OWN) == comparable(over_runs[key], GONE | OWN)
        assert all(row[name] is None for name in GONE)
    assert len(asked) <= 900 / 100 * 2 + 20


def test_a_lake_filled_over_runs_loses_nothing_over_items(tmp_path: Path) -> None:
    """No row lost, none doubled, no value turned to null; a second export over items writes nothing."""
    with Sandbox(Population(rows=500, days=2), seed=14) as sandbox:
        export_rows(sandbox, tmp_path)
        before = with_polars(tmp_path / "lake")
        switched = one_queue(export_rows(sandbox, tmp_path, ITEMS))
        after = with_polars(tmp_path / "lake")
        files = files_of(tmp_path / "lake")
        again = one_queue(export_rows(sandbox, tmp_path, ITEMS))

    assert (switched.inserted, switched.removed, switched.complete) == (0, 0, True)
    assert before.keys() == after.keys()
    for key, row in before.items():
        kept = {name: value for name, value in comparable(row, OWN - {"assigned_to"}).items() if value is not None}
        assert {name: comparable(after[key], set())[name] for name in kept} == kept
    assert (again.updated, again.partitions_written) == (0, 0)
    assert files_of(tmp_path / "lake") == files


def test_what_moves_when_the_endpoint_changes_is_in_the_documentation(tmp_path: Path) -> None:
    """Runs, items and runs again: column by column, what changes is what docs/service.md says, and nothing else."""
    moving = runpy.run_path(str(GENERATE))["moving_columns"]()
    named = {kind: set(names) for kind, (names, _) in moving.items()}
    lakes = []
    with Sandbox(Population(rows=300, days=2), seed=14) as sandbox:
        for settings in ({}, ITEMS, {}):
            export_rows(sandbox, tmp_path, settings)
            lakes.append(with_polars(tmp_path / "lake"))
        (tmp_path / "fresh").mkdir()
        export_rows(sandbox, tmp_path / "fresh", ITEMS)
    fresh = with_polars(tmp_path / "fresh/lake")

    def moved(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
        pairs = [(comparable(row, set()), comparable(other[key], set())) for key, row in one.items()]
        return {name for row, twin in pairs for name in row if row[name] != twin[name]}

    over_runs, over_items, back = lakes
    assert named["of the export"] | named["items alone"] <= moved(over_runs, over_items)
    assert moved(over_runs, over_items) <= named["of the export"] | named["items alone"] | named["unmapped fields"]
    assert named["of the export"] <= moved(over_items, back)
    assert moved(over_items, back) <= named["of the export"] | named["unmapped fields"]
    assert moved(over_runs, fresh) - {"added_date"} <= set().union(*named.values())
    assert all(row[name] is None for row in fresh.values() for name in named["runs alone"])


def test_items_of_before_august_2026_make_the_same_table(tmp_path: Path) -> None:
    """Items that say `session_id` make the rows that `project_id` makes: every payload, the same columns and hashes."""
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    with Sandbox(Population(rows=300, threads=20, days=2), seed=13, rules=Rules(project_field="session_id")) as sandbox:
        config = write_config(tmp_path / "old", sandbox, ITEMS)
        ran = annolake("run", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path)
    with Sandbox(Population(rows=300, threads=20, days=2), seed=13) as sandbox:
        export_rows(sandbox, tmp_path / "new", ITEMS)
        files = files_of(tmp_path / "old/lake")
        again = one_queue(export_rows(sandbox, tmp_path / "old", ITEMS))

    old, new = with_polars(tmp_path / "old/lake"), with_polars(tmp_path / "new/lake")
    (queue,) = ran.report["queues"]
    assert (ran.exit_code, queue["inserted"], queue["payloads_missing"]) == (0, 320, 0)
    assert {key: comparable(row, {"exported_at"}) for key, row in old.items()} == {
        key: comparable(row, {"exported_at"}) for key, row in new.items()
    }
    assert not any("session_id" in (row["unmapped"] or "") for row in old.values())
    assert (again.updated, files_of(tmp_path / "old/lake")) == (0, files)


@pytest.mark.parametrize("retire_after", [1, 6])
def test_the_day_the_runs_listing_is_gone(retire_after: int, tmp_path: Path) -> None:
    """At the first request or in the middle of an export: annolake goes on over items, with every row."""
    with Sandbox(Population(rows=900, days=2), seed=15, rules=Rules(retire_runs_after=retire_after)) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path))
        sent = held(sandbox.queue())

    stored = with_polars(tmp_path / "lake")
    assert (report.endpoint, report.status, report.complete, report.rows_seen) == ("items", "ok", True, 900)
    assert stored.keys() == sent.keys()
    for key, (_, row) in sent.items():
        cost = row.get("total_cost")
        assert stored[key]["total_cost"] == (None if cost is None else Decimal(cost))


def test_a_404_counts_as_retired_only_while_the_queue_is_alive(tmp_path: Path) -> None:
    """The listing answers 404 while the queue's own record is there: its successor takes over."""
    with Sandbox(Population(rows=50, days=2), seed=15, rules=Rules(retire_runs_after=1, retired_status=404)) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path))

    assert (report.endpoint, report.inserted) == ("items", 50)


def test_forcing_runs_does_not_switch(tmp_path: Path) -> None:
    """Who asks for the runs listing alone is told that it is gone."""
    with Sandbox(Population(rows=50, days=2), seed=15, rules=Rules(retire_runs_after=1)) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path, {"source.endpoint": "runs"}))

    assert (report.status, report.exit_code) == ("failed", 4)
    assert "410" in (report.error or "")


def test_a_service_without_the_platform_stays_on_runs(tmp_path: Path) -> None:
    """Self-hosted services of today have no items, and need none."""
    with Sandbox(Population(rows=50, days=2), seed=15, rules=Rules(platform=False)) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path))

    assert (report.endpoint, report.status) == ("runs", "ok")


def test_threads_and_runs_that_are_gone(tmp_path: Path) -> None:
    """A THREAD is a row without a run; a run that is gone leaves its row with run_found false, told once."""
    with Sandbox(
        Population(rows=200, threads=20, days=2), seed=16, rules=Rules(runs_gone=0.05, runs_late=0.05)
    ) as sandbox:
        first = one_queue(export_rows(sandbox, tmp_path, ITEMS))
        runs = [row for section in ("active", "archived") for row in sandbox.queue().rows(section)]
        gone = {row.id for row in runs if row.run_id is not None and sandbox.is_gone(row.run_id)}
        second = one_queue(export_rows(sandbox, tmp_path, ITEMS))

    rows = with_polars(tmp_path / "lake")
    threads = [row for row in rows.values() if row["item_type"] == "THREAD"]
    assert len(rows) == 220
    assert len(threads) == 20
    assert all(row["thread_id"] and row["session_id"] and row["inputs"] is None for row in threads)
    assert {key for key, row in rows.items() if row["run_found"] is False} == gone
    assert gone
    assert (first.exit_code, first.payloads_missing) == (3, len(gone))
    assert (second.exit_code, second.payloads_missing, second.partitions_written) == (0, len(gone), 0)


@pytest.mark.parametrize("cursors", ["offset", "keyset"])
@pytest.mark.parametrize("seed", range(3))
def test_reviewers_at_work_while_items_are_paged(seed: int, cursors: Any, tmp_path: Path) -> None:
    """Rows finish, leave, come and are requeued: nothing missed, nothing doubled, or told."""
    changes = Changes(rate=0.5, kinds=("finish", "delete", "add", "unarchive"))
    with Sandbox(
        Population(rows=800, odd=False, days=2), seed=seed, changes=changes, rules=Rules(cursors=cursors)
    ) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path, ITEMS))
        last = max(record.number for record in sandbox.requests)
        wanted = sandbox.queue().throughout(0, last)

    assert wanted <= with_polars(tmp_path / "lake").keys() or not report.complete


def test_only_new_items(tmp_path: Path) -> None:
    """`--new-only` after a full export over the same endpoint reads a few pages; over another one it is full."""
    with Sandbox(Population(rows=600, odd=False, order="newest_first", days=2), seed=17) as sandbox:
        export_rows(sandbox, tmp_path)
        other = one_queue(export_rows(sandbox, tmp_path, ITEMS, mode="new"))
        sandbox.queue().add(5)
        new = one_queue(export_rows(sandbox, tmp_path, ITEMS, mode="new"))

    assert (other.mode, other.mode_reason) == (
        "full",
        "the last complete full export was over another endpoint than items",
    )
    assert (new.mode, new.inserted, new.complete) == ("new", 5, True)


def test_faults_over_items(tmp_path: Path) -> None:
    """The successor's answers are asked for again as any other."""
    with Sandbox(Population(rows=300, days=2), seed=18, faults=Faults(rate=0.3)) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path, {**ITEMS, "retry.max_attempts": 30}))

    assert (report.complete, report.inserted) == (True, 300)
