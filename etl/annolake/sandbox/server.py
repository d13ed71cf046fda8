"""The socket: HTTP/1.1 with kept connections, a thread each, on loopback.

Owns the wire and the faults of the wire. It knows no endpoint: `Service.answer` does.
"""

import os
import socket
import socketserver
import struct
import sys
import threading
import zlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from annolake.sandbox.answers import Answer, Asked
from annolake.sandbox.faults import Fault
from annolake.sandbox.service import Service

_GZIP_FROM = 1_000
_STOP_WITHIN_S = 5.0


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    server_version = "annolake-sandbox"
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:
        """Answer a GET."""
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names http.server calls

    def log_message(self, *_: Any) -> None:
        """Stay silent: the sandbox keeps records instead."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        asked = Asked(
            method=self.command,
            path=unquote(parts.path),
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            url=self.path,
        )
        answer, fault = self.server.service.answer(asked, elsewhere=self.server.elsewhere)
        try:
            self._send(answer, fault)
        except OSError:  # the client went away; so does the connection
            self.close_connection = True

    def _send(self, answer: Answer, fault: Fault) -> None:
        body, headers = answer.body, dict(answer.headers)
        if self.server.gzip and len(body) >= _GZIP_FROM and "gzip" in self.headers.get("Accept-Encoding", ""):
            packer = zlib.compressobj(1, wbits=31)
            body = packer.compress(body) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        head = self._head(answer, headers, len(body))
        match fault:
            case "drop":
                self.close_connection = True
            case "short":
                self.wfile.write(head + body[: len(body) // 2])
                self.close_connection = True
            case "reset":
                self.wfile.write(head + body[: len(body) // 2])
                self._reset()
            case _:
                self.wfile.write(head + body)

    def _head(self, answer: Answer, headers: dict[str, str], length: int) -> bytes:
        lines = [
            f"HTTP/1.1 {answer.status} {_phrase(answer.status)}",
            f"Server: {self.server_version}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _reset(self) -> None:
        """Close so that the peer gets a reset, not an orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.forget(self.connection)
        os.close(self.connection.detach())


class Server(socketserver.ThreadingTCPServer):
    """Listens on loopback; `elsewhere` is another host's address that redirects point at."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, service: Service, port: int, *, gzip: bool, redirect_to: str | None) -> None:
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), Handler)
        self.service = service
        self.gzip = gzip
        self.port: int = self.server_address[1]
        self.elsewhere = redirect_to or f"http://localhost:{self.port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, cut the connections that are still open, and wait for their threads."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._changed:
            for connection in self._open:
                _cut(connection)
            self._changed.wait_for(lambda: not self._open, _STOP_WITHIN_S)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take note of the connection, then serve it on its own thread."""
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection whose client or handler is done."""
        super().shutdown_request(request)
        self.forget(request)

    def forget(self, connection: socket.socket) -> None:
        """Drop a connection that is closed from those that `stop` waits for."""
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a client that vanished; anything else is a bug and is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # its thread was quicker
        return


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
