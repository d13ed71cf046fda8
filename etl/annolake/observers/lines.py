"""The progress of an export where nothing can be drawn: a line of the log now and again.

Owns when a line is due and which figures it has (docs/operating.md#progress).
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Self

from annolake.observers.overview import Overview, Totals
from annolake.observers.protocols import Log

EVERY_S = 30.0


class ProgressLines:
    """Logs the figures of an export every 30 seconds."""

    def __init__(self, log: Log, monotonic: Callable[[], float]) -> None:
        self._log, self._monotonic = log, monotonic
        self._overview = Overview(monotonic)
        self.planned, self.entered, self.finished = (
            self._overview.planned,
            self._overview.entered,
            self._overview.finished,
        )
        self._due = monotonic() + EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Do nothing: there is nothing to close."""

    def deliver(self) -> None:
        """Log a line where that is due."""
        now = self._monotonic()
        if now >= self._due:
            self._due = now + EVERY_S
            self._log.info("progress", **facts_of(self._overview.now()))


def facts_of(totals: Totals) -> dict[str, Any]:
    """Return the figures by name; what is not known is left out."""
    facts: dict[str, Any] = {"queues_ended": totals.ended, "queues": totals.queues}
    facts |= {f"queues_{phase}": queues for phase, queues in Counter(each.phase for each in totals.at_work).items()}
    if totals.queues == 1 and totals.at_work:
        (queue,) = totals.at_work
        facts = {"queue_id": queue.queue_id, "name": queue.name, "phase": queue.phase}
        facts |= {"steps": queue.steps, "steps_total": queue.steps_total} if queue.phase != "reading" else {}
        facts["percent"] = None if queue.percent is None else round(queue.percent, 1)
    facts |= {"rows": totals.rows, "rows_total": totals.rows_total, "rows_per_s": totals.rows_per_s}
    facts |= {"requests": totals.requests, "throttled": totals.throttled, "seconds": totals.seconds}
    facts["seconds_left"] = totals.seconds_left
    return {name: fact for name, fact in facts.items() if fact is not None}
