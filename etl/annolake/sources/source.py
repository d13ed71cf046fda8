"""What an export reads from, the same for each endpoint: rows to be taken, and the verdict on them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Protocol

import msgspec

from annolake.config import Source as Settings
from annolake.errors import GoneError, NotFoundError
from annolake.extract.endpoints.query_limits import QueryLimits, QuerySize
from annolake.extract.endpoints.runs_query import FEW
from annolake.extract.http.client import Caller, Client
from annolake.extract.page_size import PageSize
from annolake.extract.paging.slices import Piece
from annolake.extract.paging.verdict import Verdict
from annolake.report import Usage
from annolake.transform.guard import NO_GUARDS, Guards
from annolake.transform.row_batch import Reject, RowBatch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Access(msgspec.Struct, frozen=True):
    """How a queue is asked: the client, its lanes, and what bounds and stops it; queues share `query_limits`.

    Queries of runs have lanes of their own: while they wait for their turn, listings go on. `guards` take out of
    answers what is not to be kept.
    """

    client: Client
    lanes: ThreadPoolExecutor
    query_lanes: ThreadPoolExecutor
    queue_id: str
    settings: Settings
    page_size: PageSize
    query_size: QuerySize
    caller: Caller
    query_limits: QueryLimits
    guards: Guards = NO_GUARDS

    def most(self) -> int:
        """Return how many rows are asked for by now, of those that were to be: heavy ones may have come since."""
        return max(self.page_size(), FEW)

    def refused(self, rows: int) -> None:
        """Note that so many rows are too large for one answer."""
        least = min(self.settings.max_inflight_mb, self.settings.max_response_mb)
        self.page_size.refused(rows, least * 1_000_000)


class RowSource(Protocol):
    """A queue's rows over one endpoint.

    Once they were read, `usage` tells what their tokens and costs include, and `runs_asked` how many runs were asked
    for by id.
    """

    usage: Usage
    runs_asked: int

    @property
    def verdict(self) -> Verdict:
        """What is known so far, and in the end whether all was met."""

    def read(self) -> Iterator[RowBatch]:
        """Yield every row to be taken; of a row's versions the last one counts. Raises ServiceError."""

    def read_again(self) -> Iterator[RowBatch]:
        """Do the same from the start once more, after `read` has ended, and bring the verdict up to date."""


def is_retired(error: GoneError | NotFoundError, settings: Settings, *, alive: Callable[[], bool]) -> bool:
    """Tell whether the runs endpoint is retired, so that an export with endpoint "auto" goes on over items.

    A 404 says so only of a queue that is `alive`: whose own record can be read.
    """
    if settings.endpoint != "auto" or settings.status:
        return False
    return error.endpoint.endswith("/runs") and (isinstance(error, GoneError) or alive())


def explained(error: NotFoundError, *, alive: Callable[[], bool]) -> NotFoundError:
    """Return the error of a queue without items; where the queue is `alive` it is the endpoint that is missing."""
    if not error.endpoint.endswith("/items") or not alive():
        return error
    message = (
        f"the service has the queue, but no {error.endpoint} (404): it must be of version 0.16.14 or newer to be "
        'exported over items; or set source.endpoint to "runs" while it has that'
    )
    return NotFoundError(message, status=error.status, endpoint=error.endpoint, attempts=error.attempts)


def number_rows(rows: Iterable[Any], piece: Piece) -> None:
    """Give each row the number that its key has: it is looked up once and goes with the row."""
    numbers = piece.numbers_by_key()
    for row in rows:
        row.number = numbers[row.key]


def ambiguous_keys(rejects: Iterable[Reject]) -> frozenset[bytes]:
    """Return the keys that stand for the text of a row without a readable id: two rows may share one."""
    return frozenset(reject.key for reject in rejects if reject.queue_run_id is None)


def times_of(rows: Sequence[Any], names: Iterable[str]) -> dict[str, list[int | None]]:
    """Return time columns of rows, in microseconds since 1970."""
    moments = {name: map(attrgetter(name), rows) for name in names}
    return {name: [at and (at - _EPOCH) // _MICROSECOND for at in each] for name, each in moments.items()}


def microseconds(moment: datetime | None) -> int | None:
    """Return a time in microseconds since 1970."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int | None) -> datetime | None:
    """Return the time of so many microseconds since 1970."""
    return None if microseconds is None else _EPOCH + microseconds * _MICROSECOND
