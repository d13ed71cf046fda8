"""Where a queue's rows come from: the runs listing or its successor, each read to a verdict.

Owns how an endpoint's requests, its paging and its decoding are put together, so that `pipeline` reads rows and knows
no endpoint. Whatever a source yields has been joined and decoded.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event
from typing import Any, Protocol, TypeVar

from annolake import contract
from annolake.batches import Arrived, Endpoint
from annolake.config import Source as Settings
from annolake.errors import TooLargeError
from annolake.extract.client import Client, Tally
from annolake.extract.cursors import CursorSlice, FetchAt, Piece, Section
from annolake.extract.fitting import read_fitting
from annolake.extract.items import SECTIONS, ItemsListing
from annolake.extract.lanes import Fetch, Slice
from annolake.extract.lists import QueueReader, Signs, Source
from annolake.extract.mark import Since
from annolake.extract.order import Order
from annolake.extract.payloads import FEW, Batch, Batches, Payloads, RunsQuery
from annolake.extract.queues import read_size
from annolake.extract.reading import Met
from annolake.extract.runs import RunsListing
from annolake.extract.sections import SectionsReader
from annolake.extract.terms import Terms
from annolake.extract.weight import PageSize
from annolake.report import Usage
from annolake.transform.decode import Page, Reject, runs_decoder
from annolake.transform.join import Joined, join
from annolake.transform.successor import Item, ItemsPage, Run, decode_items, decode_runs, selects

R = TypeVar("R")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMES = ("added_at", "effective_added_at", "last_queued_at")  # those a list may be sorted by

_ITEM_TIMES = ("added_at", "effective_added_at", "last_reviewed_time")
_CLOCKS_DIFFER = timedelta(minutes=1)  # the service's and this machine's, at most

_STATISTICS = frozenset({"feedback_stats"})
# Columns that the runs listing could not have told, whatever is stored (DESIGN 1, promise 4).
_UNKNOWN_TO_RUNS = frozenset(column.name for column in contract.RUNS.columns_of("field") if not column.runs)


@dataclass(frozen=True)
class Access:
    """How a queue is asked: the client, its lanes, and what bounds and stops the asking; queues share the `terms`."""

    client: Client
    lanes: ThreadPoolExecutor
    queue_id: str
    settings: Settings
    page_size: PageSize
    tally: Tally
    stop: Event
    terms: Terms

    def most(self) -> int:
        """Return how many rows are asked for by now, of those that were to be: heavy ones may have come since."""
        return max(self.page_size(), FEW)

    def refused(self, rows: int) -> None:
        """Note that so many rows are too large for one answer."""
        least = min(self.settings.max_inflight_mb, self.settings.max_response_mb)
        self.page_size.refused(rows, least * 1_000_000)


class Verdict(Protocol):
    """What is known once a source was read: see `extract.lists.QueueReader`."""

    complete: bool
    reasons: list[str]
    signs: Signs
    rows: int
    swept: list[str]

    @property
    def size_excess(self) -> int | None:
        """Return by how much the told sizes exceed the rows met, None where they are not told."""

    @property
    def not_shown(self) -> int:
        """Return how many rows the service tells of and did not show."""

    @property
    def orders(self) -> Mapping[str, Order | None]:
        """Return the measured order of each list."""


class RowSource(Protocol):
    """A queue's rows over one endpoint; `usage` tells, once they were read, what their tokens and costs include."""

    endpoint: Endpoint
    usage: Usage

    @property
    def verdict(self) -> Verdict:
        """Return what is known so far, and in the end whether all was met."""

    def read(self) -> Iterator[Arrived]:
        """Yield every row to be taken; of a row's versions the last one counts. Raises ServiceError."""

    def read_again(self) -> Iterator[Arrived]:
        """Do the same from the start once more, after `read` has ended, and bring the verdict up to date."""


class RunsSource:
    """The active and the archived list of the runs listing; `since` has the marks of lists that are not read whole."""

    endpoint: Endpoint = "runs"
    usage: Usage = "subtree"

    def __init__(self, access: Access, met: Met, since: Mapping[str, Since]) -> None:
        self._access = access
        self._decoder = runs_decoder()
        settings = access.settings
        self._unknown = _UNKNOWN_TO_RUNS | (frozenset() if settings.include_stats else _STATISTICS)
        sizes = {"active": "size", "archived": "total_archived"}
        names = ("active", "archived") if settings.include_archived else ("active",)
        self.verdict: QueueReader[Page] = QueueReader(
            [
                Source(
                    name,
                    self._fetch(archived=name == "archived"),
                    size=partial(self._size, sizes[name]),
                    partly=bool(settings.status),
                    since=since.get(name),
                )
                for name in names
            ],
            met=met,
            lanes=settings.concurrency,
            limit=access.page_size,
            spare=access.page_size.spare,
        )

    def read(self) -> Iterator[Arrived]:
        """Yield the rows of each page that joins. Raises ServiceError."""
        return self._arriving(self.verdict.read())

    def read_again(self) -> Iterator[Arrived]:
        """Yield the rows of each page of another reading. Raises ServiceError."""
        return self._arriving(self.verdict.read_again())

    def _arriving(self, pieces: Iterable[tuple[str, Slice[Page]]]) -> Iterator[Arrived]:
        for _name, piece in pieces:
            page = piece.page
            same = len(page.rows)
            yield Arrived(
                keys=page.row_keys,
                rows=page.rows,
                hashes=page.hashes,
                unmapped=page.unmapped,
                archived=[page.archived] * same,
                item_types=["RUN"] * same,
                run_found=[True] * same,
                unknown=[self._unknown] * same,
                rejects=page.rejects,
                size=page.size,
                newest=_newest(piece.times["added_at"]),
            )

    def _fetch(self, *, archived: bool) -> Fetch[Page]:
        access = self._access
        listing = RunsListing(
            access.client,
            access.queue_id,
            include_stats=access.settings.include_stats,
            status=access.settings.status,
            tally=access.tally,
            stop=access.stop,
        )

        def decode(body: bytes) -> Page:
            return self._decoder.decode(body, archived=archived)

        def ask(offset: int, rows: int) -> Page:
            return listing.read(offset, rows, archived=archived, decode=decode, patient=rows <= FEW)

        def read(offset: int, limit: int) -> Slice[Page]:
            page = read_fitting(ask, offset, limit, most=access.most, refused=access.refused)
            access.page_size.saw(len(page.keys), page.size)
            return Slice(page.keys, _times(page.rows, _TIMES), page, vague=_vague(page.rejects))

        def fetch(offset: int, limit: int) -> Future[Slice[Page]]:
            return access.lanes.submit(read, offset, limit)

        return fetch

    def _size(self, which: str) -> Future[int | None]:
        """Ask what the service says of a size of the queue: a hint, see api notes 2."""
        access = self._access
        return access.lanes.submit(
            read_size, access.client, access.queue_id, which, tally=access.tally, stop=access.stop
        )


class ItemsSource:
    """The sections of the successor endpoint, each item with its run; `since` as for `RunsSource`."""

    endpoint: Endpoint = "items"

    def __init__(self, access: Access, met: Met, since: Mapping[str, Since], *, now: datetime) -> None:
        self._access = access
        self._listing = ItemsListing(access.client, access.queue_id, access.tally, access.stop)
        names = SECTIONS if access.settings.include_archived else tuple(n for n in SECTIONS if n != "archived")
        selected = selects(include_stats=access.settings.include_stats)
        subtree = access.settings.subtree_usage
        self.usage: Usage = "subtree" if subtree else "own"
        self._query = RunsQuery(access.client, selected, access.tally, access.stop, access.terms, subtree)
        self._names = names
        self.verdict: SectionsReader[ItemsPage] = SectionsReader(
            [Section(name, self._fetch(name), since.get(name)) for name in names],
            met=met,
            limit=lambda: access.settings.page_size,
            sizes=self._sizes,
            lively=(now - _CLOCKS_DIFFER - _EPOCH) // _MICROSECOND,
        )

    def read(self) -> Iterator[Arrived]:
        """Yield items with their runs, a batch at a time; runs are asked for on all lanes. Raises ServiceError."""
        return self._arriving(self.verdict.read())

    def read_again(self) -> Iterator[Arrived]:
        """Yield items that another reading meets for the first time, with their runs. Raises ServiceError."""
        return self._arriving(self.verdict.read_again())

    def _arriving(self, pieces: Iterable[Piece[ItemsPage]]) -> Iterator[Arrived]:
        batches: Batches[Item] = Batches(self._at_once)
        asked: deque[Future[tuple[Joined, Payloads[Run]]]] = deque()
        try:
            for piece in pieces:
                page = piece.slice.page
                if page.rejects:
                    yield _arrived(Joined(rejects=page.rejects), page.size)
                for batch in batches.add(item for item in page.items if item.key in piece.wanted):
                    asked.append(self._access.lanes.submit(self._join, batch))
                while len(asked) > self._access.settings.concurrency:
                    yield self._taken(asked.popleft())
            asked.extend(self._access.lanes.submit(self._join, batch) for batch in batches.rest())
            while asked:
                yield self._taken(asked.popleft())
        finally:
            for future in asked:
                future.cancel()

    def _at_once(self) -> int:
        return min(self._access.page_size(), self._access.terms.most)

    def _taken(self, future: Future[tuple[Joined, Payloads[Run]]]) -> Arrived:
        joined, payloads = future.result()
        if payloads.own:
            self.usage = "own"
        return _arrived(joined, payloads.size)

    def _join(self, batch: Batch[Item]) -> tuple[Joined, Payloads[Run]]:
        payloads = self._query.read(batch, decode_runs)
        stats = self._access.settings.include_stats
        joined = join(batch.items, payloads.runs, include_stats=stats, own=payloads.own)
        self._access.page_size.saw(len(joined.rows), payloads.size)
        return joined, payloads

    def _fetch(self, section: str) -> FetchAt[ItemsPage]:
        def decode(body: bytes) -> ItemsPage:
            return decode_items(body, archived=section == "archived")

        def fetch(cursor: str | None, limit: int) -> CursorSlice[ItemsPage]:
            page = _smaller(lambda rows: self._listing.read(section, cursor, rows, decode), limit)
            times = _times(page.rows, _ITEM_TIMES)
            return CursorSlice(page.keys, times, page, page.cursor, vague=_vague(page.rejects))

        return fetch

    def _sizes(self) -> dict[str, int | None]:
        return {name: self._listing.count(name) for name in self._names}


def _smaller(read: Callable[[int], R], rows: int) -> R:
    """Return an answer of so many rows, or of half as many, and so on, where it is too large."""
    while True:
        try:
            return read(rows)
        except TooLargeError:
            if rows == 1:
                raise
            rows //= 2


def _arrived(joined: Joined, size: int) -> Arrived:
    return Arrived(
        keys=joined.keys,
        rows=joined.rows,
        hashes=joined.hashes,
        unmapped=joined.unmapped,
        archived=joined.archived,
        item_types=joined.item_types,
        run_found=joined.run_found,
        unknown=joined.unknown,
        rejects=joined.rejects,
        size=size,
        newest=max((row.added_at for row in joined.rows if row.added_at is not None), default=None),
    )


def _vague(rejects: Iterable[Reject]) -> frozenset[bytes]:
    """Return the keys that stand for the text of a row without a readable id: two rows may share one."""
    return frozenset(reject.key for reject in rejects if reject.queue_run_id is None)


def _times(rows: Sequence[Any], names: Iterable[str]) -> dict[str, list[int | None]]:
    return {name: list(_microseconds(getattr(row, name) for row in rows)) for name in names}


def _microseconds(moments: Iterable[datetime | None]) -> Iterator[int | None]:
    return (None if moment is None else (moment - _EPOCH) // _MICROSECOND for moment in moments)


def _newest(times: Iterable[int | None]) -> datetime | None:
    newest = max((time for time in times if time is not None), default=None)
    return None if newest is None else _EPOCH + newest * _MICROSECOND
