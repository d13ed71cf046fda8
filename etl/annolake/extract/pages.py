"""Joined pages: one list that moves while it is read by offset, read so that nothing that stays is missed.

Owns the reading of one list. Pure logic over a function that fetches one slice: no HTTP, no files, no threads.

**Words.** A *reading* goes through one list once, from its start to its proved end. A *stayer* of a reading is a
row that is in the list from the reading's first answer to its last and keeps its place among the other stayers.
The *frontier* is the last row of the slices taken so far. A row moves if it changes its place among the stayers,
or leaves the list and comes back.

**Assumed.** (a) A slice is one contiguous part of the list at one moment. Of that moment it is known only that it
lies between request and answer, so with lanes a later slice can be of an earlier moment. (b) The list has one
order. (c) Of the known rows that join a slice at least one did not move between the two slices that hold it.
(d) The server cuts slices at one length at most: if it once returned n rows, then a request for n or more that
returns fewer shows all there is behind its offset.

**Invariant.** Every stayer at or before the frontier has been met. The first slice is taken at offset 0. Another is
taken only if it *joins*: k of its first 2k rows are among the last `joint.TAIL_ROWS` rows read, and follow each other
as they did then. k is 3; it is less where slices are shorter than 12 rows, or where the rows read last can't be told
apart (`Slice.vague`). Proof: let r be one of them that did not move, met in slice A and now in slice B. Every stayer
is on the same side of r at both moments. Those before r had been met when A was taken; those behind r, up to the last
row of B, are in B, as B is contiguous. Which of the moments came first does not matter, nor what else left or came.
A slice at offset 0 needs no joint: nothing lies before it.
A slice that does not join is thrown away with all asked for ahead of it, and the next one begins further back, 50,
100, 200, ... rows of a page of 100, at last at the start. A slice of known rows only (others came in front) is slow
progress: it tells where the frontier is now.

**The end** is a joined slice without any row behind the last known one, of fewer rows than were asked for and than
the server once returned, by (d); or an empty slice at offset 0, by itself. An empty slice elsewhere proves nothing.
A short slice with new rows would do by (d), but is followed up, in case (d) is not quite true; only after `GROWING`
of them in a row the next one ends a list that grows as fast as it is read. So a list shorter than a page takes a
second request, for its last rows. On a server that never returned more than one row, a list of one row is proved by
an empty slice at offset 1 between two that hold the row at offset 0; more rows than that, one by one, can't be read.

**Not proved**, and therefore looked for (`Reading` has the signs; `lists` answers them by reading again): rows that
move to the part already read, joints of which every row moved, an order that does not repeat. If rows of the list
move and nothing else happens to it, and answers come in the sequence of the requests, then a row missed implies a
sign. Moves that as many leaving rows make up for, between the same two slices, show none. A row inserted behind the
frontier is no stayer; it may or may not be met. A slice of an earlier moment hands rows out as they were then.

**No loop.** `STALLED` answers in a row that bring no row new to the reading are an error: the listing repeats itself,
or grows in front faster than it can be read. So is an offset above `MOST_ROWS`. A reading that has to go back to the
start and knows no row there begins anew, `RESTARTS` times. After that, or stalled while rows stood in another order
than before, it takes slices unjoined, from the start to the first short one (`MOST_UNJOINED` rows, or ten times the
hint, are an error), and says that it is not joined.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from annolake.errors import UnavailableError
from annolake.extract.joint import Joint, Tail
from annolake.extract.lanes import Ask, Fetch, Lanes, Slice
from annolake.extract.mark import Since
from annolake.extract.reading import Ledger, Reading
from annolake.extract.stride import Stride

P = TypeVar("P")

STALLED = 100
RESTARTS = 6
GROWING = 2
MOST_ROWS = 100_000_000
MOST_UNJOINED = 200_000

_JOINT = 3


class ListReader(Generic[P]):
    """Reads one list; `reading` tells what the last reading saw.

    `limit` is asked before every request and may answer differently each time; fewer than 2 rows are never asked
    for, as a slice of one can't hold a known row and a new one. At most `lanes` and `spare()` requests are under way.
    `hint()`, the list's size as far as known by now, bounds speculation and nothing else. With `since` only the rows
    from a mark on are read (see `mark`). `earlier` is the reading of this list before.
    """

    def __init__(
        self,
        name: str,
        fetch: Fetch[P],
        ledger: Ledger,
        *,
        lanes: int,
        limit: Callable[[], int],
        spare: Callable[[], int] = lambda: 0,
        hint: Callable[[], int | None] = lambda: None,
        since: Since | None = None,
        earlier: Reading | None = None,
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._capacity = ledger.capacity
        self._hint = hint
        self._since = since
        self._earlier = earlier
        self._lanes = Lanes(fetch)
        reach = (lambda: None) if since else hint
        self._stride = Stride(ledger.capacity, lanes=lanes, limit=limit, spare=spare, hint=reach)
        self._tail = Tail()
        self._number = ledger.open(name)
        self._begun = False  # by a reading before: what follows is a look at the end
        self._ended = False
        self._at: int | None = None  # offset of the next request; None: an overlap before the frontier
        self._void: int | None = None  # an offset above 0 that answered empty since a row was last met
        self._opened = 0  # offset at which the reading began
        self._idle = 0
        self._shorts = 0
        self._restarts = 0
        self._unjoined: int | None = None  # rows taken without a joint, once that had to be
        self.reading = Reading(self._number, whole=since is None)

    @property
    def requests(self) -> int:
        """Requests made."""
        return self._lanes.requests

    def pending(self) -> list[Future[Slice[P]]]:
        """Return the requests that are not answered yet."""
        return self._lanes.pending()

    def steps(self) -> Generator[Slice[P] | None, None, None]:
        """Yield every slice that is to be taken, in the list's order, and None where an answer must come first.

        When it ends, no request is under way any more. Called again it goes on from the frontier: a look at the
        end, with a `Reading` of its own. Raises the first error of any request, and UnavailableError where the
        listing repeats itself or never ends; requests under way then are cancelled, or end unheard.
        """
        self.reading = Reading(self._number, whole=self._since is None)
        self._ended, self._void, self._idle = False, None, 0
        try:
            yield from self._begin()
            while not self._ended:
                self._send()
                while not self._lanes.ready():
                    yield None
                    self._send()  # what is known may be more by now, the list's size above all
                ask, page = self._lanes.pop()
                if self._weigh(ask, page):
                    yield page
            self._begun = True
            self._lanes.drop()
            while self._lanes.pending():
                yield None
        finally:
            self._lanes.drop()

    def _begin(self) -> Generator[None, None, None]:
        if self._begun:
            alone = self._capacity.longest == 1
            seen = 0 if alone else min(self._stride.look(), len(self._tail))
            self._at = max(0, self._tail.end - seen)
        elif self._since:
            self._at = yield from self._since.seek(self._lanes, self._hint())

    def _send(self) -> None:
        """Fill the window: the next slice, and slices ahead of it at the offsets a still list would have."""
        while True:
            flying = len(self._lanes)
            limit, expected, overlap = self._stride.size()
            if flying:
                offset = self._stride.ahead(self._lanes.last, overlap)
            elif self._at is None:
                offset = self._before_frontier(overlap)
                limit = max(limit, self._tail.end - offset + 1)
            else:
                offset = self._at
            if flying and (self._unjoined is not None or not self._stride.allows(flying, offset)):
                return
            if offset > MOST_ROWS:
                raise self._unavailable("never ends")
            self._lanes.send(offset, limit, expected, overlap)

    def _before_frontier(self, overlap: int) -> int:
        """Return the offset `overlap` rows before the frontier, or as many more as it takes to know one again."""
        offset = max(0, self._tail.end - min(overlap, len(self._tail)))
        while offset and self._tail and not self._tail.named(offset):
            offset -= 1
        return offset

    # --- one answer

    def _weigh(self, ask: Ask[P], page: Slice[P]) -> bool:
        """Take the answer if it joins or opens the reading, else step back; tell whether it was taken."""
        self._capacity.saw(ask.limit, len(page.keys))
        if self._unjoined is not None:
            self._take_unjoined(ask, page)
            return True
        joint = self._tail.compare(ask.offset, page.names)
        self.reading.disorders += not joint.ordered
        if self._joins(ask, joint):
            self._take(ask, page, joint)
        elif ask.offset == 0 or (self._since and self._since.opens(page)):
            self._open(ask.offset, len(page.keys))
            self._take(ask, page, Joint(ordered=joint.ordered))
        else:
            self._step_back(ask, len(page.keys))
            return False
        return True

    def _joins(self, ask: Ask[P], joint: Joint) -> bool:
        if ask.offset == 0:
            return bool(joint.anchors) and joint.ordered
        return joint.holds(self._need(ask))

    def _need(self, ask: Ask[P]) -> int:
        """Return how many known rows the slice must begin with; not more than a still list would give it."""
        return max(1, min(_JOINT, ask.overlap, self._tail.named(ask.offset)))

    def _open(self, offset: int, rows: int) -> None:
        """Begin at a slice that needs no joint; anew, if slices were read before."""
        self._opened = offset
        if self._tail:
            self._restarts += 1
            self.reading.breaks += 1
            self._tail.clear()
            self._number = self._ledger.open(self._name)
            if self._restarts > RESTARTS and rows:
                self._give_up_joining()

    def _take(self, ask: Ask[P], page: Slice[P], joint: Joint) -> None:
        rows = len(page.keys)
        earlier = self._meet(page, joint)
        self._ended = not page.cut and self._proves_end(ask, rows, joint)
        self.reading.shifts += joint.moved or (joint.left > 0 and (self._ended or joint.behind < rows))
        self._tail.extend(ask.offset, page.names, joint, ends=self._ended)
        self._stride.joined(lost=max(0, -joint.shift), full=rows >= ask.expected, end=self._tail.end)
        self._aim(ask, rows, joint)
        if self._since:
            self.reading.contradicted = not self._since.holds(page)
            self._ended |= self._since.closes(page) or self.reading.contradicted
        self._stall(progress=any(number != self._number for number in earlier))

    def _proves_end(self, ask: Ask[P], rows: int, joint: Joint) -> bool:
        if rows == 0:
            return True  # at offset 0: nothing else is taken empty
        longest, new = self._capacity.longest, rows - joint.behind
        short = rows < min(ask.limit, longest)
        self._shorts = self._shorts + 1 if short and 2 * new <= longest else 0
        if new:
            self._void = None
            return self._shorts > GROWING
        return short or (ask.offset == 0 and rows == longest == self._void == 1)

    def _aim(self, ask: Ask[P], rows: int, joint: Joint) -> None:
        """Aim at the frontier, and drop slices asked for ahead that can't join there or bring nothing."""
        end, capacity = self._tail.end, self._capacity
        reach = end - self._opened
        self._at = None
        cut = rows == capacity.longest < ask.limit
        if cut and joint.behind == rows and joint.left:
            capacity.capped = True
        elif cut and ask.offset and rows < reach and not capacity.capped:
            # one slice further back tells a server that cuts slices from a list that grows as it is read
            self._at = end - min(2 * rows, reach)
        elif capacity.longest == 1 and self._void is None:
            self._at = end  # no overlap is possible: see "The end"
        if len(self._lanes):
            ahead = self._lanes.first
            joins = self._tail.named(ahead.offset) >= min(_JOINT, ahead.overlap)
            if not joins or end >= ahead.offset + ahead.expected or self._at is not None:
                self._lanes.drop()

    def _step_back(self, ask: Ask[P], rows: int) -> None:
        self._lanes.drop()
        alone = self._capacity.longest == 1  # no overlap is possible, so this is no sign
        self.reading.breaks += not alone
        if not rows:
            self._void = ask.offset
            self._ended = alone and self._begun and ask.offset == self._tail.end
        back = self._stride.back(ask.expected)
        if self._tail.assumed:
            self._tail.doubt()
            self._at = None
        else:
            self._at = max(0, ask.offset - back)
        self._stall(progress=False)

    def _give_up_joining(self) -> None:
        """Take what comes from now on, from the start."""
        self._lanes.drop()
        self._at, self._unjoined, self._idle = 0, 0, 0
        self.reading.joined = False

    def _take_unjoined(self, ask: Ask[P], page: Slice[P]) -> None:
        rows = len(page.keys)
        self._meet(page, Joint())
        self._unjoined = (self._unjoined or 0) + rows
        self._at = ask.offset + rows
        self._ended = rows < min(ask.limit, self._capacity.longest)
        if self._unjoined > max(MOST_UNJOINED, 10 * (self._hint() or 0)):
            raise self._unavailable("never ends, and no page of it joins another")

    def _meet(self, page: Slice[P], joint: Joint) -> Sequence[int]:
        """Note the rows as met and count what their last meeting tells; return its numbers."""
        numbers = self._ledger.met.meet(page.keys, self._number)
        asked = self._since.span(page) if self._since else range(len(page.keys))
        one = self._earlier
        for index, (key, number) in enumerate(zip(page.keys, numbers, strict=True)):
            if key in page.vague:
                self.reading.rows += number == 0
            elif number == 0:
                self.reading.rows += 1
                self.reading.fresh += index in asked
            elif number == self._number:
                known = key in self._tail or key in self._tail.loose
                self.reading.again += bool(joint.anchors) and index > joint.first and not known
            elif self._ledger.lists[number - 1] != self._name:
                self.reading.crossed += 1
            elif one and one.whole and self.reading.whole and number < one.first:
                self.reading.skipped += 1
        return numbers

    def _stall(self, *, progress: bool) -> None:
        self._idle = 0 if progress else self._idle + 1
        if self._idle > STALLED and not self._ended:
            if not self.reading.disorders:
                raise self._unavailable("repeats itself, or changes faster than it can be read")
            self._give_up_joining()

    def _unavailable(self, how: str) -> UnavailableError:
        return UnavailableError(
            f"the {self._name} list {how}: {self.requests} pages were asked for; run again later",
            status=200,
            endpoint=self._name,
            attempts=self.requests,
        )
