"""One export of any number of queues: the lake's workspace, the threads, the report.

Owns what the queues share, what happens when a signal comes, and that the lake has a report of each attempt from its
first second on (docs/lake.md#reports). One queue is exported by `queue_export`.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from threading import Event

from annolake.clock import Clock
from annolake.config import Config
from annolake.errors import InterruptedExport, LakeError
from annolake.export_context import ExportContext, Surroundings, Wishes, open_context
from annolake.extract.endpoints.queues import list_queues
from annolake.extract.http.client import Caller, Cancelled, Client
from annolake.feedback.doubts import tell_doubts
from annolake.interruption import Interruption
from annolake.load import column_record
from annolake.load.lake import Lake
from annolake.load.storage.scratch import Workspace
from annolake.load.vacuum import vacuum
from annolake.metrics import Metrics
from annolake.observers.protocols import SILENCE, Log, Progress
from annolake.queue_export import QueueExport
from annolake.queue_loop import Crew, QueueLoop
from annolake.queue_names import ids_of, names_in
from annolake.queue_task import QUEUES_AT_ONCE
from annolake.report import Mode, QueueReport, Report, new_report
from annolake.wiring import column_rules, open_lake
from annolake.workers import TaskCrew, Workers

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
    at_once: int = QUEUES_AT_ONCE,
    workers: Workers | None = None,
) -> Report:
    """Export every configured queue and return what became of each; the report is in the lake as well.

    What `mode`, `accept_removals` and `refresh` ask for: `export_context.Wishes`. Threads of this process export
    `at_once` queues at a time; with `workers` these do, and the key is needed here only to list queues. A `report` that
    is handed in is filled, so that it can be read where this raises.
    Raises ConfigError, ServiceError, WorkerError, LakeError or InterruptedExport where no queue could be begun, and
    LakeError where the report could not be written.
    """
    clock = clock or Clock()
    wishes = Wishes(mode, accept_removals, refresh)
    report = report or new_report(clock.now())
    report.all_queues = config.source.queues == "all"
    are_known = _are_ids(config)
    if are_known:
        report.expect(config.source.queues, mode)
    try:
        rules = column_rules(config, environ)
        lake = open_lake(config, environ, clock, rules)
    except BaseException as error:
        report.finish(clock.now(), error)
        raise
    metrics = Metrics(config.metrics.textfile, report, lake, clock=clock, log=log, progress=progress)
    around = Surroundings(clock, log, metrics, interruption or Interruption())
    try:
        lake.prepare()
        with (
            lake.workspace(report.export_id, since=report.started_at) as workspace,
            _written(_ReportFile(report, lake, workspace, around)) as file,
            ExitStack() as opened,
        ):
            lake.require_order()
            if told := column_record.begin(lake, workspace, rules):
                log.warning("columns_changed", meaning=told)
            if workers is None or not are_known:
                context = opened.enter_context(
                    open_context(
                        config,
                        environ,
                        wishes,
                        around,
                        lake=lake,
                        workspace=workspace,
                        started_at=report.started_at,
                        rules=rules,
                    )
                )
                queue_ids = _queues(context)
            else:
                queue_ids = list(config.source.queues)
            if not are_known:  # now they are
                report.expect(queue_ids, mode)
                file.write()
            metrics.planned(len(queue_ids))
            if workers is None:
                crew: Crew = opened.enter_context(_threads(context, min(at_once, len(queue_ids))))
            else:
                opened.enter_context(workers.serving(config, report.export_id, log, metrics))
                crew = TaskCrew(
                    workers, config, wishes, report=report, queues=len(queue_ids), stop_file=workspace.folder / "stop"
                )
            loop = QueueLoop(crew, around.interruption, ended=file.take, turn=file.turn)
            loop.run(queue_ids)
            if workers is None:
                tell_doubts(context, report.queues)
            _vacuum(lake, workspace, around)
    except BaseException as error:
        report.finish(around.clock.now(), error)
        raise
    finally:
        metrics.write()
    return report


def _vacuum(lake: Lake, workspace: Workspace, around: Surroundings) -> None:
    """Rid the lake of old files; what can't be removed now is left to the next export."""
    try:
        removed = vacuum(lake, workspace, now=around.clock.now())
    except LakeError as error:
        around.log.warning("vacuum_failed", error=str(error), advice="the next export tries again")
    else:
        around.log.debug("vacuum", files=removed)


class _ReportFile:
    """The lake's copy of the report of an export that runs."""

    def __init__(self, report: Report, lake: Lake, workspace: Workspace, around: Surroundings) -> None:
        self.report, self.clock = report, around.clock
        self._progress = around.progress
        self._lake, self._workspace = lake, workspace
        self._due = 0.0
        self._is_stale = False

    def take(self, place: int, queue: QueueReport) -> None:
        """Fill an entry of the report; of a queue that ended before its export began, what is missing too."""
        if queue.finished_at is None:
            queue.finished_at = self.clock.now()
            self._count_rejects(queue)
        self.report.queues[place] = queue
        self._progress.finished(queue)
        self._is_stale = True

    def turn(self, more: bool) -> None:
        """Tell of the progress, and write the report anew where that is due and there is `more` to come."""
        self._progress.deliver()
        if more and self._is_stale and self.clock.monotonic() >= self._due:
            with suppress(LakeError):  # the last writing tells
                self.write()
            self._is_stale = False

    def finish(self, error: BaseException) -> None:
        """End the report with what ended the export."""
        self.report.finish(self.clock.now(), error)
        for queue in self.report.queues:
            self._count_rejects(queue)

    def _count_rejects(self, queue: QueueReport) -> None:
        with suppress(LakeError):  # an id that is none, or what has failed the queue already
            queue.rejects_known = self._lake.rejects_known(queue.queue_id)

    def write(self) -> None:
        """Put the report as it is now in the place of its last form."""
        begun = self.clock.monotonic()
        self._lake.reports.write(self.report.as_record(), self._workspace)
        ended = self.clock.monotonic()
        self._due = ended + _PAUSE * (ended - begun)  # a report of many queues is large


@contextmanager
def _written(file: _ReportFile) -> Iterator[_ReportFile]:
    """Write the report when an export begins and when it ends, however it ends."""
    try:
        file.write()
        yield file
    except BaseException as error:
        file.finish(error)
        with suppress(LakeError):  # what ended the export is the error to report
            file.write()
        raise
    file.report.finish(file.clock.now())
    file.write()


class _Threads:
    """Exports queues in threads of this process, which share client, lanes and memory."""

    def __init__(self, context: ExportContext, pool: ThreadPoolExecutor, at_once: int) -> None:
        self._context, self._pool = context, pool
        self.at_once = at_once

    def submit(self, queue_id: str) -> Future[QueueReport]:
        """Begin the export of a queue."""
        return self._pool.submit(QueueExport(self._context, queue_id, self.at_once).export)

    def outcome(self, export: Future[QueueReport], _queue_id: str) -> QueueReport:
        """Return what became of it."""
        return export.result()

    def stop(self, _signal_number: int) -> None:
        """Do nothing: they share the interruption."""

    def gives_up(self, _queue_id: str) -> bool:
        """Wait for each: it ends as soon as it can."""
        return False


@contextmanager
def _threads(context: ExportContext, at_once: int) -> Iterator[_Threads]:
    at_once = max(1, at_once)  # no queue needs none, which no pool of threads has
    with ThreadPoolExecutor(at_once, "queue") as pool:
        yield _Threads(context, pool, at_once)


def _queues(context: ExportContext) -> list[str]:
    interruption = context.interruption
    try:
        return configured_queues(context.config, context.client, interruption.event(), context.log)
    except Cancelled:
        raise InterruptedExport(interruption.signal_number or 0) from None


def configured_queues(config: Config, client: Client, stop: Event, log: Log) -> list[str]:
    """Return the ids of the queues to export, asking the service where the config says "all" or has names.

    Raises ServiceError, and ConfigError for a name that no queue has, or several.
    """
    if _are_ids(config):
        return list(config.source.queues)
    listing = list_queues(client, Caller(stop))
    if listing.unreadable:
        log.warning("queue_records_unreadable", records=listing.unreadable, why="no id, so they are skipped")
    if config.source.queues == "all":
        return listing.ids
    known = ((queue.queue_id, queue.name) for queue in listing.queues)
    return list(ids_of(config.source.queues, known, "the key can see"))


def _are_ids(config: Config) -> bool:
    return config.source.queues != "all" and not names_in(config.source.queues)
