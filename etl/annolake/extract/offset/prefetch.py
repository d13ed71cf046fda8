"""How much is asked for at once, and how far apart: size of slices, their overlap, and how many are in flight.

Everything here costs or saves requests and nothing else: whether a slice joins and where a list ends is decided
elsewhere, whatever was asked for (docs/paging.md#overlaps).
"""

from collections.abc import Callable

import msgspec

from annolake.extract.offset.in_flight import Ask
from annolake.extract.paging.overlap import JOINING, LEAST

OVERLAP = 10  # rows of a full page that were read before, in a queue that moves
_STILL = 1 / 20  # of a page, as long as none was seen to leave; heavy rows make short pages, and cost most twice
_REGAINED = 0.25  # lanes, for each slice that joins


class Capacity(msgspec.Struct):
    """What this server's pages hold, as far as seen; shared by all readings of a queue."""

    longest: int = 0  # rows of the longest slice ever returned
    asked: int = 0  # the most rows asked for
    cut: int | None = None  # rows of the last slice that was shorter than asked for although rows follow it
    stirred: bool = False  # rows left the part already read between two slices, or a slice did not join

    def saw(self, limit: int, rows: int) -> None:
        """Note an answer of so many rows."""
        self.longest = max(self.longest, rows)
        self.asked = max(self.asked, limit)

    @property
    def honoured(self) -> bool:
        """Tell whether the server is seen to return as many rows as are asked for."""
        return 0 < self.asked <= self.longest

    def expected(self, limit: int) -> int:
        """Return how many rows such a request brings in the middle of a list: servers may cap slices."""
        most = limit if self.honoured or not self.longest else min(limit, self.longest)
        return most if self.cut is None else max(1, min(most, self.cut))


class Prefetch:
    """How much one reading asks for; the arguments are those of `list_reader.Pace` and `ListReader`."""

    def __init__(
        self,
        capacity: Capacity,
        *,
        lanes: int,
        limit: Callable[[], int],
        spare: Callable[[], int],
        hint: Callable[[], int | None],
    ) -> None:
        self._capacity = capacity
        self._lanes = lanes
        self.limit = limit
        self._spare = spare
        self._hint = hint
        self._window = lanes
        self._most = float(lanes)  # halved by every slice that does not join, won back slowly
        self._beyond = 1  # the same for slices behind the hint
        self._drift = 0  # rows that lately left the part already read between two slices
        self._backs = 0
        self._full = hint() is not None and capacity.honoured

    def size(self) -> tuple[int, int, int]:
        """Return limit, expected rows and shared rows of the next slice to ask for."""
        limit = max(self.limit(), LEAST)
        expected = self._capacity.expected(limit)
        least = OVERLAP if self._capacity.stirred else max(JOINING, int(expected * _STILL))
        shared = max(1, min(least, expected // 4)) + self._drift
        return limit, expected, max(1, min(shared, expected * 3 // 4))

    def ahead(self, last: Ask, shared: int) -> int:
        """Return the offset of the slice behind `last` in a still list; where that is behind the hint, of its end."""
        offset = max(0, last.offset + last.expected - shared)
        hint = self._hint()
        if hint is not None and last.offset < hint - shared <= offset:
            return hint - shared
        return offset

    def behind(self, last: Ask, flying: int) -> int | None:
        """Return the offset behind a list of which `last` asks for the end, None where it does not, or lanes lack."""
        hint = self._hint()
        ends = last.shared > 0 and hint is not None and last.offset + last.shared == hint
        return hint if ends and flying < self._lanes + self._spare() and not self._backs else None

    def allows(self, flying: int, offset: int) -> bool:
        """Tell whether one more slice, at `offset`, may be in flight.

        One alone at the start, while an overlap is mended and behind a short slice; else as many as there are lanes
        as far as the list is known to reach (`hint`), and 1, 2, 4, ... beyond, so that little is asked for behind
        the end of a list. Where all lanes may be busy, `spare` more wait for one to be free.
        """
        if self._backs or not self._full:
            return False
        hint = self._hint()
        within = hint is not None and offset < hint
        window = self._window if within else min(self._window, self._beyond)
        return flying < window + (self._spare() if window == self._lanes else 0)

    def look(self) -> int:
        """Ask for the next slice alone; return how many known rows it had best begin with."""
        self._full = False
        self._capacity.cut = None
        return self._capacity.expected(max(self.limit(), LEAST)) * 9 // 10

    def joined(self, *, lost: int, full: bool, end: int) -> None:
        """Note a slice that joined: `lost` rows had left before it, the list is now read to offset `end`."""
        hint = self._hint()
        # short slices can be those of a list that grows as it is read: then what is asked for ahead brings nothing
        steady = self._capacity.cut is None or (hint is not None and end < hint)
        self._backs, self._full = 0, full and steady
        self._capacity.stirred |= lost > 0
        self._drift = max(lost, self._drift // 2)
        self._most = min(self._most + _REGAINED, self._lanes)
        self._window = min(self._window * 2, int(self._most))
        if full and (hint is None or end > hint):
            self._beyond = min(self._beyond * 2, self._lanes)

    def back(self, expected: int) -> int:
        """Note a slice that did not join; return how many rows further back the next one begins."""
        self._most = max(1.0, self._most / 2)
        self._window = self._beyond = 1
        self._capacity.stirred = True
        self._drift = min(2 * self._drift + OVERLAP, self._capacity.longest)
        self._backs += 1
        return max(1, expected // 2) << (self._backs - 1)
