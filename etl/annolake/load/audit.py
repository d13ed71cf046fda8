"""Whether a lake keeps its promises: all of it, read back.

Owns the facts behind `annolake verify`. Repairs nothing, takes no queue's lock: a file that a running export replaces
while it is looked at is looked for again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.erased import Erased, read_erased
from annolake.load.lake import Lake
from annolake.load.merge.columns import days_of, one_chunk
from annolake.load.merge.index import Index
from annolake.load.merge.inputs import enter_rows, key_columns
from annolake.load.merge.spill import sort_order
from annolake.load.storage.files import Files, Location, look_again
from annolake.load.table.counts import counts_of
from annolake.load.table.file_format import FileFormat
from annolake.load.table.part_file import PartReader, part_name
from annolake.load.table.partitions import Remark, Table
from annolake.printable import counted

_RECORD_GONE = "the queue's record is gone: restore it, or run an export of the queue, which writes it anew"
_ERASED_BY = ("queue_run_id", "id", "added_at")


def verify(lake: Lake) -> Iterator[Remark]:
    """Yield what is to be said of the lake, reading all of it: nothing that is not harmless where it is in order."""
    tables = [lake.table(name) for name in lake.formats]
    erased = read_erased(lake)
    for table in tables:
        yield from table.remarks(None)
    for queue_id in lake.queues_noted():
        for table in tables:
            yield from table.remarks(queue_id)
            yield from _verified(lake, table, queue_id)
        yield from _record_gone(lake, queue_id)
        yield from _erased_and_there(lake, queue_id, erased)
    for path in lake.litter():
        yield Remark(path, "a command that was killed left this; the next export removes it")


def _record_gone(lake: Lake, queue_id: str) -> Iterator[Remark]:
    """Tell of a plain lake that a queue's record is gone, looked for in an order that no running command makes wrong.

    An export writes the record before rows, and an erasure removes proofs before all else.
    """
    if lake.arrangement == "delta":  # the log tells, and a record that the key may not read has no file
        return

    def has(name: str) -> bool:
        table = lake.table(name)
        return any(table.paths(queue_id, day) for day in table.days(queue_id))

    with suppress(LakeError):  # what lies there and is none of annolake's is told already
        if has("runs") and not has("queues") and lake.proofs(queue_id) is not None:
            yield Remark(lake.table("queues").folder(queue_id), _RECORD_GONE)


def _erased_and_there(lake: Lake, queue_id: str, erased: Erased) -> Iterator[Remark]:
    """Look for rows of `runs` that were erased: these go last, and with them has gone all that is theirs."""
    table = lake.table("runs")
    if erased.is_empty:
        return

    is_gone = erased.has_queue(queue_id)

    def look(day: int) -> list[bool]:
        with table.opened(queue_id, day) as reader:
            groups = range(len(reader.row_groups)) if reader else ()
            stored = [reader.stored_rows(group, _ERASED_BY) for group in groups] if reader else []
        return [is_gone or erased.has_row(queue_id, **row) for rows in stored for row in rows.to_pylist()]

    found = 0
    for day in table.days(queue_id):
        with suppress(LakeError):  # what cannot be read is told already
            found += sum(look_again(partial(look, day)))
    if found:
        rows = counted(found, "row")
        said = f"{rows} of it were erased and are still there: the next export takes them out"
        yield Remark(table.folder(queue_id), said)


def _verified(lake: Lake, table: Table, queue_id: str) -> Iterator[Remark]:
    """Check the partitions of a queue in a table, and what is true of all of them together."""
    index, versions, counts = Index(), set[int](), dict[str, tuple[int, int]]()
    folder, keyed = table.folder(queue_id), bool(table.file_format.key)
    for day in table.days(queue_id):
        rows, place = _Rows(table.file_format, day if keyed else None), table.file_format.folder(folder, day)
        yield from _verified_partition(lake.files, partial(table.paths, queue_id, day), place, rows)
        versions |= rows.versions
        counts |= rows.counts
        if not rows.enter(index):
            yield Remark(place, "it has a row twice")
    for day in sorted(index.days_left()):
        what = "a row of it is in another partition too; the later exported_at is true, and the next export heals it"
        yield Remark(table.file_format.folder(folder, day), what)
    if keyed:
        yield from table.compared(queue_id, counts, versions)


def _verified_partition(
    files: Files, paths: Callable[[], list[Location]], place: Location, rows: "_Rows"
) -> list[Remark]:
    def look() -> list[Remark]:
        rows.clear()
        return list(_looked_at(files, paths(), place, rows))

    try:
        return look_again(look)
    except LakeError as exc:
        return [Remark(place, str(exc))]


def _looked_at(files: Files, paths: Sequence[Location], place: Location, rows: "_Rows") -> Iterator[Remark]:
    """Check one partition: its one file, the file's name, footer, schema and pages, and its rows."""
    if len(paths) > 1:
        yield Remark(place, "it has more than one file; the next export keeps the latest one")
    for path in paths:
        if path.name != part_name(files, path):
            yield Remark(path, "its name does not match its content: it was changed after it was written")
        with PartReader(files, path, rows.file_format) as reader:
            yield from (Remark(path, what) for what in rows.check(reader))


class _Rows:
    """The rows of one partition while they are checked; `day` None for a table that has no days."""

    def __init__(self, file_format: FileFormat, day: int | None) -> None:
        self.file_format, self.day = file_format, day
        self.versions: set[int] = set()
        self.counts: dict[str, tuple[int, int]] = {}
        self._keys: list[pa.Table] = []

    def clear(self) -> None:
        """Forget a look that met a file being replaced."""
        self._keys, self.counts = [], {}

    def check(self, reader: PartReader) -> Iterator[str]:
        """Yield what is wrong with one file."""
        self.versions.add(reader.part.footer.schema_version)
        self.counts |= counts_of([reader.part])
        before, sort_by = self.file_format.schema.empty_table(), self.file_format.sort_by
        for number in range(len(reader.row_groups)):
            table = reader.row_group(number)
            if self.day is not None:
                self._keys.append(table.select(key_columns(self.file_format)))
                keys = pa.concat_tables([before, table]).select(sort_by)
                if (days_of(one_chunk(table.column(self.file_format.time))) != self.day).any():
                    yield "it has a row of another date"
                if (np.diff(sort_order(keys)) != 1).any():
                    yield f"its rows are not sorted by {' and '.join(sort_by)}"
                before = table.slice(table.num_rows - 1)

    def enter(self, index: Index) -> bool:
        """Enter the partition's rows in the queue's index; False where it has one twice."""
        return self.day is None or all(enter_rows(index, table, self.day, self.file_format.key) for table in self._keys)
