"""One list that moves while it is read by offset, read so that nothing that stays is missed.

Owns the loop of one reading: ask, take, look behind the end. `asker` knows where the next slice begins, `taker` which
slices are taken, `ending` when the list ends. Pure logic over a function that fetches one slice: no HTTP, no files, no
threads. What is claimed and why it holds: docs/paging.md#overlaps and docs/paging.md#the-end-of-a-list (P1 to P5).
"""

from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import Future

import msgspec

from annolake.extract.offset.asker import Asker
from annolake.extract.offset.ending import Ending
from annolake.extract.offset.handing_out import handed_out
from annolake.extract.offset.in_flight import Fetch, Window
from annolake.extract.offset.list_end import EndCheck
from annolake.extract.offset.prefetch import Capacity, Prefetch
from annolake.extract.offset.seek import seek
from annolake.extract.offset.taker import Taker
from annolake.extract.paging.notes import Notes
from annolake.extract.paging.overlap import LEAST, Tail
from annolake.extract.paging.patience import Patience
from annolake.extract.paging.readings import Ledger, Reading
from annolake.extract.paging.slices import Piece
from annolake.extract.paging.waiting import Wait, answered, wait_for_one
from annolake.extract.paging.watermark import Watermark

RESTARTS = 12
MOST_REQUESTS = 2_000  # of a reading, and four for each row reported or met


class Listing(msgspec.Struct, frozen=True):
    """A list to read: its name, its slices, and from which watermark on (None: all of it).

    `size` asks what the service reports as the list's size (None: nothing). What that counts is not known for certain
    (docs/service.md#sizes); with `partly` it is known to count rows that `fetch` does not list.
    """

    name: str
    fetch: Fetch
    size: Callable[[], Future[int | None]] = lambda: answered(None)
    partly: bool = False
    watermark: Watermark | None = None

    def ask_size(self) -> Future[int | None]:
        """Ask for the size, where it can be the number of rows listed."""
        return answered(None) if self.partly else self.size()


class Pace(msgspec.Struct, frozen=True):
    """How much may be asked for, for all readings of a queue.

    `limit` is asked before every request and may answer differently each time. At most `lanes` and `spare()` requests
    are under way; as many slices as may be `spare` are taken before one is handed out. `wait` waits for answers.
    """

    lanes: int
    limit: Callable[[], int]
    spare: Callable[[], int] = lambda: 0
    wait: Wait = wait_for_one
    capacity: Capacity = msgspec.field(default_factory=Capacity)


class ListReader:
    """Reads one list; `reading` tells what the last reading saw.

    `hint()` is the list's size as first reported, as far as known by now. `earlier` is the reading of this list before,
    `later` are the lists that come after it in a row's life.
    """

    def __init__(
        self,
        listing: Listing,
        ledger: Ledger,
        pace: Pace,
        *,
        hint: Callable[[], int | None] = lambda: None,
        earlier: Reading | None = None,
        later: Collection[str] = (),
    ) -> None:
        watermark = listing.watermark
        reach = (lambda: None) if watermark else hint
        self._listing = listing
        self._pace = pace
        self._hint = hint
        self._ledger = ledger
        self._notes = Notes(listing.name, ledger, watermark=watermark, earlier=earlier, later=later)
        self._window = Window(listing.fetch, pace.wait)
        title = f"the {listing.name} list"
        patience = Patience(title, listing.name, self._requests_at_last, restarts=RESTARTS)
        self._patience = patience
        prefetch = Prefetch(pace.capacity, lanes=pace.lanes, limit=pace.limit, spare=pace.spare, hint=reach)
        self._asker = Asker(self._window, Tail(), prefetch, patience)
        self._taker = Taker(self._asker, self._notes, pace.capacity, patience, hint=hint, watermark=watermark)
        self._ending = Ending(self._asker, self._taker, self._check)

    @property
    def reading(self) -> Reading:
        """What the last reading saw."""
        return self._notes.reading

    @property
    def requests(self) -> int:
        """Requests made."""
        return self._window.requests

    @property
    def seen(self) -> int:
        """Rows met from the start of the list on."""
        return self._notes.seen

    def pieces(self) -> Generator[Piece, None, None]:
        """Yield every slice that is to be taken, in the list's order, as `handed_out` does; `steps` tells the rest."""
        return handed_out(self.steps(), spare=self._pace.spare, is_ready=self.is_ready)

    def steps(self) -> Generator[Piece | None, None, None]:
        """Yield every slice that is to be taken, in the list's order, and None where answers are waited for next.

        When it ends, no request is under way any more. Called again it goes on from the frontier: a look at the
        end, with a `Reading` of its own. Raises the first error of any request, and UnavailableError where the
        listing repeats itself or never ends; requests under way are then cancelled, or their answers dropped.
        """
        try:
            yield from self._take_all()
            self._window.settle()
        finally:
            self._window.drop()

    def is_ready(self) -> bool:
        """Tell whether the answer that is waited for next is there. Raises the error of any request."""
        return self._window.is_ready()

    def _take_all(self) -> Iterator[Piece | None]:
        """Yield every slice once it is taken, and None once the next request is under way."""
        self._begin()
        before = self.requests
        taken: Piece | None = None
        while not self._taker.ended:
            if self.requests - before > MOST_REQUESTS + 4 * max(self._hint() or 0, self.seen):
                raise self._patience.error("shows too little of what is asked for")
            self._asker.send()
            yield from (taken, None)
            ask, page = self._window.take(meanwhile=self._asker.send)  # by then more may be known, the size above all
            taken = self._taker.take(ask, page)
            look = self._ending.after(ask, page, taken=taken is not None)
            if look:
                yield from (taken, None)
                taken = look()
        if taken:  # None would tell of an answer to wait for, and there is none
            yield taken
        self._ending.look_only = True

    def _begin(self) -> None:
        self._notes.look()
        self._patience.renew()
        self._taker.ended = False
        if self._ending.look_only:
            self._asker.look()
        elif self._listing.watermark:
            self._asker.offset = seek(self._listing.watermark, self._window, self._hint())

    def _check(self) -> EndCheck:
        tail = self._asker.tail
        return EndCheck(
            tail,
            self._window,
            at_once=self._pace.lanes,
            page=max(self._pace.limit(), LEAST),
            seen=None if self._listing.watermark else self.seen,
            reported=self._hint(),
            emptied=not tail and self._listing.name in self._ledger.shown,
            ask_size=self._listing.ask_size,
        )

    def _requests_at_last(self) -> int:
        self._window.drop()
        return self.requests
