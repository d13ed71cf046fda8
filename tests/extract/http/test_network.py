"""No wait of a request goes on unasked: for a name, a handshake, a header, a body, or room for what is sent."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import httpcore
import httpx
import pytest

from annolake.clock import Clock
from annolake.errors import UnavailableError
from annolake.extract.http.client import Caller, Client
from annolake.extract.http.network import Network
from annolake.extract.http.rate_limit import Cancelled, RateLimits

Serve = Callable[[socket.socket], None]

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


class Service:
    """Does with each connection what a test wants; `reached` is set once there is one."""

    def __init__(self, listening: socket.socket, serve: Serve) -> None:
        self.host = f"127.0.0.1:{listening.getsockname()[1]}"
        self.reached, self.over = threading.Event(), threading.Event()
        self.connections = 0
        self._listening, self._serve = listening, serve

    def run(self) -> None:
        """Accept connections until it is shut."""
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._hold, args=(connection,), daemon=True).start()

    def _hold(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._serve(connection)
            except OSError:
                return
            self.reached.set()
            self.over.wait()


@contextmanager
def serving(serve: Serve) -> Iterator[Service]:
    """Serve so; the connections stay open."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        service = Service(listening, serve)
        threading.Thread(target=service.run, daemon=True).start()
        try:
            yield service
        finally:
            service.over.set()
            listening.shutdown(socket.SHUT_RDWR)


def _client(url: str, **changes: object) -> Client:
    settings: dict[str, object] = {"request_timeout_s": 300.0, "clock": Clock(sleep=lambda _: None)}
    clock = (settings | changes)["clock"]
    assert isinstance(clock, Clock)
    return Client(
        base_url=url,
        headers={},
        timeout_s=60.0,
        max_attempts=1,
        max_wait_s=0.0,
        lanes=4,
        rate_limits=RateLimits(clock),
        random=lambda: 0.0,
        version="0",
        **(settings | changes),  # type: ignore[arg-type]
    )


def nothing(_connection: socket.socket) -> None:
    """Say nothing."""


def silence(connection: socket.socket) -> None:
    """Take what is sent, and say nothing."""
    connection.recv(65_536)


def headers(connection: socket.socket) -> None:
    """Begin an answer, and stop amid the headers."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: applic")


def body(connection: socket.socket) -> None:
    """Begin a body, and stop in the middle."""
    connection.recv(65_536)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"')


def _cancelled(client: Client, service: Service, ask: Callable[[Caller], object]) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        asked: Future[object] = threads.submit(ask, Caller(stop))
        assert service.reached.wait(5)
        assert not asked.done()
        stop.set()
        with pytest.raises(Cancelled):
            asked.result(timeout=5)
    client.close()


@pytest.mark.parametrize("serve", [nothing, silence, headers, body], ids=lambda serve: serve.__name__)
def test_an_answer_that_stays_away_is_left_once_it_is_not_wanted(serve: Serve) -> None:
    """Long before timeout_s, at any place of the answer."""
    with serving(serve) as service:
        client = _client(f"http://{service.host}")
        _cancelled(client, service, lambda caller: client.get("/x", {}, bytes, caller=caller))


def test_a_handshake_is_left_once_it_is_not_wanted() -> None:
    """What listens there does not speak TLS, and says nothing."""
    with serving(silence) as service:
        client = _client(f"https://{service.host}")
        _cancelled(client, service, lambda caller: client.get("/x", {}, bytes, caller=caller))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_left_once_it_is_not_wanted(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes through a proxy of the environment waits no longer."""
    with serving(silence) as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://{proxy.host}")
        client = _client(f"{scheme}://service.example")
        _cancelled(client, proxy, lambda caller: client.get("/x", {}, bytes, caller=caller))


def test_a_query_that_nobody_reads_is_left_once_it_is_not_wanted() -> None:
    """The buffers between the two are full, and the rest has no room."""
    with serving(nothing) as service:
        client = _client(f"http://{service.host}")
        _cancelled(client, service, lambda caller: client.post("/x", b"7" * 30_000_000, bytes, caller=caller))


def test_a_long_query_arrives_whole() -> None:
    """It is sent piece by piece, as the other side reads."""
    sent, got = bytes(range(256)) * 40_000, bytearray()

    def read(connection: socket.socket) -> None:
        while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < len(sent):
            got.extend(connection.recv(1 << 20))
        connection.sendall(ANSWER)

    with serving(read) as service:
        client = _client(f"http://{service.host}")
        assert client.post("/x", sent, bytes) == b"[]"
        client.close()

    assert got.endswith(b"\r\n\r\n" + sent)


def test_headers_that_trickle_have_the_time_of_one_request() -> None:
    """Each byte comes within timeout_s, and all of them never: request_timeout_s ends it, by the clock given."""
    seconds = count()

    def trickle(connection: socket.socket) -> None:
        connection.recv(65_536)
        for number in count():
            connection.sendall(b"HTTP/1.1 200 OK\r\n" if number == 0 else b"x-%d: 1\r\n" % number)

    with serving(trickle) as service:
        client = _client(
            f"http://{service.host}",
            clock=Clock(monotonic=lambda: float(next(seconds)), sleep=lambda _: None),
            request_timeout_s=4.0,
        )
        with pytest.raises(UnavailableError, match=r"no complete answer within 4 s\): .* set source.request_timeout_s"):
            client.get("/x", {}, bytes)
        client.close()


def test_nobody_waits_for_a_name_and_what_comes_of_it_is_closed() -> None:
    """Nothing ends a name's resolution: a thread stays with it, and closes the connection that it makes."""
    resolved, closed, network = threading.Event(), threading.Event(), Network()

    class Stream(httpcore.NetworkStream):
        def close(self) -> None:
            closed.set()

    def connect() -> httpcore.NetworkStream:
        resolved.wait()
        return Stream()

    def ask() -> None:
        raise Cancelled

    network.ask = ask
    with pytest.raises(Cancelled):
        network.begin(connect)
    assert not closed.is_set()
    resolved.set()
    assert closed.wait(5)


def test_who_names_no_timeout_waits_without() -> None:
    """As httpcore does in the handshake with a SOCKS proxy."""
    asked = threading.Event()

    def answer(connection: socket.socket) -> None:
        asked.wait()
        connection.sendall(b"7")

    network, asks = Network(), count(1)

    def ask() -> None:
        if next(asks) == 3:  # two ticks went by
            asked.set()

    with serving(answer) as service:
        host, port = service.host.split(":")
        network.ask = ask
        connection = network.connect_tcp(host, int(port))
        assert connection.read(1) == b"7"
        connection.close()


def test_who_names_no_timeout_sends_all() -> None:
    """The other side begins to read when there is no room left."""
    sent, read, full = b"7" * 30_000_000, threading.Event(), threading.Event()
    got = 0

    def take(connection: socket.socket) -> None:
        nonlocal got
        full.wait()
        while got < len(sent):
            got += len(connection.recv(1 << 20))
        read.set()

    network, asks = Network(), count(1)

    def ask() -> None:
        if next(asks) == 3:
            full.set()

    with serving(take) as service:
        host, port = service.host.split(":")
        network.ask = ask
        connection = network.connect_tcp(host, int(port))
        connection.write(sent)
        assert read.wait(5)
        connection.close()


def test_connections_are_used_again_and_another_one_is_made_only_beside_them() -> None:
    """Whichever thread asks: as many as requests were ever under way at once."""
    there, go = threading.Semaphore(0), threading.Semaphore(0)

    def answer(connection: socket.socket) -> None:
        while connection.recv(65_536):
            there.release()
            go.acquire()
            connection.sendall(ANSWER)

    with serving(answer) as service, ThreadPoolExecutor(2) as threads:
        client = _client(f"http://{service.host}")
        for _ in range(3):
            asked = threads.submit(client.get, "/x", {}, bytes)
            there.acquire()
            go.release()
            assert asked.result(timeout=5) == b"[]"
        assert service.connections == 1

        beside = [threads.submit(client.get, "/x", {}, bytes) for _ in range(2)]
        for _ in beside:
            there.acquire()
        go.release(2)
        assert [asked.result(timeout=5) for asked in beside] == [b"[]", b"[]"]
        assert service.connections == 2
        client.close()


def test_a_closed_client_closes_the_connection_that_is_in_use_once_it_is_free() -> None:
    """Nobody waits for it meanwhile."""
    asked_for, go, ended = threading.Event(), threading.Event(), threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        asked_for.set()
        go.wait()
        connection.sendall(ANSWER)
        assert not connection.recv(1)
        ended.set()

    with serving(answer) as service, ThreadPoolExecutor(1) as threads:
        client = _client(f"http://{service.host}")
        asked = threads.submit(client.get, "/x", {}, bytes)
        assert asked_for.wait(5)
        client.close()
        go.set()
        assert asked.result(timeout=5) == b"[]"
        assert ended.wait(5)


def test_a_release_that_keeps_its_network_elsewhere_is_told_at_once() -> None:
    """What this relies on is no promise of httpx: it fails before the first request, not in a wait without end."""
    transport = httpx.HTTPTransport()
    del transport._pool._network_backend

    with pytest.raises(TypeError, match="this release of httpcore"):
        Network().under(transport)
    with pytest.raises(TypeError, match="this release of httpx"):
        Network().under(httpx.MockTransport(lambda _: httpx.Response(200)))
