"""A model of the service for paging's tests: two lists that change while they are read. No threads, no time.

A request is answered when the test says so, in any order, and the lists may change before each answer.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from annolake.extract.lanes import Fetch, Slice

Page = tuple[bytes, ...]


def key(number: int) -> bytes:
    """Return the key of a model row."""
    return number.to_bytes(16, "big")


class PlainMet:
    """The plainest thing that does what `pages.Met` asks."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}

    def meet(self, keys: Sequence[bytes], number: int) -> list[int]:
        """See `pages.Met`."""
        earlier = [self.numbers.get(one, 0) for one in keys]
        self.numbers.update(dict.fromkeys(keys, number))
        return earlier


@dataclass
class Request:
    """A request that is under way."""

    name: str
    offset: int
    limit: int
    answer: Future[Slice[Page]]


@dataclass
class Model:
    """The queue: its lists, what happened to each row, and the requests made.

    `cap` is the most rows the server returns; `shuffle`, when set, reorders each answer's list at that moment.
    """

    lists: dict[str, list[bytes]]
    cap: int = 100
    shuffle: Callable[[list[bytes]], list[bytes]] | None = None
    times: dict[bytes, dict[str, int | None]] = field(default_factory=dict)
    log: list[tuple[str, int, int, int]] = field(default_factory=list)  # list, offset, limit, rows
    gone: set[bytes] = field(default_factory=set)
    born: set[bytes] = field(default_factory=set)
    moved: set[bytes] = field(default_factory=set)
    flips: dict[bytes, list[str]] = field(default_factory=dict)  # the lists that a row passed to
    next: int = 1 << 40

    @classmethod
    def of(cls, active: int, archived: int = 0) -> "Model":
        """Make a queue of so many rows."""
        return cls(
            {
                "active": [key(number) for number in range(active)],
                "archived": [key(1 << 32 | number) for number in range(archived)],
            }
        )

    def __post_init__(self) -> None:
        self.start = {row for rows in self.lists.values() for row in rows}

    def fetch(self, name: str) -> Fetch[Page]:
        """Return the function that asks for a slice of a list."""

        def ask(offset: int, limit: int) -> Future[Slice[Page]]:
            future: Future[Slice[Page]] = Future()
            future.set_running_or_notify_cancel()
            self.requests.append(Request(name, offset, limit, future))
            return future

        return ask

    requests: list[Request] = field(default_factory=list)

    def answer(self, future: Future[Slice[Page]]) -> None:
        """Answer a request with the list as it is now."""
        request = next(one for one in self.requests if one.answer is future)
        self.requests.remove(request)
        rows = self.lists[request.name]
        rows = self.shuffle(rows) if self.shuffle else rows
        part = tuple(rows[request.offset : request.offset + min(request.limit, self.cap)])
        self.log.append((request.name, request.offset, request.limit, len(part)))
        columns = list(next(iter(self.times.values()), {"added_at": None}))
        times = {column: [self.times.get(row, {}).get(column) for row in part] for column in columns}
        future.set_result(Slice(part, times, part))

    # --- what happens to rows

    def insert(self, name: str, at: int, count: int = 1) -> list[bytes]:
        """Put new rows into a list."""
        new = [key(self.next + number) for number in range(count)]
        self.next += count
        self.born.update(new)
        self.lists[name][at:at] = new
        return new

    def delete(self, name: str, at: int, count: int = 1) -> None:
        """Remove rows that follow each other."""
        self.gone.update(self.lists[name][at : at + count])
        del self.lists[name][at : at + count]

    def change_lists(self, name: str, to: str, at: int, place: int, count: int = 1) -> None:
        """Pass rows from one list to the other."""
        rows = self.lists[name][at : at + count]
        del self.lists[name][at : at + count]
        self.lists[to][place:place] = rows
        for row in rows:
            self.flips.setdefault(row, []).append(to)

    def move(self, name: str, at: int, to: int) -> None:
        """Move a row within its list."""
        row = self.lists[name].pop(at)
        self.lists[name].insert(to, row)
        self.moved.add(row)

    # --- what a test asks

    @property
    def throughout(self) -> set[bytes]:
        """The rows that were in the queue from the start until now."""
        return self.start - self.gone


def drive(
    steps: Iterator[object],
    pending: Callable[[], list[Future[Slice[Page]]]],
    model: Model,
    rng: random.Random,
    change: Callable[[Model, random.Random], None] = lambda _model, _rng: None,
) -> Iterator[object]:
    """Answer requests in random order, changing the lists before each answer; yield what is not None."""
    for step in steps:
        if step is not None:
            yield step
            continue
        change(model, rng)
        model.answer(rng.choice(pending()))
