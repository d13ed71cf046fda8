"""The export of one queue: where extract, transform and load meet, and nowhere else."""

import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from itertools import chain, compress, count, islice
from typing import Any

import pyarrow as pa

from annolake import contract
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
from annolake.extract.endpoints.query_limits import QueryLimits
from annolake.extract.endpoints.queues import read_queue, require_queue_id
from annolake.extract.http.client import Cancelled, Client, Tally
from annolake.extract.page_size import PageSize
from annolake.extract.paging.verdict import Verdict
from annolake.flatten_buffer import FlattenBuffer
from annolake.interruption import Interruption
from annolake.load.lake import Lake, Workspace
from annolake.load.merge.spill import BUFFER_BYTES
from annolake.load.merge.upsert import Upsert
from annolake.observers import Log, Progress
from annolake.plan import FULL, Plan, plan_new_only, swept_because
from annolake.rejects import RejectKeeper
from annolake.removals import Absence
from annolake.report import Mode, QueueReport, Usage
from annolake.sources.items import ItemsSource
from annolake.sources.row_batch import Endpoint, RowBatch
from annolake.sources.runs import RunsSource
from annolake.sources.source import Access, RowSource
from annolake.transform.decode import decode_queue
from annolake.transform.flatten import flatten

MERGES_AT_ONCE = 2  # of one queue; several queues keep the cores busy by themselves

_Record = tuple[Any, bytes | None, bytes]  # a queue's record, the text of its unknown fields, its hash


def is_retired(error: GoneError | NotFoundError, source: Source, *, alive: Callable[[], bool]) -> bool:
    """Whether the runs listing is gone for good, so that its successor takes over (DESIGN 4, endpoint "auto").

    A 404 says so only of a queue that is `alive`: whose own record can be read.
    """
    if source.endpoint != "auto" or source.status:
        return False
    return error.endpoint.endswith("/runs") and (isinstance(error, GoneError) or alive())


@dataclass(frozen=True)
class ExportContext:
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
    query_limits: QueryLimits = field(default_factory=QueryLimits)


class QueueExport:
    """The export of one queue, begun with `export`; `at_once` queues share the memory for pages and changed rows."""

    def __init__(self, context: ExportContext, queue_id: str, at_once: int) -> None:
        self._context = context
        self._queue_id = queue_id
        self._source = context.config.source
        self._stop = context.interruption.event()
        self._tally = Tally()
        budget = self._source.max_inflight_mb * 1_000_000 // at_once
        largest = self._source.max_response_mb * 1_000_000
        page_size = PageSize(self._source.page_size, budget, self._source.concurrency, largest)
        self._access = Access(
            context.client,
            context.lanes,
            queue_id,
            self._source,
            page_size,
            self._tally,
            self._stop,
            context.query_limits,
        )
        self._merges = max(1, MERGES_AT_ONCE // at_once)
        self._buffer = BUFFER_BYTES // at_once
        self._answer: Future[_Record] = Future()  # to the question for the queue's own record
        self._missing: set[bytes] = set()
        self._report = QueueReport(queue_id=queue_id, filtered=self._filtered)

    def export(self) -> QueueReport:
        """Export the queue; whatever goes wrong is in the report, not raised."""
        report, begun = self._report, self._context.clock.monotonic()
        self._context.log.info("queue_started", queue_id=self._queue_id)
        try:
            self._export()
            report.conclude()
        except LockedError as error:
            report.fail(error, exit_code=error.exit_code)
            report.status = "skipped"
        except AnnolakeError as error:
            report.fail(error, exit_code=error.exit_code)
        except Cancelled:
            interrupted = InterruptedExport(self._context.interruption.signal_number or 0)
            report.fail(interrupted, exit_code=interrupted.exit_code)
        except Exception as error:  # noqa: BLE001 - a bug in one queue does not stop the others
            report.fail(RuntimeError(f"a bug ({type(error).__name__}): report it with the traceback"), exit_code=1)
            # The frames alone: an error's message may quote a row.
            frames = "".join(traceback.format_tb(error.__traceback__))
            facts = {"queue_id": self._queue_id, "kind": type(error).__name__, "traceback": frames}
            self._context.log.error("bug", **facts)  # noqa: TRY400 - see above
        finally:
            self._stop.set()
        if self._answer.done() and not self._answer.cancelled() and not self._answer.exception():
            report.name = self._answer.result()[0].name  # also of a queue whose first page could not be had
        report.requests, report.retries = self._tally.requests, self._tally.retries
        report.bytes_read = self._tally.bytes_read
        report.seconds = round(self._context.clock.monotonic() - begun, 3)
        self._context.progress.finished(report)
        facts = {name: getattr(report, name) for name in ("status", "exit_code", "rows_seen", "inserted", "updated")}
        self._context.log.info("queue_finished", queue_id=self._queue_id, **facts)
        return report

    def _export(self) -> None:
        lake, workspace, now = self._context.lake, self._context.workspace, self._context.clock.now()
        require_queue_id(self._queue_id)
        with lake.lock(self._queue_id, since=now):
            asked = partial(read_queue, self._context.client, self._queue_id, decode_queue)
            self._answer = self._context.lanes.submit(asked, tally=self._tally, stop=self._stop)
            try:
                self._export_over("items" if self._source.endpoint == "items" else "runs", now)
            except (GoneError, NotFoundError) as error:
                if not is_retired(error, self._source, alive=lambda: self._record is not None):
                    raise
                self._context.log.warning("endpoint_retired", queue_id=self._queue_id, status=error.status, now="items")
                self._export_over("items", now)
            lake.write_queue(self._queue_id, workspace, self._queue_row())

    def _export_over(self, endpoint: Endpoint, now: datetime) -> None:
        """Export over one endpoint from the start; what was read over another is forgotten."""
        lake, workspace = self._context.lake, self._context.workspace
        self._report.endpoint = endpoint
        with lake.upsert(self._queue_id, workspace, now=now, budget=self._buffer) as upsert:
            since = self._plan(upsert, now).watermarks
            source: RowSource = (
                RunsSource(self._access, upsert.index, since)
                if endpoint == "runs"
                else ItemsSource(self._access, upsert.index, since, now=now)
            )
            rejects = RejectKeeper(lake.rejects(self._queue_id, workspace), self._queue_id, now)
            waiting = FlattenBuffer(endpoint)
            self._read(source, upsert, waiting, rejects)
            remove = self._confirm_removals(source, upsert, waiting, rejects)
            self._tell_usage(source.usage)
            self._conclude_reading(source.verdict, rejects)
            self._publish(upsert, remove_gone=remove)

    def _tell_usage(self, usage: Usage) -> None:
        self._report.usage = usage
        if usage == "own" and self._source.subtree_usage:
            meaning = (
                "the service refuses include_subtree_usage: new rows get the tokens and costs of their own run alone, "
                "rows in the lake keep theirs; with source.subtree_usage = false every row gets those of its own run"
            )
            self._context.log.warning("usage_own", queue_id=self._queue_id, meaning=meaning)

    def _plan(self, upsert: Upsert, now: datetime) -> Plan:
        """Return what to read, and say in the report why where that is not what was asked for."""
        plan = FULL
        if self._context.mode == "new":
            sync = self._context.config.sync
            plan = plan_new_only(
                self._context.lake.reports.of(self._queue_id, now=now),
                endpoint=self._report.endpoint,
                now=now,
                lookback_s=sync.lookback_s,
                full_every_s=sync.full_every_s,
                rows_in_lake=upsert.index.size,
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
            self._context.log.warning("queue_record_refused", queue_id=self._queue_id, status=error.status)
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
            exported_at=self._context.clock.now(),
            facts={},
        )
        return pa.Table.from_batches([batch])

    # --- reading and landing

    def _read(self, source: RowSource, upsert: Upsert, waiting: FlattenBuffer, rejects: RejectKeeper) -> None:
        """Land every row of the source that is new or changed, and keep its rejects."""
        report, expected, pages = self._report, upsert.index.size or None, source.read()
        first = list(islice(pages, 1))  # asked for beside the queue's own record, which has its name
        report.name = self._record[0].name if self._record else None
        self._context.progress.started(self._queue_id, report.name, expected)
        self._take(source, chain(first, pages), upsert, waiting, rejects)

    def _take(
        self,
        source: RowSource,
        pages: Iterable[RowBatch],
        upsert: Upsert,
        waiting: FlattenBuffer,
        rejects: RejectKeeper,
    ) -> None:
        report = self._report
        for arrived in pages:
            rejects.see(arrived)
            self._land(upsert, waiting, arrived)
            if arrived.newest is not None:
                report.newest_added_at = max(arrived.newest, report.newest_added_at or arrived.newest)
            report.rows_seen = source.verdict.rows
            self._context.progress.read(self._queue_id, report.rows_seen)
        self._flush(upsert, waiting)

    def _land(self, upsert: Upsert, waiting: FlattenBuffer, arrived: RowBatch) -> None:
        """Have the rows that are new or changed wait to be flattened."""
        arrived = arrived.latest()
        changed = upsert.index.changed(arrived.keys, arrived.hashes)
        if False in arrived.run_found:
            missing = [place for place, found in enumerate(arrived.run_found) if found is False]
            self._missing.update(arrived.keys[place] for place in missing)
            self._report.payloads_missing_new += sum(changed[place] for place in missing)
        for some in arrived.portions(list(compress(count(), changed))):
            if waiting.holds(arrived.keys[place] for place in some):
                self._flush(upsert, waiting)
            waiting.add(arrived, some)
            if waiting.full:
                self._flush(upsert, waiting)

    def _flush(self, upsert: Upsert, waiting: FlattenBuffer) -> None:
        """Flatten the rows that wait, and land them."""
        for batch, unavailable in waiting.flattened(self._context.clock.now()):
            upsert.add(batch, unavailable=unavailable)

    def _publish(self, upsert: Upsert, *, remove_gone: bool) -> None:
        """Merge and publish each day concerned; an interruption is heeded between two."""
        report = self._report
        try:
            with closing(upsert.publish(remove_gone=remove_gone, at_once=self._merges)) as outcomes:
                for _ in outcomes:
                    if self._stop.is_set():
                        raise Cancelled
        finally:
            report.partitions_written, report.bytes_written = upsert.partitions_written, upsert.bytes_written
            report.inserted, report.updated = upsert.counts.inserted, upsert.counts.updated
            report.removed = upsert.counts.removed
        report.unchanged = upsert.unchanged

    # --- the verdict

    @property
    def _filtered(self) -> bool:
        return bool(self._source.status) or not self._source.include_archived

    def _confirm_removals(
        self, source: RowSource, upsert: Upsert, waiting: FlattenBuffer, rejects: RejectKeeper
    ) -> bool:
        """Tell whether the rows that were not met have left the queue; read it again where they are many."""
        if not self._may_remove(source.verdict, rejects) or not upsert.index.missing:
            return False
        absence = self._absence(source.verdict, upsert)
        before, large = absence.missing, absence.is_large
        if large and not self._context.accept_removals:
            self._context.log.warning("many_rows_missing", queue_id=self._queue_id, rows=before, of=absence.live)
            self._take(source, source.read_again(), upsert, waiting, rejects)
            absence = self._absence(source.verdict, upsert)
        if not self._may_remove(source.verdict, rejects):
            return False
        doubt = None if self._context.accept_removals else absence.doubt(missing_before=before)
        if doubt and absence.missing:
            self._report.removed_unconfirmed, self._report.unconfirmed_because = absence.missing, doubt
            self._report.removals_held_back = large
        return doubt is None

    def _absence(self, verdict: Verdict, upsert: Upsert) -> Absence:
        pasts = self._context.lake.reports.of(self._queue_id, now=self._context.clock.now())
        last = next((past.entry for past in pasts if past.proves_full), {})
        usual = last.get("size_excess") if last.get("endpoint") == self._report.endpoint else None
        usual = usual if isinstance(usual, int) else None
        return Absence(upsert.index.missing, upsert.index.live, verdict.size_excess, usual)

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
