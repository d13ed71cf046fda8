"""One export from the service into the lake: where extract, transform and load meet.

What happens to a row: a lane fetches the page it is in (`extract.runs`, or `extract.items` and `extract.payloads`) and
decodes it (`transform.decode`, or `transform.successor` and `join`). The page is taken once it joins the pages before
it (`extract.lists`, or `extract.sections`); `sources` puts these together. If the lake holds the row under the same
hash, that is all. Otherwise it is flattened with its neighbours (`transform.flatten`, in `batches`) and laid into the
landing (`load.landing`), which after the last page merges and publishes each day concerned. A row that the contract
cannot hold becomes a reject (`rejects`).
"""

import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from itertools import chain, compress, count, islice
from threading import Event
from typing import Any
from uuid import uuid4

import msgspec
import pyarrow as pa

from annolake import contract
from annolake.batches import Arrived, Endpoint, Waiting
from annolake.clock import Clock
from annolake.config import Config, Source
from annolake.errors import (
    AnnolakeError,
    GoneError,
    InterruptedExport,
    LockedError,
    NotFoundError,
    ServiceError,
    UnavailableError,
)
from annolake.extract.client import Cancelled, Client, Tally
from annolake.extract.queues import list_queues, read_queue, require_queue_id
from annolake.extract.terms import Terms
from annolake.extract.weight import PageSize
from annolake.load.lake import Lake, Workspace
from annolake.load.landing import Landing
from annolake.load.spill import BUFFER_BYTES
from annolake.plan import FULL, Plan, plan_new_only, swept_because
from annolake.rejects import RejectKeeper
from annolake.removals import Absence
from annolake.report import Mode, QueueReport, Report, Usage, export_id, worst
from annolake.sources import Access, ItemsSource, RowSource, RunsSource, Verdict
from annolake.transform.decode import decode_queue
from annolake.transform.flatten import flatten
from annolake.wiring import Interruption, Log, Progress, Silence, open_client, open_lake

QUEUES_AT_ONCE = 4
HEED_SIGNALS_S = 0.2
MERGES_AT_ONCE = 2  # of one queue; several queues keep the cores busy by themselves

_SILENCE = Silence()

_Record = tuple[Any, bytes | None, bytes]  # a queue's record, the text of its unknown fields, its hash


def export(
    config: Config,
    environ: Mapping[str, str],
    *,
    mode: Mode = "full",
    accept_removals: bool = False,
    clock: Clock | None = None,
    log: Log = _SILENCE,
    progress: Progress = _SILENCE,
    interruption: Interruption | None = None,
) -> Report:
    """Export every configured queue and return what became of each; the report is in the lake as well.

    In mode "new" only rows added since the last complete exports are read, where those allow it (`plan`). With
    `accept_removals` rows that were not met are marked removed whatever the told sizes say (`removals`). Raises
    ConfigError, ServiceError or LakeError where no queue could even be begun.
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
            run = Run(config, mode, accept_removals, client, lanes, lake, workspace, clock, log, progress, interruption)
            at_once = max(1, min(QUEUES_AT_ONCE, len(queue_ids)))
            with ThreadPoolExecutor(at_once, "queue") as queues:
                exports = [queues.submit(QueueExport(run, each, at_once).export) for each in queue_ids]
                try:
                    while wait(exports, timeout=HEED_SIGNALS_S).not_done:
                        pass  # a signal that comes just before a wait begins is heeded when it ends
                finally:
                    for each in exports:
                        each.cancel()
                report.queues = [each.result() for each in exports]
            report.finished_at = clock.now()
            report.exit_code = worst(queue.exit_code for queue in report.queues)
            lake.write_report(msgspec.to_builtins(report), workspace)
    return report


def configured_queues(config: Config, client: Client, stop: Event, log: Log) -> list[str]:
    """Return the ids of the queues to export, asking the service where the config says "all"."""
    if config.source.queues != "all":
        return list(config.source.queues)
    listing = list_queues(client, tally=Tally(), stop=stop)
    if listing.unreadable:
        log.warning("queue_records_unreadable", records=listing.unreadable, why="no id, so they are passed over")
    return listing.ids


def is_retired(error: GoneError | NotFoundError, source: Source, *, alive: Callable[[], bool]) -> bool:
    """Whether the runs listing is gone for good, so that its successor takes over (DESIGN 4, endpoint "auto").

    A 404 says so only of a queue that is `alive`: whose own record can be read.
    """
    if source.endpoint != "auto" or source.status:
        return False
    return error.endpoint.endswith("/runs") and (isinstance(error, GoneError) or alive())


@dataclass(frozen=True)
class Run:
    """What the queues of one export share."""

    config: Config
    mode: Mode
    accept_removals: bool
    client: Client
    lanes: ThreadPoolExecutor
    lake: Lake
    workspace: Workspace
    clock: Clock
    log: Log
    progress: Progress
    interruption: Interruption
    terms: Terms = field(default_factory=Terms)


class QueueExport:
    """The export of one queue, begun with `export`; `at_once` queues share the memory for pages and changed rows."""

    def __init__(self, run: Run, queue_id: str, at_once: int) -> None:
        self._run = run
        self._queue_id = queue_id
        self._source = run.config.source
        self._stop = run.interruption.event()
        self._tally = Tally()
        budget = self._source.max_inflight_mb * 1_000_000 // at_once
        largest = self._source.max_response_mb * 1_000_000
        page_size = PageSize(self._source.page_size, budget, self._source.concurrency, largest)
        self._access = Access(
            run.client, run.lanes, queue_id, self._source, page_size, self._tally, self._stop, run.terms
        )
        self._merges = max(1, MERGES_AT_ONCE // at_once)
        self._buffer = BUFFER_BYTES // at_once
        self._answer: Future[_Record] = Future()  # to the question for the queue's own record
        self._missing: set[bytes] = set()
        self._report = QueueReport(queue_id=queue_id, filtered=self._filtered)

    def export(self) -> QueueReport:
        """Export the queue; whatever goes wrong is in the report, not raised."""
        report, begun = self._report, self._run.clock.monotonic()
        self._run.log.info("queue_started", queue_id=self._queue_id)
        try:
            self._export()
            report.conclude()
        except LockedError as error:
            report.fail(error, exit_code=error.exit_code)
            report.status = "skipped"
        except AnnolakeError as error:
            report.fail(error, exit_code=error.exit_code)
        except Cancelled:
            interrupted = InterruptedExport(self._run.interruption.signal_number or 0)
            report.fail(interrupted, exit_code=interrupted.exit_code)
        except Exception as error:  # noqa: BLE001 - a bug in one queue does not stop the others
            report.fail(RuntimeError(f"a bug ({type(error).__name__}): report it with the traceback"), exit_code=1)
            # The frames alone: an error's message may quote a row.
            frames = "".join(traceback.format_tb(error.__traceback__))
            facts = {"queue_id": self._queue_id, "kind": type(error).__name__, "traceback": frames}
            self._run.log.error("bug", **facts)  # noqa: TRY400 - see above
        finally:
            self._stop.set()
        if self._answer.done() and not self._answer.cancelled() and not self._answer.exception():
            report.name = self._answer.result()[0].name  # also of a queue whose first page could not be had
        report.requests, report.retries = self._tally.requests, self._tally.retries
        report.bytes_read = self._tally.bytes_read
        report.seconds = round(self._run.clock.monotonic() - begun, 3)
        self._run.progress.finished(report)
        facts = {name: getattr(report, name) for name in ("status", "exit_code", "rows_seen", "inserted", "updated")}
        self._run.log.info("queue_finished", queue_id=self._queue_id, **facts)
        return report

    def _export(self) -> None:
        lake, workspace, now = self._run.lake, self._run.workspace, self._run.clock.now()
        require_queue_id(self._queue_id)
        with lake.lock(self._queue_id, since=now):
            asked = partial(read_queue, self._run.client, self._queue_id, decode_queue)
            self._answer = self._run.lanes.submit(asked, tally=self._tally, stop=self._stop)
            try:
                self._export_over("items" if self._source.endpoint == "items" else "runs", now)
            except (GoneError, NotFoundError) as error:
                if not is_retired(error, self._source, alive=lambda: self._record is not None):
                    raise
                self._run.log.warning("endpoint_retired", queue_id=self._queue_id, status=error.status, now="items")
                self._export_over("items", now)
            lake.write_queue(self._queue_id, workspace, self._queue_row())

    def _export_over(self, endpoint: Endpoint, now: datetime) -> None:
        """Export over one endpoint from the start; what was read over another is forgotten."""
        lake, workspace = self._run.lake, self._run.workspace
        self._report.endpoint = endpoint
        with lake.landing(self._queue_id, workspace, now=now, budget=self._buffer) as landing:
            since = self._plan(landing, now).since
            source: RowSource = (
                RunsSource(self._access, landing.index, since)
                if endpoint == "runs"
                else ItemsSource(self._access, landing.index, since, now=now)
            )
            rejects = RejectKeeper(lake.rejects(self._queue_id, workspace), self._queue_id, now)
            waiting = Waiting(endpoint)
            self._read(source, landing, waiting, rejects)
            remove = self._confirm_removals(source, landing, waiting, rejects)
            self._tell_usage(source.usage)
            self._conclude_reading(source.verdict, rejects)
            self._publish(landing, remove_gone=remove)

    def _tell_usage(self, usage: Usage) -> None:
        self._report.usage = usage
        if usage == "own" and self._source.subtree_usage:
            meaning = (
                "the service refuses include_subtree_usage: new rows get the tokens and costs of their run without its "
                "descendants', rows in the lake keep theirs; source.subtree_usage = false has all rows get the former"
            )
            self._run.log.warning("usage_own", queue_id=self._queue_id, meaning=meaning)

    def _plan(self, landing: Landing, now: datetime) -> Plan:
        """Return what to read, and say in the report why where that is not what was asked for."""
        plan = FULL
        if self._run.mode == "new":
            sync = self._run.config.sync
            plan = plan_new_only(
                self._run.lake.reports.of(self._queue_id, now=now),
                endpoint=self._report.endpoint,
                now=now,
                lookback_s=sync.lookback_s,
                full_every_s=sync.full_every_s,
                rows_in_lake=landing.index.size,
            )
        self._report.mode, self._report.mode_reason = plan.mode, plan.reason
        return plan

    # --- the queue's own record

    @cached_property
    def _record(self) -> _Record | None:
        """The queue's record, its unknown fields and its hash; None where the key may not read it."""
        try:
            return self._answer.result()
        except UnavailableError:
            raise
        except ServiceError as error:
            self._run.log.warning("queue_record_refused", queue_id=self._queue_id, status=error.status)
            return None

    def _queue_row(self) -> pa.Table | None:
        """Return the queue's row of the table `queues`."""
        if self._record is None:
            return None
        row, unmapped, digest = self._record
        batch = flatten(
            contract.QUEUES,
            [row],
            unmapped=[unmapped],
            hashes=[digest],
            exported_at=self._run.clock.now(),
            facts={},
        )
        return pa.Table.from_batches([batch])

    # --- reading and landing

    def _read(self, source: RowSource, landing: Landing, waiting: Waiting, rejects: RejectKeeper) -> None:
        """Land every row of the source that is new or changed, and keep its rejects."""
        report, expected, pages = self._report, landing.index.size or None, source.read()
        first = list(islice(pages, 1))  # asked for beside the queue's own record, which has its name
        report.name = self._record[0].name if self._record else None
        self._run.progress.started(self._queue_id, report.name, expected)
        self._take(source, chain(first, pages), landing, waiting, rejects)

    def _take(
        self,
        source: RowSource,
        pages: Iterable[Arrived],
        landing: Landing,
        waiting: Waiting,
        rejects: RejectKeeper,
    ) -> None:
        report = self._report
        for arrived in pages:
            rejects.see(arrived)
            self._land(landing, waiting, arrived)
            if arrived.newest is not None:
                report.newest_added_at = max(arrived.newest, report.newest_added_at or arrived.newest)
            report.rows_seen = source.verdict.rows
            self._run.progress.read(self._queue_id, report.rows_seen)
        self._flush(landing, waiting)

    def _land(self, landing: Landing, waiting: Waiting, arrived: Arrived) -> None:
        """Have the rows that are new or changed wait to be flattened."""
        arrived = arrived.latest()
        changed = landing.index.changed(arrived.keys, arrived.hashes)
        if False in arrived.run_found:
            missing = [place for place, found in enumerate(arrived.run_found) if found is False]
            self._missing.update(arrived.keys[place] for place in missing)
            self._report.payloads_missing_new += sum(changed[place] for place in missing)
        for some in arrived.portions(list(compress(count(), changed))):
            if waiting.holds(arrived.keys[place] for place in some):
                self._flush(landing, waiting)
            waiting.add(arrived, some)
            if waiting.full:
                self._flush(landing, waiting)

    def _flush(self, landing: Landing, waiting: Waiting) -> None:
        """Flatten the rows that wait, and land them."""
        for batch, unknown in waiting.flattened(self._run.clock.now()):
            landing.add(batch, unknown=unknown)

    def _publish(self, landing: Landing, *, remove_gone: bool) -> None:
        """Merge and publish each day concerned; an interruption is heeded between two."""
        report = self._report
        try:
            with closing(landing.publish(remove_gone=remove_gone, at_once=self._merges)) as outcomes:
                for _ in outcomes:
                    if self._stop.is_set():
                        raise Cancelled
        finally:
            report.partitions_written, report.bytes_written = landing.partitions_written, landing.bytes_written
            report.inserted, report.updated = landing.counts.inserted, landing.counts.updated
            report.removed = landing.counts.removed
        report.unchanged = landing.unchanged

    # --- the verdict

    @property
    def _filtered(self) -> bool:
        return bool(self._source.status) or not self._source.include_archived

    def _confirm_removals(self, source: RowSource, landing: Landing, waiting: Waiting, rejects: RejectKeeper) -> bool:
        """Tell whether the rows that were not met have left the queue; read it again where they are many."""
        if not self._may_remove(source.verdict, rejects) or not landing.index.missing:
            return False
        absence = self._absence(source.verdict, landing)
        before, large = absence.missing, absence.is_large
        if large and not self._run.accept_removals:
            self._run.log.warning("many_rows_missing", queue_id=self._queue_id, rows=before, of=absence.live)
            self._take(source, source.read_again(), landing, waiting, rejects)
            absence = self._absence(source.verdict, landing)
        if not self._may_remove(source.verdict, rejects):
            return False
        doubt = None if self._run.accept_removals else absence.doubt(missing_before=before)
        if doubt and absence.missing:
            self._report.removed_unconfirmed, self._report.unconfirmed_because = absence.missing, doubt
            self._report.removals_held_back = large
        return doubt is None

    def _absence(self, verdict: Verdict, landing: Landing) -> Absence:
        pasts = self._run.lake.reports.of(self._queue_id, now=self._run.clock.now())
        last = next((past.entry for past in pasts if past.proves_full), {})
        usual = last.get("size_excess") if last.get("endpoint") == self._report.endpoint else None
        usual = usual if isinstance(usual, int) else None
        return Absence(landing.index.missing, landing.index.live, verdict.size_excess, usual)

    def _may_remove(self, verdict: Verdict, rejects: RejectKeeper) -> bool:
        """Whether this export can know that a row has left the queue (DESIGN 7)."""
        full = self._report.mode == "full"
        return full and verdict.complete and not self._filtered and not rejects.unreadable

    def _conclude_reading(self, verdict: Verdict, rejects: RejectKeeper) -> None:
        report = self._report
        report.repairs = verdict.signs.repairs
        report.rows_not_shown, report.size_excess = verdict.not_shown, verdict.size_excess
        report.complete, report.incomplete_because = verdict.complete, list(verdict.reasons)
        report.rejected, report.rejected_new = len(rejects.seen), rejects.new
        report.payloads_missing = len(self._missing)
        report.orders = {name: str(order) if order else None for name, order in verdict.orders.items()}
        if verdict.swept:
            report.mode_reason = swept_because(verdict.swept)
