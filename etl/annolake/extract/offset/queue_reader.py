"""Both lists of a queue, while rows pass from one to the other: in which sequence they are read, and when it is enough.

Owns the rounds and the verdict. Pure logic over `pages.ListReader`.

**Sequence.** First the active list to its end; then, after its last answer, the archived one. Then rounds, in each of
which a list is either read *again*, whole, or only *looked at*: read on from where its last reading ended, one request
if nothing came. The active list is read again after any sign of movement anywhere, and then until a reading of it
finds no row that was never met and sees no rows changing their order; the archived list if it moved while it was read
or looked at, and then likewise. A round in which no list is left to be read again and no row was never met is the
last one. So a quiet queue costs two looks. Each list is read whole `READINGS` times at most.

**Sizes** that the service tells are a reason to look further, never a proof: a list is read up to its told size (see
`pages`), and what lies beyond it all the same is read, too. Those asked for beside the first slice bound how far slices
are asked for ahead; others, asked for after the first readings beside the first look, are one sign of movement more
where they differ. Neither is waited for before it is needed.

**Gaps.** A list of which the service shows less than it tells, or rows only behind offsets that show nothing, is read
again until a reading of it finds no row that was never met.

**Claimed**, where no row moves within a list (see `pages`) and each reading was joined. Let m be the number of whole
readings, two in a row of the same list counted once. A row that was in the queue throughout and changed lists at most
m - 2 times has been met; for m = 2, one that never did, or once from active to archived. Proof: call a reading *calm*
if the row did not change lists during it. If the row was missed, it was in the other list throughout each calm
reading. The lists alternate, so between two calm readings that are d apart the row changed lists an odd number of
times if d is odd, an even number if d is even; and, as the d - 1 readings between are not calm, at least d times.
Every other reading that is not calm takes one change. That makes m - 1 at least; with m = 2, one change from
archived to active.
The looks find what one requeued row leaves behind, its coming, in all cases but one: as many rows leave the active
list at the same time. Rows that finish move the archived list, which is looked at last.
Rows that only finish, are deleted or inserted leave no sign that makes the verdict incomplete: they never change
their order, and never come back from the archived list.

**The verdict.** `complete` is false if pages of a list did not join, if rows were seen changing their order in the
last reading (or look) of a list, if rows came back to the active list in its last allowed reading while others
still turned up that were never met, if the last allowed reading of a list with gaps found rows that were never met,
or if more told offsets showed nothing than are asked for alone. A told size that is larger than the number of rows met
makes nothing incomplete: what a size counts is not known.

**Not proved.** A row that moves within its list in every reading of it, or changes lists more often than claimed, at
just the right moments; moves that as many leaving rows make up for, in a queue where nothing else moves.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from annolake.extract.offset.in_flight import Fetch
from annolake.extract.offset.list_reader import ListReader
from annolake.extract.offset.prefetch import Capacity
from annolake.extract.paging.readings import Ledger, Reading, SeenKeys
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.sort_order import Order, OrderMeasure
from annolake.extract.paging.verdict import Signs, rows_not_shown, total_excess
from annolake.extract.paging.watermark import Watermark

P = TypeVar("P")
R = TypeVar("R")

READINGS = 3
LOOKS = 3


def _untold() -> "Future[int | None]":
    nothing: Future[int | None] = Future()
    nothing.set_result(None)
    return nothing


@dataclass(frozen=True)
class Listing(Generic[P]):
    """A list to read: its name, its slices, and from which mark on (None: all of it).

    `size` asks what the service says of the list's size (None: nothing). What that counts is not known for certain
    (api notes 2); with `partly` it is known to count rows that `fetch` does not list.
    """

    name: str
    fetch: Fetch[P]
    size: Callable[[], Future[int | None]] = _untold
    partly: bool = False
    watermark: Watermark | None = None


class QueueReader(Generic[P]):
    """Reads the lists of a queue: `sources` is the active list, or the active and the archived one.

    `limit` and `spare` are those of `pages`; as many slices as may be `spare` are taken before `read` hands them out,
    so that lanes are busy while the caller is. The results are valid when `steps` or `read` has ended: `complete` and
    `reasons`, `signs`, `rows` (keys met), `orders` by list (None: unsorted, or too few rows to tell; measured where
    the whole list was read), `swept` (the lists that were to be read from a mark on, but were no longer sorted as
    recorded, and were read whole).
    """

    def __init__(
        self,
        sources: Sequence[Listing[P]],
        *,
        seen_keys: SeenKeys,
        lanes: int,
        limit: Callable[[], int],
        spare: Callable[[], int] = lambda: 0,
    ) -> None:
        self.complete = False
        self.reasons: list[str] = []
        self.signs = Signs()
        self.rows = 0
        self.requests = 0
        self.swept: list[str] = []
        self._sources = {source.name: source for source in sources}
        self._names = tuple(self._sources)
        self._ledger = Ledger(seen_keys)
        self._capacity = Capacity()
        self._lanes = lanes
        self._limit = limit
        self._spare = spare
        self._sizes: list[dict[str, Future[int | None]]] = []  # told before the first readings, and after
        self._readers: dict[str, ListReader[P]] = {}
        self._last: dict[str, Reading] = {}  # without looks at the end
        self._latest: dict[str, Reading] = {}
        self._seen_before = dict.fromkeys(self._names, 0)  # rows met in the reading of each list before the last one
        self._times_read = dict.fromkeys(self._names, 0)
        self._measures = {name: OrderMeasure() for name in self._names}
        self._compared = False  # the sizes told before and after
        self._stirred = False  # something moved in the first readings
        self._open: dict[str, bool] = {}  # the lists that are to be read again, whole
        self._current: ListReader[P] | None = None

    @property
    def orders(self) -> dict[str, Order | None]:
        """The order of each list."""
        return {name: measure.order for name, measure in self._measures.items()}

    def read(self) -> Generator[tuple[str, Slice[P]], None, None]:
        """Yield every slice to be taken with its list's name, waiting for answers; of a row's versions the last counts.

        Raises what a request raises, promptly; what was asked for besides is cancelled, or ends unheard.
        """
        yield from self._waiting(self.steps())

    def read_again(self) -> Generator[tuple[str, Slice[P]], None, None]:
        """Read every list once more from its start, as `read` does, and conclude anew."""
        yield from self._waiting(self._steps_again())

    def _waiting(self, waiting: "Steps[P, None]") -> Generator[tuple[str, Slice[P]], None, None]:
        taken: deque[tuple[str, Slice[P]]] = deque()
        with closing(waiting) as steps:
            for step in steps:
                if step is not None:
                    taken.append(step)
                elif not taken:
                    wait(self.pending(), return_when=FIRST_COMPLETED)
                if taken and (step is None or len(taken) > self._spare()):
                    yield taken.popleft()
        yield from taken

    def pending(self) -> list[Future[Any]]:
        """Return the requests not answered yet."""
        sizes = [size for told in self._sizes for size in told.values() if not size.done()]
        return [*(self._current.pending() if self._current else ()), *sizes]

    def steps(self) -> "Steps[P, None]":
        """As `read`, but yields None where one of `pending` must be answered first, for callers that wait."""
        try:
            self._sizes.append({name: self._sources[name].size() for name in self._names})
            for name in self._names:
                yield from self._read(name)
            yield from self._settle()
        finally:
            for told in self._sizes:
                for size in told.values():
                    size.cancel()

    def _steps_again(self) -> "Steps[P, None]":
        for name in self._names:
            yield from self._read(name)
        self._sizes[1] = {name: self._sources[name].size() for name in self._names}
        yield from self._told(1)
        self._conclude()

    def _settle(self) -> "Steps[P, None]":
        """Read again and look again until no list is open, and conclude."""
        before = yield from self._told(0)
        self._sizes.append({name: self._sources[name].size() for name, size in before.items() if size is not None})
        self._open = {name: last.moved or last.gaps > 0 for name, last in self._last.items()}
        self._open[self._names[0]] |= self._stirred
        for _ in range(READINGS + LOOKS):
            if not (yield from self._read_again()):
                break
        self._conclude()

    def _told(self, time: int) -> "Steps[P, dict[str, int | None]]":
        """Return the sizes as the service told them the first or the second time."""
        while not all(size.done() for size in self._sizes[time].values()):
            yield None
        return {name: size.result() for name, size in self._sizes[time].items()}

    def _hint(self, name: str, time: int = 0) -> int | None:
        """Return the list's size as far as it is known by now: as told the first or the second time."""
        size = self._sizes[time].get(name)
        told = size.result() if size and size.done() and not self._sources[name].partly else None
        return told if told is None or told >= 0 else None

    def _size(self, name: str) -> "Future[int | None]":
        source = self._sources[name]
        return _untold() if source.partly else source.size()

    def _excess(self, name: str) -> int | None:
        """Return by how much the told size of a list exceeds the rows met in it, less what movement may explain."""
        told = [size for size in (self._hint(name), self._hint(name, 1)) if size is not None]
        whole = self._sources[name].watermark is None and name in self._readers
        return min(told) - self._readers[name].seen if told and whole else None

    @property
    def size_excess(self) -> int | None:
        """By how much the told sizes exceed the rows met; None where a size is not told or a list not read whole."""
        return total_excess(map(self._excess, self._names))

    @property
    def not_shown(self) -> int:
        """How many rows the service tells of and did not show."""
        return rows_not_shown(map(self._excess, self._names))

    def _read(self, name: str) -> "Steps[P, None]":
        """Read a list from start to end; whole if it is no longer sorted as recorded."""
        while True:
            if self._sources[name].watermark:
                yield from self._told(0)  # where new rows begin is sought from the list's end
            source = self._sources[name]
            if name in self._readers:
                self._seen_before[name] = self._readers[name].seen
            reader = self._readers[name] = ListReader(
                name,
                source.fetch,
                self._ledger,
                self._capacity,
                lanes=self._lanes,
                limit=self._limit,
                spare=self._spare,
                hint=partial(self._hint, name),
                size=partial(self._size, name),
                watermark=source.watermark,
                earlier=self._last.get(name),
            )
            yield from self._follow(name, reader)
            if not reader.reading.contradicted:
                self._times_read[name] += 1
                self._last[name] = reader.reading
                return

    def _follow(self, name: str, reader: ListReader[P]) -> "Steps[P, None]":
        self._current = reader
        requests, rows = reader.requests, self.rows
        with closing(reader.steps()) as steps:
            for page in steps:
                self.rows = rows + reader.reading.rows
                if page is not None and self._sources[name].watermark is None:
                    self._measures[name].watch(page.times)
                yield None if page is None else (name, page)
        self.requests += reader.requests - requests
        self._latest[name] = reader.reading
        self._count(name, reader.reading)
        if reader.reading.contradicted:
            self.swept.append(name)
            self._sources[name] = replace(self._sources[name], watermark=None)
            self._times_read[name] = 0

    def _count(self, name: str, reading: Reading) -> None:
        signs = self.signs
        self._stirred |= reading.moved or reading.crossed > 0
        signs.breaks += reading.breaks
        signs.shifts += reading.shifts
        signs.disorders += reading.disorders
        signs.again += reading.again
        signs.skipped += reading.skipped
        if name == self._names[0]:
            signs.requeued += reading.crossed
        else:
            signs.finished += reading.crossed

    def _read_again(self) -> "Steps[P, bool]":
        """Read each list again that is not settled, look at the end of each that is; tell whether to go on."""
        fresh = False
        for name in self._names:
            if not self._open[name] and len(self._names) > 1:
                fresh |= yield from self._look(name)
            yield from self._compare_sizes()
            if self._open[name] and self._times_read[name] < READINGS:
                self.signs.rereadings += 1
                yield from self._read(name)
                last = self._last[name]
                self._open[name] = last.restless or last.fresh > 0
                if last.fresh and name != self._names[0]:
                    self._open[self._names[0]] = True
        return fresh or any(self._open[name] and self._times_read[name] < READINGS for name in self._names)

    def _compare_sizes(self) -> "Steps[P, None]":
        """Have the active list read again, once, where the service told other sizes after the first readings."""
        if self._compared:
            return
        self._compared = True
        before, after = (yield from self._told(0)), (yield from self._told(1))
        if any(size is not None and size != before[name] for name, size in after.items()):
            self.signs.resized += 1
            self._open[self._names[0]] = True

    def _look(self, name: str) -> "Steps[P, bool]":
        """Look at the end of a list again, and read on if rows came behind it; tell whether any was never met."""
        reader = self._readers[name]
        yield from self._follow(name, reader)
        seen = reader.reading
        active = self._names[0]
        self._open[name] = seen.moved or seen.gaps > 0 or seen.contradicted or (seen.crossed > 0 and name == active)
        if (seen.moved or seen.crossed) and self._times_read[active] == 1:
            self._open[active] = True
        return seen.fresh > 0

    def _is_another(self, name: str) -> bool:
        """Tell whether the last reading of a list met no row of the one before, and none was seen to finish."""
        replaced = self._seen_before[name] > 0 and self._readers[name].seen <= self._last[name].fresh
        return replaced and not self.signs.finished

    def _conclude(self) -> None:
        self.reasons = []
        for name, last in self._last.items():
            if last.unproven:
                self.reasons.append(f"the service tells far more rows of the {name} list than it shows")
            if last.fresh and (last.gaps or self._is_another(name)):
                self.reasons.append(f"each reading of the {name} list showed rows that the one before had not shown")
            if not last.joined:
                self.reasons.append(f"the pages of the {name} list do not join: its order does not repeat")
            elif self._latest[name].restless:
                self.reasons.append(f"rows of the {name} list kept changing their order")
        active = self._last[self._names[0]]
        if active.fresh and active.crossed and self._times_read[self._names[0]] == READINGS:
            self.reasons.append("rows kept coming back to the active list, with others never met before")
        self.complete = not self.reasons


Steps = Generator[tuple[str, Slice[P]] | None, None, R]
