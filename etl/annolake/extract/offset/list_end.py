"""Whether a list goes on behind the last row that is known of it: what is asked before a reading may end.

Owns the search behind a list's apparent end. A short or empty slice never ends a list by itself: the service may cap
an answer by count or by bytes, or leave rows out. So every offset below the size that the service tells is asked for,
alone where a slice showed nothing; where no size is told, or more than was met, probes go ever further behind. Takes
no row: what it finds is handed back. What it assumes and proves stands in `pages`.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from annolake.extract.offset.in_flight import Window
from annolake.extract.paging.overlap import Tail
from annolake.extract.paging.slices import Slice

P = TypeVar("P")
R = TypeVar("R")

PROBED_ROWS = 800
"""How far probes go behind the last known row; as far again as the list is long, where that is more and it is read
whole."""
MOST_ALONE = 20_000
"""Offsets of a list that are asked for alone in one reading. A list with more of them that show nothing is reported."""

_ROUNDS = 3  # of asking again, where what is told or shown changes each time

Waiting = Generator[None, None, R]


class Found(NamedTuple, Generic[P]):
    """A slice that shows rows behind the last known one; `silent`: offsets before it showed nothing."""

    offset: int
    page: Slice[P]
    silent: bool


class End(Enum):
    """What else there can be behind the last known row."""

    REACHED = "nothing"
    MOVED = "known rows, which cannot be there in a list that stands still"


Behind = Found[P] | End


class EndCheck(Generic[P]):
    """Looks behind the end of the list that `tail` has the last rows of.

    At most `at_once` requests are under way. `seen` is the number of rows met in the list (None: it is not read whole),
    `told` its size as first told (None: not told); `ask_size` asks again. `emptied`: rows of it were met before, and
    now its start shows nothing, which is looked at twice. Afterwards `silent` tells that told offsets showed nothing,
    `unproven` that there were too many to ask for.
    """

    def __init__(
        self,
        tail: Tail,
        lanes: Window[P],
        *,
        at_once: int,
        page: int,
        seen: int | None,
        told: int | None,
        emptied: bool = False,
        ask_size: Callable[[], "Future[int | None]"],
    ) -> None:
        self.silent = False
        self.unproven = False
        self.asking: Future[int | None] | None = None
        self._tail = tail
        self._lanes = lanes
        self._at_once = at_once
        self._page = page
        self._seen = seen
        self._told = told
        self._emptied = emptied
        self._ask_size = ask_size

    def run(self, *, shown: int, reach: int) -> "Waiting[Behind[P]]":
        """Return what lies behind the end.

        `shown` is the number of rows of the slice that showed nothing new, `reach` the offset behind the last one it
        was asked for.
        """
        at = self._tail.end
        if self._told == 0 and not at and not self._emptied:
            return End.REACHED  # as the slice showed
        if at or reach < self._page or self._emptied:
            behind, at = yield from self._behind(shown, reach)
            if behind is not End.REACHED or (self._is_covered(self._told, at) and not self._emptied):
                return behind
        told = yield from self._size()
        if self._is_covered(told, at):
            return (yield from self._probe(at)) if self._emptied else End.REACHED
        if told is None or told <= at:
            return (yield from self._probe(at))
        return (yield from self._cover(at, told))

    def _is_covered(self, told: int | None, at: int) -> bool:
        """Tell whether all told offsets lie before `at`, and no fewer rows were met than are told."""
        return told is not None and told <= at and (self._seen is None or told <= self._seen)

    def _cover(self, at: int, told: int) -> "Waiting[Behind[P]]":
        """Ask for the offsets from `at` up to the told size, and behind it."""
        for _ in range(_ROUNDS):
            if told - at > MOST_ALONE:
                self.unproven = True
                return (yield from self._probe(at))
            found, silent = yield from self._alone(at, told)
            if found and silent:  # perhaps rows came since, then nothing is missing between
                (page,) = yield from self.ask([at], self._page)
                return Found(at, page, silent=False) if self._is_new(at, page) else found
            if found:
                return found
            before, told = told, (yield from self._size()) or 0
            if not silent or told <= self._tail.end:
                return End.REACHED  # rows came in front, or left between the answers
            if told == before:
                break
        self.silent = True
        return (yield from self._probe(max(at, told)))

    def is_clear(self, ahead: int) -> "Waiting[bool]":
        """Tell whether nothing is shown so many rows behind the end and, where no size is told, further on."""
        end = self._tail.end
        offsets = [end + ahead, *(self._ahead(end + ahead) if self._told is None else ())]
        pages = yield from self.ask(offsets, self._page)
        return not any(page.keys for page in pages)

    def _behind(self, shown: int, reach: int) -> "Waiting[tuple[Behind[P], int]]":
        """Ask right behind the end, and on behind what that shows; return the first offset that showed nothing, too.

        Known rows can be shown there: rows came in front, or were left out before them. Behind `reach` they can't.
        """
        at, asked = self._tail.end, 0
        while True:
            (page,) = yield from self.ask([at], self._page)
            rows, asked = len(page.keys), asked + 1
            if self._is_new(at, page):
                return Found(at, page, silent=False), at
            if rows and at >= reach:
                return End.MOVED, at
            at += rows
            covered = self._told <= at if self._told is not None else asked > _ROUNDS
            if not rows or (covered and (rows < shown or rows == 1)):
                return End.REACHED, at

    def _alone(self, at: int, until: int) -> "Waiting[tuple[Found[P] | None, bool]]":
        """Ask for each offset by itself; tell also whether any showed nothing."""
        silent = False
        while at < until:
            offsets = range(at, min(at + self._at_once, until))
            pages = yield from self.ask(offsets, 1)
            for offset, page in zip(offsets, pages, strict=True):
                if self._is_new(offset, page):
                    return Found(offset, page, silent), silent
                silent |= not page.keys
            at = offsets.stop
        return None, silent

    def _probe(self, at: int) -> "Waiting[Behind[P]]":
        """Ask at offsets ever further behind; where one shows new rows, all before it are asked for."""
        offsets = list(self._ahead(at))
        pages = yield from self.ask(offsets, self._page)
        for offset, page in zip(offsets, pages, strict=True):
            if self._is_new(offset, page):
                first, _ = yield from self._alone(at, min(offset, at + MOST_ALONE))
                return first or Found(offset, page, silent=True)
            if page.keys:
                return End.MOVED
        return End.REACHED

    def _ahead(self, at: int) -> Iterator[int]:
        ahead = self._page
        while ahead <= max(PROBED_ROWS, at if self._seen is not None else 0):
            yield at + ahead
            ahead *= 2

    def _is_new(self, offset: int, page: Slice[P]) -> bool:
        return len(page.keys) > self._tail.compare(offset, page.names).behind

    def ask(self, offsets: Sequence[int], limit: int) -> "Waiting[list[Slice[P]]]":
        """Ask for slices, several at once; one that is under way already is not asked for again."""
        pages: list[Slice[P]] = []
        if not (len(self._lanes) == 1 and self._lanes.first.offset == offsets[0]):
            self._lanes.drop()
        sent = len(self._lanes)
        while len(pages) < len(offsets):
            while sent < len(offsets) and len(self._lanes) < self._at_once:
                self._lanes.send(offsets[sent], limit, expected=0, overlap=0)
                sent += 1
            while not self._lanes.ready():
                yield None
            pages.append(self._lanes.pop()[1])
        return pages

    def _size(self) -> "Waiting[int | None]":
        self.asking = self._ask_size()
        while not self.asking.done():
            yield None
        told, self.asking = self.asking.result(), None
        return told if told is None or told >= 0 else None


class Growth:
    """Whether a list grows as fast as it is read: short slices in a row, each with new rows, beyond its told size.

    So may the slices of a service that cuts them. What lies a little ahead tells: nothing, where the list grows; then
    it is followed so far and no further, for what came later was not there when the reading began.
    """

    _IN_A_ROW = 2
    _ROWS = 10  # for each row that the last slice brought

    def __init__(self) -> None:
        self._shorts = 0
        self._patience = self._IN_A_ROW
        self._brought = 0
        self._left: int | None = None  # rows to follow

    def saw(self, new: int, *, short: bool, beyond: bool) -> bool:
        """Note a slice that was taken; tell whether the list has been followed far enough."""
        self._shorts = self._shorts + 1 if new and short and beyond else 0
        self._brought = new
        if self._left is not None:
            self._left -= new
        return bool(new) and short and self._left is not None and self._left <= 0

    @property
    def suspected(self) -> bool:
        """Tell whether it is time to look ahead."""
        return self._shorts > self._patience and self._left is None

    @property
    def ahead(self) -> int:
        """How many rows behind the end nothing may be shown."""
        return max(1, self._brought) * self._ROWS

    def looked(self, *, clear: bool) -> None:
        """Note whether nothing was shown there."""
        if clear:
            self._left = self.ahead
        self._shorts, self._patience = 0, self._patience * 2
