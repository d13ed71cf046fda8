"""A queue of a sandbox read by the items source, as an export reads it, without a lake."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from annolake.clock import Clock
from annolake.contract import RUNS
from annolake.extract.endpoints.query_limits import QueryLimits, QuerySize
from annolake.extract.http.client import Caller, Client
from annolake.extract.http.rate_limit import RateLimits
from annolake.extract.page_size import PageSize
from annolake.extract.paging.verdict import Verdict
from annolake.sandbox import Sandbox
from annolake.settings import Source
from annolake.sources.items import ItemsSource
from annolake.sources.source import Access
from annolake.transform.flatten import flatten
from annolake.transform.row_batch import DecodedRow, RowBatch
from extract.rows import PlainSeenKeys

EXPORTED_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


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
        rate_limits=RateLimits(clock),
        clock=clock,
        random=lambda: 0.5,
        version="0",
    )
    with client:
        yield client


@dataclass(frozen=True)
class Read:
    """What was read of a sandbox's first queue, in order, and the verdict on it."""

    batches: list[RowBatch]
    verdict: Verdict
    caller: Caller

    @property
    def rows(self) -> dict[str, DecodedRow]:
        """The last version of each row."""
        return {each.row.queue_run_id: each for one in self.batches for each in one.rows}

    @property
    def run_missing(self) -> set[str]:
        """The runs that were not found."""
        return {each.row.id for each in self.rows.values() if each.run_found is False}

    @property
    def table(self) -> pa.Table:
        """The last version of each row, flattened."""
        batch = flatten(RUNS, list(self.rows.values()), exported_at=EXPORTED_AT, endpoint="items")
        return pa.Table.from_batches([batch])


@contextmanager
def access_to(sandbox: Sandbox, settings: Source | None = None) -> Iterator[Access]:
    """Open the way to the first queue of a running sandbox, over one lane."""
    with client_of(sandbox.url, sandbox.api_key) as client, ThreadPoolExecutor(1) as lanes:
        yield Access(
            client=client,
            lanes=lanes,
            query_lanes=lanes,
            queue_id=sandbox.queue_ids[0],
            settings=settings or Source(queues="all", concurrency=1),
            page_size=PageSize(100, 64_000_000, 1),
            query_size=QuerySize(64_000_000, 256_000_000),
            caller=Caller(),
            query_limits=QueryLimits(),
        )


def read_items(sandbox: Sandbox, *, include_stats: bool = True) -> Read:
    """Read the first queue of a running sandbox over one lane. Raises ServiceError."""
    settings = Source(queues="all", concurrency=1, include_stats=include_stats)
    with access_to(sandbox, settings) as access:
        source = ItemsSource(access, PlainSeenKeys(), {}, now=Clock().now())
        return Read(list(source.read()), source.verdict, access.caller)
