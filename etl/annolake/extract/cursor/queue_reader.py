"""The sections of a queue, while rows pass from one to another: in which sequence they are read, and when it is enough.

Owns the rounds. Pure logic over `single_pass`, `windows` and `overlapping`. The sequence, what is claimed (P13 to P15)
and what makes the verdict incomplete: docs/paging.md#sections-of-a-queue.
"""

from collections.abc import Callable, Generator, Iterator, Sequence

from msgspec.structs import replace

from annolake.extract.cursor.lanes import Lanes
from annolake.extract.cursor.overlapping import OverlappingReader
from annolake.extract.cursor.section_pass import Look, SectionPass, Terms, measured
from annolake.extract.cursor.section_reader import WHOLE, Section
from annolake.extract.cursor.single_pass import SinglePassReader
from annolake.extract.paging.readings import Ledger, SeenKeys, nearly_all
from annolake.extract.paging.slices import Piece
from annolake.extract.paging.sort_order import OrderMeasure
from annolake.extract.paging.verdict import ListState, Verdict

READINGS = 3

_OTHER_SIZES = (0.73, 0.41)  # of a page, for reading again


class _Section(ListState, kw_only=True):
    """One of the sections; of its readings `last` and `latest` are the one in overlapping pages."""

    section: Section
    agrees: bool | None = None  # the last two readings in a single pass met the same rows; None: there was one only
    came_back: bool = False  # rows did, and others were met for the first time, when read again
    mirrors: int = 0  # readings in a row that showed nearly nothing but rows met in other sections last
    counted: int | None = None  # its size before it was read in windows; None: it was not read so

    @property
    def lacks_rows(self) -> bool:
        """Whether more rows are reported than were met."""
        return (self.excess or 0) > 0

    @property
    def differed(self) -> bool:
        """Whether a section with a gap was seen to hold rows that no reading before had met."""
        return self.last is not None and self.last.fresh > 0 and (self.last.gaps > 0 or self.lacks_rows)

    @property
    def is_unsettled(self) -> bool:
        """Whether the last reading leaves a doubt that another one may end."""
        return self.came_back or self.differed or (self.last is not None and self.last.restless)

    def reasons(self) -> list[str]:
        """Return why the section could not be verified complete."""
        differs = self.differed if self.last else self.agrees is False
        reasons = [f"no two readings of {self.title} showed the same rows"] if differs else []
        return reasons + super().reasons()


class QueueReader:
    """Reads the sections of a queue, given in the order of a row's life.

    `limit` is asked before every request and may answer differently each time. Requests that need not wait for each
    other are made on `lanes`. `touched_since` is when the export began
    (microseconds since 1970), less what two clocks may differ by: a row with a time from then on was touched meanwhile.
    `before_looks` is called when each section was read once, and it is being asked whether that was enough. `starts`
    are those of some rows that may be in the queue (microseconds since 1970).
    A section with a watermark is read from it only where its newest rows come first, for there is no cursor to begin at
    but the start's; else it is read whole. `verdict` is valid when `read` has ended.
    """

    def __init__(
        self,
        sections: Sequence[Section],
        *,
        seen_keys: SeenKeys,
        limit: Callable[[], int],
        lanes: Lanes | None = None,
        touched_since: int | None = None,
        before_looks: Callable[[], None] = lambda: None,
        starts: Sequence[int] = (),
    ) -> None:
        self.requests = 0
        self._before_looks = before_looks
        self._sections = {
            one.name: _Section(title=f"the section {one.name}", whole=one.watermark is None, section=one)
            for one in sections
        }
        self.verdict = Verdict(self._sections)
        self._terms = Terms(Ledger(seen_keys), limit, lanes or Lanes(), touched_since)
        self._terms.starts.add(starts)
        for one in sections:
            if one.watermark and not one.watermark.order.descending:
                self._sweep(self._sections[one.name])

    def read(self) -> Iterator[Piece | None]:
        """Yield every page to be taken, and None where answers are waited for next: there is time for other things.

        Of a row's versions the last one counts.
        Raises what a request raises; UnavailableError where a section never ends.
        """
        self._ask_sizes(0)  # beside the first page of all
        *_, last = self._sections.values()
        looks: list[Look] = []
        for one in self._sections.values():
            once = yield from self._read_once(one)
            if once.moved:
                break
            if one is not last or once.counted is not None:
                looks += once.looks
        if once.moved or (yield from self._has_changed(looks)):
            yield from self._read_overlapping()
        else:
            yield from self._read_gaps_again()
        self._conclude()

    def read_again(self) -> Iterator[Piece | None]:
        """Read every section once more from its start, as `read` does, and conclude anew; only new rows are wanted."""
        for one in self._sections.values():
            once = yield from self._read_once(one, again=True)
            if once.moved:
                break
        if not once.moved:
            self._note_sizes(1)
        if once.moved or self._is_recounted():
            yield from self._read_overlapping()
            self._note_sizes(1)
        self._conclude()

    def _ask_sizes(self, time: int) -> None:
        """Ask for the sizes before the first reading (0) or after (1)."""
        for one in self._sections.values():
            one.sizes[time] = self._terms.lanes.submit(one.section.count, WHOLE)

    def _note_sizes(self, time: int) -> None:
        """Do so, and wait for them."""
        self._ask_sizes(time)
        self._wait_for_sizes(time)

    def _wait_for_sizes(self, time: int) -> None:
        self._terms.lanes.wait_for_all([one.sizes[time] for one in self._sections.values()])

    # --- in a single pass

    def _read_once(
        self, one: _Section, *, again: bool = False, limit: Callable[[], int] | None = None
    ) -> Generator[Piece | None, None, SectionPass]:
        once = SectionPass(
            one.section,
            replace(self._terms, limit=limit) if limit else self._terms,
            later=self._later(one),
            size=lambda: one.reported(1) or one.reported(0),
            again=again,
        )
        pages = once.pages(windows=limit is None)
        yield next(pages)
        self._wait_for_sizes(0)
        yield from pages
        one.measure, one.seen, one.counted = once.measure, once.seen, once.counted
        for reader in once.readers:
            self._account(reader)
        if once.contradicted:
            self._sweep(one)
            once = yield from self._read_once(one)
        return once

    def _read_gaps_again(self) -> Iterator[Piece | None]:
        """Read each section again that shows less than is reported, until two readings agree."""
        for size in _OTHER_SIZES:
            for one in [one for one in self._sections.values() if one.lacks_rows and not one.agrees]:
                self.verdict.signs.rereadings += 1
                rows, before = self.verdict.rows, one.seen
                once = yield from self._read_once(one, again=True, limit=self._scaled(size))
                if once.moved:
                    yield from self._read_overlapping()
                    return
                one.agrees = self.verdict.rows == rows and one.seen == before

    def _scaled(self, size: float) -> Callable[[], int]:
        return lambda: max(1, int(self._terms.limit() * size))

    def _has_changed(self, looks: Sequence[Look]) -> Generator[None, None, bool]:
        """Tell whether a section has another size than before, or another page where one is asked for again."""
        lanes = self._terms.lanes
        pages = [lanes.submit(reader.section.fetch, *place.ask) for reader, place in looks]
        self.requests += len(pages)
        self._ask_sizes(1)
        self._before_looks()
        yield None
        lanes.wait_for_all(pages)
        recounted = self._is_recounted()
        moved = sum(not place.fits(page.result()) for (_, place), page in zip(looks, pages, strict=True))
        self.verdict.signs.shifts += moved
        return self.verdict.is_resized() or recounted or moved > 0

    def _is_recounted(self) -> bool:
        """Tell whether a section that was read in windows has another size now, or none."""
        self._wait_for_sizes(1)
        return any(one.counted not in {None, one.reported(1)} for one in self._sections.values())

    # --- in overlapping pages

    def _read_overlapping(self) -> Iterator[Piece | None]:
        *others, archived = self._sections.values()
        for one in others:
            yield from self._read_in_pairs(one)
        for _ in range(READINGS - 1):
            for one in (archived, *others):
                yield from self._read_in_pairs(one)
            self._note_sizes(1)
            if not (self._is_mirrored(1) or any(one.is_unsettled for one in self._sections.values())):
                return

    def _read_in_pairs(self, one: _Section) -> Iterator[Piece | None]:
        self.verdict.signs.rereadings += 1
        reader = OverlappingReader(
            one.section,
            self._terms.ledger,
            limit=self._terms.limit,
            later=self._later(one),
            size=lambda: one.reported(0),
            earlier=one.last,
        )
        one.measure = OrderMeasure()
        for piece in measured(one.measure if one.whole else None, reader.pages(), share_rows=True):
            yield from (piece, None)
        one.seen = reader.seen
        self._account(reader)
        if reader.reading.contradicted:
            self._sweep(one)
            yield from self._read_in_pairs(one)
            return
        one.came_back = one.last is not None and reader.reading.back > 0 and reader.reading.fresh > 0
        one.last = one.latest = reader.reading
        one.mirrors = one.mirrors + 1 if reader.reading.is_mirror else 0

    # --- both

    def _account(self, reader: SinglePassReader | OverlappingReader) -> None:
        self.requests += reader.requests
        self.verdict.rows += reader.reading.rows
        self.verdict.signs.count(reader.reading)

    def _later(self, one: _Section) -> tuple[str, ...]:
        names = tuple(self._sections)
        return names[names.index(one.section.name) + 1 :]

    def _sweep(self, one: _Section) -> None:
        """Give a section's watermark up: it is read whole."""
        self.verdict.sweep(one.section.name)
        one.section = replace(one.section, watermark=None)

    def _conclude(self) -> None:
        came_back = any(one.came_back for one in self._sections.values())
        self.verdict.conclude("from later sections" if came_back else None, mirrored=self._is_mirrored(READINGS - 1))

    def _is_mirrored(self, times: int) -> bool:
        """Tell whether sections showed the same rows in so many readings: docs/paging.md#lists-that-are-the-same."""
        alike = [one.last for one in self._sections.values() if one.last and one.mirrors >= times]
        return len(alike) > 1 and any(nearly_all(reading.back, reading.met) for reading in alike)
