"""The threads endpoint: a page of the turns of one thread, oldest first (docs/service.md#threads).

Owns the endpoint's path and parameters. When a thread is known to be read whole is sources/turns.py's.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import quote

import msgspec

from annolake.extract.endpoints.cursors import require_short
from annolake.extract.http.client import Caller, Client

T = TypeVar("T")

MOST_TURNS = 100
"""The most turns of a page."""

MOST_NAME = 2_048
"""The most characters of a thread's id in a URL, where one can take three."""

_DOTS = {".": "%2E", "..": "%2E%2E"}  # a path's own names


def url_name(thread_id: str) -> str | None:
    """Return a thread's id as a part of a path, None where it is too long for one."""
    name = _DOTS.get(thread_id) or quote(thread_id, safe="")
    return name if len(name) <= MOST_NAME else None


class ThreadsListing(msgspec.Struct, frozen=True):
    """The turns of threads; `selects` names the fields that come back."""

    client: Client
    caller: Caller
    selects: Sequence[str]

    def read(self, name: str, project_id: str, cursor: str | None, limit: int, decode: Callable[[bytes], T]) -> T:
        """Return the page of a thread, by its `url_name`, that begins at `cursor` (None: at its start), decoded.

        Raises ServiceError. A ValueError of `decode` makes the client ask again.
        """
        endpoint = f"/api/v2/threads/{name}/traces"
        require_short(cursor, title="a thread", endpoint=endpoint)
        parameters: dict[str, str | int | Sequence[str]] = {
            "project_id": project_id,
            "selects": self.selects,
            "page_size": limit,
            **({"cursor": cursor} if cursor is not None else {}),
        }
        return self.client.get(endpoint, parameters, decode, caller=self.caller, patient=limit == 1, optional=True)
