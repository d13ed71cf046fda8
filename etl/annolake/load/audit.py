"""The lake seen from outside: what it holds of each queue, and whether it keeps its promises.

Owns the facts behind `annolake status` and `annolake verify`. Reads, repairs nothing, takes no queue's lock: a file
that a running export replaces while it is looked at is looked for again.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.lake import Lake
from annolake.load.merge.columns import days_of, one_chunk
from annolake.load.merge.index import Index
from annolake.load.merge.inputs import KEY_COLUMNS, enter_rows
from annolake.load.merge.spill import SORT_BY, sort_order
from annolake.load.records import PastExport
from annolake.load.storage.local import MissingError, Store
from annolake.load.table.folders import day_named, folder_name, part_names
from annolake.load.table.part_file import FileFormat, Part, PartReader, part_name

T = TypeVar("T")

_LOOKS = 3


@dataclass(frozen=True)
class QueueStatus:
    """What the lake holds of one queue; `size` in bytes. `last` is its entry in the newest report."""

    queue_id: str
    rows: int
    partitions: int
    size: int
    newest_added_at: datetime | None
    last: PastExport | None


@dataclass(frozen=True)
class Finding:
    """One thing that is not as promised, in one sentence, and where."""

    path: Path
    what: str


def status(lake: Lake, *, now: datetime) -> list[QueueStatus]:
    """Return the status of each queue, read from the footers alone; `last` is of an export that began before `now`."""
    return [_status(lake, queue_id, now) for queue_id in lake.queues()]


def verify(lake: Lake) -> Iterator[Finding]:
    """Yield what is wrong with the lake, reading all of it: nothing where every promise is kept."""
    for queue_id in lake.queues():
        yield from _verified_runs(lake, queue_id)
        yield from _verified_folder(lake, lake.queue_folder(queue_id), _Rows(lake.queues_format, None))
    for path in lake.litter():
        yield Finding(path, "an export that was killed left this; the next export removes it")


def _status(lake: Lake, queue_id: str, now: datetime) -> QueueStatus:
    found = _again(lambda: _footers(lake, queue_id))
    parts = [part for part, _ in found if part.rows]
    newest = max((when for _, when in found if when), default=None)
    last = next(lake.reports.of(queue_id, now=now), None)
    rows, size = sum(part.rows for part in parts), sum(part.size for part, _ in found)
    return QueueStatus(queue_id, rows, len(parts), size, newest, last)


def _footers(lake: Lake, queue_id: str) -> list[tuple[Part, datetime | None]]:
    """Return each file of a queue with its newest added_at."""
    folder, store = lake.runs_folder(queue_id), lake.store
    found = []
    for name in store.names(folder):
        for part in part_names(store, folder / name):
            with PartReader(store, folder / name / part, lake.runs_format) as reader:
                found.append((reader.part, max(reader.largest("added_at"), default=None)))
    return found


def _again(look: Callable[[], T]) -> T:
    """Look, and look again where a running export replaced a file between its listing and its opening."""
    for _ in range(_LOOKS - 1):
        with suppress(MissingError):
            return look()
    return look()


def _verified_runs(lake: Lake, queue_id: str) -> Iterator[Finding]:
    folder, index, versions = lake.runs_folder(queue_id), Index(), set[int]()
    for name in lake.store.names(folder):
        day = day_named(name)
        if day is None:
            yield Finding(folder / name, "only added_date=... belongs there; move it away")
            continue
        rows = _Rows(lake.runs_format, day)
        yield from _verified_folder(lake, folder / name, rows)
        versions |= rows.versions
        if not rows.enter(index):
            yield Finding(folder / name, "it has a row twice")
    for day in sorted(index.days_left()):
        what = "a row of it is in another partition too; the later exported_at is true, and the next export heals it"
        yield Finding(folder / folder_name(day), what)
    if len(versions) > 1:
        yield Finding(folder, "its files are of several schema versions; the next export rewrites the older ones")


def _verified_folder(lake: Lake, folder: Path, rows: "_Rows") -> list[Finding]:
    def look() -> list[Finding]:
        rows.clear()
        return [Finding(path, what) for path, what in _looked_at(lake.store, folder, rows)]

    try:
        return _again(look)
    except LakeError as exc:
        return [Finding(folder, str(exc))]


def _looked_at(store: Store, folder: Path, rows: "_Rows") -> Iterator[tuple[Path, str]]:
    """Check one partition: its one file, the file's name, footer, schema and pages, and its rows."""
    names = part_names(store, folder)
    if len(names) > 1:
        yield folder, "it has more than one file; the next export keeps the latest one"
    for name in names:
        path = folder / name
        if name != part_name(store, path):
            yield path, "its name does not match its content: it was changed after it was written"
        with PartReader(store, path, rows.file_format) as reader:
            yield from ((path, what) for what in rows.check(reader))


class _Rows:
    """The rows of one partition while they are checked; `day` None for a table that has no days."""

    def __init__(self, file_format: FileFormat, day: int | None) -> None:
        self.file_format, self.day = file_format, day
        self.versions: set[int] = set()
        self._keys: list[pa.Table] = []

    def clear(self) -> None:
        """Forget a look that met a file being replaced."""
        self._keys = []

    def check(self, reader: PartReader) -> Iterator[str]:
        """Yield what is wrong with one file."""
        self.versions.add(reader.part.footer.schema_version)
        before = self.file_format.schema.empty_table()
        for number in range(len(reader.row_groups)):
            table = reader.row_group(number)
            if self.day is not None:
                self._keys.append(table.select(KEY_COLUMNS))
                keys = pa.concat_tables([before, table]).select(SORT_BY)
                if (days_of(one_chunk(table.column("added_at"))) != self.day).any():
                    yield "it has a row of another date"
                if (np.diff(sort_order(keys)) != 1).any():
                    yield f"its rows are not sorted by {' and '.join(SORT_BY)}"
                before = table.slice(table.num_rows - 1)

    def enter(self, index: Index) -> bool:
        """Enter the partition's rows in the queue's index; False where it has one twice."""
        return self.day is None or all(enter_rows(index, table, self.day) for table in self._keys)
