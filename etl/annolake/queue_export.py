"""The export of one queue: from its lock to its entry in the report.

Owns the choice of the endpoint, and what becomes of errors. One endpoint is exported by `endpoint_export`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime

from annolake.endpoint_export import EndpointExport
from annolake.errors import AnnolakeError, GoneError, InterruptedExport, LakeError, LockedError, NotFoundError, is_panic
from annolake.export_context import ExportContext, QueueParts
from annolake.extract.endpoints.query_limits import QuerySize
from annolake.extract.endpoints.queues import require_queue_id
from annolake.extract.http.client import Caller, Cancelled
from annolake.extract.http.rate_limit import pause
from annolake.extract.page_size import PageSize
from annolake.feedback.export import feedback_of
from annolake.load.erased import Erased, read_erased
from annolake.load.merge.read_back import ItemFacts
from annolake.load.merge.spill import BUFFER_BYTES
from annolake.observers.events import QueueProgress
from annolake.observers.protocols import log_bug
from annolake.proof_keeper import ProofKeeper
from annolake.queue_record import QueueRecord
from annolake.rejects import RejectKeeper
from annolake.report import Endpoint, QueueReport, Throttled
from annolake.revising.erased_rows import ErasedRows
from annolake.revising.taking_out import finish
from annolake.sources.source import Access, explained, is_retired
from annolake.transform.guard import Guards
from annolake.turns_export import turns_of

MERGES_AT_ONCE = 2  # of one queue; several queues keep the cores busy by themselves
LOCK_AGAIN_S = 1.0
ERASED = "the queue was erased from this lake, and nothing of it is read: take it out of source.queues"
OTHER_TABLES_SHARE = 4  # of the memory for changed rows, each of them has one part in so many more


class QueueExport:
    """The export of one queue, begun with `export`; `at_once` queues share the memory for pages and changed rows."""

    def __init__(self, context: ExportContext, queue_id: str, at_once: int) -> None:
        source = context.config.source
        self._context = context
        self._queue_id = queue_id
        self._at_once = at_once
        self._caller = Caller(context.interruption.event())
        budget, largest = source.max_inflight_mb * 1_000_000 // at_once, source.max_response_mb * 1_000_000
        self._access = Access(
            context.client,
            context.lanes,
            context.query_lanes,
            queue_id,
            source,
            PageSize(source.page_size, budget, source.concurrency, largest),
            QuerySize(budget, largest),
            self._caller,
            context.query_limits,
            Guards(context.rules),
        )
        self._erased = Erased(None)
        filtered = bool(source.status) or not source.include_archived
        self._report = QueueReport(queue_id=queue_id, filtered=filtered)
        self._progress = QueueProgress(queue_id, context.progress.entered, context.clock.monotonic)
        self._progress.count(self._caller)

    def export(self) -> QueueReport:
        """Export the queue; every error is put into the report, and none is raised."""
        report, begun = self._report, self._context.clock.monotonic()
        self._context.log.info("queue_started", queue_id=self._queue_id)
        self._progress.enter("started")
        try:
            self._export()
            report.conclude()
        except LockedError as error:
            report.fail(error)
            report.status = "skipped"
        except AnnolakeError as error:
            report.fail(error)
        except Cancelled:
            report.fail(InterruptedExport(self._context.interruption.signal_number or 0))
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            report.fail(error)  # a bug in one queue does not stop the others
            if report.exit_code == AnnolakeError.exit_code:
                log_bug(self._context.log, self._queue_id, error)
        finally:
            self._caller.stop.set()
        caller = self._caller
        report.requests, report.queries, report.retries = caller.requests, caller.queries, caller.retries
        report.throttled = {k: Throttled(t.answers, round(t.seconds, 3)) for k, t in caller.throttled.items()}
        report.bytes_read = caller.bytes_read
        report.seconds = round(self._context.clock.monotonic() - begun, 3)
        report.finished_at = self._context.clock.now()
        with suppress(LakeError):  # an id that is none, or what has failed the queue already
            report.rejects_known = self._context.lake.rejects_known(self._queue_id)
            report.name = report.name or self._context.lake.queue_name(self._queue_id)  # it ended before it was asked
        facts = {name: getattr(report, name) for name in ("status", "exit_code", "rows_seen", "inserted", "updated")}
        self._context.log.info("queue_finished", queue_id=self._queue_id, **facts)
        return report

    def _export(self) -> None:
        lake, now = self._context.lake, self._context.clock.now()
        require_queue_id(self._queue_id)
        with self._locked():
            erased = read_erased(lake)
            if erased.is_unfinished(self._queue_id):
                done = finish(lake, self._queue_id, self._context.workspace, erased, now=now)
                self._context.log.warning("erasure_finished", queue_id=self._queue_id, rows=done.rows_gone)
            if erased.has_queue(self._queue_id):
                self._report.mode_reason, self._report.complete = ERASED, True
                self._context.log.warning("queue_erased", queue_id=self._queue_id, meaning=ERASED)
                return
            self._erased = erased
            record = QueueRecord(self._access, self._context.log)
            source, workspace = self._access.settings, self._context.workspace
            reported, columns = self._context.reported_proofs, self._context.rules.mark
            proofs = ProofKeeper(
                lake, workspace, self._queue_id, reported=reported, now=now, settings=source, columns=columns
            )
            try:
                rejects = self._export_over("items" if source.endpoint == "items" else "runs", record, proofs, now)
            except (GoneError, NotFoundError) as error:
                if not is_retired(error, source, alive=lambda: record.row is not None):
                    raise
                facts = {"queue_id": self._queue_id, "status": error.status, "now": "items"}
                self._context.log.warning("endpoint_retired", **facts)
                rejects = self._export_over("items", record, proofs, now)
            finally:
                self._report.name = record.name_if_known or self._report.name
            for each in rejects:
                each.commit()  # the last step that can fail: what fails before it leaves them new for the next export
            proofs.settle(self._report, now=self._context.clock.now(), log=self._context.log)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the queue's lock. One that an earlier attempt of this export has is waited for, a bounded time.

        A worker that died leaves a lease, which passes on only with time; the name of its holder ends with the start of
        the export.
        """
        context, clock = self._context, self._context.clock
        ours = f" since {context.started_at.isoformat()}"
        deadline = clock.monotonic() + context.wait_for_lock_s
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(context.lake.lock(self._queue_id, since=context.started_at))
                    break
                except LockedError as error:
                    if not (error.holder or "").endswith(ours) or clock.monotonic() >= deadline:
                        raise
                pause(clock, LOCK_AGAIN_S, self._caller.stop)
            yield

    def _export_over(
        self, endpoint: Endpoint, record: QueueRecord, proofs: ProofKeeper, now: datetime
    ) -> list[RejectKeeper]:
        """Export over one endpoint from the start and return the rejects; what was read over another is forgotten."""
        context, report, items = self._context, self._report, None
        report.endpoint = endpoint
        if endpoint == "items":
            due = proofs.runs_are_due(every_s=context.config.sync.refresh_runs_every_s)
            items = ItemFacts(now, refresh=due or context.wishes.refresh)
            report.runs_refreshed_at = proofs.runs_read_at
        budget, merges = BUFFER_BYTES // self._at_once, max(1, MERGES_AT_ONCE // self._at_once)
        erased = ErasedRows(self._erased, self._queue_id)
        parts = QueueParts(context, self._access, record, report, self._progress, proofs, now, self._at_once, erased)
        with ExitStack() as opened:
            upsert = opened.enter_context(
                context.lake.upsert(self._queue_id, context.workspace, now=now, budget=budget, items=items)
            )
            feedback = opened.enter_context(feedback_of(parts, upsert, budget=budget // OTHER_TABLES_SHARE))
            turns = opened.enter_context(turns_of(parts, budget=budget // OTHER_TABLES_SHARE))
            tables = [table for table in (feedback, turns) if table]
            export = EndpointExport(parts, upsert, tables, merges=merges)
            try:
                export.run()
            except NotFoundError as error:
                raise explained(error, alive=lambda: record.row is not None) from error
            return export.rejects
