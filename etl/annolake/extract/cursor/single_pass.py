"""A section, or a part of one, read straight on: each page from the cursor behind the one before.

Owns that reading, and the looking for signs that it was not enough. It makes no request: `ask` tells what is to be
asked for, `take` what the answer is worth, so that several parts can be read at once. What it proves, and what it only
looks for, is P10 in docs/paging.md#single-pass.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import msgspec

from annolake.extract.cursor.lanes import Lanes
from annolake.extract.cursor.section_reader import CursorSlice, Reader, Section, unknown
from annolake.extract.paging.readings import Ledger
from annolake.extract.paging.slices import Piece

PROBES = 16

_PAGES_A_PROBE = 10


class Ask(NamedTuple):
    """What is asked for: so many rows at a cursor."""

    cursor: str | None
    limit: int


class Place(msgspec.Struct, frozen=True):
    """What was behind a cursor: a page, and whether the section ended with it; or its first row alone (None)."""

    ask: Ask
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

    `touched_since`: microseconds since 1970. `again`: the section was read before, and only rows not met then are
    wanted. `ends` are the places to be asked for once more later on: the first page and the last one.
    """

    def __init__(
        self,
        section: Section,
        ledger: Ledger,
        *,
        limit: Callable[[], int],
        later: Collection[str] = (),
        size: Callable[[], int | None] = unknown,
        touched_since: int | None = None,
        again: bool = False,
    ) -> None:
        super().__init__(section, ledger, limit=limit, later=later, size=size)
        self.again = again
        self.ends: list[Place] = []
        self.read_to_end = False
        self._touched_since = touched_since
        self._touched = False  # a row was, since then
        self._cursor: str | None = None
        self._given: set[int] = set()
        self._asked = Ask(None, 0)
        self._pages = 0
        self._probes: list[Place] = []
        self._apart = 1  # pages between two cursors to be asked again
        self._checks: deque[Place] = deque()

    def pages(self, lanes: Lanes) -> Iterator[Piece | None]:
        """Yield the pages up to the end, or to the first that shows that rows moved; None once each is asked for.

        Raises UnavailableError where a cursor comes again or the section never ends, and what `fetch` raises.
        """
        while ask := self.ask():
            page = lanes.submit(self.section.fetch, *ask)
            yield None
            lanes.wait_for_all([page])
            piece = self.take(page.result())
            if piece:
                yield piece

    def ask(self) -> Ask | None:
        """Return what to ask for next; None: nothing, the reading has ended. Raises UnavailableError."""
        if self.moved or (self.read_to_end and not self._checks):
            return None
        self._count_request()
        self._asked = self._checks[0].ask if self._checks else Ask(self._cursor, self._limit())
        return self._asked

    def take(self, page: CursorSlice) -> Piece | None:
        """Note the answer; return what is to be taken of it. Raises UnavailableError where the section never ends."""
        if self._checks:
            self.compare(self._checks.popleft(), page)
            return None
        piece, progress = self._note(page)
        self._remember(Place(self._asked, tuple(page.keys), page.cursor is None))
        self.read_to_end = self._closes(page)
        if self.read_to_end:
            self._checks.extend(self._probed())
        elif not self.moved:
            self._go_on(page, progress=progress)
        return piece

    def compare(self, place: Place, page: CursorSlice) -> None:
        """Note a sign of movement unless there is what was there."""
        self.reading.shifts += not place.fits(page)

    @property
    def moved(self) -> bool:
        """Tell whether the section was seen to change."""
        return self.reading.moved or self.reading.crossed > 0 or self._touched

    def _note(self, page: CursorSlice) -> tuple[Piece, bool]:
        """Note the rows as met, and which are wanted; tell whether any is new to the reading.

        No row may come twice, be it in one page.
        """
        noted = self._notes.note(page)
        if self._touched_since is not None and not self._touched:
            newest = max(filter(None, chain.from_iterable(page.times.values())), default=0)
            self._touched = newest >= self._touched_since
        named = [key for key in page.keys if key not in page.ambiguous_keys]
        wanted = frozenset(named)
        self.reading.again += len(named) - len(wanted)
        piece = Piece(self.section.name, page, noted.numbers, noted.anew if self.again else wanted)
        return piece, noted.progress

    def _go_on(self, page: CursorSlice, *, progress: bool) -> None:
        self._cursor = page.cursor
        if hash(page.cursor) in self._given:
            raise self._patience.error("has a cursor that repeats")
        self._given.add(hash(page.cursor))
        self._stall(progress=progress)

    def _remember(self, place: Place) -> None:
        self.ends = [*self.ends[:1], place]
        if self._pages and self._pages % self._apart == 0:
            self._probes.append(Place(Ask(place.ask.cursor, 1), place.keys[:1]))
        if len(self._probes) > PROBES:
            self._probes = self._probes[1::2]
            self._apart *= 2
        self._pages += 1

    def _probed(self) -> Iterable[Place]:
        many = self._pages // _PAGES_A_PROBE
        if not many:
            return []
        apart = -(-len(self._probes) // many)
        return self._probes[apart // 2 :: apart]
