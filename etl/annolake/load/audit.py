"""Whether a lake keeps its promises: all of it, read back.

Owns the facts behind `annolake verify`. Repairs nothing, takes no queue's lock: a file that a running export replaces
while it is looked at is looked for again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.counts import Counts, counts_of, read_counts
from annolake.load.lake import Lake
from annolake.load.merge.columns import days_of, one_chunk
from annolake.load.merge.index import Index
from annolake.load.merge.inputs import enter_rows, key_columns
from annolake.load.merge.spill import sort_order
from annolake.load.storage.local import Store, look_again
from annolake.load.table.file_format import FileFormat
from annolake.load.table.folders import part_names
from annolake.load.table.part_file import PartReader, part_name

_WRITTEN_ANEW = "the next export of the queue writes it anew"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as promised, in one sentence, and where."""

    path: Path
    what: str


def verify(lake: Lake) -> Iterator[Finding]:
    """Yield what is wrong with the lake, reading all of it: nothing where every promise is kept."""
    for queue_id in lake.queues():
        for table, file_format in lake.formats.items():
            if file_format.key:
                yield from _verified_partitions(lake, queue_id, file_format)
            else:
                yield from _verified_folder(lake, lake.folder(queue_id, table), _Rows(file_format, None))
    for path in lake.litter():
        yield Finding(path, "an export that was killed left this; the next export removes it")


def _verified_partitions(lake: Lake, queue_id: str, file_format: FileFormat) -> Iterator[Finding]:
    folder, index, versions = lake.folder(queue_id, file_format.table), Index(), set[int]()
    kept, counts = lake.counts_file(queue_id, file_format.table), dict[str, tuple[int, int]]()
    for name in lake.store.names(folder):
        day = file_format.day_named(name)
        if day is None:
            yield Finding(folder / name, f"only {file_format.partition}=... belongs there; move it away")
            continue
        rows = _Rows(file_format, day)
        yield from _verified_folder(lake, folder / name, rows)
        versions |= rows.versions
        counts |= rows.counts
        if not rows.enter(index):
            yield Finding(folder / name, "it has a row twice")
    for day in sorted(index.days_left()):
        what = "a row of it is in another partition too; the later exported_at is true, and the next export heals it"
        yield Finding(folder / file_format.folder_name(day), what)
    if len(versions) > 1:
        yield Finding(folder, "its files are of several schema versions; the next export rewrites the older ones")
    yield from (Finding(kept, what) for what in _wrong_counts(lake.store, kept, counts))


def _wrong_counts(store: Store, path: Path, counts: Counts) -> Iterator[str]:
    """Compare the counts that are kept with those of the footers."""
    try:
        kept = read_counts(store, path)
    except LakeError as exc:
        yield str(exc)
        return
    for name, (rows, removed) in counts.items():
        if kept.get(name, (rows, removed)) != (rows, removed):
            yield f"it is wrong about {name}, which has {rows} rows, {removed} of them removed; {_WRITTEN_ANEW}"


def _verified_folder(lake: Lake, folder: Path, rows: "_Rows") -> list[Finding]:
    def look() -> list[Finding]:
        rows.clear()
        return [Finding(path, what) for path, what in _looked_at(lake.store, folder, rows)]

    try:
        return look_again(look)
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
