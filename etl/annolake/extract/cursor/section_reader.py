"""A section of a queue's items, page by page at cursors: what the two ways of reading one have in common.

Owns the types of their one seam (`FetchAt`), the count of what a page tells, and the end of what never ends. Pure logic
over a function that fetches the page at a cursor: no HTTP, no threads.

A *cursor* is opaque, and stands behind the last row of the page that gave it. It may be a count of rows (then it shifts
with the rows before it: the service's public docs say of one that it "counts" items) or a place between two rows.
Nothing tells which. *Reading* and *stayer* are what they are in `pages`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from annolake.errors import UnavailableError
from annolake.extract.paging.readings import Ledger, Reading
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.watermark import Watermark

P = TypeVar("P")

STALLED = 100  # pages in a row without a row that is new to the reading
MOST_PAGES = 2_000_000
MOST_HIDDEN = 100_000  # told rows that may be left out of pages in a row, ten a page


@dataclass(frozen=True, slots=True)
class CursorSlice(Slice[P]):
    """A page of a section, and the cursor behind it: None where the section ends with it."""

    cursor: str | None


FetchAt = Callable[[str | None, int], CursorSlice[P]]  # (cursor, limit); None: the start of the section


@dataclass(frozen=True, slots=True)
class Piece(Generic[P]):
    """A page to be taken: of its rows those `wanted` that this export meets here for the first time, or anew."""

    section: str
    slice: CursorSlice[P]
    wanted: frozenset[bytes]


@dataclass(frozen=True)
class Section(Generic[P]):
    """A section to read: its name, its pages, and from which mark on (None: all of it)."""

    name: str
    fetch: FetchAt[P]
    watermark: Watermark | None = None


class Reader(Generic[P]):
    """What both ways of reading share. `later` are the sections behind this one in a row's life.

    `reading` tells what was seen, `back` how many of the rows that crossed came from a later section, `seen` how many
    rows were met in this reading. `told` is how many rows the service says there are (None: it does not).
    """

    def __init__(
        self,
        section: Section[P],
        ledger: Ledger,
        *,
        limit: Callable[[], int],
        later: Collection[str] = (),
        told: int | None = None,
    ) -> None:
        self.requests = 0
        self.back = 0
        self.seen = 0
        self._patience = STALLED + min(told or 0, MOST_HIDDEN) // 10
        self._section = section
        self._ledger = ledger
        self._limit = limit
        self._later = later
        self._number = ledger.open(section.name)
        self._idle = 0
        self.reading = Reading(self._number, whole=section.watermark is None)

    @property
    def name(self) -> str:
        """The section's name."""
        return self._section.name

    def _fetch(self, cursor: str | None, limit: int) -> CursorSlice[P]:
        self.requests += 1
        if self.requests > MOST_PAGES:
            raise self._unavailable("never ends")
        return self._section.fetch(cursor, limit)

    def _note(self, page: CursorSlice[P], numbers: Sequence[int], *, behind: int = 0) -> set[bytes]:
        """Count the rows met for the first time or in another section before; return them, vague ones aside.

        Rows from index `behind` on are new to the reading, whatever they are.
        """
        watermark, lists = self._section.watermark, self._ledger.lists
        asked_for = watermark.span(page) if watermark else range(len(page.keys))
        anew: set[bytes] = set()
        for index, (key, number) in enumerate(zip(page.keys, numbers, strict=True)):
            self.reading.rows += number == 0
            self.seen += index >= behind if key in page.ambiguous_keys else number != self._number
            if key in page.ambiguous_keys or (number and lists[number - 1] == self._section.name):
                continue
            anew.add(key)
            self.reading.fresh += number == 0 and index in asked_for
            self.reading.crossed += number > 0
            self.back += number > 0 and lists[number - 1] in self._later
        return anew

    def _closes(self, page: CursorSlice[P]) -> bool:
        """Note whether the page is in the order it was said to be in; tell whether the reading ends with it."""
        watermark = self._section.watermark
        if watermark:
            self.reading.contradicted = not watermark.holds(page)
        return page.cursor is None or bool(watermark and (self.reading.contradicted or watermark.closes(page)))

    def _stall(self, *, progress: bool) -> None:
        self._idle = 0 if progress else self._idle + 1
        if self._idle > self._patience:
            raise self._unavailable("repeats itself, or changes faster than it can be read")

    def _unavailable(self, how: str) -> UnavailableError:
        return UnavailableError(
            f"the section {self._section.name} {how}: {self.requests} pages were asked for; run again later",
            status=200,
            endpoint=self._section.name,
            attempts=self.requests,
        )
