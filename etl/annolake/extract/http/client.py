"""The service over HTTP: one request at a time, asked again until it is answered or refused (DESIGN 4).

Owns authentication, retries, redirects, and the translation of everything that HTTP can do wrong into
`annolake.errors`. With `exchange` the only module that imports httpx. It reads no meaning into an answer: the
caller hands it a decoder. Neither a header nor a body ever stands in a message, a log or an exception.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from threading import BoundedSemaphore, Event, Lock
from types import TracebackType
from typing import Protocol, Self, TypeVar

import httpx
import msgspec
import tenacity

from annolake.clock import Clock
from annolake.errors import ConfigError, RefusedError, ServiceError, UnavailableError
from annolake.extract.http.exchange import Answer, Bounds, Exchange, Fault, OversizeError, UntrustedError, hide_location
from annolake.extract.http.named_numbers import numbers_in
from annolake.extract.http.rate_limit import Cancelled, RateLimit, pause
from annolake.extract.http.refusals import OVERSIZE, REDIRECTED, REFUSALS, REFUSED, UNTRUSTED, Refusal, refusal

__all__ = ["Cancelled", "Client", "Log", "Tally"]

T = TypeVar("T")

MAX_REDIRECTS = 5

_ASKED_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_TOO_LARGE = {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}  # perhaps: a gateway gave up on the answer
_TWICE = 2
_KEEPING = {HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT}  # redirects of a POST that stays one
_SHOWN = 200  # characters of an address
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


class Log(Protocol):
    """The two verbs of a structlog logger that are used here."""

    def debug(self, event: str, **fields: object) -> object:
        """Log an answer."""

    def warning(self, event: str, **fields: object) -> object:
        """Log that a request will be repeated."""


@dataclass
class Tally:
    """What was asked on behalf of one queue; the lanes add to it side by side.

    `requests` counts each one sent, repeated and redirected ones too, `retries` the repeated ones, and
    `bytes_read` the bodies as they came over the wire.
    """

    requests: int = 0
    retries: int = 0
    bytes_read: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def add(self, *, requests: int = 0, retries: int = 0, bytes_read: int = 0) -> None:
        """Count more."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.bytes_read += bytes_read


@dataclass
class _Call:
    """One request on its way to an answer."""

    request: httpx.Request
    endpoint: str
    tally: Tally
    stop: Event | None
    patient: bool
    divisible: bool = False
    attempts: int = 0
    too_large: int = 0  # answers in a row that look as if too much was asked for


class Client:
    """The service at `base_url`, for any number of threads, with at most `lanes` requests under way at once.

    `headers` authenticate every request and never leave the origin of `base_url`. A wait between two attempts
    is at most `max_wait_s`, a Retry-After included; `random` yields 0 to 1. `key_name` is what messages call
    the key. One request takes `request_timeout_s` at most, one body `max_response_mb` unpacked; of bodies above
    `max_inflight_mb` one is read and decoded at a time. Raises ConfigError where the environment's proxy or
    certificate settings cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str],
        timeout_s: float,
        max_attempts: int,
        max_wait_s: float,
        lanes: int,
        rate_limit: RateLimit,
        clock: Clock,
        random: Callable[[], float],
        version: str,
        request_timeout_s: float = 300.0,
        max_response_mb: int = 256,
        max_inflight_mb: int = 64,
        log: Log | None = None,
        key_name: str = "the API key",
    ) -> None:
        self._http = _connected(base_url, headers, timeout_s, version)
        self._host = self._http.base_url.netloc.decode()
        self._origin = _origin(self._http.base_url)
        self._lanes = BoundedSemaphore(lanes)
        self._bounds = Bounds(request_timeout_s, max_response_mb * 1_000_000, max_inflight_mb * 1_000_000)
        self._turn = Lock()
        self._max_attempts = max_attempts
        self._max_wait_s = max_wait_s
        self._rate_limit = rate_limit
        self._clock = clock
        self._random = random
        self._log = log
        self._key_name = key_name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def get(
        self,
        endpoint: str,
        params: Mapping[str, str | int | bool],
        decode: Callable[[bytes], T],
        *,
        tally: Tally | None = None,
        stop: Event | None = None,
        patient: bool = True,
    ) -> T:
        """Return the answer to `endpoint`, a path like /api/v1/..., as `decode` reads its body.

        A ValueError of `decode` means that the body is cut off or not of the promised shape: it is asked for
        again. Raises RefusedError, NotFoundError, GoneError, UnavailableError; TooLargeError for a body that is
        larger than it may be, or (unless `patient`) than it may be while another large one is in memory; Cancelled
        once `stop` is set.
        """
        request = self._http.build_request("GET", endpoint, params=dict(params))
        return self._until_answered(_Call(request, endpoint, tally or Tally(), stop, patient), decode)

    def post(
        self,
        endpoint: str,
        body: object,
        decode: Callable[[bytes], T],
        *,
        tally: Tally | None = None,
        stop: Event | None = None,
        patient: bool = True,
        divisible: bool = False,
    ) -> T:
        """Send `body` (bytes of JSON, or what msgspec can encode), and do as `get` does.

        It may arrive more than once: for endpoints that only read. `divisible`: less could be asked for, so the second
        502 or 504 in a row is the last attempt.
        """
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        request = self._http.build_request("POST", endpoint, content=content, headers=headers)
        call = _Call(request, endpoint, tally or Tally(), stop, patient, divisible)
        return self._until_answered(call, decode)

    def _until_answered(self, call: _Call, decode: Callable[[bytes], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Fault) and not error.last),
            stop=tenacity.stop_after_attempt(self._max_attempts),
            wait=self._wait_s,
            before_sleep=lambda state: self._repeat(call, state),
            sleep=lambda seconds: pause(self._clock, seconds, call.stop),
            reraise=True,
        )
        try:
            answer: T = retrying(self._attempt, call, decode)
        except Fault as fault:
            often = "1 attempt" if call.attempts == 1 else f"{call.attempts} attempts"
            raise UnavailableError(
                f"{self._host} gave no usable answer to {call.endpoint} in {often} (the last: {fault.reason}): "
                "try again later, or check source.base_url",
                status=fault.status,
                endpoint=call.endpoint,
                attempts=call.attempts,
            ) from fault
        return answer

    def _attempt(self, call: _Call, decode: Callable[[bytes], T]) -> T:
        """Send the request once, and again wherever it is redirected within the service."""
        call.attempts += 1
        request = call.request
        for _ in range(MAX_REDIRECTS + 1):
            with closing(Exchange(request, self._bounds, self._turn, patient=call.patient)) as exchange:
                answer = self._send(exchange, call)
                if answer.location is None:
                    return self._decoded(answer, call, decode)
            request = self._redirection(request, answer, call)
        raise self._refusal(call, REDIRECTED, "in a circle", status=answer.status)

    def _redirection(self, request: httpx.Request, answer: Answer, call: _Call) -> httpx.Request:
        """Return the request that an answer redirects to, one of the same origin."""
        try:
            url = request.url.join(answer.location or "")
            origin = _origin(url)
        except (httpx.InvalidURL, ValueError, TypeError):  # an address that cannot be read, in many ways
            raise self._refusal(call, REDIRECTED, "to what is no address", status=answer.status) from None
        if origin != self._origin:
            raise self._refusal(call, REDIRECTED, f"to {origin[:_SHOWN]}", status=answer.status)
        keeps = answer.status in _KEEPING or request.method == "GET"
        headers = {"Content-Type": "application/json"} if keeps and request.content else {}
        return self._http.build_request(
            request.method if keeps else "GET", url, content=request.content if keeps else None, headers=headers
        )

    def _decoded(self, answer: Answer, call: _Call, decode: Callable[[bytes], T]) -> T:
        status = answer.status
        if self._log:
            self._log.debug("answered", endpoint=call.endpoint, status=status, attempt=call.attempts)
        call.too_large = call.too_large + 1 if status in _TOO_LARGE else 0
        if status in _ASKED_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            last = call.divisible and call.too_large >= _TWICE
            wait_s = self._retry_after_s(answer)
            raise Fault(f"status {status}", status=status, retry_after_s=wait_s, last=last)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            refused = self._refusal(call, REFUSALS.get(status, REFUSED), status=status)
            if isinstance(refused, RefusedError):
                refused.numbers = numbers_in(answer.body)
            raise refused
        try:
            return decode(answer.body)
        except ValueError:
            pass  # its text and its traceback hold the body
        raise Fault("a body that is cut off or not of the promised shape", status=status)

    def _send(self, exchange: Exchange, call: _Call) -> Answer:
        with self._lanes:
            sent = self._rate_limit.acquire(call.stop)
            call.tally.add(requests=1)
            try:
                answer = exchange.run(self._http, self._clock, call.stop)
            except UntrustedError as error:
                raise self._refusal(call, UNTRUSTED, f" ({error})" if str(error) else "") from error
            except OversizeError:
                self._rate_limit.succeeded(sent)
                raise self._refusal(call, OVERSIZE, str(self._bounds.most // 1_000_000)) from None
        call.tally.add(bytes_read=answer.wire_bytes)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._rate_limit.throttled(sent, self._retry_after_s(answer))
        else:
            self._rate_limit.succeeded(sent)
        return answer

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds before the next attempt: what the service asked for, else back-off with jitter."""
        fault = _fault(state)
        if fault.retry_after_s is not None:
            return fault.retry_after_s
        return self._random() * min(self._max_wait_s, 2.0 ** (state.attempt_number - 1))

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
            seconds = (until.replace(tzinfo=until.tzinfo or UTC) - self._clock.now()).total_seconds()
        return min(seconds, self._max_wait_s) if seconds > 0 else None

    def _repeat(self, call: _Call, state: tenacity.RetryCallState) -> None:
        call.tally.add(retries=1)
        if self._log:
            fault = _fault(state)
            self._log.warning(
                "asking again",
                endpoint=call.endpoint,
                status=fault.status,
                reason=fault.reason,
                attempt=call.attempts,
                wait_s=round(state.upcoming_sleep, 3),
            )

    def _refusal(self, call: _Call, said: Refusal, what: str = "", *, status: int | None = None) -> ServiceError:
        return refusal(
            said,
            attempts=call.attempts,
            status=status,
            endpoint=call.endpoint,
            what=what,
            host=self._host,
            origin=self._origin,
            key=self._key_name,
        )


def _connected(base_url: str, headers: Mapping[str, str], timeout_s: float, version: str) -> httpx.Client:
    own = {
        "User-Agent": f"annolake/{version}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
    }
    try:
        return httpx.Client(
            base_url=base_url,
            headers={**own, **headers},
            timeout=timeout_s,
            # Unbounded, for the lanes bound it: a pool that is full or trims itself while other threads ask
            # closes connections under them (13 of 3,000 requests broke with 8 threads on 4 connections).
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            follow_redirects=False,  # httpx would take X-API-Key along to another host
            event_hooks={"response": [hide_location]},
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise ConfigError(
            "the proxy or certificate settings of the environment cannot be used: check HTTPS_PROXY, "
            "HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        ) from error


def _fault(state: tenacity.RetryCallState) -> Fault:
    fault = state.outcome.exception() if state.outcome else None
    if not isinstance(fault, Fault):
        raise TypeError("only a fault is asked again")
    return fault


def _origin(url: httpx.URL) -> str:
    """Return scheme, host and port; a default port is left out."""
    return f"{url.scheme}://{url.netloc.decode()}"
