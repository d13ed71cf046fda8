"""The sections of a queue, while rows pass from one to another: in which sequence they are read, and when it is enough.

Owns the rounds and the verdict. Pure logic over `straight` and `chains`, as `lists` is over `pages`.

**A row's life** goes through the sections in their order: it waits for my review, for that of others, it is archived.
It may skip one. *Back* is every change of sections against that order: it is requeued, or a review is taken back.

**Sequence.** All sections in that order, each begun after the last answer of the one before and read straight on;
then the service is asked again how many rows each has, and the first and the last page of each but the archived one
are asked for again. If nothing was seen to move, that is all: one request for each 100 rows, a tenth of it more in
long sections, and a few. At the first sign of movement that is broken off, and the sections are read joined: a *pass*
through all of them in order, then all but the archived one again; and once more from the archived one on, while rows
are seen to have come back and with them others never met before, or to have changed their order. Each section is read
joined at most `READINGS` times.

**Gaps.** A section of which the service tells more rows than it shows is read again, with pages of another size, until
two readings agree; for then its end is not where a page happened to be short.

**Claimed.** Of a row that was in the queue throughout and kept its place among the rows that stayed in its section:
1. After a pass: it has been met if it did not go back during the pass. Proof: let it be in section s when s is begun.
   If it stays there until s is read, it is a stayer of that reading, and met (`chains`). If not, it has gone on to a
   section that is begun later, and the same holds there. The archived section it can't leave without going back.
2. After n passes and what follows them: it has been met if it went back at most n - 1 times; also if n times, unless
   it was archived again since. Proof: if it never went back in one of the passes, by 1. Otherwise it went back in each
   of them, so in none of the readings that follow; and 1 holds for these as far as it is not archived again.
So rows that only pass on, leave or come never cost a row, and never make the verdict incomplete.

**Signs** (`Signs`). What remains after the last allowed reading makes `complete` false: a section of which pages don't
join, rows seen changing their order in the last reading of a section, rows coming back while others are still found, a
section with a gap of which no two readings agree.

**Not proved.** (a) Of a queue in which nothing was seen to move: that nothing moved. If cursors are counts of rows,
then rows that leave the part of a section already read, while as many come to that section, can cost as many rows as
left, if none of them is met twice or in two sections, no time of a row tells of it, and the pages asked for again are
as they were: rows deleted while as many are added, and clocks that differ. If cursors are places between rows, only a
row can be missed that went back to the middle of a section while another left it. The next export meets it. (b) A row
that goes back more often than claimed, at just the right moments. (c) A row moved within its section in each reading.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from annolake.extract.cursor.overlapping import OverlappingReader
from annolake.extract.cursor.section_reader import Piece, Section
from annolake.extract.cursor.single_pass import SinglePassReader
from annolake.extract.paging.readings import Ledger, Reading, SeenKeys
from annolake.extract.paging.sort_order import Order, OrderMeasure
from annolake.extract.paging.verdict import Signs, rows_not_shown, total_excess

P = TypeVar("P")
R = TypeVar("R")

READINGS = 3

_OTHER_SIZES = (0.73, 0.41)  # of a page, for reading again


class SectionsReader(Generic[P]):
    """Reads the sections of a queue, given in the order of a row's life.

    `limit` is asked before every request and may answer differently each time. `sizes` tells what the service says of
    the sections' sizes, by section (None: it does not). `touched_since` is when the export began
    (microseconds since 1970), less what two clocks may differ by: a row with a time from then on was touched meanwhile.
    A section with a mark is read from it only where its newest rows come first, for there is no cursor to begin at but
    the start's; else it is read whole.

    The results are valid when `read` has ended: `complete` and `reasons`, `signs`, `rows` (keys met), `requests`
    (pages asked for), `orders` by section (None: unsorted, too few rows to tell, or not read whole), `swept` (the
    sections with a mark that were read whole).
    """

    def __init__(
        self,
        sections: Sequence[Section[P]],
        *,
        seen_keys: SeenKeys,
        limit: Callable[[], int],
        sizes: Callable[[], Mapping[str, int | None]] = dict,
        touched_since: int | None = None,
    ) -> None:
        self.complete = False
        self.reasons: list[str] = []
        self.signs = Signs()
        self.rows = 0
        self.requests = 0
        self.swept: list[str] = []
        self._sections = {section.name: section for section in sections}
        self._names = tuple(self._sections)
        self._ledger = Ledger(seen_keys)
        self._limit = limit
        self._sizes = sizes
        self._touched_since = touched_since
        self._measures: dict[str, OrderMeasure] = {}
        self._last: dict[str, Reading] = {}  # joined ones
        self._told: list[Mapping[str, int | None]] = []  # before the first readings, and at last
        self._seen: dict[str, int] = {}  # rows met in the last reading of each section
        self._differs: dict[str, bool] = {}  # the last reading of a section with a gap met others than the one before
        self._came_back: dict[str, bool] = {}  # rows did, and others were met for the first time, when read again
        for section in sections:
            if section.watermark and not section.watermark.order.descending:
                self._sweep(section.name)

    @property
    def orders(self) -> Mapping[str, Order | None]:
        """The order of each section."""
        return {name: self._measures[name].order if name in self._measures else None for name in self._names}

    def read(self) -> Iterator[Piece[P]]:
        """Yield every page to be taken; of a row's versions the last one counts.

        Raises what a request raises; UnavailableError where a section never ends.
        """
        self._told = [self._sizes()]
        straight: list[SinglePassReader[P]] = []
        for name in self._names:
            reader = yield from self._read_straight(name)
            straight.append(reader)
            if reader.moved:
                break
        if any(reader.moved for reader in straight) or self._resized() or self._look(straight[:-1]):
            yield from self._read_joined()
        else:
            yield from self._read_gaps_again()
        self._conclude()

    def read_again(self) -> Iterator[Piece[P]]:
        """Read every section once more from its start, as `read` does, and conclude anew; only new rows are wanted."""
        for name in self._names:
            reader = yield from self._read_straight(name, again=True)
            if reader.moved:
                yield from self._read_joined()
                break
        self._told[1:] = [self._sizes()]
        self._conclude()

    @property
    def size_excess(self) -> int | None:
        """By how much the told sizes exceed the rows met; None where a size is not told or a section not read whole."""
        return total_excess(map(self._excess, self._names))

    @property
    def not_shown(self) -> int:
        """How many rows the service tells of and did not show."""
        return rows_not_shown(map(self._excess, self._names))

    def _excess(self, name: str) -> int | None:
        """Return by how much a section's told size exceeds the rows met in it, less what movement may explain."""
        told = [size for sizes in self._told if (size := sizes.get(name)) is not None]
        whole = self._sections[name].watermark is None and name in self._seen
        return min(told) - self._seen[name] if told and whole else None

    # --- straight on

    def _read_straight(
        self, name: str, *, again: bool = False, limit: Callable[[], int] | None = None
    ) -> "Reads[P, SinglePassReader[P]]":
        reader = SinglePassReader(
            self._sections[name],
            self._ledger,
            limit=limit or self._limit,
            later=self._later(name),
            told=self._told[0].get(name),
            touched_since=self._touched_since,
            again=again,
        )
        yield from self._follow(name, reader)
        if reader.reading.contradicted:
            self._sweep(name)
            reader = yield from self._read_straight(name)
        return reader

    def _read_gaps_again(self) -> "Reads[P, None]":
        """Read each section that shows less than is told again, until two readings agree."""
        for size in _OTHER_SIZES:
            names = [name for name in self._names if (self._excess(name) or 0) > 0 and self._differs.get(name, True)]
            for name in names:
                self.signs.rereadings += 1
                before = self._seen[name]
                reader = yield from self._read_straight(name, again=True, limit=self._scaled(size))
                if reader.moved:
                    yield from self._read_joined()
                    return
                self._differs[name] = reader.reading.fresh > 0 or reader.seen != before

    def _scaled(self, size: float) -> Callable[[], int]:
        return lambda: max(1, int(self._limit() * size))

    def _resized(self) -> bool:
        self._told[1:] = [self._sizes()]
        before, after = self._told
        resized = any(size is not None and size != before.get(name) for name, size in after.items())
        self.signs.resized += resized
        return resized

    def _look(self, readers: Sequence[SinglePassReader[P]]) -> bool:
        """Tell whether the first or the last page of a section is another one than it was."""
        for reader in readers:
            requests = reader.requests
            moved = reader.look()
            self.requests += reader.requests - requests
            self.signs.shifts += moved
            if moved:
                return True
        return False

    # --- joined

    def _read_joined(self) -> "Reads[P, None]":
        *others, archived = self._names
        for name in others:
            yield from self._join(name)
        for _ in range(READINGS - 1):
            for name in (archived, *others):
                yield from self._join(name)
            self._told[1:] = [self._sizes()]
            unrest = any(one.restless or self._differed(name, one) for name, one in self._last.items())
            if not any(self._came_back.values()) and not unrest:
                return

    def _differed(self, name: str, last: Reading) -> bool:
        """Tell whether a section with a gap was seen to hold rows that no reading before had met."""
        return last.fresh > 0 and (last.gaps > 0 or (self._excess(name) or 0) > 0)

    def _join(self, name: str) -> "Reads[P, None]":
        self.signs.rereadings += 1
        reader = OverlappingReader(
            self._sections[name],
            self._ledger,
            limit=self._limit,
            later=self._later(name),
            told=self._told[0].get(name),
            earlier=self._last.get(name),
        )
        yield from self._follow(name, reader)
        if reader.reading.contradicted:
            self._sweep(name)
            yield from self._join(name)
            return
        again = name in self._last
        self._last[name] = reader.reading
        self._came_back[name] = again and reader.back > 0 and reader.reading.fresh > 0

    # --- both

    def _follow(self, name: str, reader: SinglePassReader[P] | OverlappingReader[P]) -> "Reads[P, None]":
        whole = self._sections[name].watermark is None
        if whole:
            self._measures[name] = OrderMeasure()
        last: dict[str, Sequence[int | None]] = {}
        for piece in reader.pages():
            times = piece.slice.times
            if whole:
                self._measures[name].watch({column: [*last.get(column, ()), *times[column]] for column in times})
            if isinstance(reader, SinglePassReader):  # its pages share no row: neighbours of two pages count as well
                last = {column: values[-1:] for column, values in times.items()}
            yield piece
        self._count(reader)

    def _count(self, reader: SinglePassReader[P] | OverlappingReader[P]) -> None:
        signs, reading = self.signs, reader.reading
        self._seen[reader.name] = reader.seen
        self.requests += reader.requests
        self.rows += reading.rows
        signs.breaks += reading.breaks
        signs.shifts += reading.shifts
        signs.disorders += reading.disorders
        signs.again += reading.again
        signs.skipped += reading.skipped
        signs.requeued += reader.back
        signs.finished += reading.crossed - reader.back

    def _conclude(self) -> None:
        self.reasons = []
        for name in self._names:
            last = self._last.get(name)
            if self._differs.get(name) if last is None else self._differed(name, last):
                self.reasons.append(f"no two readings of the section {name} showed the same rows")
        for name, last in self._last.items():
            if not last.joined:
                self.reasons.append(f"the pages of the section {name} do not join: its order does not repeat")
            elif last.restless:
                self.reasons.append(f"rows of the section {name} kept changing their order")
        if any(self._came_back.values()):
            self.reasons.append("rows kept coming back from later sections, with others never met before")
        self.complete = not self.reasons

    def _later(self, name: str) -> tuple[str, ...]:
        return self._names[self._names.index(name) + 1 :]

    def _sweep(self, name: str) -> None:
        """Give a section's mark up: it is read whole."""
        self.swept.append(name)
        self._sections[name] = replace(self._sections[name], watermark=None)


Reads = Generator[Piece[P], None, R]
