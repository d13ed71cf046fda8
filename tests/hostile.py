"""A sandbox behind a server that may misbehave: bodies that trickle, never end or explode, silence, odd redirects.

What is not told otherwise is answered as the sandbox answers it.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from annolake.sandbox import Sandbox
from annolake.sandbox.answers import Answer, Asked
from quiet_server import QuietServer

CERTIFICATE = Path(__file__).with_name("loopback.pem")


class Wire:
    """One request's connection, for whoever answers it by hand."""

    def __init__(self, handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        self._handler = handler
        self.closing = closing

    def head(self, headers: Mapping[str, object] | None = None, *, status: int = 200) -> None:
        """Send the head of an answer."""
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def write(self, data: bytes) -> None:
        """Send bytes; raises OSError when the client is gone."""
        self._handler.wfile.write(data)

    def hang(self) -> None:
        """Say nothing more, until the client or the server goes."""
        connection = self._handler.connection
        connection.settimeout(0.05)
        while not self.closing.is_set():
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    return

    def drip(self, data: bytes, *, every_s: float) -> None:
        """Send one byte after the other, for ever, with a wait between two."""
        while not self.closing.is_set():
            for place in range(len(data)):
                self.write(data[place : place + 1])
                if self.closing.wait(every_s):
                    return


Behave = Callable[[Wire, Asked, Answer], Answer | None]
"""What becomes of an answer: the one to send, or None where it was sent by hand and the connection is to close."""


def honest(_wire: Wire, _asked: Asked, answer: Answer) -> Answer:
    """Answer as the sandbox does."""
    return answer


def lists(asked: Asked) -> bool:
    """Tell whether rows or items are asked for."""
    return asked.path.endswith(("/runs", "/items"))


class Hostile:
    """Serves a sandbox (which need not listen) under `url`, each answer as `behave` has it.

    `hears` is what the sandbox is told that was asked; with `tls` by a certificate that nobody vouches for.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        behave: Behave = honest,
        hears: Callable[[Asked], Asked] = lambda asked: asked,
        *,
        tls: bool = False,
    ) -> None:
        self.queue_ids: list[str] = sandbox.queue_ids
        self.api_key: str = sandbox.api_key
        self.asked: list[Asked] = []
        self._closing = threading.Event()
        self._server = QuietServer(("127.0.0.1", 0), self._handler(sandbox, behave, hears))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reached(self, asked: Callable[[Asked], bool]) -> bool:
        """Tell whether such a request has come."""
        return any(map(asked, self.asked))

    def _handler(
        self, sandbox: Sandbox, behave: Behave, hears: Callable[[Asked], Asked]
    ) -> type[BaseHTTPRequestHandler]:
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                asked = Asked(
                    method=self.command,
                    path=unquote(parts.path),
                    query=parse_qs(parts.query, keep_blank_values=True),
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                )
                hostile.asked.append(asked)
                wire = Wire(self, hostile._closing)
                try:
                    answer = behave(wire, asked, sandbox._service.answer(hears(asked), elsewhere="")[0])
                    if answer is None:
                        self.close_connection = True
                    else:
                        headers = {"Content-Length": len(answer.body), **answer.headers}
                        wire.head(headers, status=answer.status)
                        wire.write(answer.body)
                except OSError:  # the client is gone
                    self.close_connection = True

            do_POST = do_GET  # noqa: N815 - the name the base class looks for

            def finish(self) -> None:
                with contextlib.suppress(OSError):
                    super().finish()

            def log_message(self, *_: Any) -> None:
                """Stay silent."""

        return Handler


class FullListener:
    """An address of this machine that neither takes nor refuses a connection: what connects waits."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.queue_ids: list[str] = sandbox.queue_ids
        self.api_key: str = sandbox.api_key
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self._waiting = [socket.socket() for _ in range(3)]
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        for each in self._waiting:
            each.setblocking(False)
            each.connect_ex(self._listener.getsockname())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (*self._waiting, self._listener):
            each.close()

    def reached(self, _asked: Callable[[Asked], bool]) -> bool:
        """Tell that nobody ever gets through."""
        return True
