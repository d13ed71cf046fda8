"""One export of any number of queues: the lake's workspace, the threads, the report.

Owns what the queues share, what happens when a signal comes, and that the lake has a report of each attempt from its
first second on (docs/lake.md#reports). One queue is exported by `queue_export`.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from threading import Event

from annolake.clock import Clock
from annolake.config import Config
from annolake.errors import InterruptedExport, LakeError
from annolake.export_context import ExportContext
from annolake.extract.endpoints.queues import list_queues
from annolake.extract.http.client import Caller, Cancelled, Client
from annolake.feedback_doubts import tell_doubts
from annolake.interruption import Interruption
from annolake.load.lake import Lake
from annolake.load.proofs import ReportedProofs
from annolake.load.storage.scratch import Workspace
from annolake.load.vacuum import vacuum
from annolake.observers import SILENCE, Log, Progress
from annolake.queue_export import QueueExport
from annolake.report import Mode, Report, new_report
from annolake.wiring import open_client, open_lake

QUEUES_AT_ONCE = 4
HEED_SIGNALS_S = 0.2
_PAUSE = 20  # times as long as the last writing of the report took, before it is written again


def export(
    config: Config,
    environ: Mapping[str, str],
    *,
    mode: Mode = "full",
    accept_removals: bool = False,
    refresh: bool = False,
    clock: Clock | None = None,
    log: Log = SILENCE,
    progress: Progress = SILENCE,
    interruption: Interruption | None = None,
    report: Report | None = None,
) -> Report:
    """Export every configured queue and return what became of each; the report is in the lake as well.

    In mode "new" only rows added since the last complete exports are read, where those allow it (`plan`). With
    `accept_removals` rows that were not met are marked removed even where the service still counts them (`removals`).
    With `refresh` the run of every item that is read is asked for.
    A `report` that is handed in is filled, so that it can be read where this raises.
    Raises ConfigError, ServiceError, LakeError or InterruptedExport where no queue could be begun, and LakeError where
    the report could not be written.
    """
    clock, interruption = clock or Clock(), interruption or Interruption()
    report = report or new_report(clock.now())
    report.all_queues = config.source.queues == "all"
    if not report.all_queues:
        report.expect(config.source.queues, mode)
    lake = open_lake(config, environ, clock)
    try:
        lake.prepare()
        with (
            lake.workspace(report.export_id, since=report.started_at) as workspace,
            _written(_ReportFile(report, lake, workspace, clock)) as file,
            open_client(config, environ, clock=clock, log=log) as client,
            ThreadPoolExecutor(config.source.concurrency, "lane") as lanes,
            ThreadPoolExecutor(config.source.concurrency, "query") as query_lanes,
        ):
            try:
                queue_ids = configured_queues(config, client, interruption.event(), log)
            except Cancelled:
                raise InterruptedExport(interruption.signal_number or 0) from None
            if report.all_queues:  # now they are known
                report.expect(queue_ids, mode)
                file.write()
            context = ExportContext(
                config=config,
                mode=mode,
                accept_removals=accept_removals,
                refresh=refresh,
                client=client,
                lanes=lanes,
                query_lanes=query_lanes,
                lake=lake,
                workspace=workspace,
                clock=clock,
                log=log,
                progress=progress,
                interruption=interruption,
                reported_proofs=ReportedProofs(lake.reports),
            )
            _export_queues(context, queue_ids, file)
            tell_doubts(context, report.queues)
            _vacuum(context)
    except BaseException as error:
        report.finish(clock.now(), error)
        raise
    return report


def _vacuum(context: ExportContext) -> None:
    """Rid the lake of old files; what can't be removed now is left to the next export."""
    try:
        removed = vacuum(context.lake, context.workspace, now=context.clock.now())
    except LakeError as error:
        context.log.warning("vacuum_failed", error=str(error), advice="the next export tries again")
    else:
        context.log.debug("vacuum", files=removed)


class _ReportFile:
    """The lake's copy of the report of an export that runs."""

    def __init__(self, report: Report, lake: Lake, workspace: Workspace, clock: Clock) -> None:
        self.report, self.clock = report, clock
        self._lake, self._workspace = lake, workspace
        self._due = 0.0

    def finish(self, error: BaseException) -> None:
        """End the report with what ended the export."""
        self.report.finish(self.clock.now(), error)
        for queue in self.report.queues:
            with suppress(LakeError):
                queue.rejects_known = self._lake.rejects_known(queue.queue_id)

    def write(self) -> None:
        """Put the report as it is now in the place of its last form."""
        begun = self.clock.monotonic()
        self._lake.write_report(self.report.as_record(), self._workspace)
        ended = self.clock.monotonic()
        self._due = ended + _PAUSE * (ended - begun)

    @property
    def is_due(self) -> bool:
        """Whether the last writing is so long ago that another costs little: a report of many queues is large."""
        return self.clock.monotonic() >= self._due


@contextmanager
def _written(file: _ReportFile) -> Iterator[_ReportFile]:
    """Write the report when an export begins and when it ends, however it ends."""
    file.write()
    try:
        yield file
    except BaseException as error:
        file.finish(error)
        with suppress(LakeError):  # what ended the export is the error to report
            file.write()
        raise
    file.report.finish(file.clock.now())
    file.write()


def _export_queues(context: ExportContext, queue_ids: Sequence[str], file: _ReportFile) -> None:
    """Export the queues, some at once; each entry of the report is filled when its queue has ended."""
    at_once = max(1, min(QUEUES_AT_ONCE, len(queue_ids)))
    with ThreadPoolExecutor(at_once, "queue") as queues:
        places = {
            queues.submit(QueueExport(context, queue_id, at_once).export): place
            for place, queue_id in enumerate(queue_ids)
        }
        running, stale = set(places), False
        try:
            while running:
                # a signal that comes just before a wait begins is heeded when it ends
                ended, running = wait(running, timeout=HEED_SIGNALS_S, return_when=FIRST_COMPLETED)
                for export in ended:
                    file.report.queues[places[export]] = export.result()
                stale = stale or bool(ended)
                if running and stale and file.is_due:
                    with suppress(LakeError):  # the last writing tells
                        file.write()
                    stale = False
        finally:
            for export in running:
                export.cancel()


def configured_queues(config: Config, client: Client, stop: Event, log: Log) -> list[str]:
    """Return the ids of the queues to export, asking the service where the config says "all"."""
    if config.source.queues != "all":
        return list(config.source.queues)
    listing = list_queues(client, Caller(stop))
    if listing.unreadable:
        log.warning("queue_records_unreadable", records=listing.unreadable, why="no id, so they are skipped")
    return listing.ids
