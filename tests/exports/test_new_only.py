"""`--new-only`: what it reads, when it is not allowed, and that nothing is lost between exports."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from annolake.clock import Clock
from annolake.sandbox import Changes, Faults, Population, Sandbox
from exporting import FakeClock, annolake, export_rows, one_queue, with_polars

NEW: dict[str, Any] = {"mode": "new"}


def later(seconds: float) -> Clock:
    """Return a clock that is ahead."""
    clock = FakeClock().clock
    return replace(clock, now=lambda: Clock().now() + timedelta(seconds=seconds))


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_new_rows_cost_few_requests(order: Any, tmp_path: Path) -> None:
    """150 new rows in a sorted queue of 6,000 are met with at most 45 requests, whichever end they come to."""
    with Sandbox(Population(rows=6000, odd=False, order=order, archived_share=0.3, days=2), seed=3) as sandbox:
        full = one_queue(export_rows(sandbox, tmp_path))
        sandbox.queue().add(150)
        new = one_queue(export_rows(sandbox, tmp_path, {"sync.lookback_s": 60}, **NEW))

    assert (full.mode, full.complete) == ("full", True)
    assert (new.mode, new.mode_reason, new.complete, new.inserted) == ("new", None, True, 150)
    assert new.requests <= 45
    assert len(with_polars(tmp_path / "lake")) == 6150


def test_it_removes_nothing_and_refreshes_what_the_lookback_covers(tmp_path: Path) -> None:
    """A row that it did not meet is not taken for gone; a row within the look-back is read again."""
    with Sandbox(Population(rows=500, odd=False, days=2), seed=3) as sandbox:
        export_rows(sandbox, tmp_path)
        queue = sandbox.queue()
        rows = queue.rows("active")
        queue.delete(rows[0].id)
        queue.edit(rows[-1].id, name="renamed")
        new = one_queue(export_rows(sandbox, tmp_path, **NEW))
        stored = with_polars(tmp_path / "lake")

    assert (new.mode, new.removed, new.updated) == ("new", 0, 1)
    assert stored[rows[-1].id]["name"] == "renamed"
    assert stored[rows[0].id]["removed_at"] is None


def test_without_a_complete_full_export_it_is_a_full_one(tmp_path: Path) -> None:
    """The first export, and one after a first export that failed half-way, read everything and say why."""
    outage: list[Any] = ["ok"] * 5 + ["500"] * 20
    with Sandbox(Population(rows=300, odd=False, days=2), seed=3, faults=Faults(script=outage)) as sandbox:
        failed = one_queue(export_rows(sandbox, tmp_path, {"retry.max_attempts": 2, "source.concurrency": 1}))
        new = one_queue(export_rows(sandbox, tmp_path, {"retry.max_attempts": 30}, **NEW))

    assert failed.status == "failed"
    assert (new.mode, new.mode_reason) == ("full", "no complete full export of this queue is recorded")
    assert (new.complete, len(with_polars(tmp_path / "lake"))) == (True, 300)


def test_an_old_full_export_is_renewed(tmp_path: Path) -> None:
    """When the last complete full export is older than sync.full_every_s, reviews and removals are due again."""
    with Sandbox(Population(rows=50, odd=False, days=2), seed=3) as sandbox:
        export_rows(sandbox, tmp_path)
        fresh = one_queue(export_rows(sandbox, tmp_path, {"sync.full_every_s": 3600}, **NEW))
        aged = one_queue(export_rows(sandbox, tmp_path, {"sync.full_every_s": 3600}, clock=later(3601), **NEW))

    assert (fresh.mode, aged.mode) == ("new", "full")
    assert aged.mode_reason == "the last complete full export is older than sync.full_every_s"


@pytest.mark.parametrize("endpoint", ["runs", "items"])
@pytest.mark.parametrize("keep", [1, 500])
def test_a_clock_that_was_wrong_once_costs_one_full_export(keep: int, endpoint: str, tmp_path: Path) -> None:
    """What an export under a clock of 2098 recorded is passed over: reviews and removals stay due in time."""
    settings = {"source.endpoint": endpoint, "sync.full_every_s": 3600, "lake.keep_reports": keep}
    with Sandbox(Population(rows=50, odd=False, days=2), seed=3) as sandbox:
        wrong = one_queue(export_rows(sandbox, tmp_path, settings, clock=later(72 * 365 * 86_400)))
        row = sandbox.queue().rows("archived")[0]
        sandbox.queue().delete(row.id)
        mended = one_queue(export_rows(sandbox, tmp_path, settings, **NEW))
        fresh = one_queue(export_rows(sandbox, tmp_path, settings, clock=later(60), **NEW))
        aged = one_queue(export_rows(sandbox, tmp_path, settings, clock=later(7200), **NEW))

    assert wrong.complete
    assert (mended.mode, mended.mode_reason) == ("full", "no complete full export of this queue is recorded")
    assert (mended.removed, with_polars(tmp_path / "lake")[row.id]["removed_at"] is not None) == (1, True)
    assert [fresh.mode, aged.mode] == ["new", "full"]


def test_a_row_of_a_time_to_come_moves_no_mark(tmp_path: Path) -> None:
    """An added_at of 2098 is no reason to leave out what is added until then."""
    with Sandbox(Population(rows=300, odd=False, days=2), seed=3) as sandbox:
        queue = sandbox.queue()
        queue.edit(queue.rows("active")[0].id, added_at="2098-01-01T00:00:00Z")
        export_rows(sandbox, tmp_path)
        queue.add(5)
        new = one_queue(export_rows(sandbox, tmp_path, **NEW))

    assert (new.mode, new.complete, new.inserted) == ("new", True, 5)


def test_status_tells_the_last_export_whose_clock_was_right(tmp_path: Path) -> None:
    """An export under a clock of 2098 is not the last one for 72 years."""
    with Sandbox(Population(rows=5, days=2), seed=3) as sandbox:
        export_rows(sandbox, tmp_path, clock=later(72 * 365 * 86_400))
        report = export_rows(sandbox, tmp_path)
        told = annolake("status", "--json", cwd=tmp_path)

    (queue,) = json.loads(told.out)["queues"]
    assert queue["last_attempt"]["export_id"] == report.export_id


def test_a_filtered_export_proves_nothing(tmp_path: Path) -> None:
    """An export of the active list alone is no ground for reading only what came after it."""
    with Sandbox(Population(rows=50, odd=False, days=2), seed=3) as sandbox:
        export_rows(sandbox, tmp_path, {"source.include_archived": False})
        new = one_queue(export_rows(sandbox, tmp_path, **NEW))

    assert new.mode == "full"


def test_a_lake_that_lost_its_rows_is_filled_again(tmp_path: Path) -> None:
    """Reports alone are no proof when somebody removed the files they speak of."""
    with Sandbox(Population(rows=50, odd=False, days=2), seed=3) as sandbox:
        export_rows(sandbox, tmp_path)
        for path in (tmp_path / "lake/runs").rglob("*.parquet"):
            path.unlink()
        new = one_queue(export_rows(sandbox, tmp_path, **NEW))

    assert (new.mode, new.inserted) == ("full", 50)


def test_an_unsorted_list_is_swept_and_the_report_says_so(tmp_path: Path) -> None:
    """New rows may be anywhere in it, so all of it is read."""
    with Sandbox(Population(rows=300, odd=False, order="unsorted", days=2), seed=3) as sandbox:
        export_rows(sandbox, tmp_path)
        sandbox.queue().add(20)
        new = one_queue(export_rows(sandbox, tmp_path, **NEW))

    assert (new.mode, new.complete, new.inserted) == ("new", True, 20)
    assert new.mode_reason == "read whole, since it is not sorted by a time that tells new rows: active and archived"


@pytest.mark.parametrize(
    ("endpoint", "order"), [("runs", "oldest_first"), ("runs", "newest_first"), ("items", "newest_first")]
)
@pytest.mark.parametrize(("requeued", "page_size"), [(30, 10), (70, 100)])
def test_rows_requeued_after_one_was_added_do_not_hide_it(
    requeued: int, page_size: int, order: Any, endpoint: str, tmp_path: Path
) -> None:
    """They have an old added_at, and stand between it and the newest end; no list is read whole for that."""
    settings = {"source.endpoint": endpoint, "source.page_size": page_size, "sync.lookback_s": 60}
    population = Population(rows=400, odd=False, order=order, days=2, feedback=0)
    with Sandbox(population, seed=3) as sandbox:
        export_rows(sandbox, tmp_path, settings)
        queue = sandbox.queue()
        old = queue.rows("active")
        added = {row.id for row in queue.add(3)}
        for row in sorted(old[100 : 100 + requeued], key=lambda row: row.key):
            queue.requeue(row.id)
        reports = [one_queue(export_rows(sandbox, tmp_path, settings, **NEW)) for _ in range(2)]

    assert [(new.mode, new.complete, new.inserted) for new in reports] == [("new", True, 3), ("new", True, 0)]
    assert added <= with_polars(tmp_path / "lake").keys()
    assert [new.mode_reason for new in reports] == [None, None]


def test_a_row_reviewed_before_older_ones_is_not_hidden_by_them(tmp_path: Path) -> None:
    """The archived list is sorted by the time of review, and was so by added_at, for the oldest were reviewed first."""
    settings = {"source.endpoint": "runs", "source.page_size": 10, "sync.lookback_s": 60}
    population = Population(
        rows=200, odd=False, order="newest_first", archived_by="last_reviewed_time", archived_share=0, days=2
    )
    with Sandbox(population, seed=3) as sandbox:
        queue = sandbox.queue()
        oldest_first = queue.rows("active")[::-1]
        for row in oldest_first[:50]:
            queue.finish(row.id)
        export_rows(sandbox, tmp_path, settings)
        (added,) = queue.add()
        for row in (added, *oldest_first[50:100]):
            queue.finish(row.id)
        new = one_queue(export_rows(sandbox, tmp_path, settings, **NEW))

    assert (new.mode, new.complete) == ("new", True)
    assert added.id in with_polars(tmp_path / "lake")


@pytest.mark.parametrize("seed", range(4))
def test_exports_in_a_row_over_a_changing_queue_leave_no_gap(seed: int, tmp_path: Path) -> None:
    """Whatever was added between and during exports is in the lake after the next one."""
    changes = Changes(rate=0.5, kinds=("finish", "delete", "add"))
    with Sandbox(Population(rows=400, odd=False, days=2), seed=seed, changes=changes) as sandbox:
        export_rows(sandbox, tmp_path)
        for _ in range(3):
            sandbox.queue().add(30)
            here = {row.id for section in ("active", "archived") for row in sandbox.queue().rows(section)}
            report = one_queue(export_rows(sandbox, tmp_path, {"sync.lookback_s": 3600}, **NEW))
            still = {row.id for section in ("active", "archived") for row in sandbox.queue().rows(section)}

            assert report.complete
            assert here & still <= with_polars(tmp_path / "lake").keys()
