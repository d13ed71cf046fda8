"""A section of a queue's items, page by page at cursors: what the two ways of reading one have in common.

Owns the types of their one seam (`FetchAt`), and the end of a section that never ends. Pure logic over a function that
fetches the page at a cursor: no HTTP, no threads. What a cursor is taken for: docs/paging.md#assumptions, A6.
"""

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Literal

import msgspec

from annolake.extract.paging.notes import Notes
from annolake.extract.paging.patience import STALLED, Patience
from annolake.extract.paging.readings import Ledger, Reading
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.watermark import Watermark

MOST_PAGES = 2_000_000
MOST_HIDDEN = 100_000  # reported rows that may be left out of pages in a row, ten a page
RESTARTS = 6


class CursorSlice(Slice, frozen=True, kw_only=True):
    """A page of a section, and the cursor behind it: None where the section ends with it.

    `starts` has when the run of each readable item began (microseconds since 1970); None for one that has no start, and
    for a THREAD.
    """

    cursor: str | None
    starts: Sequence[int | None] = ()


class Part(msgspec.Struct, frozen=True):
    """Items of a section: of one type, or of both (None); those that began in [`low`, `high`], both of them included.

    Bounds are microseconds since 1970; None: no bound. With a bound, items without a start are in no part.
    """

    kind: Literal["RUN", "THREAD"] | None = None
    low: int | None = None
    high: int | None = None

    def holds(self, page: CursorSlice) -> bool:
        """Tell whether every readable item of the page can be in this part."""
        if self.kind == "THREAD":
            return all(start is None for start in page.starts)
        low = _FIRST if self.low is None else self.low
        high = _LAST if self.high is None else self.high
        return self == WHOLE or all(start is not None and low <= start <= high for start in page.starts)


WHOLE = Part()

_FIRST, _LAST = -(1 << 62), 1 << 62


FetchAt = Callable[[str | None, int], CursorSlice]  # (cursor, limit); None: the start of the section


def _refused(_part: Part) -> None:
    """Do as a service that reports no sizes."""


class Section(msgspec.Struct, frozen=True):
    """A section to read: its name, its pages, and from which watermark on (None: all of it).

    `part` returns the pages of a part of it, `count` the number of items that the service reports for one (None: it
    does not). Without `part` the section is always read as a whole.
    """

    name: str
    fetch: FetchAt
    watermark: Watermark | None = None
    part: Callable[[Part], FetchAt] | None = None
    count: Callable[[Part], int | None] = _refused


def unknown() -> None:
    """Return the size of a section of which none is known."""


class Reader:
    """What both ways of reading share. `later` are the sections behind this one in a row's life.

    `reading` has what was seen, `seen` is the number of rows met in this reading. `size` returns the number of rows
    that the service reports (None: it does not).
    """

    def __init__(
        self,
        section: Section,
        ledger: Ledger,
        *,
        limit: Callable[[], int],
        later: Collection[str] = (),
        size: Callable[[], int | None] = unknown,
        earlier: Reading | None = None,
    ) -> None:
        self.requests = 0
        self.section = section
        self._limit = limit
        self._size = size
        self._notes = Notes(section.name, ledger, watermark=section.watermark, earlier=earlier, later=later)

    @property
    def reading(self) -> Reading:
        """What was seen."""
        return self._notes.reading

    @property
    def seen(self) -> int:
        """Rows met in this reading."""
        return self._notes.seen

    @cached_property
    def _patience(self) -> Patience:
        name = self.section.name
        answers = STALLED + min(self._size() or 0, MOST_HIDDEN) // 10
        return Patience(f"the section {name}", name, lambda: self.requests, restarts=RESTARTS, answers=answers)

    def _fetch(self, cursor: str | None, limit: int) -> CursorSlice:
        self._count_request()
        return self.section.fetch(cursor, limit)

    def _count_request(self) -> None:
        self.requests += 1
        if self.requests > MOST_PAGES:
            raise self._patience.error("never ends")

    def _closes(self, page: CursorSlice) -> bool:
        """Note whether the page is in the order it was said to be in; tell whether the reading ends with it."""
        watermark = self.section.watermark
        if watermark:
            self.reading.contradicted = not watermark.holds(page)
        return page.cursor is None or bool(watermark and (self.reading.contradicted or watermark.closes(page)))

    def _stall(self, *, progress: bool) -> None:
        if self._patience.is_out(progress=progress):
            raise self._patience.stalled()
