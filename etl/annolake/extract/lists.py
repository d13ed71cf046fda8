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
        self._last: dict[str, Reading] = {}
        self._times_read = dict.fromkeys(self._names, 0)
        self._measures = {name: OrderMeasure() for name in self._names}
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
        moved = False
        for name in self._names:
            moved |= yield from self._read(name)
        if before is not None and self._sizes() not in {None, before}:
            self.signs.resized += 1
            moved = True
        moved = moved or (yield from self._look())
        if moved:
            yield from self._read_again()
        self._conclude()

    def _read(self, name: str) -> "Steps[P]":
        """Read a list from start to end, whole if it is not sorted as recorded; tell whether anything moved."""
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
        moved = yield from self._follow(name, reader)
        self._times_read[name] += 1
        self._last[name] = reader.reading
        if reader.reading.contradicted:
            self.swept.append(name)
            self._sources[name] = Source(name, source.fetch, source.hint)
            self._times_read[name] -= 1
            del self._last[name]
            moved = yield from self._read(name)
        return moved

    def _follow(self, name: str, reader: ListReader[P]) -> "Steps[P]":
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
        return self._count(name, reader.reading)

    def _count(self, name: str, reading: Reading) -> bool:
        signs = self.signs
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
        return reading.moved or reading.crossed > 0

    def _look(self) -> "Steps[P]":
        """Look at the end of the active list again, and read on if rows came behind it; tell whether anything moved."""
        if len(self._names) < 2:  # noqa: PLR2004 - no list was read after the active one
            return False
        name = self._names[0]
        for _ in range(LOOKS):
            moved = yield from self._follow(name, self._readers[name])
            if moved or not self._readers[name].reading.fresh:
                return moved
        return False

    def _read_again(self) -> "Generator[tuple[str, Slice[P]] | None, None, None]":
        active, *others = self._names
        while self._times_read[active] < READINGS:
            self.signs.rereadings += 1
            yield from self._read(active)
            for name in others:
                back = self._last[active].fresh and self._last[active].crossed
                if self._times_read[name] < READINGS and (back or not self._settled(name)):
                    self.signs.rereadings += 1
                    yield from self._read(name)
            if all(self._settled(name) for name in self._names):
                return

    def _settled(self, name: str) -> bool:
        """Tell whether the last reading of a list leaves nothing to read again for."""
        last = self._last[name]
        first = self._times_read[name] == 1
        return not last.restless and not (last.moved if first else last.fresh)

    def _conclude(self) -> None:
        for name, last in self._last.items():
            if not last.joined:
                self.reasons.append(f"the pages of the {name} list do not join: its order does not repeat")
            elif last.restless:
                self.reasons.append(f"rows of the {name} list kept changing their order")
        active = self._last[self._names[0]]
        if active.fresh and active.crossed and self._times_read[self._names[0]] == READINGS:
            self.reasons.append("rows kept coming back to the active list, with others never met before")
        self.complete = not self.reasons


Steps = Generator[tuple[str, Slice[P]] | None, None, bool]
