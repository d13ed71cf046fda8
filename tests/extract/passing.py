"""A model of a queue's sections for paging's tests: rows pass between them while they are read. No threads, no time."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from annolake.extract.cursor.section_reader import CursorSlice, FetchAt, Section
from annolake.extract.endpoints.items import SECTIONS
from extract.rows import key

Page = tuple[bytes, ...]
Cursors = Literal["offset", "keyset"]

NEW = 1_000_000  # the time of rows that come
UNREADABLE = b"unreadable, alas"


@dataclass
class Passing:
    """The queue: its sections, what happened to each row, and the requests made.

    `cursors` are counts of rows, or places between two rows. `cap` is the most rows the service returns, `hidden` has
    those that it leaves out of its answers, and with `ends_short` a page that lacks rows is told to be the last one.
    `change` is called before each answer.
    """

    sizes: Sequence[int]
    cursors: Cursors = "offset"
    cap: int = 100
    change: Callable[["Passing"], None] = lambda _: None
    shuffle: Callable[[list[bytes]], list[bytes]] = lambda rows: rows
    unreadable: set[bytes] = field(default_factory=set)  # rows whose id can't be read, all of the same content
    hidden: set[bytes] = field(default_factory=set)
    ends_short: bool = False
    times: dict[bytes, int] = field(default_factory=dict)
    log: list[tuple[str, str | None, int]] = field(default_factory=list)  # section, cursor, limit
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
        self._ranks = {row: Fraction(at) for rows in self.sections.values() for at, row in enumerate(rows)}

    def section(self, name: str) -> Section:
        """Return a section as paging reads it."""
        return Section(name, self.fetch(name))

    def fetch(self, name: str) -> FetchAt:
        """Return the function that fetches a page of a section."""

        def ask(cursor: str | None, limit: int) -> CursorSlice:
            self.change(self)
            self.log.append((name, cursor, limit))
            rows = self.shuffle(self.sections[name])
            first = 0 if cursor is None else self._before(rows, cursor)
            last = first + min(limit, self.cap)
            window = rows[first:last]
            part = tuple(row for row in window if row not in self.hidden)
            behind = str(last) if self.cursors == "offset" else str(self._ranks[window[-1]] if window else cursor)
            ends = last >= len(rows) or (self.ends_short and len(part) < limit)
            times = {"added_at": [self.times.get(row) for row in part]}
            keys = [UNREADABLE if row in self.unreadable else row for row in part]
            ambiguous_keys = frozenset({UNREADABLE}) if self.unreadable else frozenset()
            return CursorSlice(keys, times, part, None if ends else behind, ambiguous_keys=ambiguous_keys)

        return ask

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

    def told_now(self) -> dict[str, int]:
        """Return what the service says of the sections' sizes."""
        return {name: len(rows) for name, rows in self.sections.items()}
