"""A queue of a sandbox read over the successor endpoint, as an export reads it, without a lake."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from annolake.clock import Clock
from annolake.contract import RUNS
from annolake.extract.cursor.queue_reader import QueueReader
from annolake.extract.cursor.section_reader import CursorSlice, FetchAt, Section
from annolake.extract.endpoints.items import SECTIONS, ItemsListing
from annolake.extract.endpoints.runs_query import Batch, Batches, RunsQuery
from annolake.extract.http.client import Caller, Client
from annolake.extract.http.rate_limit import RateLimit
from annolake.sandbox import Sandbox
from annolake.transform.flatten import flatten
from annolake.transform.items import ItemsPage, decode_items, decode_runs, selects
from annolake.transform.join import join
from annolake.transform.row_batch import DecodedRow, RowBatch
from extract.rows import PlainSeenKeys

EXPORTED_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TIMES = ("added_at", "effective_added_at", "last_reviewed_time")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def client_of(url: str, api_key: str = "") -> Iterator[Client]:
    """Open a client that waits for nothing."""
    clock = Clock(sleep=lambda _seconds: None)
    client = Client(
        base_url=url,
        headers={"X-API-Key": api_key},
        timeout_s=10.0,
        max_attempts=8,
        max_wait_s=1.0,
        lanes=4,
        rate_limit=RateLimit(0, clock),
        clock=clock,
        random=lambda: 0.5,
        version="0",
    )
    with client:
        yield client


@dataclass
class OverItems:
    """Reads a sandbox's first queue; what was read is in `joined` in order, `missing` has the runs not to be had."""

    sandbox: Sandbox
    client: Client
    include_stats: bool = True
    batch: int = 100
    joined: list[RowBatch] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    rejected: set[str | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tally = Caller()
        self.listing = ItemsListing(self.client, self.sandbox.queue_ids[0], self.tally)
        self.query = RunsQuery(self.client, selects(include_stats=self.include_stats), self.tally)
        sections = [Section(name, self._fetch(name)) for name in SECTIONS]
        self.reader = QueueReader(sections, seen_keys=PlainSeenKeys(), limit=lambda: 100, sizes=self._sizes)

    def read(self) -> "OverItems":
        """Read everything."""
        batches: Batches = Batches(lambda: self.batch)
        for piece in self.reader.read():
            page = piece.slice.page
            self.rejected.update(reject.queue_run_id for reject in page.rejects)
            self._take(batches.add(item for item in page.items if item.key in piece.wanted))
        self._take(batches.rest())
        return self

    @property
    def rows(self) -> dict[str, DecodedRow]:
        """The last version of each row."""
        return {each.row.queue_run_id: each for one in self.joined for each in one.rows}

    @property
    def table(self) -> pa.Table:
        """The last version of each row, flattened."""
        batch = flatten(RUNS, list(self.rows.values()), exported_at=EXPORTED_AT, endpoint="items")
        return pa.Table.from_batches([batch])

    def asked(self, endpoint: str) -> int:
        """Return how many requests the sandbox had at an endpoint."""
        return sum(record.endpoint == endpoint for record in self.sandbox.requests)

    def _fetch(self, name: str) -> FetchAt[ItemsPage]:
        def fetch(cursor: str | None, limit: int) -> CursorSlice[ItemsPage]:
            page = self.listing.read(
                name, cursor, limit, lambda body: decode_items(body, archived=name == SECTIONS[-1])
            )
            return CursorSlice(page.keys, {column: _times(page, column) for column in TIMES}, page, page.cursor)

        return fetch

    def _sizes(self) -> dict[str, int | None]:
        return {name: self.listing.count(name) for name in SECTIONS}

    def _take(self, batches: Iterator[Batch]) -> None:
        for batch in batches:
            payloads = self.query.read(batch, decode_runs)
            joined = join(batch.items, payloads.runs, include_stats=self.include_stats)
            self.rejected.update(reject.queue_run_id for reject in joined.rejects)
            self.missing += [run_id for run_id in batch.asked if run_id not in payloads.runs]
            self.joined.append(joined)


def _times(page: ItemsPage, column: str) -> Sequence[int | None]:
    moments = (getattr(row, column) for row in page.rows)
    return [None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1) for moment in moments]


def read_over_items(sandbox: Sandbox, *, include_stats: bool = True) -> OverItems:
    """Read the first queue of a running sandbox."""
    with client_of(sandbox.url, sandbox.api_key) as client:
        return OverItems(sandbox, client, include_stats=include_stats).read()
