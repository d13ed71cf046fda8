"""The loop of an export: hands out queues, some at once, and takes what became of each.

Owns the sequence, and that queues end in good order when a signal comes or the loop itself is cut short. Where a queue
is exported is the crew's to know: in threads of this process (`pipeline`), or on workers (`workers`).
"""

import signal
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Protocol

from annolake.errors import InterruptedExport
from annolake.interruption import HEED_S, Interruption
from annolake.report import QueueReport


class Crew(Protocol):
    """What exports the queues that it is given, `at_once` at a time."""

    @property
    def at_once(self) -> int:
        """How many are handed to it at once."""

    def submit(self, queue_id: str) -> Future[QueueReport]:
        """Begin the export of a queue."""

    def outcome(self, export: Future[QueueReport], queue_id: str) -> QueueReport:
        """Return what became of it."""

    def stop(self, signal_number: int) -> None:
        """Tell those that run to end; those that see the interruption themselves need not be told."""

    def gives_up(self, queue_id: str) -> bool:
        """Tell whether a queue that was told to end is not waited for any longer: one that has not begun, perhaps."""


class QueueLoop:
    """Exports queues by a crew; `ended` takes the report of each with its place, `turn` is called now and again.

    It is told whether there is more to come.
    """

    def __init__(
        self,
        crew: Crew,
        interruption: Interruption,
        *,
        ended: Callable[[int, QueueReport], None],
        turn: Callable[[bool], None],
    ) -> None:
        self._crew, self._interruption = crew, interruption
        self._ended, self._turn = ended, turn
        self._waiting: deque[tuple[int, str]] = deque()
        self._running: dict[Future[QueueReport], tuple[int, str]] = {}
        self._is_told = False

    def run(self, queue_ids: Sequence[str]) -> None:
        """Export the queues; where this raises, those that had begun have ended in good order."""
        self._waiting.extend(enumerate(queue_ids))
        try:
            while self._waiting or self._running:
                self._heed()
                self._hand_out()
                self._wait()
                self._turn(bool(self._waiting or self._running))
        except BaseException:
            self._interruption.interrupt(self._interruption.signal_number or signal.SIGINT)
            self._heed()
            while self._running:
                self._wait()
            raise

    def _heed(self) -> None:
        """Give up the queues that have not begun, and tell the others, once a signal has come."""
        number = self._interruption.signal_number
        if number is None or self._is_told:
            return
        self._is_told = True
        self._crew.stop(number)
        while self._waiting:
            place, queue_id = self._waiting.popleft()
            self._ended(place, _interrupted(queue_id, number))

    def _hand_out(self) -> None:
        while self._waiting and len(self._running) < self._crew.at_once:
            place, queue_id = self._waiting.popleft()
            self._running[self._begun(queue_id)] = place, queue_id

    def _begun(self, queue_id: str) -> Future[QueueReport]:
        try:
            return self._crew.submit(queue_id)
        except Exception as error:  # noqa: BLE001 - a crew that takes no more fails the queue, not the export
            failed: Future[QueueReport] = Future()
            failed.set_exception(error)
            return failed

    def _wait(self) -> None:
        """Wait for a queue to end, and take what has ended."""
        # a signal that comes just before a wait begins is heeded when it ends
        wait(self._running, timeout=HEED_S, return_when=FIRST_COMPLETED)
        if self._is_told:
            for export, (_, queue_id) in self._running.items():
                if not export.done() and self._crew.gives_up(queue_id):
                    export.cancel()
        self._take()

    def _take(self) -> None:
        for export in [each for each in self._running if each.done()]:
            place, queue_id = self._running.pop(export)
            self._ended(place, self._outcome(export, queue_id))

    def _outcome(self, export: Future[QueueReport], queue_id: str) -> QueueReport:
        number = self._interruption.signal_number
        if not (self._is_told and number is not None and export.cancelled()):
            return self._crew.outcome(export, queue_id)
        return _interrupted(queue_id, number)


def _interrupted(queue_id: str, number: int) -> QueueReport:
    """Return the report of a queue that had not begun when the signal came, or was given up behind it."""
    report = QueueReport(queue_id=queue_id)
    report.fail(InterruptedExport(number))
    return report
