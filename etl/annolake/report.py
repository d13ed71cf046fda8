"""What an export did: its report (docs/lake.md#reports) and the exit code that follows from it.

Owns the report's fields and their meaning. Never does any of what it reports.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from annolake.printable import json_line, printable

Endpoint = Literal["runs", "items"]
Mode = Literal["full", "new"]
Status = Literal["ok", "partial", "failed", "skipped"]
Usage = Literal["subtree", "own"]

PARTIAL = 3

# From the most to the least urgent for whoever is called (docs/guarantees.md#exit-codes).
_URGENCY = (130, 143, 1, 5, 4, 6, 2, PARTIAL, 0)


class QueueReport(msgspec.Struct, kw_only=True):
    """What became of one queue. Counts are of rows, sizes in bytes, times RFC 3339 in UTC.

    `rows_not_shown` is by how much the reported sizes exceed the rows met, `size_excess` the same with its sign (None:
    not reported), for the next export to compare with. `removed_unconfirmed` counts rows that were not met and whose
    removal is in doubt.
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
    payloads_missing: int = 0
    payloads_missing_new: int = 0
    partitions_written: int = 0
    bytes_written: int = 0
    requests: int = 0
    retries: int = 0
    bytes_read: int = 0
    repairs: int = 0
    newest_added_at: datetime | None = None
    seconds: float = 0.0
    filtered: bool = False
    removals_held_back: bool = False
    orders: dict[str, object] = {}
    exit_code: int = 0

    def fail(self, error: Exception, *, exit_code: int) -> None:
        """Record what stopped the queue."""
        self.status = "failed"
        self.error = str(error)
        self.complete = False
        self.exit_code = exit_code

    def conclude(self) -> None:
        """Settle status and exit code of a queue that was read to its end."""
        if not self.complete or self.rejected_new or self.payloads_missing_new or self.removals_held_back:
            self.status = "partial"
            self.exit_code = PARTIAL


class Report(msgspec.Struct, kw_only=True):
    """What one export did, with a part for each queue in the order they were asked for."""

    report_version: int = 1
    export_id: str
    started_at: datetime
    finished_at: datetime | None = None
    exit_code: int = 0
    queues: list[QueueReport] = []

    def as_json(self) -> bytes:
        """Return the report as one line of JSON."""
        return json_line(self).encode()


def worst(exit_codes: Iterable[int]) -> int:
    """Return the most urgent of some exit codes, 0 for none."""
    return min(exit_codes, key=_URGENCY.index, default=0)


def export_id(started_at: datetime, suffix: str) -> str:
    """Return the name of an export: its start, so that names sort by time, and what tells two apart."""
    return f"{started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{suffix}"


def in_words(queue: QueueReport) -> str:
    """Return what became of a queue in words: a line, and one more for each shortcoming."""
    title = printable(f"{queue.name or 'queue'} ({queue.queue_id})")
    if queue.status in {"failed", "skipped"}:
        return f"{title}: {queue.status}: {printable(str(queue.error))}"
    counts = [
        f"{getattr(queue, field):,} {field}"
        for field in ("inserted", "updated", "removed", "unchanged", "rejected")
        if getattr(queue, field) or field in {"inserted", "unchanged"}
    ]
    line = (
        f"{title}: {queue.rows_seen:,} rows in {queue.seconds:.1f} s, {', '.join(counts)}; "
        f"partitions written: {queue.partitions_written}"
    )
    return "\n  ".join([line, *_not_shown(queue), *_shortcomings(queue)])


def _not_shown(queue: QueueReport) -> list[str]:
    told = f"the service counts {queue.rows_not_shown:,} more rows than it shows: expired runs, for example"
    return [told] if queue.rows_not_shown else []


def _shortcomings(queue: QueueReport) -> list[str]:
    lines = [] if queue.complete else ["could not be verified complete: " + "; ".join(queue.incomplete_because)]
    if queue.removed_unconfirmed:
        lines.append(
            f"{queue.removed_unconfirmed:,} rows were not met and are not marked removed: {queue.unconfirmed_because}; "
            "the next export looks again, and `annolake run --accept-removals` marks them"
        )
    if queue.rejected_new:
        lines.append(f"{queue.rejected_new} new rejects: see _annolake/rejected/queue_id={queue.queue_id}")
    if queue.payloads_missing_new:
        lines.append(f"{queue.payloads_missing_new} rows whose run the service did not return: see run_found")
    return [printable(line) for line in lines]
