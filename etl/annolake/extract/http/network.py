"""What a client's requests go through: httpcore's own network, in which no wait goes on unasked.

Owns those waits. A name's resolution, a connect, a handshake and a read can each take longer than anybody wants to
wait: while one does, it is asked ten times a second whether the request is still wanted.
"""

import select
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from math import inf
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

from annolake.background import in_background
from annolake.extract.http.rate_limit import TICK_S

_PIECE = 16_384  # bytes that a connection which can be written to takes at once


def nothing() -> None:
    """Ask nothing: what a network does while there is no request."""


class Network(httpcore.NetworkBackend):
    """The network of one client, for one request at a time: what `ask` raises ends the request.

    It is called between the pieces of an answer, and every tenth of a second while one is waited for.
    """

    def __init__(self) -> None:
        self.ask: Callable[[], None] = nothing
        self._network = httpcore.SyncBackend()

    def under(self, transport: httpx.BaseTransport) -> httpcore.ConnectionPool:
        """Return the pool of a transport, whose connections go through this network; httpx has no word for it."""
        if not isinstance(transport, httpx.HTTPTransport):
            raise TypeError("this release of httpx has transports of another kind")
        pool: httpcore.ConnectionPool = transport._pool  # noqa: SLF001
        if not hasattr(pool, "_network_backend"):
            raise TypeError("this release of httpcore keeps its network elsewhere")
        pool._network_backend = self  # noqa: SLF001
        return pool

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect, and return the connection. Raises httpcore.ConnectTimeout and ConnectError."""

        def connect() -> httpcore.NetworkStream:
            try:
                return self._network.connect_tcp(host, port, timeout, local_address, socket_options)
            except UnicodeError as error:  # a part of the name is empty, or too long: it never came to be looked up
                raise httpcore.ConnectError(str(error)) from error

        return self.begin(connect)

    def begin(self, connect: Callable[[], httpcore.NetworkStream]) -> httpcore.NetworkStream:
        """Have a thread connect, which nobody waits for once it is not wanted: nothing ends a name's resolution."""
        connection = in_background(connect, "connect")
        try:
            while wait([connection], TICK_S).not_done:
                self.ask()
        except BaseException:
            connection.add_done_callback(_drop)
            raise
        return _Connection(connection.result(), self)


def _drop(connection: Future[httpcore.NetworkStream]) -> None:
    if connection.exception() is None:
        connection.result().close()


class _Connection(httpcore.NetworkStream):
    """A connection that waits as its network does."""

    def __init__(self, stream: httpcore.NetworkStream, network: Network) -> None:
        self._stream, self._network = stream, network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = inf if timeout is None else timeout
        while True:
            self._network.ask()
            tick = min(left, TICK_S)
            try:
                return self._stream.read(max_bytes, tick)
            except httpcore.ReadTimeout:
                left -= tick
                if left <= 0:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), _PIECE):
            if at:
                self._wait_for_room(inf if timeout is None else timeout)
            self._stream.write(buffer[at : at + _PIECE], timeout)

    def _wait_for_room(self, left: float) -> None:
        room = select.poll()
        room.register(self.get_extra_info("socket"), select.POLLOUT)
        while not room.poll(TICK_S * 1000):
            self._network.ask()
            left -= TICK_S
            if left <= 0:
                raise httpcore.WriteTimeout

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return self._network.begin(lambda: self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
