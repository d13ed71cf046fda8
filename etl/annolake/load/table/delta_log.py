"""What the log of a Delta table says of each queue, and the commit of an export, by our own hand.

Owns the proof that a commit replaces what was read, and knows a commit whose answer was lost (docs/lake.md#delta): a
transaction version for each queue, of a counter and of random bits that name the attempt. Opens no data file.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import Any

import pyarrow as pa

from annolake import arrow_compute as pc
from annolake.errors import LakeError, LockedError
from annolake.load.storage.files import Files, Location
from annolake.load.table.days import ALL_DAYS, NO_DAY, date_of, day_from
from annolake.load.table.delta_entries import LiveFile, NewFile, QueueFiles, Retry
from annolake.load.table.delta_statistics import statistics_columns
from annolake.load.table.delta_table import DeltaHandle, Entry, OvertakenError, UncertainError
from annolake.load.table.file_format import FileFormat
from annolake.load.table.part_file import REMOVED_AT

QUEUE_ID = "queue_id"
_MOST_OVERTAKEN, _MOST_FAILURES = 30, 3
_CHECKPOINT_EVERY = 20  # commits
_LOG_KEPT = 30 * 86400  # seconds
_WHOLE_DAY = 86400
_ATTEMPT_BITS = 20
NO_LOG = "its log, the folder _delta_log, is gone: restore it, or move the table away, then run again"
_FOREIGN = "another program put it into the table's log; restore the version of the table before, then run again"
_REFUSED = "its properties or protocol, which another program changed, do not allow it; undo that, then run again"
_OWN_FILE = re.compile(r"queue_id=[0-9A-Za-z-]+/([a-z_]+=[0-9A-Za-z_-]+/)?part-[0-9a-f]+\.parquet")


class DeltaLog:
    """The log of the table in `folder`, shared by all queues of an export and by their threads.

    `address` and what `options` returns are what deltalake is given; they are asked for again and again, since
    credentials can be temporary. `flush` makes a file or folder last, None where the place does by itself. Replaced
    files stay for `keep_s` seconds. Every method raises LakeError where it fails.
    """

    def __init__(
        self,
        files: Files,
        folder: Location,
        file_format: FileFormat,
        *,
        address: str,
        retry: Retry,
        keep_s: int,
        options: Callable[[], Mapping[str, str]] = dict,
        flush: Callable[[Location], None] | None = None,
    ) -> None:
        self.files, self.folder, self.file_format, self.flush = files, folder, file_format, flush
        self._retry, self._keep_s = retry, keep_s
        self._handle = DeltaHandle(
            files,
            folder,
            address=address,
            options=options,
            table_schema=_table_schema(file_format),
            partition_by=[QUEUE_ID, *filter(None, [file_format.partition])],
            flush=flush,
        )
        self._lock = Lock()
        self._found: tuple[int, pa.Table] | None = None

    # --- what is there

    def queue_ids(self) -> list[str]:
        """Return the queues that the table has files of, sorted."""
        with self._lock:
            actions = self._actions() if self._handle.refresh() else None
        found = [] if actions is None else pc.unique(actions.column(f"partition.{QUEUE_ID}")).to_pylist()
        if None in found:
            raise LakeError(f"cannot trust {self.folder}: a file of no queue is in its log: {_FOREIGN}")
        return sorted(found)

    def queue(self, queue_id: str) -> QueueFiles:
        """Return what the newest version of the log has of a queue; nothing where there is no table."""
        with self._lock:
            return self._queue(queue_id) if self._handle.refresh() else QueueFiles(0, {})

    def _queue(self, queue_id: str) -> QueueFiles:
        """Return what the version that was read last has of a queue."""
        actions, base = self._actions(), self._base(queue_id)
        found: dict[int, list[LiveFile]] = {}
        for action in actions.filter(pc.equal(actions.column(f"partition.{QUEUE_ID}"), queue_id)).to_pylist():
            found.setdefault(self._day(action), []).append(self._live(action))
        return QueueFiles(base, dict(sorted(found.items())))

    def _actions(self) -> pa.Table:
        """Return the live files of the version that was read last."""
        if self._found is None or self._found[0] != self._handle.version:
            self._found = self._handle.version, self._handle.actions()
        return self._found[1]

    def _base(self, queue_id: str) -> int:
        return self._handle.transaction(_app(queue_id)) or 0

    def _day(self, action: Mapping[str, Any]) -> int:
        if not self.file_format.partition:
            return ALL_DAYS
        when = action[f"partition.{self.file_format.partition}"]
        return NO_DAY if when is None else day_from(when)

    def _live(self, action: Mapping[str, Any]) -> LiveFile:
        rows, staying = action["num_records"], action.get(f"null_count.{REMOVED_AT}")
        if rows is None or not _OWN_FILE.fullmatch(action["path"]):
            raise LakeError(f"cannot trust {self.folder / action['path']}: {_FOREIGN}")
        removed = 0 if staying is None else rows - staying
        return LiveFile(action["path"], rows, removed, action["size_bytes"], action.get(f"max.{self.file_format.time}"))

    # --- what an export changes

    def create(self) -> None:
        """Make the table where there is none. Raises LakeError where there are files that only a log can tell of."""
        with self._lock:
            if self._handle.refresh():
                return
            if any(name.startswith(f"{QUEUE_ID}=") for name in self.files.names(self.folder)):
                raise LakeError(f"cannot trust {self.folder}: {NO_LOG}")
            self._handle.create(self._configuration())

    def commit(
        self,
        queue_id: str,
        there: QueueFiles,
        *,
        adds: Mapping[int, NewFile],
        removes: Sequence[tuple[int, LiveFile]],
        facts: Mapping[str, object],
        now: datetime,
    ) -> int:
        """Add and remove files of a queue, by day, in one version of the table; return the queue's next base.

        Raises `LockedError`, with nothing changed, where the queue's base is no longer that of `there`: another export
        was first; LakeError where its files are others, which another program did. `facts` are kept as the version's
        `userMetadata`, in JSON.
        """
        attempt = int(self._retry.random() * (1 << _ATTEMPT_BITS))
        mine = ((there.base >> _ATTEMPT_BITS) + 1) << _ATTEMPT_BITS | attempt
        added = [Entry(new.name, new.size, self._values(queue_id, day), new.statistics) for day, new in adds.items()]
        removed = [Entry(old.name, old.size, self._values(queue_id, day)) for day, old in removes]

        def write() -> None:
            moment = int(now.timestamp() * 1000)
            self._handle.write(
                added, removed, app=_app(queue_id), number=mine, moment_ms=moment, note=json.dumps(facts)
            )

        with self._lock:
            self._until_landed(queue_id, there, mine, write)
            self._handle.flush()
        return mine

    def _until_landed(self, queue_id: str, there: QueueFiles, mine: int, write: Callable[[], None]) -> None:
        """Write, and look whether it landed: what the log says counts, whatever was reported."""
        overtaken = 0
        failures: list[LakeError] = []
        while not self._landed(queue_id, there, mine):
            if len(failures) > _MOST_FAILURES:
                raise failures[-1]
            if overtaken == _MOST_OVERTAKEN:
                raise LakeError(f"cannot commit to {self.folder}: others did {overtaken} times in between; run again")
            version = self._handle.version
            try:
                self._handle.grow()
                write()
            except OvertakenError:
                if self._handle.refresh() and self._handle.version > version:
                    overtaken += 1
                else:
                    failures.append(LakeError(f"cannot commit to {self.folder}: {_REFUSED}"))
            except UncertainError as exc:
                failures.append(exc.error)
            else:
                continue
            self._retry.wait(overtaken + len(failures) - 1)

    def _landed(self, queue_id: str, there: QueueFiles, mine: int) -> bool:
        """Look at the newest version: whether it has the transaction `mine`; raises where what is `there` is not."""
        if not self._handle.refresh():
            raise LakeError(f"cannot commit to {self.folder}: {NO_LOG}")
        now = self._queue(queue_id)
        if now.base not in (there.base, mine):
            raise LockedError(
                f"queue {queue_id} was exported by another export meanwhile, and {self.folder} has what that one read: "
                "nothing of this one was added to it; run again"
            )
        if now.base != mine and now.names != there.names:
            raise LakeError(
                f"cannot commit to {self.folder}: another program changed the files of queue {queue_id} meanwhile; "
                "run again"
            )
        return now.base == mine

    def vacuum(self, *, alone: Callable[[], bool]) -> int:
        """Remove files that no reader can need any more, and what crashed exports uploaded; return how many.

        An upload that is younger than a day can be that of a running export: it stays unless this one is `alone`,
        which is asked after all files were listed. What was uploaded and committed in between is in the log.
        """
        with self._lock:
            if not self._handle.refresh():
                return 0
            with suppress(OvertakenError):  # the next vacuum has them
                self._handle.configure(self._retention())
        found = self.unreferenced()
        if self._keep_s < _WHOLE_DAY and not alone():
            found &= self._unreferenced(uploads=False)
        with self._lock:
            self._handle.refresh()
            found -= set(self._actions().column("path").to_pylist())
        self.files.remove_all([self.folder / name for name in sorted(found)])
        return len(found)

    def old_files(self, queue_id: str) -> list[str]:
        """Return the files of a queue, below the table's folder, that the newest version does not have."""
        with self._lock:
            if not self._handle.refresh():
                return []
            live = self._queue(queue_id).names
        below = f"{QUEUE_ID}={queue_id}"
        there = [f"{below}/{name}" for name in self.files.names(self.folder / below)]
        if self.file_format.partition:
            there = [f"{day}/{name}" for day in there for name in self._names_in(day)]
        return [name for name in there if _OWN_FILE.fullmatch(name) and name not in live]

    def _names_in(self, folder: str) -> list[str]:
        """Return what is in the folder of a day, none where it is another program's file."""
        is_day = self.file_format.day_named(folder.rpartition("/")[2]) is not None
        return self.files.names(self.folder / folder) if is_day else []

    def unreferenced(self) -> set[str]:
        """Return the files, below the table's folder, that no version of the last `keep_s` seconds has.

        Those that no version ever had are among them if they are as old, and files of other programs are not.
        """
        return self._unreferenced(uploads=True)

    def _unreferenced(self, *, uploads: bool) -> set[str]:
        with self._lock:
            found = self._handle.unreferenced(uploads=uploads) if self._handle.refresh() else []
        mine = {name for name in found if _OWN_FILE.fullmatch(name)}
        return {name for name in mine if self.files.exists(self.folder / name)}  # the log remembers removed ones

    def _configuration(self) -> dict[str, str]:
        return {
            "delta.dataSkippingStatsColumns": ",".join(statistics_columns(self.file_format)),
            "delta.checkpointInterval": str(_CHECKPOINT_EVERY),
            **self._retention(),
        }

    def _retention(self) -> dict[str, str]:
        return {
            "delta.deletedFileRetentionDuration": f"interval {self._keep_s} seconds",
            "delta.logRetentionDuration": f"interval {max(self._keep_s, _LOG_KEPT)} seconds",
        }

    def _values(self, queue_id: str, day: int) -> dict[str, str | None]:
        values: dict[str, str | None] = {QUEUE_ID: queue_id}
        if self.file_format.partition:
            values[self.file_format.partition] = None if day == NO_DAY else date_of(day).isoformat()
        return values


def _table_schema(file_format: FileFormat) -> pa.Schema:
    """Return the table's schema; any column may be null, for a file of another schema version can lack it."""
    columns = [pa.field(field.name, field.type) for field in file_format.schema]
    columns.append(pa.field(QUEUE_ID, pa.string()))
    columns += [pa.field(file_format.partition, pa.date32())] if file_format.partition else []
    return pa.schema(columns)


def _app(queue_id: str) -> str:
    return f"annolake/{queue_id}"
