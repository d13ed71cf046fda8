"""Tokens and costs on the day of the switch: with those of a run's descendants, as the runs listing tells them."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from annolake.contract import RUNS
from annolake.sandbox import Population, QueryRules, Rules, Sandbox
from exporting import ROWS_ALONE, annolake, export_once, files_of, one_queue, queries, with_duckdb, write_config

ITEMS: dict[str, Any] = {**ROWS_ALONE, "source.endpoint": "items"}
OWN: dict[str, Any] = {**ITEMS, "source.subtree_usage": False}

FIRST_TOKEN = {"first_token_time", "first_token_s"}
# Named here, not read from the contract: a column that is forgotten there would be forgotten here too. The service
# tells the first token of a run and its descendants together as well.
USAGE = {
    *("total_tokens", "prompt_tokens", "completion_tokens", "prompt_token_details", "completion_token_details"),
    *("total_cost", "prompt_cost", "completion_cost", "prompt_cost_details", "completion_cost_details"),
    *("prompt_cache_read_tokens", "prompt_cache_creation_tokens", "prompt_audio_tokens"),
    *("completion_reasoning_tokens", "completion_audio_tokens"),
    *("prompt_cache_read_cost", "prompt_cache_creation_cost", "prompt_audio_cost"),
    *("completion_reasoning_cost", "completion_audio_cost"),
    *FIRST_TOKEN,
}
SUMS = ("total_cost", "prompt_cost", "completion_cost", "total_tokens", "prompt_tokens", "completion_tokens")
ROWS = 200
NEW = 20


@contextmanager
def a_queue(*, new: int = 0, **rules: Any) -> Iterator[Sandbox]:
    """Serve the same queue each time, with so many rows added to it."""
    with Sandbox(Population(rows=ROWS, days=2), seed=31, rules=Rules(query=QueryRules(**rules))) as sandbox:
        sandbox.queue().add(new)
        yield sandbox


def usage_of(lake: Path) -> dict[str, dict[str, Any]]:
    """Return the tokens and costs of each row."""
    return {key: {name: row[name] for name in USAGE} for key, row in with_duckdb(lake).items()}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the runs listing tells of the queue with its new rows."""
    return _exported(tmp_path_factory.mktemp("truth"), {})


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the runs of the queue used by themselves."""
    return _exported(tmp_path_factory.mktemp("alone"), OWN)


def _exported(folder: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    with a_queue(new=NEW) as sandbox:
        export_once(sandbox, folder, settings)
    return usage_of(folder / "lake")


def test_the_switch_changes_no_cost(tmp_path: Path) -> None:
    """A lake filled over runs, then exported over items, has the same sums and the same value in each such column."""
    with a_queue() as sandbox:
        export_once(sandbox, tmp_path)
        before = usage_of(tmp_path / "lake")
        sums = pl.scan_parquet(tmp_path / "lake/runs/").select(pl.col(SUMS).sum()).collect()
        config = write_config(tmp_path, sandbox, ITEMS)
        ran = annolake("run", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path)
        files = files_of(tmp_path / "lake")
        again = one_queue(export_once(sandbox, tmp_path, ITEMS))
        asked = queries(sandbox)

    (queue,) = ran.report["queues"]
    assert (ran.exit_code, queue["endpoint"], queue["usage"], queue["inserted"]) == (0, "items", "subtree", 0)
    assert usage_of(tmp_path / "lake") == before
    assert pl.scan_parquet(tmp_path / "lake/runs/").select(pl.col(SUMS).sum()).collect().equals(sums)
    assert all(record.body["include_subtree_usage"] is True for record in asked)
    assert (again.usage, again.updated, files_of(tmp_path / "lake")) == ("subtree", 0, files)


def test_the_day_the_listing_goes_costs_are_the_trace_s(truth: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """An export that goes on over items half-way has the usage that the listing would have told."""
    with Sandbox(Population(rows=ROWS, days=2), seed=31, rules=Rules(retire_runs_after=2)) as sandbox:
        sandbox.queue().add(NEW)
        report = one_queue(export_once(sandbox, tmp_path))

    assert (report.endpoint, report.usage, report.exit_code) == ("items", "subtree", 0)
    assert usage_of(tmp_path / "lake") == truth


def test_the_runs_listing_has_all_usage(tmp_path: Path) -> None:
    """Over the listing the report says so, whatever the setting."""
    with a_queue() as sandbox:
        usages = {
            one_queue(export_once(sandbox, tmp_path, {"source.subtree_usage": setting})).usage
            for setting in (True, False)
        }

    assert usages == {"subtree"}


@pytest.mark.parametrize("status", [400, 422])
def test_a_service_that_refuses_is_asked_without_it(
    status: Any, truth: dict[str, dict[str, Any]], alone: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Stored usage stays, new rows get their own, report and one line of the log say so; once told, it is written."""
    with a_queue() as sandbox:
        export_once(sandbox, tmp_path)
    stored = usage_of(tmp_path / "lake").keys()
    with a_queue(new=NEW, refuse_subtree_usage=status) as sandbox:
        config = write_config(tmp_path, sandbox, {**ITEMS, "source.concurrency": 2})
        ran = annolake("run", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path)
        asked = queries(sandbox)
        refused = usage_of(tmp_path / "lake")
        files = files_of(tmp_path / "lake")
        again = annolake("run", "--config", config, "--json", "--quiet", key=sandbox.api_key, cwd=tmp_path)
        unchanged = files_of(tmp_path / "lake") == files
    with a_queue(new=NEW) as sandbox:
        noticed = one_queue(export_once(sandbox, tmp_path, ITEMS))
        sandbox.queue().review(sandbox.queue().rows("active")[0].id)
        asked_one, accepted, after = (one_queue(export_once(sandbox, tmp_path, ITEMS)) for _ in range(3))

    for one in (ran, again):
        (queue,) = one.report["queues"]
        assert (one.exit_code, queue["usage"], queue["payloads_missing"]) == (0, "own", 0)
        (line,) = [line for line in one.err.splitlines() if "usage" in line]
        assert "level=warning event=usage_own" in line
        assert "source.subtree_usage = false" in line
    assert (ran.report["queues"][0]["inserted"], unchanged) == (NEW, True)
    with_flag = ["include_subtree_usage" in record.body for record in asked]
    assert [record.status for record in asked if "include_subtree_usage" in record.body] == [status] * sum(with_flag)
    assert 1 <= sum(with_flag) <= 2
    assert not any(with_flag[4:])

    assert refused == {key: (truth if key in stored else alone)[key] for key in truth}
    assert any(refused[key] != truth[key] for key in truth)
    assert [(one.usage, one.runs_asked) for one in (noticed, asked_one)] == [("own", 0), ("own", 1)]
    assert (accepted.usage, accepted.runs_asked, accepted.updated) == ("subtree", ROWS + NEW, ROWS + NEW - 1)
    assert (after.usage, after.runs_asked) == ("subtree", 0)
    assert usage_of(tmp_path / "lake") == truth


def test_switched_off_own_usage_is_written(
    truth: dict[str, dict[str, Any]], alone: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """With the setting false nothing is asked for or kept: every row has its run's own, and nobody is warned."""
    with a_queue(new=NEW) as sandbox:
        export_once(sandbox, tmp_path)
        config = write_config(tmp_path, sandbox, ITEMS)
        off = {"ANNOLAKE_SOURCE__SUBTREE_USAGE": "false"}
        ran = annolake("run", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path, environ=off)
        asked = queries(sandbox)
        own = usage_of(tmp_path / "lake")
        on = one_queue(export_once(sandbox, tmp_path, ITEMS))

    assert (ran.exit_code, ran.report["queues"][0]["usage"]) == (0, "own")
    assert "usage_own" not in ran.err
    assert not any("include_subtree_usage" in record.body for record in asked)
    assert own == alone
    assert _cost(own) < _cost(truth) / 2
    assert (on.usage, usage_of(tmp_path / "lake")) == ("subtree", truth)


def test_switched_off_after_a_refusal_own_usage_is_written(
    truth: dict[str, dict[str, Any]], alone: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """What the warning advises works: rows that kept their usage while the service refused get their run's own."""
    with a_queue(new=NEW) as sandbox:
        export_once(sandbox, tmp_path)
    with a_queue(new=NEW, refuse_subtree_usage=400) as sandbox:
        export_once(sandbox, tmp_path, ITEMS)
        kept = usage_of(tmp_path / "lake")
        report = one_queue(export_once(sandbox, tmp_path, OWN))

    assert (kept, report.exit_code) == (truth, 0)
    assert usage_of(tmp_path / "lake") == alone


def test_another_refusal_is_not_taken_for_one_of_usage(tmp_path: Path) -> None:
    """A query that is refused without the parameter as well ends the queue, and says nothing of usage."""
    with Sandbox(Population(rows=20, days=2), seed=31, rules=Rules(forbid=["query"])) as sandbox:
        config = write_config(tmp_path, sandbox, ITEMS)
        ran = annolake("run", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path)

    assert (ran.exit_code, ran.report["queues"][0]["usage"]) == (4, "subtree")
    assert "usage_own" not in ran.err


def test_every_usage_column_of_the_contract_is_held_here() -> None:
    """A column of tokens or costs that is added to the contract is to be added to these tests."""
    assert {column.name for column in RUNS.column if column.unit in {"tokens", "USD"}} == USAGE - FIRST_TOKEN


def _cost(usage: dict[str, dict[str, Any]]) -> Decimal:
    return sum((row["total_cost"] or Decimal(0) for row in usage.values()), Decimal(0))
