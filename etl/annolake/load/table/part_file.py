"""One Parquet file of a partition: how it is read back and how it is written.

Owns the file's properties (docs/lake.md#files): sorted rows, row groups bounded in bytes, statistics, page checksums,
the name by content. Knows nothing of where files lie and which of them is true.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from annolake.errors import AnnolakeError, LakeError
from annolake.load.storage.files import Files, Location
from annolake.load.storage.scratch import Workspace
from annolake.load.table.compression import by_column
from annolake.load.table.file_format import FileFormat, Footer, by_schema
from annolake.load.table.pieces import joined

NAME_START, NAME_END = "part-", ".parquet"
REMOVED_AT = "removed_at"
_UNNAMED = "part.parquet"
_WIDEST = 17  # bytes of a value that is null: 16 where it is a decimal or a hash, and a bit
_WRITE_BYTES = 64 << 10  # pages of small partitions come together: unbuffered, each column is two writes and more


class Part(msgspec.Struct, frozen=True):
    """A file that is there: `size` in bytes, `removed` the rows of its `rows` that have removed_at."""

    path: Location
    footer: Footer
    rows: int
    size: int
    removed: int


class PartReader:
    """An open file, read a row group at a time, its pages by their checksums.

    Raises `LakeError` where it can't be read or trusted. An error that is met while it is open, and that is no
    `LakeError`, becomes one where the file is not what its name says.
    """

    def __init__(self, files: Files, path: Location, file_format: FileFormat) -> None:
        self._files, self._path, self._format = files, path, file_format
        size = files.size(path)
        source = files.open(path)
        with ExitStack() as closing:
            closing.callback(_quietly, source.close)
            self._file = self._step(lambda: pq.ParquetFile(source, page_checksum_verification=True))
            self._look_at(size)
            self._closing = closing.pop_all()

    def _look_at(self, size: int) -> None:
        """Read the footer, and refuse what can't be trusted."""
        path, file_format = self._path, self._format
        metadata = self._file.metadata
        footer = Footer.from_metadata(metadata.metadata)
        if footer is None:
            raise LakeError(f"cannot trust {path}: annolake did not write it; move it away, then run again")
        if footer.schema_version > file_format.version:
            raise LakeError(
                f"cannot read {path}: a newer annolake wrote it (schema version {footer.schema_version}, "
                f"this one knows {file_format.version}); upgrade, then run again"
            )
        self.schema: pa.Schema = self._step(lambda: self._file.schema_arrow)
        if footer.schema_version == file_format.version and not self.schema.equals(file_format.schema):
            raise _other_columns(path, footer)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self.row_groups = [group.num_rows for group in groups]
        self.part = Part(path, footer, metadata.num_rows, size, self._removed())
        nbytes = sum(group.total_byte_size for group in groups)
        self.row_bytes = nbytes / max(1, metadata.num_rows)  # uncompressed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._closing.close()
        if isinstance(error, Exception) and not isinstance(error, AnnolakeError):
            prove(self._files, self._path)

    @property
    def names(self) -> list[str]:
        """The columns that rows are returned with."""
        names: list[str] = self._format.schema.names
        return names

    def largest(self, name: str) -> list[Any]:
        """Return the largest value of a column in each row group that has one, from the statistics."""
        return [each.max for each in self.statistics(name) if each is not None and each.has_min_max]

    def _removed(self) -> int:
        """Return how many rows have left the queue, 0 in a table whose rows never do."""
        if REMOVED_AT not in self.schema.names:
            return 0
        found = self.statistics(REMOVED_AT)
        nulls = [each.null_count if each is not None and each.has_null_count else None for each in found]
        return sum(
            _removed_of(self._read(number, [REMOVED_AT])) if null_count is None else rows - null_count
            for number, (rows, null_count) in enumerate(zip(self.row_groups, nulls, strict=True))
        )

    def statistics(self, name: str) -> list[Any]:
        """Return a column's statistics in each row group, None where it has none."""
        metadata = self._file.metadata
        places = reversed(range(metadata.num_columns))  # the export's own columns are the last
        place = next((place for place in places if metadata.schema.column(place).path == name), None)
        groups = range(len(self.row_groups))
        return [None if place is None else metadata.row_group(number).column(place).statistics for number in groups]

    def key_columns(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns that every version has in the same type, a row group at a time."""
        there = [self.schema.get_field_index(name) for name in names]
        if -1 in there or [self.schema.field(place) for place in there] != [
            self._format.schema.field(n) for n in names
        ]:
            raise _other_columns(self._path, self.part.footer)
        for number in range(len(self.row_groups)):
            yield self._read(number, names)

    def row_group(self, number: int, names: Sequence[str] | None = None) -> pa.Table:
        """Return columns of a row group as the file format has them (all, unless named), and as they may be now.

        A column that a later schema version brought is null, one that it dropped is gone.
        """
        table, mask = self.stored_rows(number, names), self._format.mask
        return mask(table) if mask else table

    def stored_rows(self, number: int, names: Sequence[str] | None = None) -> pa.Table:
        """Return the same as it was written."""
        names = self._format.schema.names if names is None else names
        there = self._read(number, [name for name in names if name in self.schema.names])
        schema = pa.schema([self._format.schema.field(name) for name in names])
        if there.schema.equals(schema):
            return there
        columns = [
            self._step(partial(there.column(field.name).cast, field.type))
            if field.name in there.schema.names
            else pa.chunked_array([pa.nulls(there.num_rows, field.type)])
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)

    def _read(self, number: int, names: Sequence[str]) -> pa.Table:
        # one thread: the others would each keep memory of their own, and win no time beside the writing
        table: pa.Table = self._step(lambda: self._file.read_row_group(number, names, use_threads=False))
        if not set(names) <= set(table.column_names):
            raise _other_columns(self._path, self.part.footer)
        return table.select(names)

    def _step(self, call: Callable[[], Any]) -> Any:
        return self._files.step("read", self._path, call)


def _other_columns(path: Location, footer: Footer) -> LakeError:
    what = f"its columns are not those of schema version {footer.schema_version}"
    return LakeError(f"cannot trust {path}: {what}; restore it or move it away, then run again")


def write_part(workspace: Workspace, tables: Iterable[pa.Table], *, file_format: FileFormat, footer: Footer) -> Part:
    """Write the tables, in their order, as the one file of a workspace's folder; flushed, and named by its content.

    A folder that was begun and not finished is removed: at once, or where that fails too by who writes there next, for
    all that is in it comes into the lake.
    """
    local, folder = workspace.local, workspace.folder
    local.remove(folder)
    local.make_folder(folder)
    path = folder / _UNNAMED
    try:
        rows, removed = _write(workspace, path, row_groups(tables, file_format.row_group_bytes), file_format, footer)
        named = folder / part_name(local, path)
        local.move(path, named)
        local.sync(named)  # after the name is given: then the folder's own flush finds nothing left to do
        local.sync(folder)
        return Part(named, footer, rows, local.size(named), removed)
    except BaseException:
        with suppress(LakeError):
            local.remove(folder)
        raise


def _write(
    workspace: Workspace,
    path: Path,
    row_groups: Iterable[tuple[pa.Table, bool]],
    file_format: FileFormat,
    footer: Footer,
) -> tuple[int, int]:
    """Write the row groups; return how many rows they have, and how many of these have left the queue."""
    rows, removed, step = 0, 0, workspace.local.step
    with ExitStack() as closing:
        sink = step("write", path, lambda: pa.output_stream(str(path), compression=None, buffer_size=_WRITE_BYTES))
        closing.callback(_quietly, sink.close)
        writer: pq.ParquetWriter | None = None
        for table, is_last in row_groups:
            if writer is None:
                compression = by_column(table, file_format) if is_last else file_format.compression
                writer = step("write", path, partial(_writer, sink, file_format, compression, closing))
            step("write", path, partial(writer.write_table, table, row_group_size=table.num_rows))
            rows += table.num_rows
            removed += _removed_of(table)
            del table  # or it would stay until the next one has come together: 32 MB more
        writer = writer or step("write", path, partial(_writer, sink, file_format, file_format.compression, closing))
        writer.add_key_value_metadata(footer.as_metadata())
        step("write", path, writer.close)
        step("write", path, sink.close)
    return rows, removed


def _removed_of(table: pa.Table) -> int:
    place = table.schema.get_field_index(REMOVED_AT)
    return 0 if place < 0 else table.num_rows - table.column(place).null_count


def _writer(
    sink: pa.NativeFile, file_format: FileFormat, compression: str | Mapping[str, str], closing: ExitStack
) -> pq.ParquetWriter:
    writer = pq.ParquetWriter(
        sink,
        file_format.schema,
        compression=compression,
        # most columns hold ids, texts and numbers that do not repeat: measured on files of 1,000 rows, dictionaries
        # take 10.0 us a row in place of 7.3, and files are a tenth larger
        use_dictionary=False,
        write_page_checksum=True,
        sorting_columns=_sorting(file_format) if file_format.sort_by else None,
    )
    closing.callback(_quietly, writer.close)
    return writer


@by_schema
def _sorting(file_format: FileFormat) -> Sequence[pq.SortingColumn]:
    """Return what a file says of its order."""
    order = [(name, "ascending") for name in file_format.sort_by]
    sorting: Sequence[pq.SortingColumn] = pq.SortingColumn.from_ordering(file_format.schema, order)
    return sorting


def _quietly(close: Callable[[], None]) -> None:
    with suppress(OSError, ValueError, pa.ArrowException):  # the error that led here is the one to tell
        close()


def row_groups(tables: Iterable[pa.Table], limit: int) -> Iterator[tuple[pa.Table, bool]]:
    """Regroup tables into ones of at most `limit` bytes in memory; a row that is larger stands alone.

    Each comes with whether it is the last.
    """
    waiting: list[pa.Table] = []
    waiting_bytes = 0
    for piece in _pieces(tables, limit):
        if waiting:  # the size of a table that stays alone is not asked for: it is looked up column by column, 0.2 ms
            size, waiting_bytes = piece.nbytes, waiting_bytes or waiting[0].nbytes
            if waiting_bytes + size > limit:
                yield joined(waiting), False
                waiting, waiting_bytes = [], 0
            waiting_bytes += size
        waiting.append(piece)
    if waiting:
        yield joined(waiting), True


def _pieces(tables: Iterable[pa.Table], limit: int) -> Iterator[pa.Table]:
    """Halve tables that are too large, until they fit or are a single row; none has no rows."""
    for table in tables:
        halves = [table]
        while halves:
            piece = halves.pop()
            if piece.num_rows > 1 and _most_bytes(piece) > limit and piece.nbytes > limit:
                middle = piece.num_rows // 2
                halves += [piece.slice(middle), piece.slice(0, middle)]
            elif piece.num_rows:
                yield piece


def _most_bytes(table: pa.Table) -> int:
    """Return what its rows take at most, which is known at once, while `nbytes` looks at each column.

    Its buffers are counted once each: values that are all null share one for all they have, so such are added here.
    """
    nulls: int = table.num_rows * table.num_columns * _WIDEST
    return nulls + int(table.get_total_buffer_size())


def prove(files: Files, path: Location) -> None:
    """Raise `LakeError` where a file is no longer what was written: its name is that of its content."""
    if part_name(files, path) != path.name:
        raise LakeError(
            f"cannot trust {path}: it was changed after it was written: its name does not match its content; "
            "restore it or move it away, then run again"
        )


def part_name(files: Files, path: Location) -> str:
    """Return the name that a file has by its content: all of its bytes."""
    return f"{NAME_START}{files.digest(path)}{NAME_END}"
