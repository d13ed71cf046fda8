"""How fast the service is asked: the rate limits for all lanes and all queues of an export.

Owns the moment at which a request may be sent, and what 429s teach about the rate that the service allows; how it
learns: docs/service.md#rate-limits. Knows neither HTTP nor requests. Time is an argument.
"""

import math
from collections import deque
from collections.abc import Mapping
from threading import Event, Lock
from typing import Literal

from annolake.clock import Clock

Kind = Literal["listing", "query"]

TICK_S = 0.1  # a wait looks this often whether it is still wanted

# What follows was found by simulation: three kinds of limit, 1 to 100 requests a second, windows of 1 and 10
# seconds, 8 and 16 lanes, round trips of 2 to 100 ms with and without jitter, with and without Retry-After.
_BELOW = 0.98  # held this far below what just passed
_LOWER_MOST, _LOWER_LEAST = 0.85, 0.94  # how much lower when a steady stretch was throttled all the same
_STEADY_S, _STEADY_REQUESTS, _STEADY_HOLDS, _STEADY_MAX_S = 8.0, 90, 18, 60.0
_FLOOR = 0.5  # requests a second
_RECENT = 11  # requests over which the rate just before a 429 is measured
_FAR = 3.0  # a rate this many times the average of its stretch was a burst, not a pace
_ENOUGH = 3  # requests that make a stretch worth learning from
_PROVEN = 60  # requests in a row that prove a pace
_IN_VAIN, _AGAIN = 12, 36  # after so many 429s without that proof the pace is kept, and lowered again
_UNLIMITED = 3.0  # raised to e^3 times the last known rate, there is no limit any more
_GAP_S, _GAP_GROWTH, _GAP_MAX_S = 0.1, 1.5, 5.0


class Cancelled(Exception):  # noqa: N818 - not an error: the answer is not needed any more
    """The wait was called off by its `stop` event."""


def pause(clock: Clock, seconds: float, stop: Event | None = None) -> None:
    """Wait `seconds`. Raises Cancelled within a tenth of a second once `stop` is set."""
    while True:
        if stop is not None and stop.is_set():
            raise Cancelled
        if seconds <= 0:
            return
        tick = min(seconds, TICK_S)
        clock.sleep(tick)
        seconds -= tick


class RateLimit:
    """When each request may be sent. Safe to share between threads; costs microseconds without a limit."""

    def __init__(
        self, max_requests_per_second: float, clock: Clock, *, most: int = 0, window_s: float = math.inf
    ) -> None:
        """Neither `max_requests_per_second` is ever exceeded, nor `most` in any `window_s`; 0 sets no such limit."""
        self._clock = clock
        self._sent: deque[float] = deque(maxlen=most or 1)
        self._window_s = window_s if most else 0.0
        self._lock = Lock()
        self._most = max_requests_per_second or math.inf
        self._allowed = AllowedRate(clock.monotonic())
        self._next = -math.inf  # the first free turn
        self._plan = 0  # turns given under an older plan are void
        self._throttled_at = -math.inf
        self._held_until = -math.inf
        self._refusals = 0  # since the last request that passed
        self._guessed = False  # how long the lanes are held: the service did not say

    def acquire(self, stop: Event | None = None) -> float:
        """Wait for one's turn and return its time, which `throttled` or `succeeded` wants back.

        Raises Cancelled within a tenth of a second once `stop` is set.
        """
        turn, plan = self._take_turn()
        room = 0.0
        while True:
            now = self._clock.monotonic()
            if plan != self._plan:
                turn, plan = self._take_turn()
            elif turn <= now and (room := self._room_s(now)) <= 0:
                pause(self._clock, 0, stop)
                return now
            else:
                pause(self._clock, min(max(turn - now, room), TICK_S), stop)

    def _room_s(self, now: float) -> float:
        """Return the seconds until the window has room for another request; where it has, this one takes it."""
        with self._lock:
            full = len(self._sent) == self._sent.maxlen
            wait_s = self._sent[0] + self._window_s - now if full else 0.0
            if wait_s <= 0:
                self._sent.append(now)
            return wait_s

    def throttled(self, sent: float, retry_after_s: float | None = None) -> None:
        """Note that the request of turn `sent` was answered 429: all lanes wait, `retry_after_s` if given."""
        with self._lock:
            now = self._clock.monotonic()
            if sent > self._throttled_at:
                self._throttled_at = now
                if not self._refusals:
                    self._allowed.stretch_ended(now)
                self._refusals += 1
                self._guessed = not retry_after_s
                self._hold(now + (retry_after_s or self._gap()))
            elif retry_after_s and now + retry_after_s > self._held_until:
                # Sent before the lanes were held, so this is the same event; but it asks for a longer wait.
                self._hold(now + retry_after_s)

    def succeeded(self, sent: float) -> None:
        """Note that the request of turn `sent` got an answer other than 429, errors included."""
        with self._lock:
            if self._refusals and sent > self._throttled_at:
                self._refusals = 0
                self._allowed.learn(sent, guessed=self._guessed)
                self._replan(max(self._clock.monotonic(), sent + self._interval()))
            self._allowed.passed(sent)

    def _take_turn(self) -> tuple[float, int]:
        with self._lock:
            turn = max(self._clock.monotonic(), self._next)
            self._next = turn + self._interval()
            return turn, self._plan

    def _hold(self, until: float) -> None:
        self._held_until = until
        self._replan(until)

    def _replan(self, first_turn: float) -> None:
        self._next = first_turn
        self._plan += 1

    def _interval(self) -> float:
        return max(1 / self._most, self._gap() if self._refusals else 1 / self._allowed.rate())

    def _gap(self) -> float:
        """Seconds between two requests that try whether the service answers again."""
        first = max(_GAP_S * self._allowed.slowness, 1 / self._allowed.last_rate)
        return min(first * _GAP_GROWTH ** min(self._refusals - 1, 20), _GAP_MAX_S)


class RateLimits:
    """The limits of one export: its own for all requests together, and what is learned for each kind of request.

    The service limits queries of runs by themselves, and far lower: their 429s slow nothing else.
    """

    def __init__(self, clock: Clock, *, requests_per_second: float = 0, queries_per_10_s: int = 0) -> None:
        self._own = RateLimit(requests_per_second, clock)
        self._by_kind: Mapping[Kind, RateLimit] = {
            "listing": RateLimit(0, clock),
            "query": RateLimit(0, clock, most=queries_per_10_s, window_s=10.0),
        }

    def acquire(self, kind: Kind, stop: Event | None = None) -> float:
        """Do as `RateLimit.acquire` does, for the kind's limit and the export's own."""
        self._own.acquire(stop)
        return self._by_kind[kind].acquire(stop)

    def of(self, kind: Kind) -> RateLimit:
        """Return the limit that is learned for a kind."""
        return self._by_kind[kind]


class AllowedRate:
    """What is known of the rate, in requests a second, that the service allows. Not safe to share."""

    def __init__(self, now: float) -> None:
        self.last_rate = math.inf  # at the end of the last stretch
        self.slowness = 1.0  # of raising the rate: 1 for a limit per second, more for longer windows
        self._rate = math.inf  # of the stretch, while it is steady
        self._steady_s = 0.0
        self._began = now
        self._ended = now
        self._passed = 0
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._flowed_s = 0.0  # of the stretch; idle time proves nothing
        self._flowed_at = now
        self._in_a_row = 0
        self._vain = 0
        self._first_rate = math.inf  # when the 429s in vain began

    def rate(self) -> float:
        """Return the rate to keep now: infinite while no limit is known."""
        return self._rate * math.exp(self._growth())

    def passed(self, sent: float) -> None:
        """Count a request that was not throttled."""
        self._passed += 1
        self._in_a_row += 1
        self._recent.append(sent)
        self._flowed_s += min(max(sent - self._flowed_at, 0.0), 2 / self._rate)
        self._flowed_at = max(sent, self._flowed_at)
        if self._growth() > _UNLIMITED:
            self._rate = math.inf

    def stretch_ended(self, now: float) -> None:
        """Take the measure of a stretch of requests at its first 429."""
        self._ended = now
        self.last_rate = self.rate()
        if len(self._recent) == _RECENT:
            span_s = max(self._recent[-1] - self._recent[0], 0.001)
            self.last_rate = min(self.last_rate, (_RECENT - 1) / span_s)

    def learn(self, sent: float, *, guessed: bool) -> None:
        """Set the rate by the stretch before the 429s; the request sent at `sent` begins the next one.

        `guessed`: the wait between them was as short as could be, not what the service had asked for.
        """
        self._recent.clear()
        self._vain = 0 if self._in_a_row >= _PROVEN else (self._vain + 1) % _AGAIN
        self._in_a_row = 0
        if self._passed < _ENOUGH:
            return
        self._set_rate(hold_s=sent - self._ended, guessed=guessed)
        if self._vain <= 1:
            self._first_rate = self._rate
        elif self._vain > _IN_VAIN:
            self._rate = self._first_rate
        self._passed = 0
        self._flowed_s = 0.0
        self._began = self._flowed_at = sent

    def _growth(self) -> float:
        beyond = max(0.0, self._flowed_s - self._steady_s) / self.slowness
        return 0.06 * beyond + 0.04 * beyond**2

    def _set_rate(self, *, hold_s: float, guessed: bool) -> None:
        flow_s = max(self._ended - self._began, 0.001)
        average = self._passed / (flow_s + hold_s)
        was_pace = self.last_rate < _FAR * average
        # A bucket lets a burst through before it throttles, a window does not: the truth lies between the two.
        rate = _BELOW * (self.last_rate ** (2 / 3) * (self._passed / flow_s) ** (1 / 3) if was_pace else average)
        if self._flowed_s <= self._steady_s:
            kept = self._passed / (flow_s + hold_s * guessed) / self._rate
            rate = min(rate, self._rate * min(max(kept, _LOWER_MOST), _LOWER_LEAST))
        self._rate = max(rate, _FLOOR)
        self.slowness = min(max(1.0, 8 / self._rate, hold_s), 8.0)
        steady_s = max(_STEADY_S, _STEADY_REQUESTS / self._rate, _STEADY_HOLDS * hold_s)
        self._steady_s = min(steady_s, _STEADY_MAX_S) if was_pace else 0.0
