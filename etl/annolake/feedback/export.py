"""The table `feedback` of one queue: filled beside its rows, and published before them.

Owns which rows' feedback is read (docs/guarantees.md#feedback), and what counts as removed. Rows are exported whatever
becomes of their feedback; that which was due and not read is read by the next export.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from msgspec.structs import replace

from annolake.contract import FEEDBACK
from annolake.errors import ServiceError
from annolake.export_context import QueueParts
from annolake.extract.endpoints.query_limits import NOT_ACCEPTED
from annolake.extract.http.client import Caller
from annolake.feedback.news import RowFacts, numbers_of, owners_of_news, projects_of, rows_not_met, rows_of
from annolake.feedback.plan import FeedbackPlan, plan_feedback
from annolake.feedback.reader import FeedbackReader
from annolake.feedback.sharing import Sharing
from annolake.feedback.subjects import RejectedRows
from annolake.flatten_buffer import FlattenBuffer
from annolake.keys import key_of
from annolake.load.merge.index import ACCEPTED
from annolake.load.merge.upsert import Upsert
from annolake.publishing import publish
from annolake.rejects import rejects_of
from annolake.removals import Absence
from annolake.report import TableReport
from annolake.sources.feedback import Said
from annolake.sources.new_feedback import IgnoredError, Mention, TooMuchError
from annolake.transform.guard import nulls_of
from annolake.transform.row_batch import DecodedRow, RowBatch

Looking = Future[dict[bytes, Mention]]
"""What was said lately, on its way."""

_PATIENCE_S = 10.0
"""So long items wait until it is known which runs have new feedback."""

_RUNS_AN_ANSWER, _FEW_ANSWERS = 25, 20
"""So much is asked to learn which runs have new feedback: about what it costs to read the feedback of all rows."""


@contextmanager
def feedback_of(parts: QueueParts, runs: Upsert, *, budget: int) -> Iterator["FeedbackExport | None"]:
    """Give what exports a queue's feedback beside its rows, None where the settings leave it out. Raises LakeError."""
    parts.report.feedback = TableReport()  # what another endpoint brought is forgotten
    if not parts.access.settings.feedback:
        parts.report.feedback.status = "off"
        parts.proofs.forget_feedback()
        yield None
        return
    lake, workspace, queue_id = parts.context.lake, parts.context.workspace, parts.access.queue_id
    with lake.upsert(queue_id, workspace, now=parts.now, table=FEEDBACK.name, budget=budget) as upsert:
        export = FeedbackExport(parts, runs, upsert)
        try:
            yield export
        finally:
            export.close()


class FeedbackExport:
    """The feedback of one queue in one export: `begin`, then `ready`, `see` for each batch of rows, then `publish`."""

    def __init__(self, parts: QueueParts, runs: Upsert, upsert: Upsert) -> None:
        self._parts, self._runs, self._upsert = parts, runs, upsert
        context, access = parts.context, parts.access
        context.feedback_terms.begin(access.queue_id, cuts=parts.proofs.feedback_cut)
        self._report = parts.report.feedback
        self.rejects = rejects_of(context.lake, context.workspace, access.queue_id, now=parts.now, table=FEEDBACK.name)
        self._caller = Caller(context.interruption.event())
        parts.progress.count(self._caller)
        self._reader = FeedbackReader(
            replace(access, caller=self._caller),
            context.feedback_terms,
            self._land,
            report=self._report,
            log=context.log,
            at_once=parts.at_once,
        )
        nulls = nulls_of(access.guards.feedback)
        self._buffer = FlattenBuffer(upsert, None, context.clock.now, table=FEEDBACK, nulls=nulls)
        self._plan = FeedbackPlan(whole=False)
        self._asked = bytearray()  # a byte for each row of the queue, by its number
        self._looking: Looking | None = None
        self._some_went_by = False  # rows, before it was known which have new feedback
        self._is_late = False  # items were not waited with until it was known which runs have new feedback
        self._news: dict[str, RowFacts] = {}  # rows with new feedback that were not met yet
        self._sharing = Sharing()
        self._rejected = RejectedRows(over_items=parts.report.endpoint == "items")

    def why_full(self) -> str | None:
        """Tell why an export of new rows will not do: what was said on the others is not known to be in the lake."""
        proofs = self._parts.proofs
        due = proofs.is_unfiltered and not proofs.feedback_refused and not proofs.feedback_read(self._upsert.rows)[0]
        return "the feedback of this queue was not read whole before" if due else None

    def begin(self) -> None:
        """Plan, and begin to look which rows have new feedback. Raises LakeError."""
        context, sync = self._parts.context, self._parts.context.config.sync
        read_at, since = self._parts.proofs.feedback_read(self._upsert.rows)
        self._plan = plan_feedback(
            read_at,
            since,
            mode=self._parts.report.mode,
            refresh=context.wishes.refresh or self._all_runs_are_asked_for(),
            now=self._parts.now,
            every_s=sync.refresh_feedback_every_s,
            lookback_s=sync.lookback_s,
        )
        if self._plan.since is not None:
            self._looking = self._look_for_news(self._plan.since)

    def ready(self) -> None:
        """Learn which rows have new feedback, if it is known by now; over items wait for it, for their runs are due."""
        if self._looking is None:
            return
        if self._parts.report.endpoint == "items" and not self._is_late:
            wait([self._looking], _PATIENCE_S)
            self._is_late = not self._looking.done()
        if self._looking.done():
            self._take_news()

    def see(self, batch: RowBatch, changed: Sequence[DecodedRow]) -> None:
        """Ask for what was said on the rows of a batch, as far as it is due; `changed` are those new or changed."""
        if self._reader.is_over:
            return
        self._some_went_by |= self._looking is not None
        again = {row.number for row in changed}
        any_may_be_due = self._plan.whole or self._news or self._parts.report.mode == "new"
        for each in batch.latest().rows if any_may_be_due else changed:
            if self._is_due(each.number, each.row, again=each.number in again):
                self._want(each.row, each.item_type, found=each.run_found is True)
        kept = batch.kept if any_may_be_due else []
        for number, row in zip(numbers_of(self._runs, kept), kept, strict=True):
            if self._is_due(number, row, again=False):
                self._want(row, row.item_type, found=False)
        for row in self._rejected.met(batch.rejects):  # by each export, for nothing tells whether anything is new
            self._want(row, row.item_type, found=False)
        self._reader.go_on()

    def publish(self, *, merges: int, rows_leave: bool) -> None:
        """Read what is left, and publish it; what was not read is told in the report. Raises LakeError."""
        self._parts.progress.count_steps(self._reader.steps)
        self._want_the_rest()
        self._ask_again(rows_leave=rows_leave)
        self._reader.finish()
        self._buffer.flush()
        remove_gone = self._confirm_removals()
        self._conclude()
        if self._parts.context.feedback_terms.longest.cuts:
            self._parts.proofs.note_feedback_cut()
        if not self._report.complete:
            self._parts.proofs.forget_feedback(refused=self._report.status == "refused")
        stop = self._parts.access.caller.stop
        publish(self._upsert, self._report, stop, remove_gone=remove_gone, at_once=merges)
        if self._report.complete:
            self._parts.proofs.note_feedback(whole=self._plan.whole, rows=self._upsert.rows)
            self._rejected.tell(self._report)

    def close(self) -> None:
        """End what is under way, and count what was asked for."""
        self._reader.close()
        self._parts.progress.uncount(self._caller)
        self._parts.access.caller.absorb(self._caller)

    # --- which rows

    def _all_runs_are_asked_for(self) -> bool:
        """Tell whether this export finds out over items which runs are there: then feedback that is gone is, too."""
        every_s = self._parts.context.config.sync.refresh_runs_every_s
        return self._parts.report.endpoint == "items" and self._parts.proofs.runs_are_due(every_s=every_s)

    def _look_for_news(self, since: datetime) -> Looking:
        source, is_full = self._reader.source, self._parts.report.mode == "full"
        enough = self._runs.index.live / _RUNS_AN_ANSWER + _FEW_ANSWERS if is_full else math.inf
        look = partial(source.new_since, projects_of(self._runs), since, enough=enough)
        return self._parts.access.lanes.submit(look)

    def _take_news(self) -> None:
        """Note which rows have new feedback, as soon as it is known; without an answer feedback is given up."""
        looking, self._looking = self._looking, None
        if looking is None:
            return
        try:
            owners = owners_of_news(self._upsert, looking.result())
        except TooMuchError:
            self._plan = FeedbackPlan(whole=True)
        except (IgnoredError, ServiceError) as error:
            if isinstance(error, ServiceError) and error.status not in NOT_ACCEPTED:
                self._reader.give_up(error)
                return
            self._read_without_news()
        else:
            self._news = {row.queue_run_id: row for rows in rows_of(self._runs, owners) for row in rows}
            self._runs.index.ask_for([key_of(row_id) for row_id in self._news])

    def _want_the_rest(self) -> None:
        """Ask for what is due of rows that were not met, or that went by before that was known."""
        self._take_news()
        met_in_vain = self._plan.whole and self._some_went_by
        for rows in rows_of(self._runs) if met_in_vain else [list(self._news.values())]:
            for number, row in zip(numbers_of(self._runs, rows), rows, strict=True):
                if not (self._reader.is_over or self._asked[number : number + 1] == b"\1"):
                    self._want(row, row.item_type, found=False)

    def _read_without_news(self) -> None:
        """Read all feedback, since the service does not tell which is new; an export of new rows cannot."""
        meaning = "the service does not tell which feedback is new, so that each full export reads all of it"
        self._parts.context.log.warning("feedback_news_unknown", queue_id=self._parts.access.queue_id, meaning=meaning)
        self._plan = FeedbackPlan(whole=self._parts.report.mode == "full")
        if not self._plan.whole:
            self._report.because.append("the service does not tell which feedback is new")

    def _is_due(self, number: int, row: Any, *, again: bool) -> bool:
        """Tell whether the feedback of a row is to be asked for, and note that it is."""
        if number >= len(self._asked):
            self._asked.extend(bytes(max(number + 1 - len(self._asked), len(self._asked))))
        is_news = self._news.pop(row.queue_run_id, None) is not None
        due = again or is_news or (self._is_read_in_any_case(row) and not self._asked[number])
        self._asked[number] |= due
        return due

    def _is_read_in_any_case(self, row: Any) -> bool:
        """Tell whether a row's feedback is read, changed or not: that of all rows, or of those that are new enough."""
        since, added_at = self._plan.since, row.added_at
        is_recent = since is None or added_at is None or added_at >= since
        return self._plan.whole or (self._parts.report.mode == "new" and is_recent)

    def _want(self, row: Any, item_type: str, *, found: bool) -> None:
        is_thread = item_type == "THREAD"
        self._reader.want(row, is_thread=is_thread, found=found)
        if not is_thread:
            self._sharing.note(row, found=found)

    def _ask_again(self, *, rows_leave: bool) -> None:
        """Have what was said on runs in several rows read with the reviewers of all: the last reading counts."""
        if self._reader.is_over:
            return
        for row in rows_not_met(self._runs) if rows_leave else ():
            self._sharing.note_left(row)
        all_met = self._plan.whole and self._parts.report.mode == "full" and self._parts.proofs.is_unfiltered
        for run_id, reviewing, found in self._sharing.to_ask_again(None if all_met else self._runs):
            self._reader.want_run(run_id, reviewing, found=found)

    # --- what was said

    def _land(self, said: Said) -> None:
        """Take what was read whole into the lake."""
        keys = self._parts.record.rubric_keys
        said.rows, said.rejects = self._parts.erased.without_feedback(said.rows, said.rejects)
        self._meet(said)
        numbers = self._upsert.index.meet([each.key for each in said.rows])[1] if said.rows else []
        for number, each in zip(numbers, said.rows, strict=True):
            each.number, each.row.in_rubric = number, None if keys is None else each.row.key in keys
        batch = RowBatch(said.size, said.rows, said.rejects)
        self.rejects.see(batch)
        self._buffer.take(batch)

    def _meet(self, said: Said) -> None:
        """Note what is there, be it accepted or not."""
        if keys := [row.key for row in said.rows] + [reject.key for reject in said.rejects]:
            self._upsert.index.meet(keys)

    def _confirm_removals(self) -> bool:
        """Tell whether what was not met is gone: its run is there, was read again without it, and once more."""
        self._keep_others(bytes(self._reader.found_whole))
        if self._reader.is_over or not self._upsert.index.missing:
            return False
        absence = Absence(self._upsert.index.missing, self._upsert.index.live, None, None)
        if absence.is_large and not self._parts.context.wishes.accept_removals:
            self._report.removed_unconfirmed, self._report.removals_held_back = absence.missing, True
            return False
        self._keep_others(self._reader.read_again(self._upsert.missing_owners(), self._meet))
        return True

    def _keep_others(self, owners: bytes) -> None:
        self._upsert.keep_others(np.frombuffer(owners, np.uint64).reshape(-1, 2))

    def _conclude(self) -> None:
        report, proofs = self._report, self._parts.proofs
        if self._parts.report.mode == "new" and proofs.feedback_refused and proofs.is_unfiltered:
            self._conclude_after_refusal()
        report.complete = not (report.because or report.removals_held_back)
        if report.status == "unread":
            report.status = "ok" if report.complete else "partial"
        report.rows = self._upsert.index.count(ACCEPTED)
        report.rejected, report.rejected_new = len(self.rejects.seen), self.rejects.new

    def _conclude_after_refusal(self) -> None:
        """Have the report say that older feedback is missing: an export of new rows cannot make good for it."""
        report = self._report
        if not self._caller.requests:
            report.status = "refused"
            report.because.append("it refused it to an earlier export, and nothing was to be asked for in this one")
        elif report.status == "unread":
            report.because.append("the service serves it again, and not all of it was read yet")
