"""One queue as a task of an orchestrator: which queues there are, one's export, its figures.

Owns what Dagster and Airflow have in common. The figures are those of the report and of `annolake status`, under the
same names: nothing is counted here.
"""

import os
import signal
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

import msgspec

from annolake import library, pipeline
from annolake.clock import Clock
from annolake.config import Config
from annolake.errors import AnnolakeError, InterruptedExport
from annolake.interruption import Stop
from annolake.library import load_config
from annolake.observers import events
from annolake.observers.events import ProgressEvent
from annolake.observers.protocols import LibraryLog
from annolake.queue_names import names_in
from annolake.report import TABLES, Mode, QueueReport, in_words
from annolake.run_on.definition import tables_of
from annolake.wiring import open_client, open_lake
from annolake.workers import share_of

__all__ = ["Figures", "as_json_values", "export_queue", "figures", "load_config", "queues_of", "telling", "verdict"]

_EVERY_S = 30
_NO_FIGURES = {"queue_id", "orders", *TABLES}

_HELD = ("rows", "removed", "partitions", "bytes", "newest")

Figures = dict[str, Any]


def queues_of(config: Config, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the ids of the configured queues; the service is asked where the settings have "all" or names.

    Raises ConfigError and ServiceError.
    """
    queues = config.source.queues
    if queues != "all" and not names_in(queues):
        return [*queues]
    log = LibraryLog()
    with open_client(config, environ, clock=Clock(), log=log) as client:
        return pipeline.configured_queues(config, client, Event(), log)


def export_queue(
    config: Config,
    queue: str,
    *,
    sharing: int,
    mode: Mode,
    accept_removals: bool,
    refresh: bool,
    say: Callable[[str], object],
    stop: Stop | None = None,
    environ: Mapping[str, str] = os.environ,
) -> QueueReport:
    """Export a queue, with the share of one of `sharing` exports of the limits on requests, and return its report.

    Errors are in the report, with their exit code. `say` is told how far it is, every 30 seconds.
    """
    try:
        report = library.export(
            share_of(config, sharing),
            mode,
            [queue],
            on_progress=telling(say, Clock()),
            stop=stop,
            accept_removals=accept_removals,
            refresh=refresh,
            environ=environ,
        )
    except AnnolakeError as error:
        return _failed(queue, mode, error)
    return report.queues[0] if report.queues else _failed(queue, mode, InterruptedExport(signal.SIGINT))


def _failed(queue: str, mode: Mode, error: AnnolakeError) -> QueueReport:
    report = QueueReport(queue_id=queue, mode=mode)
    report.fail(error)
    return report


def telling(say: Callable[[str], object], clock: Clock) -> Callable[[ProgressEvent], None]:
    """Return what is to get the events of an export, and says every 30 seconds how far the queue is."""
    due = clock.monotonic() + _EVERY_S

    def tell(event: ProgressEvent) -> None:
        nonlocal due
        if event.phase != "ended" and clock.monotonic() >= due:
            due = clock.monotonic() + _EVERY_S
            say(events.in_words(event))

    return tell


def verdict(queue: QueueReport) -> str:
    """Return how the export of a queue ended, in words, with the exit code of the command."""
    return f"{in_words(queue)}; exit code {queue.exit_code}"


def figures(config: Config, queue: QueueReport, environ: Mapping[str, str] = os.environ) -> dict[str, Figures]:
    """Return the figures of each table of a queue: those of the report, and what the lake holds now.

    The latter are those of `annolake status` and begin with `lake_`; `lake_rows` counts removed rows too.
    Raises LakeError.
    """
    lake = open_lake(config, environ)
    told: dict[str, Figures] = {}
    for table in tables_of(config):
        if table == "queues":
            told[table] = {"name": queue.name}
            continue
        reported = msgspec.structs.asdict(queue if table == "runs" else getattr(queue, table))
        held = lake.table(table).held(queue.queue_id)
        told[table] = {
            **{name: _plain(value) for name, value in reported.items() if name not in _NO_FIGURES},
            **{f"lake_{name}": value for name, value in zip(_HELD, held, strict=True)},
        }
    return told


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value) if isinstance(value, dict) else value


def as_json_values(told: QueueReport | Figures) -> dict[str, Any]:
    """Return a report or figures as JSON values, as `--json` has them."""
    values: dict[str, Any] = msgspec.to_builtins(told)
    return values
