"""Both lists of a queue, while rows pass from one to the other: in which sequence they are read, and when it is enough.

Owns the rounds and the verdict. Pure logic over `pages.ListReader`.

**Sequence.** The active list to its end; then, after its last answer, the archived list; then a look at the end of the
active list. If nothing was seen to move, that is all. After any sign of movement the active list is read again after
the archived one, and the archived one again where its own reading showed signs, or where rows came back while the
active list still held rows never met before; until the last reading of each list found no row never met before and
saw no rows changing their order. Each list is read at most `READINGS` times.

**Claimed.** Let the readings be m whole ones, active and archived by turns (two of the same list in a row count
once), each joined to its proved end, and let rows not move within a list. Then every row that was in the queue
throughout and changed lists at most m - 2 times has been met; for m = 2 one that did not change lists, or went once
from active to archived. Proof: a reading of a list misses a row only if the row is not a stayer of it (`pages`). A
row that stays where it is during a reading that misses it is in the other list, which is read next; so from one
reading to the next the row must change lists each time, with one exception, when it sits still in the other list
during the whole of a reading. m readings in a row are evaded by m - 1 changes at least, of which the row's place at
the start may save none. The look at the end finds the single requeued row that m = 2 could miss: its coming moves the
rows that were read last, unless as many leave at the same time.
Rows that only finish, are deleted or inserted never leave a sign that makes the verdict incomplete.

**Signs** (`Signs`) are counted over all readings. What remains after the last allowed reading makes `complete` false:
a list of which pages don't join; rows seen changing their order in the last reading of a list; rows coming back from
archived to active while rows never met are still found.

**Not proved.** A row that moves within a list in every reading of it, or changes lists more often than claimed, at
just the right moments; one or two moves hidden by as many rows leaving at the same moment, in a queue where nothing
else moves.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from annolake.extract.lanes import Fetch, Slice
from annolake.extract.mark import Since
from annolake.extract.order import Order, OrderMeasure
from annolake.extract.pages import Ledger, ListReader, Met, Reading

P = TypeVar("P")
R = TypeVar("R")

READINGS = 3
LOOKS = 3


@dataclass(frozen=True)
class Source(Generic[P]):
    """A list to read: its name, its slices, its size as far as known, and from which mark on (None: all of it)."""

    name: str
    fetch: Fetch[P]
    hint: int | None = None
    since: Since | None = None


@dataclass
class Signs:
    """What was seen of movement, over all readings of a queue; see `Reading` for most of them."""

    breaks: int = 0
    shifts: int = 0
    disorders: int = 0
    again: int = 0
    skipped: int = 0
    finished: int = 0  # rows met in the active list, then in the archived one
    requeued: int = 0  # the other way round
    resized: int = 0  # the service told other sizes after than before
    rereadings: int = 0

    @property
    def repairs(self) -> int:
        """How often something was read again."""
        return self.breaks + self.rereadings


class QueueReader(Generic[P]):
    """Reads the lists of a queue: `sources` is the active list, or the active and the archived one.

    `sizes` tells what the service says of the lists' sizes, in any form that can be compared (None: it does not). The
    results are valid when `steps` or `read` has ended: `complete` and `reasons`, `signs`, `rows` (keys met),
    `orders` by list (None: unsorted, or too few rows to tell; measured where the whole list was read), `swept` (the
    lists that were to be read from a mark on, but were no longer sorted as recorded, and were read whole).
    """

    def __init__(  # noqa: D107 - documented above
        self,
        sources: Sequence[Source[P]],
        *,
        met: Met,
        lanes: int,
        limit: Callable[[], int],
        sizes: Callable[[], object | None] = lambda: None,
    ) -> None:
        self.complete = False
        self.reasons: list[str] = []
        self.signs = Signs()
        self.rows = 0
        self.requests = 0
        self.swept: list[str] = []
        self._sources = {source.name: source for source in sources}
        self._names = tuple(self._sources)
        self._ledger = Ledger(met)
        self._lanes = lanes
        self._limit = limit
        self._sizes = sizes
        self._readers: dict[str, ListReader[P]] = {}
        self._last: dict[str, Reading] = {}  # without looks at the end
        self._latest: dict[str, Reading] = {}
        self._times_read = dict.fromkeys(self._names, 0)
        self._measures = {name: OrderMeasure() for name in self._names}
        self._stirred = False  # something moved in the first readings
        self._open: dict[str, bool] = {}  # the lists that are to be read again, whole
        self._current: ListReader[P] | None = None

    @property
    def orders(self) -> dict[str, Order | None]:
        """The order of each list."""
        return {name: measure.order for name, measure in self._measures.items()}

    def read(self) -> Iterator[tuple[str, Slice[P]]]:
        """Yield every slice to be taken with its list's name, waiting for answers; of a row's versions the last counts.

        Raises what a request raises, promptly; what was asked for besides is cancelled, or ends unheard.
        """
        for step in self.steps():
            if step is None:
                wait(self.pending(), return_when=FIRST_COMPLETED)
            else:
                yield step

    def pending(self) -> list[Future[Slice[P]]]:
        """Return the requests not answered yet."""
        return self._current.pending() if self._current else []

    def steps(self) -> Iterator[tuple[str, Slice[P]] | None]:
        """As `read`, but yields None where one of `pending` must be answered first: for callers that wait themselves."""
        before = self._sizes()
        for name in self._names:
            yield from self._read(name)
        if before is not None and self._sizes() not in {None, before}:
            self.signs.resized += 1
            self._stirred = True
        self._open = {name: self._last[name].moved for name in self._names}
        self._open[self._names[0]] = self._stirred
        for _ in range(READINGS + LOOKS):
            if not (yield from self._read_again()):
                break
        self._conclude()

    def _read(self, name: str) -> "Steps[P, None]":
        """Read a list from start to end; whole if it is no longer sorted as recorded."""
        source = self._sources[name]
        reader = self._readers[name] = ListReader(
            name,
            source.fetch,
            self._ledger,
            lanes=self._lanes,
            limit=self._limit,
            hint=source.hint,
            since=source.since,
            earlier=self._last.get(name),
        )
        yield from self._follow(name, reader)
        self._times_read[name] += 1
        self._last[name] = reader.reading
        if reader.reading.contradicted:
            self.swept.append(name)
            self._sources[name] = Source(name, source.fetch, source.hint)
            self._times_read[name] -= 1
            del self._last[name]
            yield from self._read(name)

    def _follow(self, name: str, reader: ListReader[P]) -> "Steps[P, None]":
        self._current = reader
        requests = reader.requests
        for page in reader.steps():
            if page is None:
                yield None
                continue
            if self._sources[name].since is None:
                self._measures[name].watch(page.times)
            yield name, page
        self.requests += reader.requests - requests
        self._latest[name] = reader.reading
        self._count(name, reader.reading)

    def _count(self, name: str, reading: Reading) -> None:
        signs = self.signs
        self._stirred |= reading.moved or reading.crossed > 0
        self.rows += reading.fresh
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
            if self._open[name] and self._times_read[name] < READINGS:
                self.signs.rereadings += 1
                yield from self._read(name)
                last = self._last[name]
                self._open[name] = last.restless or last.fresh > 0
                if last.fresh and name != self._names[0]:
                    self._open[self._names[0]] = True
        return fresh or any(self._open[name] and self._times_read[name] < READINGS for name in self._names)

    def _look(self, name: str) -> "Steps[P, bool]":
        """Look at the end of a list again, and read on if rows came behind it; tell whether any was never met."""
        reader = self._readers[name]
        yield from self._follow(name, reader)
        seen = reader.reading
        active = self._names[0]
        self._open[name] = seen.moved or (seen.crossed > 0 and name == active)
        if (seen.moved or seen.crossed) and self._times_read[active] == 1:
            self._open[active] = True
        return seen.fresh > 0

    def _conclude(self) -> None:
        for name, last in self._last.items():
            if not last.joined:
                self.reasons.append(f"the pages of the {name} list do not join: its order does not repeat")
            elif self._latest[name].restless:
                self.reasons.append(f"rows of the {name} list kept changing their order")
        active = self._last[self._names[0]]
        if active.fresh and active.crossed and self._times_read[self._names[0]] == READINGS:
            self.reasons.append("rows kept coming back to the active list, with others never met before")
        self.complete = not self.reasons


Steps = Generator[tuple[str, Slice[P]] | None, None, R]
