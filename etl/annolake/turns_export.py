"""The table `turns` of one queue: the turns of its THREAD items, read beside the rows and published before them.

Owns which threads are read, what became of them, and which turns count as removed (docs/guarantees.md#turns). Rows
never suffer where turns cannot be read.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from annolake.contract import TURNS
from annolake.export_context import QueueParts
from annolake.extract.http.client import Cancelled
from annolake.flatten_buffer import FlattenBuffer
from annolake.keys import key_of
from annolake.load.merge.columns import halves
from annolake.load.merge.index import ACCEPTED
from annolake.load.merge.upsert import Upsert
from annolake.printable import counted
from annolake.rejects import RejectKeeper, rejects_of
from annolake.removals import Absence
from annolake.sources.turns import ThreadReading, TurnsSource
from annolake.transform.row_batch import DecodedRow, RowBatch
from annolake.transform.turns import Thread, TurnsPage


@contextmanager
def turns_of(parts: QueueParts, *, budget: int) -> Iterator["TurnsExport"]:
    """Give what exports the turns of a queue beside its rows."""
    with ExitStack() as closing_stack:
        yield TurnsExport(parts, closing_stack, budget=budget)


class TurnsExport:
    """The turns of one queue in one export: `see` each batch of rows, then `publish`.

    The table is opened when the first thread is met: a queue of runs alone has none.
    """

    def __init__(self, parts: QueueParts, stack: ExitStack, *, budget: int) -> None:
        self._parts, self._stack, self._budget = parts, stack, budget
        self._report = parts.report.turns
        self._table: _Table | None = None
        self._is_wanted = parts.report.endpoint == "items" and parts.access.settings.threads
        if not parts.access.settings.threads:
            self._report.status = "off"

    @property
    def rejects(self) -> RejectKeeper | None:
        """The turns that were set aside; None where no thread was met."""
        return self._table.rejects if self._table else None

    def begin(self) -> None:
        """Do nothing yet: the table is opened when it has to be."""

    def see(self, batch: RowBatch, _changed: Sequence[DecodedRow]) -> None:
        """Read the turns of the threads of a batch that are due: of items new or changed, of all where not all are."""
        if not self._is_wanted:
            return
        rows = [each.row for each in batch.latest().rows]
        threads = [thread for row in (*rows, *batch.kept) if (thread := Thread.of_row(row))]
        if not threads:
            return
        table = self._opened()
        if table.all_due:
            table.read(threads)
        else:
            asked = {row.queue_run_id for row in rows}
            table.read(thread for thread in threads if thread.queue_run_id in asked)

    def publish(self, *, merges: int) -> None:
        """Read what is left, and publish; what was not read is told in the report. Raises LakeError."""
        proofs, table = self._parts.proofs, self._table
        if not self._is_wanted:
            if self._report.status == "off":
                proofs.forget_turns()
            return
        if table is None:
            self._report.status, self._report.complete = "ok", True
            return
        table.finish()
        if self._report.complete:
            proofs.note_turns(rows=table.upsert.index.size)
        else:
            proofs.forget_turns()
        table.publish(merges=merges)

    def _opened(self) -> "_Table":
        if self._table is None:
            parts, context = self._parts, self._parts.context
            upsert = self._stack.enter_context(
                context.lake.upsert(
                    parts.access.queue_id, context.workspace, now=parts.now, table=TURNS.name, budget=self._budget
                )
            )
            self._table = _Table(parts, upsert)
            self._stack.callback(self._table.source.close)
        return self._table


class _Table:
    """The table, opened, and what is on its way into it."""

    def __init__(self, parts: QueueParts, upsert: Upsert) -> None:
        context = parts.context
        self._parts, self._report = parts, parts.report.turns
        self.upsert = upsert
        self.source = TurnsSource(parts.access)
        self.rejects = rejects_of(
            context.lake, context.workspace, parts.access.queue_id, now=parts.now, table=TURNS.name
        )
        self.all_due = not parts.proofs.turns_are_read(rows=upsert.index.size)
        self._buffer = FlattenBuffer(upsert, None, context.clock.now, table=TURNS)
        self._whole: dict[str, Thread] = {}
        self._remove = False

    def read(self, threads: Iterable[Thread]) -> None:
        """Have threads read, and take what has come."""
        for reading, page in self.source.read(threads):
            self._take(reading, page)

    def finish(self) -> None:
        """Take what is left, decide what was removed, and fill the report but for what publishing counts."""
        self._take_rest()
        report, source, index = self._report, self.source, self.upsert.index
        report.rows = index.count(ACCEPTED)
        self._remove = self._confirm_removals()
        report.rejected, report.rejected_new = len(self.rejects.seen), self.rejects.new
        refused = source.refused
        if refused is not None:
            report.status, report.because = "refused", [str(refused)]
            facts = {"queue_id": self._parts.access.queue_id, "status": refused.status, "why": str(refused)}
            self._parts.context.log.warning("turns_refused", **facts)
            return
        if source.unread:
            threads = counted(source.unread, "thread")
            report.because.append(f"{threads} could not be read, the last because: {source.why}")
        report.status, report.complete = "partial" if report.because else "ok", not report.because

    def publish(self, *, merges: int) -> None:
        """Merge and publish each day concerned; an interruption is heeded between two."""
        report, upsert = self._report, self.upsert
        try:
            with closing(upsert.publish(remove_gone=self._remove, at_once=merges)) as outcomes:
                for _ in outcomes:
                    if self._parts.access.caller.stop.is_set():
                        raise Cancelled
        finally:
            counts = upsert.counts
            report.inserted, report.updated, report.removed = counts.inserted, counts.updated, counts.removed
        report.unchanged = upsert.unchanged

    def _take(self, reading: ThreadReading, page: TurnsPage) -> None:
        numbers = dict(zip(page.keys, self.upsert.index.meet(page.keys)[1], strict=True))
        for row in page.rows:
            row.number = numbers[row.key]
        self.rejects.see(page)
        self._buffer.take(page)
        if reading.whole and reading.turns:
            # One that shows no turn at all has expired: what the lake has of it stays.
            self._whole[reading.thread.queue_run_id] = reading.thread

    def _take_rest(self) -> None:
        for reading, page in self.source.rest():
            self._take(reading, page)
        self._buffer.flush()

    def _confirm_removals(self) -> bool:
        """Tell whether turns that their threads did not show were removed; read these threads a second time."""
        index, report = self.upsert.index, self._report
        self.upsert.keep_others(halves(b"".join(map(key_of, self._whole))))
        if not index.missing:
            return False
        threads = [self._whole[item] for item in self.upsert.missing_owners()["queue_run_id"]]
        self._whole = {}
        self.read(threads)
        self._take_rest()
        absence = Absence(index.missing, index.live, None, None)
        held_back = absence.is_large and not self._parts.context.accept_removals
        if len(self._whole) == len(threads) and not self.rejects.unreadable and not held_back:
            return True
        report.removed_unconfirmed = absence.missing
        if held_back:
            turns = counted(absence.missing, "turn")
            report.because.append(f"{turns} of {index.live:,} are gone: `annolake run --accept-removals` marks them")
        return False
