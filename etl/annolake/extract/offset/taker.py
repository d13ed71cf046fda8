"""Which slices of a list are taken: those that join what was read before them.

Owns that decision and what follows from it: the frontier, the notes, stepping back, and giving up. The invariant is P1
in docs/paging.md#overlaps.
"""

from collections.abc import Callable, Sequence

from annolake.extract.offset.asker import Asker
from annolake.extract.offset.growth import Growth
from annolake.extract.offset.in_flight import Ask
from annolake.extract.offset.prefetch import Capacity
from annolake.extract.offset.unjoined import Unjoined
from annolake.extract.paging.notes import Notes
from annolake.extract.paging.overlap import LEAST, Overlap
from annolake.extract.paging.patience import STALLED, Patience
from annolake.extract.paging.slices import Piece, Slice
from annolake.extract.paging.watermark import Watermark

_EMPTY_RESTART = 0.25  # of a restart, where the start of the list shows nothing


class Taker:
    """Takes slices of one list. `ended`: the reading ends; `over`: the slice taken last may be the list's last one.

    `hint()` is the list's size as first reported, as far as known by now.
    """

    def __init__(
        self,
        asker: Asker,
        notes: Notes,
        capacity: Capacity,
        patience: Patience,
        *,
        hint: Callable[[], int | None],
        watermark: Watermark | None,
    ) -> None:
        self.ended = False
        self.over = False
        self.growth = Growth()
        self.unjoined: Unjoined | None = None
        self.notes = notes
        self._asker = asker
        self._tail = asker.tail
        self._capacity = capacity
        self._patience = patience
        self._hint = hint
        self._watermark = watermark
        self.last: tuple[int, int, Sequence[bytes]] = (0, LEAST, ())  # the slice taken last: offset, limit, rows
        self._short = False  # the slice taken last had fewer rows than were asked for

    def take(self, ask: Ask, page: Slice) -> Piece | None:
        """Take the slice if it joins or opens the reading, else step back and return None."""
        if not ask.shared:
            return None  # asked for behind an end that has not been reached
        rows = len(page.keys)
        self._capacity.saw(ask.limit, rows)
        if self.unjoined:
            return self._take_unjoined(self.unjoined, ask, page)
        overlap = self._tail.compare(ask.offset, page.names)
        self.notes.reading.disorders += not overlap.ordered
        if not self._joins(ask, rows, overlap):
            if not self._opens(ask, page):
                if rows or not self._tail:
                    self.step_back(ask)
                return None
            self.open(rows)
            overlap = Overlap(ordered=overlap.ordered)
        return self._take(ask, page, overlap)

    def _joins(self, ask: Ask, rows: int, overlap: Overlap) -> bool:
        if ask.offset == 0:
            return bool(overlap.anchors) and overlap.ordered
        nothing_new = overlap.behind == rows > 0 and overlap.ordered and not overlap.strangers
        return nothing_new or overlap.holds(max(1, self._asker.need(ask)))

    def _opens(self, ask: Ask, page: Slice) -> bool:
        if ask.offset == 0:
            return bool(page.keys) or not self._tail
        return self._watermark is not None and self._watermark.opens(page)

    def open(self, rows: int) -> None:
        """Begin at a slice of so many rows that needs no overlap; again, if slices were read before."""
        if self._tail:
            self.notes.reading.breaks += 1
            self.growth = Growth()
            self._tail.clear()
            if self._patience.restart(1 if rows else _EMPTY_RESTART):
                self._give_up_joining()
            else:
                self.notes.restart()

    def _take(self, ask: Ask, page: Slice, overlap: Overlap) -> Piece:
        rows = len(page.keys)
        new, short = rows - overlap.behind, rows < ask.limit
        seen = self.notes.seen
        noted = self.notes.note(page, overlap, self._tail)
        cut = short and not new and overlap.left > 0  # perhaps: a smaller overlap will tell
        self.over = short and not new and not overlap.left
        self.notes.reading.shifts += overlap.moved or (overlap.left > 0 and (self.over or overlap.behind < rows))
        self._tail.extend(ask.offset, page.names, overlap, ends=self.over)
        self._capacity.cut = rows if cut else self._capacity.cut
        self._learn(ask, rows, new, self.notes.seen - seen)
        self._asker.prefetch.joined(lost=max(0, -overlap.shift), full=rows >= ask.expected, end=self._tail.end)
        self.last = (ask.offset, ask.limit, page.names)
        self._asker.go_on()
        if not self.over:
            self._asker.drop_useless()
        self._check_order(page)
        self.stall(progress=noted.progress)
        return Piece(self.notes.name, page, noted.numbers)

    def take_found(self, offset: int, limit: int, page: Slice, overlap: Overlap) -> Piece:
        """Take a slice that was found behind the frontier, by an overlap or without one."""
        self.notes.reading.gaps += offset > 0 and not overlap.anchors
        noted = self.notes.note(page, overlap, self._tail)
        self._tail.extend(offset, page.names, overlap, ends=False)
        self.last = (offset, limit, page.names)
        self._check_order(page)
        self._asker.offset = None
        self._short, self._asker.few = False, LEAST if len(page.keys) == 1 else None
        self.stall(progress=noted.progress)
        return Piece(self.notes.name, page, noted.numbers)

    def _learn(self, ask: Ask, rows: int, new: int, met: int) -> None:
        """Learn from a slice that was taken how long the next may be, and whether the list grows as it is read."""
        short, hint = rows < ask.limit, self._hint()
        if new:
            if not short:
                self._capacity.cut = None
            elif self._short:
                self._capacity.cut = rows
        self._short = short
        self.ended = self.growth.saw(new, met=met, short=short, beyond=hint is None or hint <= self._tail.end)

    def _check_order(self, page: Slice) -> None:
        """End the reading where no row from the watermark on follows, or the list is not sorted as recorded."""
        if self._watermark:
            contradicted = not self._watermark.holds(page)
            self.notes.reading.contradicted = contradicted
            self.ended |= contradicted or self._watermark.closes(page)

    def read_few(self) -> None:
        """Have the next slice hold a known row and a new one, and no more."""
        self._capacity.cut = self._asker.few = LEAST

    def wear(self) -> None:
        """Note that known rows were shown where there can be none: that may not go on for long."""
        self._patience.is_out(progress=False, weight=STALLED // 10)

    def step_back(self, ask: Ask) -> None:
        """Throw an answer away that does not join, and begin further back."""
        self._asker.window.drop()
        self.stall(progress=False)
        self._capacity.cut = None
        self.notes.reading.breaks += 1
        self._asker.step_back(ask)

    def stall(self, *, progress: bool) -> None:
        """Note whether an answer brought anything; give the reading up, or its joining, where too many did not."""
        if self._patience.is_out(progress=progress) and not self.ended:
            if not self.notes.reading.disorders:
                raise self._patience.stalled()
            self._give_up_joining()

    def _give_up_joining(self) -> None:
        """Take what comes from now on, from the start, as another reading: what was met before is new to it."""
        self._asker.restart()
        self.notes.restart()
        self._patience.renew()
        self.unjoined = Unjoined()
        self.notes.reading.joined = False

    def _take_unjoined(self, unjoined: Unjoined, ask: Ask, page: Slice) -> Piece:
        rows, hint = len(page.keys), self._hint()
        noted = self.notes.note(page, Overlap(), self._tail)
        self._asker.offset = ask.offset + rows
        self.ended = unjoined.ends(ask, rows, progress=noted.progress, longest=self._capacity.longest, hint=hint)
        if unjoined.is_idle and not self.ended:
            raise self._patience.stalled()
        if unjoined.is_endless(hint):
            raise self._patience.error("never ends, and no page of it joins another")
        return Piece(self.notes.name, page, noted.numbers)
