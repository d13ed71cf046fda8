"""A model of a queue's sections for paging's tests: rows pass between them while they are read. No threads, no time."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Literal

from annolake.errors import RefusedError
from annolake.extract.cursor.section_reader import WHOLE, CursorSlice, FetchAt, Part, Section
from annolake.extract.endpoints.items import SECTIONS
from extract.rows import key

Page = tuple[bytes, ...]
Cursors = Literal["offset", "keyset"]
Filters = Literal["kept", "ignored", "refused"]

NEW = 1 << 50  # the time of rows that come
UNREADABLE = b"unreadable, alas"


@dataclass
class Passing:
    """The queue: its sections, what happened to each row, and the requests made.

    `cursors` are counts of rows, or places between two rows. `cap` is the most rows the service returns, `hidden` has
    those that it leaves out of its answers, and with `ends_short` a page that lacks rows is told to be the last one.
    `starts` has when each row began, in milliseconds: those without are `threads`, or have no start. `filters` is what
    becomes of a part that is asked for, `told` what the service makes of a size. `change` is called before each page,
    and with `restless` before each size.
    """

    sizes: Sequence[int]
    cursors: Cursors = "offset"
    cap: int = 100
    change: Callable[["Passing"], None] = lambda _: None
    restless: bool = False
    shuffle: Callable[[list[bytes]], list[bytes]] = lambda rows: rows
    unreadable: set[bytes] = field(default_factory=set)  # rows whose id can't be read, all of the same content
    hidden: set[bytes] = field(default_factory=set)
    ends_short: bool = False
    starts: dict[bytes, int] = field(default_factory=dict)
    threads: set[bytes] = field(default_factory=set)
    filters: Filters = "kept"
    told: Callable[[int], int | None] = int
    times: dict[bytes, int] = field(default_factory=dict)
    log: list[tuple[str, str | None, int]] = field(default_factory=list)  # section, cursor, limit
    parts: list[Part] = field(default_factory=list)  # of each request in the log
    counted: list[tuple[str, Part]] = field(default_factory=list)
    gone: set[bytes] = field(default_factory=set)
    moved: set[bytes] = field(default_factory=set)
    backs: dict[bytes, list[int]] = field(default_factory=dict)  # the requests before which a row went back
    ons: dict[bytes, list[int]] = field(default_factory=dict)  # ... or on to the archived section
    born: int = 0

    def __post_init__(self) -> None:
        self.sections = {
            name: [key(place << 32 | number) for number in range(size)]
            for place, (name, size) in enumerate(zip(SECTIONS, self.sizes, strict=True))
        }
        self.start = {row for rows in self.sections.values() for row in rows}
        self.starts |= {row: number * 1_000 for rows in self.sections.values() for number, row in enumerate(rows)}
        self._ranks = {row: Fraction(at) for rows in self.sections.values() for at, row in enumerate(rows)}

    def section(self, name: str) -> Section:
        """Return a section as paging reads it."""
        return Section(name, self.fetch(name), None, partial(self.fetch, name), partial(self.count, name))

    def count(self, name: str, part: Part) -> int | None:
        """Return what the service says of the size of a part of a section."""
        if self.restless:
            self.change(self)
        self.counted.append((name, part))
        if self.filters == "refused" and part != WHOLE:
            return None
        return self.told(len(self._rows(name, part)))

    def fetch(self, name: str, part: Part = WHOLE) -> FetchAt:
        """Return the function that fetches a page of a section, or of a part of one."""

        def ask(cursor: str | None, limit: int) -> CursorSlice:
            self.change(self)
            self.log.append((name, cursor, limit))
            self.parts.append(part)
            if self.filters == "refused" and part != WHOLE:
                raise RefusedError("no filters here", status=422, endpoint=name, attempts=1)
            rows = self.shuffle(self._rows(name, part))
            first = 0 if cursor is None else self._before(rows, cursor)
            last = first + min(limit, self.cap)
            window = rows[first:last]
            shown = tuple(row for row in window if row not in self.hidden)
            behind = str(last) if self.cursors == "offset" else str(self._ranks[window[-1]] if window else cursor)
            ends = last >= len(rows) or (self.ends_short and len(shown) < limit)
            times = {"added_at": [self.times.get(row) for row in shown]}
            keys = [UNREADABLE if row in self.unreadable else row for row in shown]
            starts = [self.start_of(row) for row in shown if row not in self.unreadable]
            ambiguous_keys = frozenset({UNREADABLE}) if self.unreadable else frozenset()
            return CursorSlice(keys, times, shown, ambiguous_keys, cursor=None if ends else behind, starts=starts)

        return ask

    def start_of(self, row: bytes) -> int | None:
        """Return when a row began (microseconds since 1970)."""
        return None if row in self.threads or row not in self.starts else self.starts[row] * 1_000

    def _rows(self, name: str, part: Part) -> list[bytes]:
        rows = self.sections[name]
        if part == WHOLE or self.filters == "ignored":
            return rows
        if part.kind:
            rows = [row for row in rows if (row in self.threads) == (part.kind == "THREAD")]
        if part.low is None and part.high is None:
            return rows
        low, high = part.low or 0, 1 << 62 if part.high is None else part.high
        return [row for row in rows if (start := self.start_of(row)) is not None and low <= start <= high]

    def _before(self, rows: Sequence[bytes], cursor: str) -> int:
        if self.cursors == "offset":
            return int(cursor)
        return bisect_right(rows, Fraction(cursor), key=self._ranks.__getitem__)

    # --- what happens to rows

    def insert(self, name: str, at: int, count: int = 1) -> None:
        """Put new rows into a section."""
        for _ in range(count):
            self.born += 1
            row = key(1 << 40 | self.born)
            self.times[row] = NEW
            self.starts[row] = self.born * 997 % 1_000_000
            self._put(row, name, at)

    def delete(self, name: str, at: int, count: int = 1) -> None:
        """Remove rows that follow each other."""
        self.gone.update(self.sections[name][at : at + count])
        del self.sections[name][at : at + count]

    def pass_to(self, name: str, at: int, to: str, place: int, count: int = 1) -> None:
        """Pass rows from one section to another."""
        rows = self.sections[name][at : at + count]
        del self.sections[name][at : at + count]
        for row in reversed(rows):
            if SECTIONS.index(to) < SECTIONS.index(name):
                self.backs.setdefault(row, []).append(len(self.log))
            elif to == SECTIONS[-1]:
                self.ons.setdefault(row, []).append(len(self.log))
            self._put(row, to, place)

    def move(self, name: str, at: int, to: int) -> None:
        """Move a row within its section."""
        row = self.sections[name].pop(at)
        self._put(row, name, to)
        self.moved.add(row)

    def _put(self, row: bytes, name: str, at: int) -> None:
        rows = self.sections[name]
        rows.insert(at, row)
        before = self._ranks[rows[at - 1]] if at else Fraction(-1 << 40)
        behind = self._ranks[rows[at + 1]] if at + 1 < len(rows) else before + (1 << 41)
        self._ranks[row] = (before + behind) / 2

    # --- what a test asks

    @property
    def throughout(self) -> set[bytes]:
        """The rows that were in the queue from the start until now, and were never moved within a section."""
        return self.start - self.gone - self.moved
