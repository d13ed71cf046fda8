"""Reading only what was added after a mark: where such rows begin in a sorted list, and whether it is still sorted.

Owns the search by offset with one-row requests, and the checks on every row read. What is claimed: of a list sorted
as recorded, every row with a time at or after the mark that is in the list throughout the reading and keeps its
place is met. The search itself proves nothing, for the list moves while it is searched; it only finds a good place
to begin. The proof is in the pages: an ascending reading begins at a page whose first readable row lies *before* the
mark at the moment of that page (else it steps back, to the start if need be), and is joined from there to the proved
end; a descending one begins at offset 0 and is joined until a row before the mark. All rows from the mark on lie on
the read side of that row, because the list is sorted at every moment. So a row added after the mark can be lost only
if the list is no longer sorted as recorded. That is checked on each slice read (neighbours at one moment; joined
slices share rows, so all neighbours are covered); it is not proved for rows that were never read.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from annolake.extract.lanes import Lanes, Slice
from annolake.extract.order import Order, sortable
from annolake.extract.stride import OVERLAP

P = TypeVar("P")

_GRAIN = 64  # rows: nearer than this a page is cheaper than another probe
_FIRST = 128  # rows: where the search of a list of unknown length begins
_MOST = 1 << 27  # rows: a server that answers any offset with the same row is told by its pages


@dataclass(frozen=True)
class Since:
    """Rows of a list in this order whose time is at or after `mark` (microseconds since 1970)."""

    order: Order
    mark: int

    def holds(self, page: Slice[P]) -> bool:
        """Tell whether the slice is in the recorded order."""
        values = sortable(page.times, self.order.column)
        return values is not None and values == sorted(values, reverse=self.order.descending)

    def opens(self, page: Slice[P]) -> bool:
        """Tell whether all rows from the mark on lie in this slice or behind it."""
        return not self.order.descending and self._before(page, 0)

    def closes(self, page: Slice[P]) -> bool:
        """Tell whether no row from the mark on lies behind this slice."""
        return self.order.descending and self._before(page, -1)

    def span(self, page: Slice[P]) -> range:
        """Return the indexes of the rows that may lie at or after the mark."""
        rows = len(page.keys)
        values = sortable(page.times, self.order.column)
        before = 0 if values is None else sum(value < self.mark for value in values)
        return range(rows - before) if self.order.descending else range(before, rows)

    def seek(self, lanes: Lanes[P], hint: int | None) -> Generator[None, None, int]:
        """Return an offset at or a little before the first row from the mark on; yields while it waits.

        O(log n) requests of one row. `hint`, the list's size as far as known, saves some.
        """
        if self.order.descending:
            return 0
        before, behind, step = -1, hint if hint and hint < _MOST else _FIRST, 3 * _FIRST
        while behind < _MOST and (yield from self._probe(lanes, behind)):
            before, behind, step = behind, behind + step, step * 4
        while behind - before > _GRAIN:
            middle = (before + behind) // 2
            if (yield from self._probe(lanes, middle)):
                before = middle
            else:
                behind = middle
        return max(before - OVERLAP, 0)  # some rows more, for the end's proof

    def _probe(self, lanes: Lanes[P], offset: int) -> Generator[None, None, bool]:
        lanes.send(offset, limit=1, expected=1, overlap=0)
        while not lanes.ready():
            yield None
        return self._before(lanes.pop()[1], 0)

    def _before(self, page: Slice[P], index: int) -> bool:
        values = sortable(page.times, self.order.column)
        return values is not None and len(values) > 0 and values[index] < self.mark
