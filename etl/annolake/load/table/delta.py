"""A table as a Delta table: readers see what an export publishes of a queue wholly or not at all.

Owns what of a queue is added to and taken out of the log, in one commit at the end. Files have the names and folders of
a plain table; one that was replaced stays for readers of older versions, until the vacuum (docs/lake.md#delta).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime

import pyarrow as pa
from msgspec.structs import replace

from annolake.errors import LakeError
from annolake.load.storage.files import Hold, Location, MissingError, look_again
from annolake.load.storage.scratch import Workspace
from annolake.load.table.counts import Counts
from annolake.load.table.days import NO_DAY
from annolake.load.table.delta_entries import LiveFile, NewFile
from annolake.load.table.delta_log import NO_LOG, DeltaLog
from annolake.load.table.delta_statistics import statistics_of
from annolake.load.table.file_format import Footer
from annolake.load.table.folders import true_part
from annolake.load.table.part_file import Part, PartReader, prove, write_part
from annolake.load.table.partitions import Held, Remark
from annolake.load.table.strangers import PASSED_OVER, is_part, strangers

_QUEUE_FOLDER = "queue_id="
_LOG = "_delta_log"
_GONE = (
    "the table's log has it, and it is gone: restore it, or take it out of the log (deltalake's DeltaTable.repair), "
    "then run again"
)
_OTHERWISE = "the table's log says otherwise; the next export that changes the partition writes it anew"


class DeltaPartitions:
    """The partitions of a queue in a Delta table, while an export has the queue's lock."""

    whole = True
    needs_file = False
    mixes_versions = True

    def __init__(
        self, log: DeltaLog, queue_id: str, workspace: Workspace, hold: Hold, *, now: Callable[[], datetime]
    ) -> None:
        self.files, self.file_format = log.files, log.file_format
        self.parts: dict[int, Part] = {}
        self._log, self._queue_id, self._now = log, queue_id, now
        self._workspace, self._hold = workspace, hold
        self._there = log.queue(queue_id)
        self._added: dict[int, tuple[Part, NewFile]] = {}
        self._removed: list[tuple[int, LiveFile]] = []
        self._committing = False

    def stored(self) -> Iterator[tuple[int, PartReader]]:
        """Yield each day with its true file; where another program added one, it leaves with the commit."""
        for day, live in self._there.files.items():
            with ExitStack() as closing:
                reader, others = _true_of(self._log, live, closing)
                self._removed += [(day, file) for file in others]
                self.parts[day] = reader.part
                yield day, reader

    def publish(self, day: int, tables: Iterable[pa.Table]) -> Part:
        """Write the rows as the file of a day; readers see it when all is finished."""
        return self.put(day, self.build(day, tables))

    def build(self, day: int, tables: Iterable[pa.Table]) -> Part:
        """Write the rows as a file in the workspace."""
        replaced = self._proved(day)
        footer = self.file_format.footer(self._workspace.export_id, replaced.footer if replaced else None)
        return write_part(self._aside(day, footer), tables, file_format=self.file_format, footer=footer)

    def put(self, day: int, built: Part) -> Part:
        """Put a built file into the table's folder; readers see it when all is finished."""
        folder, aside = self._of(day), self._aside(day, built.footer)
        with PartReader(aside.local, built.path, self.file_format) as reader:
            statistics = statistics_of(reader, self.file_format)
        part = replace(built, path=folder / built.path.name)
        self._hold.check()
        if not self._added:
            self._log.create()  # before the first file is there, since files without a log are not trusted
        self.files.prepare(folder)
        self.files.put(aside.folder / built.path.name, part.path)
        self._take_out(day)
        below = f"{_QUEUE_FOLDER}{self._queue_id}/"
        below += f"{folder.name}/" if self.file_format.partition else ""
        self._added[day] = part, NewFile(below + part.path.name, part.size, statistics)
        self.parts[day] = part
        return part

    def discard(self, day: int, built: Part) -> None:
        """Remove a built file with its folder."""
        self._workspace.local.remove(self._aside(day, built.footer).folder)

    def _of(self, day: int) -> Location:
        return self.file_format.folder(self._log.folder / f"{_QUEUE_FOLDER}{self._queue_id}", day)

    def _aside(self, day: int, footer: Footer) -> Workspace:
        return self._workspace.within(f"{self._of(day).name}.{footer.generation}")

    def withdraw(self, day: int) -> None:
        """Take the file of a day out of the table; readers see that when all is finished."""
        self._proved(day)
        self._take_out(day)
        del self.parts[day]

    def _proved(self, day: int) -> Part | None:
        """Return the part of a day, found to be as it was written; None where there is none."""
        part = self.parts.get(day)
        if part is not None:
            prove(self.files, part.path)
        return part

    def _take_out(self, day: int) -> None:
        """Have a day's file go: one that the log never had is removed at once."""
        staged = self._added.pop(day, None)
        if staged is not None:
            with suppress(LakeError):  # else the vacuum takes it
                self.files.remove(staged[0].path)
            return
        name = self.parts[day].path.name if day in self.parts else None
        self._removed += [(day, file) for file in self._there.files.get(day, ()) if file.name.endswith(f"/{name}")]

    def finish(self, facts: Mapping[str, int]) -> None:
        """Commit what was published and withdrawn; nothing where that is nothing. Raises LockedError too."""
        if not self._added and not self._removed:
            return
        self._hold.check()
        self._flush_folders()
        self._committing = True
        new = {day: file for day, (_, file) in self._added.items()}
        about = {"export_id": self._workspace.export_id, "queue_id": self._queue_id, **facts}
        self._log.commit(self._queue_id, self._there, adds=new, removes=self._removed, facts=about, now=self._now())
        self._there = self._log.queue(self._queue_id)
        self._added, self._removed, self._committing = {}, [], False

    def _flush_folders(self) -> None:
        """Have the names of new folders last before the log names what is in them."""
        if self._log.flush is not None:
            self._log.flush(self._log.folder / f"{_QUEUE_FOLDER}{self._queue_id}")
            self._log.flush(self._log.folder)

    def close(self) -> None:
        """Remove what was published and never committed; where a commit may have landed, that is the vacuum's."""
        for part, _ in self._added.values() if not self._committing else ():
            with suppress(LakeError):
                self.files.remove(part.path)
        self._added = {}


class DeltaTable:
    """A table whose log tells what is in it, without a file being opened."""

    def __init__(self, log: DeltaLog, *, now: Callable[[], datetime]) -> None:
        self._log, self._now = log, now
        self.file_format = log.file_format

    def prepare(self) -> None:
        """Make the table: one without files answers too."""
        self._log.create()

    def queue_ids(self) -> list[str]:
        """Return the ids of the queues that the log has files of."""
        return self._log.queue_ids()

    def folder(self, queue_id: str) -> Location:
        """Return where the files of a queue lie."""
        return self._log.folder / f"{_QUEUE_FOLDER}{queue_id}"

    def remarks(self, queue_id: str | None) -> list[Remark]:
        """Return what readers of the log pass over: other programs' files, and a queue's that no kept version has."""
        if queue_id is None:
            names = self._log.files.names(self._log.folder)
            others = [name for name in names if name != _LOG and not name.startswith(_QUEUE_FOLDER)]
            lost = [Remark(self._log.folder, NO_LOG)] if _LOG not in names and len(others) < len(names) else []
            return lost + [Remark(self._log.folder / name, PASSED_OVER, harmless=True) for name in others]
        folder = self.folder(queue_id)
        old = sum(name.startswith(f"{folder.name}/") for name in self._log.unreferenced())
        what = f"{old} of its files are of no version that is kept; the vacuum at the end of an export removes them"
        found = [Remark(folder, what, harmless=True)] if old else []
        for name in self._log.files.names(folder):
            if self.file_format.partition and self.file_format.day_named(name) is not None:
                found += strangers(self._log.files, folder / name)
            elif not is_part(name):
                found.append(Remark(folder / name, PASSED_OVER, harmless=True))
        return found

    def compared(self, queue_id: str, counts: Counts, _versions: AbstractSet[int]) -> list[Remark]:
        """Return what the log has wrong of a queue's files; they can be of several schema versions."""
        live = [file for files in self._log.queue(queue_id).files.values() for file in files]
        found = {file.name.rpartition("/")[2]: (file, (file.rows, file.removed)) for file in live}
        return [
            Remark(
                self._log.folder / found[name][0].name, f"it has {rows} rows, {removed} of them removed: {_OTHERWISE}"
            )
            for name, (rows, removed) in counts.items()
            if name in found and found[name][1] != (rows, removed)
        ]

    def days(self, queue_id: str) -> list[int]:
        """Return the days that the log has files for."""
        return list(self._log.queue(queue_id).files)

    def paths(self, queue_id: str, day: int) -> list[Location]:
        """Return the files of a partition."""
        return [self._log.folder / file.name for file in self._log.queue(queue_id).files.get(day, ())]

    @contextmanager
    def opened(self, queue_id: str, day: int) -> Iterator[PartReader | None]:
        """Open the file of a partition, None where there is none."""
        live = self._log.queue(queue_id).files.get(day, ())
        with ExitStack() as closing:
            yield _true_of(self._log, live, closing)[0] if live else None

    def readers(self, queue_id: str) -> Iterator[tuple[int, PartReader]]:
        """Yield each day of a queue with its true file, open until the next one is asked for, of one version."""
        for day, live in self._log.queue(queue_id).files.items():
            with ExitStack() as closing:
                yield day, _true_of(self._log, live, closing)[0]

    def held(self, queue_id: str) -> Held:
        """Return what is held of a queue, as the log has it; the latest time is a file's, for the log rounds it up."""
        found = [(day, file) for day, files in self._log.queue(queue_id).files.items() for file in files]
        days = [day for day, file in found if day != NO_DAY and file.newest is not None]
        return Held(
            rows=sum(file.rows for _, file in found),
            removed=sum(file.removed for _, file in found),
            partitions=sum(file.rows > 0 for _, file in found),
            size=sum(file.size for _, file in found),
            newest=look_again(lambda: self._newest(queue_id, max(days))) if days else None,
        )

    def _newest(self, queue_id: str, day: int) -> datetime | None:
        with self.opened(queue_id, day) as reader:
            return max(reader.largest(self.file_format.time), default=None) if reader else None

    def partitions(self, queue_id: str, workspace: Workspace, hold: Hold) -> DeltaPartitions:
        """Return the partitions of a queue, to one that has its lock."""
        return DeltaPartitions(self._log, queue_id, workspace, hold, now=self._now)

    def purge(self, queue_id: str, *, concerned: Callable[[PartReader], bool]) -> int:
        """Remove the concerned files of a queue that only older versions of the table have; return how many."""
        old = [self._log.folder / name for name in self._log.old_files(queue_id)]
        found = [path for path in old if self._is_concerned(path, concerned)]
        self._log.files.remove_all(found)
        return len(found)

    def _is_concerned(self, path: Location, concerned: Callable[[PartReader], bool]) -> bool:
        try:
            with PartReader(self._log.files, path, self.file_format) as reader:
                return concerned(reader)
        except LakeError:  # nobody can tell what it holds
            return True

    def vacuum(self, *, alone: Callable[[], bool]) -> int:
        """Remove what no version that is kept has; return how many files."""
        return self._log.vacuum(alone=alone)


def _true_of(log: DeltaLog, live: Sequence[LiveFile], closing: ExitStack) -> tuple[PartReader, list[LiveFile]]:
    """Open the files of a partition; return the true one, and those that are not, which nothing of ours leaves."""
    readers = [closing.enter_context(_reader(log, log.folder / file.name)) for file in live]
    for reader in readers if len(readers) > 1 else ():
        prove(log.files, reader.part.path)  # all of them, for their generations decide
    true = true_part(reader.part for reader in readers)
    place = next(place for place, reader in enumerate(readers) if reader.part is true)
    return readers[place], [file for number, file in enumerate(live) if number != place]


def _reader(log: DeltaLog, path: Location) -> PartReader:
    try:
        return PartReader(log.files, path, log.file_format)
    except MissingError:
        raise MissingError(f"cannot read {path}: {_GONE}") from None
