"""A section read straight on: each page from the cursor behind the one before, one request for each 100 rows.

Owns that reading, and the looking for signs that it was not enough. What it proves, and what it only looks for, is P10
in docs/paging.md#single-pass.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from annolake.extract.cursor.section_reader import CursorSlice, Reader, Section
from annolake.extract.paging.readings import Ledger
from annolake.extract.paging.slices import Piece

PROBES = 16

_PAGES_A_PROBE = 10


@dataclass(frozen=True, slots=True)
class _Place:
    """What was behind a cursor: a page, and whether the section ended with it; or its first row alone (None)."""

    cursor: str | None
    limit: int
    keys: tuple[bytes, ...]
    last: bool | None = None

    def fits(self, page: CursorSlice) -> bool:
        """Tell whether the same is there.

        One row that was asked for alone may be left out, with others behind it, or come with more than were asked for.
        """
        if self.last is None:
            left_out = not page.keys and page.cursor is not None
            return left_out or tuple(page.keys[:1]) == self.keys
        return tuple(page.keys) == self.keys and self.last == (page.cursor is None)


class SinglePassReader(Reader):
    """Reads a section once, straight on.

    `touched_since`: microseconds since 1970. `again`: the section was read before, and only rows not met then
    are wanted.
    """

    def __init__(
        self,
        section: Section,
        ledger: Ledger,
        *,
        limit: Callable[[], int],
        later: Collection[str] = (),
        size: int | None = None,
        touched_since: int | None = None,
        again: bool = False,
    ) -> None:
        super().__init__(section, ledger, limit=limit, later=later, size=size)
        self._again = again
        self._touched_since = touched_since
        self._touched = False  # a row was, since then
        self._pages = 0
        self._ends: list[_Place] = []
        self._probes: list[_Place] = []
        self._apart = 1  # pages between two cursors to be asked again

    def pages(self) -> Iterator[Piece]:
        """Yield the pages up to the end, or to the first that shows that rows moved.

        Raises UnavailableError where a cursor comes again or the section never ends, and what `fetch` raises.
        """
        cursor: str | None = None
        given: set[int] = set()
        ended = False
        while not ended:
            limit = self._limit()
            page = self._fetch(cursor, limit)
            piece = self._take(page)
            self._remember(_Place(cursor, limit, tuple(page.keys), page.cursor is None))
            ended = self._closes(page)
            yield piece
            if self.moved:
                return
            cursor = page.cursor
            if hash(cursor) in given:
                raise self._patience.error("has a cursor that repeats")
            given.add(hash(cursor))
            self._stall(progress=bool(page.keys))
        self._probe()

    def look(self) -> bool:
        """Tell whether the first or the last page is another one than it was."""
        self._compare(self._ends)
        return self.moved

    @property
    def moved(self) -> bool:
        """Tell whether the section was seen to change."""
        return self.reading.moved or self.reading.crossed > 0 or self._touched

    def _take(self, page: CursorSlice) -> Piece:
        """Note the rows as met, and which are wanted. No row may come twice, be it in one page."""
        noted = self._notes.note(page)
        if self._touched_since is not None:
            times = (time for values in page.times.values() for time in values if time is not None)
            self._touched |= max(times, default=self._touched_since - 1) >= self._touched_since
        named = [key for key in page.keys if key not in page.ambiguous_keys]
        wanted = frozenset(named)
        self.reading.again += len(named) - len(wanted)
        return Piece(self._section.name, page, noted.numbers, noted.anew if self._again else wanted)

    def _remember(self, place: _Place) -> None:
        self._ends = [*self._ends[:1], place]
        if self._pages and self._pages % self._apart == 0:
            self._probes.append(_Place(place.cursor, 1, place.keys[:1]))
        if len(self._probes) > PROBES:
            self._probes = self._probes[1::2]
            self._apart *= 2
        self._pages += 1

    def _probe(self) -> None:
        many = self._pages // _PAGES_A_PROBE
        if many:
            apart = -(-len(self._probes) // many)
            self._compare(self._probes[apart // 2 :: apart])

    def _compare(self, places: Sequence[_Place]) -> None:
        for place in places:
            if not place.fits(self._fetch(place.cursor, place.limit)):
                self.reading.shifts += 1
                return
