"""What the reports say of each queue: the last attempt to export it, and the last good export.

Owns how the reports of all exports are read in one pass, the newest first, and what became of one that has no end
(docs/lake.md#attempts). Knows no file but reports; whether an export still runs is for the caller to tell.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from annolake.load.records import PastExport, Reports, time_from

State = Literal["running", "finished", "unfinished"]

RECENT = timedelta(days=1)
"""How long before the newest report that names queues an older one still adds to what is known of."""


class Attempt(msgspec.Struct, frozen=True):
    """An export, as its report tells it; `entry` is that of the queue concerned, None where it has none of any.

    `state` is the queue's own: "finished" as soon as its export has ended, however that of the others does.
    """

    report: Mapping[str, Any]
    entry: Mapping[str, Any] | None
    state: State
    started_at: datetime

    @property
    def status(self) -> object:
        """What the entry says: "ok", "partial", "failed", "skipped"; "running" where it has not ended."""
        return (self.entry or {}).get("status")

    @property
    def concerns_all(self) -> bool:
        """Whether it ended, or may end, before any queue was known: then it is an attempt to export each."""
        return not _entries(self.report) and (self.state != "finished" or bool(self.report.get("error")))

    @property
    def ended_as_a_whole(self) -> bool:
        """Whether what ended the queue's export is what ended that of all."""
        error = self.report.get("error")
        return error is not None and (self.entry or {}).get("error") == error

    @property
    def finished_at(self) -> datetime | None:
        """When the queue's export ended, None where that is not known."""
        return time_from((self.entry or {}).get("finished_at")) or time_from(self.report.get("finished_at"))

    @property
    def is_good(self) -> bool:
        """Whether all that the mode promises was met and published."""
        return self.entry is not None and PastExport(self.report, self.entry, self.started_at).is_good

    @property
    def is_full(self) -> bool:
        """Whether all rows were read, to the end."""
        return self.status in ("ok", "partial") and (self.entry or {}).get("mode") == "full"

    @property
    def time(self) -> datetime:
        """When it ended, or else began: what its age is counted from."""
        return self.finished_at or self.started_at

    def outlasted(self, later: "Attempt") -> bool:
        """Whether it had not ended when a later one began; one that did not finish may have gone on until then."""
        return self.state != "finished" or self.time >= later.started_at


class History(msgspec.Struct):
    """The attempts to export one queue that matter: the one that runs, the last of the others, the last good one.

    `full` is the last that read all rows. An attempt that was skipped, because another had the queue's lock, is the
    last only if that other one runs still, or ended well.
    """

    running: Attempt | None = None
    last: Attempt | None = None
    good: Attempt | None = None
    full: Attempt | None = None
    _tried: Attempt | None = None  # the last that was not skipped

    def see(self, attempt: Attempt) -> None:
        """Take an attempt that began before those seen so far."""
        if attempt.state == "running":
            self.running = self.running or attempt
        else:
            self.last = self.last or attempt
        if self._tried is None and attempt.status != "skipped":
            self._tried = attempt
            if self.last and self.last.status == "skipped" and self._hides(attempt, self.last):
                self.last = attempt
        self.good = self.good or (attempt if attempt.is_good else None)
        self.full = self.full or (attempt if attempt.is_full else None)

    def _hides(self, holder: Attempt, skipped: Attempt) -> bool:
        """Whether a skipped attempt would hide how the one ended that had the lock, where that was not well."""
        return holder.state != "running" and not holder.is_good and holder.outlasted(skipped)

    @property
    def is_settled(self) -> bool:
        """Whether no older report can add to it."""
        return all(each is not None for each in (self._tried, self.last, self.good, self.full))


class Attempts(msgspec.Struct):
    """What the reports say: `newest` of all, `listed` the queues that the newest export of all queues was of."""

    newest: Attempt | None = None
    listed: frozenset[str] | None = None
    histories: dict[str, History] = msgspec.field(default_factory=dict)


def read_attempts(
    reports: Reports, queue_ids: Collection[str], *, now: datetime, is_running: Callable[[str], bool]
) -> Attempts:
    """Return what the reports of exports that began before `now` say of some queues, and of those named recently.

    `is_running` tells of an export's id whether its process lives.
    """
    free: set[str] = set()
    while True:
        unfinished, found = set[str](), Attempts(histories={queue_id: History() for queue_id in queue_ids})
        _read(reports, found, _States(unfinished, free, is_running), now)
        if unfinished <= free:
            return found
        # their locks were free after they were read: read again, they have ended in good order or never will
        free |= unfinished


def _read(reports: Reports, found: Attempts, states: "_States", now: datetime) -> None:
    unnamed: list[Attempt] = []  # attempts that ended, or may end, before they name a queue: they concern each
    recent: datetime | None = None
    for report in reports.read():
        started, entries = time_from(report.get("started_at")), _entries(report)
        if started is None or started > now:
            continue
        whole = Attempt(report, None, states.of(report), started)
        found.newest = found.newest or whole
        if entries and recent is None:
            recent = started - RECENT
        if found.listed is None and report.get("all_queues") is True and not whole.concerns_all:
            found.listed = frozenset(entries)
        if recent is not None and started >= recent:
            for queue_id in entries.keys() - found.histories.keys():
                found.histories[queue_id] = _history(unnamed)
        if whole.concerns_all:
            unnamed.append(whole)
        for queue_id, history in found.histories.items():
            if queue_id in entries:
                history.see(_of_queue(whole, entries[queue_id]))
            elif whole.concerns_all:
                history.see(whole)
        if recent is not None and started < recent and all(each.is_settled for each in found.histories.values()):
            break


class _States(msgspec.Struct, frozen=True):
    """What became of exports: `unfinished` takes the ids of those whose lock is free and whose report has no end."""

    unfinished: set[str]
    free: set[str]
    is_running: Callable[[str], bool]

    def of(self, report: Mapping[str, Any]) -> State:
        """Return the state of an export."""
        if report.get("state") != "running":
            return "finished"
        export_id = str(report.get("export_id"))
        if export_id not in self.free and self.is_running(export_id):
            return "running"
        self.unfinished.add(export_id)
        return "unfinished"


def _history(unnamed: Iterable[Attempt]) -> History:
    history = History()
    for attempt in unnamed:
        history.see(attempt)
    return history


def _of_queue(whole: Attempt, entry: Mapping[str, Any]) -> Attempt:
    state = whole.state if entry.get("status") == "running" else "finished"
    return Attempt(whole.report, entry, state, whole.started_at)


def _entries(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    queues = report.get("queues")
    entries = [entry for entry in queues if isinstance(entry, dict)] if isinstance(queues, list) else []
    return {entry["queue_id"]: entry for entry in entries if isinstance(entry.get("queue_id"), str)}
