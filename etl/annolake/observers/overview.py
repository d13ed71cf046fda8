"""The progress of an export as a whole, for whoever shows it: which queues are at work, and the sums over all.

Owns the sums and the estimate of the time that is left.
"""

from collections import Counter
from collections.abc import Callable
from threading import Lock

import msgspec

from annolake.observers.events import LiveQueue, Phase, ProgressEvent, ended
from annolake.report import QueueReport

# What share of a queue's export a phase is taken to be, and what is behind it when it begins. A first export reads all
# feedback, which takes as long as the rows or longer; later ones little.
_SHARES: dict[Phase, tuple[float, float]] = {
    "reading": (0.0, 0.5),
    "feedback": (0.5, 0.4),
    "merging": (0.9, 0.09),
    "publishing": (0.99, 0.0),
}
_LEAST_DONE = 0.02


class Totals(msgspec.Struct, frozen=True):
    """How far an export is. `queues` are to be exported; `at_work` run, in the order in which they began.

    `outcomes` counts the ended ones by their status. `rows` were read, of `rows_total`; None while it is not known of
    each queue. `seconds` have gone by; about `seconds_left` are to come, None where no estimate is possible.
    """

    queues: int
    ended: int
    outcomes: Counter[str]
    at_work: list[ProgressEvent]
    rows: int
    rows_total: int | None
    rows_per_s: float
    requests: int
    throttled: int
    seconds: float
    seconds_left: float | None


class Overview:
    """Keeps what it is told of the queues of one export."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic, self._begun = monotonic, monotonic()
        self._lock = Lock()
        self._planned = 0
        self._live: dict[str, LiveQueue] = {}
        self._ended: dict[str, ProgressEvent] = {}

    def planned(self, queues: int) -> None:
        """Note how many queues are to be exported."""
        self._planned = queues

    def entered(self, queue: LiveQueue) -> None:
        """Note that a phase of a queue began; one that begins again, on another worker, keeps its place."""
        with self._lock:
            if queue.queue_id not in self._ended:
                self._live[queue.queue_id] = queue

    def finished(self, queue: QueueReport) -> None:
        """Note how a queue ended."""
        with self._lock:
            live = self._live.pop(queue.queue_id, None)
            self._ended[queue.queue_id] = ended(queue, live.now() if live else None)

    def now(self) -> Totals:
        """Return how far the export is."""
        with self._lock:
            over, live = [*self._ended.values()], [*self._live.values()]
        at_work = [queue.now() for queue in live]
        both = [*over, *at_work]
        queues, seconds = max(self._planned, len(both)), self._monotonic() - self._begun
        totals = [*(event.rows for event in over), *(event.total for event in at_work)]
        known = [rows for rows in totals if rows is not None]
        return Totals(
            queues=queues,
            ended=len(over),
            outcomes=Counter(event.report.status for event in over if event.report),
            at_work=at_work,
            rows=sum(event.rows for event in both),
            rows_total=sum(known) if len(known) == queues else None,
            rows_per_s=round(sum(event.rows_per_s for event in at_work), 1),
            requests=sum(event.requests for event in both),
            throttled=sum(event.throttled for event in both),
            seconds=round(seconds, 1),
            seconds_left=_seconds_left(queues, len(over), at_work, seconds),
        )


def _seconds_left(queues: int, ended: int, at_work: list[ProgressEvent], seconds: float) -> float | None:
    """Estimate: of one queue what its phase takes, of several by the share of them that is done."""
    if queues == 1:
        return at_work[0].seconds_left if at_work else None
    done = (ended + sum(map(_done, at_work))) / max(1, queues)
    return round(seconds * (1 - done) / done, 1) if done >= _LEAST_DONE else None


def _done(event: ProgressEvent) -> float:
    """Return about how much of a queue is done, 0 to 1."""
    behind, share = _SHARES.get(event.phase, (0.0, 0.0))
    return behind + share * (event.percent or 0.0) / 100
