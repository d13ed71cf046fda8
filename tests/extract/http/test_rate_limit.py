"""The pace against simulated services, in virtual time: real lanes, real locks, no second really waited."""

import heapq
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import pytest

from annolake.clock import Clock
from annolake.extract.http.rate_limit import Cancelled, RateLimit, RateLimits, pause


class Time:
    """Virtual time for several threads: sleepers are woken one at a time, in the order of their time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock(monotonic=lambda: self.now, sleep=self.sleep)
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._count = 0

    def sleep(self, seconds: float) -> None:
        """Let the others run until it is this one's time."""
        woken = self._sleeper(seconds)
        self._wake_next()
        woken.wait()

    def run(self, *lanes: Callable[[], None]) -> None:
        """Run all lanes, each in a thread of its own and only one at a time, to their end."""
        threads = [threading.Thread(target=self._lane, args=(self._sleeper(0), lane)) for lane in lanes]
        for thread in threads:
            thread.start()
        self._wake_next()
        for thread in threads:
            thread.join()

    def _lane(self, started: threading.Event, lane: Callable[[], None]) -> None:
        started.wait()
        try:
            lane()
        finally:
            self._wake_next()

    def _sleeper(self, seconds: float) -> threading.Event:
        woken = threading.Event()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, woken))
        return woken

    def _wake_next(self) -> None:
        if self._sleepers:
            self.now, _, woken = heapq.heappop(self._sleepers)
            woken.set()


class Limit(Protocol):
    """A service's limit: None for a request that gets through, else the seconds until one would."""

    def ask(self, now: float) -> float | None:
        """Answer a request that arrives at `now`."""


@dataclass
class Bucket:
    """Tokens that come at `rate` a second, up to `burst` of them."""

    rate: float
    burst: float
    tokens: float = math.inf
    then: float = 0.0

    def ask(self, now: float) -> float | None:
        """Take a token."""
        self.tokens = min(self.burst, self.tokens + (now - self.then) * self.rate)
        self.then = now
        if self.tokens < 1 - 1e-9:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return None


@dataclass
class SlidingWindow:
    """At most `most` requests in any `window_s`."""

    most: int
    window_s: float
    passed: deque[float] = field(default_factory=deque)

    def ask(self, now: float) -> float | None:
        """Look back over the window."""
        while self.passed and self.passed[0] <= now - self.window_s:
            self.passed.popleft()
        if len(self.passed) == self.most:
            return self.passed[0] + self.window_s - now
        self.passed.append(now)
        return None


@dataclass
class FixedWindow:
    """At most `most` requests in each `window_s` of the service's own time."""

    most: int
    window_s: float
    window: float = -1.0
    passed: int = 0

    def ask(self, now: float) -> float | None:
        """Count the requests of the window that `now` is in."""
        window, into_s = divmod(now + 0.4 * self.window_s, self.window_s)
        if window != self.window:
            self.window, self.passed = window, 0
        if self.passed == self.most:
            return self.window_s - into_s
        self.passed += 1
        return None


@dataclass
class Until:
    """A limit that goes away at a time."""

    limit: Limit
    gone_at: float

    def ask(self, now: float) -> float | None:
        """Ask the limit as long as there is one."""
        return None if now >= self.gone_at else self.limit.ask(now)


@dataclass
class Moody:
    """No limit at all: 429s at random."""

    share: float
    dice: random.Random

    def ask(self, now: float) -> float | None:  # noqa: ARG002 - the moods depend on nothing
        """Throw the dice."""
        return 0.001 if self.dice.random() < self.share else None


@dataclass
class Answers:
    """When each answer came, and whether it was a good one."""

    good: list[float] = field(default_factory=list)
    throttled: list[float] = field(default_factory=list)

    def share_throttled(self, since: float) -> float:
        """Return the share of 429s among the answers from `since` on."""
        bad = sum(at >= since for at in self.throttled)
        return bad / (bad + sum(at >= since for at in self.good))

    def rate(self, since: float, until: float) -> float:
        """Return the good answers a second."""
        return sum(since <= at < until for at in self.good) / (until - since)


def simulate(
    limit: Limit, seconds: float, *, lanes: int, round_trip_s: float, retry_after: bool, seed: int = 0
) -> Answers:
    """Have `lanes` ask a service without pause for so many seconds of virtual time."""
    virtual, dice, answers = Time(), random.Random(seed), Answers()
    rate_limit = RateLimit(0, virtual.clock)

    def lane() -> None:
        refusals = 0
        while virtual.now < seconds:
            sent = rate_limit.acquire()
            way_s = round_trip_s * dice.uniform(0.3, 1)
            virtual.sleep(way_s / 2)
            wait_s = limit.ask(virtual.now)
            virtual.sleep(way_s / 2)
            if wait_s is None:
                answers.good.append(virtual.now)
                rate_limit.succeeded(sent)
                refusals = 0
                continue
            answers.throttled.append(virtual.now)
            hint_s = float(math.ceil(wait_s)) if retry_after else None
            rate_limit.throttled(sent, hint_s)
            virtual.sleep(hint_s or dice.uniform(0, min(60, 2**refusals)))
            refusals += 1

    virtual.run(*[lane] * lanes)
    return answers


LIMITS: dict[str, Callable[[], Limit]] = {
    "bucket": lambda: Bucket(10, 10),
    "deep bucket": lambda: Bucket(10, 50),
    "sliding window": lambda: SlidingWindow(10, 1),
    "fixed window": lambda: FixedWindow(10, 1),
}


@pytest.mark.parametrize("retry_after", [False, True], ids=["bare", "Retry-After"])
@pytest.mark.parametrize(("lanes", "round_trip_s"), [(8, 0.0), (16, 0.05), (8, 0.1), (16, 0.1)])
@pytest.mark.parametrize("limit", LIMITS)
def test_the_allowed_rate_is_used_and_hardly_overstepped(
    limit: str, lanes: int, round_trip_s: float, retry_after: bool
) -> None:
    """Of ten requests allowed a second at least 85% are made, and after 3 s at most 3% are answered 429."""
    answers = simulate(LIMITS[limit](), 60, lanes=lanes, round_trip_s=round_trip_s, retry_after=retry_after)

    assert answers.share_throttled(since=3) <= 0.03
    assert answers.rate(3, 60) >= 8.5


@pytest.mark.parametrize("limit", [lambda: Bucket(1, 1), lambda: FixedWindow(1, 1)], ids=["bucket", "window"])
def test_a_far_stricter_limit_is_kept_too(limit: Callable[[], Limit]) -> None:
    """One request allowed a second: most are made, and after the first minute few are answered 429."""
    answers = simulate(limit(), 240, lanes=8, round_trip_s=0.05, retry_after=False)

    assert answers.share_throttled(since=60) <= 0.05
    assert answers.rate(60, 240) >= 0.7


@pytest.mark.parametrize("retry_after", [False, True], ids=["bare", "Retry-After"])
@pytest.mark.parametrize("limit", [SlidingWindow, FixedWindow])
def test_a_long_window_is_learnt(limit: Callable[[int, float], Limit], retry_after: bool) -> None:
    """A hundred requests allowed in ten seconds are paced as ten a second, after the first burst."""
    answers = simulate(limit(100, 10), 120, lanes=16, round_trip_s=0.05, retry_after=retry_after)

    assert answers.share_throttled(since=15) <= 0.04
    assert answers.rate(15, 120) >= 8.5


@pytest.mark.parametrize("seed", range(4))
def test_a_limit_that_goes_away_is_forgotten(seed: int) -> None:
    """Seventeen seconds after a limit is lifted at least 80% of what the lanes can do is done again."""
    limit = Until(SlidingWindow(10, 1), gone_at=30)
    answers = simulate(limit, 50, lanes=16, round_trip_s=0.1, retry_after=False, seed=seed)

    assert answers.rate(20, 30) < 11
    assert answers.rate(47, 50) >= 0.8 * 16 / (0.1 * 0.65)


def test_429s_that_have_nothing_to_do_with_the_pace_do_not_stop_the_lanes() -> None:
    """A service that answers every twentieth request 429, at any pace, still gets five requests a second."""
    answers = simulate(Moody(0.05, random.Random(5)), 120, lanes=8, round_trip_s=0.02, retry_after=False)

    assert answers.rate(0, 120) >= 5


def test_the_own_limit_is_never_exceeded() -> None:
    """Under max_requests_per_second = 5, eight lanes together send every 0.2 s and no sooner."""
    virtual = Time()
    rate_limit, sent = RateLimit(5, virtual.clock), list[float]()

    def lane() -> None:
        for _ in range(10):
            sent.append(rate_limit.acquire())
            rate_limit.succeeded(sent[-1])

    virtual.run(*[lane] * 8)

    assert min(later - earlier for earlier, later in pairwise(sent)) == pytest.approx(0.2)
    assert max(sent) == pytest.approx(79 * 0.2)


def test_no_window_has_more_than_its_most() -> None:
    """15 queries in any 10 s: as many at once as there may be, and then none before there is room."""
    virtual = Time()
    rate_limit, sent = RateLimit(0, virtual.clock, most=15, window_s=10.0), list[float]()

    def lane() -> None:
        for _ in range(10):
            sent.append(rate_limit.acquire())
            rate_limit.succeeded(sent[-1])

    virtual.run(*[lane] * 4)

    assert [sent.count(each) for each in sorted(set(sent))] == [15, 15, 10]
    assert min(later - earlier for earlier, later in zip(sent, sent[15:], strict=False)) == pytest.approx(10.0)


def test_a_throttled_query_slows_no_listing() -> None:
    """Each kind of request has a limit of its own; the export's own limit holds for both together."""
    virtual = Time()
    limits = RateLimits(virtual.clock, requests_per_second=10)
    limits.of("query").throttled(limits.acquire("query"), 9.0)
    listings = [limits.acquire("listing") for _ in range(3)]
    query = limits.acquire("query")

    assert listings == [pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.3)]
    assert query == pytest.approx(9.0)


def test_retry_after_holds_every_lane() -> None:
    """One lane's Retry-After of 7 s, and a longer one of a request under way, let no lane send meanwhile."""
    virtual = Time()
    rate_limit, sent = RateLimit(0, virtual.clock), list[float]()
    before = [rate_limit.acquire(), rate_limit.acquire()]
    virtual.now = 1.0
    rate_limit.throttled(before[0], 7.0)
    rate_limit.throttled(before[1], 9.0)

    virtual.run(*[lambda: sent.append(rate_limit.acquire())] * 8)

    assert min(sent) == pytest.approx(10.0)


def test_lanes_that_wait_for_their_turn_hear_of_a_retry_after() -> None:
    """A turn that was given before the lanes were held is void."""
    virtual = Time()
    rate_limit, sent = RateLimit(1, virtual.clock), list[float]()
    first = rate_limit.acquire()

    def told() -> None:
        virtual.sleep(0.5)
        rate_limit.throttled(first, 20.0)

    virtual.run(lambda: sent.append(rate_limit.acquire()), told)

    assert sent == [pytest.approx(20.5)]


def test_an_idle_time_proves_nothing() -> None:
    """Lanes that resume after a minute without requests keep the rate that was learnt before."""
    virtual, limit, throttled = Time(), SlidingWindow(10, 1), list[float]()
    rate_limit = RateLimit(0, virtual.clock)

    def send(count: int) -> None:
        for _ in range(count):
            sent = rate_limit.acquire()
            if limit.ask(virtual.now) is None:
                rate_limit.succeeded(sent)
            else:
                throttled.append(sent)
                rate_limit.throttled(sent)

    def lane() -> None:
        send(100)
        throttled.clear()
        virtual.sleep(60)
        send(30)

    virtual.run(lane)

    assert throttled == []


@pytest.mark.parametrize("set_after_s", [0.0, 3.0])
def test_a_called_off_wait_ends_within_a_tenth_of_a_second(set_after_s: float) -> None:
    """A lane that is held for a minute leaves as soon as its queue is cancelled."""
    virtual, stop, left = Time(), threading.Event(), list[float]()
    rate_limit = RateLimit(0, virtual.clock)
    rate_limit.throttled(rate_limit.acquire(), 60.0)

    def lane() -> None:
        with pytest.raises(Cancelled):
            rate_limit.acquire(stop)
        left.append(virtual.now)

    def cancel() -> None:
        virtual.sleep(set_after_s)
        stop.set()

    virtual.run(cancel, lane)

    assert left[0] <= set_after_s + 0.1


def test_a_cancelled_queue_sends_nothing() -> None:
    """A turn that is free at once is not given to a queue that is already cancelled."""
    stop = threading.Event()
    stop.set()

    with pytest.raises(Cancelled):
        RateLimit(0, Clock()).acquire(stop)


def test_a_pause_lasts_as_long_as_asked() -> None:
    """A wait is cut into ticks, and they add up."""
    virtual = Time()

    virtual.run(lambda: pause(virtual.clock, 2.25))

    assert virtual.now == pytest.approx(2.25)


def test_an_unthrottled_pace_costs_next_to_nothing() -> None:
    """Without any limit nobody waits, and a turn with its feedback takes microseconds."""
    naps: list[float] = []
    rate_limit = RateLimit(0, Clock(sleep=naps.append))

    def thousand() -> float:
        begin = time.perf_counter()
        for _ in range(1000):
            rate_limit.succeeded(rate_limit.acquire())
        return time.perf_counter() - begin

    assert min(thousand() for _ in range(5)) < 0.03
    assert naps == []
