"""How many rows to ask for at once, so that the pages held in memory stay within a budget of bytes.

Owns that number alone: an estimate from the rows seen so far, never a promise about the next one.
"""

_UNKNOWN = 20  # rows of the first page: the weight of a row may be 1 kB or 500 kB
_FORGET = 0.8  # of an older page's weight that still counts: one light page does not undo a heavy one


class PageSize:
    """The rows to ask for: `most` of them, fewer when a page of that many would weigh more than `budget` bytes."""

    def __init__(self, most: int, budget: int) -> None:
        self._most = most
        self._budget = budget
        self._weight = 0.0

    def __call__(self) -> int:
        """Return how many rows the next page should have, at least 1."""
        if not self._weight:
            return min(self._most, _UNKNOWN)
        return max(1, min(self._most, int(self._budget / self._weight)))

    def saw(self, rows: int, size: int) -> None:
        """Note a page of so many rows that weighed `size` bytes."""
        if rows:
            self._weight = max(size / rows, self._weight * _FORGET)
