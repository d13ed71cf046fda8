"""Joined pages: one list that moves while it is read by offset, read so that nothing that stays is missed.

Owns the reading of one list. Pure logic over a function that fetches one slice: no HTTP, no files, no threads.

**Words.** A *reading* goes through one list once, from its start to its proved end. A *stayer* of a reading is a row
that is in the list from the reading's first answer to its last and keeps its place among the other stayers. The
*frontier* is the last row of the slices taken so far.

**Assumed.** (a) A slice is one contiguous part of the list at one moment; of a request it is known only that the
moment lies between asking and answer, so with lanes a later slice can be of an earlier moment. (b) The list has one
order. (c) Of the rows that join a slice at least one was not moved between the two slices that hold it. (d) The
server cuts slices at a constant length at most: if it once returned n rows, then a request for n or more that
returns fewer shows all there is behind its offset.

**Invariant.** Every stayer at or before the frontier has been met. The first slice is taken at offset 0. Another is
taken only if it *joins*: of its first 2k rows at least k are among the last `joint.TAIL_ROWS` rows read, in the order
they had (k is 3, less where slices are shorter than 12 rows). Proof: let r be such a row that was not moved, met in
slice A and now in slice B. Every stayer stands on the same side of r at both moments. Those before r had been met
when A was taken. Those behind r and not behind B's last row are in B, as B is contiguous. The moments' sequence does
not matter, nor what else left or came. A slice at offset 0 needs no joint: nothing lies before it.
A slice that does not join is thrown away with all asked for ahead of it, and the next one begins further back, 50,
100, 200, ... rows of a page of 100, at last at the start. Known rows only (others came in front) are slow progress:
they tell where the frontier is now.

**The end** is a joined slice without any row behind the last known one, of fewer rows than were asked for and than
the server once returned, by (d); or an empty slice at offset 0, by itself. An empty slice elsewhere, or a short one
with new rows, proves nothing and is followed up. So a list of fewer rows than a page takes a second request, for its
last rows. On a server that never returned more than one row, a list of one row is proved by an empty slice at offset
1 between two that hold that row at offset 0.

**Not proved**, and therefore looked for (`Reading` counts the signs; `lists` answers them by reading again): rows
moved to the part already read, joints of which every row was moved, an order that does not repeat. If nothing but
moves within the list happens during a reading, a row missed implies a sign. Moves hidden by as many rows leaving at
the same moment show no sign. A row inserted behind the frontier is not a stayer, and may or may not be met. A row
that a slice of an earlier moment still holds is handed out again as it was at that moment.

**No loop.** `STALLED` answers in a row that bring no row new to the reading are an error: the listing repeats itself,
or grows in front faster than it can be read. So is an offset above `MOST_ROWS`. A list of which no slice joins is
begun anew up to `RESTARTS` times, then read unjoined to a short slice and reported as not joined.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from annolake.errors import UnavailableError
from annolake.extract.joint import Joint, Tail
from annolake.extract.lanes import Ask, Fetch, Lanes, Slice
from annolake.extract.mark import Since
from annolake.extract.stride import Capacity, Stride

P = TypeVar("P")

STALLED = 100
RESTARTS = 6
GROWING = 2
MOST_ROWS = 100_000_000
MOST_UNJOINED = 200_000

_JOINT = 3


class Met(Protocol):
    """The keys met in an export, each with the number of the reading that met it last: 17 bytes a row will do."""

    def meet(self, keys: Sequence[bytes], number: int) -> Sequence[int]:
        """Note that reading `number` (1 to 255) met the keys; return the number noted before for each, 0: none."""


@dataclass
class Ledger:
    """What the readings of one queue share."""

    met: Met
    capacity: Capacity = field(default_factory=Capacity)
    lists: list[str] = field(default_factory=list)  # the list that each reading was of, from number 1

    def open(self, name: str) -> int:
        """Return the number of a new reading of that list."""
        self.lists.append(name)
        return len(self.lists)


@dataclass
class Reading:
    """What one reading saw. `first`: its number, or the first of them if it had to start over."""

    first: int
    whole: bool  # not only what was added after a mark
    joined: bool = True
    contradicted: bool = False  # rows stood in another order than the one recorded: nothing was shown
    fresh: int = 0  # rows that no reading of any list had met
    crossed: int = 0  # rows that a reading of another list had met last
    breaks: int = 0  # slices that did not join
    shifts: int = 0  # slices that joined at an unexpected offset, or with rows come or gone between known ones
    disorders: int = 0  # slices with known rows in another order than before
    again: int = 0  # rows met a second time, far behind where they had been
    skipped: int = 0  # rows met before and again now, but missed by the whole reading of this list in between

    @property
    def restless(self) -> bool:
        """Tell whether rows were seen to change their order: leaving, coming and crossing rows never do that."""
        return bool(self.disorders or self.again or self.skipped or not self.joined)

    @property
    def moved(self) -> bool:
        """Tell whether the list was seen to change at all."""
        return bool(self.restless or self.breaks or self.shifts)


class ListReader(Generic[P]):
    """Reads one list; `reading` tells what the last reading saw.

    `limit` is asked before every request and may answer differently each time (fewer than 2 rows are never asked
    for). `hint`, the list's size as far as known, bounds speculation and nothing else. With `since` only the rows
    from a mark on are read. `earlier` is the reading of this list before.
    """

    def __init__(  # noqa: D107 - documented above
        self,
        name: str,
        fetch: Fetch[P],
        ledger: Ledger,
        *,
        lanes: int,
        limit: Callable[[], int],
        hint: int | None = None,
        since: Since | None = None,
        earlier: Reading | None = None,
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._hint = hint
        self._since = since
        self._earlier = earlier
        self._lanes = Lanes(fetch)
        self._stride = Stride(ledger.capacity, lanes=lanes, limit=limit, hint=None if since else hint)
        self._tail = Tail()
        self._number = ledger.open(name)
        self._at: int | None = None  # offset of the next request; None: a joint's overlap before the frontier
        self._void: int | None = None  # an offset above 0 that answered empty since a row was last met
        self._idle = 0
        self._shorts = 0
        self._restarts = 0
        self._unjoined = 0
        self._ended = False
        self._looks = False  # at the end of what was read before
        self.reading = Reading(self._number, whole=since is None)

    @property
    def requests(self) -> int:
        """Requests made."""
        return self._lanes.requests

    def pending(self) -> list[Future[Slice[P]]]:
        """Return the requests that are not answered yet."""
        return self._lanes.pending()

    def steps(self) -> Iterator[Slice[P] | None]:
        """Yield every slice that is to be taken, in the list's order, and None where an answer must come first.

        When it ends, no request is under way any more. Called again it goes on from the frontier: a look at the
        end, as `Reading` of its own. Raises the first error of any request, UnavailableError where a listing
        repeats itself or never ends.
        """
        self.reading = Reading(self._number, whole=self._since is None)
        self._ended, self._void, self._idle = False, None, 0
        try:
            if self._looks:
                self._stride.pause()
                self._at = self._tail.end if self._ledger.capacity.longest == 1 else None
            elif self._since:
                self._at = yield from self._since.seek(self._lanes, self._hint)
            self._looks = True
            while not self._ended:
                self._send()
                while not self._lanes.ready():
                    yield None
                ask, page = self._lanes.pop()
                if self._weigh(ask, page):
                    yield page
            self._lanes.drop()
            while self._lanes.pending():
                yield None
        finally:
            self._lanes.drop()

    def _send(self) -> None:
        """Fill the window: the next slice, and slices ahead of it at the offsets a still list would have."""
        while True:
            limit, expected, overlap = self._stride.size()
            if len(self._lanes):
                offset = self._stride.ahead(self._lanes.last, overlap)
            elif self._at is None:
                offset = max(0, self._tail.end - min(overlap, len(self._tail)))
            else:
                offset = self._at
            if len(self._lanes) and (self._unjoined or not self._stride.allows(len(self._lanes), offset)):
                return
            if offset > MOST_ROWS:
                raise self._unavailable("never ends")
            self._lanes.send(offset, limit, expected, overlap)

    def _weigh(self, ask: Ask[P], page: Slice[P]) -> bool:
        """Take the answer if it joins or opens the reading, else step back; tell whether it was taken."""
        self._ledger.capacity.saw(ask.limit, len(page.keys))
        if self._unjoined:
            self._take_unjoined(ask, page)
            return True
        joint = self._tail.compare(ask.offset, page.keys)
        self.reading.disorders += not joint.ordered
        if not self._joins(ask, joint):
            if ask.offset and not (self._since and self._since.opens(page)):
                self._step_back(ask, page)
                return False
            self._open(len(page.keys))
            joint = Joint()
        self._take(ask, page, joint)
        return True

    def _joins(self, ask: Ask[P], joint: Joint) -> bool:
        if ask.offset == 0:
            return bool(joint.anchors) and joint.ordered
        return joint.holds(self._need(ask))

    def _need(self, ask: Ask[P]) -> int:
        return max(1, min(_JOINT, ask.overlap, len(self._tail)))

    def _open(self, rows: int) -> None:
        """Begin at a slice that needs no joint; anew, if slices were read before."""
        if self._tail:
            self._restarts += 1
            self.reading.breaks += 1
            self._tail.clear()
            self._number = self._ledger.open(self._name)
            if self._restarts > RESTARTS and rows:
                self.reading.joined = False
                self._unjoined = 1

    def _take(self, ask: Ask[P], page: Slice[P], joint: Joint) -> None:
        rows = len(page.keys)
        earlier = self._meet(page.keys, joint)
        self._ended = self._proves_end(ask, rows, joint)
        self.reading.shifts += joint.moved or (joint.left > 0 and (self._ended or joint.behind < rows))
        self._tail.extend(ask.offset, page.keys, joint, ends=self._ended)
        self._stride.joined(lost=max(0, -joint.shift), full=rows >= ask.expected, end=self._tail.end)
        if joint.behind < rows:
            self._void = None
        self._go_on()
        self._probe(ask, rows, joint)
        if self._since:
            self.reading.contradicted = not self._since.holds(page)
            self._ended |= self._since.closes(page) or self.reading.contradicted
        self._stall(progress=any(number != self._number for number in earlier))

    def _proves_end(self, ask: Ask[P], rows: int, joint: Joint) -> bool:
        if rows == 0:
            return True  # at offset 0: nothing else is taken empty
        short = rows < min(ask.limit, self._ledger.capacity.longest)
        self._shorts = self._shorts + 1 if short and 2 * (rows - joint.behind) <= self._ledger.capacity.longest else 0
        if joint.behind < rows:
            return self._shorts > GROWING
        alone = ask.offset == 0 and rows == 1 == self._ledger.capacity.longest and self._void == 1
        return short or alone

    def _go_on(self) -> None:
        """Aim at the frontier, and drop slices asked for ahead that can't join there or bring nothing."""
        self._at = None
        if self._ledger.capacity.longest == 1 and self._void is None:
            self._at = self._tail.end  # no overlap is possible: see "The end"
        if len(self._lanes):
            ahead = self._lanes.first
            if not ahead.offset + self._need(ahead) <= self._tail.end < ahead.offset + ahead.expected:
                self._lanes.drop()

    def _probe(self, ask: Ask[P], rows: int, joint: Joint) -> None:
        """Tell a server that cuts slices from a list that grows as it is read, by one slice further back."""
        capacity = self._ledger.capacity
        if rows < ask.limit and joint.behind == rows and joint.left:
            capacity.capped = True
        elif 1 < rows == capacity.longest < ask.limit and rows < len(self._tail) and not capacity.capped:
            self._lanes.drop()
            self._at = self._tail.end - min(2 * rows, len(self._tail))

    def _step_back(self, ask: Ask[P], page: Slice[P]) -> None:
        self._lanes.drop()
        if not page.keys:
            self._void = ask.offset
        self.reading.breaks += self._ledger.capacity.longest > 1
        self._at = max(0, ask.offset - self._stride.back(ask.expected))
        forgotten = self._tail.end - len(self._tail) - ask.expected
        if self._tail and self._at < forgotten and not self._since:
            self._at = 0  # no row there could be known
        self._stall(progress=False)

    def _take_unjoined(self, ask: Ask[P], page: Slice[P]) -> None:
        rows = len(page.keys)
        self._meet(page.keys, Joint())
        self._unjoined += rows
        self._at = ask.offset + rows
        self._ended = rows < min(ask.limit, self._ledger.capacity.longest)
        if self._unjoined > max(MOST_UNJOINED, 10 * (self._hint or 0)):
            raise self._unavailable("never ends, and no page of it joins another")

    def _meet(self, keys: Sequence[bytes], joint: Joint) -> Sequence[int]:
        """Note the rows as met and count what their last meeting tells; return its numbers."""
        numbers = self._ledger.met.meet(keys, self._number)
        one = self._earlier
        for index, (key, number) in enumerate(zip(keys, numbers, strict=True)):
            if number == 0:
                self.reading.fresh += 1
            elif number == self._number:
                apart = joint.anchors and index > joint.first and key not in self._tail
                self.reading.again += bool(apart) and key not in self._tail.loose
            elif self._ledger.lists[number - 1] != self._name:
                self.reading.crossed += 1
            elif one and one.whole and self.reading.whole and number < one.first:
                self.reading.skipped += 1
        return numbers

    def _stall(self, *, progress: bool) -> None:
        self._idle = 0 if progress else self._idle + 1
        if self._idle > STALLED and not self._ended:
            raise self._unavailable("repeats itself, or changes faster than it can be read")

    def _unavailable(self, how: str) -> UnavailableError:
        return UnavailableError(
            f"the {self._name} list {how}: {self.requests} pages were asked for; run again later",
            status=200,
            endpoint=self._name,
            attempts=self.requests,
        )
