"""The pages of a section, one of them asked for ahead: by the lane that got its cursor, however busy the reader is.

Owns which page that is. It changes when a request is made and nothing else: a page is asked for behind the answer to
the one before it, as ever. It costs one request more where a reading is broken off.
"""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

from annolake.extract.cursor.lanes import Submit
from annolake.extract.cursor.section_reader import CursorSlice, FetchAt
from annolake.extract.cursor.single_pass import Ask


class PageAhead:
    """Asks for what one reader asks for and, once that is answered, for the page behind it. `limit` is the reader's."""

    def __init__(self, fetch: FetchAt, submit: Submit, limit: Callable[[], int]) -> None:
        self._fetch, self._submit, self._limit = fetch, submit, limit
        self._lock = Lock()
        self._ahead: tuple[Ask, Future[CursorSlice]] | None = None
        self._wanted: Ask | None = None  # what the reader asked for last
        self._unwanted: tuple[Ask, CursorSlice] | None = None  # the page ahead, where it came before it was asked for
        self._ended = False

    def ask(self, ask: Ask) -> Future[CursorSlice]:
        """Return what will have the page."""
        with self._lock:
            self._wanted = ask
            ahead, self._ahead = self._ahead, None
            there, self._unwanted = self._unwanted, None
            if ahead is None or ahead[0] != ask:  # as many rows as before may be too many by now
                return self._submit(self._page, ask)
            if there and there[0] == ask:
                self._go_on(there[1])
            return ahead[1]

    def end(self) -> None:
        """Ask for no more."""
        with self._lock:
            self._ended = True
            if self._ahead:
                self._ahead[1].cancel()

    def _page(self, ask: Ask) -> CursorSlice:
        """Be called by a lane."""
        page = self._fetch(*ask)
        with self._lock:
            if ask == self._wanted:
                self._go_on(page)
            else:
                self._unwanted = ask, page
        return page

    def _go_on(self, page: CursorSlice) -> None:
        if page.cursor is not None and not self._ended:
            ask = Ask(page.cursor, self._limit())
            self._ahead = ask, self._submit(self._page, ask)
