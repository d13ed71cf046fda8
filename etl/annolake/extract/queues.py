"""The queues themselves: which there are, what one is, how large the service says it is.

Owns their endpoints (api notes 2). What an answer means beyond a queue's id and name is the caller's.
"""

from collections.abc import Callable, Iterator
from threading import Event
from typing import TypeVar

import msgspec

from annolake.errors import ServiceError
from annolake.extract.client import Client, Tally

T = TypeVar("T")

_QUEUES = "/api/v1/annotation-queues"
_PAGE = 100


class Head(msgspec.Struct):
    """What tells one queue from another."""

    id: str
    name: str | None = None


class _Size(msgspec.Struct):
    size: int


_decode_heads = msgspec.json.Decoder(list[Head]).decode
_decode_size = msgspec.json.Decoder(_Size).decode


def list_queues(client: Client, *, tally: Tally, stop: Event) -> list[Head]:
    """Return every queue the key can see, each once.

    The listing has no cursor, and a queue deleted meanwhile shifts those behind it. So each reading goes on until
    a page brings nothing, and a listing of more than one page is read until a reading meets no queue for the first
    time.
    """
    met: dict[str, Head] = {}
    while True:
        pages, before = 0, len(met)
        for page in _read_once(client, tally, stop):
            pages += 1
            met.update((head.id, head) for head in page)
        if pages <= 1 or len(met) == before:
            return list(met.values())


def _read_once(client: Client, tally: Tally, stop: Event) -> Iterator[list[Head]]:
    offset = 0
    while True:
        page = client.get(_QUEUES, {"offset": offset, "limit": _PAGE}, _decode_heads, tally=tally, stop=stop)
        if not page:
            return
        yield page
        offset += len(page)


def read_queue(client: Client, queue_id: str, decode: Callable[[bytes], T], *, tally: Tally, stop: Event) -> T:
    """Return a queue's own record, decoded. Raises ServiceError where the key may not read it."""
    return client.get(f"{_QUEUES}/{queue_id}", {}, decode, tally=tally, stop=stop)


def read_size(client: Client, queue_id: str, which: str, *, tally: Tally, stop: Event) -> int | None:
    """Return a size of the queue (`size`, `total_size` or `total_archived`), None where it is refused.

    What each counts is not documented: a hint, never a truth.
    """
    try:
        return client.get(f"{_QUEUES}/{queue_id}/{which}", {}, _decode_size, tally=tally, stop=stop).size
    except ServiceError:
        return None
