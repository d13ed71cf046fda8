"""Both lists of a queue, while rows pass from one to the other: in which sequence they are read, and when it is enough.

Owns the rounds. Pure logic over `list_reader.ListReader`. The sequence, what is claimed (P6 to P8) and what makes the
verdict incomplete: docs/paging.md#both-lists-of-a-queue.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Any

from msgspec.structs import replace

from annolake.extract.offset.handing_out import handed_out
from annolake.extract.offset.list_reader import Listing, ListReader, Pace
from annolake.extract.paging.readings import Ledger, SeenKeys, nearly_all
from annolake.extract.paging.slices import Piece
from annolake.extract.paging.verdict import ListState, Verdict
from annolake.extract.paging.waiting import Wait, wait_for_one

READINGS = 3
LOOKS = 3


class _List(ListState, kw_only=True):
    """One of the lists, and its readings so far. `seen_before`: rows met in the reading before the last one."""

    listing: Listing
    reader: ListReader | None = None
    seen_before: int = 0
    times_read: int = 0
    is_open: bool = False  # it is to be read again
    mirrors: int = 0  # readings and looks in a row that met nearly nothing but rows met in the other list last
    is_another: bool = False  # the last reading met no row of the one before, and none was seen to finish

    @property
    def may_be_read(self) -> bool:
        """Whether it is to be read again, and may be."""
        return self.is_open and self.times_read < READINGS

    def ask_size(self, time: int) -> None:
        """Ask for the size before the first reading (0) or after (1)."""
        self.sizes[time] = self.listing.size()

    def reasons(self) -> list[str]:
        """Return why the list could not be verified complete."""
        reasons = []
        if self.last and self.last.unproven:
            reasons.append(f"the service reports far more rows of {self.title} than it shows")
        if self.last and self.last.fresh and (self.last.gaps or self.is_another):
            reasons.append(f"each reading of {self.title} showed rows that the one before had not shown")
        return reasons + super().reasons()


class QueueReader:
    """Reads the lists of a queue: `listings` is the active list, or the active and the archived one.

    `lanes`, `limit`, `spare` and `wait` are those of `list_reader.Pace`. `meanwhile` is called again and again while
    nothing but looks is waited for: it does a little of what is to be done when all was read, and tells whether there
    is more. `verdict` is valid when `read` has ended.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        *,
        seen_keys: SeenKeys,
        lanes: int,
        limit: Callable[[], int],
        spare: Callable[[], int] = lambda: 0,
        wait: Wait = wait_for_one,
        meanwhile: Callable[[], bool] = lambda: False,
    ) -> None:
        self.requests = 0
        self._lists = {
            one.name: _List(title=f"the {one.name} list", whole=one.watermark is None, partly=one.partly, listing=one)
            for one in listings
        }
        self.verdict = Verdict(self._lists)
        self._ledger = Ledger(seen_keys)
        self._pace = Pace(lanes, limit, spare, self._wait_for_any)
        self._wait, self._meanwhile = wait, meanwhile
        self._now: ListReader | None = None  # it makes the requests
        self._is_compared = False  # the sizes reported before and after
        self._is_stirred = False  # something moved in the first readings
        self._is_fresh = False  # rows never met before were met by a look of this round
        self._is_mirrored = False  # the same rows were shown in both lists
        self._only_looks = False  # each list was read, and none is to be read again as far as is known

    def read(self) -> Generator[Piece, None, None]:
        """Yield every slice to be taken, waiting for answers; of a row's versions the last one counts.

        Raises what a request raises, promptly; other requests are cancelled, or their answers dropped.
        """
        return self._handed_out(self._all_lists())

    def read_again(self) -> Generator[Piece, None, None]:
        """Read every list once more from its start, as `read` does, and conclude anew."""
        return self._handed_out(self._all_lists_again())

    def _handed_out(self, steps: Generator[Piece | None, None, None]) -> Generator[Piece, None, None]:
        return handed_out(steps, spare=self._pace.spare, is_ready=lambda: bool(self._now and self._now.is_ready()))

    def _all_lists(self) -> Generator[Piece | None, None, None]:
        try:
            for one in self._lists.values():
                one.ask_size(0)
            for one in self._lists.values():
                yield from self._read(one)
            yield from self._read_until_quiet()
        finally:
            for one in self._lists.values():
                for size in one.sizes.values():
                    size.cancel()

    def _all_lists_again(self) -> Generator[Piece | None, None, None]:
        for one in self._lists.values():
            yield from self._read(one)
        for one in self._lists.values():
            one.ask_size(1)
        self._wait_for_sizes(1)
        self._conclude()

    def _read_until_quiet(self) -> Iterator[Piece | None]:
        """Read again and look again until no list is open, and conclude."""
        self._wait_for_sizes(0)
        for one in self._lists.values():
            if one.reported(0) is not None:
                one.ask_size(1)
            one.is_open = one.last is not None and (one.last.moved or one.last.gaps > 0)
        self._active.is_open |= self._is_stirred
        for _ in range(READINGS + LOOKS):
            self._is_fresh = False
            yield from self._round()
            if not (self._is_fresh or any(one.may_be_read for one in self._lists.values())):
                break
        self._conclude()

    def _round(self) -> Iterator[Piece | None]:
        """Read each list again that is open, look at the end of each that is not."""
        for one in self._lists.values():
            if not one.is_open and len(self._lists) > 1:
                yield from self._look(one)
            self._compare_sizes()
            if one.may_be_read:
                self.verdict.signs.rereadings += 1
                yield from self._read(one)
                if one.last:
                    one.is_open = one.last.restless or one.last.fresh > 0
                    self._active.is_open |= one.last.fresh > 0
        self._compare_lists()

    def _look(self, one: _List) -> Iterator[Piece | None]:
        """Look at the end of a list again, and read on if rows came behind it."""
        if not one.reader:
            return
        self._only_looks = not any(each.may_be_read for each in self._lists.values())
        yield from self._follow(one, one.reader)
        active, seen = self._active, one.reader.reading
        one.is_open = seen.moved or seen.gaps > 0 or seen.contradicted or (seen.crossed > 0 and one is active)
        if (seen.moved or seen.crossed) and active.times_read == 1:
            active.is_open = True
        self._is_fresh |= seen.fresh > 0

    def _compare_sizes(self) -> None:
        """Have the active list read again, once, where the service reported other sizes after the first readings."""
        if not self._is_compared:
            self._is_compared = True
            self._wait_for_sizes(1)
            self._active.is_open |= self.verdict.is_resized()

    def _conclude(self) -> None:
        active = self._active
        for one in self._lists.values():
            fresh = one.last.fresh if one.last else 0
            one.is_another = one.seen_before > 0 and (one.seen or 0) <= fresh and not self.verdict.signs.finished
        came_back = active.last and active.last.fresh and active.last.crossed and active.times_read == READINGS
        self._compare_lists()
        self.verdict.conclude("to the active list" if came_back else None, mirrored=self._is_mirrored)

    def _compare_lists(self) -> None:
        """Note whether the service shows the same rows in both lists: docs/paging.md#lists-that-are-the-same."""
        active, archived = self._active.last, self._archived.last
        if active and archived:
            came_back = nearly_all(active.crossed, min(active.met, archived.met))
            self._is_mirrored |= came_back and self._archived.mirrors > 1

    # --- waiting

    def _wait_for_any(self, requests: Collection[Future[Any]]) -> None:
        """Wait for a slice, or a size: it says how far the list is known to reach."""
        sizes = (size for one in self._lists.values() for size in one.sizes.values() if not size.done())
        self._wait_for([*requests, *sizes])

    def _wait_for(self, requests: Collection[Future[Any]]) -> None:
        while self._only_looks and not any(request.done() for request in requests) and self._meanwhile():
            pass
        self._wait(requests)

    def _wait_for_sizes(self, time: int) -> None:
        while waiting := [one for one in self._lists.values() if time in one.sizes and not one.sizes[time].done()]:
            self._wait_for([one.sizes[time] for one in waiting])

    # --- one list

    @property
    def _active(self) -> _List:
        return next(iter(self._lists.values()))

    @property
    def _archived(self) -> _List:
        """The last list: the active one where there is no other."""
        return next(reversed(self._lists.values()))

    def _read(self, one: _List) -> Iterator[Piece | None]:
        """Read a list from start to end; whole if it is no longer sorted as recorded."""
        names, self._only_looks = tuple(self._lists), False
        while True:
            if one.listing.watermark:
                self._wait_for_sizes(0)  # where new rows begin is sought from the list's end
            one.seen_before = one.seen or 0
            one.reader = ListReader(
                one.listing,
                self._ledger,
                self._pace,
                hint=partial(one.size, 0),
                earlier=one.last,
                later=names[names.index(one.listing.name) + 1 :],
            )
            yield from self._follow(one, one.reader)
            if not one.reader.reading.contradicted:
                one.times_read += 1
                one.last = one.latest
                return

    def _follow(self, one: _List, reader: ListReader) -> Iterator[Piece | None]:
        verdict = self.verdict
        requests, rows = reader.requests, verdict.rows
        self._now = reader
        with closing(reader.steps()) as steps:
            for piece in steps:
                verdict.rows = rows + reader.reading.rows
                if piece and one.whole:
                    one.measure.watch(piece.slice.times)
                yield piece
        reading = reader.reading
        verdict.rows = rows + reading.rows
        self.requests += reader.requests - requests
        one.latest, one.seen = reading, reader.seen
        one.mirrors = one.mirrors + 1 if reading.is_mirror else 0
        verdict.signs.count(reading)
        self._is_stirred |= reading.moved or reading.crossed > 0
        if reading.contradicted:
            verdict.sweep(one.listing.name)
            one.listing, one.times_read = replace(one.listing, watermark=None), 0
