"""A queue read by the items source from a real server: what arrives, and what it costs."""

from collections import Counter, defaultdict
from datetime import datetime

import pytest

from annolake.errors import NotFoundError
from annolake.extract.endpoints.items import SECTIONS, ItemsListing
from annolake.extract.http.client import Caller
from annolake.sandbox import Changes, Faults, Population, Rules, Sandbox
from extract.passing import Cursors
from sources.reading import client_of, read_items


def test_a_quiet_queue_costs_a_page_for_a_hundred_rows_and_a_query_for_a_thousand() -> None:
    """Every row of 900 arrives once, with about 9 pages of items, 3 queries, and a constant handful."""
    with Sandbox(Population(rows=900)) as sandbox:
        read = read_items(sandbox)
        queue = sandbox.queue()
        ids = {row.id for name in ("active", "archived") for row in queue.listing(name)}

    assert read.rows.keys() == ids
    assert sum(len(one.rows) for one in read.batches) == 900
    assert (read.verdict.complete, read.verdict.signs.repairs, read.run_missing) == (True, 0, set())
    asked = Counter(record.endpoint for record in sandbox.requests)
    assert asked["items"] <= 900 // 90 + 6
    assert asked["count"] == 6
    assert asked["query"] <= 3


def test_threads_arrive_with_what_they_have() -> None:
    """A THREAD has its thread, project, reviewers and times; nothing is asked of a run, and none is missing."""
    with Sandbox(Population(rows=60, threads=30)) as sandbox:
        read = read_items(sandbox)
        queue = sandbox.queue()
        threads = {row.id: row.value() for name in ("active", "archived") for row in queue.threads(name)}
    table = {row["queue_run_id"]: row for row in read.table.to_pylist() if row["item_type"] == "THREAD"}

    assert table.keys() == threads.keys()
    for row_id, thread in threads.items():
        row = table[row_id]
        assert (row["thread_id"], row["session_id"]) == (thread["thread_id"], thread["session_id"])
        assert row["completed_by"] == thread["completed_by"]
        assert (row["added_at"], row["start_time"]) == tuple(
            None if thread[name] is None else datetime.fromisoformat(thread[name])
            for name in ("added_at", "start_time")
        )
        assert {row[name] for name in ("id", "name", "inputs", "total_cost", "latency_s", "run_found")} == {None}
    assert not read.run_missing


def test_runs_that_do_not_come_back_are_asked_for_again_together() -> None:
    """A run that comes late is found; one that is gone leaves its row with what the item has."""
    with Sandbox(Population(rows=300, threads=5, odd=False), rules=Rules(runs_gone=0.05, runs_late=0.1)) as sandbox:
        read = read_items(sandbox)
        gone = {row.run_id for name in ("active", "archived") for row in sandbox.queue().rows(name)}
        gone = {run_id for run_id in gone if sandbox.is_gone(str(run_id))}
        asked: dict[str, list[int]] = defaultdict(list)
        for record in sandbox.requests:
            for run_id in record.body["ids"] if record.endpoint == "query" else ():
                asked[run_id].append(len(record.body["ids"]))
    found = {row["id"]: row["run_found"] for row in read.table.to_pylist()}

    assert read.run_missing == gone
    assert {run_id for run_id, there in found.items() if there is False} == gone
    assert len(gone) > 5
    assert {run_id for run_id, sizes in asked.items() if len(sizes) == 3} == gone
    assert len([sizes for sizes in asked.values() if len(sizes) == 2]) > len(gone)
    assert sum(record.endpoint == "query" for record in sandbox.requests) <= 3 * 3  # two batches and the undated


def test_the_pages_of_a_query_are_followed() -> None:
    """A service that returns fewer runs than were asked for gives the others behind its cursor."""
    with Sandbox(Population(rows=250), rules=Rules(page_cap=30)) as sandbox:
        read = read_items(sandbox)

    assert len(read.rows) == 250
    assert not read.run_missing
    assert all(row.run_found for row in read.rows.values())


def test_a_query_is_bounded_by_its_items() -> None:
    """It names the projects and the span of starts of its items, and reaches back without end only for unknown ones."""
    with Sandbox(Population(rows=500)) as sandbox:
        read_items(sandbox)
        queue = sandbox.queue()
        values = {row.run_id: row.value() for name in ("active", "archived") for row in queue.rows(name)}
        bodies = [record.body for record in sandbox.requests if record.endpoint == "query"]

    for body in bodies:
        rows = [values[run_id] for run_id in body["ids"]]
        assert {row["session_id"] for row in rows} == set(body["project_ids"])
        dated = {"start_time" in row for row in rows}
        assert len(dated) == 1
        assert ("max_start_time" in body) == dated.pop()
    assert {body["min_start_time"] for body in bodies if "max_start_time" not in body} == {"1970-01-01T00:00:00Z"}


@pytest.mark.parametrize("cursors", ["offset", "keyset"])
@pytest.mark.parametrize("kinds", [("finish", "review"), ("finish", "requeue"), ("burst_finish", "delete", "add")])
def test_a_moving_queue_arrives_or_it_is_told(cursors: Cursors, kinds: tuple[str, ...]) -> None:
    """Rows that finish, leave, come or are requeued between any two requests cost no other row untold."""
    for seed in (1, 2):
        changes = Changes(rate=0.7, kinds=kinds)  # type: ignore[arg-type]  # names of kinds, checked there
        with Sandbox(
            Population(rows=600, odd=False), seed=seed, changes=changes, rules=Rules(cursors=cursors)
        ) as sandbox:
            read = read_items(sandbox)
            last = len(sandbox.requests)
            stayed = sandbox.queue().throughout(0, last) - sandbox.queue().moved(0, last)

        assert stayed <= read.rows.keys() or not read.verdict.complete
        assert read.verdict.complete or "requeue" in kinds
        assert read.verdict.signs.rereadings


def test_faults_cost_no_row() -> None:
    """Whatever goes wrong with some of the answers, and pages that are served twice, every row arrives."""
    faults = Faults(rate=0.15, kinds=("429_none", "503", "reset", "truncated", "html", "wrong_shape", "repeat"))
    with Sandbox(Population(rows=700, odd=False), faults=faults) as sandbox:
        read = read_items(sandbox)

    assert len(read.rows) == 700
    assert read.caller.retries


def test_a_service_without_the_endpoints_says_so() -> None:
    """A self-hosted service answers 404 for items, and None for their number."""
    with (
        Sandbox(Population(rows=5), rules=Rules(platform=False)) as sandbox,
        client_of(sandbox.url, sandbox.api_key) as client,
    ):
        listing = ItemsListing(client, sandbox.queue_ids[0], Caller())
        assert [listing.count(name) for name in SECTIONS] == [None] * 3
        with pytest.raises(NotFoundError):
            read_items(sandbox)


def test_counts_that_are_refused_are_no_error() -> None:
    """A key that may list items but not count them reads all the same."""
    with Sandbox(Population(rows=50), rules=Rules(forbid=("count",))) as sandbox:
        read = read_items(sandbox)

    assert len(read.rows) == 50
    assert read.verdict.complete
