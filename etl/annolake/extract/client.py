"""The service over HTTP: one request at a time, asked again until it is answered or refused (DESIGN 4).

Owns authentication, retries, redirects, and the translation of everything that HTTP can do wrong into
`annolake.errors`. The only module that imports httpx and tenacity. It reads no meaning into an answer: the
caller hands it a decoder. Neither a header nor a body ever stands in a message, a log or an exception.
"""

import re
import ssl
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
from annolake.errors import ConfigError, GoneError, NotFoundError, RefusedError, ServiceError, UnavailableError
from annolake.extract.pace import Cancelled, Pace, pause
from annolake.extract.refusals import numbers_in

__all__ = ["Cancelled", "Client", "Log", "Tally"]

T = TypeVar("T")

MAX_REDIRECTS = 5

_ASKED_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_TOO_LARGE = {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}  # perhaps: a gateway gave up on the answer
_TWICE = 2
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")

# What is asked again, and what is said of it when every attempt is spent; the first class that fits.
_FAULTS: Mapping[type[httpx.RequestError], str] = {
    httpx.PoolTimeout: "no connection was free within the timeout",
    httpx.ConnectTimeout: "no connection within the timeout",
    httpx.TimeoutException: "no answer within the timeout",
    httpx.ProxyError: "the proxy did not let it through",
    httpx.ConnectError: "no connection",
    httpx.NetworkError: "the connection broke",
    httpx.ProtocolError: "the answer broke off",
    httpx.DecodingError: "the body could not be unpacked",
}

_Refusal = tuple[type[RefusedError | NotFoundError | GoneError], str]
_REFUSED: _Refusal = (RefusedError, "{host} refused what was asked of {endpoint} ({status}): check [source]")
_REFUSALS: Mapping[int | None, _Refusal] = {
    401: (RefusedError, "{host} refused the key (401) at {endpoint}: check {key}"),
    403: (RefusedError, "{host} does not let the key in (403) at {endpoint}: check {key} and source.tenant_id"),
    404: (NotFoundError, "{host} has no {endpoint} (404), or not for this key: check the queue's id and {key}"),
    410: (GoneError, '{host} has retired {endpoint} (410): set source.endpoint to "auto" or "items"'),
    422: (RefusedError, "{host} did not accept the parameters (422) of {endpoint}: check [source], or update annolake"),
}


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
    divisible: bool = False
    attempts: int = 0
    too_large: int = 0  # answers in a row that look as if too much was asked for


class _Fault(Exception):  # noqa: N818 - never leaves this module
    """An attempt that failed and may be repeated, unless it was the `last` one."""

    def __init__(
        self, reason: str, *, status: int | None = None, retry_after_s: float | None = None, last: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s
        self.last = last


class Client:
    """The service at `base_url`, for any number of threads, with at most `lanes` requests under way at once.

    `headers` authenticate every request and never leave the origin of `base_url`. A wait between two attempts
    is at most `max_wait_s`, a Retry-After included; `random` yields 0 to 1. `key_name` is what messages call
    the key. Raises ConfigError where the environment's proxy or certificate settings cannot be used.
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
        pace: Pace,
        clock: Clock,
        random: Callable[[], float],
        version: str,
        log: Log | None = None,
        key_name: str = "the API key",
    ) -> None:
        own = {
            "User-Agent": f"annolake/{version}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        try:
            self._http = httpx.Client(
                base_url=base_url,
                headers={**own, **headers},
                timeout=timeout_s,
                # Unbounded, for `_lanes` bounds it: a pool that is full or trims itself while other threads ask
                # closes connections under them (13 of 3,000 requests broke with 8 threads on 4 connections).
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
                follow_redirects=False,  # httpx would take X-API-Key along to another host
            )
        except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
            raise ConfigError(
                "the proxy or certificate settings of the environment cannot be used: check HTTPS_PROXY, "
                "HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
            ) from error
        self._host = self._http.base_url.netloc.decode()
        self._origin = _origin(self._http.base_url)
        self._lanes = BoundedSemaphore(lanes)
        self._max_attempts = max_attempts
        self._max_wait_s = max_wait_s
        self._pace = pace
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
    ) -> T:
        """Return the answer to `endpoint`, a path like /api/v1/..., as `decode` reads its body.

        A ValueError of `decode` means that the body is cut off or not of the promised shape: it is asked for
        again. Raises RefusedError, NotFoundError, GoneError, UnavailableError; Cancelled once `stop` is set.
        """
        request = self._http.build_request("GET", endpoint, params=dict(params))
        return self._until_answered(_Call(request, endpoint, tally or Tally(), stop), decode)

    def post(
        self,
        endpoint: str,
        body: object,
        decode: Callable[[bytes], T],
        *,
        tally: Tally | None = None,
        stop: Event | None = None,
        divisible: bool = False,
    ) -> T:
        """Send `body` (bytes of JSON, or what msgspec can encode), and do as `get` does.

        It may arrive more than once: for endpoints that only read. `divisible`: less could be asked for, so the second
        502 or 504 in a row is the last attempt.
        """
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        request = self._http.build_request("POST", endpoint, content=content, headers=headers)
        return self._until_answered(_Call(request, endpoint, tally or Tally(), stop, divisible), decode)

    def _until_answered(self, call: _Call, decode: Callable[[bytes], T]) -> T:
        endpoint, stop = call.endpoint, call.stop
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _Fault) and not error.last),
            stop=tenacity.stop_after_attempt(self._max_attempts),
            wait=self._wait_s,
            before_sleep=lambda state: self._repeat(call, state),
            sleep=lambda seconds: pause(self._clock, seconds, stop),
            reraise=True,
        )
        try:
            answer: T = retrying(self._attempt, call, decode)
        except _Fault as fault:
            often = "1 attempt" if call.attempts == 1 else f"{call.attempts} attempts"
            raise UnavailableError(
                f"{self._host} gave no usable answer to {endpoint} in {often} (the last: {fault.reason}): "
                "try again later, or check source.base_url",
                status=fault.status,
                endpoint=endpoint,
                attempts=call.attempts,
            ) from fault
        return answer

    def _attempt(self, call: _Call, decode: Callable[[bytes], T]) -> T:
        call.attempts += 1
        too_large, call.too_large = call.too_large, 0
        response, body = self._answer(call)
        status = response.status_code
        if status in _TOO_LARGE:
            call.too_large = too_large + 1
        if self._log:
            self._log.debug("answered", endpoint=call.endpoint, status=status, attempt=call.attempts)
        if status in _ASKED_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            last = call.divisible and call.too_large >= _TWICE
            wait_s = self._retry_after_s(response)
            raise _Fault(f"status {status}", status=status, retry_after_s=wait_s, last=last)
        if not response.is_success:
            refusal = self._refusal(call, status)
            if isinstance(refusal, RefusedError):
                refusal.numbers = numbers_in(body)
            raise refusal
        try:
            return decode(body)
        except ValueError:
            pass  # its text and its traceback hold the body
        raise _Fault("a body that is cut off or not of the promised shape", status=status)

    def _answer(self, call: _Call) -> tuple[httpx.Response, bytes]:
        """Return the response and its body, redirects within the service followed."""
        request = call.request
        for _ in range(MAX_REDIRECTS + 1):
            response, body = self._send(request, call)
            if response.next_request is None:
                return response, body
            request = response.next_request
            if _origin(request.url) != self._origin:
                raise self._refusal(call, response.status_code, f"redirects to {_origin(request.url)}")
        raise self._refusal(call, response.status_code, "redirects in a circle")

    def _send(self, request: httpx.Request, call: _Call) -> tuple[httpx.Response, bytes]:
        try:
            with self._lanes:
                sent = self._pace.acquire(call.stop)
                call.tally.add(requests=1)
                with closing(self._http.send(request, stream=True)) as response:
                    # Apart from the response, which is part of a circle: a body that it had would stay in memory
                    # until Python looks for such. Measured on rows of 300 kB: 776 MB at the peak against 463.
                    body = b"".join(response.iter_bytes())
        except tuple(_FAULTS) as error:
            if _is_untrusted(error):
                raise self._refusal(call, None, "has a certificate that cannot be verified") from error
            reason = next(text for kind, text in _FAULTS.items() if isinstance(error, kind))
            raise _Fault(reason) from error
        call.tally.add(bytes_read=response.num_bytes_downloaded)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            self._pace.throttled(sent, self._retry_after_s(response))
        else:
            self._pace.succeeded(sent)
        return response, body

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds before the next attempt: what the service asked for, else back-off with jitter."""
        fault = _fault(state)
        if fault.retry_after_s is not None:
            return fault.retry_after_s
        return self._random() * min(self._max_wait_s, 2.0 ** (state.attempt_number - 1))

    def _retry_after_s(self, response: httpx.Response) -> float | None:
        """Return Retry-After in seconds, at most `max_wait_s`; None where it is absent, garbage or past."""
        value = response.headers.get("Retry-After", "").strip()
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

    def _refusal(self, call: _Call, status: int | None, what: str | None = None) -> ServiceError:
        """Return the error that says why asking again is no use; `what` is not said by the status alone."""
        kind, sentence = _REFUSALS.get(status, _REFUSED)
        if what:
            kind, sentence = RefusedError, "{host} {what}, asked for {endpoint}: check source.base_url ({origin})"
        facts = {"host": self._host, "origin": self._origin, "endpoint": call.endpoint, "key": self._key_name}
        message = sentence.format(status=status, what=what, **facts)
        return kind(message, status=status, endpoint=call.endpoint, attempts=call.attempts)


def _fault(state: tenacity.RetryCallState) -> _Fault:
    fault = state.outcome.exception() if state.outcome else None
    if not isinstance(fault, _Fault):
        raise TypeError("only a fault is asked again")
    return fault


def _origin(url: httpx.URL) -> str:
    """Return scheme, host and port; a default port is left out."""
    return f"{url.scheme}://{url.netloc.decode()}"


def _is_untrusted(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None
