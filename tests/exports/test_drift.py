"""Whole exports of queues that change between any two requests: nothing missed, nothing doubled, or told."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from annolake.sandbox import Changes, Population, Queue, Rules, Sandbox
from exporting import export_rows, one_queue

RATES = {"burst_finish": 0.15, "burst_delete": 0.15}
KINDS = {
    "finish": ("finish",),
    "bursts": ("burst_finish", "burst_delete"),
    "delete": ("delete",),
    "insert": ("insert_front", "insert", "add"),
    "requeue": ("finish", "unarchive", "requeue"),
}


def stored(lake: Path) -> list[str]:
    """Return the ids in the lake, doubled ones twice."""
    return pl.scan_parquet(lake / "runs").select("queue_run_id").collect()["queue_run_id"].to_list()


def promised(sandbox: Sandbox, queue: Queue, *, but: set[str]) -> set[str]:
    """Return the ids that were in the queue throughout the export and met no change of these kinds."""
    last = max(record.number for record in sandbox.requests)
    return queue.throughout(0, last) - {event.id for event in queue.history if event.kind in but}


@pytest.mark.parametrize("lanes", [1, 6])
@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_while_reviewers_work(kind: str, order: Any, lanes: int, tmp_path: Path) -> None:
    """Rows that were there throughout are in the lake exactly once, and the report says so."""
    kinds: Any = KINDS[kind]
    changes = Changes(rate=RATES.get(kinds[0], 0.8), kinds=kinds)
    with Sandbox(Population(rows=1000, odd=False, order=order, days=2), seed=lanes, changes=changes) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path, {"source.concurrency": lanes}))
        wanted = promised(sandbox, sandbox.queue(), but={"move"})

    there = stored(tmp_path / "lake")
    assert len(there) == len(set(there))
    assert wanted <= set(there)
    assert report.complete or kind == "requeue"


@pytest.mark.parametrize("seed", range(4))
def test_moves_within_a_list_lose_nothing_silently(seed: int, tmp_path: Path) -> None:
    """Rows that change their place are met all the same, or the export is told incomplete."""
    with Sandbox(
        Population(rows=1000, odd=False, days=2), seed=seed, changes=Changes(rate=3.0, kinds=("move",))
    ) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path))
        wanted = promised(sandbox, sandbox.queue(), but=set())

    missed = wanted - set(stored(tmp_path / "lake"))
    assert not missed or not report.complete
    assert report.complete or (report.exit_code, report.status) == (3, "partial")


def test_an_order_that_does_not_repeat_is_told(tmp_path: Path) -> None:
    """Ties that change places from request to request: every row is met, or the report is not complete."""
    with Sandbox(Population(rows=800, odd=False, days=0.001), seed=1, rules=Rules(unstable_ties=True)) as sandbox:
        report = one_queue(export_rows(sandbox, tmp_path))
        wanted = promised(sandbox, sandbox.queue(), but=set())

    assert wanted <= set(stored(tmp_path / "lake")) or not report.complete


@pytest.mark.parametrize("lanes", [1, 8])
def test_a_quiet_queue_costs_little_more_than_its_pages(lanes: int, tmp_path: Path) -> None:
    """At most n/95 + 14 requests however many lanes there are, sizes and the queue's record included."""
    with Sandbox(Population(rows=3000, odd=False, days=2), seed=1) as sandbox:
        settings = {"source.concurrency": lanes}
        report = one_queue(export_rows(sandbox, tmp_path, settings))
        asked = len(sandbox.requests)

    assert report.complete
    assert report.requests == asked <= 3000 / 95 + 14


def test_two_sweeps_differ_by_what_changed_between_them(tmp_path: Path) -> None:
    """A row deleted between two exports is removed, one added is inserted, and no other is touched."""
    with Sandbox(Population(rows=700, odd=False, days=2), seed=1) as sandbox:
        export_rows(sandbox, tmp_path)
        queue = sandbox.queue()
        queue.delete(queue.rows("archived")[3].id)
        queue.add(2)
        report = one_queue(export_rows(sandbox, tmp_path))

    assert (report.inserted, report.removed, report.updated) == (2, 1, 0)
