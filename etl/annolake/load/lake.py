"""The lake as a whole: what lies where, who may write, and what is there (docs/lake.md#layout).

Owns the layout of `_annolake/`. Where that is, and how tables are arranged, is decided in `place`. Rows are read back
by `merge.read_back`, written by `merge.upsert`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import cached_property, partial
from types import MappingProxyType

import pyarrow as pa

from annolake.errors import LakeError, LockedError
from annolake.load.merge.read_back import ItemFacts, read_state
from annolake.load.merge.spill import BUFFER_BYTES, LEAST_BUFFER_BYTES, Spill
from annolake.load.merge.upsert import Upsert
from annolake.load.place import OWN, Place
from annolake.load.proofs import Proofs, read_proofs, write_proofs
from annolake.load.records import KeptReject, Rejects, Reports, read_rejects, reject_files
from annolake.load.storage.files import Hold, Location, Unlocked, look_again
from annolake.load.storage.scratch import Workspace
from annolake.load.table.arrangement import Arrangement, LakeRecord, recorded
from annolake.load.table.days import ALL_DAYS, microseconds, moment
from annolake.load.table.file_format import Contract, FileFormat, Mask
from annolake.load.table.partitions import Partitions, Remark, Table

_RUNS, _QUEUES = "runs", "queues"
_FOLDERS = ("reports", "rejected", "counts", "proofs", "locks")
_QUEUE_ID = "queue_id="
_ID = re.compile(r"[0-9A-Za-z-]+")


class Lake:
    """A lake of some `tables` in a place.

    Every method raises `LakeError`, with path and reason, where it fails. Besides `runs` and `queues`, which every lake
    has, a table comes with its first file. `formats` tells, by a table's name, how its files are written; stored
    rows of a table are read through its mask, where there is one.
    """

    def __init__(
        self,
        place: Place,
        *,
        tables: Iterable[Contract],
        hash_version: int,
        compression: str = "zstd",
        row_group_mb: int = 32,
        keep_reports: int = 500,
        masks: Mapping[str, Mask] = MappingProxyType({}),
    ) -> None:
        self.root, self.files = place.root, place.files
        made = partial(FileFormat.of, hash_version=hash_version, compression=compression, row_group_mb=row_group_mb)
        self.formats = {table.name: made(table, mask=masks.get(table.name)) for table in tables}
        self._place = place
        self._own = place.root / OWN
        self._holds: dict[str, Hold] = {}
        self.reports = Reports(self.files, self._own / "reports", keep=keep_reports)

    @cached_property
    def arrangement(self) -> Arrangement:
        """How the tables are arranged; looked up once. Raises ConfigError where the settings want it otherwise."""
        return self._place.arrangement()

    @cached_property
    def _tables(self) -> dict[str, Table]:
        return {name: self._place.table(each, self.arrangement) for name, each in self.formats.items()}

    def prepare(self) -> None:
        """Make the folders that are missing, where the place has folders, and prove that the scratch can be written."""
        for name in _FOLDERS:
            self.files.prepare(self._own / name)
        for name in (_RUNS, _QUEUES):
            self._tables[name].prepare()
        self._place.scratch.prepare()

    def prove(self) -> None:
        """Prove that the place can hold a lake; makes none."""
        if not self._place.announces and self.files.exists(self._own):  # a disk has one already
            self.prepare()
            return
        self._place.prove()
        if self._place.announces:
            self._place.scratch.prepare()
        self._tables  # noqa: B018 - what is there may be arranged otherwise, or what writes it be missing

    def is_there(self) -> bool:
        """Tell whether there is anything where the lake is to be."""
        return self.files.exists(self.root)

    @property
    def keyed(self) -> list[str]:
        """The tables that have rows by key, in partitions by date: all but `queues`."""
        return [name for name, file_format in self.formats.items() if file_format.key]

    def table(self, name: str) -> Table:
        """Return a table."""
        return self._tables[name]

    # --- who may write

    @contextmanager
    def lock(self, queue_id: str, *, since: datetime) -> Iterator[None]:
        """Hold a queue's lock; raises `LockedError` naming the holder where another export has it."""
        _require_id(queue_id)
        with self._place.locks.hold(self._own / "locks" / queue_id, since=since) as hold:
            if hold.holder is not None:
                message = f"queue {queue_id} is held by {hold.holder}: run again when it has ended"
                raise LockedError(message, holder=hold.holder)
            self._holds[queue_id] = hold
            try:
                yield
            finally:
                del self._holds[queue_id]

    @contextmanager
    def lock_erasures(self, *, since: datetime) -> Iterator[None]:
        """Hold the lock of what is remembered as erased; raises `LockedError` where another erasure has it."""
        with self._place.locks.hold(self._own / "locks" / "erasures", since=since) as hold:
            if hold.holder is not None:
                message = f"rows are being erased by {hold.holder}: run again when that has ended"
                raise LockedError(message, holder=hold.holder)
            yield

    def unlock(self, queue_id: str) -> Unlocked:
        """Take a queue's lock from whoever holds it; raises `LakeError` where that ends with its holder's process."""
        _require_id(queue_id)
        return self._place.locks.unlock(self._own / "locks" / queue_id)

    @contextmanager
    def workspace(self, export_id: str, *, since: datetime, name: str | None = None) -> Iterator[Workspace]:
        """Give an export its folder for unfinished files, gone afterwards, and remove those of dead exports.

        Queues of one export share the workspace. A worker, which exports one of them in a process of its own, has a
        workspace of its own `name`; the export counts as running while its driver's is held.
        """
        announced = nullcontext() if name else self._place.announced(export_id, since)
        with self._place.scratch.hold(export_id, since=since, name=name) as workspace, announced:
            if recorded(self.files, self._place.record) is None:
                self.files.prepare(self._own)
                workspace.put(self.files, self._place.record, LakeRecord(self.arrangement).as_json())
            yield workspace

    def litter(self) -> list[Location]:
        """Return what dead exports left unfinished on this machine."""
        return [*self._place.scratch.litter()]

    def is_running(self, export_id: str) -> bool:
        """Tell whether a process holds the workspace of that export."""
        return bool(_ID.fullmatch(export_id)) and self._place.is_running(export_id)

    # --- what is there

    def queues(self) -> list[str]:
        """Return the ids of the queues that the lake has something of."""
        self._refuse_strangers()
        return self.queues_named()

    def require_order(self) -> None:
        """Raise LakeError where readers of a plain table would fail by what lies in its folder.

        On a disk, where that is a listing of each; in a store it would be requests, and readers there go by patterns.
        """
        if self.arrangement == "parquet" and not self._place.announces:
            self._refuse_strangers()

    def _refuse_strangers(self) -> None:
        for path, what, _ in self.strangers():
            raise LakeError(f"cannot trust {path}: {what}")

    def queues_named(self) -> list[str]:
        """Return the same, whatever else is there."""
        return sorted({queue_id for table in self._tables.values() for queue_id in table.queue_ids()})

    def queues_noted(self) -> list[str]:
        """Return the ids of the queues that the lake has, or has notes of: counts of their files, or proofs."""
        notes = [name for folder in ("counts", "proofs") for name in self.files.names(self._own / folder)]
        noted = {name.partition(".")[0] for name in notes if name.endswith(".json")}
        return sorted({*self.queues_named(), *filter(_ID.fullmatch, noted)})

    def strangers(self) -> list[Remark]:
        """Return what lies in the tables' folders, is no queue's, and makes readers fail."""
        remarks = [remark for table in self._tables.values() for remark in table.remarks(None)]
        return [remark for remark in remarks if not remark.harmless]

    def rejected_queues(self) -> list[str]:
        """Return the ids of the queues that have a folder of rejects."""
        names = [name for name in self.files.names(self._own / "rejected") if name.startswith(_QUEUE_ID)]
        return [queue_id for name in names if _ID.fullmatch(queue_id := name.removeprefix(_QUEUE_ID))]

    def rejected(self, queue_id: str) -> Iterator[KeptReject]:
        """Yield the rejects of a queue, a table after the other; needs no lock."""
        for table in self.keyed:
            yield from read_rejects(self.files, self._rejected_folder(queue_id, table), table)

    def rejects_known(self, queue_id: str) -> int:
        """Return how many rejects the lake has of a queue; needs no lock."""
        return sum(len(reject_files(self.files, self._rejected_folder(queue_id, table))) for table in self.keyed)

    def _rejected_folder(self, queue_id: str, table: str) -> Location:
        folder = self._own / "rejected" / f"{_QUEUE_ID}{_require_id(queue_id)}"
        return folder if table == _RUNS else folder / table

    def queue_name(self, queue_id: str) -> str | None:
        """Return a queue's name from the table `queues`, None where there is none; needs no lock."""

        def look() -> str | None:
            with self._tables[_QUEUES].opened(queue_id, ALL_DAYS) as reader:
                names = reader.row_group(0, ["name"]).column("name").to_pylist() if reader and reader.row_groups else []
                return next(iter(names), None)

        return look_again(look)

    def proofs(self, queue_id: str) -> Proofs | None:
        """Return what earlier exports of a queue proved; None where that is not recorded, or can't be read."""
        return read_proofs(self.files, self._proofs_file(queue_id))

    def _proofs_file(self, queue_id: str) -> Location:
        return self._own / "proofs" / f"{_require_id(queue_id)}.json"

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
        aside = workspace.within(_named(queue_id, table))
        aside.make()
        partitions = self.partitions(queue_id, table, aside)
        state = read_state(partitions, items=items)
        spill = Spill(
            workspace.local,
            aside.spill / "spill.arrow",
            self.formats[table],
            budget=lambda: min(budget, max(budget - state.nbytes, LEAST_BUFFER_BYTES)),
        )
        stamp = max(microseconds(now), state.index.newest_export + 1)
        upsert = Upsert(partitions, state, spill, now=moment(stamp))
        try:
            yield upsert
        finally:
            upsert.close()
            with suppress(LakeError):  # else it goes with the workspace; the report and other queues may need the room
                aside.discard()

    def write_queue(self, queue_id: str, workspace: Workspace, record: pa.Table | None) -> bool:
        """Write the queue's own record, a table of one row, where its row_hash has changed; return whether it was.

        `record` is None where the service did not return one: a stored record stays, and where there is none a file
        without rows is written, where readers need one.
        """
        file_format = self.formats[_QUEUES]
        aside = workspace.within(f"{queue_id}.record")
        aside.make()
        partitions = self.partitions(queue_id, _QUEUES, aside)
        there: list[pa.Table] = []
        for _, reader in partitions.stored():
            there = [reader.row_group(number) for number in range(len(reader.row_groups))]
        part = partitions.parts.get(ALL_DAYS)
        stored = {value.as_py() for table in there for value in table.column("row_hash")}
        if record is not None and {value.as_py() for value in record.column("row_hash")} != stored:
            there = [record.select(file_format.schema.names).cast(file_format.schema)]
        elif part.footer.schema_version == file_format.version if part else not partitions.needs_file:
            return False
        partitions.publish(ALL_DAYS, there)
        partitions.finish({})
        return True

    def partitions(self, queue_id: str, table: str, aside: Workspace) -> Partitions:
        """Return the partitions of a queue in a table, built in that workspace; needs the queue's lock."""
        _require_id(queue_id)
        return self._tables[table].partitions(queue_id, aside, self._holds[queue_id])

    def write_proofs(self, queue_id: str, proofs: Proofs, workspace: Workspace) -> None:
        """Put what is proved of a queue in the place of what was; needs the queue's lock."""
        self._holds[queue_id].check()
        write_proofs(self.files, self._proofs_file(queue_id), proofs, workspace)

    def rejects(self, queue_id: str, workspace: Workspace, table: str = _RUNS) -> Rejects:
        """Return the rows of the queue in a table that were set aside; needs the queue's lock."""
        aside = workspace.within(f"{_named(queue_id, table)}.rejected")
        return Rejects(self.files, self._rejected_folder(queue_id, table), aside)

    @property
    def keep_s(self) -> int:
        """How long replaced files of a Delta table stay, in seconds."""
        return self._place.delta.keep_s

    def is_alone(self) -> bool:
        """Tell whether nobody exports a queue now."""
        return all(self._place.locks.is_free(lock) for lock in self._place.leases("locks"))


def _require_id(queue_id: str) -> str:
    """Return a queue's id. Raises LakeError where it could be the name of something else."""
    if not _ID.fullmatch(queue_id):
        raise LakeError(f"cannot store a queue with the id {queue_id!r}: a queue's id is a UUID")
    return queue_id


def _named(queue_id: str, table: str) -> str:
    """Return the name of what is a queue's in a table: of `runs` it is as it was before there were others."""
    return queue_id if table == _RUNS else f"{queue_id}.{table}"
