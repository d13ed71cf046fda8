"""What an export reads from, whichever the endpoint: rows to be taken, and the verdict on them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from annolake.config import Source as Settings
from annolake.extract.endpoints.query_limits import QueryLimits
from annolake.extract.endpoints.runs_query import FEW
from annolake.extract.http.client import Client, Tally
from annolake.extract.page_size import PageSize
from annolake.extract.paging.verdict import Verdict
from annolake.report import Usage
from annolake.sources.row_batch import Endpoint, RowBatch


@dataclass(frozen=True)
class Access:
    """How a queue is asked: the client, its lanes, and what bounds and stops it; queues share `query_limits`."""

    client: Client
    lanes: ThreadPoolExecutor
    queue_id: str
    settings: Settings
    page_size: PageSize
    tally: Tally
    stop: Event
    query_limits: QueryLimits

    def most(self) -> int:
        """Return how many rows are asked for by now, of those that were to be: heavy ones may have come since."""
        return max(self.page_size(), FEW)

    def refused(self, rows: int) -> None:
        """Note that so many rows are too large for one answer."""
        least = min(self.settings.max_inflight_mb, self.settings.max_response_mb)
        self.page_size.refused(rows, least * 1_000_000)


class RowSource(Protocol):
    """A queue's rows over one endpoint; `usage` tells, once they were read, what their tokens and costs include."""

    endpoint: Endpoint
    usage: Usage

    @property
    def verdict(self) -> Verdict:
        """What is known so far, and in the end whether all was met."""

    def read(self) -> Iterator[RowBatch]:
        """Yield every row to be taken; of a row's versions the last one counts. Raises ServiceError."""

    def read_again(self) -> Iterator[RowBatch]:
        """Do the same from the start once more, after `read` has ended, and bring the verdict up to date."""
