"""One export of any number of queues: the lake's workspace, the threads, the report.

Owns what the queues share and what happens when a signal comes. One queue is exported by `queue_export`; a row's way is
told in docs/architecture.md#one-row-over-runs.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from uuid import uuid4

import msgspec

from annolake.clock import Clock
from annolake.config import Config
from annolake.errors import InterruptedExport
from annolake.extract.endpoints.queues import list_queues
from annolake.extract.http.client import Caller, Cancelled, Client
from annolake.interruption import Interruption
from annolake.observers import SILENCE, Log, Progress
from annolake.queue_export import ExportContext, QueueExport
from annolake.report import Mode, QueueReport, Report, export_id, worst
from annolake.wiring import open_client, open_lake

QUEUES_AT_ONCE = 4
HEED_SIGNALS_S = 0.2


def export(
    config: Config,
    environ: Mapping[str, str],
    *,
    mode: Mode = "full",
    accept_removals: bool = False,
    clock: Clock | None = None,
    log: Log = SILENCE,
    progress: Progress = SILENCE,
    interruption: Interruption | None = None,
) -> Report:
    """Export every configured queue and return what became of each; the report is in the lake as well.

    In mode "new" only rows added since the last complete exports are read, where those allow it (`plan`). With
    `accept_removals` rows that were not met are marked removed even where the service still counts them (`removals`).
    Raises ConfigError, ServiceError, LakeError or InterruptedExport where no queue could be begun, and LakeError where
    the report could not be written.
    """
    clock, interruption = clock or Clock(), interruption or Interruption()
    started = clock.now()
    report = Report(export_id=export_id(started, uuid4().hex[:8]), started_at=started)
    lake = open_lake(config)
    with open_client(config, environ, clock=clock, log=log) as client:
        lake.prepare()
        with (
            lake.workspace(report.export_id, since=started) as workspace,
            ThreadPoolExecutor(config.source.concurrency, "lane") as lanes,
        ):
            try:
                queue_ids = configured_queues(config, client, interruption.event(), log)
            except Cancelled:
                raise InterruptedExport(interruption.signal_number or 0) from None
            context = ExportContext(
                config, mode, accept_removals, client, lanes, lake, workspace, clock, log, progress, interruption
            )
            report.queues = _export_queues(context, queue_ids)
            report.finished_at = clock.now()
            report.exit_code = worst(queue.exit_code for queue in report.queues)
            lake.write_report(msgspec.to_builtins(report), workspace)
    return report


def _export_queues(context: ExportContext, queue_ids: Sequence[str]) -> list[QueueReport]:
    at_once = max(1, min(QUEUES_AT_ONCE, len(queue_ids)))
    with ThreadPoolExecutor(at_once, "queue") as queues:
        exports = [queues.submit(QueueExport(context, queue_id, at_once).export) for queue_id in queue_ids]
        try:
            while wait(exports, timeout=HEED_SIGNALS_S).not_done:
                pass  # a signal that comes just before a wait begins is heeded when it ends
        finally:
            for export in exports:
                export.cancel()
        return [export.result() for export in exports]


def configured_queues(config: Config, client: Client, stop: Event, log: Log) -> list[str]:
    """Return the ids of the queues to export, asking the service where the config says "all"."""
    if config.source.queues != "all":
        return list(config.source.queues)
    listing = list_queues(client, Caller(stop))
    if listing.unreadable:
        log.warning("queue_records_unreadable", records=listing.unreadable, why="no id, so they are skipped")
    return listing.ids
