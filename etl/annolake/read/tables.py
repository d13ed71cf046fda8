"""Where the tables of a lake lie, for whoever reads them, and each as a frame of polars.

Owns which files are read: of two in a partition the true one, and of none the declared columns without rows. Files of
older schema versions have null where they lack a column.
"""

import inspect
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from annolake.clock import Clock
from annolake.contract import TABLES, Table
from annolake.errors import ConfigError, LakeError
from annolake.load.place import OWN, Place, open_place
from annolake.load.storage.files import Location, look_again
from annolake.load.table.arrangement import Arrangement
from annolake.load.table.file_format import FileFormat
from annolake.load.table.folders import true_part
from annolake.load.table.part_file import PartReader
from annolake.load.table.strangers import is_part
from annolake.read.catalogue import polars_schema

_QUEUE = "queue_id"
_DAY = timedelta(days=1)
_TABLES = {table.name: table for table in TABLES}

# The bounds of a column in each file, so that a file is opened only if it must be: polars itself gives them of Delta.
_STATISTICS = "_table_statistics" in inspect.signature(pl.scan_parquet).parameters


class LakeTables(msgspec.Struct, frozen=True, dict=True):
    """The tables of the lake in a place."""

    place: Place
    arrangement: Arrangement

    @property
    def is_on_disk(self) -> bool:
        """Whether the lake is in a folder."""
        return isinstance(self.place.root, Path)

    @property
    def root(self) -> Location:
        """Where the lake lies: an absolute path, or an address."""
        root = self.place.root
        return root.absolute() if isinstance(root, Path) else root

    def folder(self, name: str) -> Location:
        """Return where a table lies."""
        return self.root / name

    def files(self, name: str) -> list[Location]:
        """Return the files of a plain table, one for each partition. Raises LakeError where one can't be read."""
        return look_again(lambda: self._files(name))

    def _files(self, name: str) -> list[Location]:
        found = [path for path in self.place.files.below(self.folder(name)) if is_part(path.name)]
        found.sort(key=str)
        partitions = (list(paths) for _, paths in groupby(found, key=lambda path: str(path.parent)))
        return [paths[0] if len(paths) == 1 else self._true(name, paths) for paths in partitions]

    def _true(self, name: str, paths: list[Location]) -> Location:
        """Return the latest of several files in a partition, which a running export or a dead one can leave."""
        file_format = FileFormat.of(_TABLES[name], hash_version=1, compression="zstd", row_group_mb=1)
        with ExitStack() as closing:
            parts = [closing.enter_context(PartReader(self.place.files, path, file_format)).part for path in paths]
            true = true_part(parts)
        return true.path if true else paths[-1]

    def has_log(self, name: str) -> bool:
        """Tell whether there is a Delta table of that name yet."""
        return self.place.files.exists(self.folder(name) / "_delta_log")

    def frame(self, name: str) -> pl.LazyFrame:
        """Return a table: the contract's columns and those of its partitions, null where a file lacks one."""
        table = _TABLES[name]
        files = self._logged(table) if self.arrangement == "delta" else self.files(name)
        return self._scan(table, files) if files else pl.LazyFrame(schema=self.schema(table))

    def schema(self, table: Table) -> pl.Schema:
        """Return a table's columns and those of its partitions."""
        return pl.Schema({**polars_schema(table.schema), **self._partitions(table)})

    def _partitions(self, table: Table) -> dict[str, Any]:
        return {_QUEUE: pl.String, **({table.partition: pl.Date} if table.partition else {})}

    def _scan(self, table: Table, files: list[Location]) -> pl.LazyFrame:
        above = {part.partition("=")[0]: pl.String for part in str(self.folder(table.name)).split("/") if "=" in part}
        more: dict[str, Any] = {"_table_statistics": _bounds(table, files)} if table.partition and _STATISTICS else {}
        scanned: pl.LazyFrame = pl.scan_parquet(
            [str(file) for file in files],
            glob=False,
            schema=polars_schema(table.schema),
            hive_partitioning=True,
            hive_schema=above | self._partitions(table),
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=pl.ScanCastOptions(integer_cast="upcast"),
            storage_options=self._options,
            **more,
        )
        return scanned.select(self.schema(table).names())

    def _logged(self, table: Table) -> list[Location]:
        """Return the files of a Delta table, as the newest version of its log has them."""
        if find_spec("deltalake") is None:
            raise ConfigError('the lake has Delta tables: install what reads them: pip install "annolake[delta]"')
        from annolake.load.table.delta_table import DeltaHandle  # noqa: PLC0415 - an extra, and 36 MB

        folder = self.folder(table.name)
        handle = DeltaHandle(
            self.place.files,
            folder,
            address=str(folder),
            options=self.place.delta_options,
            table_schema=table.schema,
            partition_by=list(self._partitions(table)),
            flush=None,
        )
        if not handle.refresh():
            return []
        return [folder / path for path in sorted(handle.actions().column("path").to_pylist())]

    @cached_property
    def _options(self) -> dict[str, str] | None:
        return None if self.is_on_disk else dict(self.place.options())


def _bounds(table: Table, files: list[Location]) -> pl.DataFrame:
    """Return what polars can know of each file unopened: a partition's rows have their times within its day."""
    days = [_day_of(file.parent.name) for file in files]
    utc, count = pl.Datetime("us", "UTC"), pl.UInt32
    first = pl.Series([day and datetime.combine(day, time(), UTC) for day in days], dtype=utc)
    return pl.DataFrame(
        {
            "len": pl.Series([None] * len(files), dtype=count),
            f"{table.time}_nc": pl.Series([None if day is None else 0 for day in days], dtype=count),
            f"{table.time}_min": first,
            f"{table.time}_max": first + (_DAY - timedelta(microseconds=1)),
        }
    )


def _day_of(folder: str) -> date | None:
    try:
        return date.fromisoformat(folder.rpartition("=")[2])
    except ValueError:  # rows without a time
        return None


def open_tables(
    address: Path | str, options: Mapping[str, str], environ: Mapping[str, str], *, clock: Clock
) -> LakeTables:
    """Return the tables of a lake. Raises LakeError where there is none, ConfigError as `open_place` does."""
    place = open_place(address, options, environ, clock=clock)
    if not any(place.files.exists(place.root / name) for name in (OWN, "runs")):
        raise LakeError(f"{address}: there is no lake; check the path, or run an export first")
    return LakeTables(place, place.arrangement())
