"""A section read once: straight on, or in windows where that takes fewer round trips and turns out to be enough.

Owns that choice, and what is known of the section afterwards. When windows are enough, and why reading on behind the
first page always is as good as before: docs/paging.md#windows.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

import msgspec

from annolake.extract.cursor.lanes import Lanes
from annolake.extract.cursor.section_reader import WHOLE, CursorSlice, Part, Section
from annolake.extract.cursor.single_pass import Place, SinglePassReader
from annolake.extract.cursor.window_plan import Plan, Starts, cut
from annolake.extract.cursor.windows import WindowsOrder, WindowsReader
from annolake.extract.paging.readings import Ledger
from annolake.extract.paging.slices import Piece, Slice
from annolake.extract.paging.sort_order import OrderMeasure

Look = tuple[SinglePassReader, Place]
"""A page that is to be asked for again in the end, and who read it."""


class Terms(msgspec.Struct, frozen=True):
    """What is the same for all sections of a queue; see `QueueReader`."""

    ledger: Ledger
    limit: Callable[[], int]
    lanes: Lanes
    touched_since: int | None
    starts: Starts = msgspec.field(default_factory=Starts)


class SectionPass:
    """Reads a section once. `size` returns what the service reported as its size, `again` as for `SinglePassReader`.

    Afterwards: `readers` are those that asked for pages, `measure` has the order, `seen` is the number of rows, and
    `counted` the one that the service told right before windows were read (None: it was read straight on).
    """

    def __init__(
        self, section: Section, terms: Terms, *, later: Collection[str], size: Callable[[], int | None], again: bool
    ) -> None:
        self._section, self._terms, self._later, self._size = section, terms, later, size
        self._straight = SinglePassReader(
            section,
            terms.ledger,
            limit=terms.limit,
            later=later,
            size=size,
            touched_since=terms.touched_since,
            again=again,
        )
        self._windows: WindowsReader | None = None
        self.measure = OrderMeasure()
        self.counted: int | None = None

    def pages(self, *, windows: bool) -> Iterator[Piece | None]:
        """Yield the pages up to the end, or until rows were seen to move, and None where answers are waited for next.

        Raises what `SinglePassReader.pages` does.
        """
        measure = self.measure if self._section.watermark is None else None
        pages = measured(measure, self._straight.pages(self._terms.lanes))
        yield next(pages)
        counted = self._count_ahead() if windows else {}
        yield None
        first = next(pages)
        yield from (first, None)
        self._terms.lanes.wait_for_all(counted.values())
        cuttable = windows and not (self.moved or self._straight.read_to_end)
        plan = self._plan(first.slice, counted) if first and cuttable else None
        if plan:
            yield from self._read_windows(plan)
        if self.counted is None and not self.moved:
            yield from pages

    @property
    def moved(self) -> bool:
        """Whether the section was seen to change."""
        return any(reader.moved for reader in self.readers)

    @property
    def contradicted(self) -> bool:
        """Whether rows stood in another order than the watermark's."""
        return self._straight.reading.contradicted

    @property
    def readers(self) -> list[SinglePassReader]:
        """Those that asked for pages, the one that reads straight on first."""
        return [self._straight, *(self._windows.readers if self._windows else [])]

    @property
    def seen(self) -> int:
        """How many rows the section has."""
        return self._straight.seen if self.counted is None else self.counted

    @property
    def looks(self) -> list[Look]:
        """The first page and the last one; where windows were read, the first one."""
        return [(self._straight, place) for place in self._straight.ends]

    def _count_ahead(self) -> dict[Part, Future[int | None]]:
        """Count, beside the first page, what windows would hold that are cut where known rows began."""
        section, terms, size = self._section, self._terms, self._size()
        if section.part is None or section.watermark or size is None:
            return {}
        parts = terms.starts.parts(size, terms.limit(), lanes=terms.lanes.many)
        return {part: terms.lanes.submit(section.count, part) for part in parts}

    def _plan(self, first: Slice, counted: Mapping[Part, Future[int | None]]) -> Plan | None:
        section, terms, size = self._section, self._terms, self._size()
        if section.part is None or section.watermark or size is None or not isinstance(first, CursorSlice):
            return None
        return cut(
            first,
            size,
            lanes=terms.lanes.many,
            newest=terms.touched_since,
            counts=partial(terms.lanes.each, section.count),
            counted={part: count.result() for part, count in counted.items()},
        )

    def _read_windows(self, plan: Plan) -> Iterator[Piece | None]:
        """Read the parts; where they do not show all that was counted, the section has to be read on straight."""
        terms = self._terms
        self._windows = WindowsReader(
            self._section,
            terms.ledger,
            plan,
            lanes=terms.lanes,
            limit=terms.limit,
            later=self._later,
            touched_since=terms.touched_since,
        )
        order = WindowsOrder(plan.first)
        for step in self._windows.pages():
            if step:
                reader, piece = step
                order.watch(reader, piece.slice)
                if isinstance(piece.slice, CursorSlice):
                    terms.starts.add(piece.slice.starts)
            yield step and step[1]
        if self._windows.is_enough:
            self.measure, self.counted = order.conclude(), plan.counted[WHOLE]
        else:
            self._straight.again = True
            terms.starts.clear()


def measured(
    measure: OrderMeasure | None, pages: Iterable[Piece | None], *, share_rows: bool = False
) -> Iterator[Piece | None]:
    """Hand the pages on; unless they share rows, the neighbours of two pages count for the order as well."""
    last: dict[str, Sequence[int | None]] = {}
    for piece in pages:
        times = piece.slice.times if piece else {}
        if piece and measure:
            measure.watch({column: [*last.get(column, ()), *times[column]] for column in times})
        if piece and not share_rows:
            last = {column: values[-1:] for column, values in times.items()}
        yield piece
