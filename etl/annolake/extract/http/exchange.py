"""One request over the wire, within bounds of time and memory, and given up once its answer is not needed.

Owns the reading of a body: how long all of it may take, how much of it is held, and what is said where it fails.
"""

import io
import socket
import ssl
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from http import HTTPStatus
from threading import Event, Lock
from typing import TypeVar

import httpcore
import httpx
import msgspec

from annolake.clock import Clock
from annolake.extract.http.connections import Connection, Connections
from annolake.extract.http.rate_limit import TICK_S, Cancelled
from annolake.extract.http.requests import Request

E = TypeVar("E", bound=BaseException)

_STEP = 1 << 20  # bytes that are unpacked at once
_EXPLANATION = 1 << 16  # bytes of a body that are of interest where it only says why there is no answer
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Bounds(msgspec.Struct, frozen=True):
    """Of one request: seconds for all of it, bytes of its body, and those above which it is the only one in memory."""

    seconds: float
    most: int
    alone: int


class Answer(msgspec.Struct, frozen=True):
    """An answer that was read: `location` is where it redirects to, `wire_bytes` what the body took on its way."""

    status: int
    headers: httpx.Headers
    body: bytes
    location: str | None
    wire_bytes: int


class Fault(Exception):  # noqa: N818 - never leaves this package
    """An attempt that failed and may be repeated, unless it was the `last` one; `advice` is what to do where it was."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        last: bool = False,
        advice: str = "try again later, or check source.base_url",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
        self.status = status
        self.retry_after_s = retry_after_s
        self.last = last


class UntrustedError(Exception):
    """The service has a certificate that cannot be verified; the message is the reason, or empty."""


class OversizeError(Exception):
    """The body is larger than it may be, or than it may be while another large one is held."""


# What is asked again, and what is said of it when every attempt is spent; the first class that fits.
_FAULTS: Mapping[type[Exception], str] = {
    httpcore.PoolTimeout: "no connection was free within the timeout",
    httpcore.ConnectTimeout: "no connection within the timeout",
    httpcore.TimeoutException: "no answer within the timeout",
    httpcore.ProxyError: "the proxy did not let it through",
    httpcore.ConnectError: "no connection to {end}",
    httpcore.NetworkError: "the connection broke",
    httpcore.ProtocolError: "the answer broke off",
    zlib.error: "the body could not be unpacked",
}

# Why there is no connection; `end` is the service or the proxy before it.
_UNCONNECTED: Mapping[type[Exception], str] = {
    socket.gaierror: "the name of {end} cannot be resolved",
    UnicodeError: "the name of {end} cannot be resolved",
    ConnectionRefusedError: "{end} refused the connection: nothing listens there",
    ssl.SSLError: "TLS failed: the service does not speak it at this port, or not as it is spoken here",
}
_OF_THE_PROXY = "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"


class Exchange:
    """One request, whose answer is used until `close`; once `stop` is set it is not wanted any more.

    `turn` is held by the one answer above `Bounds.alone` that is in memory. `patient`: such an answer waits for its
    turn; else OversizeError is raised while another one holds it.
    """

    def __init__(
        self, request: Request, bounds: Bounds, turn: Lock, clock: Clock, stop: Event, *, patient: bool
    ) -> None:
        self._request = request
        self._bounds = bounds
        self._turn = turn
        self._clock = clock
        self._stop = stop
        self._patient = patient
        self._until = 0.0
        self._holds = False

    def run(self, connections: Connections) -> Answer:
        """Send the request over a connection that is free, and return its answer.

        Raises Fault, UntrustedError, OversizeError; Cancelled.
        """
        self._until = self._clock.monotonic() + self._bounds.seconds
        with connections.one(self._ask) as connection:
            try:
                return self._answer(connection)
            except tuple(_FAULTS) as error:
                if (certificate := _cause(error, ssl.SSLCertVerificationError)) is not None:
                    raise UntrustedError(getattr(certificate, "verify_message", "")) from error
                raise _fault_of(error, proxied=connection.proxied) from error

    def close(self) -> None:
        """Let go of the answer: the next large one may be read."""
        if self._holds:
            self._holds = False
            self._turn.release()

    def _ask(self) -> None:
        """Raise what ends the request, as soon as it has taken its time or is not wanted."""
        if self._stop.is_set():
            raise Cancelled
        if self._clock.monotonic() >= self._until:
            raise Fault(
                f"no complete answer within {self._bounds.seconds:g} s",
                advice="try again later, or set source.request_timeout_s higher",
            )

    def _answer(self, connection: Connection) -> Answer:
        with closing(connection.send(self._request)) as response:
            headers = httpx.Headers(response.headers)
            # Apart from the response, which is part of a circle: a body that it had would stay in memory
            # until Python looks for such. Measured on rows of 300 kB: 776 MB at the peak against 463.
            size, body = self._read(response, headers)
            location = headers.get("Location") if response.status in _REDIRECTS else None
            return Answer(response.status, headers, body, location, size)

    def _read(self, response: httpcore.Response, headers: httpx.Headers) -> tuple[int, bytes]:
        """Return the body, unpacked; of one that only explains a failure no more than its beginning."""
        chunks, size = _Measured(response.iter_stream()), 0
        explains = not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES
        with io.BytesIO() as body:  # closed, so that no traceback keeps it
            for piece in _unpacked(chunks, headers.get("Content-Encoding", "")):
                size += len(piece)
                if size > _EXPLANATION and explains:
                    break
                if size > self._bounds.most:
                    raise OversizeError
                if size > self._bounds.alone and not self._holds:
                    self._wait_for_turn()
                body.write(piece)
            return chunks.size, body.getvalue()

    def _wait_for_turn(self) -> None:
        while not self._turn.acquire(timeout=TICK_S if self._patient else 0):
            if not self._patient:
                raise OversizeError
            self._ask()
        self._holds = True


class _Measured:
    """Chunks that are counted: their bytes so far are `size`."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            yield chunk


def _unpacked(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield a body's content in pieces of bounded size. Raises Fault, zlib.error."""
    match encoding.strip().lower():
        case "" | "identity":
            yield from chunks
        case "gzip" | "x-gzip":
            yield from _gunzipped(chunks)
        case _:
            raise zlib.error("only gzip was asked for")


def _gunzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack one gzip member after the other; what follows the last is ignored, as everybody does."""
    member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    begun = False
    for chunk in chunks:
        begun, data, full = True, chunk, True
        while data or full:
            if member.eof:
                if not data.startswith(b"\x1f"):
                    break
                member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            piece = member.decompress(data, _STEP)
            data, full = member.unconsumed_tail or member.unused_data, len(piece) == _STEP
            if piece:
                yield piece
    if begun and not member.eof:
        raise Fault("the answer broke off")


def _fault_of(error: BaseException, *, proxied: bool) -> Fault:
    """Return what is said of an error that has a text in `_FAULTS`."""
    text = next(text for kind, text in _FAULTS.items() if isinstance(error, kind))
    if isinstance(error, httpcore.ConnectError):
        text = next((more for kind, more in _UNCONNECTED.items() if _cause(error, kind)), text)
    reason = text.format(end="the proxy" if proxied else "the service")
    if isinstance(error, httpcore.ProxyError) or (proxied and isinstance(error, httpcore.ConnectError)):
        return Fault(reason, advice=_OF_THE_PROXY)
    return Fault(reason)


def _cause(error: BaseException | None, kind: type[E]) -> E | None:
    """Return the error of a kind that an error comes from."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error
