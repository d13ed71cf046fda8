"""What meeting the rows of a slice tells: counted into a `Reading` by one rule, for both ways of paging.

Words: docs/paging.md#words. What follows from the counts is decided by the queue readers.
"""

from collections.abc import Collection, Sequence

import msgspec

from annolake.extract.paging.overlap import Overlap, Tail
from annolake.extract.paging.readings import Ledger, Reading
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.watermark import Watermark

_NO_OVERLAP = Overlap()


class Noted(msgspec.Struct, frozen=True):
    """What was noted of a slice: the number of each row, and what its keys tell.

    `anew` are the rows met for the first time, or last in another list; `again` those that this reading had met
    elsewhere. `progress` tells whether any row is new to the reading.
    """

    numbers: Sequence[int]
    anew: frozenset[bytes]
    again: frozenset[bytes]
    progress: bool


class Notes:
    """Notes the slices of one list in a `Ledger`, and counts into `reading`.

    `seen` is the number of rows met since the reading began. `earlier` is the reading of this list before, `later` are
    the lists that come after this one in a row's life.
    """

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        *,
        watermark: Watermark | None = None,
        earlier: Reading | None = None,
        later: Collection[str] = (),
    ) -> None:
        self.name = name
        self.seen = 0
        self._ledger = ledger
        self._watermark = watermark
        self._earlier = earlier if earlier and earlier.whole and not watermark else None
        self._later = later
        self._number = ledger.open(name)
        self.reading = Reading(self._number, whole=watermark is None)

    def look(self) -> None:
        """Count anew: the reading goes on from its frontier."""
        self.reading = Reading(self._number, whole=self._watermark is None)

    def restart(self) -> None:
        """Begin again at the start of the list, under a new number."""
        self._number = self._ledger.open(self.name)
        self.seen = self.reading.met = 0

    def note(self, page: Slice, overlap: Overlap = _NO_OVERLAP, tail: Tail | None = None) -> Noted:
        """Note the rows as met, and count those that are new to the reading.

        Rows behind `overlap` are new to the reading, whatever their keys. Without a `tail` no row may come twice.
        """
        before = self.seen
        noted = self._note(page, overlap, tail)
        self.reading.met += self.seen - before
        return noted

    def _note(self, page: Slice, overlap: Overlap, tail: Tail | None) -> Noted:
        readings, numbers = self._ledger.seen_keys.meet(page.keys, self._number)
        if page.keys:
            self._ledger.shown.add(self.name)
        asked_for = self._watermark.span(page) if self._watermark else range(len(page.keys))
        reading, lists = self.reading, self._ledger.lists
        if not (any(readings) or page.ambiguous_keys):  # as below; measured, a fifth of the time
            reading.rows += len(readings)
            self.seen += len(readings)
            reading.fresh += len(asked_for)
            return Noted(numbers, frozenset(page.keys), frozenset(), bool(readings))
        anew: set[bytes] = set()
        again: set[bytes] = set()
        for index, (key, last) in enumerate(zip(page.keys, readings, strict=True)):
            reading.rows += last == 0
            if key in page.ambiguous_keys:
                self.seen += index >= overlap.behind
            elif last == self._number:
                if tail is None or (overlap.anchors and index > overlap.first and not tail.remembers(key)):
                    reading.again += 1
                    again.add(key)
            else:
                self.seen += 1
                if last == 0:
                    reading.fresh += index in asked_for
                    anew.add(key)
                elif lists[last - 1] != self.name:
                    reading.crossed += 1
                    reading.back += lists[last - 1] in self._later
                    anew.add(key)
                elif self._earlier and last < self._earlier.first:
                    reading.skipped += 1
        progress = any(last != self._number for last in readings)
        return Noted(numbers, frozenset(anew), frozenset(again), progress)
