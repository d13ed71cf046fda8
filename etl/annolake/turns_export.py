"""The table `turns` of one queue: the turns of its THREAD items, read beside the rows and published before them.

Owns which threads are read, what became of them, and which turns count as removed (docs/guarantees.md#turns). Rows
never suffer where turns cannot be read.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from annolake.contract import TURNS
from annolake.export_context import QueueParts
from annolake.flatten_buffer import FlattenBuffer
from annolake.keys import key_of
from annolake.load.merge.columns import halves
from annolake.load.merge.index import ACCEPTED
from annolake.load.merge.upsert import Upsert
from annolake.printable import counted
from annolake.publishing import publish
from annolake.rejects import RejectKeeper, rejects_of
from annolake.removals import Absence
from annolake.sources.turns import ThreadReading, TurnsSource
from annolake.transform.guard import nulls_of
from annolake.transform.row_batch import DecodedRow, RowBatch
from annolake.transform.turns import Thread, TurnsPage


@contextmanager
def turns_of(parts: QueueParts, *, budget: int) -> Iterator["TurnsExport | None"]:
    """Give what exports a queue's turns beside its rows, None where none are to be read. Raises LakeError."""
    if not parts.access.settings.threads:
        parts.report.turns.status = "off"
        parts.proofs.forget_turns()
        yield None
        return
    with ExitStack() as opened:
        yield TurnsExport(parts, opened, budget=budget) if parts.report.endpoint == "items" else None


class TurnsExport:
    """The turns of one queue in one export: `see` each batch of rows, then `publish`.

    The table is opened when the first thread is met: a queue of runs alone has none.
    """

    def __init__(self, parts: QueueParts, opened: ExitStack, *, budget: int) -> None:
        self._parts, self._opened, self._budget = parts, opened, budget
        context, queue_id = parts.context, parts.access.queue_id
        self.rejects = rejects_of(context.lake, context.workspace, queue_id, now=parts.now, table=TURNS.name)
        self._table: _Table | None = None

    def why_full(self) -> str | None:
        """Return None: the threads of new items are read."""
        return None

    def begin(self) -> None:
        """Do nothing: a thread is read when its item was."""

    ready = begin

    def see(self, batch: RowBatch, _changed: Sequence[DecodedRow]) -> None:
        """Read the turns of a batch's threads, as far as they are due: of items read anew, of all where not all are."""
        rows = [each.row for each in batch.latest().rows]
        threads = [thread for row in (*rows, *batch.kept) if (thread := Thread.of_row(row))]
        if not threads:
            return
        table = self._opened_table()
        anew = {row.queue_run_id for row in rows}
        table.read(thread for thread in threads if table.all_due or thread.queue_run_id in anew)

    def publish(self, *, merges: int, rows_leave: bool) -> None:  # noqa: ARG002 - the turns of items that leave stay
        """Read what is left, and publish; what was not read is told in the report. Raises LakeError."""
        report, proofs = self._parts.report.turns, self._parts.proofs
        if self._table is None:
            report.status, report.complete = "ok", True
            return
        self._table.finish()
        if report.complete:
            proofs.note_turns(rows=self._table.upsert.rows)
        else:
            proofs.forget_turns()
        self._table.publish(merges=merges)

    def _opened_table(self) -> "_Table":
        if self._table is None:
            parts, context = self._parts, self._parts.context
            upsert = context.lake.upsert(
                parts.access.queue_id, context.workspace, now=parts.now, table=TURNS.name, budget=self._budget
            )
            self._table = _Table(parts, self._opened.enter_context(upsert), self.rejects)
            self._opened.callback(self._table.source.close)
        return self._table


class _Table:
    """The table, opened, and what is on its way into it."""

    def __init__(self, parts: QueueParts, upsert: Upsert, rejects: RejectKeeper) -> None:
        self._parts, self._report, self._rejects = parts, parts.report.turns, rejects
        self.upsert = upsert
        self.source = TurnsSource(parts.access)
        self.all_due = not parts.proofs.turns_are_read(rows=upsert.rows)
        nulls = nulls_of(parts.access.guards.turns)
        self._buffer = FlattenBuffer(upsert, None, parts.context.clock.now, table=TURNS, nulls=nulls)
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
        report.rejected, report.rejected_new = len(self._rejects.seen), self._rejects.new
        refused = source.refused
        if refused is not None:
            why = f"the service does not serve the turns of threads ({refused.status})"
            report.status, report.because = "refused", [why]
            self._parts.context.log.warning("turns_refused", queue_id=self._parts.access.queue_id, why=why)
            return
        if source.unread:
            threads = counted(source.unread, "thread")
            report.because.append(f"{threads} could not be read, the last because: {source.why}")
        report.complete = not (report.because or report.removals_held_back)
        report.status = "ok" if report.complete else "partial"

    def publish(self, *, merges: int) -> None:
        """Merge and publish each day concerned."""
        stop = self._parts.access.caller.stop
        publish(self.upsert, self._report, stop, remove_gone=self._remove, at_once=merges)

    def _take(self, reading: ThreadReading, page: TurnsPage) -> None:
        page.rows, page.rejects = self._parts.erased.without_turns(page.rows, page.rejects)
        numbers = dict(zip(page.keys, self.upsert.index.meet(page.keys)[1], strict=True))
        for row in page.rows:
            row.number = numbers[row.key]
        self._rejects.see(page)
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
        held_back = absence.is_large and not self._parts.context.wishes.accept_removals
        if len(self._whole) == len(threads) and not self._rejects.unreadable and not held_back:
            return True
        report.removed_unconfirmed, report.removals_held_back = absence.missing, held_back
        return False
