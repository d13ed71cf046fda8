"""Rows of one partition from one input, in sort order, read forward a block at a time."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from annolake.load.table.pieces import cut, joined


class Blocks:
    """Rows that lie in consecutive blocks of `sizes` rows, of which `load` returns one by its position.

    Reads go forward; no more blocks are held than one read spans, none is loaded twice, and none stays that was read to
    its end.
    """

    def __init__(self, sizes: Sequence[int], load: Callable[[int], pa.Table], *, row_bytes: float = 0.0) -> None:
        self.ends = np.cumsum([0, *sizes])[1:]
        self.row_bytes = row_bytes  # of a row in memory, on average
        self._load = load
        self._held: dict[int, pa.Table] = {}

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def read(self, start: int, stop: int) -> pa.Table:
        """Return the rows from `start` up to, not including, `stop`."""
        first, last = (int(block) for block in np.searchsorted(self.ends, [start, stop - 1], side="right"))
        self._held = {block: table for block, table in self._held.items() if block >= first}
        for block in range(first, last + 1):
            if block not in self._held:
                self._held[block] = self._load(block)
        table = joined([self._held[block] for block in range(first, last + 1)])
        self._held = {last: self._held[last]} if stop < self.ends[last] else {}  # of what was read to its end nothing
        begin = int(self.ends[first - 1]) if first else 0
        return cut(table, start - begin, stop - start)
