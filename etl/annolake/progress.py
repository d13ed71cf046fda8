"""The progress of an export as events, for programs that import annolake.

Owns that they arrive one after the other, in the thread that called `export`: lanes and queues only note them.
"""

from collections.abc import Callable
from threading import Lock
from typing import Literal

import msgspec

from annolake.report import QueueReport

Phase = Literal["started", "reading", "ended"]


class ProgressEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What is new of a queue. `rows` were read so far; the lake had `expected` before, None of a new queue.

    `phase`: "started", then "reading" now and again, then "ended", once; then `report` says how. A queue starts again
    where its worker is replaced or its endpoint was retired. `name` is the queue's, None where it is not known.
    """

    queue_id: str
    name: str | None
    phase: Phase
    rows: int
    expected: int | None
    report: QueueReport | None = None


class ProgressRelay:
    """Notes progress from any thread, and hands it to `receive` when told to deliver; of readings the latest."""

    def __init__(self, receive: Callable[[ProgressEvent], object]) -> None:
        self._receive = receive
        self._lock = Lock()
        self._latest: dict[str, ProgressEvent] = {}
        self._waiting: dict[tuple[str, Phase], ProgressEvent] = {}

    def started(self, queue_id: str, name: str | None, expected: int | None) -> None:
        """Note that the reading of a queue begins."""
        self._note(ProgressEvent(queue_id=queue_id, name=name, phase="started", rows=0, expected=expected))

    def read(self, queue_id: str, rows: int) -> None:
        """Note how many rows of a queue were read so far."""
        latest = self._latest[queue_id]
        self._note(msgspec.structs.replace(latest, phase="reading", rows=rows))

    def finished(self, queue: QueueReport) -> None:
        """Note how a queue ended."""
        latest = self._latest.get(queue.queue_id)
        expected, name = (latest.expected if latest else None), queue.name or (latest.name if latest else None)
        self._note(
            ProgressEvent(
                queue_id=queue.queue_id, name=name, phase="ended", rows=queue.rows_seen, expected=expected, report=queue
            )
        )

    def _note(self, event: ProgressEvent) -> None:
        with self._lock:
            self._latest[event.queue_id] = event
            self._waiting[event.queue_id, event.phase] = event

    def deliver(self) -> None:
        """Hand on what was noted since the last time, in the order in which it was."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for event in waiting.values():
            self._receive(event)
