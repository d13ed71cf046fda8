"""The figures of an export for Prometheus: a text file, which its node exporter reads (docs/operating.md#metrics).

Owns names and meaning of the metrics. Every figure is one of the report, or of the reports that the lake keeps.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from annolake.clock import Clock
from annolake.errors import LakeError
from annolake.load.attempts import read_attempts
from annolake.load.lake import Lake
from annolake.observers.events import LiveQueue
from annolake.observers.protocols import Log, Progress
from annolake.report import TABLES, QueueReport, Report

EVERY_S = 30.0

_RESULTS = ("inserted", "updated", "unchanged", "removed")

# What there is, in the order in which it is written: each with its help.
HELP = {
    "annolake_export_running": "Whether the export has not ended: 1 or 0.",
    "annolake_export_exit_code": "The exit code, once the export has ended.",
    "annolake_export_started_timestamp_seconds": "When the export began.",
    "annolake_export_finished_timestamp_seconds": "When the export ended.",
    "annolake_export_seconds": "How long the export has taken, up to now where it runs.",
    "annolake_queue_exit_code": "The exit code of the queue's part of the export.",
    "annolake_queue_complete": "Whether all that the mode promises was met: 1 or 0.",
    "annolake_queue_last_success_timestamp_seconds": "When the last good export (complete, published) ended.",
    "annolake_queue_newest_added_at_timestamp_seconds": "The newest added_at of the rows that were read.",
    "annolake_queue_seconds": "How long the queue's part took.",
    "annolake_queue_rows_read": "Rows that were read.",
    "annolake_queue_rows": "Rows by table and by what became of them.",
    "annolake_queue_rejects": "Rejects by table, those that the export met and those of them that are new.",
    "annolake_queue_rejects_known": "Rejects of the queue that the lake has, of all tables.",
    "annolake_queue_payloads_missing": "Rows whose run the service did not return.",
    "annolake_queue_requests": "Requests by kind.",
    "annolake_queue_throttled": "Answers 429 by kind of request.",
}

Sample = tuple[str, Mapping[str, str], float]


class Metrics:
    """The metrics file of one export: written anew every 30 seconds, and when the export has ended.

    Passes on to `progress` what it is told of the progress.
    """

    def __init__(
        self, file: Path | None, report: Report, lake: Lake, *, clock: Clock, log: Log, progress: Progress
    ) -> None:
        self._file, self._report, self._lake, self._clock, self._log = file, report, lake, clock, log
        self._due = clock.monotonic() + EVERY_S
        self._live: dict[str, LiveQueue] = {}
        self.planned, self.finished, self._progress = progress.planned, progress.finished, progress

    def entered(self, queue: LiveQueue) -> None:
        """Note where the figures of a queue are."""
        self._live[queue.queue_id] = queue
        self._progress.entered(queue)

    def deliver(self) -> None:
        """Pass on what was noted, and write the file where that is due."""
        self._progress.deliver()
        if self._file and self._clock.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write the file, which readers see as it was or as it is; what prevents that is a warning."""
        if self._file is None:
            return
        self._due = self._clock.monotonic() + EVERY_S
        reading = {queue_id: queue.now().rows for queue_id, queue in self._live.copy().items()}
        text = as_prometheus(self._report, self._successes(), reading, export=self._file.stem, now=self._clock.now())
        place = Path(os.path.realpath(self._file))  # a link stays one: who reads the file that it names reads this one
        beside = place.with_name(f".{place.name}.{os.getpid()}.tmp")
        try:
            _require_regular(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text, encoding="utf-8")
            beside.replace(place)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            advice = "check metrics.textfile"
            self._log.warning("metrics_not_written", file=str(self._file), error=error.strerror, advice=advice)

    def _successes(self) -> dict[str, datetime]:
        """Return when the last good export of each queue ended, as `annolake status` has it."""
        ids = [queue.queue_id for queue in self._report.queues]
        try:
            found = read_attempts(self._lake.reports, ids, now=self._clock.now(), is_running=self._lake.is_running)
        except LakeError:  # of which the export speaks
            return {}
        return {each: history.good.time for each, history in found.histories.items() if history.good}


def _require_regular(place: Path) -> None:
    """Raise OSError where a name is a device's, a pipe's or a folder's, which others on the machine need."""
    if os.path.lexists(place) and not place.is_file():
        raise OSError(errno.EINVAL, "not a regular file")


def as_prometheus(
    report: Report, successes: Mapping[str, datetime], reading: Mapping[str, int], *, export: str, now: datetime
) -> str:
    """Return a report in Prometheus' text format.

    `successes` are the ends of the queues' last good exports, `reading` the rows read so far. Each sample has the label
    `export`, by which one collector tells the files of several configurations apart.
    """
    samples = list(_of_export(report, now))
    for queue in report.queues:
        labels = {"queue_id": queue.queue_id, "name": queue.name or ""}
        if success := successes.get(queue.queue_id):
            samples.append(("annolake_queue_last_success_timestamp_seconds", labels, success.timestamp()))
        if queue.status == "running":
            samples.append(("annolake_queue_rows_read", labels, reading.get(queue.queue_id, 0)))
        else:
            samples += [(name, {**labels, **more}, value) for name, more, value in _of_queue(queue)]
    named = [(name, {"export": export, **labels}, value) for name, labels, value in samples]
    return "".join(_metric(name, [sample for sample in named if sample[0] == name]) for name in HELP)


def _metric(name: str, samples: Iterable[Sample]) -> str:
    lines = [f"{name}{_labels(labels)} {value!r}\n" for _, labels, value in samples]
    return "".join([f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n", *lines]) if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{told}}}" if told else ""


def _escaped(text: str) -> str:
    """Return a text as it stands between the quotes of a label; what UTF-8 cannot hold is replaced."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text.encode("utf-8", "replace").decode()


def _of_export(report: Report, now: datetime) -> Iterator[Sample]:
    ended = report.finished_at
    yield "annolake_export_running", {}, int(report.state == "running")
    yield "annolake_export_started_timestamp_seconds", {}, report.started_at.timestamp()
    yield "annolake_export_seconds", {}, ((ended or now) - report.started_at).total_seconds()
    if ended:
        yield "annolake_export_exit_code", {}, report.exit_code
        yield "annolake_export_finished_timestamp_seconds", {}, ended.timestamp()


def _of_queue(queue: QueueReport) -> Iterator[Sample]:
    yield "annolake_queue_exit_code", {}, queue.exit_code
    yield "annolake_queue_complete", {}, int(queue.complete)
    yield "annolake_queue_seconds", {}, queue.seconds
    yield "annolake_queue_rows_read", {}, queue.rows_seen
    yield "annolake_queue_rejects_known", {}, queue.rejects_known
    yield "annolake_queue_payloads_missing", {}, queue.payloads_missing
    if queue.newest_added_at:
        yield "annolake_queue_newest_added_at_timestamp_seconds", {}, queue.newest_added_at.timestamp()
    for table, counts in {"runs": queue, **{name: getattr(queue, name) for name in TABLES}}.items():
        for result in _RESULTS:
            yield "annolake_queue_rows", {"table": table, "result": result}, getattr(counts, result)
        yield "annolake_queue_rejects", {"table": table, "state": "met"}, counts.rejected
        yield "annolake_queue_rejects", {"table": table, "state": "new"}, counts.rejected_new
    yield "annolake_queue_rows", {"table": "runs", "result": "erased"}, queue.erased
    for kind, requests in (("listing", queue.requests - queue.queries), ("query", queue.queries)):
        yield "annolake_queue_requests", {"kind": kind}, requests
        throttled = queue.throttled.get(kind)
        yield "annolake_queue_throttled", {"kind": kind}, throttled.answers if throttled else 0
