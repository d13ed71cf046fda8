"""A client for a sandbox, over a real socket."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from annolake.sandbox import Sandbox

Connect = Callable[[Sandbox], httpx.Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that gives the client of a sandbox, with its key."""
    clients: dict[str, httpx.Client] = {}

    def open_client(sandbox: Sandbox) -> httpx.Client:
        if sandbox.url not in clients:
            headers = {"X-API-Key": sandbox.api_key}
            clients[sandbox.url] = httpx.Client(base_url=sandbox.url, headers=headers, timeout=10)
        return clients[sandbox.url]

    yield open_client
    for client in clients.values():
        client.close()
