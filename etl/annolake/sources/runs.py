"""The runs endpoint as a source: its active and its archived list."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from annolake import contract
from annolake.extract.endpoints.queues import read_size
from annolake.extract.endpoints.runs import RunsListing
from annolake.extract.endpoints.runs_query import FEW
from annolake.extract.offset.halving import read_fitting
from annolake.extract.offset.in_flight import Fetch
from annolake.extract.offset.list_reader import Listing
from annolake.extract.offset.queue_reader import QueueReader
from annolake.extract.paging.readings import SeenKeys
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.watermark import Watermark
from annolake.report import Usage
from annolake.sources.row_batch import Endpoint, RowBatch
from annolake.sources.source import Access
from annolake.transform.decode import Page, Reject, runs_decoder

R = TypeVar("R")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMES = ("added_at", "effective_added_at", "last_queued_at")  # those a list may be sorted by

_ITEM_TIMES = ("added_at", "effective_added_at", "last_reviewed_time")
_CLOCKS_DIFFER = timedelta(minutes=1)  # the service's and this machine's, at most

_STATISTICS = frozenset({"feedback_stats"})
# Columns that the runs listing could not have told, whatever is stored (DESIGN 1, promise 4).
_UNAVAILABLE_IN_RUNS = frozenset(column.name for column in contract.RUNS.columns_of("field") if not column.runs)


class RunsSource:
    """The active and the archived list; `watermarks` are those of lists that are not read whole."""

    endpoint: Endpoint = "runs"
    usage: Usage = "subtree"

    def __init__(self, access: Access, seen_keys: SeenKeys, watermark: Mapping[str, Watermark]) -> None:
        self._access = access
        self._decoder = runs_decoder()
        settings = access.settings
        self._unavailable = _UNAVAILABLE_IN_RUNS | (frozenset() if settings.include_stats else _STATISTICS)
        sizes = {"active": "size", "archived": "total_archived"}
        names = ("active", "archived") if settings.include_archived else ("active",)
        self._reader: QueueReader[Page] = QueueReader(
            [
                Listing(
                    name,
                    self._fetch(archived=name == "archived"),
                    size=partial(self._size, sizes[name]),
                    partly=bool(settings.status),
                    watermark=watermark.get(name),
                )
                for name in names
            ],
            seen_keys=seen_keys,
            lanes=settings.concurrency,
            limit=access.page_size,
            spare=access.page_size.spare,
        )
        self.verdict = self._reader.verdict

    def read(self) -> Iterator[RowBatch]:
        """Yield the rows of each page that joins. Raises ServiceError."""
        return self._arriving(self._reader.read())

    def read_again(self) -> Iterator[RowBatch]:
        """Yield the rows of each page of another reading. Raises ServiceError."""
        return self._arriving(self._reader.read_again())

    def _arriving(self, pieces: Iterable[tuple[str, Slice[Page]]]) -> Iterator[RowBatch]:
        for _name, piece in pieces:
            page = piece.page
            same = len(page.rows)
            yield RowBatch(
                keys=page.row_keys,
                rows=page.rows,
                hashes=page.hashes,
                unmapped=page.unmapped,
                archived=[page.archived] * same,
                item_types=["RUN"] * same,
                run_found=[True] * same,
                unavailable=[self._unavailable] * same,
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
            return Slice(page.keys, _times(page.rows, _TIMES), page, ambiguous_keys=_ambiguous_keys(page.rejects))

        def fetch(offset: int, limit: int) -> Future[Slice[Page]]:
            return access.lanes.submit(read, offset, limit)

        return fetch

    def _size(self, which: str) -> Future[int | None]:
        """Ask what the service says of a size of the queue: a hint, see api notes 2."""
        access = self._access
        return access.lanes.submit(
            read_size, access.client, access.queue_id, which, tally=access.tally, stop=access.stop
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
