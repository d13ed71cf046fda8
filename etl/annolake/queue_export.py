"""The export of one queue: the only place where extract, transform and load meet.

Owns the sequence of an export over one endpoint (`EndpointExport`), the choice of the endpoint and what becomes of
errors (`QueueExport`). A row's way is told in docs/architecture.md#one-row-over-runs.
"""

import traceback
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import datetime
from itertools import chain, islice

from annolake.errors import AnnolakeError, GoneError, InterruptedExport, LakeError, LockedError, NotFoundError
from annolake.export_context import ExportContext, QueueParts
from annolake.extract.endpoints.query_limits import QuerySize
from annolake.extract.endpoints.queues import require_queue_id
from annolake.extract.http.client import Caller, Cancelled
from annolake.extract.page_size import PageSize
from annolake.flatten_buffer import FlattenBuffer
from annolake.load.merge.index import ACCEPTED, DUE, NO_PAYLOAD
from annolake.load.merge.read_back import ItemFacts
from annolake.load.merge.spill import BUFFER_BYTES
from annolake.load.merge.upsert import Upsert
from annolake.plan import FULL, plan_new_only, swept_because
from annolake.proof_keeper import ProofKeeper
from annolake.queue_record import QueueRecord
from annolake.rejects import RejectKeeper, rejects_of
from annolake.removals import Absence
from annolake.report import Endpoint, QueueReport, Throttled
from annolake.sources.items import ItemsSource
from annolake.sources.runs import RunsSource
from annolake.sources.source import Access, RowSource, explained, is_retired
from annolake.transform.row_batch import RowBatch
from annolake.turns_export import TurnsExport, turns_of

OTHER_TABLES_SHARE = 2  # of the memory for changed rows
MERGES_AT_ONCE = 2  # of one queue; several queues keep the cores busy by themselves


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
        )
        filtered = bool(source.status) or not source.include_archived
        self._report = QueueReport(queue_id=queue_id, filtered=filtered)

    def export(self) -> QueueReport:
        """Export the queue; every error is put into the report, and none is raised."""
        report, begun = self._report, self._context.clock.monotonic()
        self._context.log.info("queue_started", queue_id=self._queue_id)
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
        except Exception as error:  # noqa: BLE001 - a bug in one queue does not stop the others
            report.fail(error)
            # The frames alone: an error's message may quote a row.
            frames = "".join(traceback.format_tb(error.__traceback__))
            facts = {"queue_id": self._queue_id, "kind": type(error).__name__, "traceback": frames}
            self._context.log.error("bug", **facts)  # noqa: TRY400 - see above
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
        self._context.progress.finished(report)
        facts = {name: getattr(report, name) for name in ("status", "exit_code", "rows_seen", "inserted", "updated")}
        self._context.log.info("queue_finished", queue_id=self._queue_id, **facts)
        return report

    def _export(self) -> None:
        lake, now = self._context.lake, self._context.clock.now()
        require_queue_id(self._queue_id)
        with lake.lock(self._queue_id, since=now):
            record = QueueRecord(self._access, self._context.log)
            source, workspace = self._access.settings, self._context.workspace
            reported = self._context.reported_proofs
            proofs = ProofKeeper(lake, workspace, self._queue_id, reported=reported, now=now, settings=source)
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
            table = record.table(self._context.clock.now())
            lake.write_queue(self._queue_id, workspace, table)
            for kept in rejects:
                kept.commit()  # the last step that can fail: what fails before it leaves them new for the next export
            proofs.settle(self._report, now=self._context.clock.now(), log=self._context.log)

    def _export_over(
        self, endpoint: Endpoint, record: QueueRecord, proofs: ProofKeeper, now: datetime
    ) -> list[RejectKeeper]:
        """Export over one endpoint from the start and return the rejects; what was read over another is forgotten."""
        context, report, items = self._context, self._report, None
        report.endpoint = endpoint
        if endpoint == "items":
            due = proofs.runs_are_due(every_s=context.config.sync.refresh_runs_every_s)
            items = ItemFacts(now, refresh=due or context.refresh)
            report.runs_refreshed_at = proofs.runs_read_at
        budget = BUFFER_BYTES // self._at_once
        with context.lake.upsert(self._queue_id, context.workspace, now=now, budget=budget, items=items) as upsert:
            parts = QueueParts(context, self._access, record, report, proofs, now)
            with turns_of(parts, budget=budget // OTHER_TABLES_SHARE) as turns:
                export = EndpointExport(parts, upsert, turns)
                try:
                    export.run(merges=max(1, MERGES_AT_ONCE // self._at_once))
                except NotFoundError as error:
                    raise explained(error, alive=lambda: record.row is not None) from error
            return [export.rejects, *([turns.rejects] if turns.rejects else [])]


class EndpointExport:
    """The export of one queue over one endpoint: what is planned, read, landed, published and reported."""

    def __init__(self, parts: QueueParts, upsert: Upsert, turns: TurnsExport) -> None:
        self._context, self._access, self._record = parts.context, parts.access, parts.record
        self._report, self._proofs, self._now = parts.report, parts.proofs, parts.now
        self._upsert, self._turns = upsert, turns
        self._source = self._planned_source()
        context = parts.context
        self.rejects = rejects_of(context.lake, context.workspace, parts.access.queue_id, now=parts.now)
        upsert.index.ask_for(self.rejects.keys)  # to learn what has become of them
        self._buffer = FlattenBuffer(upsert, parts.report.endpoint, context.clock.now)

    def run(self, *, merges: int) -> None:
        """Export; `merges` partitions are merged at once. The report is filled on the way."""
        self._read()
        remove = self._confirm_removals()
        self._conclude_reading()
        self._turns.publish(merges=merges)  # before the rows: whose turns are read is known by them
        self._publish(remove_gone=remove, merges=merges)

    def _planned_source(self) -> RowSource:
        """Return the source of the rows to read, and report why where they are not those that were asked for."""
        context, report, plan = self._context, self._report, FULL
        if context.mode == "new":
            plan = plan_new_only(
                self._proofs.known,
                endpoint=report.endpoint,
                now=self._now,
                lookback_s=context.config.sync.lookback_s,
                full_every_s=context.config.sync.full_every_s,
                rows_in_lake=self._upsert.index.size,
            )
        report.mode, report.mode_reason = plan.mode, plan.reason
        if report.endpoint == "runs":
            return RunsSource(self._access, self._upsert.index, plan.watermarks)
        index = self._upsert.index
        return ItemsSource(self._access, index, plan.watermarks, now=self._now, known=index)

    def _read(self) -> None:
        expected, batches = self._upsert.index.size or None, self._source.read()
        first = list(islice(batches, 1))  # asked for beside the queue's own record, which has its name
        self._report.name = self._record.row.row.name if self._record.row else None
        self._context.progress.started(self._report.queue_id, self._report.name, expected)
        self._take(chain(first, batches))

    def _take(self, batches: Iterable[RowBatch]) -> None:
        """Land the rows that are new or changed, and keep the rejects."""
        report = self._report
        for batch in batches:
            self.rejects.see(batch)
            self._buffer.take(batch)
            self._turns.see(batch)
            times = [row.added_at for row in (*(each.row for each in batch.rows), *batch.kept)]
            report.newest_added_at = max(filter(None, (report.newest_added_at, *times)), default=None)
            report.rows_seen = self._source.verdict.rows
            report.payloads_missing_new = self._buffer.run_missing_new
            self._context.progress.read(report.queue_id, report.rows_seen)
        self._buffer.flush()

    def _confirm_removals(self) -> bool:
        """Tell whether the rows that were not met have left the queue; read it again where they are many."""
        if not self._may_remove or not self._upsert.index.missing:
            return False
        absence, accepted = self._absence(), self._context.accept_removals
        before, large = absence.missing, absence.is_large
        if large and not accepted:
            facts = {"queue_id": self._report.queue_id, "rows": before, "of": absence.live}
            self._context.log.warning("many_rows_missing", **facts)
            self._take(self._source.read_again())
            absence = self._absence()
        if not self._may_remove:
            return False
        doubt = None if accepted else absence.doubt(missing_before=before)
        if doubt and absence.missing:
            self._report.removed_unconfirmed, self._report.unconfirmed_because = absence.missing, doubt
            self._report.removals_held_back = large
        return doubt is None

    def _absence(self) -> Absence:
        index, full = self._upsert.index, self._proofs.full_over(self._report.endpoint)
        return Absence(index.missing, index.live, self._source.verdict.size_excess, full.size_excess if full else None)

    @property
    def _may_remove(self) -> bool:
        """Whether this export can know that a row has left the queue (docs/guarantees.md#removals)."""
        report = self._report
        whole = report.mode == "full" and not report.filtered
        return whole and self._source.verdict.complete and not self.rejects.unreadable

    def _conclude_reading(self) -> None:
        report, verdict = self._report, self._source.verdict
        report.rows_seen, report.usage = verdict.rows, self._source.usage
        if report.endpoint == "items":
            self._conclude_runs()
        if report.usage == "own" and self._access.settings.subtree_usage:
            meaning = (
                "the service refuses include_subtree_usage: new rows get the tokens and costs of their own run alone, "
                "rows in the lake keep theirs; with source.subtree_usage = false every row gets those of its own run"
            )
            self._context.log.warning("usage_own", queue_id=report.queue_id, meaning=meaning)
        report.repairs = verdict.signs.repairs
        report.rows_not_shown, report.size_excess = verdict.not_shown, verdict.size_excess
        report.complete, report.incomplete_because = verdict.complete, list(verdict.reasons)
        report.rejected, report.rejected_new = len(self.rejects.seen), self.rejects.new
        report.orders = {name: str(order) if order else None for name, order in verdict.orders.items()}
        if verdict.swept:
            report.mode_reason = swept_because(verdict.swept)

    def _conclude_runs(self) -> None:
        report, index = self._report, self._upsert.index
        report.runs_asked = self._source.runs_asked
        report.runs_kept = index.count(ACCEPTED) - index.count(ACCEPTED | DUE)
        report.payloads_missing = index.count(ACCEPTED | NO_PAYLOAD)
        report.usage = self._proofs.usage_with(self._source.usage, report)

    def _publish(self, *, remove_gone: bool, merges: int) -> None:
        """Merge and publish each day concerned; an interruption is heeded between two."""
        report, upsert = self._report, self._upsert
        try:
            with closing(upsert.publish(remove_gone=remove_gone, at_once=merges)) as outcomes:
                for _ in outcomes:
                    if self._access.caller.stop.is_set():
                        raise Cancelled
        finally:
            report.partitions_written, report.bytes_written = upsert.partitions_written, upsert.bytes_written
            report.inserted, report.updated = upsert.counts.inserted, upsert.counts.updated
            report.removed = upsert.counts.removed
        report.unchanged = upsert.unchanged
