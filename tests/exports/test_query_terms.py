"""What the query of runs allows: caps on ids and answers that are too large are learned, and nothing is lost."""

import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from annolake.contract import RUNS
from annolake.sandbox import Faults, Population, QueryRules, Rules, Sandbox
from exporting import ROWS_ALONE, annolake, export_once, one_queue, queries, with_polars, write_config

ITEMS = {**ROWS_ALONE, "source.endpoint": "items"}
CHANGING = {column.name for column in RUNS.column if column.unit in {"tokens", "USD"}}
CHANGING |= {"first_token_time", "first_token_s"}


def columns(lake: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a lake without the time of the export."""
    return {
        key: {name: value for name, value in row.items() if name != "exported_at"}
        for key, row in with_polars(lake).items()
    }


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The table of 200 rows where a query may ask for as much as it likes."""
    folder = tmp_path_factory.mktemp("unlimited")
    with Sandbox(Population(rows=200, odd=False, days=2), seed=21) as sandbox:
        export_once(sandbox, folder, ITEMS)
    return columns(folder / "lake")


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("most", [25, 7, 1])
def test_a_cap_that_a_refusal_names_is_kept_to(
    most: int, status: Any, unlimited: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Every run arrives in queries of that many, the cap is met once by each lane at most, and the exit code is 0."""
    with Sandbox(
        Population(rows=200, odd=False, days=2),
        seed=21,
        rules=Rules(query=QueryRules(most_ids=most, most_ids_status=status)),
    ) as sandbox:
        config = write_config(tmp_path, sandbox, ITEMS)
        ran = annolake("run", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path)
        asked = queries(sandbox)

    (queue,) = ran.report["queues"]
    assert (ran.exit_code, queue["complete"], queue["payloads_missing"]) == (0, True, 0)
    assert columns(tmp_path / "lake") == unlimited
    refused = [record for record in asked if record.status == status]
    assert 1 <= len(refused) <= 8 * 2  # a refused query is asked once more without include_subtree_usage
    assert len(asked) - len(refused) <= math.ceil(200 / most) + 10
    assert ran.err.count("asking_again") == 0


@pytest.mark.parametrize("status", [413, 502, 504])
def test_queries_whose_answers_are_too_large_are_halved(
    status: Any, unlimited: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Where 100 runs are more than a gateway carries, fewer are asked for from then on, and every run arrives."""
    rules = QueryRules(most_bytes=60_000, too_large=status)
    with Sandbox(Population(rows=200, odd=False, days=2), seed=21, rules=Rules(query=rules)) as sandbox:
        config = write_config(tmp_path, sandbox, {**ITEMS, "retry.max_wait_s": 0.01})
        ran = annolake("run", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path)
        asked = queries(sandbox)

    (queue,) = ran.report["queues"]
    assert (ran.exit_code, queue["complete"], queue["payloads_missing"]) == (0, True, 0)
    assert columns(tmp_path / "lake") == unlimited
    assert len(asked) <= 100
    assert sum(record.status == status for record in asked) <= 60


def test_a_single_attempt_is_enough_to_halve(unlimited: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """Without repeats there is no second 502 to wait for: the first one halves."""
    with Sandbox(
        Population(rows=200, odd=False, days=2), seed=21, rules=Rules(query=QueryRules(most_bytes=60_000))
    ) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, {**ITEMS, "retry.max_attempts": 1}))

    assert (report.exit_code, report.complete) == (0, True)
    assert columns(tmp_path / "lake") == unlimited


def test_a_run_that_is_too_large_alone_is_retried_and_told(tmp_path: Path) -> None:
    """A query of one run has all its attempts; then the queue has failed, in one sentence."""
    with Sandbox(
        Population(rows=40, odd=False, days=2), seed=21, rules=Rules(query=QueryRules(most_bytes=500))
    ) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, {**ITEMS, "source.concurrency": 1}))
        sizes = Counter(len(record.body["ids"]) for record in queries(sandbox))

    assert (report.exit_code, report.status) == (4, "failed")
    assert "/api/v2/runs/query in 8 attempts (the last: status 502)" in (report.error or "")
    assert sizes[20] == 2
    assert 8 <= sizes[1] <= 16


def test_a_stray_502_shrinks_nothing(tmp_path: Path) -> None:
    """One 502 that is answered the next time is a fault like others."""
    faults = Faults(script=["502", "ok"] * 20, endpoints=("query",))
    with Sandbox(Population(rows=3000, odd=False, days=2), seed=21, faults=faults) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, {**ITEMS, "source.concurrency": 1}))
        asked = queries(sandbox)

    assert (report.exit_code, report.inserted) == (0, 3000)
    assert [record.status for record in asked] == [502, 200] * 4
    assert [len(record.body["ids"]) for record in asked if record.status == 200] == [20, 1000, 1000, 980]


def test_after_an_outage_more_is_asked_for_again(tmp_path: Path) -> None:
    """A gateway that was away for some seconds shrank the queries: they grow back, and what was lost is time."""
    faults = Faults(script=["502"] * 8, endpoints=("query",))
    with Sandbox(Population(rows=3000, odd=False, days=2), seed=21, faults=faults) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, {**ITEMS, "source.concurrency": 1}))
        sizes = [len(record.body["ids"]) for record in queries(sandbox) if record.status == 200]

    assert (report.exit_code, report.inserted) == (0, 3000)
    assert min(sizes) <= 7
    assert sizes[-2] >= 200
    assert len(sizes) <= 100


def test_what_one_queue_learned_holds_for_the_next(tmp_path: Path) -> None:
    """Several queues of an export meet the service's cap together."""
    with Sandbox(
        Population(rows=120, queues=6, odd=False, days=2), seed=21, rules=Rules(query=QueryRules(most_ids=20))
    ) as sandbox:
        report = export_once(sandbox, tmp_path, {**ITEMS, "source.concurrency": 2})
        refused = [record for record in queries(sandbox) if record.status == 400]

    assert (report.exit_code, [queue.inserted for queue in report.queues]) == (0, [120] * 6)
    assert 1 <= len(refused) <= 4


def test_the_documented_limit_is_not_met_by_light_rows(tmp_path: Path) -> None:
    """15 queries in 10 s are enough for 6,000 rows: 7 are sent, and none is throttled."""
    faults = Faults(query_rate_limit=15)
    with Sandbox(Population(rows=6_000, odd=False, days=2), seed=21, faults=faults) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, {**ITEMS, "source.concurrency": 16}))

    assert (report.exit_code, report.inserted, report.queries) == (0, 6_000, 7)
    assert report.throttled["query"].answers == 0


def test_what_was_throttled_is_reported_by_kind(tmp_path: Path) -> None:
    """429s of queries are counted, with the seconds that they were waited for, apart from those of listings."""
    faults = Faults(script=["429_seconds"], retry_after_s=3, endpoints=("query",))
    with Sandbox(Population(rows=100, odd=False, days=2), seed=21, faults=faults) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, ITEMS))

    query, listing = report.throttled["query"], report.throttled["listing"]
    assert (report.exit_code, query.answers, listing.answers) == (0, 1, 0)
    assert query.seconds >= 3
    assert listing.seconds < 3


@pytest.mark.parametrize("seed", range(16))
def test_nothing_is_lost_whatever_the_terms(seed: int, unlimited: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """Random caps, sizes, refusals, faults and lanes: every run arrives with all its columns but refused usage."""
    rng = random.Random(seed)
    rules = QueryRules(
        most_ids=rng.choice((0, 1, 3, 10, 33, 64)),
        most_ids_status=rng.choice((400, 422)),
        most_bytes=rng.choice((0, 10_000, 30_000, 100_000)),
        too_large=rng.choice((413, 502, 504)),
        refuse_subtree_usage=rng.choice((0, 400, 422)),
    )
    page_cap, lanes, page_size = rng.choice((None, 5, 40)), rng.randint(1, 8), rng.choice((7, 50, 100))
    faults = Faults(rate=rng.choice((0.0, 0.2)), kinds=("500", "502", "503", "504", "drop", "truncated"))
    with Sandbox(
        Population(rows=200, odd=False, days=2), seed=21, faults=faults, rules=Rules(query=rules, page_cap=page_cap)
    ) as sandbox:
        settings = {"source.concurrency": lanes, "source.page_size": page_size, "retry.max_attempts": 30}
        report = one_queue(export_once(sandbox, tmp_path, {**ITEMS, **settings}))
        sent = [record.body["ids"] for record in queries(sandbox)]

    refused = bool(rules.refuse_subtree_usage)
    carried = min(rules.most_ids or 100, (rules.most_bytes or 10**6) // 4_000, page_cap or 100, page_size)
    assert faults.rate or len(sent) <= 3 * 200 / carried + 60
    stored = columns(tmp_path / "lake")
    assert (report.exit_code, report.complete, report.inserted) == (0, True, 200)
    assert report.usage == ("own" if refused else "subtree")
    assert {run_id for ids in sent for run_id in ids} == {row["id"] for row in unlimited.values()}
    without = {"row_hash", *(name for name in CHANGING if refused)}
    assert {key: _less(row, without) for key, row in stored.items()} == {
        key: _less(row, without) for key, row in unlimited.items()
    }


def _less(row: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def test_a_refusal_without_a_number_ends_the_export(tmp_path: Path) -> None:
    """What no smaller query cures is told as before, and nothing of the body is."""
    with Sandbox(Population(rows=30, odd=False, days=2), seed=21, rules=Rules(forbid=["query"])) as sandbox:
        report = one_queue(export_once(sandbox, tmp_path, ITEMS))

    assert (report.exit_code, report.status) == (4, "failed")
    assert "(403)" in (report.error or "")
    assert "Forbidden" not in (report.error or "")
