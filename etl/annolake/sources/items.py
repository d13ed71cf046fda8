"""The items endpoint as a source: its sections, each item joined with its run."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from annolake import contract
from annolake.errors import TooLargeError
from annolake.extract.cursor.queue_reader import QueueReader
from annolake.extract.cursor.section_reader import CursorSlice, FetchAt, Piece, Section
from annolake.extract.endpoints.items import SECTIONS, ItemsListing
from annolake.extract.endpoints.runs_query import Batch, Batches, Payloads, RunsQuery
from annolake.extract.paging.readings import SeenKeys
from annolake.extract.paging.watermark import Watermark
from annolake.report import Usage
from annolake.sources.row_batch import Endpoint, RowBatch
from annolake.sources.source import Access
from annolake.transform.decode import Reject
from annolake.transform.items import Item, ItemsPage, Run, decode_items, decode_runs, selects
from annolake.transform.join import Joined, join

R = TypeVar("R")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMES = ("added_at", "effective_added_at", "last_queued_at")  # those a list may be sorted by

_ITEM_TIMES = ("added_at", "effective_added_at", "last_reviewed_time")
_CLOCKS_DIFFER = timedelta(minutes=1)  # the service's and this machine's, at most

_STATISTICS = frozenset({"feedback_stats"})
# Columns that the runs listing could not have told, whatever is stored (DESIGN 1, promise 4).
_UNAVAILABLE_IN_RUNS = frozenset(column.name for column in contract.RUNS.columns_of("field") if not column.runs)


class ItemsSource:
    """The sections of the successor endpoint, each item with its run; `watermark` as for `RunsSource`."""

    endpoint: Endpoint = "items"

    def __init__(
        self, access: Access, seen_keys: SeenKeys, watermark: Mapping[str, Watermark], *, now: datetime
    ) -> None:
        self._access = access
        self._listing = ItemsListing(access.client, access.queue_id, access.tally, access.stop)
        names = SECTIONS if access.settings.include_archived else tuple(n for n in SECTIONS if n != "archived")
        selected = selects(include_stats=access.settings.include_stats)
        subtree = access.settings.subtree_usage
        self.usage: Usage = "subtree" if subtree else "own"
        self._query = RunsQuery(access.client, selected, access.tally, access.stop, access.query_limits, subtree)
        self._names = names
        self._reader: QueueReader[ItemsPage] = QueueReader(
            [Section(name, self._fetch(name), watermark.get(name)) for name in names],
            seen_keys=seen_keys,
            limit=lambda: access.settings.page_size,
            sizes=self._sizes,
            touched_since=(now - _CLOCKS_DIFFER - _EPOCH) // _MICROSECOND,
        )
        self.verdict = self._reader.verdict

    def read(self) -> Iterator[RowBatch]:
        """Yield items with their runs, a batch at a time; runs are asked for on all lanes. Raises ServiceError."""
        return self._arriving(self._reader.read())

    def read_again(self) -> Iterator[RowBatch]:
        """Yield items that another reading meets for the first time, with their runs. Raises ServiceError."""
        return self._arriving(self._reader.read_again())

    def _arriving(self, pieces: Iterable[Piece[ItemsPage]]) -> Iterator[RowBatch]:
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
        return min(self._access.page_size(), self._access.query_limits.most)

    def _taken(self, future: Future[tuple[Joined, Payloads[Run]]]) -> RowBatch:
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
            return CursorSlice(page.keys, times, page, page.cursor, ambiguous_keys=_ambiguous_keys(page.rejects))

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


def _arrived(joined: Joined, size: int) -> RowBatch:
    return RowBatch(
        keys=joined.keys,
        rows=joined.rows,
        hashes=joined.hashes,
        unmapped=joined.unmapped,
        archived=joined.archived,
        item_types=joined.item_types,
        run_found=joined.run_found,
        unavailable=joined.unavailable,
        rejects=joined.rejects,
        size=size,
        newest=max((row.added_at for row in joined.rows if row.added_at is not None), default=None),
    )


def _ambiguous_keys(rejects: Iterable[Reject]) -> frozenset[bytes]:
    """Return the keys that stand for the text of a row without a readable id: two rows may share one."""
    return frozenset(reject.key for reject in rejects if reject.queue_run_id is None)


def _times(rows: Sequence[Any], names: Iterable[str]) -> dict[str, list[int | None]]:
    return {name: list(_microseconds(getattr(row, name) for row in rows)) for name in names}


def _microseconds(moments: Iterable[datetime | None]) -> Iterator[int | None]:
    return (None if moment is None else (moment - _EPOCH) // _MICROSECOND for moment in moments)


def _newest(times: Iterable[int | None]) -> datetime | None:
    newest = max((time for time in times if time is not None), default=None)
    return None if newest is None else _EPOCH + newest * _MICROSECOND
