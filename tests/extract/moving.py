"""A model of the service for paging's tests: lists that change while they are read. No threads, no time.

A reader waits by `Model.wait`, which answers one of its requests, in any sequence; the lists may change before.
"""

import random
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial
from typing import Any

from annolake.extract.offset.in_flight import Fetch
from annolake.extract.offset.list_reader import Listing
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.watermark import Watermark
from extract.rows import key

Page = tuple[bytes, ...]
Answer = Future[Slice]
Size = Future[int | None]
Change = Callable[["Model", random.Random], object]

BROKEN = b"\xff" * 16  # the key, made of their content, of all rows whose id can't be read


def still(_model: "Model", _rng: random.Random) -> None:
    """Change nothing."""


class Model:
    """A queue's lists, what happened to each row since the start, and every answer given.

    `cap` is the most rows that a slice has, whatever was asked for; `cut` may shorten it further, rows of `hidden` are
    left out of it, and `shy`, given the number of rows of a window, tells whether it shows nothing at all. `view`, when
    set, makes of a list what one answer sees of it, `told` what the service says of a list's size. Rows in `broken` are
    served as if their id could not be read. `times` holds the rows' time columns, `log` the answers: list, offset,
    limit, rows. `change` is called before each answer.
    """

    def __init__(self, active: int, archived: int = 0, *, cap: int = 100) -> None:
        self.cap = cap
        self.cut: Callable[[int], int] = int
        self.hidden: set[bytes] = set()
        self.shy: Callable[[int], bool] = lambda _rows: False
        self.view: Callable[[list[bytes]], list[bytes]] = lambda rows: rows
        self.broken: set[bytes] = set()
        self.times: dict[bytes, dict[str, int | None]] = {}
        self.log: list[tuple[str, int, int, int]] = []
        self._next = active + archived
        numbers = [key(number) for number in range(self._next)]
        self.lists = {"active": numbers[:active], "archived": numbers[active:]}
        self.start = set(numbers)
        self.gone: set[bytes] = set()
        self.moved: set[bytes] = set()
        self.passed: dict[bytes, list[str]] = {}  # by row, the lists it passed to
        self.told: Callable[[str], int | None] = lambda name: len(self.lists[name])
        self.change: Change = still
        self.rng = random.Random(0)
        self._asked: dict[Answer, tuple[str, int, int]] = {}
        self.sizes: dict[Size, str] = {}  # by request for one, the list

    @property
    def throughout(self) -> set[bytes]:
        """The rows that were in the queue from the start until now."""
        return self.start - self.gone

    @property
    def under_way(self) -> bool:
        """Whether a request was not answered."""
        return bool(self._asked or self.sizes)

    def fetch(self, name: str) -> Fetch:
        """Return the function that asks for a slice of a list."""

        def ask(offset: int, limit: int) -> Answer:
            answer: Answer = Future()
            answer.set_running_or_notify_cancel()  # as if a lane had it already: it can't be cancelled
            self._asked[answer] = (name, offset, limit)
            return answer

        return ask

    def listing(self, name: str, *, watermark: Watermark | None = None) -> Listing:
        """Return a list as paging reads it."""
        return Listing(name, self.fetch(name), size=partial(self._size, name), watermark=watermark)

    def _size(self, name: str) -> Size:
        size: Size = Future()
        size.set_running_or_notify_cancel()
        self.sizes[size] = name
        return size

    def wait(self, requests: Collection[Future[Any]]) -> None:
        """Change the lists, then answer one of the requests, whichever."""
        self.change(self, self.rng)
        self.answer(self.rng.choice(list(requests)))

    def answer(self, answer: Future[Any]) -> None:
        """Answer a request with the list as it is now."""
        if answer in self.sizes:
            answer.set_result(self.told(self.sizes.pop(answer)))
            return
        name, offset, limit = self._asked.pop(answer)
        window = self.view(self.lists[name])[offset : offset + min(limit, self.cap)]
        shown = [row for row in window if row not in self.hidden]
        part = () if limit > 1 and self.shy(len(window)) else tuple(shown[: max(1, self.cut(len(shown)))])
        self.log.append((name, offset, limit, len(part)))
        columns = next(iter(self.times.values()), {"added_at": None})
        times = {column: [self.times.get(row, columns)[column] for row in part] for column in columns}
        keys = tuple(BROKEN if row in self.broken else row for row in part)
        answer.set_result(Slice(keys, times, keys, ambiguous_keys=frozenset({BROKEN})))

    # --- what happens to rows

    def insert(self, name: str, at: int, count: int = 1) -> list[bytes]:
        """Put new rows into a list; return them."""
        new = [key(number) for number in range(self._next, self._next + count)]
        self._next += count
        self.lists[name][at:at] = new
        return new

    def delete(self, name: str, at: int, count: int = 1) -> None:
        """Remove rows that follow each other."""
        self.gone.update(self.lists[name][at : at + count])
        del self.lists[name][at : at + count]

    def hand_over(self, name: str, at: int, to: int, count: int = 1) -> None:
        """Pass rows that follow each other to place `to` of the other list."""
        other = "archived" if name == "active" else "active"
        rows = self.lists[name][at : at + count]
        del self.lists[name][at : at + count]
        self.lists[other][to:to] = rows
        for row in rows:
            self.passed.setdefault(row, []).append(other)

    def move(self, name: str, at: int, to: int) -> None:
        """Move a row within its list."""
        row = self.lists[name].pop(at)
        self.lists[name].insert(to, row)
        self.moved.add(row)
