"""Whole exports: what is in the lake afterwards, and what the report says of it."""

import decimal
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest

from annolake.clock import Clock
from annolake.extract.endpoints import queues
from annolake.sandbox import Faults, Population, Rules, Sandbox
from exporting import (
    annolake,
    assert_equals_service,
    export_once,
    files_of,
    held,
    one_queue,
    with_duckdb,
    with_polars,
    write_config,
)


def test_every_field_of_every_odd_row_arrives(tmp_path: Path) -> None:
    """1,500 rows as odd as reality are in the lake field by field, as polars and as DuckDB read them."""
    with Sandbox(Population(rows=1500, days=2), seed=11) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path))
        queue = sandbox.queue()

        assert_equals_service(tmp_path / "lake", queue)

    assert (report.status, report.complete, report.exit_code) == ("ok", True, 0)
    assert (report.rows_seen, report.inserted, report.rejected) == (1500, 1500, 0)
    sent = [row for _, row in held(queue).values()]
    stored = with_duckdb(tmp_path / "lake").values()
    with decimal.localcontext(prec=60):
        costs = sum(Decimal(row["total_cost"]) for row in sent if row.get("total_cost") is not None)
    with duckdb.connect() as connection:
        connection.execute(f"SELECT sum(total_cost) FROM read_parquet('{tmp_path}/lake/runs/**/*.parquet')")
        assert connection.fetchall() == [(costs,)]
    undated = [row for row in stored if row["added_date"] is None]
    assert len(undated) == len([row for row in sent if row.get("added_at") is None]) > 0


def test_a_second_export_of_an_unchanged_queue_changes_no_file(tmp_path: Path) -> None:
    """Neither inode nor time of change of any file moves, though every signature did."""
    with Sandbox(Population(rows=400, days=2), seed=3) as sandbox:
        export_once(sandbox, tmp_path)
        before = files_of(tmp_path / "lake")
        report = one_queue(export_once(sandbox, tmp_path))

    assert files_of(tmp_path / "lake") == before
    assert (report.inserted, report.updated, report.removed, report.unchanged) == (0, 0, 0, 400)
    assert (report.partitions_written, report.bytes_written, report.exit_code) == (0, 0, 0)


def test_a_changed_row_rewrites_its_own_day_and_no_other(tmp_path: Path) -> None:
    """A review that was finished touches one partition; the rest of the lake stays as it is."""
    with Sandbox(Population(rows=400, odd=False, days=2), seed=3) as sandbox:
        export_once(sandbox, tmp_path)
        before = files_of(tmp_path / "lake")
        queue = sandbox.queue()
        row = queue.rows("active")[5]
        queue.finish(row.id)
        report = one_queue(export_once(sandbox, tmp_path))
        after = files_of(tmp_path / "lake")

        assert_equals_service(tmp_path / "lake", queue)

    day = json.loads(row.text)["added_at"][:10]
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert (report.updated, report.partitions_written) == (1, 1)
    assert changed
    assert all(f"added_date={day}" in str(path) for path in changed)


def test_a_row_that_left_the_queue_stays_with_the_time_it_was_missed(tmp_path: Path) -> None:
    """`removed_at` is set once, and cleared when the row is back."""
    with Sandbox(Population(rows=120, odd=False, days=2), seed=5) as sandbox:
        export_once(sandbox, tmp_path)
        queue = sandbox.queue()
        row = queue.rows("active")[7]
        queue.delete(row.id)
        removed = one_queue(export_once(sandbox, tmp_path))
        first = with_polars(tmp_path / "lake")[row.id]
        again = one_queue(export_once(sandbox, tmp_path))
        second = with_polars(tmp_path / "lake")[row.id]
        queue.add(at=7, text=row.text)
        back = one_queue(export_once(sandbox, tmp_path))
        third = with_polars(tmp_path / "lake")[row.id]

    assert (removed.removed, again.removed, back.removed) == (1, 0, 0)
    assert first["removed_at"] == second["removed_at"] == first["exported_at"]
    assert third["removed_at"] is None
    assert third["exported_at"] > second["exported_at"]


def test_an_empty_queue_can_be_asked(tmp_path: Path) -> None:
    """A new lake of an empty queue answers both engines with no rows instead of failing."""
    with Sandbox(Population(rows=0, days=2)) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path))

    assert (report.status, report.complete, report.rows_seen) == ("ok", True, 0)
    assert with_polars(tmp_path / "lake") == with_duckdb(tmp_path / "lake") == {}


def test_all_queues_of_the_key_are_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`queues = "all"` asks the service, beyond the first page of its listing."""
    monkeypatch.setattr(queues, "_PAGE", 2)
    with Sandbox(Population(rows=3, queues=5, odd=False, days=2), seed=2) as sandbox:
        report = export_once(sandbox, tmp_path, {"source.queues": "all"})

        assert {queue.queue_id for queue in report.queues} == set(sandbox.queue_ids)

    assert len(with_polars(tmp_path / "lake")) == 15
    assert {queue.status for queue in report.queues} == {"ok"}


def test_the_queues_table_has_name_type_reviewers_and_settings(tmp_path: Path) -> None:
    """One row per queue; it is rewritten when the queue's record changes and only then."""
    with Sandbox(Population(rows=3, queues=2, days=2), seed=2) as sandbox:
        export_once(sandbox, tmp_path)
        frame = pl.scan_parquet(tmp_path / "lake/queues", hive_partitioning=True).collect()

    assert set(frame["queue_id"]) == set(sandbox.queue_ids)
    (row,) = frame.filter(pl.col("queue_id") == sandbox.queue_ids[0]).to_dicts()
    assert row["queue_type"] in {"single", "pairwise"}
    assert {"id", "name", "email"} == set(row["assigned_reviewers"][0])
    assert json.loads(row["metadata"])


def test_a_key_that_may_only_list_rows_exports_all_the_same(tmp_path: Path) -> None:
    """Without the queue's record and sizes the rows arrive; the table `queues` can still be asked."""
    with Sandbox(
        Population(rows=150, days=2), seed=2, rules=Rules(forbid=("queue", "total_size", "total_archived"))
    ) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path))

        assert_equals_service(tmp_path / "lake", sandbox.queue())

    assert (report.status, report.exit_code, report.name) == ("ok", 0, None)
    assert pl.scan_parquet(tmp_path / "lake/queues", hive_partitioning=True).collect().height == 0


def test_the_first_page_waits_for_neither_record_nor_sizes(tmp_path: Path) -> None:
    """It is asked for while these are still refused, and they are asked for again only when it was."""
    beside = ("queue", "size", "total_archived")

    def sleep(_seconds: float) -> None:
        patience = time.monotonic() + 20
        while not any(record.endpoint == "runs" for record in sandbox.requests):
            assert time.monotonic() < patience

    with Sandbox(
        Population(rows=300, odd=False, days=2), seed=2, faults=Faults(script=["500"] * 3, endpoints=beside)
    ) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, clock=Clock(sleep=sleep)))

    assert (report.status, report.rows_seen, report.retries) == ("ok", 300, 3)
    assert report.name is not None


@pytest.mark.parametrize("cap", [2, 7, 50])
def test_a_server_that_caps_its_pages_loses_nothing(cap: int, tmp_path: Path) -> None:
    """A page shorter than asked for is not the end of the list."""
    with Sandbox(Population(rows=120, odd=False, days=2), seed=2, rules=Rules(page_cap=cap)) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path))

    assert (report.complete, report.inserted) == (True, 120)


def test_without_statistics_stored_ones_survive(tmp_path: Path) -> None:
    """An export that does not ask for feedback_stats does not erase them."""
    with Sandbox(Population(rows=80, odd=False, days=2), seed=6) as sandbox:
        export_once(sandbox, tmp_path)
        before = with_polars(tmp_path / "lake")
        report = one_queue(export_once(sandbox, tmp_path, {"source.include_stats": False}))
        after = with_polars(tmp_path / "lake")

    assert report.status == "ok"
    assert any(row["feedback_stats"] for row in before.values())
    assert {key: row["feedback_stats"] for key, row in after.items()} == {
        key: row["feedback_stats"] for key, row in before.items()
    }


def test_a_filtered_export_marks_nothing_removed(tmp_path: Path) -> None:
    """Rows that were not asked for are not taken for gone."""
    with Sandbox(Population(rows=200, odd=False, days=2), seed=6) as sandbox:
        export_once(sandbox, tmp_path)
        active = one_queue(export_once(sandbox, tmp_path, {"source.include_archived": False}))
        mine = one_queue(export_once(sandbox, tmp_path, {"source.status": "needs_my_review"}))

    assert (active.removed, mine.removed) == (0, 0)
    assert active.rows_seen < 200
    assert all(row["removed_at"] is None for row in with_polars(tmp_path / "lake").values())


@pytest.mark.parametrize("endpoint", ["runs", "items"])
@pytest.mark.parametrize("spell", [str.upper, lambda text: text.replace("-", ""), lambda text: "{" + text + "}"])
def test_a_queue_in_two_spellings_is_one_queue(spell: Callable[[str], str], endpoint: str, tmp_path: Path) -> None:
    """However the service lists an id, and the settings write it, there is one export and one folder in the lake."""
    with Sandbox(Population(rows=20, queues=2, odd=False, days=2), seed=2) as sandbox:
        first, second = sandbox.queue_ids
        sandbox.profile(second)["id"] = spell(first)
        listed = export_once(sandbox, tmp_path, {"source.queues": "all", "source.endpoint": endpoint})
        config = write_config(tmp_path, sandbox, {"source.queues": [first, first.upper()]})
        more = ("--queue", first.upper(), "--queue", first)
        runs = [
            annolake("run", "--json", "--config", config, *options, key=sandbox.api_key, cwd=tmp_path)
            for options in ((), more)
        ]

    assert [queue.queue_id for queue in listed.queues] == [first]
    assert [[queue["queue_id"] for queue in ran.report["queues"]] for ran in runs] == [[first]] * 2
    assert [path.name for path in (tmp_path / "lake/runs").iterdir()] == [f"queue_id={first}"]


STORM = Faults(rate=0.35, endpoints=())


def test_a_storm_of_faults_ends_complete(tmp_path: Path) -> None:
    """429s with and without Retry-After, 5xx, resets, cut bodies and HTML pages only cost retries."""
    with Sandbox(Population(rows=800, days=2), seed=4, faults=STORM) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, {"retry.max_attempts": 30}))

        assert_equals_service(tmp_path / "lake", sandbox.queue())

    assert (report.status, report.complete) == ("ok", True)
    assert report.retries > 5


def test_one_dead_queue_does_not_stop_the_others(tmp_path: Path) -> None:
    """An unknown queue fails alone, with its own exit code; the report tells which."""
    unknown = "00000000-0000-4000-8000-000000000000"
    with Sandbox(Population(rows=60, queues=2, odd=False, days=2), seed=2) as sandbox:
        first, second = sandbox.queue_ids
        report = export_once(sandbox, tmp_path, {"source.queues": [first, unknown, second]})

    assert [queue.status for queue in report.queues] == ["ok", "failed", "ok"]
    assert report.exit_code == 4
    assert unknown in (report.queues[1].error or "")
    assert len(with_polars(tmp_path / "lake")) == 120
