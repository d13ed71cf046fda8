"""What orchestrators have in common, without one; with one: tests/orchestrators."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annolake import library
from annolake.clock import Clock
from annolake.config import Config, load_config
from annolake.errors import ConfigError
from annolake.observers.events import ProgressEvent
from annolake.report import QueueReport, Report
from annolake.run_on.definition import address_of, settings_of, tables_of
from annolake.run_on.one_queue import export_queue, queues_of, telling
from annolake.sandbox import Population, Sandbox
from exporting import KEY_VARIABLE, now, write_config

QUEUE = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Give a service that is hardly asked."""
    with Sandbox(Population(rows=1, odd=False, days=2)) as sandbox:
        yield sandbox


def export_with(settings: dict[str, Any], sandbox: Sandbox, folder: Path, sharing: int = 1) -> QueueReport:
    """Export a queue as an orchestrator does."""
    config = load_config(write_config(folder, sandbox, settings), {}, {})
    asked: dict[str, Any] = {"mode": "new", "accept_removals": False, "refresh": True, "say": print, "environ": {}}
    return export_queue(config, QUEUE, sharing=sharing, **asked)


def test_exports_that_run_side_by_side_share_the_limits(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each is asked for what the orchestrator was asked for."""
    seen: list[Any] = []

    def export(config: Config, mode: str, queues: list[str], **asked: Any) -> Report:
        seen.append((config.source.max_requests_per_second, config.source.max_queries_per_10_s, mode, queues))
        seen.append((asked["refresh"], asked["accept_removals"]))
        return Report(export_id="1", started_at=now(), queues=[QueueReport(queue_id=QUEUE)])

    monkeypatch.setattr(library, "export", export)
    limits = {"source.max_requests_per_second": 10, "source.max_queries_per_10_s": 9}
    assert export_with(limits, sandbox, tmp_path, sharing=4).queue_id == QUEUE
    assert seen == [(2.5, 2, "new", [QUEUE]), (True, False)]


def test_an_export_that_could_not_begin_is_a_queue_that_failed(sandbox: Sandbox, tmp_path: Path) -> None:
    """With the sentence and the exit code of the command."""
    report = export_with({"lake.path": "/dev/null/lake"}, sandbox, tmp_path)

    assert (report.queue_id, report.status, report.exit_code, report.mode) == (QUEUE, "failed", 5, "new")
    assert "/dev/null/lake" in str(report.error)


def test_a_queue_whose_name_was_not_looked_up_yet_has_failed_by_the_stop(sandbox: Sandbox, tmp_path: Path) -> None:
    """An orchestrator ends a task as soon as it has begun."""
    stop = threading.Event()
    stop.set()
    config = load_config(write_config(tmp_path, sandbox), {}, {})
    asked: dict[str, Any] = {"mode": "full", "accept_removals": False, "refresh": False, "say": print}
    report = export_queue(config, "Support", sharing=1, stop=stop, environ={KEY_VARIABLE: sandbox.api_key}, **asked)

    assert (report.queue_id, report.status, report.exit_code) == ("Support", "failed", 130)


def test_how_far_it_is_is_told_every_30_seconds() -> None:
    """A queue without a name yet by its id; that it has ended is told by the report."""
    time, told = [100.0], list[str]()
    tell = telling(told.append, Clock(monotonic=lambda: time[0]))
    events = {
        1: ProgressEvent(queue_id=QUEUE, phase="reading", rows=1000),
        31: ProgressEvent(queue_id=QUEUE, phase="reading", rows=31_000, steps=31_000),
        59: ProgressEvent(queue_id=QUEUE, name="a", phase="reading", rows=59_000),
        62: ProgressEvent(queue_id=QUEUE, name="a", phase="merging", rows=62_000, total=62_500, steps=3, steps_total=4),
        500: ProgressEvent(queue_id=QUEUE, name="a", phase="ended", rows=62_000),
    }
    for seconds, event in events.items():
        time[0] = 100.0 + seconds
        tell(event)

    assert told == [f"{QUEUE}: reading, 31,000 rows", "a: merging, 75%, 3 of 4 days"]


def test_queues_that_have_ids_are_not_asked_for(sandbox: Sandbox, tmp_path: Path) -> None:
    """Names and "all" are; without the key that is an error of the settings."""
    ids = load_config(write_config(tmp_path, sandbox), {}, {})
    all_of_them = load_config(write_config(tmp_path, sandbox, {"source.queues": "all"}), {}, {})

    assert queues_of(ids, {}) == sandbox.queue_ids
    assert sandbox.requests == []
    assert queues_of(all_of_them, {KEY_VARIABLE: sandbox.api_key}) == sandbox.queue_ids
    with pytest.raises(ConfigError, match="LANGSMITH_API_KEY is not set"):
        queues_of(all_of_them, {})


def test_a_definition_needs_the_place_of_the_lake_alone(tmp_path: Path) -> None:
    """The tables that the settings leave out are none of it."""
    settings = tmp_path / "annolake.toml"
    settings.write_text('[lake]\npath = "lake"\n[source]\nthreads = false\n')
    config = settings_of(settings, environ={})

    assert tables_of(config) == ["runs", "feedback", "queues"]
    assert address_of(config, "runs") == (tmp_path / "lake/runs").as_uri()
    with pytest.raises(ConfigError, match='mode: expected "full" or "new", got \'newest\''):
        settings_of(settings, mode="newest", environ={})  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ConfigError, match="at_once: expected a number of queues from 1 on, got 0"):
        settings_of(settings, at_once=0, environ={})
