"""A section read in overlapping pages: two readers in turn, half a page apart, that prove each other.

Owns that reading. It takes two requests for each 100 rows: each of the two goes on from its own last cursor, so that
every page begins in the middle of the one before it. What it proves: P11 and P12 in
docs/paging.md#overlapping-passes.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator

import msgspec

from annolake.extract.cursor.section_reader import CursorSlice, Reader, Section, unknown
from annolake.extract.paging.overlap import JOINING, LEAST, Overlap, Tail
from annolake.extract.paging.readings import Ledger, Reading
from annolake.extract.paging.slices import Piece

MOST_REQUESTS = 2_000  # of a reading in pages that join, and four for each row of the section

_PLACES = 64  # cursors that can be gone back to


class _Place(msgspec.Struct, frozen=True):
    """A cursor, and how many rows were before it when it was given."""

    at: int
    cursor: str | None


_START = _Place(0, None)


class OverlappingReader(Reader):
    """Reads a section in overlapping pages; `earlier` is the reading of the section before that was read so."""

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
        super().__init__(section, ledger, limit=limit, later=later, size=size, earlier=earlier)
        self._tail = Tail()
        self._plan = [_START]  # where the next pages begin, in the section's order
        self._half: int | None = None  # rows of the page that sets the two apart, when it comes next
        self._behind: deque[_Place] = deque(maxlen=_PLACES)
        self._longest = 0
        self._furthest = 0  # rows up to the furthest frontier of this reading
        self._backs = 0
        self._unjoined = False
        self._passed = False  # a page without a row, which had another one behind it

    def pages(self) -> Iterator[Piece]:
        """Yield the pages that are to be taken, up to the end.

        Raises UnavailableError where the section never ends, and what `fetch` raises.
        """
        ended = False
        while not ended:
            if not self._unjoined and self.requests > MOST_REQUESTS + 4 * max(self._size() or 0, self._furthest):
                self._start_unjoined()
            place, half, self._half = self._plan.pop(0), self._half, None
            page = self._fetch(place.cursor, half or max(self._limit(), LEAST))
            if half and len(page.keys) > half:  # the page before once more: the service ignores the limit
                self._give_up_joining()
                continue
            self._longest = max(self._longest, len(page.keys))
            overlap = self._tail.compare(place.at, page.names)
            if not page.keys and page.cursor is not None:
                self._pass_over(place, page.cursor)
                continue
            if not self._joins(place, overlap):
                if place.cursor is not None:
                    self._step_back(place)
                    continue
                self._open()
                overlap = Overlap()
            ended = self._closes(page)
            yield self._take(place, page, overlap, ended=ended)

    def _joins(self, place: _Place, overlap: Overlap) -> bool:
        self.reading.disorders += not overlap.ordered
        if self._unjoined:
            return True
        if self._passed and not overlap.anchors:
            self._passed = False
            self.reading.gaps += 1
            return True
        if place.cursor is None:
            return bool(overlap.anchors) and overlap.ordered
        return overlap.holds(max(1, min(JOINING, self._longest // 4, len(self._tail))))

    def _open(self) -> None:
        """Begin at the start; again, if pages were taken before."""
        self._behind.clear()
        if self._tail:
            self.reading.breaks += 1
            self._notes.restart()
            self._tail.clear()
            if self._patience.restart():
                self._give_up_joining()

    def _give_up_joining(self) -> None:
        """Take what comes from now on, to the section's end."""
        self.reading.joined, self._unjoined = False, True

    def _start_unjoined(self) -> None:
        """Do so from the section's start on, as another reading: what was met before is new to it."""
        self._notes.restart()
        self._tail.clear()
        self._behind.clear()
        self._plan, self._half = [_START], None
        self._give_up_joining()

    def _take(self, place: _Place, page: CursorSlice, overlap: Overlap, *, ended: bool) -> Piece:
        rows = len(page.keys)
        noted = self._notes.note(page, overlap, self._tail)
        self.reading.shifts += overlap.moved or (overlap.left > 0 and (ended or overlap.behind < rows))
        self._tail.extend(place.at, page.names, overlap, ends=ended)
        self._furthest = max(self._furthest, self._tail.end)
        self._stall(progress=noted.progress)
        self._backs = 0 if noted.progress else self._backs
        self._behind.append(place)
        self._plan = sorted([*self._plan, _Place(place.at + rows, page.cursor)], key=lambda one: one.at)
        if len(self._plan) == 1 and not self._unjoined and rows:
            self._plan = [place, *self._plan]
            self._half = max(1, rows // 2)
        return Piece(self.section.name, page, noted.numbers, noted.anew | noted.again)

    def _pass_over(self, place: _Place, cursor: str) -> None:
        """Go on behind a page that shows nothing: its rows may be left out."""
        self._passed = True
        self._stall(progress=False)
        self._plan = sorted([*self._plan, _Place(place.at, cursor)], key=lambda one: one.at)

    def _step_back(self, place: _Place) -> None:
        """Throw the page away, and begin further back: half a page, a page, two pages, ..."""
        self.reading.breaks += 1
        self._stall(progress=False)
        at = place.at - (max(self._limit() // 2, 1) << self._backs)
        self._backs += 1
        while self._behind and self._behind[-1].at > at:
            self._behind.pop()
        known = self._tail.end - len(self._tail)
        self._plan = [self._behind[-1] if self._behind and self._behind[-1].at >= known else _START]
