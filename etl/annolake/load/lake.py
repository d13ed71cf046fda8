"""The lake as a whole: where things lie, who may write, and what is there (docs/lake.md#layout).

Owns the layout, the locks and workspaces. Rows are read back by `merge.read_back`, written by `merge.upsert`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from annolake.errors import LakeError, LockedError
from annolake.load.counts import counts_of, keep_counts
from annolake.load.merge.read_back import ItemFacts, read_state, true_reader
from annolake.load.merge.spill import BUFFER_BYTES, LEAST_BUFFER_BYTES, Spill
from annolake.load.merge.upsert import Upsert
from annolake.load.records import KeptReject, Rejects, Reports, read_rejects, reject_files
from annolake.load.storage.local import Store, look_again
from annolake.load.storage.locks import hold, is_free
from annolake.load.table.days import microseconds, moment
from annolake.load.table.file_format import Contract, FileFormat
from annolake.load.table.folders import Publisher, opened

_LOCK = ".lock"
_RUNS, _QUEUES = "runs", "queues"
_OWN = [f"_annolake/{name}" for name in ("reports", "rejected", "counts", "proofs", "tmp", "locks")]
_QUEUE_ID = "queue_id="
_ID = re.compile(r"[0-9A-Za-z-]+")


@dataclass(frozen=True)
class Workspace:
    """The folder of one export under `_annolake/tmp`; whatever is written is begun here."""

    export_id: str
    folder: Path


class Lake:
    """A lake of some `tables` in the folder `root`; `formats` tells, by a table's name, how its files are written.

    Every method raises `LakeError`, with path and reason, where it fails. Besides `runs` and `queues`, which every lake
    has, a table's folder comes with its first file.
    """

    def __init__(
        self,
        root: Path,
        *,
        tables: Iterable[Contract],
        hash_version: int,
        compression: str = "zstd",
        row_group_mb: int = 32,
        keep_reports: int = 500,
        store: Store | None = None,
    ) -> None:
        self.root = root
        self.store = store or Store()
        self.formats = {
            table.name: FileFormat.of(
                table, hash_version=hash_version, compression=compression, row_group_mb=row_group_mb
            )
            for table in tables
        }
        self._own = root / "_annolake"
        self.counts_folder = self._own / "counts"
        self.reports = Reports(self.store, self._own / "reports", keep=keep_reports)

    def prepare(self) -> None:
        """Make the folders that are missing and prove that they can be written to."""
        for folder in (*_OWN, _RUNS, _QUEUES):
            self.store.make_folder(self.root / folder)
        probe = self._own / "tmp" / f"probe-{os.getpid()}"
        self.store.write(probe, b"")
        self.store.discard(probe)

    @property
    def keyed(self) -> list[str]:
        """The tables that have rows by key, in partitions by date: all but `queues`."""
        return [name for name, file_format in self.formats.items() if file_format.key]

    def folder(self, queue_id: str, table: str) -> Path:
        """Return the folder of a queue in a table."""
        return self.root / table / _queue_folder(queue_id)

    def runs_folder(self, queue_id: str) -> Path:
        """Return the folder of a queue's partitions in the table `runs`."""
        return self.folder(queue_id, _RUNS)

    def queue_folder(self, queue_id: str) -> Path:
        """Return the folder of a queue's row in the table `queues`."""
        return self.folder(queue_id, _QUEUES)

    def counts_file(self, queue_id: str, table: str = _RUNS) -> Path:
        """Return the file with the counts of a queue's parts in a table, which can be missing."""
        _queue_folder(queue_id)
        return self.counts_folder / f"{_named(queue_id, table)}.json"

    def proofs_file(self, queue_id: str) -> Path:
        """Return the file of what earlier exports of a queue proved, which can be missing."""
        _queue_folder(queue_id)
        return self._own / "proofs" / f"{queue_id}.json"

    # --- who may write

    @contextmanager
    def lock(self, queue_id: str, *, since: datetime) -> Iterator[None]:
        """Hold a queue's lock; raises `LockedError` naming the holder where another export has it."""
        _queue_folder(queue_id)
        with hold(self.store, self._own / "locks" / queue_id, since=since) as holder:
            if holder is not None:
                raise LockedError(f"queue {queue_id} is being exported by {holder}: run again when it has ended")
            yield

    @contextmanager
    def workspace(self, export_id: str, *, since: datetime) -> Iterator[Workspace]:
        """Give an export its folder for unfinished files, gone afterwards, and remove those of dead exports.

        Each export has its own `export_id`; queues of one export share the workspace.
        """
        folder = self._own / "tmp" / export_id
        with hold(self.store, folder.with_name(export_id + _LOCK), since=since, wait=True):
            self._sweep(export_id, since)
            self.store.make_folder(folder)
            try:
                yield Workspace(export_id, folder)
            finally:
                self._discard(export_id)

    def litter(self) -> list[Path]:
        """Return what dead exports left under `_annolake/tmp`."""
        tmp = self._own / "tmp"
        return [tmp / name for name in self._exports() if is_free(self.store, tmp / (name + _LOCK))]

    def is_running(self, export_id: str) -> bool:
        """Tell whether a process holds the workspace of that export."""
        return bool(_ID.fullmatch(export_id)) and not is_free(self.store, self._own / "tmp" / (export_id + _LOCK))

    def _exports(self) -> list[str]:
        return sorted({name.removesuffix(_LOCK) for name in self.store.names(self._own / "tmp")})

    def _sweep(self, living: str, since: datetime) -> None:
        for export_id in self._exports():
            if export_id != living:
                with hold(self.store, self._own / "tmp" / (export_id + _LOCK), since=since) as holder:
                    if holder is None:
                        self._discard(export_id)

    def _discard(self, export_id: str) -> None:
        """Remove an export's folder, then its lock, which is held: a folder without a lock counts as dead."""
        with suppress(LakeError):  # what can't be removed now is removed by the next export
            self.store.discard(self._own / "tmp" / export_id)
            self.store.discard(self._own / "tmp" / (export_id + _LOCK))

    # --- what is there

    def queues(self) -> list[str]:
        """Return the ids of the queues that the lake has something of."""
        for path in self.strangers():
            raise LakeError(f"cannot trust {path}: only queue_id=... belongs there; move it away")
        return self.queues_named()

    def queues_named(self) -> list[str]:
        """Return the same, whatever else is there."""
        return sorted({path.name.removeprefix(_QUEUE_ID) for path in self._tables() if path.name.startswith(_QUEUE_ID)})

    def strangers(self) -> list[Path]:
        """Return what lies in the tables' folders and is no queue's."""
        return [path for path in self._tables() if not path.name.startswith(_QUEUE_ID)]

    def _tables(self) -> list[Path]:
        return [self.root / table / name for table in self.formats for name in self.store.names(self.root / table)]

    def rejected_queues(self) -> list[str]:
        """Return the ids of the queues that have a folder of rejects."""
        names = [name for name in self.store.names(self._own / "rejected") if name.startswith(_QUEUE_ID)]
        return [queue_id for name in names if _ID.fullmatch(queue_id := name.removeprefix(_QUEUE_ID))]

    def rejected(self, queue_id: str) -> Iterator[KeptReject]:
        """Yield the rejects of a queue, a table after the other; needs no lock."""
        for table in self.keyed:
            yield from read_rejects(self.store, self._rejected_folder(queue_id, table), table)

    def rejects_known(self, queue_id: str) -> int:
        """Return how many rejects the lake has of a queue; needs no lock."""
        return sum(len(reject_files(self.store, self._rejected_folder(queue_id, table))) for table in self.keyed)

    def _rejected_folder(self, queue_id: str, table: str) -> Path:
        folder = self._own / "rejected" / _queue_folder(queue_id)
        return folder if table == _RUNS else folder / table

    def queue_name(self, queue_id: str) -> str | None:
        """Return a queue's name from the table `queues`, None where there is none; needs no lock."""

        def look() -> str | None:
            with opened(self.store, self.queue_folder(queue_id), self.formats[_QUEUES]) as reader:
                names = reader.row_group(0, ["name"]).column("name").to_pylist() if reader and reader.row_groups else []
                return next(iter(names), None)

        return look_again(look)

    # --- what an export does

    @contextmanager
    def upsert(
        self,
        queue_id: str,
        workspace: Workspace,
        *,
        now: datetime,
        table: str = _RUNS,
        budget: int = BUFFER_BYTES,
        items: ItemFacts | None = None,
    ) -> Iterator[Upsert]:
        """Read a queue's state in a table and give what lands its rows; needs the queue's lock.

        `items`: over that endpoint. Of one queue there can be an upsert for each table at a time. `budget` bounds the
        rows that wait in memory together with the index, in bytes, though some rows always may.
        What is written is stamped with `now`, or just after the latest stamp in the lake where the clock went back:
        the later of two versions is the true one.
        """
        target, file_format = self.folder(queue_id, table), self.formats[table]
        state = read_state(self.store, target, file_format, items=items)
        aside = workspace.folder / _named(queue_id, table)
        self.store.make_folder(aside)
        spill = Spill(
            self.store,
            aside / "spill.arrow",
            file_format,
            budget=lambda: min(budget, max(budget - state.nbytes, LEAST_BUFFER_BYTES)),
        )
        publisher = Publisher(self.store, aside, workspace.export_id, file_format)
        stamp = max(microseconds(now), state.index.newest_export + 1)
        upsert = Upsert(target, state, spill, publisher, now=moment(stamp))
        try:
            yield upsert
        finally:
            upsert.close()
            keep_counts(self.store, self.counts_file(queue_id, table), counts_of(state.parts.values()), aside=aside)
            with suppress(LakeError):  # else it goes with the workspace; the report and other queues may need the room
                self.store.discard(aside)

    def write_queue(self, queue_id: str, workspace: Workspace, record: pa.Table | None) -> bool:
        """Write the queue's own record, a table of one row, where its row_hash has changed; return whether it was.

        `record` is None where the service did not return one: a stored record stays, and where there is none a file
        without rows is written.
        """
        target, file_format = self.queue_folder(queue_id), self.formats[_QUEUES]
        publisher = Publisher(self.store, workspace.folder / f"{queue_id}.record", workspace.export_id, file_format)
        with ExitStack() as closing:
            reader = true_reader(self.store, closing, target, file_format)
            there = [] if reader is None else [reader.row_group(number) for number in range(len(reader.row_groups))]
            part = reader.part if reader else None
        stored = {value.as_py() for table in there for value in table.column("row_hash")}
        if record is not None and {value.as_py() for value in record.column("row_hash")} != stored:
            there = [record.select(file_format.schema.names).cast(file_format.schema)]
        elif part is not None and part.footer.schema_version == file_format.version:
            return False
        publisher.publish(target, there, replaced=part)
        return True

    def rejects(self, queue_id: str, workspace: Workspace, table: str = _RUNS) -> Rejects:
        """Return the rows of the queue in a table that were set aside; needs the queue's lock."""
        aside = workspace.folder / f"{_named(queue_id, table)}.rejected"
        return Rejects(self.store, self._rejected_folder(queue_id, table), aside)

    def write_report(self, report: Mapping[str, Any], workspace: Workspace) -> Path:
        """Write the export's report; return its path."""
        return self.reports.write(report, workspace.folder)


def _queue_folder(queue_id: str) -> str:
    if not _ID.fullmatch(queue_id):
        raise LakeError(f"cannot store a queue with the id {queue_id!r}: a queue's id is a UUID")
    return _QUEUE_ID + queue_id


def _named(queue_id: str, table: str) -> str:
    """Return the name of what is a queue's in a table: of `runs` it is as it was before there were others."""
    return queue_id if table == _RUNS else f"{queue_id}.{table}"
