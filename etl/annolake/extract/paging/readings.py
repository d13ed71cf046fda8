"""What a reading of a list notes: which rows were met before, by which reading, and what was seen of movement.

Owns these records and nothing else: `notes` and the readers fill them, the queue readers decide by them.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from annolake.errors import UnavailableError


class SeenKeys(Protocol):
    """The keys met in an export, each with the number of the reading that met it last: 17 bytes a row will do."""

    def meet(self, keys: Sequence[bytes], reading: int) -> tuple[Sequence[int], Sequence[int]]:
        """Note that `reading` (1 to 255) met the keys.

        Returns the reading noted before for each, 0: none, and the number of each row, which goes with it from here.
        """


MOST_READINGS = 255  # of a queue: `SeenKeys` keeps a byte of each row's last one


class Ledger(msgspec.Struct):
    """What the readings of one queue share."""

    seen_keys: SeenKeys
    lists: list[str] = msgspec.field(default_factory=list)  # the list that each reading was of, from number 1
    shown: set[str] = msgspec.field(default_factory=set)  # the lists of which any row was met

    def open(self, name: str) -> int:
        """Return the number of a new reading of that list. Raises UnavailableError above `MOST_READINGS`."""
        if len(self.lists) == MOST_READINGS:
            raise UnavailableError(
                f"{name}: the service shows other rows each time, after {MOST_READINGS} readings: run again later",
                status=200,
                endpoint=name,
                attempts=MOST_READINGS,
            )
        self.lists.append(name)
        return len(self.lists)


def nearly_all(some: int, rows: int) -> bool:
    """Tell whether these are nine of ten rows, and any at all."""
    return some > 0 and 10 * some >= 9 * rows


class Reading(msgspec.Struct):
    """What one reading saw. `first`: its number, or the first of its numbers if it had to start over."""

    first: int
    whole: bool  # not only what was added after a watermark
    joined: bool = True
    gaps: int = 0  # slices taken without an overlap, or ends that showed less than is reported
    unproven: bool = False  # more reported offsets showed nothing than can be asked for alone
    contradicted: bool = False  # rows stood in another order than the one recorded: nothing was shown
    rows: int = 0  # rows that no reading of any list had met
    met: int = 0  # rows that were new to the reading
    fresh: int = 0  # of these, the ones that were asked for: all, or those from a watermark on
    crossed: int = 0  # rows that a reading of another list had met last
    back: int = 0  # of these, the ones last met in a later list
    breaks: int = 0  # slices that did not join
    shifts: int = 0  # slices that joined at an unexpected offset, or with rows come or gone between known ones
    disorders: int = 0  # slices with known rows in another order than before
    again: int = 0  # rows met a second time, not where they had been
    skipped: int = 0  # rows met before and again now, but missed by the whole reading of this list in between

    @property
    def restless(self) -> bool:
        """Tell whether rows were seen to change their order. Rows that leave or come for good never do that."""
        return bool(self.disorders or self.again or self.skipped or not self.joined)

    @property
    def is_mirror(self) -> bool:
        """Tell whether nearly all rows had been met in another list last: they moved, or both lists are one."""
        return nearly_all(self.crossed, self.met)

    @property
    def moved(self) -> bool:
        """Tell whether the list was seen to change at all."""
        return bool(self.restless or self.breaks or self.shifts)
