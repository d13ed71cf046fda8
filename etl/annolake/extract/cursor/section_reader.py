"""A section of a queue's items, page by page at cursors: what the two ways of reading one have in common.

Owns the types of their one seam (`FetchAt`), and the end of a section that never ends. Pure logic over a function that
fetches the page at a cursor: no HTTP, no threads. What a cursor is taken for: docs/paging.md#assumptions, A6.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from annolake.extract.paging.notes import Notes
from annolake.extract.paging.patience import STALLED, Patience
from annolake.extract.paging.readings import Ledger, Reading
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.watermark import Watermark

MOST_PAGES = 2_000_000
MOST_HIDDEN = 100_000  # reported rows that may be left out of pages in a row, ten a page
RESTARTS = 6


@dataclass(frozen=True, slots=True)
class CursorSlice(Slice):
    """A page of a section, and the cursor behind it: None where the section ends with it."""

    cursor: str | None


FetchAt = Callable[[str | None, int], CursorSlice]  # (cursor, limit); None: the start of the section


@dataclass(frozen=True)
class Section:
    """A section to read: its name, its pages, and from which watermark on (None: all of it)."""

    name: str
    fetch: FetchAt
    watermark: Watermark | None = None


class Reader:
    """What both ways of reading share. `later` are the sections behind this one in a row's life.

    `reading` has what was seen, `seen` is the number of rows met in this reading. `size` is the number of rows that the
    service reports (None: it does not).
    """

    def __init__(
        self,
        section: Section,
        ledger: Ledger,
        *,
        limit: Callable[[], int],
        later: Collection[str] = (),
        size: int | None = None,
        earlier: Reading | None = None,
    ) -> None:
        self.requests = 0
        self._section = section
        self._limit = limit
        self._notes = Notes(section.name, ledger, watermark=section.watermark, earlier=earlier, later=later)
        self._patience = Patience(
            f"the section {section.name}",
            section.name,
            lambda: self.requests,
            restarts=RESTARTS,
            answers=STALLED + min(size or 0, MOST_HIDDEN) // 10,
        )

    @property
    def reading(self) -> Reading:
        """What was seen."""
        return self._notes.reading

    @property
    def seen(self) -> int:
        """Rows met in this reading."""
        return self._notes.seen

    def _fetch(self, cursor: str | None, limit: int) -> CursorSlice:
        self.requests += 1
        if self.requests > MOST_PAGES:
            raise self._patience.error("never ends")
        return self._section.fetch(cursor, limit)

    def _closes(self, page: CursorSlice) -> bool:
        """Note whether the page is in the order it was said to be in; tell whether the reading ends with it."""
        watermark = self._section.watermark
        if watermark:
            self.reading.contradicted = not watermark.holds(page)
        return page.cursor is None or bool(watermark and (self.reading.contradicted or watermark.closes(page)))

    def _stall(self, *, progress: bool) -> None:
        if self._patience.is_out(progress=progress):
            raise self._patience.stalled()
