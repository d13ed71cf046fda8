"""A server for tests that says nothing of clients that went away: what it says is mixed with what a command does."""

import sys
from http.server import ThreadingHTTPServer
from typing import Any


class QuietServer(ThreadingHTTPServer):
    """A server whose clients may give a request up, or have a first look at an answer and leave."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over what their connections end with; anything else is a bug and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
