"""The order a list was in: measured over all its rows, free of cost, and used by the next export.

Owns the measurement and its small value. What follows from an order is `watermark`'s.
"""

from collections.abc import Mapping, Sequence

import msgspec

ADDED_AT = "added_at"
LATER = 1 << 63  # stands for a missing added_at: such a row counts as newer than every other


class Order(msgspec.Struct, frozen=True):
    """A list is sorted by a time column; `str(order)` and `Order.parse` are its recorded form ("added_at asc").

    By `added_at` itself rows without one come last (asc) or first (desc). Any other column was never null and never
    before `added_at`, so a row added after a moment has it after that moment as well.
    """

    column: str
    descending: bool

    def __str__(self) -> str:
        return f"{self.column} {'desc' if self.descending else 'asc'}"

    @classmethod
    def parse(cls, text: str) -> "Order | None":
        """Return the order that `str` wrote, None for anything else."""
        column, _, direction = text.rpartition(" ")
        return cls(column, direction == "desc") if column and direction in {"asc", "desc"} else None


def sortable(times: Mapping[str, Sequence[int | None]], column: str) -> list[int] | None:
    """Return the column's values to compare by, None where they break what `Order` says of the column."""
    values = times[column]
    if column == ADDED_AT:
        return [LATER if value is None else value for value in values]
    known = [value for value in values if value is not None]
    added = times[ADDED_AT]
    if len(known) < len(values) or any(at is not None and at > value for at, value in zip(added, known, strict=True)):
        return None
    return known


class OrderMeasure:
    """Watches the slices of one list, in any sequence and overlapping at will: O(1) memory.

    Joined slices overlap, so every two neighbours of the list are neighbours in one of them, at one moment.
    """

    def __init__(self) -> None:
        self._rises: dict[str, bool] = {}
        self._falls: dict[str, bool] = {}
        self._unfit: set[str] = set()

    def watch(self, times: Mapping[str, Sequence[int | None]]) -> None:
        """Look at one slice's times (see `Slice.times`)."""
        for column in times:
            if not self.is_sorted(column):
                continue
            rose, fell = self._rises.get(column, False), self._falls.get(column, False)
            values = sortable(times, column)
            if values is None:
                self._unfit.add(column)
            elif values:
                rising = sorted(values)
                uneven = rising[0] < rising[-1]
                self._rises[column] = rose or (uneven and values != rising[::-1])
                self._falls[column] = fell or (uneven and values != rising)

    def is_sorted(self, column: str) -> bool:
        """Tell whether the list may still be sorted by that column."""
        return column not in self._unfit and not (self._rises.get(column) and self._falls.get(column))

    def refuse(self, column: str) -> None:
        """Take it that the list is not sorted by that column."""
        self._unfit.add(column)

    @property
    def order(self) -> Order | None:
        """The order found, `added_at` before other columns; None: unsorted, or too few rows to tell."""
        fit = [column for column in self._rises if column not in self._unfit]
        for column in sorted(fit, key=lambda column: column != ADDED_AT):
            if self._rises[column] != self._falls[column]:
                return Order(column, descending=self._falls[column])
        return None
