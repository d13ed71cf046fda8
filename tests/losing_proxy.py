"""A proxy before a store that loses, refuses, delays or cuts what a test picks; all else passes as it is.

A signed request stays valid: the proxy hands on the `Host` that was signed, and every byte after it.
"""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from quiet_server import QuietServer

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Fault(Enum):
    """What becomes of a request."""

    LOSE = "carried out, then the connection is cut"
    LOSE_AS_500 = "carried out, then answered with 500"
    REFUSE_500 = "not carried out, answered with 500"
    REFUSE_503 = "not carried out, answered with 503"
    REFUSE_501 = "not carried out, answered with 501"
    CUT = "not carried out, the connection is cut"
    CUT_BODY = "carried out, then the connection is cut in the middle of the answer's body"
    LOSE_AS_412 = "carried out, then answered with 412, as where a client repeated it"
    DENY_409 = "not carried out, answered with 409, as S3 does while another writes"
    DENY_403 = "not carried out, answered with 403"
    IGNORE_412 = "where its condition does not hold, answered as if it were carried out"


class Request(NamedTuple):
    """A request that came by: method, path with query, and headers by their names in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def conditional(self) -> bool:
        """Whether it holds only if the object is as it was."""
        return bool({"if-match", "if-none-match"} & set(self.headers))


class LosingProxy:
    """The proxy's `endpoint`; what came by (`requests`); and what shall go wrong."""

    def __init__(self, endpoint: str, upstream: str) -> None:
        self.endpoint = endpoint
        self.upstream = upstream
        self.requests: list[Request] = []
        self.held = threading.Event()
        """Set when a request waits for `hold`'s end."""
        self._lock = threading.Lock()
        self._faults: list[tuple[Callable[[Request], bool], Fault, list[None]]] = []
        self._holds: list[tuple[Callable[[Request], bool], threading.Event]] = []

    def on(self, picks: Callable[[Request], bool], fault: Fault, *, times: int = 1) -> None:
        """Do that to the next requests (`times` of them) which `picks` picks."""
        with self._lock:
            self._faults.append((picks, fault, [None] * times))

    def hold(self, picks: Callable[[Request], bool]) -> threading.Event:
        """Have the next request which `picks` picks wait until the returned event is set."""
        released = threading.Event()
        with self._lock:
            self._holds.append((picks, released))
        return released

    def clear(self) -> None:
        """Let everything pass from now on, and forget what came by."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()

    def fate(self, request: Request) -> Fault | None:
        """Note a request; return what shall become of it, after it has waited where it should."""
        with self._lock:
            self.requests.append(request)
            hold = next((hold for hold in self._holds if hold[0](request)), None)
            if hold:
                self._holds.remove(hold)
            fault = next((fault for fault in self._faults if fault[2] and fault[0](request)), None)
            if fault:
                fault[2].pop()
        if hold:
            self.held.set()
            hold[1].wait()
        return fault[1] if fault else None


@contextmanager
def losing_proxy(upstream: str) -> Iterator[LosingProxy]:
    """Run a proxy before the store at `upstream` ("http://127.0.0.1:8333")."""

    class Handler(_Handler):
        pass

    server = QuietServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False  # clients keep their connections
    proxy = Handler.proxy = LosingProxy(f"http://127.0.0.1:{server.server_port}", upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: LosingProxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.proxy.fate(Request(self.command, self.path, headers))
        if fault is Fault.CUT:
            self._cut()
        elif fault and fault.name.startswith(("REFUSE_", "DENY_")):
            self._answer(int(fault.name[-3:]), {}, b"<Error><Code>Refused</Code></Error>")
        else:
            self._carry_out(body, headers, fault)

    def _carry_out(self, body: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        status, answered, answer = self._ask(body, headers)
        if fault is Fault.LOSE:
            self._cut()
        elif fault in {Fault.LOSE_AS_500, Fault.LOSE_AS_412}:
            self._answer(int(fault.name[-3:]), {}, b"")
        elif fault is Fault.IGNORE_412 and status == 412:
            self._answer(200, {"ETag": '"ignored"'}, b"")
        elif fault is Fault.CUT_BODY:
            self._answer(status, answered, answer, sent=len(answer) // 2)
            self._cut()
        else:
            self._answer(status, answered, answer)

    def _ask(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(str(urlsplit(self.proxy.upstream).netloc), timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, sent: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        told = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", told or str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])

    def _cut(self) -> None:
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815 - the base class looks for these names
