"""One attempt to have a request answered: sent in its turn, redirected within the service, decoded or refused.

Owns authentication's borders (no header leaves the origin of `base_url`) and what each status means. Neither a header
nor a body ever stands in a message, a log or an exception.
"""

import re
from collections.abc import Callable
from contextlib import closing
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from threading import Event, Lock
from typing import TypeVar

import httpx
import msgspec
from msgspec.structs import replace

from annolake.clock import Clock
from annolake.errors import RefusedError, ServiceError
from annolake.extract.http.connections import Connections
from annolake.extract.http.exchange import Answer, Bounds, Exchange, Fault, OversizeError, UntrustedError
from annolake.extract.http.named_numbers import numbers_in
from annolake.extract.http.rate_limit import Kind, RateLimits
from annolake.extract.http.refusals import OVERSIZE, REDIRECTED, REFUSALS, REFUSED, UNTRUSTED, Refusal, refusal
from annolake.extract.http.requests import Request
from annolake.extract.http.slots import Slots
from annolake.observers.protocols import Log
from annolake.web_address import other_regions

T = TypeVar("T")

MAX_REDIRECTS = 5

_ASKED_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_TOO_LARGE = {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}  # perhaps: a gateway gave up on the answer
_TWICE = 2
_KEEPING = {HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT}  # redirects of a POST that stays one
_SHOWN = 200  # characters of an address
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


class Throttled(msgspec.Struct):
    """How the rate was limited: the 429s received, and the seconds that requests waited for their turn, in all."""

    answers: int = 0
    seconds: float = 0.0


class Caller(msgspec.Struct, eq=False):
    """On whose behalf requests are made: once `stop` is set they end, and what was asked is counted.

    `requests` counts each one sent, repeated and redirected ones too, `queries` those of them that are queries of runs,
    `retries` the repeated ones, and `bytes_read` the bodies as they came over the wire. The lanes add to it side by
    side.
    """

    stop: Event = msgspec.field(default_factory=Event)
    requests: int = 0
    queries: int = 0
    retries: int = 0
    bytes_read: int = 0
    throttled: dict[Kind, Throttled] = msgspec.field(
        default_factory=lambda: {"listing": Throttled(), "query": Throttled()}
    )
    _lock: Lock = msgspec.field(default_factory=Lock)

    @property
    def answers_429(self) -> int:
        """The 429s of both kinds."""
        return sum(there.answers for there in self.throttled.values())

    def add(self, *, retries: int = 0, bytes_read: int = 0) -> None:
        """Count more."""
        with self._lock:
            self.retries += retries
            self.bytes_read += bytes_read

    def sent(self, kind: Kind) -> None:
        """Count a request."""
        with self._lock:
            self.requests += 1
            self.queries += kind == "query"

    def absorb(self, other: "Caller") -> None:
        """Count what another one asked for, which has ended."""
        with self._lock:
            self.requests += other.requests
            self.queries += other.queries
            self.retries += other.retries
            self.bytes_read += other.bytes_read
            for kind, there in other.throttled.items():
                self.throttled[kind].answers += there.answers
                self.throttled[kind].seconds += there.seconds

    def throttle(self, kind: Kind, *, answers: int = 0, seconds: float = 0.0) -> None:
        """Count 429s, and seconds waited because of them."""
        with self._lock:
            self.throttled[kind].answers += answers
            self.throttled[kind].seconds += seconds


class Call(msgspec.Struct):
    """One request on its way to an answer."""

    request: Request
    endpoint: str
    caller: Caller
    patient: bool
    kind: Kind = "listing"
    divisible: bool = False
    optional: bool = False
    attempts: int = 0
    too_large: int = 0  # answers in a row that look as if too much was asked for


class Sender(msgspec.Struct):
    """Makes attempts, for any number of threads; at most as many requests are under way as there are `slots`."""

    connections: Connections
    bounds: Bounds
    slots: Slots
    rate_limits: RateLimits
    clock: Clock
    log: Log
    max_wait_s: float
    key_name: str
    _turn: Lock = msgspec.field(default_factory=Lock)

    @property
    def base_url(self) -> httpx.URL:
        """The service's address."""
        return self.connections.http.base_url

    def attempt(self, call: Call, decode: Callable[[bytes], T]) -> T:
        """Send the request once, and again wherever it is redirected within the service.

        Raises Fault where it may be repeated, ServiceError where that is no use, Cancelled.
        """
        call.attempts += 1
        request = call.request
        for _ in range(MAX_REDIRECTS + 1):
            bounds, stop = self._bounds_of(call), call.caller.stop
            with closing(Exchange(request, bounds, self._turn, self.clock, stop, patient=call.patient)) as exchange:
                answer = self._send(exchange, call)
                self.connections.requests.keep_cookies(request, answer.headers)
                if answer.location is None:
                    return self._decoded(answer, call, decode)
            request = self._redirection(request, answer, call)
        raise self._refusal(call, REDIRECTED, "in a circle", status=answer.status)

    def _send(self, exchange: Exchange, call: Call) -> Answer:
        rate_limit, begun = self.rate_limits.of(call.kind), self.clock.monotonic()
        sent = self.rate_limits.acquire(call.kind, call.caller.stop)
        call.caller.throttle(call.kind, seconds=self.clock.monotonic() - begun)
        call.caller.sent(call.kind)
        with self.slots:
            try:
                answer = exchange.run(self.connections)
            except UntrustedError as error:
                raise self._refusal(call, UNTRUSTED, f" ({error})" if str(error) else "") from error
            except OversizeError:
                rate_limit.succeeded(sent)
                raise self._refusal(call, OVERSIZE, str(self.bounds.most // 1_000_000)) from None
        call.caller.add(bytes_read=answer.wire_bytes)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            call.caller.throttle(call.kind, answers=1)
            rate_limit.throttled(sent, self._retry_after_s(answer))
        else:
            rate_limit.succeeded(sent)
        return answer

    def _bounds_of(self, call: Call) -> Bounds:
        """Return the bounds of one answer: where less could be asked for, none is read that has to be read alone."""
        bounds = self.bounds
        return replace(bounds, most=min(bounds.most, bounds.alone)) if call.divisible and not call.patient else bounds

    def _redirection(self, request: Request, answer: Answer, call: Call) -> Request:
        """Return the request that an answer redirects to, one of the same origin."""
        try:
            url = request.address.join(answer.location or "")
            origin = _origin(url)
        except (httpx.InvalidURL, ValueError, TypeError):  # an address that cannot be read, in many ways
            raise self._refusal(call, REDIRECTED, "to an invalid address", status=answer.status) from None
        if origin != _origin(self.base_url):
            raise self._refusal(call, REDIRECTED, f"to {origin[:_SHOWN]}", status=answer.status)
        keeps = answer.status in _KEEPING or request.method == "GET"
        method, content = (request.method, request.content) if keeps else ("GET", None)
        return self.connections.requests.to(url, method, content)

    def _decoded(self, answer: Answer, call: Call, decode: Callable[[bytes], T]) -> T:
        status = answer.status
        self.log.debug("answered", endpoint=call.endpoint, status=status, attempt=call.attempts)
        call.too_large = call.too_large + 1 if status in _TOO_LARGE else 0
        unserved = status == HTTPStatus.NOT_IMPLEMENTED and call.optional  # by a service without that backend
        if status in _ASKED_AGAIN or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and not unserved):
            last = call.divisible and call.too_large >= _TWICE
            raise Fault(f"status {status}", status=status, retry_after_s=self._retry_after_s(answer), last=last)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            refused = self._refusal(call, REFUSALS.get(status, REFUSED), status=status)
            if isinstance(refused, RefusedError):
                refused.numbers = numbers_in(answer.body)
            raise refused
        try:
            return decode(answer.body)
        except (ValueError, RecursionError):
            pass  # its text and its traceback hold the body
        raise Fault("a body that is cut off or not of the promised shape", status=status)

    def _retry_after_s(self, answer: Answer) -> float | None:
        """Return Retry-After in seconds, at most `max_wait_s`; None where it is absent, garbage or past."""
        value = answer.headers.get("Retry-After", "").strip()
        if _SECONDS.fullmatch(value):
            seconds = float(value)
        else:
            try:
                until = parsedate_to_datetime(value)
            except (ValueError, OverflowError):
                return None
            seconds = (until.replace(tzinfo=until.tzinfo or UTC) - self.clock.now()).total_seconds()
        return min(seconds, self.max_wait_s) if seconds > 0 else None

    def _refusal(self, call: Call, said: Refusal, what: str = "", *, status: int | None = None) -> ServiceError:
        base_url = self.base_url
        facts = {"host": base_url.netloc.decode(), "origin": _origin(base_url), "key": self.key_name, "what": what}
        if others := other_regions(base_url.host):  # not asked: the key goes nowhere but where it is to go
            facts["regions"] = f", and source.base_url: a key of another region ({', '.join(others)}) is refused too"
        return refusal(said, attempts=call.attempts, status=status, endpoint=call.endpoint, **facts)


def _origin(url: httpx.URL) -> str:
    """Return scheme, host and port; a default port is left out."""
    return f"{url.scheme}://{url.netloc.decode()}"
