"""Requests in flight: slices of a list are asked for ahead of need and taken strictly in the order asked.

Owns the type of paging's one seam (`Fetch`) and the window of requests under way. Knows nothing of what an answer
means, and never starts a thread.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec

from annolake.extract.paging.slices import Slice
from annolake.extract.paging.waiting import Wait, wait_for_one

Fetch = Callable[[int, int], Future[Slice]]  # (offset, limit)


class Ask(msgspec.Struct, frozen=True):
    """A request: `expected` rows by what the server gave so far, the first `shared` of them met before.

    Where no row is shared, it looks behind the end of the list.
    """

    offset: int
    limit: int
    expected: int
    shared: int
    answer: Future[Slice]


class Window:
    """The requests of one list that are under way, in the order asked."""

    def __init__(self, fetch: Fetch, wait: Wait = wait_for_one) -> None:
        self.requests = 0
        self._fetch = fetch
        self._wait = wait
        self._asks: deque[Ask] = deque()
        self._dropped: list[Future[Slice]] = []

    def __len__(self) -> int:
        return len(self._asks)

    @property
    def first(self) -> Ask:
        """The request whose answer is taken next."""
        return self._asks[0]

    @property
    def last(self) -> Ask:
        """The request sent last."""
        return self._asks[-1]

    def send(self, offset: int, limit: int, expected: int, shared: int) -> None:
        """Ask for a slice."""
        self.requests += 1
        self._asks.append(Ask(offset, limit, expected, shared, self._fetch(offset, limit)))

    def is_ready(self) -> bool:
        """Tell whether the next answer is there. Raises the error of any request, not only of the next one."""
        for ask in self._asks:
            if ask.answer.done():
                ask.answer.result()
        return bool(self._asks) and self._asks[0].answer.done()

    def take(self, meanwhile: Callable[[], None] = lambda: None) -> tuple[Ask, Slice]:
        """Wait for the next answer and take it; call `meanwhile` whenever any request was answered."""
        while not self.is_ready():
            self._wait(self._pending())
            meanwhile()
        ask = self._asks.popleft()
        return ask, ask.answer.result()

    def wait_for(self, request: "Future[Any]") -> None:
        """Wait for a request of another kind."""
        while not request.done():
            self._wait([*self._pending(), request])

    def drop(self) -> None:
        """Throw the whole window away: requests not sent yet are cancelled, the answers of others go unused."""
        self._dropped = [answer for answer in self._dropped if not answer.done()]
        running = [ask.answer for ask in self._asks if not ask.answer.cancel()]
        self.requests -= len(self._asks) - len(running)  # a cancelled one was never sent
        self._dropped += running
        self._asks.clear()

    def settle(self) -> None:
        """Throw the window away and wait until no request is under way."""
        self.drop()
        while pending := self._pending():
            self._wait(pending)

    def _pending(self) -> list[Future[Slice]]:
        return [a for a in (*(ask.answer for ask in self._asks), *self._dropped) if not a.done()]
