"""The export of one queue over one endpoint: the only place where extract, transform and load meet.

Owns its sequence: what is planned, read, landed, published and reported. A row's way is told in
docs/architecture.md#one-row-over-runs.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Protocol

from annolake.export_context import QueueParts
from annolake.flatten_buffer import FlattenBuffer
from annolake.load.merge.index import ACCEPTED, DUE, NO_PAYLOAD
from annolake.load.merge.upsert import Upsert
from annolake.plan import FULL, plan_new_only, swept_because
from annolake.publishing import publish
from annolake.rejects import RejectKeeper, rejects_of
from annolake.removals import Absence
from annolake.sources.items import ItemsSource
from annolake.sources.runs import RunsSource
from annolake.sources.source import RowSource
from annolake.transform.guard import nulls_of
from annolake.transform.row_batch import DecodedRow, RowBatch


class BesideTable(Protocol):
    """A table of the queue that is filled beside its rows. Each method raises LakeError, and none ServiceError."""

    @property
    def rejects(self) -> RejectKeeper | None:
        """The rows that were set aside, None where the table was not opened."""

    def why_full(self) -> str | None:
        """Tell why an export of new rows will not do for it, None where it will; asked before all else."""

    def begin(self) -> None:
        """Prepare, before any row is read: the mode of the export is known."""

    def ready(self) -> None:
        """Wait for what has to be known before a row is taken, or an item is known to stay; called again and again."""

    def see(self, batch: RowBatch, changed: Sequence[DecodedRow]) -> None:
        """Take notice of rows that were read; `changed` are those of them that are new or changed."""

    def publish(self, *, merges: int, rows_leave: bool) -> None:
        """Finish and publish, when all rows were read and before they are published.

        `rows_leave`: those that were not met are then marked removed.
        """


class EndpointExport:
    """The export of one queue over one endpoint, and of the tables `beside` its rows: `merges` partitions at once."""

    def __init__(self, parts: QueueParts, upsert: Upsert, beside: Sequence[BesideTable], *, merges: int) -> None:
        self._context, self._access, self._record = parts.context, parts.access, parts.record
        self._report, self._proofs, self._now = parts.report, parts.proofs, parts.now
        self._progress, self._merges = parts.progress, merges
        self._upsert, self._beside, self._erased = upsert, beside, parts.erased
        self._source = self._planned_source()
        lake, workspace = parts.context.lake, parts.context.workspace
        self._rejects = rejects_of(lake, workspace, parts.access.queue_id, now=parts.now)
        upsert.index.ask_for(self._rejects.keys)  # to learn what has become of them
        self._held = upsert.index.live
        nulls = nulls_of(parts.access.guards.runs)
        self._buffer = FlattenBuffer(upsert, parts.report.endpoint, parts.context.clock.now, nulls=nulls)

    @property
    def rejects(self) -> list[RejectKeeper]:
        """The rows that were set aside, of each table."""
        return [self._rejects, *(table.rejects for table in self._beside if table.rejects)]

    def run(self) -> None:
        """Export; the report is filled on the way.

        Rows are published last: an export that is killed before that meets them as changed once more, and with them all
        that belongs to them. Who finds a row finds what is beside it too.
        """
        self._progress.enter("reading")
        for table in self._beside:
            table.begin()
        self._read()
        remove = self._confirm_removals()
        self._conclude_reading()
        if self._beside:
            self._progress.enter("feedback")
        for table in self._beside:
            table.publish(merges=self._merges, rows_leave=remove)
        self._write_record()
        self._publish(remove_gone=remove)

    def _planned_source(self) -> RowSource:
        """Return the source of the rows to read, and report why where they are not those that were asked for."""
        context, report, plan = self._context, self._report, FULL
        if context.wishes.mode == "new":
            reasons = [self._proofs.why_full(), *(table.why_full() for table in self._beside)]
            plan = plan_new_only(
                self._proofs.known,
                endpoint=report.endpoint,
                now=self._now,
                lookback_s=context.config.sync.lookback_s,
                full_every_s=context.config.sync.full_every_s,
                rows_in_lake=self._upsert.index.size,
                why_full=next(filter(None, reasons), None),
            )
        report.mode, report.mode_reason = plan.mode, plan.reason
        if report.endpoint == "runs":
            return RunsSource(self._access, self._upsert.index, plan.watermarks, meanwhile=self._prepare)
        is_erased = None if self._erased.is_empty else self._erased.is_row
        return ItemsSource(
            self._access, self._upsert.index, plan.watermarks, now=self._now, known=self, is_erased=is_erased
        )

    def keep(self, rows: Sequence[int], items: Sequence[bytes]) -> list[bool]:
        """Tell which items stay as the lake has them, as `KnownItems` says."""
        self._await_tables()
        return self._upsert.index.keep(rows, items)

    @property
    def starts(self) -> Sequence[int]:
        """When some of the lake's runs began, as `KnownItems` says."""
        return self._upsert.starts

    def _await_tables(self) -> None:
        for table in self._beside:
            table.ready()

    def _read(self) -> None:
        batches = self._source.read()
        first = list(islice(batches, 1))  # asked for beside the queue's own record, which has its name
        self._report.name = self._record.row.row.name if self._record.row else None
        self._progress.name = self._report.name
        self._take(chain(first, batches))

    def _take(self, batches: Iterable[RowBatch]) -> None:
        """Land the rows that are new or changed, and keep the rejects."""
        report = self._report
        for sent in batches:
            batch = self._erased.sift(sent)
            self._await_tables()
            self._upsert.expect(self._source.verdict.reported)
            self._rejects.see(batch)
            changed = self._buffer.take(batch)
            for table in self._beside:
                table.see(batch, changed)
            times = [row.added_at for row in (*(each.row for each in batch.rows), *batch.kept)]
            report.newest_added_at = max(filter(None, (report.newest_added_at, *times)), default=None)
            report.rows_seen, report.erased = self._source.verdict.rows, self._erased.met
            report.payloads_missing_new = self._buffer.run_missing_new
            self._progress.rows, self._progress.total = report.rows_seen, self._expected_rows()
        self._buffer.flush()

    def _prepare(self) -> bool:
        """Merge some of what was read while it is being looked whether that was all; tell whether there is more."""
        self._buffer.flush()
        return self._upsert.prepare(may_remove=self._is_whole, at_once=self._merges)

    def _expected_rows(self) -> int | None:
        """Return how many rows there are to read: as many as are reported, or as the lake has where nothing is."""
        if self._report.mode == "new":
            return None
        sizes, filtered = self._source.verdict.sizes, self._report.filtered
        return sizes if sizes is not None or filtered else self._held or None

    def _confirm_removals(self) -> bool:
        """Tell whether the rows that were not met have left the queue; read it again where they are many."""
        if not self._may_remove or not self._upsert.index.missing:
            return False
        absence, accepted = self._absence(), self._context.wishes.accept_removals
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
        return self._is_whole and self._source.verdict.complete and not self._rejects.unreadable

    @property
    def _is_whole(self) -> bool:
        """Whether it reads all that the queue has."""
        return self._report.mode == "full" and not self._report.filtered

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
        report.rejected, report.rejected_new = len(self._rejects.seen), self._rejects.new
        report.orders = {name: str(order) if order else None for name, order in verdict.orders.items()}
        if verdict.swept:
            report.mode_reason = swept_because(verdict.swept)

    def _conclude_runs(self) -> None:
        report, index = self._report, self._upsert.index
        report.runs_asked = self._source.runs_asked
        report.runs_kept = index.count(ACCEPTED) - index.count(ACCEPTED | DUE)
        report.payloads_missing = index.count(ACCEPTED | NO_PAYLOAD)
        report.usage = self._proofs.usage_with(self._source.usage, report)

    def _write_record(self) -> None:
        context = self._context
        table = self._record.table(context.clock.now())
        context.lake.write_queue(self._access.queue_id, context.workspace, table)

    def _publish(self, *, remove_gone: bool) -> None:
        report, upsert = self._report, self._upsert
        self._progress.enter("merging", lambda: upsert.merges)
        try:
            publish(
                upsert,
                report,
                self._access.caller.stop,
                remove_gone=remove_gone,
                at_once=self._merges,
                merged=self._merged,
            )
        finally:
            report.partitions_written, report.bytes_written = upsert.partitions_written, upsert.bytes_written

    def _merged(self) -> None:
        self._progress.enter("publishing")
