"""Where the tests' Delta tables lie, and an export of one queue into one of them, day by day."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable as Delta

from annolake.contract import TABLES
from annolake.load.storage.files import Files, Gate, Location
from annolake.load.storage.kinds import S3
from annolake.load.storage.local import LocalFiles, straight
from annolake.load.storage.locks import FileHold
from annolake.load.storage.objects import ObjectFiles
from annolake.load.storage.scratch import Workspace
from annolake.load.table.days import day_from
from annolake.load.table.delta import DeltaPartitions, DeltaTable
from annolake.load.table.delta_entries import Retry
from annolake.load.table.delta_log import DeltaLog
from annolake.load.table.file_format import FileFormat
from load.model_queue import QUEUE, Row, batch
from load.storage.buckets import bucket_of, fresh_folder
from object_store import ObjectStore

NOW = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - deltalake's vacuum asks the system
DAY = day_from(NOW.date())
FORMATS = {table.name: FileFormat.of(table, hash_version=1, compression="zstd", row_group_mb=32) for table in TABLES}


@dataclass
class Site:
    """A place for tables: `make_files` takes a gate."""

    root: Location
    make_files: Callable[[Gate], Files]
    scratch: Path
    options: dict[str, str] = field(default_factory=dict)

    def log(
        self,
        table: str = "runs",
        *,
        gate: Gate = straight,
        file_format: FileFormat | None = None,
        keep_s: int = 604800,
        random: Callable[[], float] = lambda: uuid.uuid4().int / 2**128,
        sleep: Callable[[float], None] = lambda _: None,
    ) -> DeltaLog:
        """Return a handle of its own on a table, as another process has it."""
        files = self.make_files(gate)
        return DeltaLog(
            files,
            self.root / table,
            file_format or FORMATS[table],
            address=str(self.root / table),
            options=lambda: self.options,
            retry=Retry(random, sleep),
            keep_s=keep_s,
            flush=(lambda path: files.sync(Path(str(path)))) if isinstance(files, LocalFiles) else None,
        )

    def partitions(
        self, log: DeltaLog, queue_id: str = QUEUE, *, export_id: str = "", now: datetime = NOW
    ) -> DeltaPartitions:
        """Return the partitions of a queue, read back."""
        name = export_id or uuid.uuid4().hex
        local = LocalFiles()
        workspace = Workspace(name, self.scratch / name, self.scratch / name, local)
        workspace.make()
        table = DeltaTable(log, now=lambda: now)
        partitions = table.partitions(queue_id, workspace, FileHold(None))
        for _ in partitions.stored():
            pass
        return partitions

    def export(self, log: DeltaLog, days: Mapping[int, Iterable[Row]], queue_id: str = QUEUE, **facts: Any) -> None:
        """Publish rows as the days' files, and commit them; a day without rows is withdrawn."""
        partitions = self.partitions(log, queue_id, **facts)
        for day, rows in days.items():
            put(partitions, day, list(rows))
        partitions.finish({})
        partitions.close()

    def delta(self, table: str = "runs") -> Delta:
        """Return the table as anybody's deltalake opens it."""
        return Delta(str(self.root / table), storage_options=self.options or None)

    def scan(self, table: str = "runs") -> pl.LazyFrame:
        """Return the table as polars scans it."""
        return pl.scan_delta(str(self.root / table), storage_options=self.options or None)

    def data_files(self, table: str = "runs") -> set[str]:
        """Return the names of all data files that lie below the table's folder."""
        files = self.make_files(straight)
        return {name for name in _below(files, self.root / table) if name.endswith(".parquet")}

    def live_names(self, table: str = "runs") -> set[str]:
        """Return the names of the files that the log has."""
        return {uri.rpartition("/")[2] for uri in self.delta(table).file_uris()}


def _below(files: Files, folder: Location) -> Iterable[str]:
    for name in files.names(folder):
        if name.startswith((".", "_delta_log")):
            continue
        if name.endswith(".parquet"):
            yield name
        else:
            yield from _below(files, folder / name)


def disk(folder: Path) -> Site:
    """Return a place on the disk."""
    folder.mkdir()
    return Site(folder / "lake", LocalFiles, folder / "scratch")


def store(there: ObjectStore, scratch: Path, *, endpoint: str | None = None, user: str = "writer") -> Site:
    """Return a place in an object store."""
    bucket = bucket_of(there, user, endpoint=endpoint)
    options = there.environ(user, endpoint=endpoint)
    return Site(fresh_folder(there), lambda gate: ObjectFiles(bucket, S3, gate), scratch, options)


def put(partitions: DeltaPartitions, day: int, rows: list[Row]) -> None:
    """Publish rows as a day's file, or its end."""
    if rows:
        partitions.publish(day, [pa.Table.from_batches([batch(rows)])])
    else:
        partitions.withdraw(day)


def at(day: int, number: int = 0) -> datetime:
    """Return a moment of a day."""
    return datetime(1970, 1, 1, 8, tzinfo=UTC) + timedelta(days=day, microseconds=number)
