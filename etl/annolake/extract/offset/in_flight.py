"""Requests in flight: slices of a list are asked for ahead of need and taken strictly in the order asked.

Owns the types of paging's one seam (`Fetch`) and the window of requests under way. Knows nothing of what an answer
means; never starts a thread, never waits.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from annolake.extract.paging.slices import Slice

P = TypeVar("P")

Fetch = Callable[[int, int], Future[Slice[P]]]  # (offset, limit)


@dataclass(frozen=True, slots=True)
class Ask(Generic[P]):
    """A request: `expected` rows by what the server gave so far, the first `overlap` of them met before.

    No overlap at all is a look behind the end: see `ending`.
    """

    offset: int
    limit: int
    expected: int
    overlap: int
    answer: Future[Slice[P]]


class Window(Generic[P]):
    """The requests of one list that are under way, in the order asked."""

    def __init__(self, fetch: Fetch[P]) -> None:
        self.requests = 0
        self._fetch = fetch
        self._asks: deque[Ask[P]] = deque()
        self._dropped: list[Future[Slice[P]]] = []

    def __len__(self) -> int:
        return len(self._asks)

    @property
    def first(self) -> Ask[P]:
        """The request whose answer is taken next."""
        return self._asks[0]

    @property
    def last(self) -> Ask[P]:
        """The request sent last."""
        return self._asks[-1]

    def send(self, offset: int, limit: int, expected: int, overlap: int) -> None:
        """Ask for a slice."""
        self.requests += 1
        self._asks.append(Ask(offset, limit, expected, overlap, self._fetch(offset, limit)))

    def ready(self) -> bool:
        """Tell whether the next answer is there. Raises the error of any request, not only of the next one."""
        for ask in self._asks:
            if ask.answer.done():
                ask.answer.result()
        return self._asks[0].answer.done()

    def pop(self) -> tuple[Ask[P], Slice[P]]:
        """Take the next answer, which is ready."""
        ask = self._asks.popleft()
        return ask, ask.answer.result()

    def drop(self) -> None:
        """Throw the whole window away: what has not started never will, what runs is nobody's."""
        self._dropped = [answer for answer in self._dropped if not answer.done()]
        running = [ask.answer for ask in self._asks if not ask.answer.cancel()]
        self.requests -= len(self._asks) - len(running)  # a cancelled one was never sent
        self._dropped += running
        self._asks.clear()

    def pending(self) -> list[Future[Slice[P]]]:
        """Return the requests not answered yet, thrown away ones included."""
        return [a for a in (*(ask.answer for ask in self._asks), *self._dropped) if not a.done()]
