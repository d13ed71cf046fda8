"""The threads endpoint as a source: the turns of THREAD items, page by page, each thread whole or told as unread.

Owns when a thread is known to be read whole (docs/paging.md#turns-of-a-thread), and what shows that the service serves
no threads. Pages are asked for in the lanes of the queries of runs, where they delay no listing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial

from annolake.errors import GoneError, NotFoundError, RefusedError, ServiceError, TooLargeError, UnavailableError
from annolake.extract.endpoints.threads import MOST_TURNS, ThreadsListing, url_name
from annolake.extract.page_size import PageSize
from annolake.sources.source import Access
from annolake.transform.guard import not_read
from annolake.transform.turns import Thread, TurnsPage, decode_turns, turn_selects

MOST_READINGS = 4
"""How often a thread of several pages is read until two readings agree."""

MOST_FAILURES = 3
"""After so many threads in a row that could not be read, no other is asked for."""

MOST_TURNED_AWAY = 20
"""After so many that were refused or not found, and none answered, the service is taken to serve none. Beside answers
so many more may be refused than were answered.
"""

_QUEUES_AT_ONCE = 4  # that may hold pages of turns at a time
_MOST_PAGES = 100_000
_UNKNOWN = 404


class ThreadReading:
    """A thread on its way: its `thread`, the `cursor` to go on at, and in the end whether it was read `whole`."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread
        self.cursor: str | None = None
        self.whole = False
        self.turns = 0
        self._readings = 1
        self._pages = 0
        self._keys: list[bytes] = []
        self._met: set[bytes] = set()
        self._before: list[bytes] | None = None

    def take(self, page: TurnsPage) -> bool:
        """Note a page; tell whether another is to be asked for.

        One answer shows a moment. Over several pages a turn can move to one that was read before, so a thread of more
        than one is read until two readings show the same turns.
        """
        self._pages += 1
        idle = self._met.issuperset(page.keys)
        self._met.update(page.keys)
        self._keys += page.keys
        if page.cursor is not None:
            self.cursor = page.cursor
            return not idle and self._pages < _MOST_PAGES
        self.cursor, self.turns = None, len(self._met)
        if self._pages == 1 or self._keys == self._before:
            self.whole = True
            return False
        self._before, self._keys, self._met, self._pages = self._keys, [], set(), 0
        self._readings += 1
        return self._readings <= MOST_READINGS


class TurnsSource:
    """The turns of a queue's threads.

    `refused` is why the service was found to serve none, `unread` how many threads were not read whole for another
    reason, the last of which is `why`. A thread that the service does not know has no turns, and is neither. Nothing is
    concluded from one thread: it may be the only one that is refused.
    """

    def __init__(self, access: Access) -> None:
        settings = access.settings
        self.unread = 0
        self.why: str | None = None
        self._access = access
        self._listing = ThreadsListing(
            access.client, access.caller, turn_selects(without=not_read(access.guards.turns))
        )
        self._largest = min(settings.max_inflight_mb, settings.max_response_mb) * 1_000_000
        budget = settings.max_inflight_mb * 1_000_000 // _QUEUES_AT_ONCE
        self._size = PageSize(MOST_TURNS, budget, settings.concurrency, self._largest)
        self._asked: deque[tuple[ThreadReading, Future[TurnsPage]]] = deque()
        self._refusal: ServiceError | None = None
        self._answers = 0
        self._failures = 0  # in a row
        self._refused = 0
        self._not_found = 0

    @property
    def refused(self) -> ServiceError | None:
        """The refusal that concerns all threads, for each that was asked for was turned away."""
        return None if self._answers or self._failures else self._refusal

    @property
    def _is_over(self) -> bool:
        """Whether no more threads are asked for."""
        never = not self._answers and self._refused + self._not_found >= MOST_TURNED_AWAY
        seldom = self._refused > self._answers + MOST_TURNED_AWAY
        return never or seldom or self._failures >= MOST_FAILURES

    def read(self, threads: Iterable[Thread]) -> Iterator[tuple[ThreadReading, TurnsPage]]:
        """Have threads asked for, and yield pages as they come: no more than `source.concurrency` are under way."""
        most = self._access.settings.concurrency
        for thread in threads:
            if self._is_over:
                self._left(self.why or str(self._refusal))
            elif url_name(thread.thread_id) is None:
                self._left("its id is too long for a URL")
            else:
                reading = ThreadReading(thread)
                self._asked.append((reading, self._submit(reading)))
                yield from self._pages(most)

    def rest(self) -> Iterator[tuple[ThreadReading, TurnsPage]]:
        """Yield the pages of all threads that are under way."""
        return self._pages(0)

    def close(self) -> None:
        """Ask for nothing more."""
        for _, future in self._asked:
            future.cancel()

    def _pages(self, most: int) -> Iterator[tuple[ThreadReading, TurnsPage]]:
        while len(self._asked) > most:
            reading, future = self._asked.popleft()
            try:
                page = future.result()
            except ServiceError as error:
                self._note(error)
                continue
            self._answers, self._failures = self._answers + 1, 0
            if reading.take(page):
                self._asked.appendleft((reading, self._submit(reading)))
            elif not reading.whole:
                self._left("it has no end, or changes faster than it can be read")
            yield reading, page

    def _note(self, error: ServiceError) -> None:
        if not isinstance(error, RefusedError | NotFoundError | GoneError):
            self._failures += isinstance(error, UnavailableError)
            self._left(str(error))
            return
        self._refusal = error
        if error.status == _UNKNOWN:
            self._not_found += 1
        else:
            self._refused += 1
            self._left(str(error))

    def _left(self, why: str) -> None:
        self.unread += 1
        self.why = why

    def _submit(self, reading: ThreadReading) -> "Future[TurnsPage]":
        return self._access.query_lanes.submit(self._page, reading.thread, reading.cursor)

    def _page(self, thread: Thread, cursor: str | None) -> TurnsPage:
        decode: Callable[[bytes], TurnsPage] = partial(decode_turns, thread=thread, guard=self._access.guards.turns)
        name, rows = url_name(thread.thread_id) or "", self._size()
        while True:
            try:
                page = self._listing.read(name, thread.project_id, cursor, rows, decode)
            except TooLargeError:
                if rows == 1:
                    raise
                self._size.refused(rows, self._largest)
                rows = max(1, min(rows // 2, self._size()))
                continue
            self._size.saw(len(page.keys), page.size)
            return page
