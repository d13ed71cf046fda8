"""The queues themselves: which there are, what one is, how large the service says it is.

Owns their endpoints (docs/service.md#queue-records). What an answer means beyond a queue's id and name is the caller's.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import TypeVar
from uuid import UUID

import msgspec

from annolake.errors import NotFoundError, ServiceError, UnavailableError
from annolake.extract.http.client import Caller, Client
from annolake.printable import printable
from annolake.setting_values import is_queue_id

T = TypeVar("T")

Key = str | bytes  # of a record: the queue's id, or the digest of a record without a readable id

MOST_PAGES = 2_000

_QUEUES = "/api/v1/annotation-queues"
_PAGE = 100
_ONE_AND_THE_END = 2
_SHOWN = 100  # characters of a foreign text


class _Size(msgspec.Struct):
    size: int


_decode_size = msgspec.json.Decoder(_Size).decode


class ListedQueue(msgspec.Struct, frozen=True):
    """A queue as the listing shows it; of its reviewers the names, else the addresses. What cannot be read is None."""

    queue_id: str
    name: str | None = None
    size: int | None = None
    reviewers: tuple[str, ...] = ()


class Listing(msgspec.Struct):
    """The queues that a key can see, each once, and how many records had no id."""

    queues: list[ListedQueue]
    unreadable: int

    @property
    def ids(self) -> list[str]:
        """The ids of the queues."""
        return [queue.queue_id for queue in self.queues]


def list_queues(client: Client, caller: Caller) -> Listing:
    """Return every queue the key can see.

    The listing has no cursor, and a queue deleted meanwhile shifts those behind it. So each reading goes on until
    a page brings nothing that this reading has not met, and a listing of more than one page is read until a reading
    meets nothing for the first time; `MOST_PAGES` pages are an error. Raises ServiceError.
    """
    pages = _Pages(client, caller)
    met: dict[str, None] = {}
    while True:
        before, asked = len(met), pages.asked
        keys = list(chain.from_iterable(pages.read_once()))
        met |= dict.fromkeys(key for key in keys if isinstance(key, str))
        if pages.asked - asked <= _ONE_AND_THE_END or len(met) == before:
            return Listing([pages.listed[key] for key in met], len({key for key in keys if isinstance(key, bytes)}))


class _Pages:
    """The listing's pages, the keys of its records."""

    def __init__(self, client: Client, caller: Caller) -> None:
        self.asked = 0
        self.listed: dict[str, ListedQueue] = {}
        self._client, self._caller = client, caller

    def read_once(self) -> Iterator[list[Key]]:
        """Yield the pages of one reading, up to the first that brings nothing."""
        met: set[Key] = set()
        offset = 0
        while page := [self._key(record) for record in self._read(offset)]:
            if met.issuperset(page):
                if len(page) >= _PAGE and met == set(page):
                    raise self._unavailable("shows the same queues at every offset")
                return
            yield page
            met.update(page)
            offset += len(page)

    def _key(self, record: object) -> Key:
        key = _key(record)
        if isinstance(record, dict) and isinstance(key, str):
            self.listed[key] = _listed(key, record)
        return key

    def _read(self, offset: int) -> list[object]:
        self.asked += 1
        if self.asked > MOST_PAGES:
            raise self._unavailable("never ends")
        parameters: dict[str, str | int | bool] = {"offset": offset, "limit": _PAGE}
        return self._client.get(_QUEUES, parameters, _decode_records, caller=self._caller)

    def _unavailable(self, how: str) -> UnavailableError:
        return UnavailableError(
            f"the listing of queues {how}: name the queues to export in source.queues",
            status=200,
            endpoint=_QUEUES,
            attempts=self.asked,
        )


def _decode_records(body: bytes) -> list[object]:
    """Decode the listing so that no record costs its neighbours, be it with a lone surrogate."""
    try:
        records = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(records, list):
        raise ValueError("no list")  # noqa: TRY004 - a ValueError is asked for again
    return records


def _key(record: object) -> Key:
    told = record.get("id") if isinstance(record, dict) else None
    if not isinstance(told, str):
        return hashlib.blake2b(json.dumps(record).encode(), digest_size=16).digest()
    try:
        return str(UUID(told))  # the one spelling that the lake has it in
    except ValueError:
        return printable(told)[:_SHOWN]


def _listed(queue_id: str, record: Mapping[str, object]) -> ListedQueue:
    name, size, people = (record.get(field) for field in ("name", "total_runs", "assigned_reviewers"))
    reviewers = [
        next((told for field in ("name", "email", "id") if isinstance(told := person.get(field), str) and told), None)
        for person in (people if isinstance(people, list) else [])
        if isinstance(person, dict)
    ]
    return ListedQueue(
        queue_id,
        name if isinstance(name, str) else None,
        size if isinstance(size, int) else None,
        tuple(reviewer for reviewer in reviewers if reviewer),
    )


def require_queue_id(text: str) -> None:
    """Raise NotFoundError where a text, perhaps one from the service, is not the id of a queue."""
    if not is_queue_id(text):
        raise NotFoundError(
            f'"{text}" is not the id of a queue, although the service lists it: report it to whoever runs the service',
            status=None,
            endpoint=_QUEUES,
            attempts=0,
        )


def read_queue(client: Client, queue_id: str, decode: Callable[[bytes], T], caller: Caller) -> T:
    """Return a queue's own record, decoded. Raises ServiceError where the key may not read it."""
    return client.get(f"{_QUEUES}/{queue_id}", {}, decode, caller=caller)


def read_size(client: Client, queue_id: str, which: str, caller: Caller) -> int | None:
    """Return a size of the queue (`size`, `total_size` or `total_archived`), None where it is refused.

    What each counts is not documented: a hint, never a truth.
    """
    try:
        return client.get(f"{_QUEUES}/{queue_id}/{which}", {}, _decode_size, caller=caller).size
    except ServiceError:
        return None
