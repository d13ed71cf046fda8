"""A section read in two chains of pages, half a page apart, that overlap and so prove each other.

Owns that reading. It takes two requests for each 100 rows: by turns, each chain goes on from its own last cursor, so
that every page begins in the middle of the one before it.

**Assumed.** (a) A page is one contiguous part of the section at one moment. (b) The section has one order. (c) Of the
rows that join a page at least one was not moved between the two pages that hold it. (d) A page without a next cursor
ends with the last row of the section at its moment. What a cursor stands for is not assumed.

**Invariant.** Every stayer at or before the last row taken has been met. A page is taken only if it opens the section
(it was asked for without a cursor) or *joins*: of its first 2k rows at least k are among the last `joint.TAIL_ROWS`
rows read, in the order they had (k is 3, less where pages are shorter than 12 rows). The proof is that of `pages`.
A page that does not join is thrown away, and the next one begins at an earlier cursor, half a page, a page, two pages,
... further back, at last at the start. A page that shows nothing and has a cursor is passed over, and the one behind it
is taken without a joint where it has none: a gap. The end is a joined page without a next cursor.

**Not proved**, and counted in `reading`: rows moved to the part already read, joints of which every row was moved.

**No loop.** `cursors.STALLED` pages in a row that bring no row new to the reading are an error, whatever their cursors.
A section that had to be begun anew more than `RESTARTS` times is read on unjoined to its end, and reported so; likewise
where the service sends more rows than are asked for, so that no page can begin in the middle of another.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

from annolake.extract.cursor.section_reader import CursorSlice, Piece, Reader, Section
from annolake.extract.paging.overlap import Overlap, Tail
from annolake.extract.paging.readings import Ledger, Reading

P = TypeVar("P")

RESTARTS = 6

_JOINT = 3
_LEAST = 2  # rows: a page of one can't hold a row read before and a new one
_PLACES = 64  # cursors that can be gone back to


@dataclass(frozen=True, slots=True)
class _Place:
    """A cursor, and how many rows were before it when it was given."""

    at: int
    cursor: str | None


_START = _Place(0, None)


class OverlappingReader(Reader[P]):
    """Reads a section in two chains; `earlier` is the joined reading of the section before."""

    def __init__(
        self,
        section: Section[P],
        ledger: Ledger,
        *,
        limit: Callable[[], int],
        later: Collection[str] = (),
        told: int | None = None,
        earlier: Reading | None = None,
    ) -> None:
        super().__init__(section, ledger, limit=limit, later=later, told=told)
        self._earlier = earlier
        self._tail = Tail()
        self._plan = [_START]  # where the next pages begin, in the section's order
        self._half: int | None = None  # rows of the page that sets the chains apart, when it comes next
        self._behind: deque[_Place] = deque(maxlen=_PLACES)
        self._longest = 0
        self._backs = 0
        self._restarts = 0
        self._unjoined = False
        self._passed = False  # a page without a row, which had another one behind it

    def pages(self) -> Iterator[Piece[P]]:
        """Yield the pages that are to be taken, up to the end.

        Raises UnavailableError where the section never ends, and what `fetch` raises.
        """
        ended = False
        while not ended:
            place, half, self._half = self._plan.pop(0), self._half, None
            page = self._fetch(place.cursor, half or max(self._limit(), _LEAST))
            if (
                half and len(page.keys) > half
            ):  # the page before once more: the service does not heed how many are asked
                self.reading.joined, self._unjoined = False, True
                continue
            self._longest = max(self._longest, len(page.keys))
            joint = self._tail.compare(place.at, page.names)
            if not page.keys and page.cursor is not None:
                self._pass_over(place, page.cursor)
                continue
            if not self._joins(place, joint):
                if place.cursor is not None:
                    self._step_back(place)
                    continue
                self._open()
                joint = Overlap()
            ended = self._closes(page)
            yield Piece(self._section.name, page, self._take(place, page, joint, ended=ended))

    def _joins(self, place: _Place, joint: Overlap) -> bool:
        self.reading.disorders += not joint.ordered
        if self._unjoined:
            return True
        if self._passed and not joint.anchors:
            self._passed = False
            self.reading.gaps += 1
            return True
        if place.cursor is None:
            return bool(joint.anchors) and joint.ordered
        return joint.holds(max(1, min(_JOINT, self._longest // 4, len(self._tail))))

    def _open(self) -> None:
        """Begin at the start; anew, if pages were taken before."""
        if self._tail:
            self._restarts += 1
            self.reading.breaks += 1
            self._number = self._ledger.open(self._section.name)
        self.seen = 0
        self._tail.clear()
        self._behind.clear()
        if self._restarts > RESTARTS:
            self.reading.joined, self._unjoined = False, True

    def _take(self, place: _Place, page: CursorSlice[P], joint: Overlap, *, ended: bool) -> frozenset[bytes]:
        rows = len(page.keys)
        wanted, progress = self._meet(page, joint)
        self.reading.shifts += joint.moved or (joint.left > 0 and (ended or joint.behind < rows))
        self._tail.extend(place.at, page.names, joint, ends=ended)
        self._stall(progress=progress)
        self._backs = 0 if progress else self._backs
        self._behind.append(place)
        self._plan = sorted([*self._plan, _Place(place.at + rows, page.cursor)], key=lambda one: one.at)
        if len(self._plan) == 1 and not self._unjoined and rows:
            self._plan = [place, *self._plan]
            self._half = max(1, rows // 2)
        return wanted

    def _pass_over(self, place: _Place, cursor: str) -> None:
        """Go on behind a page that shows nothing: its rows may be left out."""
        self._passed = True
        self._stall(progress=False)
        self._plan = sorted([*self._plan, _Place(place.at, cursor)], key=lambda one: one.at)

    def _step_back(self, place: _Place) -> None:
        """Throw the page away, and begin further back, half a page, a page, two pages, ..."""
        self.reading.breaks += 1
        self._stall(progress=False)
        at = place.at - (max(self._limit() // 2, 1) << self._backs)
        self._backs += 1
        while self._behind and self._behind[-1].at > at:
            self._behind.pop()
        known = self._tail.end - len(self._tail)
        self._plan = [self._behind[-1] if self._behind and self._behind[-1].at >= known else _START]

    def _meet(self, page: CursorSlice[P], joint: Overlap) -> tuple[frozenset[bytes], bool]:
        """Note the rows as met and count what their last meeting tells; return those wanted, and whether any is new."""
        numbers = self._ledger.seen_keys.meet(page.keys, self._number)
        wanted = self._note(page, numbers, behind=joint.behind)
        one, tail = self._earlier, self._tail
        for index, (key, number) in enumerate(zip(page.keys, numbers, strict=True)):
            if key in wanted or key in page.ambiguous_keys:
                continue
            if number == self._number:
                apart = joint.anchors and index > joint.first and key not in tail
                if apart and key not in tail.loose:
                    self.reading.again += 1
                    wanted.add(key)
            elif one and one.whole and self.reading.whole and number < one.first:
                self.reading.skipped += 1
        return frozenset(wanted), any(number != self._number for number in numbers)
