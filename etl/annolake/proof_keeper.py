"""What earlier exports of a queue proved, and what this one adds: for `plan`, `removals` and the choice of runs.

Owns when the proofs are read and written (docs/lake.md#proofs). `load.proofs` has their form. The queue's lock is held
throughout. An export that fails, or is killed, writes none.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from annolake.config import Source
from annolake.contract import FEEDBACK, RUNS, TURNS
from annolake.errors import LakeError
from annolake.load.lake import Lake
from annolake.load.proofs import FullExport, Proofs, ReportedProofs, RunsRead, TableTerms, Terms, TurnsRead
from annolake.load.records import PastExport
from annolake.load.storage.scratch import Workspace
from annolake.observers.protocols import Log
from annolake.report import QueueReport, Usage


class _FeedbackRead(NamedTuple):
    """What an export read of the feedback: that of all rows it met, or what was due."""

    whole: bool
    terms: TableTerms


class ProofKeeper:
    """The proofs of one queue, in an export of it that began at `now`; the `settings` are the terms of its queries.

    `columns` tells what is left out (`ColumnRules.mark`).
    """

    def __init__(
        self,
        lake: Lake,
        workspace: Workspace,
        queue_id: str,
        *,
        reported: ReportedProofs,
        now: datetime,
        settings: Source,
        columns: str = "",
    ) -> None:
        self._lake, self._workspace, self._queue_id, self._reported = lake, workspace, queue_id, reported
        self._now, self._archived, self._columns = now, settings.include_archived, columns
        self._terms = _terms_of(settings, columns)
        found = lake.proofs(queue_id)
        self._is_there = found is not None
        self._usage: Usage | None = None  # of the runs that this export asked for
        self._feedback: _FeedbackRead | None = None  # by this export
        self._covered = False  # what was read of the feedback before is what is wanted now
        self.is_unfiltered = not settings.status
        self._turns: int | None = None  # in the lake, where this export read those that were due
        self._proofs = (found or Proofs()).until(now)

    @property
    def known(self) -> Proofs:
        """What is proved of the queue. Where there is no file the reports are read, once. Raises LakeError."""
        if not self._is_there:
            self._write(replace(self._reported.of(self._queue_id, now=self._now), runs=self._proofs.runs))
        return self._proofs

    def why_full(self) -> str | None:
        """Tell why an export of new rows will not do: the others were exported with other columns. Raises LakeError."""
        return self.known.why_full(columns=self._columns)

    def full_over(self, endpoint: str) -> FullExport | None:
        """Return the last complete full export, where it was over that endpoint."""
        full = self.known.full
        return full if full and full.endpoint == endpoint else None

    @property
    def runs_read_at(self) -> datetime | None:
        """When all runs were last asked for, on the terms of this export."""
        return self._proofs.runs_read(self._terms, archived=self._archived)

    def runs_are_due(self, *, every_s: float) -> bool:
        """Tell whether every run is to be asked for. Raises LakeError.

        What was read on other terms stops being a proof right then: this export changes some of it, however it ends.
        """
        runs = self._proofs.runs
        if runs and runs.terms != self._terms:
            self._write(replace(self._proofs, runs=None))
        read_at = self.runs_read_at
        return every_s == 0 or read_at is None or self._now - read_at > timedelta(seconds=every_s)

    def feedback_read(self, rows: int) -> tuple[datetime | None, datetime | None]:
        """Return when all feedback was last read, and from when on new one is to be looked for; None: not proved.

        `rows` are those of feedback that the lake has.
        """
        proofs, terms, version = self._proofs, self._proofs.feedback_terms, FEEDBACK.version
        covers = terms is not None and terms.cover(
            archived=self._archived, schema_version=version, rows=rows, columns=self._columns
        )
        self._covered = covers and self.is_unfiltered
        return (proofs.feedback_read_at, proofs.feedback_since) if self._covered else (None, None)

    def note_feedback(self, *, whole: bool, rows: int) -> None:
        """Note that the feedback that was due was read, or that of all rows that were met; the lake then has `rows`."""
        terms = TableTerms(archived=self._archived, schema_version=FEEDBACK.version, rows=rows, columns=self._columns)
        self._feedback = _FeedbackRead(whole, terms)

    @property
    def feedback_refused(self) -> bool:
        """Whether the service refused feedback to the last export that asked for it."""
        return self._proofs.feedback_refused

    def forget_feedback(self, *, refused: bool = False) -> None:
        """Note, before rows are published, that their feedback was not read: the next export reads all. LakeError."""
        if self._proofs.feedback_read_at or self._proofs.feedback_refused != refused:
            self._write(self.known.without_feedback(refused=refused))

    @property
    def feedback_cut(self) -> bool:
        """Whether the service is known to cut answers about feedback short."""
        return self._proofs.feedback_cut

    def note_feedback_cut(self) -> None:
        """Note that it does, for good: an export that notices nothing shows nothing. Raises LakeError."""
        if not self.feedback_cut:
            self._write(replace(self.known, feedback_cut=True))

    def turns_are_read(self, *, rows: int) -> bool:
        """Tell whether the lake, which has so many `rows` of turns, has those of every THREAD item that it has."""
        turns, version = self._proofs.turns, TURNS.version
        return turns is not None and turns.cover(
            archived=self._archived, schema_version=version, rows=rows, columns=self._columns
        )

    def note_turns(self, *, rows: int) -> None:
        """Note that the turns that were due were read; the lake then has so many rows of them."""
        self._turns = rows

    def forget_turns(self) -> None:
        """Note, before rows are published, that turns were not read: the next export reads all. Raises LakeError."""
        if self._proofs.turns:
            self._write(replace(self._proofs, turns=None))

    def usage_with(self, usage: Usage, report: QueueReport) -> Usage:
        """Return what the tokens and costs of all rows include, given what those do that were asked for."""
        runs = self._proofs.runs
        self._usage = usage if report.runs_asked else None
        return "own" if report.runs_kept and runs and runs.usage == "own" else usage

    def settle(self, report: QueueReport, *, now: datetime, log: Log) -> None:
        """Write what this export proves, as the last step of the queue; what can't be written is not proved.

        A complete full export over items that kept no row has asked for every run, and so has one without archived
        rows, of the others: the report then says so.
        """
        entry: dict[str, Any] = msgspec.to_builtins(report)
        past = PastExport({"export_id": self._workspace.export_id}, entry, self._now)
        proofs = self._proofs.after(past, now=now)
        if proofs.full and proofs.full is not self._proofs.full:
            proofs = replace(proofs, full=replace(proofs.full, columns=self._columns))
        over_items = report.endpoint == "items"
        if over_items and report.complete and report.mode == "full" and not report.runs_kept:
            usage = self._usage or "subtree"
            runs = RunsRead(started_at=self._now, terms=self._terms, archived=self._archived, usage=usage)
            proofs = replace(proofs, runs=runs)
        elif proofs.runs and over_items and self._usage == "own":
            proofs = replace(proofs, runs=replace(proofs.runs, usage="own"))
        elif proofs.runs and over_items and self._usage != proofs.runs.usage and self._usage:
            proofs = replace(proofs, runs=None)  # the service reports descendants by now: for all rows, next time
        if self._feedback:
            whole = self._feedback.whole and report.complete and report.mode == "full" and self.is_unfiltered
            if whole or self._covered:
                proofs = proofs.with_feedback(self._now, whole=whole, terms=self._feedback.terms)
            proofs = replace(proofs, feedback_refused=False)
        proofs = replace(proofs, turns=self._turns_after(proofs.turns, report))
        try:
            if proofs != self._proofs:
                self._write(proofs)
        except LakeError as error:
            log.warning("proofs_not_written", queue_id=self._queue_id, why=str(error))
        report.runs_refreshed_at = self.runs_read_at if over_items else None

    def _turns_after(self, turns: TurnsRead | None, report: QueueReport) -> TurnsRead | None:
        if self._turns is None:
            return turns
        if report.complete and report.mode == "full":
            return TurnsRead(
                started_at=self._now,
                archived=self._archived,
                schema_version=TURNS.version,
                rows=self._turns,
                columns=self._columns,
            )
        return turns and replace(turns, rows=self._turns)

    def _write(self, proofs: Proofs) -> None:
        self._lake.write_proofs(self._queue_id, proofs, self._workspace)
        self._proofs, self._is_there = proofs, True


def _terms_of(settings: Source, columns: str) -> Terms:
    """Return the terms on which an export with these settings asks for runs."""
    return Terms(
        include_stats=settings.include_stats,
        subtree_usage=settings.subtree_usage,
        schema_version=RUNS.version,
        columns=columns,
    )
