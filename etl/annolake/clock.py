"""Time as an argument: nothing in annolake asks the system for it directly, so no test sleeps to wait."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec


def _utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one place that may


def _since_boot() -> float:
    """Count on while the machine sleeps, where the system tells (Linux)."""
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(msgspec.Struct, frozen=True):
    """Wall time (aware, UTC), two monotonic second counters, and a way to wait that many seconds.

    `since_boot` counts a machine's sleep too: for what others may do meanwhile.
    """

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep  # noqa: TID251 - the one place that may
    since_boot: Callable[[], float] = _since_boot
