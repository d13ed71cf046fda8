"""The client against a real HTTP server on loopback, which answers and misbehaves by a script."""

import contextlib
import gzip
import logging
import socket
import struct
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

import msgspec
import pytest

from annolake.clock import Clock
from annolake.errors import (
    ConfigError,
    GoneError,
    NotFoundError,
    RefusedError,
    ServiceError,
    TooLargeError,
    UnavailableError,
)
from annolake.extract.http.attempt import Call
from annolake.extract.http.client import Caller, Cancelled, Client
from annolake.extract.http.rate_limit import RateLimits
from annolake.observers.protocols import SILENCE
from quiet_server import QuietServer

KEY = "lsv2_pt_0123456789abcdef_planted"
ENDPOINT = "/api/v1/annotation-queues"
AGAIN = "asking_again"
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

decode = msgspec.json.Decoder(list[int]).decode


@dataclass(frozen=True)
class Answer:
    """One scripted answer; `cut` promises more bytes than it sends, `reset` and `close` break the connection."""

    status: int = 200
    body: bytes = b"[1, 2]"
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


class Service:
    """A server that gives the scripted answers in turn, then `[1, 2]` for ever, and remembers what it was asked."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections: set[int] = set()
        self.patience = threading.Event()
        self._lock = threading.Lock()
        self._server = QuietServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, request: tuple[str, str, dict[str, str], bytes], port: int) -> Answer:
        """Note a request and return what to answer."""
        with self._lock:
            self.requests.append(request)
            self.connections.add(port)
            return self.script.pop(0) if self.script else Answer()

    def stop(self) -> None:
        """Let hanging answers go and close the socket."""
        self.patience.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else every answer takes 40 ms

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = (self.command, self.path, dict(self.headers.items()), body)
            answer = service.take(request, self.client_address[1])
            if answer.fault == "hang":
                service.patience.wait()
            if answer.fault in {"close", "hang"}:
                self.close_connection = True
                return
            if answer.fault == "gibberish":
                self.wfile.write(b"220 mail.example.org ESMTP\r\n\r\n")
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            length = len(answer.body) + 10 * (answer.fault in {"cut", "reset"})
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.fault == "cut":
                self.close_connection = True
            if answer.fault == "reset":
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

        do_POST = do_CONNECT = do_GET  # noqa: N815 - the names the base class looks for

        def finish(self) -> None:
            with contextlib.suppress(OSError):  # we reset the connection ourselves
                super().finish()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            """Stay silent."""

    return Handler


class FakeClock:
    """Time that passes only by sleeping, and remembers each sleep."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.on_sleep: Callable[[], None] = lambda: None
        self.clock = Clock(
            now=lambda: START + timedelta(seconds=self.slept), monotonic=lambda: self.slept, sleep=self._sleep
        )

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.on_sleep()


class Journal:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def debug(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self.lines.append(("debug", event, fields))

    def info(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self.lines.append(("warning", event, fields))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def service() -> Iterator[Service]:
    """A scripted server on a free port."""
    service = Service()
    yield service
    service.stop()


@pytest.fixture
def time() -> FakeClock:
    """Time that only sleeping moves."""
    return FakeClock()


@pytest.fixture
def journal() -> Journal:
    """What was logged."""
    return Journal()


@pytest.fixture
def connect(service: Service, time: FakeClock, journal: Journal) -> Iterator[Callable[..., Client]]:
    """Make clients of the scripted server, and close them."""
    clients: list[Client] = []

    def make(**changes: Any) -> Client:
        settings: dict[str, Any] = {
            "base_url": service.url,
            "headers": {"X-API-Key": KEY},
            "timeout_s": 5.0,
            "max_attempts": 3,
            "max_wait_s": 60.0,
            "lanes": 4,
            "rate_limits": RateLimits(time.clock),
            "clock": time.clock,
            "random": lambda: 1.0,
            "version": "9.9",
            "log": journal,
            "key_name": "LANGSMITH_API_KEY",
        }
        clients.append(Client(**(settings | changes)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


Connect = Callable[..., Client]


def test_a_request_carries_key_version_and_parameters(service: Service, connect: Connect) -> None:
    """The key and the program's version go as headers, booleans as true and false, gzip is welcome."""
    answer = connect().get(ENDPOINT, {"offset": 0, "archived": False, "include_stats": True, "status": "x y"}, decode)

    method, path, headers, _ = service.requests[0]
    assert answer == [1, 2]
    assert (method, path) == ("GET", f"{ENDPOINT}?offset=0&archived=false&include_stats=true&status=x+y")
    assert headers["X-API-Key"] == KEY
    assert headers["User-Agent"] == "annolake/9.9"
    assert headers["Accept-Encoding"] == "gzip"


def test_a_base_url_may_have_a_path(service: Service, connect: Connect) -> None:
    """A self-hosted service behind a path prefix is asked under that prefix."""
    connect(base_url=f"{service.url}/langsmith").get(ENDPOINT, {}, decode)

    assert service.requests[0][1] == f"/langsmith{ENDPOINT}"


@pytest.mark.parametrize("body", [b'{"ids":["a"]}', {"ids": ["a"]}], ids=["bytes", "object"])
def test_a_post_sends_json(service: Service, connect: Connect, body: object) -> None:
    """A body goes as JSON, be it encoded already or not."""
    answer = connect().post("/api/v2/runs/query", body, decode)

    method, _, headers, sent = service.requests[0]
    assert answer == [1, 2]
    assert (method, sent, headers["Content-Type"]) == ("POST", b'{"ids":["a"]}', "application/json")


def test_a_packed_body_is_unpacked_and_counted_as_it_came(service: Service, connect: Connect) -> None:
    """bytes_read is what went over the wire, not what became of it."""
    packed, tally = gzip.compress(b"[" + b"7, " * 5000 + b"7]"), Caller()
    service.script = [Answer(body=packed, headers={"Content-Encoding": "gzip"})]
    answer = connect().get(ENDPOINT, {}, decode, caller=tally)

    assert answer == [7] * 5001
    assert (tally.requests, tally.retries, tally.bytes_read) == (1, 0, len(packed))


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"[7, ") + gzip.compress(b"8]"),
        gzip.compress(b"[7, 8]") + b"\0\0 whatever",
        gzip.compress(b"[7, 8]" + b" " * 3_000_000),
        b"".join(gzip.compress(bytes([byte])) for byte in b"[7, 8]"),
    ],
    ids=["two members", "something behind", "of several steps", "a member a byte"],
)
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZip"])
def test_a_body_may_be_packed_in_many_ways(service: Service, connect: Connect, encoding: str, packed: bytes) -> None:
    """Members follow one another, and what follows the last is ignored, as by everybody who unpacks gzip."""
    service.script = [Answer(body=packed, headers={"Content-Encoding": encoding})]

    assert connect().get(ENDPOINT, {}, decode) == [7, 8]


PASSING = [
    *[Answer(status) for status in (408, 425, 429, 500, 502, 503, 504, 529)],
    Answer(body=b"<html>Sign in to your network</html>", headers={"Content-Type": "text/html"}),
    Answer(body=b"[1, "),
    Answer(body=b""),
    Answer(status=204, body=b""),
    Answer(body=b'{"detail": "soon"}'),
    Answer(body=b'["\xff"]'),
    Answer(body=b"not gzip", headers={"Content-Encoding": "gzip"}),
    Answer(body=gzip.compress(b"[1, 2]", mtime=0)[:-9], headers={"Content-Encoding": "gzip"}),
    Answer(body=b"[1, 2]", headers={"Content-Encoding": "br"}),
    *[Answer(fault=fault) for fault in ("cut", "reset", "close", "gibberish")],
]


@pytest.mark.parametrize("answer", PASSING, ids=lambda answer: f"{answer.status}-{answer.fault}-{answer.body[:9]!r}")
def test_what_may_pass_is_asked_again(service: Service, connect: Connect, journal: Journal, answer: Answer) -> None:
    """An answer that says "later", is broken or is not the promised one is asked for again, and that is logged."""
    service.script, tally = [answer, answer], Caller()

    assert connect().get(ENDPOINT, {}, decode, caller=tally) == [1, 2]
    assert (len(service.requests), tally.requests, tally.retries) == (3, 3, 2)
    told = [(level, fields["endpoint"], fields["attempt"]) for level, name, fields in journal.lines if name == AGAIN]
    assert told == [("info", ENDPOINT, 1), ("info", ENDPOINT, 2)]


def test_an_answer_that_is_nested_too_deep_is_asked_for_again(service: Service, connect: Connect) -> None:
    """It is no bug of annolake's."""
    service.script = [Answer(body=b"[" * 100_000 + b"]" * 100_000)]

    assert connect().get(ENDPOINT, {}, msgspec.json.decode) == [1, 2]


@pytest.mark.parametrize("answer", PASSING, ids=lambda answer: f"{answer.status}-{answer.fault}-{answer.body[:9]!r}")
def test_spent_attempts_end_in_one_error(service: Service, connect: Connect, answer: Answer) -> None:
    """When every attempt failed the error has endpoint, status and count, and its sentence nothing of the answer."""
    service.script = [answer] * 9
    with pytest.raises(UnavailableError, match=r"no usable answer to .* in 3 attempts \(the last: ") as caught:
        connect().get(ENDPOINT, {"offset": 5}, decode)

    error = caught.value
    broken = answer.fault or "Content-Encoding" in answer.headers
    assert (error.endpoint, error.status, error.attempts) == (ENDPOINT, None if broken else answer.status, 3)
    assert len(service.requests) == 3
    assert not answer.body or answer.body.decode(errors="replace") not in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (400, RefusedError, r"refused the request to .* \(400\)"),
        (401, RefusedError, r"127\.0\.0\.1:\d+ refused the key \(401\) at /api/v1/.*: check LANGSMITH_API_KEY$"),
        (403, RefusedError, r"denies the key access \(403\)"),
        (404, NotFoundError, r"has no /api/v1/annotation-queues \(404\)"),
        (409, RefusedError, r"\(409\)"),
        (410, GoneError, r"has retired /api/v1/annotation-queues \(410\)"),
        (422, RefusedError, r"did not accept the parameters \(422\)"),
    ],
)
def test_what_is_refused_is_asked_once(
    service: Service, connect: Connect, status: int, kind: type[ServiceError], says: str
) -> None:
    """A refusal is final: one request, one sentence with host, endpoint and status, nothing of the body."""
    service.script = [Answer(status, b'{"detail": [{"loc": ["query", "limit"], "msg": "secret"}]}')]
    with pytest.raises(kind, match=says) as caught:
        connect().get(ENDPOINT, {"limit": 101}, decode)

    assert (caught.value.status, caught.value.endpoint, caught.value.attempts) == (status, ENDPOINT, 1)
    assert len(service.requests) == 1
    assert "secret" not in str(caught.value)
    assert "limit" not in str(caught.value)


def test_a_dead_service_is_told_as_such(service: Service, connect: Connect) -> None:
    """Nobody listens: after the attempts one sentence says so, with no status."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        client = connect(base_url=url)
        with pytest.raises(UnavailableError, match="the service refused the connection") as caught:
            client.get(ENDPOINT, {}, decode)

    assert (caught.value.status, caught.value.attempts, service.requests) == (None, 3, [])


def test_a_silent_service_times_out(service: Service, connect: Connect) -> None:
    """A service that takes the request and says nothing is left after timeout_s, and asked again."""
    service.script = [Answer(fault="hang")]

    assert connect(timeout_s=0.1).get(ENDPOINT, {}, decode) == [1, 2]


def test_the_whole_of_a_request_has_its_time(service: Service, connect: Connect, time: FakeClock) -> None:
    """A silent service is left when request_timeout_s is over, by the clock that is handed over, and asked again."""
    service.script = [Answer(fault="hang")]
    asked = iter([299.9])
    # No second passes before the service has the request, else its script may be taken by the next one.
    clock = Clock(
        now=time.clock.now, monotonic=lambda: next(asked, 300.0) if service.requests else 0.0, sleep=time.clock.sleep
    )

    assert connect(clock=clock, timeout_s=30.0, request_timeout_s=300.0).get(ENDPOINT, {}, decode) == [1, 2]
    assert len(service.requests) == 2


def test_a_cancelled_queue_leaves_a_silent_service(service: Service, connect: Connect) -> None:
    """Once `stop` is set nobody waits for what is under way, though its connection is still open."""
    service.script, stop, client = [Answer(fault="hang")], threading.Event(), connect(timeout_s=30.0)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(client.get, ENDPOINT, {}, decode, caller=Caller(stop))
        while not service.requests:
            assert not asked.done()
        stop.set()
        with pytest.raises(Cancelled):
            asked.result(timeout=5)

    assert len(service.requests) == 1


def test_a_body_is_bounded_as_it_is_read(service: Service, connect: Connect) -> None:
    """One of more bytes, packed or not, is given up at once with the setting's name, and is no fault."""
    large = b"[" + b"7," * 600_000 + b"7]"
    for answer in (Answer(body=large), Answer(body=gzip.compress(large), headers={"Content-Encoding": "gzip"})):
        service.script = [answer]
        with pytest.raises(TooLargeError, match=r"larger than source\.max_response_mb \(1 MB\)") as caught:
            connect(max_response_mb=1).get(ENDPOINT, {}, decode)

        assert caught.value.attempts == 1
        assert len(connect(max_response_mb=2).get(ENDPOINT, {}, decode)) == 2


def test_large_bodies_are_held_one_at_a_time(service: Service, connect: Connect) -> None:
    """A second one waits until the first was decoded, or is refused where it may be asked for in smaller parts."""
    large, client = b"[" + b"7," * 600_000 + b"7]", connect(max_inflight_mb=1)
    deep, waited = threading.Event(), threading.Event()
    service.script = [Answer(body=large) for _ in range(3)]

    def slowly(body: bytes) -> int:
        deep.set()
        assert waited.wait(5)
        return len(body)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(client.get, ENDPOINT, {}, slowly)
        assert deep.wait(5)
        with pytest.raises(TooLargeError):
            client.get(ENDPOINT, {}, len, patient=False)
        second = threads.submit(client.get, ENDPOINT, {}, len)
        while len(service.requests) < 3:
            assert not second.done()
        assert not second.done()
        waited.set()
        assert (first.result(timeout=5), second.result(timeout=5)) == (len(large), len(large))


def test_one_attempt_is_one_request(service: Service, connect: Connect) -> None:
    """With max_attempts = 1 nothing is asked again."""
    service.script = [Answer(503)]
    with pytest.raises(UnavailableError, match="in 1 attempt "):
        connect(max_attempts=1).get(ENDPOINT, {}, decode)

    assert len(service.requests) == 1


@pytest.mark.parametrize(("random", "waits"), [(1.0, [1, 2, 4, 5, 5]), (0.5, [0.5, 1, 2, 2.5, 2.5]), (0.0, [0] * 5)])
def test_the_back_off_doubles_with_full_jitter(
    service: Service, connect: Connect, journal: Journal, random: float, waits: list[float]
) -> None:
    """Waits are drawn from nothing up to 1, 2, 4 ... seconds, at most max_wait_s; after two it is a warning."""
    service.script = [Answer(503)] * 5
    connect(max_attempts=6, max_wait_s=5.0, random=lambda: random).get(ENDPOINT, {}, decode)

    told = [(level, fields["wait_s"]) for level, name, fields in journal.lines if name == AGAIN]
    assert told == [("info" if number < 2 else "warning", wait) for number, wait in enumerate(waits)]


def _in(seconds: float) -> str:
    return format_datetime(START + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ("7", 7.0),
        (" 2.5 ", 2.5),
        (_in(9), 9.0),
        (_in(9).replace("GMT", "-0000"), 9.0),
        ("86400", 20.0),
        (_in(86400), 20.0),
        *[(nonsense, 1.0) for nonsense in ("0", "-5", _in(-30), "soon", "nan", "1e9", "9" * 5000 + "s", "", "٣")],
        ("9" * 400, 20.0),
        ("Fri, 20 Nov 99999 12:00:00 GMT", 1.0),
    ],
    ids=lambda value: str(value)[:12],
)
def test_retry_after_is_followed_within_bounds(
    service: Service, connect: Connect, time: FakeClock, *, status: int, retry_after: str, wait_s: float
) -> None:
    """Seconds and dates are waited for, never longer than max_wait_s; what is past or garbage is as if not there."""
    service.script = [Answer(status, headers={"Retry-After": retry_after.encode().decode("latin-1")})]
    connect(max_wait_s=20.0).get(ENDPOINT, {}, decode)

    assert time.slept == pytest.approx(wait_s)


def test_a_429_holds_the_other_lanes_too(service: Service, connect: Connect, time: FakeClock) -> None:
    """A queue that is cancelled in its Retry-After leaves the wait to whoever asks next."""
    client, stop = connect(), threading.Event()
    service.script = [Answer(429, headers={"Retry-After": "30"})]
    time.on_sleep = stop.set
    with pytest.raises(Cancelled):
        client.get(ENDPOINT, {}, decode, caller=Caller(stop))
    assert time.slept < 1

    client.get(ENDPOINT, {}, decode)

    assert time.slept == pytest.approx(30)


@pytest.mark.parametrize("answer", [Answer(503, headers={"Retry-After": "30"}), Answer(429), Answer(fault="close")])
def test_a_cancelled_queue_stops_between_attempts(
    service: Service, connect: Connect, time: FakeClock, answer: Answer
) -> None:
    """Once `stop` is set the wait ends within a tenth of a second and nothing more is asked."""
    service.script, stop = [answer], threading.Event()
    time.on_sleep = stop.set
    with pytest.raises(Cancelled):
        connect().get(ENDPOINT, {}, decode, caller=Caller(stop))

    assert time.slept <= 0.1
    assert len(service.requests) == 1


def test_a_cancelled_queue_asks_nothing(service: Service, connect: Connect) -> None:
    """A request of a queue that is cancelled already is never sent."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        connect().get(ENDPOINT, {}, decode, caller=Caller(stop))

    assert service.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_service_is_followed(service: Service, connect: Connect, status: int) -> None:
    """Another path of the same scheme, host and port gets the request, key included."""
    service.script = [Answer(status, headers={"Location": "/v2/queues?offset=1"})]
    answer = connect().get(ENDPOINT, {}, decode)

    assert answer == [1, 2]
    assert service.requests[1][1] == "/v2/queues?offset=1"
    assert service.requests[1][2]["X-API-Key"] == KEY


@pytest.mark.parametrize("location", ["", "#here"])
def test_a_redirect_to_itself_keeps_the_query(service: Service, connect: Connect, location: str) -> None:
    """What names no path is the address that was asked for (RFC 3986, 5.2.2)."""
    service.script = [Answer(307, headers={"Location": location})]

    assert connect().get(ENDPOINT, {"limit": 100, "offset": 200}, decode) == [1, 2]
    assert [path for _, path, _, _ in service.requests] == [f"{ENDPOINT}?limit=100&offset=200"] * 2


def test_a_request_shows_neither_key_nor_body(connect: Connect) -> None:
    """Whoever records the values of a traceback has neither."""
    request = connect()._sender.connections.requests.post(ENDPOINT, b"a body")
    call = Call(request, ENDPOINT, Caller(), patient=True)

    assert repr(request) == f"Request(POST {ENDPOINT})"
    assert KEY not in repr(call)
    assert "a body" not in repr(call)


def test_a_redirected_post_keeps_its_body(service: Service, connect: Connect) -> None:
    """307 asks for the same request elsewhere."""
    service.script = [Answer(307, headers={"Location": "/v2/query"})]
    connect().post("/api/v2/runs/query", {"ids": []}, decode)

    assert [(method, body) for method, _, _, body in service.requests] == [("POST", b'{"ids":[]}')] * 2


@pytest.mark.parametrize("status", [502, 504])
def test_who_can_ask_for_less_is_told_of_the_second_502_in_a_row(
    service: Service, connect: Connect, status: int
) -> None:
    """A divisible request ends there, with the status; one 502 that other answers follow does not end it."""
    client = connect(max_attempts=6)
    service.script = [Answer(status), Answer(500), Answer(status), Answer()]
    assert client.post("/query", {}, decode, divisible=True) == [1, 2]

    service.script = [Answer(status)] * 5
    with pytest.raises(UnavailableError, match=f"2 attempts .the last: status {status}.") as caught:
        client.post("/query", {}, decode, divisible=True)

    assert (caught.value.status, caught.value.attempts, len(service.requests)) == (status, 2, 6)
    assert client.post("/query", {}, decode) == [1, 2]


def test_what_can_be_done_without_is_not_asked_for_again_where_it_is_not_served(
    service: Service, connect: Connect
) -> None:
    """A 501 to an optional request is a refusal; to any other a failure like each 5xx."""
    client = connect(max_attempts=3)
    service.script = [Answer(501)]
    with pytest.raises(RefusedError) as caught:
        client.get(ENDPOINT, {"run": ["a", "b"]}, decode, optional=True)

    assert (caught.value.status, caught.value.attempts) == (501, 1)
    assert service.requests[0][1].endswith("?run=a&run=b")
    service.script = [Answer(501)]
    assert client.get(ENDPOINT, {}, decode) == [1, 2]


def test_one_caller_counts_what_another_asked_for() -> None:
    """Part of a queue's requests can be stopped by itself, and still counts."""
    whole, part = Caller(), Caller()
    for caller in (whole, part):
        caller.sent("listing")
        caller.sent("query")
        caller.add(retries=2, bytes_read=3)
        caller.throttle("query", answers=4, seconds=0.5)
    whole.absorb(part)

    assert (whole.requests, whole.queries, whole.retries, whole.bytes_read) == (4, 2, 4, 6)
    assert (whole.throttled["query"].answers, whole.throttled["query"].seconds) == (8, 1.0)
    assert whole.throttled["listing"].answers == 0


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_s_body_gives_its_numbers_and_no_word(service: Service, connect: Connect, status: int) -> None:
    """What a refusal names is told as numbers; its words are in no message and in no exception."""
    service.script = [Answer(status, b'{"detail": "planted: at most 250 of the secret ids"}')]
    with pytest.raises(RefusedError) as caught:
        connect().post("/query", {}, decode)

    assert caught.value.numbers == (250,)
    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert "planted" not in shown
    assert "secret" not in shown


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_elsewhere_never_carries_the_key(connect: Connect, service: Service, status: int) -> None:
    """Another port is another service: it is named, and hears nothing."""
    other = Service()
    try:
        service.script = [Answer(status, headers={"Location": f"{other.url}{ENDPOINT}?token=abc"})]
        with pytest.raises(RefusedError, match=f"redirects [^ ]+ to {other.url}: .*{service.url}") as caught:
            connect().get(ENDPOINT, {}, decode)
    finally:
        other.stop()

    assert other.requests == []
    assert "token" not in str(caught.value)
    assert (caught.value.status, len(service.requests)) == (status, 1)


@pytest.mark.parametrize(
    "location", ["https://127.0.0.1:{port}/", "http://localhost:{port}/", "ftp://127.0.0.1/", "//x/"]
)
def test_scheme_and_host_count_as_elsewhere(connect: Connect, service: Service, location: str) -> None:
    """The same machine by another name or another scheme is not the same origin."""
    where = location.format(port=service.url.rsplit(":", 1)[1])
    service.script = [Answer(302, headers={"Location": where})]
    with pytest.raises(RefusedError, match="redirects [^ ]+ to"):
        connect().get(ENDPOINT, {}, decode)

    assert len(service.requests) == 1


def test_a_circle_of_redirects_ends(service: Service, connect: Connect) -> None:
    """After five redirects in a row the request is given up."""
    service.script = [Answer(302, headers={"Location": ENDPOINT})] * 9
    with pytest.raises(RefusedError, match="redirects [^ ]+ in a circle"):
        connect().get(ENDPOINT, {}, decode)

    assert len(service.requests) == 6


@pytest.mark.parametrize("location", ["http://[broken", "http://127.0.0.1:99999999/"])
def test_a_redirect_to_nowhere_is_no_usable_answer(service: Service, connect: Connect, location: str) -> None:
    """A Location that is no address ends in one of our errors like everything else."""
    service.script = [Answer(302, headers={"Location": location})] * 3
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1"):
        connect().get(ENDPOINT, {}, decode)


def test_lanes_share_connections_and_tally(service: Service, connect: Connect, journal: Journal) -> None:
    """Eight threads over four lanes: every request is counted, no more than four connections are made."""
    client, tally = connect(lanes=4), Caller()
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(client.get, ENDPOINT, {"offset": n}, decode, caller=tally) for n in range(200)]

    assert all(answer.result() == [1, 2] for answer in answers)
    assert [line for line in journal.lines if line[1] == AGAIN] == []
    assert (tally.requests, tally.bytes_read) == (200, 200 * len(b"[1, 2]"))
    assert len({path for _, path, _, _ in service.requests}) == 200
    assert len(service.connections) <= 4


def test_a_cookie_of_the_service_comes_back_on_every_connection(service: Service, connect: Connect) -> None:
    """A balancer may tell its servers apart by one."""
    service.script = [Answer(headers={"Set-Cookie": "server=7; Path=/"})]
    client = connect(lanes=4)
    client.get(ENDPOINT, {}, decode)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: client.get(ENDPOINT, {"offset": n}, decode), range(12)))

    assert {headers.get("Cookie") for _, _, headers, _ in service.requests[1:]} == {"server=7"}


def test_clients_of_one_export_share_their_connections(service: Service, connect: Connect) -> None:
    """The first to leave closes none of them; where nobody uses them any more, others are made."""
    first, second = connect(sharing="an export"), connect(sharing="an export")
    first.get(ENDPOINT, {}, decode)
    first.close()
    second.get(ENDPOINT, {}, decode)
    assert len(service.connections) == 1

    second.close()
    connect(sharing="an export").get(ENDPOINT, {}, decode)
    connect().get(ENDPOINT, {}, decode)
    assert len(service.connections) == 3


def test_a_bug_in_a_decoder_is_not_asked_again(service: Service, connect: Connect) -> None:
    """Only a ValueError speaks of the body; anything else passes through untouched."""

    def broken(_: bytes) -> int:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        connect().get(ENDPOINT, {}, broken)

    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "nonsense://user:hunter2@proxy"),
        ("HTTPS_PROXY", "socks5://user:hunter2@proxy"),
        ("ALL_PROXY", "http://proxy:hunter2"),
        ("SSL_CERT_FILE", "/hunter2/certificates.pem"),
    ],
)
def test_an_unusable_proxy_is_a_setting_to_mend(
    service: Service, connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """What the environment says about proxies and certificates is configuration, and may hold a password."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="proxy or certificate settings .* check HTTPS_PROXY") as caught:
        connect(base_url=service.url.replace("http:", "https:"))

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["xn--a", "999.1.1.1"])
def test_a_host_that_is_none_is_told_before_anything_is_asked(connect: Connect, host: str) -> None:
    """By the setting, where httpx can make no name of it; proxies and certificates have nothing to do with it."""
    with pytest.raises(ConfigError, match=f"^source.base_url: the host of http://{host} is no name that can be"):
        connect(base_url=f"http://{host}")


@pytest.mark.parametrize("proxy", ["http://host..x:80", f"http://{64 * 'a'}.x:80"])
def test_a_proxy_s_name_that_cannot_be_looked_up_is_one_that_cannot_be_resolved(
    service: Service, connect: Connect, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Python refuses it with an error of another kind than of a name that nobody has."""
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(UnavailableError, match="the name of the proxy cannot be resolved.*: check HTTPS_PROXY"):
        connect(base_url="http://langsmith.example", max_attempts=1).get(ENDPOINT, {}, decode)

    assert not service.requests


def test_a_proxy_is_asked_for_the_whole_address(
    service: Service, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the query; and of a service with TLS for a way to its host alone."""
    monkeypatch.setenv("HTTP_PROXY", service.url)
    monkeypatch.setenv("HTTPS_PROXY", service.url)

    assert connect(base_url="http://langsmith.example/api").get(ENDPOINT, {"offset": 5}, decode) == [1, 2]
    service.script = [Answer(status=403)]
    with pytest.raises(UnavailableError, match="the proxy did not let it through"):
        connect(base_url="https://langsmith.example", max_attempts=1).get(ENDPOINT, {"offset": 5}, decode)

    asked = [(method, path) for method, path, _, _ in service.requests]
    assert asked == [("GET", f"http://langsmith.example/api{ENDPOINT}?offset=5"), ("CONNECT", "langsmith.example:443")]


def test_without_tls_no_certificate_is_read(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a service never sends us to one with TLS, and reading the authorities costs 30 ms of each export."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    assert connect().get(ENDPOINT, {}, bytes) == Answer().body


def test_the_key_is_nowhere_to_be_read(
    service: Service, connect: Connect, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong, no message, traceback, log line or repr has the key, a query or a body."""
    caplog.set_level(logging.DEBUG)
    echo = f'{{"you sent": "{KEY}", "content": "row content"}}'.encode()
    client = connect(max_attempts=1)
    shown = [repr(client), str(client), repr(Caller())]
    for answer in [
        *PASSING,
        *[Answer(status, echo) for status in (200, 400, 401, 403, 404, 410, 422, 429, 500, 503)],
        Answer(302, echo, {"Location": "http://elsewhere.invalid/"}),
    ]:
        service.script = [answer]
        try:
            client.get(ENDPOINT, {"name": "x"}, decode)
        except ServiceError as error:
            shown += [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
        else:
            raise AssertionError("every answer of the script is a bad one")
    shown += [repr(line) for line in journal.lines]
    shown += [record.getMessage() for record in caplog.records]

    assert len(shown) > 100
    assert not [text for text in shown if KEY in text or "row content" in text]


def test_answers_are_logged_for_whoever_debugs(service: Service, connect: Connect, journal: Journal) -> None:
    """Each answer is a debug line with endpoint, status and attempt."""
    service.script = [Answer(503)]
    connect().get(ENDPOINT, {}, decode)

    assert [fields for level, _, fields in journal.lines if level == "debug"] == [
        {"endpoint": ENDPOINT, "status": 503, "attempt": 1},
        {"endpoint": ENDPOINT, "status": 200, "attempt": 2},
    ]


def test_a_client_without_a_log_is_silent(service: Service, connect: Connect) -> None:
    """A log is optional."""
    service.script = [Answer(503)]

    assert cast("Any", connect(log=SILENCE)).get(ENDPOINT, {}, decode) == [1, 2]
