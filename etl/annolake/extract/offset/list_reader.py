"""Joined pages: one list that moves while it is read by offset, read so that nothing that stays is missed.

Owns the reading of one list. Pure logic over a function that fetches one slice: no HTTP, no files, no threads.

**Words.** A *reading* goes through one list once, from its start to its end. A *stayer* of a reading is a row that is
in the list from the reading's first answer to its last and keeps its place among the other stayers. The *frontier* is
the last row of the slices taken so far. A row moves if it changes its place among the stayers, or leaves and comes
back.

**Assumed.** (a) A slice shows rows of one window of the list, as it was at one moment, in the list's order: those at
offset, offset + 1, ... up to as many as were asked for. It may show fewer: the first of them alone (capped by count or
by bytes), or some left out. Of its moment it is known only that it lies between request and answer, so with lanes a
later slice can be of an earlier moment. (b) The list has one order. (c) Of the known rows that join a slice at least
one did not move between the two slices that hold it. (d) A row that is shown by any answer is shown when it is asked
for alone. (e) What is left out stays left out while the list is read.

**Invariant** (where no row is left out). Every stayer at or before the frontier has been met. The first slice is taken
at offset 0. Another is taken only if it *joins*: k of its first 2k rows are among the last `joint.TAIL_ROWS` rows read,
and follow each other as they did then. k is 3; it is less where slices are shorter than 12 rows, or where the rows read
last can't be told apart (`Slice.ambiguous_keys`). Proof: let r be one of them that did not move, met in slice A and now
in slice B. Every stayer is on the same side of r at both moments. Those before r had been met when A was taken;
those behind r, up to the last row of B, are in B, as the rows that B shows are contiguous. Which of the moments came
first does not matter, nor what else left or came. A slice at offset 0 needs no joint: nothing lies before it.
A slice that does not join is thrown away with all asked for ahead of it, and the next one begins further back, 50, 100,
200, ... rows of a page of 100, at last at the start. A slice of known rows only (others came in front) is slow
progress: it tells where the frontier is now. An answer that shows nothing is asked for again from the last known row
on, two rows alone, before it is believed.

**The end.** A short slice without any row behind the last known one is where `ending` begins: right behind the frontier
nothing new is shown, and the size that was told, before or now, is no larger than the offsets asked for. Where it is
larger, each offset up to it is asked for alone; where none is told, or more than was met, probes are sent up to
`ending.PROBED_ROWS` or as many rows as the list has behind the end. Rows that are found so are taken without a joint
where none can be had, and the reading has a *gap*: `lists` then reads again until two readings agree.
A list that grows as fast as it is read is followed up to an offset that showed nothing, and no further: what came
later is no stayer.

**With rows left out**, an offset and the rows shown tell less. Claimed is this: if the list does not change while it is
read, every row that an answer shows is met, as far as told sizes and probes reach. Proof: a window of which n rows are
shown is followed by one that begins at most n rows behind its start, so no offset is passed over that could have
shown a row not met; and an offset that showed nothing was asked for alone.

**Not proved**, and therefore looked for (`Reading` has the signs; `lists` answers them by reading again): rows that
move to the part already read, joints of which every row moved, an order that does not repeat, rows that move while a
gap is crossed. If rows of the list move and nothing else happens to it, and answers come in the sequence of the
requests, then a row missed implies a sign. Moves that as many leaving rows make up for, between the same two slices,
show none. A row inserted behind the frontier is no stayer; it may or may not be met. A slice of an earlier moment hands
rows out as they were then. Rows behind so many that are left out that no told size and no probe reaches them.

**No loop.** `STALLED` answers in a row that bring no row new to the reading are an error: the listing repeats itself,
or grows in front faster than it can be read. So are an offset above `MOST_ROWS`, and more than `MOST_REQUESTS` requests
and four for each row: the service shows too little. A reading that has to go back to the start and knows no row there
begins anew, `RESTARTS` times. After that, or stalled while rows stood in another order than before, it takes slices
unjoined, from the start to the first short one behind the told size (`MOST_UNJOINED` rows, or ten times the hint, are
an error), and says that it is not joined.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from annolake.errors import UnavailableError
from annolake.extract.offset.in_flight import Ask, Fetch, Window
from annolake.extract.offset.list_end import End, EndCheck, Found, Growth, Waiting
from annolake.extract.offset.prefetch import Capacity, Prefetch
from annolake.extract.offset.seek import seek
from annolake.extract.paging.overlap import Overlap, Tail
from annolake.extract.paging.readings import Ledger, Reading
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.watermark import Watermark

P = TypeVar("P")

STALLED = 100
RESTARTS = 12
MOST_REQUESTS = 2_000  # of a reading, and four for each row told or met
MOST_ROWS = 100_000_000
MOST_UNJOINED = 200_000

_JOINT = 3
_LEAST = 2  # rows: the fewest that can hold a known row and a new one


def _untold() -> "Future[int | None]":
    nothing: Future[int | None] = Future()
    nothing.set_result(None)
    return nothing


class ListReader(Generic[P]):
    """Reads one list; `reading` tells what the last reading saw.

    `limit` is asked before every request and may answer differently each time. At most `lanes` and `spare()` requests
    are under way. `hint()` is the list's size as first told, as far as known by now; `size()` asks for it again. With
    `watermark` only the rows from a mark on are read (see `time`). `earlier` is the reading of this list before.
    """

    def __init__(
        self,
        name: str,
        fetch: Fetch[P],
        ledger: Ledger,
        capacity: Capacity,
        *,
        lanes: int,
        limit: Callable[[], int],
        spare: Callable[[], int] = lambda: 0,
        hint: Callable[[], int | None] = lambda: None,
        size: Callable[[], "Future[int | None]"] = _untold,
        watermark: Watermark | None = None,
        earlier: Reading | None = None,
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._capacity = capacity
        self._limit = limit
        self._hint = hint
        self._size = size
        self._watermark = watermark
        self._earlier = earlier
        self._at_once = lanes
        self._lanes = Window(fetch)
        reach = (lambda: None) if watermark else hint
        self._prefetch = Prefetch(capacity, lanes=lanes, limit=limit, spare=spare, hint=reach)
        self._tail = Tail()
        self._number = ledger.open(name)
        self._begun = False  # by a reading before: what follows is a look at the end
        self._ended = False
        self._check: EndCheck[P] | None = None  # of the list's end, under way
        self._proven: int | None = None  # the offset at which the list was last found to end
        self._at: int | None = None  # offset of the next request; None: an overlap before the frontier
        self._few: int | None = None  # rows to ask for at most, after a slice that showed nothing
        self._over = False  # the slice taken last may be the list's last one
        self._seen = 0  # rows met since the reading began
        self._short = False  # the slice taken last had fewer rows than were asked for
        self._doubted = -1  # the frontier behind which an answer that showed nothing was asked for again
        self._away = False  # no known row is where the last one was
        self._tried: bytes | None = None  # the row found behind the frontier that was asked for with an overlap
        self._idle = 0
        self._growth = Growth()
        self._restarts = 0.0
        self._unjoined: int | None = None  # rows taken without a joint, once that had to be
        self._shorts = 0  # short slices of these in a row
        self.reading = Reading(self._number, whole=watermark is None)

    @property
    def requests(self) -> int:
        """Requests made."""
        return self._lanes.requests

    @property
    def seen(self) -> int:
        """Rows met from the start of the list on."""
        return self._seen

    def pending(self) -> list[Future[Any]]:
        """Return the requests that are not answered yet."""
        size = self._check.asking if self._check else None
        return [*self._lanes.pending(), *([size] if size and not size.done() else [])]

    def steps(self) -> Generator[Slice[P] | None, None, None]:
        """Yield every slice that is to be taken, in the list's order, and None where an answer must come first.

        When it ends, no request is under way any more. Called again it goes on from the frontier: a look at the
        end, with a `Reading` of its own. Raises the first error of any request, and UnavailableError where the
        listing repeats itself or never ends; requests under way then are cancelled, or end unheard.
        """
        self.reading = Reading(self._number, whole=self._watermark is None)
        self._ended, self._idle = False, 0
        before = self.requests
        try:
            yield from self._begin()
            while not self._ended:
                if self.requests - before > MOST_REQUESTS + 4 * max(self._hint() or 0, self._seen):
                    raise self._unavailable("shows too little of what is asked for")
                self._send()
                while not self._lanes.ready():
                    yield None
                    self._send()  # what is known may be more by now, the list's size above all
                ask, page = self._lanes.pop()
                if self._weigh(ask, page):
                    yield page
                    yield from self._follow_up(ask, len(page.keys))
                elif ask.overlap and not page.keys and self._tail:
                    yield from self._doubt(ask)
            self._begun = True
            self._lanes.drop()
            while self._lanes.pending():
                yield None
        finally:
            self._lanes.drop()

    def _begin(self) -> Generator[None, None, None]:
        if self._begun:
            self._at = max(0, self._tail.end - min(self._prefetch.look(), len(self._tail)))
        elif self._watermark:
            self._at = yield from seek(self._watermark, self._lanes, self._hint())

    def _send(self) -> None:
        """Fill the window: the next slice, and slices ahead of it at the offsets a still list would have."""
        while True:
            flying = len(self._lanes)
            limit, expected, overlap = self._prefetch.size()
            if flying:
                last = self._lanes.last
                behind = self._prefetch.behind(last, flying)
                if behind is not None:
                    self._lanes.send(behind, limit, expected=0, overlap=0)
                offset = self._prefetch.ahead(last, overlap)
                if behind is not None or self._unjoined is not None or not self._allows(last, flying, offset):
                    return
            elif self._at is None:
                if self._few:
                    limit, overlap = min(limit, self._few), min(overlap, self._few // 2)
                offset = self._before_frontier(overlap)
                limit = max(limit, self._tail.end - offset + 1)
            else:
                offset = self._at
            if offset > MOST_ROWS:
                raise self._unavailable("never ends")
            self._lanes.send(offset, limit, expected, overlap)

    def _allows(self, last: Ask[P], flying: int, offset: int) -> bool:
        return last.overlap > 0 and self._few is None and self._prefetch.allows(flying, offset)

    def _before_frontier(self, overlap: int) -> int:
        """Return the offset `overlap` rows before the frontier, or as many more as it takes to know one again."""
        offset = max(0, self._tail.end - min(overlap, len(self._tail)))
        while offset and self._tail and not self._tail.named(offset):
            offset -= 1
        return offset

    # --- one answer

    def _weigh(self, ask: Ask[P], page: Slice[P]) -> bool:
        """Take the answer if it joins or opens the reading, else step back; tell whether it was taken."""
        if not ask.overlap:
            return False  # asked for behind an end that has not been reached
        self._capacity.saw(ask.limit, len(page.keys))
        if self._unjoined is not None:
            self._take_unjoined(ask, page)
            return True
        joint = self._tail.compare(ask.offset, page.names)
        self.reading.disorders += not joint.ordered
        if self._joins(ask, len(page.keys), joint):
            self._take(ask, page, joint)
        elif self._opens(ask, page):
            self._open(len(page.keys))
            self._take(ask, page, Overlap(ordered=joint.ordered))
        else:
            if page.keys or not self._tail:
                self._step_back(ask)
            return False
        return True

    def _opens(self, ask: Ask[P], page: Slice[P]) -> bool:
        if ask.offset == 0:
            return bool(page.keys) or not self._tail
        return self._watermark is not None and self._watermark.opens(page)

    def _joins(self, ask: Ask[P], rows: int, joint: Overlap) -> bool:
        if ask.offset == 0:
            return bool(joint.anchors) and joint.ordered
        nothing_new = joint.behind == rows > 0 and joint.ordered and not joint.strangers
        return nothing_new or joint.holds(self._need(ask))

    def _need(self, ask: Ask[P]) -> int:
        """Return how many known rows the slice must begin with; not more than a still list would give it."""
        return max(1, min(_JOINT, ask.overlap, self._tail.named(ask.offset)))

    def _open(self, rows: int) -> None:
        """Begin at a slice that needs no joint; anew, if slices were read before."""
        self._seen = 0
        if self._tail:
            self._restarts += 1 if rows else 0.25
            self.reading.breaks += 1
            self._tail.clear()
            self._number = self._ledger.open(self._name)
            if self._restarts > RESTARTS:
                self._give_up_joining()

    def _take(self, ask: Ask[P], page: Slice[P], joint: Overlap) -> None:
        rows = len(page.keys)
        new, short = rows - joint.behind, rows < ask.limit
        earlier = self._meet(page, joint)
        cut = short and not new and joint.left > 0  # perhaps: a smaller overlap will tell
        over = short and not new and not joint.left
        self.reading.shifts += joint.moved or (joint.left > 0 and (over or joint.behind < rows))
        self._tail.extend(ask.offset, page.names, joint, ends=over)
        self._capacity.cut = rows if cut else self._capacity.cut
        self._learn(ask, rows, new)
        self._prefetch.joined(lost=max(0, -joint.shift), full=rows >= ask.expected, end=self._tail.end)
        self._at, self._over, self._away = None, over, False
        if not over:
            self._drop_useless()
        if self._watermark:
            self.reading.contradicted = not self._watermark.holds(page)
            self._ended |= self._watermark.closes(page) or self.reading.contradicted
        self._stall(progress=any(number != self._number for number in earlier))

    def _learn(self, ask: Ask[P], rows: int, new: int) -> None:
        """Learn from a slice that was taken how long the next may be, and whether the list grows as it is read."""
        short, hint = rows < ask.limit, self._hint()
        if new:
            if not short:
                self._capacity.cut = None
            elif self._short:
                self._capacity.cut = rows
        self._few = self._few * 2 if self._few and self._few * 2 < self._limit() else None
        self._short = short
        self._ended = self._growth.saw(new, short=short, beyond=hint is None or hint <= self._tail.end)

    def _drop_useless(self) -> None:
        """Drop slices asked for ahead that can't join where the frontier is now, or bring nothing."""
        if len(self._lanes) and self._lanes.first.overlap:
            ahead = self._lanes.first
            joins = self._tail.named(ahead.offset) >= min(_JOINT, ahead.overlap)
            if not joins or self._tail.end >= ahead.offset + ahead.expected:
                self._lanes.drop()

    def _step_back(self, ask: Ask[P]) -> None:
        """Throw an answer away that does not join, and begin further back."""
        self._lanes.drop()
        self._stall(progress=False)
        self._few = self._capacity.cut = None
        self.reading.breaks += 1
        back = self._prefetch.back(ask.expected)
        if self._tail.assumed:
            self._tail.doubt()
            self._at = None
        else:
            self._at = max(0, ask.offset - back)

    def _doubt(self, ask: Ask[P]) -> Generator[Slice[P] | None, None, None]:
        """Find out what an answer that shows nothing means: the rows before it left, or it shows less than there is.

        Two rows are asked for from the last known one on, then that row alone: if a known row is there, none left.
        """
        end = self._tail.end
        if not self._away and self._doubted != end:
            self._lanes.drop()
            self._stall(progress=False)
            self._doubted, self._few, self._at = end, _LEAST, None
            return
        if not self._away:
            (alone,) = yield from self._end_check().ask([end - 1], 1)
            self._away = not any(name in self._tail for name in alone.names)
        if not self._away:
            found = yield from self._look_behind(end, 1)
        elif ask.offset:
            self._step_back(ask)
            return
        else:
            self._open(0)
            self._away = False
            found = yield from self._look_behind(ask.limit, 0)
        if found:
            yield found

    # --- the end

    def _follow_up(self, ask: Ask[P], rows: int) -> Generator[Slice[P] | None, None, None]:
        """Look behind the list where the slice just taken may be its last one."""
        if self._ended or self._unjoined is not None:
            return
        if self._over:
            self._over = False
            found = yield from self._look_behind(ask.offset + ask.limit, rows)
            if found:
                yield found
        elif self._growth.suspected:
            clear = yield from self._end_check().is_clear(self._growth.ahead)
            self._growth.looked(clear=clear)

    def _end_check(self) -> EndCheck[P]:
        self._check = EndCheck(
            self._tail,
            self._lanes,
            at_once=self._at_once,
            page=max(self._limit(), _LEAST),
            seen=None if self._watermark else self._seen,
            told=self._hint(),
            emptied=not self._tail and self._name in self._ledger.shown,
            ask_size=self._size,
        )
        return self._check

    def _look_behind(self, reach: int, shown: int) -> Waiting[Slice[P] | None]:
        """End the reading where nothing lies behind the frontier; return a slice that was found there instead.

        `shown` is the number of rows of the slice that showed nothing new, `reach` the offset behind what it was asked
        for.
        """
        end = self._tail.end
        if self._begun and end == self._proven:
            self._ended = True
            return None
        check = self._end_check()
        behind = yield from check.run(shown=shown, reach=reach)
        self.reading.gaps += check.silent
        self.reading.unproven |= check.unproven
        if isinstance(behind, Found):
            return self._go_on(behind)
        if behind is End.REACHED:
            self._ended, self._proven = True, end
        else:
            self.reading.shifts += 1
            self._idle += STALLED // 10
        return None

    def _go_on(self, found: Found[P]) -> Slice[P] | None:
        """Go on behind the frontier; by slices that join, if asking again with an overlap brings one."""
        offset, page, silent = found
        joint = self._tail.compare(offset, page.names)
        if not joint.anchors and not silent and self._tried != page.names[0] and self._tail:
            self._tried = page.names[0]
            self._capacity.cut = self._few = _LEAST
            return None
        self.reading.gaps += offset > 0 and not joint.anchors
        earlier = self._meet(page, joint)
        self._tail.extend(offset, page.names, joint, ends=False)
        if self._watermark:
            self.reading.contradicted = not self._watermark.holds(page)
            self._ended |= self.reading.contradicted
        self._at, self._away = None, False
        self._short, self._few = False, _LEAST if len(page.keys) == 1 else None
        self._stall(progress=any(number != self._number for number in earlier))
        return page

    # --- unjoined

    def _give_up_joining(self) -> None:
        """Take what comes from now on, from the start."""
        self._lanes.drop()
        self._at, self._unjoined, self._idle, self._shorts = 0, 0, 0, 0
        self.reading.joined = False

    def _take_unjoined(self, ask: Ask[P], page: Slice[P]) -> None:
        rows, hint = len(page.keys), self._hint()
        self._meet(page, Overlap())
        self._unjoined = (self._unjoined or 0) + rows
        self._at = ask.offset + rows
        short = rows < min(ask.limit, self._capacity.longest)
        self._shorts = self._shorts + 1 if short else 0
        goes_on = rows > 0 and hint is not None and self._at < hint and self._shorts < STALLED
        self._ended = short and not goes_on
        if self._unjoined > max(MOST_UNJOINED, 10 * (hint or 0)):
            raise self._unavailable("never ends, and no page of it joins another")

    # --- both

    def _meet(self, page: Slice[P], joint: Overlap) -> Sequence[int]:
        """Note the rows as met and count what their last meeting tells; return its numbers."""
        numbers = self._ledger.seen_keys.meet(page.keys, self._number)
        if numbers:
            self._ledger.shown.add(self._name)
        asked = self._watermark.span(page) if self._watermark else range(len(page.keys))
        one = self._earlier
        for index, (key, number) in enumerate(zip(page.keys, numbers, strict=True)):
            self._seen += index >= joint.behind if key in page.ambiguous_keys else number != self._number
            if key in page.ambiguous_keys:
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
        self._lanes.drop()
        return UnavailableError(
            f"the {self._name} list {how}: {self.requests} pages were asked for; run again later",
            status=200,
            endpoint=self._name,
            attempts=self.requests,
        )
