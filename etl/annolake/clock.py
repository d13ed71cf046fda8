"""Time as an argument: nothing in annolake asks the system for it directly, so no test sleeps to wait."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one place that may


@dataclass(frozen=True)
class Clock:
    """Wall time (aware, UTC), a monotonic second counter, and a way to wait that many seconds."""

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep  # noqa: TID251 - the one place that may
