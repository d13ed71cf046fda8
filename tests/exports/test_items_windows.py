"""Whole exports over items of sections that are long enough to be read in windows, from services of every kind."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from annolake.sandbox import Changes, Population, Queue, Rules, Sandbox
from annolake.sandbox.queue import Section
from exporting import ROWS_ALONE, export_once, one_queue, with_polars
from exports.test_drift import KINDS, RATES, promised, stored

ITEMS = {**ROWS_ALONE, "source.endpoint": "items", "source.page_size": 10, "source.concurrency": 6}

LISTS: tuple[Section, ...] = ("active", "archived")


def windows(sandbox: Sandbox) -> set[str]:
    """Return the sections of which windows were read."""
    bounds = {"min_start_time", "max_start_time"}
    pages = [record.query for record in sandbox.requests if record.endpoint == "items" and record.status == 200]
    return {query["status"] for query in pages if bounds & query.keys()}


def bounds_counted(sandbox: Sandbox, section: str) -> list[str]:
    """Return the times up to which a section was counted, in the order of the answers."""
    counts = [record.query for record in sandbox.requests if record.endpoint == "count"]
    return [query["max_start_time"] for query in counts if query["status"] == section and "max_start_time" in query]


def test_windows_bring_every_field_of_every_row(tmp_path: Path) -> None:
    """What is read in windows is what the service holds, first and again, THREADs included."""
    with Sandbox(Population(rows=600, threads=40, odd=False, days=2), seed=1) as sandbox:
        first = one_queue(export_once(sandbox, tmp_path, ITEMS))
        threads = {item.id for section in LISTS for item in sandbox.queue().threads(section)}
        rows = with_polars(tmp_path / "lake")
        again = one_queue(export_once(sandbox, tmp_path, ITEMS))
        there = windows(sandbox)

    assert there == {"needs_my_review", "archived"}
    assert (first.complete, first.inserted, first.repairs) == (True, 640, 0)
    assert (again.complete, again.inserted, again.updated) == (True, 0, 0)
    assert {row_id for row_id, row in rows.items() if row["item_type"] == "THREAD"} == threads


def test_another_export_cuts_windows_where_the_rows_of_the_lake_began(tmp_path: Path) -> None:
    """Its first section is counted once, at starts that the lake holds; the first export had to look for bounds."""
    with Sandbox(Population(rows=900, odd=False, days=9, order="oldest_first"), seed=4) as sandbox:
        export_once(sandbox, tmp_path, ITEMS)
        looked = bounds_counted(sandbox, "needs_my_review")
        export_once(sandbox, tmp_path, ITEMS)
        known = bounds_counted(sandbox, "needs_my_review")[len(looked) :]
        starts = {row["start_time"] for row in with_polars(tmp_path / "lake").values()}

    assert {datetime.fromisoformat(bound) for bound in known} <= starts
    assert 0 < len(known) < len(looked)


def _without_start(queue: Queue) -> None:
    for row in queue.rows("active")[::9]:
        queue.edit(row.id, start_time=None)


def _nothing(_queue: Queue) -> None:
    """Leave the queue as it is."""


FILTERS: list[Any] = ["kept", "refused", "ignored", "listing ignores", "count ignores", "count refused"]
LIES: dict[str, Callable[[int], int | None]] = {
    "refused": lambda _: None,
    "zero": lambda _: 0,
    "more": lambda size: size + 3,
    "less": lambda size: size * 9 // 10,
}


@pytest.mark.parametrize(("filters", "lie"), [*product(FILTERS, ["true"]), *product(["kept"], LIES)])
@pytest.mark.parametrize("odd", [_nothing, _without_start])
def test_whatever_the_service_does_with_filters_and_counts(
    filters: Any, lie: str, odd: Callable[[Queue], None], tmp_path: Path
) -> None:
    """Every row is in the lake, and what cannot be known is told."""
    population = Population(rows=300, threads=20, odd=False, days=2)
    with Sandbox(population, seed=3, rules=Rules(item_filters=filters)) as sandbox:
        odd(sandbox.queue())
        sandbox.showing = replace(sandbox.showing, size=LIES.get(lie, int))
        report = one_queue(export_once(sandbox, tmp_path, ITEMS))
        queue = sandbox.queue()
        wanted = {row.id for section in LISTS for row in (*queue.rows(section), *queue.threads(section))}

    assert sorted(wanted) == sorted(stored(tmp_path / "lake"))
    assert report.complete


@pytest.mark.parametrize(("cursors", "order"), [("offset", "oldest_first"), ("keyset", "newest_first")])
@pytest.mark.parametrize("rate", [0.01, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_while_reviewers_work(kind: str, rate: float, cursors: Any, order: Any, tmp_path: Path) -> None:
    """Rows that were there throughout are in the lake exactly once, or the report says that it is not complete."""
    kinds: Any = KINDS[kind]
    changes = Changes(rate=rate * RATES.get(kinds[0], 1), kinds=kinds)
    population = Population(rows=500, odd=False, order=order, days=2)
    with Sandbox(population, seed=2, changes=changes, rules=Rules(cursors=cursors)) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, ITEMS))
        wanted = promised(sandbox, sandbox.queue(), but={"move"})
        there = stored(tmp_path / "lake")

    assert len(there) == len(set(there))
    assert wanted <= set(there) or not report.complete
    assert report.complete or kind == "requeue"
