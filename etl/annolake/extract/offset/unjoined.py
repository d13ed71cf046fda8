"""The last resort: a list of which slices do not join is read straight on, and reported so.

Owns where such a reading ends: P5 in docs/paging.md#overlaps.
"""

from annolake.extract.offset.in_flight import Ask
from annolake.extract.paging.patience import STALLED

MOST_UNJOINED = 200_000


class Unjoined:
    """The slices taken without joining, from the start of a list to its first short one behind the reported size."""

    def __init__(self) -> None:
        self._rows = 0
        self._idle = 0  # slices in a row without a row that is new to this reading
        self._shorts = 0  # short slices in a row

    def ends(self, ask: Ask, rows: int, *, progress: bool, longest: int, hint: int | None) -> bool:
        """Note a slice of so many rows; tell whether the list ends with it. `longest` is the longest one ever.

        `progress` tells whether it brought a row that is new to the reading.
        """
        self._rows += rows
        self._idle = 0 if progress else self._idle + 1
        short = rows < min(ask.limit, longest)
        self._shorts = self._shorts + 1 if short else 0
        goes_on = rows > 0 and hint is not None and ask.offset + rows < hint and self._shorts < STALLED
        return short and not goes_on

    @property
    def is_idle(self) -> bool:
        """Whether too many slices in a row brought nothing."""
        return self._idle > STALLED

    def is_endless(self, hint: int | None) -> bool:
        """Tell whether there were more slices than any list can have."""
        return self._rows > max(MOST_UNJOINED, 10 * (hint or 0))
