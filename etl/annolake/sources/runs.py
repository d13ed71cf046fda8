"""The runs endpoint as a source: its active and its archived list, read by offset."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial

from annolake import contract
from annolake.extract.endpoints.queues import read_size
from annolake.extract.endpoints.runs import RunsListing
from annolake.extract.endpoints.runs_query import FEW
from annolake.extract.offset.halving import read_fitting
from annolake.extract.offset.in_flight import Fetch
from annolake.extract.offset.list_reader import Listing
from annolake.extract.offset.queue_reader import QueueReader
from annolake.extract.paging.readings import SeenKeys
from annolake.extract.paging.slices import Piece, Slice
from annolake.extract.paging.watermark import Watermark
from annolake.report import Usage
from annolake.sources.source import Access, ambiguous_keys, number_rows, times_of
from annolake.transform.decode import runs_decoder
from annolake.transform.row_batch import Page, RowBatch

_TIMES = ("added_at", "effective_added_at", "last_queued_at", "last_reviewed_time")  # those a list may be sorted by
_SIZES = {"active": "size", "archived": "total_archived"}
_STATISTICS = frozenset({"feedback_stats"})
_UNAVAILABLE = frozenset(column.name for column in contract.RUNS.columns_of("field") if not column.runs)
"""Columns that this endpoint does not have: their stored values stay (docs/guarantees.md#nothing-dropped)."""


class RunsSource:
    """The active and the archived list; `watermarks` are those of lists that are not read whole.

    `meanwhile` is that of `QueueReader`.
    """

    usage: Usage = "subtree"
    runs_asked = 0

    def __init__(
        self,
        access: Access,
        seen_keys: SeenKeys,
        watermarks: Mapping[str, Watermark],
        *,
        meanwhile: Callable[[], bool] = lambda: False,
    ) -> None:
        self._access = access
        self._decoder = runs_decoder()
        settings = access.settings
        self._unavailable = _UNAVAILABLE | (frozenset() if settings.include_stats else _STATISTICS)
        names = ("active", "archived") if settings.include_archived else ("active",)
        self._reader: QueueReader = QueueReader(
            [
                Listing(
                    name,
                    self._fetch(archived=name == "archived"),
                    size=partial(self._size, _SIZES[name]),
                    partly=bool(settings.status),
                    watermark=watermarks.get(name),
                )
                for name in names
            ],
            seen_keys=seen_keys,
            lanes=settings.concurrency,
            limit=access.page_size,
            spare=access.page_size.spare,
            meanwhile=meanwhile,
        )
        self.verdict = self._reader.verdict

    def read(self) -> Iterator[RowBatch]:
        """Yield the rows of each page that joins. Raises ServiceError."""
        return map(_numbered, self._reader.read())

    def read_again(self) -> Iterator[RowBatch]:
        """Yield the rows of each page of another reading. Raises ServiceError."""
        return map(_numbered, self._reader.read_again())

    def _fetch(self, *, archived: bool) -> Fetch:
        access = self._access
        listing = RunsListing(
            access.client,
            access.queue_id,
            include_stats=access.settings.include_stats,
            status=access.settings.status,
            caller=access.caller,
        )
        guard = access.guards.runs
        decode = partial(self._decoder.decode, archived=archived, unavailable=self._unavailable, guard=guard)

        def ask(offset: int, rows: int) -> Page:
            return listing.read(offset, rows, archived=archived, decode=decode, patient=rows <= FEW)

        def read(offset: int, limit: int) -> Slice:
            page = read_fitting(ask, offset, limit, most=access.most, refused=access.refused)
            access.page_size.saw(len(page.keys), page.size)
            times = times_of([each.row for each in page.rows], _TIMES)
            return Slice(page.keys, times, page, ambiguous_keys=ambiguous_keys(page.rejects))

        return lambda offset, limit: access.lanes.submit(read, offset, limit)

    def _size(self, which: str) -> Future[int | None]:
        """Ask what the service reports as a size of the queue: a hint (docs/service.md#sizes)."""
        access = self._access
        return access.lanes.submit(read_size, access.client, access.queue_id, which, access.caller)


def _numbered(piece: Piece) -> RowBatch:
    page: RowBatch = piece.slice.page
    number_rows(page.rows, piece)
    return page
