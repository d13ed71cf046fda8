"""A section read straight on: each page from the cursor behind the one before, one request for each 100 rows.

Owns that reading, and the looking for signs that it was not enough. No two of its pages share a row, and cursors stand
at the ends of pages alone, so that joints can't be had for less than twice the requests (`chains`).

**Proved.** Every stayer is met if cursors are places between rows; or if the number of rows before each cursor was
the same when it was given and when it was used. The end is a page without a next cursor.

**Not proved** is the latter. It is looked for:
- a row met twice in this reading, or met before in another section, or with a time at or after `touched_since`,
  which is when the export began: somebody is at work, and the reading is given up there (`moved`);
- when the end is reached, one cursor for every ten pages, `PROBES` at most, spread over the section, is asked again for
  one row: it must be the row that followed then. A number of rows before it that is not what it was shows there;
- `look`, to be asked for later: the first and the last page are as they were.

**No loop.** A cursor that comes again is an error; so are `cursors.STALLED` pages in a row without a row.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from annolake.extract.cursor.section_reader import CursorSlice, Piece, Reader, Section
from annolake.extract.paging.readings import Ledger

P = TypeVar("P")

PROBES = 16

_PAGES_A_PROBE = 10


@dataclass(frozen=True, slots=True)
class _Mark:
    """What was behind a cursor: a page, and whether the section ended with it; or its first row alone (None)."""

    cursor: str | None
    limit: int
    keys: tuple[bytes, ...]
    last: bool | None = None

    def fits(self, page: CursorSlice[P]) -> bool:
        """Tell whether the same is there.

        One row that was asked for alone may be left out, with others behind it, or come with more than were asked for.
        """
        if self.last is None:
            left_out = not page.keys and page.cursor is not None
            return left_out or tuple(page.keys[:1]) == self.keys
        return tuple(page.keys) == self.keys and self.last == (page.cursor is None)


class SinglePassReader(Reader[P]):
    """Reads a section once, straight on; the module tells what that proves.

    `touched_since`: microseconds since 1970. `again`: the section was read before, and only rows not met then
    are wanted.
    """

    def __init__(
        self,
        section: Section[P],
        ledger: Ledger,
        *,
        limit: Callable[[], int],
        later: Collection[str] = (),
        told: int | None = None,
        touched_since: int | None = None,
        again: bool = False,
    ) -> None:
        super().__init__(section, ledger, limit=limit, later=later, told=told)
        self._again = again
        self._touched_since = touched_since
        self._touched = False  # a row was, since then
        self._pages = 0
        self._ends: list[_Mark] = []
        self._probes: list[_Mark] = []
        self._apart = 1  # pages between two cursors to be asked again

    def pages(self) -> Iterator[Piece[P]]:
        """Yield the pages up to the end, or to the first that shows that rows moved.

        Raises UnavailableError where a cursor comes again or the section never ends, and what `fetch` raises.
        """
        cursor: str | None = None
        given: set[int] = set()
        ended = False
        while not ended:
            limit = self._limit()
            page = self._fetch(cursor, limit)
            wanted = self._meet(page)
            self._remember(_Mark(cursor, limit, tuple(page.keys), page.cursor is None))
            ended = self._closes(page)
            yield Piece(self._section.name, page, wanted)
            if self.moved:
                return
            cursor = page.cursor
            if hash(cursor) in given:
                raise self._unavailable("has a cursor that comes again")
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

    def _meet(self, page: CursorSlice[P]) -> frozenset[bytes]:
        numbers = self._ledger.seen_keys.meet(page.keys, self._number)
        anew = self._note(page, numbers)
        if self._touched_since is not None:
            times = (time for values in page.times.values() for time in values if time is not None)
            self._touched |= max(times, default=self._touched_since - 1) >= self._touched_since
        named = [
            (key, number) for key, number in zip(page.keys, numbers, strict=True) if key not in page.ambiguous_keys
        ]
        wanted = frozenset(key for key, _ in named)
        self.reading.again += sum(number == self._number for _, number in named) + len(named) - len(wanted)
        return frozenset(anew) if self._again else wanted

    def _remember(self, time: _Mark) -> None:
        self._ends = [*self._ends[:1], time]
        if self._pages and self._pages % self._apart == 0:
            self._probes.append(_Mark(time.cursor, 1, time.keys[:1]))
        if len(self._probes) > PROBES:
            self._probes = self._probes[1::2]
            self._apart *= 2
        self._pages += 1

    def _probe(self) -> None:
        many = self._pages // _PAGES_A_PROBE
        if many:
            apart = -(-len(self._probes) // many)
            self._compare(self._probes[apart // 2 :: apart])

    def _compare(self, marks: Sequence[_Mark]) -> None:
        for time in marks:
            if not time.fits(self._fetch(time.cursor, time.limit)):
                self.reading.shifts += 1
                return
