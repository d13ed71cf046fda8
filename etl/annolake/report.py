"""What an export did: its report (docs/lake.md#reports) and the exit code that follows from it.

Owns the report's fields and their meaning. Never does any of what it reports.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import msgspec

from annolake.errors import outcome
from annolake.printable import counted, json_line, printable

Endpoint = Literal["runs", "items"]
Mode = Literal["full", "new"]
Status = Literal["running", "ok", "partial", "failed", "skipped"]
TableStatus = Literal["unread", "ok", "partial", "refused", "off"]
State = Literal["running", "finished"]
Usage = Literal["subtree", "own"]

PARTIAL = 3

TABLES = {"feedback": "source.feedback", "turns": "source.threads"}
"""The tables of a queue beside `runs`, each with the setting that leaves it out."""

_ACCEPTING = "`annolake run --accept-removals` marks them"

_CHANGES = ("inserted", "updated", "removed", "unchanged", "rejected")

# From the most to the least urgent for whoever is called (docs/guarantees.md#exit-codes).
_URGENCY = (130, 143, 1, 5, 4, 6, 2, PARTIAL, 0)


class Throttled(msgspec.Struct):
    """How requests of one kind were limited: the 429s received, and the seconds that they waited for it, in all."""

    answers: int = 0
    seconds: float = 0.0


class TableReport(msgspec.Struct, kw_only=True):
    """What became of another table of a queue: `feedback`, `turns`. Counts are of its rows, `rows` of those read.

    `status`: "unread" while it was not come to, "off" where the settings leave the table out, "refused" where the
    service does, "partial" where something could not be read; `because` has the reasons. `complete`: all that was to be
    read was. The other counts are as those of the queue.
    """

    status: TableStatus = "unread"
    complete: bool = False
    because: list[str] = []
    rows: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    removed_unconfirmed: int = 0
    removals_held_back: bool = False
    rejected: int = 0
    rejected_new: int = 0

    @property
    def is_short(self) -> bool:
        """Whether something of the table is missing that the export was to bring: exit code 3."""
        return self.status == "partial" or bool(self.rejected_new)


class QueueReport(msgspec.Struct, kw_only=True):
    """What became of one queue. Counts are of rows, sizes in bytes, times RFC 3339 in UTC.

    `rejected` counts the rejects that this export met, `rejects_known` all that the lake has of the queue.
    `rows_not_shown` is by how much the reported sizes exceed the rows met, `size_excess` the same with its sign (None:
    not reported), for the next export to compare with. `removed_unconfirmed` counts rows that were not met and whose
    removal is in doubt. `erased` counts the rows that were met and left out, since they were erased. Over items,
    `runs_kept` counts the rows whose run was not asked for, and `runs_refreshed_at` is the start of the last export
    that asked for all.
    """

    queue_id: str
    name: str | None = None
    endpoint: Endpoint = "runs"
    usage: Usage = "subtree"
    mode: Mode = "full"
    mode_reason: str | None = None
    status: Status = "ok"
    error: str | None = None
    complete: bool = False
    incomplete_because: list[str] = []
    rows_seen: int = 0
    rows_not_shown: int = 0
    size_excess: int | None = None
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    removed_unconfirmed: int = 0
    unconfirmed_because: str | None = None
    rejected: int = 0
    rejected_new: int = 0
    rejects_known: int = 0
    erased: int = 0
    runs_asked: int = 0
    runs_kept: int = 0
    runs_refreshed_at: datetime | None = None
    payloads_missing: int = 0
    payloads_missing_new: int = 0
    partitions_written: int = 0
    bytes_written: int = 0
    requests: int = 0
    queries: int = 0
    retries: int = 0
    throttled: dict[str, Throttled] = {}
    bytes_read: int = 0
    repairs: int = 0
    newest_added_at: datetime | None = None
    seconds: float = 0.0
    finished_at: datetime | None = None
    filtered: bool = False
    removals_held_back: bool = False
    orders: dict[str, object] = {}
    feedback: TableReport = msgspec.field(default_factory=TableReport)
    turns: TableReport = msgspec.field(default_factory=TableReport)
    exit_code: int = 0

    def fail(self, error: BaseException) -> None:
        """Record what stopped the queue. The rejects that it met are not known by that, and new for the next export."""
        self.status, self.rejected_new = "failed", 0
        self.feedback.rejected_new = self.turns.rejected_new = 0
        self.error, self.exit_code = outcome(error)
        self.complete = False

    def conclude(self) -> None:
        """Settle status and exit code of a queue that was read to its end."""
        missing = not self.complete or self.rejected_new or self.payloads_missing_new or self.removals_held_back
        if missing or self.feedback.is_short or self.turns.is_short:
            self.status = "partial"
            self.exit_code = PARTIAL


class Report(msgspec.Struct, kw_only=True):
    """What one export did, with a part for each queue in the order they were asked for.

    `error` is what ended the export as a whole. While it runs, a queue that has not ended has the status "running".
    `all_queues`: every queue that the key can see was to be exported.
    """

    report_version: int = 1
    export_id: str
    started_at: datetime
    finished_at: datetime | None = None
    state: State = "running"
    exit_code: int = 0
    error: str | None = None
    all_queues: bool = False
    queues: list[QueueReport] = []

    def expect(self, queue_ids: Iterable[str], mode: Mode) -> None:
        """Note which queues are to be exported."""
        self.queues = [QueueReport(queue_id=queue_id, status="running", mode=mode) for queue_id in queue_ids]

    def finish(self, now: datetime, error: BaseException | None = None) -> None:
        """End the report; `error` is what ended the export, and with it each queue that had not ended."""
        self.state, self.finished_at = "finished", self.finished_at or now
        codes = [queue.exit_code for queue in self.queues]
        if error is not None:
            self.error, code = outcome(error)
            codes.append(code)
            for queue in self.queues:
                if queue.status == "running":
                    queue.fail(error)
                    queue.finished_at = now
        self.exit_code = worst(codes)

    def as_record(self) -> dict[str, Any]:
        """Return the report as JSON values; one that is not finished has no exit code."""
        record: dict[str, Any] = msgspec.to_builtins(self)
        return record if self.state == "finished" else record | {"exit_code": None}

    def as_json(self) -> str:
        """Return the report as one line of JSON."""
        return json_line(self.as_record())


def new_report(now: datetime) -> Report:
    """Return the report of an export that begins now. Export ids sort by time; a random end tells two apart."""
    return Report(export_id=f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}", started_at=now)


def worst(exit_codes: Iterable[int]) -> int:
    """Return the most urgent of some exit codes, 0 for none; another signal's comes first."""
    return min(exit_codes, key=lambda code: _URGENCY.index(code) if code in _URGENCY else -1, default=0)


def in_words(queue: QueueReport) -> str:
    """Return what became of a queue in words: a line, and one more for each shortcoming."""
    title = printable(f"{queue.name or 'queue'} ({queue.queue_id})")
    if queue.status in {"failed", "skipped"}:
        return f"{title}: {queue.status}: {printable(str(queue.error))}"
    counts = [
        f"{getattr(queue, name):,} {name}"
        for name in _CHANGES
        if getattr(queue, name) or name in {"inserted", "unchanged"}
    ]
    line = (
        f"{title}: {queue.rows_seen:,} rows in {queue.seconds:.1f} s, {', '.join(counts)}; "
        f"partitions written: {queue.partitions_written}"
    )
    if queue.erased:
        line += f"; met and left out, since they were erased: {counted(queue.erased, 'row')}"
    return "\n  ".join([line, *_of_tables(queue), *_not_shown(queue), *refusals(queue), *shortcomings(queue)])


def _of_tables(queue: QueueReport) -> Iterable[str]:
    """Yield what was read of the other tables; nothing where nothing was due."""
    for table, told in _tables(queue):
        counts = [f"{getattr(told, name):,} {name}" for name in _CHANGES if getattr(told, name)]
        if told.rows or counts:
            yield ", ".join([f"{table}: {counted(told.rows, 'row')} read", *counts])


def _not_shown(queue: QueueReport) -> list[str]:
    more = counted(queue.rows_not_shown, "row")
    told = f"the service counts {more} more than it shows: expired runs, for example"
    return [told] if queue.rows_not_shown else []


def shortcomings(queue: QueueReport) -> list[str]:
    """Return why the export of a queue was partial, a sentence for each reason, with what to do next."""
    because = "; ".join(queue.incomplete_because)
    lines = [] if queue.complete else [f"could not be verified complete: {because}; run it again"]
    if queue.removed_unconfirmed:
        rows = counted(queue.removed_unconfirmed, "row")
        lines.append(
            f"not met and not marked removed: {rows}: {queue.unconfirmed_because}; "
            f"the next export looks again, and {_ACCEPTING}"
        )
    if queue.rejected_new:
        lines.append(f"{counted(queue.rejected_new, 'new reject')}: `annolake rejects` lists them")
    if queue.payloads_missing_new:
        rows = counted(queue.payloads_missing_new, "row")
        lines.append(f"{rows} whose run the service did not return: see run_found")
    lines += [line for table, told in _tables(queue) for line in _shortcomings_of(table, told)]
    return [printable(line) for line in lines]


def _shortcomings_of(table: str, told: TableReport) -> Iterable[str]:
    """Yield why a table beside `runs` was read in part."""
    if told.status == "partial" and told.because:
        yield f"{table} could not be read whole: {'; '.join(told.because)}; run it again"
    if told.removed_unconfirmed:
        rows = counted(told.removed_unconfirmed, "row")
        many = ", too many at once" if told.removals_held_back else ""
        yield f"{table} not met and not marked removed: {rows}{many}; the next export looks again, and {_ACCEPTING}"
    if told.rejected_new:
        yield f"{table}: {counted(told.rejected_new, 'new reject')}: `annolake rejects` lists them"


def refusals(queue: QueueReport) -> list[str]:
    """Return which tables the service refuses, a sentence for each, with what to do next."""
    lines = [
        f"{table}: the service refuses it: {'; '.join(told.because)}; what the lake has of it stays; "
        f"give the key access to it, or leave it out with {TABLES[table]} = false"
        for table, told in _tables(queue)
        if told.status == "refused"
    ]
    return [printable(line) for line in lines]


def _tables(queue: QueueReport) -> list[tuple[str, TableReport]]:
    return [(table, getattr(queue, table)) for table in TABLES]


def known_rejects(report: Report) -> str | None:
    """Return how many rejects are known in the queues of an export, in a sentence; None where there are none."""
    concerned = [queue for queue in report.queues if queue.rejects_known]
    if not concerned:
        return None
    known = sum(queue.rejects_known for queue in concerned)
    new = sum(told.rejected_new for queue in concerned for told in (queue, queue.feedback, queue.turns))
    are, where = "is" if known == 1 else "are", counted(len(concerned), "queue")
    return f"{counted(known, 'reject')} {are} known in {where}, {new:,} of them new: `annolake rejects` lists them"
