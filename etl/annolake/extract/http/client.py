"""The service over HTTP: one request at a time, repeated until it is answered or refused.

Owns the repetition (docs/service.md#errors-and-retries): how often, and after which wait. It reads no meaning into an
answer: the caller hands it a decoder.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from http import HTTPStatus
from typing import Self, TypeVar

import msgspec
import tenacity

from annolake.clock import Clock
from annolake.errors import UnavailableError
from annolake.extract.http.attempt import Call, Caller, Sender
from annolake.extract.http.connections import Connections, connect
from annolake.extract.http.exchange import Bounds, Fault
from annolake.extract.http.rate_limit import Cancelled, RateLimits, pause
from annolake.extract.http.slots import Slots
from annolake.observers.protocols import SILENCE, Log
from annolake.shared import shared

__all__ = ["Caller", "Cancelled", "Client"]

T = TypeVar("T")

_ROUTINE = 2  # attempts of a request that may fail before anybody need look: 429s are how the rate is learned


class Client:
    """The service at `base_url`, for any number of threads, with at most `lanes` requests under way at once.

    `headers` authenticate every request and never leave the origin of `base_url`. A wait between two attempts
    is at most `max_wait_s`, a Retry-After included; `random` yields 0 to 1. `key_name` is what messages call
    the key. One request takes `request_timeout_s` at most, one body `max_response_mb` unpacked; of bodies above
    `max_inflight_mb` one is read and decoded at a time. Clients of one process that have the same `sharing` use the
    same connections: those of the tasks of one export, whose service and key are the same.
    Raises ConfigError where the environment's proxy or certificate settings cannot be used.
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
        rate_limits: RateLimits,
        clock: Clock,
        random: Callable[[], float],
        version: str,
        request_timeout_s: float = 300.0,
        max_response_mb: int = 256,
        max_inflight_mb: int = 64,
        log: Log = SILENCE,
        key_name: str = "the API key",
        sharing: str = "",
    ) -> None:
        def made() -> Connections:
            return connect(base_url, headers, timeout_s, version)

        self._open = ExitStack()
        there = self._open.enter_context(shared(("connections", sharing or object()), made, Connections.close))
        bounds = Bounds(request_timeout_s, max_response_mb * 1_000_000, max_inflight_mb * 1_000_000)
        slots = Slots(lanes)
        self._sender = Sender(there, bounds, slots, rate_limits, clock, log, max_wait_s, key_name)
        self._max_attempts = max_attempts
        self._random = random

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, unless another client uses it."""
        self._open.close()

    def get(
        self,
        endpoint: str,
        params: Mapping[str, str | int | bool | Sequence[str]],
        decode: Callable[[bytes], T],
        *,
        caller: Caller | None = None,
        patient: bool = True,
        divisible: bool = False,
        optional: bool = False,
    ) -> T:
        """Return the answer to `endpoint`, a path like /api/v1/..., as `decode` reads its body.

        A ValueError of `decode` means that the body is cut off or not of the promised shape: it is asked for
        again. Raises RefusedError, NotFoundError, GoneError, UnavailableError; TooLargeError for a body that is
        larger than it may be, or (unless `patient`) than it may be while another large one is in memory; Cancelled
        once `caller.stop` is set. `divisible` is that of `post`; `optional`: a 501 says that it is not served.
        """
        request = self._sender.connections.requests.get(endpoint, params)
        call = Call(request, endpoint, caller or Caller(), patient, divisible=divisible, optional=optional)
        return self._until_answered(call, decode)

    def post(
        self,
        endpoint: str,
        body: object,
        decode: Callable[[bytes], T],
        *,
        caller: Caller | None = None,
        patient: bool = True,
        divisible: bool = False,
    ) -> T:
        """Send a query, `body` (bytes of JSON, or what msgspec can encode), and do as `get` does.

        It may arrive more than once: for endpoints that only read. `divisible`: less could be asked for, so the second
        502 or 504 in a row is the last attempt, and (unless `patient`) a body above `max_inflight_mb` is too large.
        """
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        request = self._sender.connections.requests.post(endpoint, content)
        return self._until_answered(
            Call(request, endpoint, caller or Caller(), patient, "query", divisible, True), decode
        )

    def _until_answered(self, call: Call, decode: Callable[[bytes], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Fault) and not error.last),
            stop=tenacity.stop_after_attempt(self._max_attempts),
            wait=self._wait_s,
            before_sleep=lambda state: self._repeat(call, state),
            sleep=lambda seconds: pause(self._sender.clock, seconds, call.caller.stop),
            reraise=True,
        )
        try:
            answer: T = retrying(self._sender.attempt, call, decode)
        except Fault as fault:
            often = "1 attempt" if call.attempts == 1 else f"{call.attempts} attempts"
            raise UnavailableError(
                f"{self._sender.base_url.netloc.decode()} gave no usable answer to {call.endpoint} in {often} "
                f"(the last: {fault.reason}): {fault.advice}",
                status=fault.status,
                endpoint=call.endpoint,
                attempts=call.attempts,
            ) from fault
        return answer

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds before the next attempt: what the service asked for, else back-off with jitter."""
        fault = _fault(state)
        if fault.retry_after_s is not None:
            return fault.retry_after_s
        return self._random() * min(self._sender.max_wait_s, 2.0 ** (state.attempt_number - 1))

    def _repeat(self, call: Call, state: tenacity.RetryCallState) -> None:
        call.caller.add(retries=1)
        fault = _fault(state)
        if fault.status == HTTPStatus.TOO_MANY_REQUESTS:
            call.caller.throttle(call.kind, seconds=state.upcoming_sleep)
        facts = {
            "endpoint": call.endpoint,
            "status": fault.status,
            "reason": fault.reason,
            "attempt": call.attempts,
            "wait_s": round(state.upcoming_sleep, 3),
        }
        if call.attempts > _ROUTINE:
            self._sender.log.warning("asking_again", **facts)
        else:
            self._sender.log.info("asking_again", **facts)


def _fault(state: tenacity.RetryCallState) -> Fault:
    fault = state.outcome.exception() if state.outcome else None
    if not isinstance(fault, Fault):
        raise TypeError("only a fault is asked again")
    return fault
