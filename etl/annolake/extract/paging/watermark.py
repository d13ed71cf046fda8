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

from dataclasses import dataclass
from typing import TypeVar

from annolake.extract.paging.slices import Slice
from annolake.extract.paging.sort_order import Order, sortable

P = TypeVar("P")


@dataclass(frozen=True)
class Watermark:
    """Rows of a list in this order whose time is at or after `time` (microseconds since 1970)."""

    order: Order
    time: int

    def holds(self, page: Slice[P]) -> bool:
        """Tell whether the slice is in the recorded order."""
        values = sortable(page.times, self.order.column)
        return values is not None and values == sorted(values, reverse=self.order.descending)

    def opens(self, page: Slice[P]) -> bool:
        """Tell whether all rows from the mark on lie in this slice or behind it."""
        return not self.order.descending and self.precedes(page, 0)

    def closes(self, page: Slice[P]) -> bool:
        """Tell whether no row from the mark on lies behind this slice."""
        return self.order.descending and self.precedes(page, -1)

    def span(self, page: Slice[P]) -> range:
        """Return the indexes of the rows that may lie at or after the mark."""
        rows = len(page.keys)
        values = sortable(page.times, self.order.column)
        before = 0 if values is None else sum(value < self.time for value in values)
        return range(rows - before) if self.order.descending else range(before, rows)

    def precedes(self, page: Slice[P], index: int) -> bool:
        """Tell whether the row at that index lies before the mark."""
        values = sortable(page.times, self.order.column)
        return values is not None and len(values) > 0 and values[index] < self.time
