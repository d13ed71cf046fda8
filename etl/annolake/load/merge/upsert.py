"""One queue's table on its way into the lake: the rows that an export met and spilled, and the publishing of them.

Owns the order of things: rows are noted and spilled page by page, then each partition concerned is merged once, some
ahead of time, and published, so that the caller can stop between two. Never decides which rows have left the queue.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import date, datetime
from functools import partial

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import asdict

from annolake.errors import AnnolakeError
from annolake.load.merge.columns import Bytes16, days_of, mask_of
from annolake.load.merge.decide import Counts
from annolake.load.merge.index import ACCEPTED, STORED
from annolake.load.merge.inputs import known_numbers
from annolake.load.merge.partition_merge import Merged, PartitionMerge
from annolake.load.merge.prepared import Prepared
from annolake.load.merge.read_back import State
from annolake.load.merge.spill import Spill
from annolake.load.table.days import NO_DAY, date_of
from annolake.load.table.part_file import PartReader
from annolake.load.table.partitions import Partitions

EMPTY_DAY = 0
"""The partition of the file without rows that a queue has while it has no dated row: a date, so that
`added_date` or `created_date` is one for every reader from the first day."""

_UNPACKED = 8  # bytes in memory for one of a file, of ordinary rows


class Outcome(msgspec.Struct, frozen=True):
    """What became of one partition; `day` None: of the rows without a time. `size` of its file in bytes."""

    day: date | None
    counts: Counts
    written: bool
    size: int = 0


class Done(msgspec.Struct, frozen=True):
    """What an export published of a table: its rows by what happened to them, files, and their size in bytes."""

    counts: Counts = msgspec.field(default_factory=Counts)
    partitions: int = 0
    size: int = 0


class Upsert:
    """Rows of one queue in one table, from pages to partitions; `close` when done.

    Used by one thread at a time, its own merges aside, which only look things up.
    """

    def __init__(self, partitions: Partitions, state: State, spill: Spill, *, now: datetime) -> None:
        self.index = state.index
        self.now = now
        self._state, self._owners = state, state.owners
        self._partitions, self._parts, self._spill = partitions, partitions.parts, spill
        self._files, self._format = partitions.files, partitions.file_format
        self._partition_merge = PartitionMerge(partitions, state.index, spill, now=now)
        self._prepared = Prepared(self._merge_alone, partitions.discard)
        self._done = Done()
        self._finished = False
        self._merged = self._to_merge = 0

    @property
    def _seen(self) -> Done:
        """What was published so far, as readers see it: where all days change at once, nothing before the end."""
        return self._done if self._finished or not self._partitions.whole else Done()

    @property
    def counts(self) -> Counts:
        """The rows that were published so far, by what happened to them."""
        return self._seen.counts

    @property
    def partitions_written(self) -> int:
        """The partitions that were published so far."""
        return self._seen.partitions

    @property
    def bytes_written(self) -> int:
        """The size of their files."""
        return self._seen.size

    @property
    def merges(self) -> tuple[int, int]:
        """How many partitions were merged so far, of how many."""
        return self._merged, self._to_merge

    @property
    def starts(self) -> list[int]:
        """Some of the times at which the runs of stored rows began, in microseconds since 1970; over items."""
        return [int(start) for starts in self._state.starts for start in starts]

    def expect(self, rows: int) -> None:
        """Leave memory for the index of a queue of so many rows: fewer changed ones then wait in it from the start."""
        self._state.expected = max(self._state.expected, rows)

    def add(self, batch: pa.RecordBatch, rows: Sequence[int], *, unavailable: frozenset[str] = frozenset()) -> None:
        """Take rows that `index.changed` asked for, flattened, in reading order; `rows` are their numbers.

        `unavailable` names the columns that this export could not have received for these rows: the stored values
        stay. exported_at and removed_at are set here, whatever the batch holds.
        """
        self._prepared.void()
        numbers = np.array(rows, np.int32)
        self.index.take(numbers, days_of(batch.column(self._format.time)))
        self._spill.add(batch, numbers, unavailable)

    @property
    def unchanged(self) -> int:
        """Rows read and left as they are, once everything is published."""
        return self.index.count(ACCEPTED) - self._done.counts.inserted - self._done.counts.updated

    @property
    def rows(self) -> int:
        """Rows that the lake holds once everything is published, removed ones too; of rejects there are none."""
        index = self.index
        return index.count(STORED) + index.count(ACCEPTED) - index.count(STORED | ACCEPTED)

    def columns(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield these columns of the rows that the lake held when this export began, a row group at a time."""
        for part in list(self._parts.values()):
            with PartReader(self._files, part.path, self._format) as reader:
                for group in range(len(reader.row_groups)):
                    yield reader.row_group(group, names)

    def keep_others(self, owners_read: Bytes16) -> None:
        """Have `index.missing` be of rows that belong to what was read (a run, an item), given by the keys.

        Rows of the lake that belong to something else count as met, and stay as they are.
        """
        size = self.index.size
        self.index.pass_over(~self._owners.belonging(owners_read, size))

    def missing_owners(self) -> dict[str, list[str]]:
        """Return what the rows belong to that are missing: the ids by their column, each once, in order."""
        found: dict[str, set[str]] = {column: set() for column in self._format.owners}
        wanted = tuple(dict.fromkeys((*self._format.key, *self._format.owners)))
        for day in sorted(self.index.days_of_gone()):
            part = self._parts[day]
            with PartReader(self._files, part.path, self._format) as reader:
                for table in reader.key_columns(wanted):
                    gone = self.index.gone(known_numbers(self.index, table, self._format.key, part.path))
                    missing = table.filter(mask_of(gone))
                    for column, ids in found.items():
                        ids.update(missing.column(column).drop_null().to_pylist())
        return {column: sorted(ids) for column, ids in found.items()}

    def prepare(self, *, may_remove: bool = True, at_once: int = 1) -> bool:
        """Merge a few partitions ahead of `publish`, which then only puts their files in place; tell whether to go on.

        For the time in which answers are waited for that will hardly bring a row. One that comes all the same makes
        what was prepared void. Left to `publish` is what rows leave for another day; where it `may_remove`, what rows
        that were not met may leave; and all of it where rows were spilled: so many would not be merged in that time.
        """
        return self._prepared.go_on(partial(self._to_prepare, may_remove=may_remove), at_once=at_once)

    def _to_prepare(self, *, may_remove: bool) -> set[int]:
        if not self._spill.in_memory or self.index.awaited:
            return set()
        self._spill.seal()
        left = self.index.days_left() | (self.index.days_of_gone() if may_remove else set())
        return self._light((self._spill.days() | self._outdated()) - left)

    def _merge_alone(self, day: int) -> Merged:
        return self._partition_merge.merged(day, set(), remove_gone=False)[0]

    def _light(self, days: set[int]) -> set[int]:
        """Return those whose rows are so few that two can be in memory at a time."""
        return {day for day in days if self._nbytes(day) < self._format.row_group_bytes}

    def publish(self, *, remove_gone: bool, at_once: int = 1) -> Generator[Outcome, None, None]:
        """Merge and publish each partition concerned, one a step; stop between two steps as you like.

        `remove_gone`: rows in the lake that were not met have left the queue. A row that changed its day is
        published in its new partition before it leaves the old one. Partitions of less than a row group that no row
        leaves are merged `at_once` side by side; those begun are finished when you stop.
        """
        if self.index.awaited:
            raise RuntimeError(f"{self.index.awaited} changed rows were read and never added")
        self._spill.seal()
        self.index.no_more_rows()
        pa.default_memory_pool().release_unused()  # what the pages took
        gone = self.index.days_of_gone() if remove_gone else set()
        concerned = self._spill.days() | self._outdated() | gone
        left = self.index.days_left()
        self._to_merge = len(concerned | left)
        for day, result in self._prepared.take(but=gone):
            concerned.discard(day)
            yield self._counted(self._put(day, result))
        light = self._light(concerned - left) if at_once > 1 else set()  # one after the other needs no other thread
        yield from self._merge_side_by_side(sorted(light), left, at_once, remove_gone=remove_gone)
        for day in sorted(concerned - left - light):
            yield self._counted(self._merge(day, left, remove_gone=remove_gone)[0])
        waiting = sorted(left)
        ahead = set(waiting)
        for day in waiting:  # grows: rows that leave for a day still ahead stay until their day comes again
            ahead.discard(day)
            outcome, held = self._merge(day, ahead, remove_gone=remove_gone)
            if held:
                waiting.append(day)
                self._to_merge += 1
            yield self._counted(outcome)
        yield from self._placeholder()
        self._partitions.finish(asdict(self._done.counts))
        self._finished = True

    def _merge_side_by_side(
        self, days: Sequence[int], ahead: set[int], at_once: int, *, remove_gone: bool
    ) -> Iterator[Outcome]:
        """Merge partitions that nothing is shared between: what one of them takes over comes from days `ahead`."""
        running: deque[Future[tuple[Outcome, bool]]] = deque()
        with ThreadPoolExecutor(at_once, "merge") as mergers:
            try:
                for day in days:
                    running.append(mergers.submit(self._merge, day, ahead, remove_gone=remove_gone))
                    if len(running) == at_once:
                        yield self._counted(running.popleft().result()[0])
                while running:
                    yield self._counted(running.popleft().result()[0])
            finally:
                for merge in running:
                    with suppress(AnnolakeError):  # another error, or a wish to stop, is on its way already
                        self._counted(merge.result()[0])

    def _nbytes(self, day: int) -> float:
        """Return about how many bytes the rows of a partition, stored and arriving, take in memory."""
        part = self._parts.get(day)
        return self._spill.nbytes(day) + (part.size * _UNPACKED if part else 0)

    def _counted(self, outcome: Outcome) -> Outcome:
        done = self._done
        self._merged += 1
        self._to_merge = max(self._to_merge, self._merged)
        self._done = Done(done.counts + outcome.counts, done.partitions + outcome.written, done.size + outcome.size)
        return outcome

    def close(self) -> None:
        """Close what is open, whether all was published or not."""
        self._spill.close()
        self._partitions.close()

    def _outdated(self) -> set[int]:
        """Return the days whose file has a schema version that may not stay: they are rewritten in any case."""
        return {day for day, part in self._parts.items() if self._partition_merge.is_outdated(part)}

    def _merge(self, day: int, ahead: set[int], *, remove_gone: bool) -> tuple[Outcome, bool]:
        """Merge one partition and publish it where that changes it.

        The second value tells whether rows were kept that are to leave for a day still `ahead`.
        """
        result, held = self._partition_merge.merged(day, ahead, remove_gone=remove_gone)
        outcome = self._put(day, result)
        if not held:  # else its day comes again
            self._spill.forget(day)
        return outcome, held

    def _put(self, day: int, result: Merged) -> Outcome:
        """Publish what a partition was merged to."""
        if result.part:
            self._partitions.put(day, result.part)
        elif result.changed:
            self._withdraw(day)
        return Outcome(_date(day), result.counts, written=result.changed, size=result.size)

    def _withdraw(self, day: int) -> None:
        if day in self._parts:
            self._partitions.withdraw(day)

    def _placeholder(self) -> Iterator[Outcome]:
        """See to the file without rows: there while the queue has no dated row, gone when it has one."""
        dated = any(part.rows for day, part in self._parts.items() if day != NO_DAY)
        there = self._parts.get(EMPTY_DAY)
        if not dated and there is None and self._partitions.needs_file:
            size = self._partitions.publish(EMPTY_DAY, []).size
            yield self._counted(Outcome(_date(EMPTY_DAY), Counts(), written=True, size=size))
        elif dated and there is not None and not there.rows:
            self._withdraw(EMPTY_DAY)
            yield self._counted(Outcome(_date(EMPTY_DAY), Counts(), written=True))


def _date(day: int) -> date | None:
    return None if day == NO_DAY else date_of(day)
