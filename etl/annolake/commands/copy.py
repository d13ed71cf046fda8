"""`annolake copy`: a table as one flat file, for people without a lake (docs/readers.md#a-flat-copy).

Owns which rows and columns are copied, and where to. What becomes of a column is `flat_rows`'. Reads the lake alone.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from annolake import arrow_compute as pc
from annolake.clock import Clock
from annolake.config import load_lake_config
from annolake.console import Console
from annolake.errors import ConfigError, LakeError
from annolake.flat_rows import FORMATS, Format, Written, flat, flat_schema, write_rows
from annolake.load.lake import Lake
from annolake.load.table.days import NO_DAY, date_of
from annolake.load.table.part_file import row_groups
from annolake.out_file import new_file, require_free
from annolake.printable import counted, printable
from annolake.streams import Streams
from annolake.wiring import named_queues, open_lake

_BATCH_BYTES = 8 << 20
_SUFFIXES: Mapping[str, Format] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}
_REMOVED_AT = "removed_at"
_FORMULAS = "as formulas do, which a spreadsheet would compute: with --spreadsheet it takes them for text"


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Copy a table and say what was copied; return 0. Raises ConfigError, LakeError."""
    out, kind = _target(arguments)
    if out is None and kind == "parquet" and streams.out.isatty():
        raise ConfigError("Parquet is nothing for a terminal: send it on, or give --out a file")
    config = load_lake_config(arguments.config, environ, {"source.queues": arguments.queue} if arguments.queue else {})
    lake = open_lake(config, environ)
    if not lake.is_there():
        raise LakeError(f"{config.lake.path}: there is no lake; check lake.path, or run an export first")
    queue_ids = _queues(named_queues(config, lake) if arguments.queue else (), lake)
    copied = _Copy(lake, arguments.table, queue_ids, with_removed=arguments.all)
    if out is None:
        copied.enough = lambda: streams.is_gone
        written = copied.write(_Output(streams), kind, spreadsheet=arguments.spreadsheet)
    else:
        require_free(out, force=arguments.force, lake=config.lake.path)
        with new_file(out, force=arguments.force) as opened:
            written = copied.write(opened, kind, spreadsheet=arguments.spreadsheet)
    where = "to standard output" if out is None else f"into {out}"
    left_out = (
        f"; {counted(copied.left_out, 'removed row')} left out (--all copies them too)" if copied.left_out else ""
    )
    console = Console(streams.err, now=Clock().now, log_format=config.log.log_format)
    if out is None and streams.is_gone:  # which is told, or was wanted: `| head`
        return 0
    console.say(printable(f"{arguments.table}: {counted(written.rows, 'row')} copied {where}{left_out}"))
    if written.formulas and not arguments.spreadsheet:
        begin = "begins" if written.formulas == 1 else "begin"
        console.say(f"{counted(written.formulas, 'cell')} {begin} {_FORMULAS}")
    return 0


def _queues(named: Sequence[str], lake: Lake) -> Sequence[str]:
    """Return the named queues; where none is named, all of the lake. Raises ConfigError for one that it has not."""
    there = lake.queues_named()
    for queue_id in named:
        if queue_id not in there:
            raise ConfigError(f"the lake has nothing of {queue_id}: correct the id, or export it first")
    return named or there


def _target(arguments: argparse.Namespace) -> tuple[Path | None, Format]:
    """Return the file to write, None for standard output, and the format. Raises ConfigError."""
    out = None if arguments.out == "-" else Path(arguments.out)
    if out and out.exists() and not out.is_file():
        raise ConfigError(f"{out} is not a file: name one, or write - for standard output")
    kind: Format | None = arguments.format or (_SUFFIXES.get(out.suffix.lower()) if out else None)
    if kind is None:
        raise ConfigError(f"the format of {arguments.out} is not known: give --format {', '.join(FORMATS)}")
    if arguments.spreadsheet and kind != "csv":
        raise ConfigError(f"--spreadsheet is for CSV, and the format is {kind}: leave one of them out")
    return out, kind


class _Copy:
    """The rows of a table, to be written once; `left_out` counts the removed rows that are not copied.

    No more is read when `enough` says so.
    """

    def __init__(self, lake: Lake, table: str, queue_ids: Sequence[str], *, with_removed: bool) -> None:
        self.left_out = 0
        self.enough: Callable[[], bool] = lambda: False
        self._lake, self._table, self._queue_ids, self._with_removed = lake, lake.table(table), queue_ids, with_removed
        table_format = self._table.file_format
        named = [("queue_id", pa.string()), *([("queue_name", pa.string())] if table_format.partition else [])]
        dated = [(table_format.partition, pa.date32())] if table_format.partition else []
        columns = flat_schema(table_format.schema)
        self._names = columns.names
        self._schema = pa.schema(
            [*map(pa.field, *zip(*named, strict=True)), *columns, *(pa.field(*each) for each in dated)]
        )

    def write(self, sink: BinaryIO | io.RawIOBase, kind: Format, *, spreadsheet: bool) -> Written:
        """Write all rows; in memory is a batch of them at a time."""
        batches = (table for table, _ in row_groups(self._flat(), _BATCH_BYTES))
        return write_rows(batches, self._schema, sink, kind=kind, spreadsheet=spreadsheet)

    def _flat(self) -> Iterator[pa.Table]:
        for queue_id in self._queue_ids:
            about: dict[str, Any] = {"queue_id": queue_id}
            if "queue_name" in self._schema.names:
                about["queue_name"] = self._lake.queue_name(queue_id)
            for day, reader in self._table.readers(queue_id):
                if self._table.file_format.partition:
                    about[self._table.file_format.partition] = None if day == NO_DAY else date_of(day)
                for number in range(len(reader.row_groups)):
                    if self.enough():
                        return
                    yield self._with(about, flat(self._wanted(reader.row_group(number, self._names))))

    def _wanted(self, rows: pa.Table) -> pa.Table:
        if self._with_removed or _REMOVED_AT not in rows.column_names:
            return rows
        live = rows.filter(pc.is_null(rows.column(_REMOVED_AT)))
        self.left_out += rows.num_rows - live.num_rows
        return live

    def _with(self, about: Mapping[str, Any], rows: pa.Table) -> pa.Table:
        columns = [
            rows.column(field.name)
            if field.name not in about
            else pa.chunked_array([pa.repeat(pa.scalar(about[field.name], field.type), rows.num_rows)])
            for field in self._schema
        ]
        return pa.Table.from_arrays(columns, schema=self._schema)


class _Output(io.RawIOBase):
    """Standard output as bytes."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def writable(self) -> bool:
        """Tell what pyarrow asks first."""
        return True

    def write(self, data: Any) -> int:
        """Write all of it."""
        self._streams.pass_on(data)
        return memoryview(data).nbytes
