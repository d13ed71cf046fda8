"""What goes wrong on the way: which request meets which fault, the same ones for the same seed.

Owns the choice, the status answers and the rate limit. The faults of the wire itself (resets, short bodies)
are carried out by server.py.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Literal, get_args

from annolake.sandbox.answers import Answer, json_answer

Fault = Literal[
    "ok",
    "429",  # with the Retry-After that the options choose
    "429_seconds",
    "429_date",
    "429_none",
    "408",
    "425",
    "500",
    "501",
    "502",
    "503",
    "504",
    "507",
    "520",
    "529",
    "reset",  # the connection is reset in the middle of the body
    "drop",  # the connection is closed before the first byte of the answer
    "short",  # the body ends, cleanly, before its Content-Length
    "truncated",  # half of the JSON, with a Content-Length that fits it
    "html",  # a proxy's page, with status 200
    "wrong_shape",  # JSON of another shape, with status 200: an object for a list, a list for an object
    "redirect",  # to the same path on another host
    "repeat",  # the first page, whatever offset or cursor was asked for
]
FAULTS: tuple[Fault, ...] = get_args(Fault)

RetryAfter = Literal["seconds", "date", "none"]

_USUAL: tuple[Fault, ...] = (
    *("429_seconds", "429_date", "429_none", "408", "425", "500", "502", "503", "504"),
    *("reset", "drop", "short", "truncated", "html", "wrong_shape"),
)
_PAGE = b"<!doctype html><html><head><title>Just a moment</title></head><body>One moment, please.</body></html>"


@dataclass(frozen=True)
class Faults:
    """What goes wrong.

    `script` is the fault of the first, second, ... request; after it, a share of `rate` of the requests meets
    one of `kinds`, by seed and number of the request. Only the `endpoints` named are subject to either, all
    when empty. `rate_limit` requests are allowed in any `rate_window_s`, and `query_rate_limit` queries of runs in
    any `query_window_s`. `latency_s` is the time to and from the service together. A plain "429" and the limits'
    tell `retry_after_s` in the form `retry_after`.
    """

    latency_s: float = 0.0
    script: Sequence[Fault] = ()
    rate: float = 0.0
    kinds: tuple[Fault, ...] = _USUAL
    endpoints: tuple[str, ...] = ()
    rate_limit: int = 0
    rate_window_s: float = 1.0
    query_rate_limit: int = 0
    query_window_s: float = 10.0
    retry_after: RetryAfter = "seconds"
    retry_after_s: int = 1
    redirect_to: str | None = None

    def __post_init__(self) -> None:
        for fault in (*self.script, *self.kinds):
            if fault not in FAULTS:
                raise ValueError(f"unknown fault {fault!r}, choose from {', '.join(FAULTS)}")


@dataclass
class _Limit:
    """So many requests in any window; 0: no limit."""

    most: int
    window_s: float
    accepted: deque[float] = field(default_factory=deque)

    def is_reached(self, now: float) -> bool:
        while self.accepted and now - self.accepted[0] >= self.window_s:
            self.accepted.popleft()
        return 0 < self.most <= len(self.accepted)


class Weather:
    """Tells each request of one sandbox what it meets; safe to call from any thread."""

    def __init__(
        self, faults: Faults, seed: int, *, monotonic: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._faults = faults
        self._seed = seed
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._asked = 0
        self._limits = [_Limit(faults.rate_limit, faults.rate_window_s)]
        self._query_limits = [*self._limits, _Limit(faults.query_rate_limit, faults.query_window_s)]

    def over_the_limit(self, *, query: bool) -> bool:
        """Count a request against the rate limits and tell whether it is one too many."""
        with self._lock:
            now = self._monotonic()
            limits = self._query_limits if query else self._limits
            if any(limit.is_reached(now) for limit in limits):
                return True
            for limit in limits:
                limit.accepted.append(now)
            return False

    def next_fault(self, endpoint: str) -> Fault:
        """Return what the next request to `endpoint` meets."""
        faults = self._faults
        if faults.endpoints and endpoint not in faults.endpoints:
            return "ok"
        with self._lock:
            index = self._asked
            self._asked += 1
        if index < len(faults.script):
            return faults.script[index]
        rng = random.Random(f"{self._seed}:fault:{index}")
        return rng.choice(faults.kinds) if rng.random() < faults.rate else "ok"

    def too_many(self, form: RetryAfter | None = None) -> Answer:
        """Return a 429 with the Retry-After of that form, the configured one by default."""
        headers = {}
        seconds = self._faults.retry_after_s
        match form or self._faults.retry_after:
            case "seconds":
                headers["Retry-After"] = str(seconds)
            case "date":
                at = self._now() + timedelta(seconds=seconds)
                headers["Retry-After"] = format_datetime(at, usegmt=True)
        body = json_answer({"detail": "Rate limit exceeded"}).body
        return Answer(429, body, headers=headers)

    def spoil(self, fault: Fault, answer: Answer, *, location: str) -> Answer:
        """Return what becomes of `answer` under a fault that the wire has no part in."""
        match fault:
            case "429":
                answer = self.too_many()
            case "429_seconds":
                answer = self.too_many("seconds")
            case "429_date":
                answer = self.too_many("date")
            case "429_none":
                answer = self.too_many("none")
            case "html":
                answer = Answer(200, _PAGE, content_type="text/html; charset=utf-8")
            case "wrong_shape":
                answer = Answer(200, b"[]" if answer.body.startswith(b"{") else b'{"message":"timed out"}')
            case "truncated":
                answer = Answer(200, answer.body[: max(1, len(answer.body) // 2)])
            case "redirect":
                answer = Answer(307, b"", headers={"Location": location})
            case _ if fault.isdigit():
                answer = json_answer({"detail": "The service is busy"}, status=int(fault))
        return answer
