"""What a reading does where a list seems to end, or an answer shows nothing.

Owns when `list_end` is asked, and what follows from its answer: P4 in docs/paging.md#the-end-of-a-list.
"""

from collections.abc import Callable
from functools import partial

from annolake.extract.offset.asker import Asker
from annolake.extract.offset.in_flight import Ask
from annolake.extract.offset.list_end import End, EndCheck, Found
from annolake.extract.offset.taker import Taker
from annolake.extract.paging.overlap import LEAST
from annolake.extract.paging.slices import Piece, Slice

Look = Callable[[], Piece | None]
"""Ends the reading, or returns a slice that was taken instead. Its first request is under way."""


class Ending:
    """Looks behind what seems to be the end of a list; `check` makes what does so, by what is known at that time.

    With `look_only` the reading has ended before, and goes on from its frontier.
    """

    def __init__(self, asker: Asker, taker: Taker, check: Callable[[], EndCheck]) -> None:
        self.look_only = False
        self._asker = asker
        self._taker = taker
        self._tail = asker.tail
        self._check = check
        self._proven: int | None = None  # the offset at which the list was last found to end
        self._doubted = -1  # the frontier behind which an answer that showed nothing was asked for again
        self._away = False  # no known row is where the last one was
        self._tried: bytes | None = None  # the row found behind the frontier that was asked for with an overlap

    def after(self, ask: Ask, page: Slice, *, taken: bool) -> "Look | None":
        """Return what is to be looked at before reading on, None: nothing."""
        taker = self._taker
        if not taken:
            return partial(self._doubt, ask) if ask.shared and not page.keys and self._tail else None
        self._away = False
        if taker.ended or taker.unjoined:
            return None
        if taker.over:
            return self._behind(ask.offset + ask.limit, len(page.keys))
        return self._ahead if taker.growth.suspected else None

    def _ahead(self) -> None:
        growth = self._taker.growth
        growth.looked(clear=self._check().is_clear(growth.ahead))

    def _doubt(self, ask: Ask) -> Piece | None:
        """Find out what an answer that shows nothing means: the rows before it left, or it shows less than there is.

        Two rows are asked for from the last known one on, then that row alone: if a known row is there, none left. Nor
        if at the start of the list the slice taken last is as it was: its rows stand behind others that are left out.
        """
        end = self._tail.end
        if not self._away and self._doubted != end:
            self._asker.window.drop()
            self._taker.stall(progress=False)
            self._doubted, self._asker.few, self._asker.offset = end, LEAST, None
            return None
        if not self._away:
            (alone,) = self._check().ask([end - 1], 1)
            self._away = not any(name in self._tail for name in alone.names)
        if not self._away:
            look = self._behind(end, 1)
        elif ask.offset:
            self._taker.step_back(ask)
            return None
        else:
            self._away = False
            reach = self._reach_of_last()
            if not reach:
                self._taker.open(0)
            look = self._behind(reach or ask.limit, 1 if reach else 0)
        return look() if look else None

    def _reach_of_last(self) -> int:
        """Return the offset behind the slice taken last where it shows the rows that it showed, else 0."""
        offset, limit, names = self._taker.last
        if self._tail.assumed:  # it did not reach the last row read
            return 0
        (again,) = self._check().ask([offset], limit)
        return offset + limit if again.names == names else 0

    def _behind(self, reach: int, shown: int) -> "Look | None":
        """Look behind the frontier, unless the list was found to end there before.

        `shown` is the number of rows of the slice that showed nothing new, `reach` the offset behind what it was asked
        for.
        """
        if self.look_only and self._tail.end == self._proven:
            self._taker.ended = True
            return None
        check = self._check()
        check.begin(reach)
        return partial(self._conclude, check, reach, shown)

    def _conclude(self, check: EndCheck, reach: int, shown: int) -> Piece | None:
        end, reading = self._tail.end, self._taker.notes.reading
        behind = check.run(shown=shown, reach=reach)
        reading.gaps += check.silent
        reading.unproven |= check.unproven
        if isinstance(behind, Found):
            return self._go_on(behind)
        if behind is End.REACHED:
            self._taker.ended, self._proven = True, end
        else:
            reading.shifts += 1
            self._taker.wear()
        return None

    def _go_on(self, found: Found) -> Piece | None:
        """Go on behind the frontier; by slices that join, if asking again with an overlap brings one."""
        offset, limit, page, silent = found
        overlap = self._tail.compare(offset, page.names)
        if not overlap.anchors and not silent and self._tried != page.names[0] and self._tail:
            self._tried = page.names[0]
            self._taker.read_few()
            return None
        self._away = False
        return self._taker.take_found(offset, limit, page, overlap)
