"""The order a list was in: measured over all its rows, free of cost, and used by the next export.

Owns the measurement and its small value. What follows from an order is `watermark`'s.
"""

from collections.abc import Mapping, Sequence

import msgspec

ADDED_AT = "added_at"
EFFECTIVE = "effective_added_at"  # a requeued row has a new one, and its added_at as before
LATER = 1 << 63  # stands for a missing added_at: such a row counts as newer than every other


class Order(msgspec.Struct, frozen=True):
    """A list is sorted by a time column; `str(order)` and `Order.parse` are its recorded form ("added_at asc").

    By `added_at` itself rows without one come last (asc) or first (desc). In any other column a row without a time has
    that of `added_at`, and none had one before it; so a row added after a moment has it after that moment as well.
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
    values = filled(times, column)
    broken = any(at is not None and at > value for at, value in zip(times[ADDED_AT], values, strict=True))
    return None if broken else values


def filled(times: Mapping[str, Sequence[int | None]], column: str) -> list[int]:
    """Return the column's values, with `added_at` for those that are missing, and `LATER` where that is missing too."""
    added = [LATER if value is None else value for value in times[ADDED_AT]]
    return [at if value is None else value for at, value in zip(added, times[column], strict=True)]


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
        """The order found; None: unsorted, or too few rows to tell.

        Of several the one in which requeued rows have their place, `added_at` before the others.
        """
        fit = [column for column in self._rises if column not in self._unfit]
        for column in sorted(fit, key=lambda column: (column != EFFECTIVE, column != ADDED_AT)):
            if self._rises[column] != self._falls[column]:
                return Order(column, descending=self._falls[column])
        return None
