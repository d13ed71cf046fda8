"""A section read in parts that are asked for at once: windows of start time, and the THREADs.

Owns that reading: which answer is waited for, and when the parts are given up. It never says that a section is complete
by itself: what is compared, and what that proves, is P17 in docs/paging.md#windows.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future

from msgspec.structs import replace

from annolake.errors import ServiceError
from annolake.extract.cursor.lanes import Lanes
from annolake.extract.cursor.page_ahead import PageAhead
from annolake.extract.cursor.section_reader import CursorSlice, Part, Section
from annolake.extract.cursor.single_pass import SinglePassReader
from annolake.extract.cursor.window_plan import Plan
from annolake.extract.paging.readings import Ledger
from annolake.extract.paging.slices import Piece, Slice
from annolake.extract.paging.sort_order import OrderMeasure, sortable


class WindowsReader:
    """Reads the parts of a plan at once; `readers` has a reader for each.

    `given_up`: the service showed that it cannot be asked so.
    """

    def __init__(
        self,
        section: Section,
        ledger: Ledger,
        plan: Plan,
        *,
        lanes: Lanes,
        limit: Callable[[], int],
        later: Collection[str],
        touched_since: int | None,
    ) -> None:
        if section.part is None:
            raise TypeError("only a section with parts is read in windows")
        self.given_up = False
        self._lanes = lanes
        self._plan = plan
        self._parts: dict[SinglePassReader, Part] = {}
        self._ahead: dict[SinglePassReader, PageAhead] = {}
        self._answers: dict[Future[CursorSlice], SinglePassReader] = {}
        self._shared: dict[int, set[bytes]] = {bound: set() for bound in plan.bounds}  # those that began right then
        self._elsewhere = set(plan.first.keys)
        for part in plan.parts:
            reader = SinglePassReader(
                replace(section, fetch=section.part(part)),
                ledger,
                limit=limit,
                later=later,
                touched_since=touched_since,
                again=True,
            )
            self._parts[reader] = part
            self._ahead[reader] = PageAhead(reader.section.fetch, lanes.submit, limit)

    @property
    def readers(self) -> list[SinglePassReader]:
        """The readers of the parts."""
        return list(self._parts)

    @property
    def is_enough(self) -> bool:
        """Whether just as many rows were met as had been counted, up to each bound, and those of the first page."""
        parts = self._plan.parts
        rows = {part: parts[part] + len(self._shared.get(part.low or 0, ())) for part in parts}
        met = all(reader.seen == rows[part] for reader, part in self._parts.items())
        return met and not (self.given_up or self._elsewhere)

    @property
    def moved(self) -> bool:
        """Whether any part was seen to change."""
        return any(reader.moved for reader in self._parts)

    def pages(self) -> Iterator[tuple[SinglePassReader, Piece] | None]:
        """Yield the pages as they come, until all parts are read, one was seen to move, or they are given up.

        None where none of those asked for is there.
        """
        for reader in self._parts:
            self._ask(reader)
        try:
            while self._answers and not (self.given_up or self.moved):
                there = [answer for answer in self._answers if answer.done()]
                if not there:
                    yield None
                    self._lanes.wait(self._answers)
                    there = [answer for answer in self._answers if answer.done()]
                for answer in there:
                    reader = self._answers.pop(answer)
                    piece = self._take(reader, answer)
                    if piece:
                        yield reader, piece
        finally:
            for ahead in self._ahead.values():
                ahead.end()
            for answer in self._answers:
                answer.cancel()

    def _ask(self, reader: SinglePassReader) -> None:
        ask = reader.ask()
        if ask and not self.given_up:
            self._answers[self._ahead[reader].ask(ask)] = reader

    def _take(self, reader: SinglePassReader, answer: Future[CursorSlice]) -> Piece | None:
        """Take a page and ask for the next; a refusal, and a page from elsewhere, mean that there are no windows."""
        try:
            page = answer.result()
            if page.ambiguous_keys or not self._parts[reader].holds(page):
                self.given_up = True
                return None
            piece = reader.take(page)
            self._watch(page)
            self._ask(reader)
        except ServiceError:
            self.given_up = True
            return None
        return piece

    def _watch(self, page: CursorSlice) -> None:
        self._elsewhere.difference_update(page.keys)
        for key, start in zip(page.keys, page.starts, strict=False):
            if start in self._shared:
                self._shared[start].add(key)


class WindowsOrder:
    """The order of a section that was read in windows: sorted in each, and its first page holds what comes first.

    What that is worth: docs/paging.md#windows.
    """

    def __init__(self, first: CursorSlice) -> None:
        self._measure = OrderMeasure()
        self._measure.watch(first.times)
        self._last: dict[SinglePassReader, dict[str, Sequence[int | None]]] = {}
        self._edges = {column: values for column in first.times if (values := sortable(first.times, column))}
        self._before = {column: self._around(column, first) for column in self._edges}
        self._met = dict.fromkeys(self._edges, (0, 0))

    def watch(self, reader: SinglePassReader, page: Slice) -> None:
        """Look at a page: its neighbours are those of the page before it in its part."""
        last = self._last.get(reader, {})
        self._measure.watch({column: [*last.get(column, ()), *page.times[column]] for column in page.times})
        self._last[reader] = {column: values[-1:] for column, values in page.times.items()}
        for column, (lower, higher) in self._met.items():
            if not self._measure.is_sorted(column):
                continue
            less, more = self._around(column, page)
            self._met[column] = (lower + less, higher + more)

    def conclude(self) -> OrderMeasure:
        """Return the measure, without the orders in which rows of other pages would be among the first ones."""
        while (order := self._measure.order) is not None:
            side = 1 if order.descending else 0
            column = order.column
            if column in self._met and self._met[column][side] == self._before[column][side]:
                break
            self._measure.refuse(column)
        return self._measure

    def _around(self, column: str, page: Slice) -> tuple[int, int]:
        """Return how many rows come before, and after, the last one of the first page."""
        edge = self._edges[column][-1]
        values = sorted(sortable(page.times, column) or [])
        return bisect_left(values, edge), len(values) - bisect_right(values, edge)
