"""Where the next slice of a list begins, and the slices asked for ahead of it.

Owns the offsets. How much is asked for at once is `prefetch`'s; whether a slice joins is `taker`'s.
"""

from annolake.extract.offset.in_flight import Ask, Window
from annolake.extract.offset.prefetch import Prefetch
from annolake.extract.paging.overlap import JOINING, Tail
from annolake.extract.paging.patience import Patience

MOST_ROWS = 100_000_000


class Asker:
    """Asks for the slices of one list through `window`: the next one, and those ahead of it in a still list.

    `offset` is that of the next one (None: some rows before the end of `tail`), `few` the most rows to ask for while
    slices that showed nothing are looked into. With `one_by_one` nothing is asked for ahead.
    """

    def __init__(self, window: Window, tail: Tail, prefetch: Prefetch, patience: Patience) -> None:
        self.window = window
        self.tail = tail
        self.prefetch = prefetch
        self.offset: int | None = None
        self.few: int | None = None
        self.one_by_one = False
        self._patience = patience

    def send(self) -> None:
        """Fill the window: the next slice, and slices ahead of it at the offsets a still list would have."""
        while True:
            flying = len(self.window)
            limit, expected, shared = self.prefetch.size()
            if flying:
                last = self.window.last
                behind = self.prefetch.behind(last, flying)
                if behind is not None:
                    self.window.send(behind, limit, expected=0, shared=0)
                offset = self.prefetch.ahead(last, shared)
                if behind is not None or self.one_by_one or not self._allows(last, flying, offset):
                    return
            elif self.offset is None:
                if self.few:
                    limit, shared = min(limit, self.few), min(shared, self.few // 2)
                offset = self._before_frontier(shared)
                limit = max(limit, self.tail.end - offset + 1)
            else:
                offset = self.offset
            if offset > MOST_ROWS:
                raise self._patience.error("never ends")
            self.window.send(offset, limit, expected, shared)

    def _allows(self, last: Ask, flying: int, offset: int) -> bool:
        return last.shared > 0 and self.few is None and self.prefetch.allows(flying, offset)

    def _before_frontier(self, shared: int) -> int:
        """Return the offset `shared` rows before the frontier, or as many more as it takes to know one again."""
        offset = max(0, self.tail.end - min(shared, len(self.tail)))
        while offset and self.tail and not self.tail.named(offset):
            offset -= 1
        return offset

    def go_on(self) -> None:
        """Have the next slice begin before the frontier; ask for more rows again, if few were asked for."""
        self.offset = None
        self.few = self.few * 2 if self.few and self.few * 2 < self.prefetch.limit() else None

    def look(self) -> None:
        """Have the next slice begin a good part of a page before the frontier, to see whether anything came."""
        self.offset = max(0, self.tail.end - min(self.prefetch.look(), len(self.tail)))

    def need(self, ask: Ask) -> int:
        """Return how many known rows a slice must begin with to join, if a still list would give it as many."""
        return min(JOINING, ask.shared, self.tail.named(ask.offset))

    def drop_useless(self) -> None:
        """Drop slices asked for ahead that can't join where the frontier is now, or bring nothing."""
        if len(self.window) and self.window.first.shared:
            ahead = self.window.first
            joins = self.tail.named(ahead.offset) >= min(JOINING, ahead.shared)
            if not joins or self.tail.end >= ahead.offset + ahead.expected:
                self.window.drop()

    def step_back(self, ask: Ask) -> None:
        """Throw the window away, and have the next slice begin further back than one that did not join."""
        self.window.drop()
        self.few = None
        back = self.prefetch.back(ask.expected)
        if self.tail.assumed:
            self.tail.doubt()
            self.offset = None
        else:
            self.offset = max(0, ask.offset - back)

    def restart(self) -> None:
        """Have the next slice be the list's first one, and nothing be asked for ahead from now on."""
        self.window.drop()
        self.offset, self.one_by_one = 0, True
