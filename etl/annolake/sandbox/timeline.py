"""The sandbox's own time and what happened in it.

Owns the lock under which a page is read and a change is made. It knows no row.
"""

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from annolake.sandbox.rows import microseconds

Happening = Literal["add", "delete", "finish", "review", "requeue", "unarchive", "move", "edit"]


class Timeline:
    """The service's own time: `requests` answered so far, and a clock that only changes advance."""

    def __init__(self, until: datetime) -> None:
        self.lock = threading.RLock()
        self.requests = 0
        self._now = microseconds(until)

    @property
    def now(self) -> int:
        """Microseconds since 1970; the same for every reader until something changes."""
        return self._now

    def tick(self) -> int:
        """Advance by a second and a bit, and return the new time."""
        self._now += 1_000_007
        return self._now


@dataclass(frozen=True)
class Event:
    """Something that happened to the row `id`: seen from request number `request` on."""

    request: int
    id: str
    kind: Happening
