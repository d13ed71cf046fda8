"""How many rows to ask for at once, and how many pages ahead, so that pages in memory stay within a budget of bytes.

Owns these numbers alone: an estimate from the rows seen so far, never a promise about the next one.
"""

from threading import Lock

_SAMPLE = 20  # rows of a first page, and to be weighed before one is larger: a row may be 1 kB or 500 kB
_FORGET = 0.8  # of an older page's weight that still counts: one light page does not undo a heavy one
_AIM = 0.5  # of the largest answer that there may be: rows differ


class PageSize:
    """The rows to ask for: `most` of them, fewer when `lanes` such pages would weigh more than `budget` bytes.

    `largest` is the most that a single page may weigh. Safe to share between threads.
    """

    def __init__(self, most: int, budget: int, lanes: int, largest: int | None = None) -> None:
        self._most = most
        self._budget = budget
        self._lanes = lanes
        self._largest = largest
        self._weight = 0.0
        self._rows = 0
        self._lock = Lock()

    def __call__(self) -> int:
        """Return how many rows the next page should have, at least 1."""
        most = self._most if self._rows >= _SAMPLE else min(self._most, _SAMPLE)
        if not self._weight:
            return most
        page = self._budget / self._lanes
        if self._largest is not None:
            page = min(page, self._largest * _AIM)
        return max(1, min(most, int(page / self._weight)))

    def spare(self) -> int:
        """Return how many pages may wait to be fetched, and as many to be used, besides one for each lane.

        At most one for each lane; none where rows are heavy.
        """
        if not self._weight:
            return 0
        pages = self._budget / (self() * self._weight)
        return max(0, min(self._lanes, int(pages - self._lanes) // 2))

    def saw(self, rows: int, size: int) -> None:
        """Note a page of so many rows that weighed `size` bytes."""
        if rows:
            with self._lock:
                self._rows += rows
                self._weight = max(size / rows, self._weight * _FORGET)

    def refused(self, rows: int, size: int) -> None:
        """Note that so many rows weighed more than `size` bytes."""
        with self._lock:
            self._weight = max(size / rows, self._weight)
