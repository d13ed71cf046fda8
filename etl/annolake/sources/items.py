"""The items endpoint as a source: its sections, read by cursor, each item joined with its run.

A run is asked for where that may change its row; of other items the lake's rows stay (`KnownItems`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import datetime, timedelta
from functools import partial
from itertools import compress
from typing import Any, NamedTuple, Protocol, TypeVar

from annolake.errors import TooLargeError
from annolake.extract.cursor.lanes import Lanes
from annolake.extract.cursor.queue_reader import QueueReader
from annolake.extract.cursor.section_reader import WHOLE, CursorSlice, FetchAt, Part, Section
from annolake.extract.endpoints.items import SECTIONS, Filters, ItemsListing
from annolake.extract.endpoints.runs_query import Batch, Batches, RunsQuery
from annolake.extract.paging.readings import SeenKeys
from annolake.extract.paging.slices import Piece
from annolake.extract.paging.watermark import Watermark
from annolake.report import Usage
from annolake.sources.source import Access, ambiguous_keys, microseconds, moment, number_rows, times_of
from annolake.transform.guard import not_read
from annolake.transform.items import Item, decode_items, decode_runs, selects
from annolake.transform.join import join
from annolake.transform.row_batch import RowBatch

R = TypeVar("R")

_ITEMS_AT_ONCE = 1_000  # sorted out: it takes three times as long as a hundred do

_TIMES = ("added_at", "effective_added_at", "last_reviewed_time")  # those a section may be sorted by
_CLOCKS_DIFFER = timedelta(minutes=1)  # the service's and this machine's, at most


class KnownItems(Protocol):
    """What the lake holds of items."""

    def keep(self, rows: Sequence[int], items: Sequence[bytes]) -> list[bool]:
        """Tell, of rows met, by their numbers and their items' hashes, which stay without asking for their runs."""

    @property
    def starts(self) -> Sequence[int]:
        """When the runs of some of the rows began, in microseconds since 1970."""


class _Joined(NamedTuple):
    """The rows of some items, how many runs were asked for, and the items that are left."""

    rows: RowBatch
    asked: int
    rest: Batch


class ItemsSource:
    """The sections, each item with its run; `watermarks` as for `RunsSource`; without `known` each run is asked for.

    Those of items that were erased from the lake (`is_erased`) are not.
    """

    def __init__(
        self,
        access: Access,
        seen_keys: SeenKeys,
        watermarks: Mapping[str, Watermark],
        *,
        now: datetime,
        known: KnownItems | None = None,
        is_erased: Callable[[Any], bool] | None = None,
    ) -> None:
        settings = access.settings
        self._access, self._known, self._is_erased = access, known, is_erased
        self.runs_asked = 0
        self._batches = Batches(self._at_once)
        self._decode_runs = partial(decode_runs, guard=access.guards.runs)
        self._met: list[Item] = []  # and not yet sorted out
        self._kept: list[Any] = []  # the typed values of those that stay, and are not landed yet
        self._under_way: deque[Future[_Joined]] = deque()
        self._most = min(settings.concurrency, access.query_size.at_once)
        self._listing = ItemsListing(access.client, access.queue_id, access.caller)
        self._names = SECTIONS if settings.include_archived else tuple(n for n in SECTIONS if n != "archived")
        self.usage: Usage = "subtree" if settings.subtree_usage else "own"
        self._query = RunsQuery(
            access.client,
            selects(include_stats=settings.include_stats, without=not_read(access.guards.runs)),
            access.caller,
            access.query_limits,
            settings.subtree_usage,
        )
        self._reader: QueueReader = QueueReader(
            [self._section(name, watermarks.get(name)) for name in self._names],
            seen_keys=seen_keys,
            limit=lambda: settings.page_size,
            lanes=Lanes(settings.concurrency, access.lanes.submit),
            touched_since=microseconds(now - _CLOCKS_DIFFER),
            before_looks=self._ask_for_rest,
            starts=known.starts if known else (),
        )
        self.verdict = self._reader.verdict

    def read(self) -> Iterator[RowBatch]:
        """Yield items with their runs, a batch at a time; runs are asked for on all lanes. Raises ServiceError."""
        return self._joined(self._reader.read())

    def read_again(self) -> Iterator[RowBatch]:
        """Yield items that another reading meets for the first time, with their runs. Raises ServiceError."""
        return self._joined(self._reader.read_again())

    def _joined(self, pieces: Iterable[Piece | None]) -> Iterator[RowBatch]:
        asked, most = self._under_way, self._most
        try:
            for piece in pieces:
                if piece is None or len(self._met) >= _ITEMS_AT_ONCE:
                    self._sort_out()
                    yield from self._landed()
                if piece is None:
                    yield from self._answered(asked, most, those_there=True)
                    continue
                page = piece.slice.page
                number_rows(page.items, piece)
                if page.rejects:
                    yield RowBatch(page.size, rejects=page.rejects)
                items = [item for item in page.items if item.key in piece.wanted]
                if erased := {item.number for item in items if self._is_erased and self._is_erased(item.row)}:
                    yield RowBatch(left_out=sorted(erased))
                    items = [item for item in items if item.number not in erased]
                self._met += items
            self._sort_out()
            yield from self._landed()
            wait(list(asked)[:1])  # what it weighs tells how the rest is cut
            for batch in self._batches.rest():
                asked.append(self._asked(batch))
                yield from self._answered(asked, most)
            yield from self._answered(asked, 0)
        finally:
            while asked:
                asked.pop().cancel()

    def _sort_out(self) -> None:
        """Find out of which items that were met the runs are to be asked for, and of which the rows stay."""
        met, self._met = self._met, []
        if met and self._known:
            stay = self._known.keep([item.number for item in met], [item.hash for item in met])
            self._kept += [item.row for item in compress(met, stay)]
            met = [item for item, stays in zip(met, stay, strict=True) if not stays]
        self._batches.add(met)

    def _landed(self) -> Iterator[RowBatch]:
        """Yield the rows that stay, ask for the full batches of runs, and yield what has come meanwhile."""
        kept, self._kept = self._kept, []
        if kept:
            yield RowBatch(kept=kept)
        for batch in self._batches.full():
            self._under_way.append(self._asked(batch))
            yield from self._answered(self._under_way, self._most)

    def _ask_for_rest(self) -> None:
        """Have the runs that wait be asked for now, as far as they may be: no item is expected any more."""
        self._sort_out()
        rest = self._batches.rest() if self._access.query_size.is_known else iter(())
        while len(self._under_way) < self._most and (batch := next(rest, None)):
            self._under_way.append(self._asked(batch))

    def _at_once(self) -> int:
        return min(self._access.query_size(), self._access.query_limits.most)

    def _asked(self, batch: Batch) -> "Future[_Joined]":
        if batch.asked:
            self._access.query_size.asks()
        return self._access.query_lanes.submit(self._join, batch)

    def _answered(self, asked: "deque[Future[_Joined]]", most: int, *, those_there: bool = False) -> Iterator[RowBatch]:
        """Yield what was asked for first, until no more than `most` are under way; `those_there`: and what is there."""
        while len(asked) > most or (those_there and asked and asked[0].done()):
            joined = asked.popleft().result()
            self.runs_asked += joined.asked
            if joined.rest.items:  # before what follows it: of a row's versions the last one counts
                asked.appendleft(self._asked(joined.rest))
            yield joined.rows

    def _join(self, batch: Batch) -> "_Joined":
        """Join items with their runs, as many as memory allows for now: a batch was cut when rows were lighter."""
        size, (batch, later) = self._access.query_size, batch.cut(self._at_once())
        payloads, left = self._query.read(batch, self._decode_runs, enough=2 * size.answer)
        if payloads.own:
            self.usage = "own"
        done = batch.items[: len(batch.items) - len(left.items)]
        joined = join(done, payloads.runs, include_stats=self._access.settings.include_stats, own=payloads.own)
        joined.size = payloads.size
        size.saw(len(payloads.runs), payloads.size)
        return _Joined(joined, len(Batch(done).asked), Batch([*left.items, *later.items]))

    def _section(self, name: str, watermark: Watermark | None) -> Section:
        def count(part: Part) -> int | None:
            return self._listing.count(name, _filters(part))

        return Section(name, self._fetch(name, WHOLE), watermark, partial(self._fetch, name), count)

    def _fetch(self, section: str, part: Part) -> FetchAt:
        decode = partial(decode_items, archived=section == "archived", guard=self._access.guards.runs)
        filters = _filters(part)

        def fetch(cursor: str | None, limit: int) -> CursorSlice:
            page = _smaller(lambda rows: self._listing.read(section, cursor, rows, decode, filters), limit)
            rows = [item.row for item in page.items]
            starts = [None if row.item_type == "THREAD" else microseconds(row.start_time) for row in rows]
            return CursorSlice(
                page.keys, times_of(rows, _TIMES), page, ambiguous_keys(page.rejects), cursor=page.cursor, starts=starts
            )

        return fetch


def _filters(part: Part) -> Filters:
    return Filters(part.kind, moment(part.low), moment(part.high))


def _smaller(read: Callable[[int], R], rows: int) -> R:
    """Return an answer of so many rows, or of half as many, and so on, where it is too large."""
    while True:
        try:
            return read(rows)
        except TooLargeError:
            if rows == 1:
                raise
            rows //= 2
