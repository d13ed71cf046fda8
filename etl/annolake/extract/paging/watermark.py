"""Reading only what was added after a watermark: where such rows begin, and whether the list is still sorted.

Owns the checks on every row read; nothing here asks for anything. What is claimed and why it holds:
docs/paging.md#reading-from-a-watermark
"""

from collections.abc import Iterator

import msgspec

from annolake.extract.paging.slices import Slice
from annolake.extract.paging.sort_order import Order, filled, sortable

_REVIEWED = "last_reviewed_time"


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
        """Tell whether the row at that index, and all on its older side, lie before the watermark.

        That the list was sorted by the recorded time may be chance. So the row must lie before it by every time by
        which it may be sorted, as far as this slice shows.
        """
        values = sortable(page.times, self.order.column)
        return bool(values) and all(times[index] < self.time for times in self._sorted_times(page))

    def is_old(self, page: Slice) -> bool:
        """Tell whether the first row probably lies before the watermark: good enough to seek by.

        A row that was requeued since does not; one that was only reviewed does.
        """
        values = [filled(page.times, column) for column in page.times if column != _REVIEWED]
        return bool(page.times[self.order.column]) and all(times[0] < self.time for times in values)

    def _sorted_times(self, page: Slice) -> Iterator[list[int]]:
        """Yield the times in the slice by each column by which it is sorted, and by the recorded one."""
        for column in page.times:
            times = filled(page.times, column)
            if column == self.order.column or times == sorted(times, reverse=self.order.descending):
                yield times
