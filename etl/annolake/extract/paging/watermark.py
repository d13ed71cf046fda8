"""Reading only what was added after a watermark: where such rows begin, and whether the list is still sorted.

Owns the checks on every row read; nothing here asks for anything. What is claimed and why it holds:
docs/paging.md#reading-from-a-watermark
"""

import msgspec

from annolake.extract.paging.slices import Slice
from annolake.extract.paging.sort_order import Order, sortable


class Watermark(msgspec.Struct, frozen=True):
    """Rows of a list in this order whose time is at or after `time` (microseconds since 1970)."""

    order: Order
    time: int

    def holds(self, page: Slice) -> bool:
        """Tell whether the slice is in the recorded order."""
        values = sortable(page.times, self.order.column)
        return values is not None and values == sorted(values, reverse=self.order.descending)

    def opens(self, page: Slice) -> bool:
        """Tell whether all rows from the watermark on lie in this slice or behind it."""
        return not self.order.descending and self.precedes(page, 0)

    def closes(self, page: Slice) -> bool:
        """Tell whether no row from the watermark on lies behind this slice."""
        return self.order.descending and self.precedes(page, -1)

    def span(self, page: Slice) -> range:
        """Return the indexes of the rows that may lie at or after the watermark."""
        rows = len(page.keys)
        values = sortable(page.times, self.order.column)
        before = 0 if values is None else sum(value < self.time for value in values)
        return range(rows - before) if self.order.descending else range(before, rows)

    def precedes(self, page: Slice, index: int) -> bool:
        """Tell whether the row at that index lies before the watermark."""
        values = sortable(page.times, self.order.column)
        return values is not None and len(values) > 0 and values[index] < self.time
