"""Whether a list goes on behind the last row that is known of it: what is asked before a reading may end.

Owns the search behind a list's apparent end. Takes no row: what it finds is handed back. What it assumes and proves is
P3 and P4 in docs/paging.md#the-end-of-a-list.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from enum import Enum
from typing import NamedTuple

from annolake.extract.offset.in_flight import Window
from annolake.extract.paging.overlap import Tail
from annolake.extract.paging.slices import Slice

PROBED_ROWS = 800
"""How far probes go behind the last known row; as far again as the list is long, where that is more and it is read
whole."""
MOST_ALONE = 20_000
"""Offsets of a list that are asked for alone in one reading. A list with more of them that show nothing is reported."""

_ROUNDS = 3  # of asking again, where what is reported or shown changes each time


class Found(NamedTuple):
    """A slice that shows rows behind the last known one; `silent`: offsets before it showed nothing."""

    offset: int
    limit: int
    page: Slice
    silent: bool


class End(Enum):
    """What else there can be behind the last known row."""

    REACHED = "nothing"
    MOVED = "known rows, which cannot be there in a list that stands still"


Behind = Found | End


class EndCheck:
    """Looks behind the end of the list that `tail` has the last rows of.

    At most `at_once` requests are under way. `seen` is the number of rows met in the list (None: it is not read whole),
    `reported` its size as first reported (None: not reported); `ask_size` asks again. `emptied`: rows of it were met
    before, and now its start shows nothing, which is looked at twice. Afterwards `silent` tells that reported offsets
    showed nothing, `unproven` that there were too many to ask for.
    """

    def __init__(
        self,
        tail: Tail,
        window: Window,
        *,
        at_once: int,
        page: int,
        seen: int | None,
        reported: int | None,
        emptied: bool = False,
        ask_size: Callable[[], Future[int | None]],
    ) -> None:
        self.silent = False
        self.unproven = False
        self._tail = tail
        self._window = window
        self._at_once = at_once
        self._page = page
        self._seen = seen
        self._reported = reported
        self._emptied = emptied
        self._ask_size = ask_size

    def begin(self, reach: int) -> None:
        """Send the first request of `run`, if it makes any but for the size."""
        if self._asks_behind(reach):
            self._start(self._tail.end, self._page)

    def _asks_behind(self, reach: int) -> bool:
        return bool(self._tail.end) or self._emptied or (reach < self._page and self._reported != 0)

    def run(self, *, shown: int, reach: int) -> Behind:
        """Return what lies behind the end.

        `shown` is the number of rows of the slice that showed nothing new, `reach` the offset behind the last one it
        was asked for.
        """
        at = self._tail.end
        if self._reported == 0 and not at and not self._emptied:
            return End.REACHED  # as the slice showed
        if self._asks_behind(reach):
            behind, at = self._behind(shown, reach)
            if behind is not End.REACHED or (self._is_covered(self._reported, at) and not self._emptied):
                return behind
        reported = self._size()
        if self._is_covered(reported, at):
            return self._probe(at) if self._emptied else End.REACHED
        if reported is None or reported <= at:
            return self._probe(at)
        return self._cover(at, reported)

    def _is_covered(self, reported: int | None, at: int) -> bool:
        """Tell whether all reported offsets lie before `at`, and no fewer rows were met than are reported."""
        return reported is not None and reported <= at and (self._seen is None or reported <= self._seen)

    def _cover(self, at: int, reported: int) -> Behind:
        """Ask for the offsets from `at` up to the reported size, and behind it."""
        for _ in range(_ROUNDS):
            if reported - at > MOST_ALONE:
                self.unproven = True
                return self._probe(at)
            found, silent = self._alone(at, reported)
            if found and silent:  # perhaps rows came since, then nothing is missing between
                (page,) = self.ask([at], self._page)
                return Found(at, self._page, page, silent=False) if self._is_new(at, page) else found
            if found:
                return found
            before, reported = reported, self._size() or 0
            if not silent or reported <= self._tail.end:
                return End.REACHED  # rows came in front, or left between the answers
            if reported == before:
                break
        self.silent = True
        return self._probe(max(at, reported))

    def is_clear(self, ahead: int) -> bool:
        """Tell whether nothing is shown so many rows behind the end and, where no size is reported, further on."""
        end = self._tail.end
        offsets = [end + ahead, *(self._ahead(end + ahead) if self._reported is None else ())]
        pages = self.ask(offsets, self._page)
        return not any(page.keys for page in pages)

    def _behind(self, shown: int, reach: int) -> tuple[Behind, int]:
        """Ask right behind the end, and on behind what that shows; return the first offset that showed nothing, too.

        Known rows can be shown there: rows came in front, or were left out before them. Behind `reach` they can't.
        """
        at, asked = self._tail.end, 0
        while True:
            (page,) = self.ask([at], self._page)
            rows, asked = len(page.keys), asked + 1
            if self._is_new(at, page):
                return Found(at, self._page, page, silent=False), at
            if rows and at >= reach:
                return End.MOVED, at
            at += rows
            covered = self._reported <= at if self._reported is not None else asked > _ROUNDS
            if not rows or (covered and (rows < shown or rows == 1)):
                return End.REACHED, at

    def _alone(self, at: int, until: int) -> tuple[Found | None, bool]:
        """Ask for each offset by itself; tell also whether any showed nothing."""
        silent = False
        while at < until:
            offsets = range(at, min(at + self._at_once, until))
            pages = self.ask(offsets, 1)
            for offset, page in zip(offsets, pages, strict=True):
                if self._is_new(offset, page):
                    return Found(offset, 1, page, silent), silent
                silent |= not page.keys
            at = offsets.stop
        return None, silent

    def _probe(self, at: int) -> Behind:
        """Ask at offsets ever further behind; where one shows new rows, all before it are asked for."""
        offsets = list(self._ahead(at))
        pages = self.ask(offsets, self._page)
        for offset, page in zip(offsets, pages, strict=True):
            if self._is_new(offset, page):
                first, _ = self._alone(at, min(offset, at + MOST_ALONE))
                return first or Found(offset, self._page, page, silent=True)
            if page.keys:
                return End.MOVED
        return End.REACHED

    def _ahead(self, at: int) -> Iterator[int]:
        ahead = self._page
        while ahead <= max(PROBED_ROWS, at if self._seen is not None else 0):
            yield at + ahead
            ahead *= 2

    def _is_new(self, offset: int, page: Slice) -> bool:
        return len(page.keys) > self._tail.compare(offset, page.names).behind

    def ask(self, offsets: Sequence[int], limit: int) -> list[Slice]:
        """Ask for slices, several at once; one that is under way already is not asked for again."""
        pages: list[Slice] = []
        sent = self._start(offsets[0], limit)
        while len(pages) < len(offsets):
            while sent < len(offsets) and len(self._window) < self._at_once:
                self._window.send(offsets[sent], limit, expected=0, shared=0)
                sent += 1
            pages.append(self._window.take()[1])
        return pages

    def _start(self, offset: int, limit: int) -> int:
        """Have one request alone be under way, for the slice at that offset; return 1."""
        if not (len(self._window) == 1 and self._window.first.offset == offset):
            self._window.drop()
            self._window.send(offset, limit, expected=0, shared=0)
        return 1

    def _size(self) -> int | None:
        asked = self._ask_size()
        self._window.wait_for(asked)
        reported = asked.result()
        return reported if reported is None or reported >= 0 else None
