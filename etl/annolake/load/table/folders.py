"""A table as plain folders: `<table>/queue_id=<id>/<partition>=<day>/`, with the one file of each partition.

Owns the layout, which of two files is true, and how one takes the place of another where nothing but files can be put
and removed (docs/lake.md#partitions). Knows no rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import NamedTuple

import pyarrow as pa
from msgspec.structs import replace

from annolake.errors import LakeError, LockedError
from annolake.load.storage.files import Files, Hold, Location, look_again
from annolake.load.storage.scratch import Workspace
from annolake.load.table.counts import Counts, all_counts, counts_of, keep_counts, wrong_counts
from annolake.load.table.days import ALL_DAYS, NO_DAY
from annolake.load.table.file_format import FileFormat, Footer
from annolake.load.table.lost_files import lost_files
from annolake.load.table.part_file import Part, PartReader, prove, write_part
from annolake.load.table.partitions import Held, Partitions, Remark
from annolake.load.table.strangers import is_part, others, part_names, passed_over

_QUEUE_ID = "queue_id="


def true_part(parts: Iterable[Part]) -> Part | None:
    """Return the latest file: a kill without exchange can leave two."""
    ordered = sorted(parts, key=lambda part: part.footer.age)
    if len(ordered) > 1 and ordered[-1].footer.age == ordered[-2].footer.age:
        one, other = ordered[-2].path, ordered[-1].path
        raise LakeError(f"cannot tell which of {one} and {other} is the true one: move one away, then run again")
    return ordered[-1] if ordered else None


class PlainPartitions:
    """The partitions of a queue, in a place where files can be put and removed: the new one comes, the old one goes.

    A reader in between meets both, of which the later is true; so does the next export after a kill.
    """

    whole = False
    needs_file = True
    mixes_versions = False

    def __init__(self, table: "PlainTable", queue_id: str, workspace: Workspace, hold: Hold) -> None:
        self.files, self.file_format = table.files, table.file_format
        self.parts: dict[int, Part] = {}
        self._folder = table.folder(queue_id)
        self._counts = table.counts_file(queue_id)
        self._workspace, self._hold = workspace, hold
        self._days = table.only_days(queue_id)

    def stored(self) -> Iterator[tuple[int, PartReader]]:
        """Yield each day with its true file, and remove others that a kill left."""
        for day in self._days:
            with ExitStack() as closing:
                folder = self._of(day)
                readers = [
                    closing.enter_context(PartReader(self.files, folder / name, self.file_format))
                    for name in part_names(self.files, folder)
                ]
                true = self._only_true([reader.part for reader in readers])
                if true is not None:
                    self.parts[day] = true
                    yield day, next(reader for reader in readers if reader.part is true)

    def _only_true(self, parts: list[Part]) -> Part | None:
        true = true_part(parts)
        for part in parts if len(parts) > 1 else ():
            prove(self.files, part.path)  # all of them, for their generations decide
        for part in parts:
            if part is not true:
                self.files.remove(part.path)
        return true

    def publish(self, day: int, tables: Iterable[pa.Table]) -> Part:
        """Write the rows as the one file of a day's folder, in the place of the one that is there."""
        return self.put(day, self.build(day, tables))

    def build(self, day: int, tables: Iterable[pa.Table]) -> Part:
        """Write the rows as a file in the workspace."""
        replaced = self.parts.get(day)
        if replaced:
            prove(self.files, replaced.path)
        footer = self.file_format.footer(
            self._workspace.export_id, replaced.footer if replaced else None, lease=self._hold.generation
        )
        return write_part(self._aside(day, footer), tables, file_format=self.file_format, footer=footer)

    def put(self, day: int, built: Part) -> Part:
        """Have a built file take the place of the one file of a day's folder.

        Where this raises, nothing was published, or both files are there and the next export keeps the later one.
        """
        replaced, target = self.parts.get(day), self._of(day)
        self._check(target, replaced)
        self._replace(self._aside(day, built.footer), built, target, replaced)
        self.parts[day] = part = replace(built, path=target / built.path.name)
        return part

    def discard(self, day: int, built: Part) -> None:
        """Remove a built file with its folder."""
        self._workspace.local.remove(self._aside(day, built.footer).folder)

    def withdraw(self, day: int) -> None:
        """Take the file of a day out of the table."""
        replaced, target = self.parts.pop(day), self._of(day)
        prove(self.files, replaced.path)
        self._check(target, replaced)
        self.files.remove(self._counts)  # until `close`: else a kill leaves a count of a file that nothing stands for
        self._remove(target, replaced)

    def finish(self, facts: Mapping[str, int]) -> None:
        """Nothing is left to do: each file was seen when it was put."""

    def close(self) -> None:
        """Keep the counts of what is there, unless the lock has passed to another, who knows better."""
        with suppress(LockedError):
            self._hold.check()
            keep_counts(self.files, self._counts, counts_of(self.parts.values()), self._workspace)

    def _of(self, day: int) -> Location:
        return self.file_format.folder(self._folder, day)

    def _aside(self, day: int, footer: Footer) -> Workspace:
        return self._workspace.within(f"{self._of(day).name}.{footer.generation}")

    def _check(self, target: Location, replaced: Part | None) -> None:
        """Raise LakeError or LockedError where another export was here meanwhile."""
        self._hold.check()
        if part_names(self.files, target) != ([replaced.path.name] if replaced else []):
            raise LakeError(f"cannot replace {target}: another export replaced it meanwhile; do locks work there?")

    def _replace(self, aside: Workspace, built: Part, target: Location, replaced: Part | None) -> None:
        """Put the built part in the place of the replaced one."""
        self.files.put(aside.folder / built.path.name, target / built.path.name)
        self._step_back(built, target)
        if replaced:
            self.files.remove(replaced.path)

    def _step_back(self, built: Part, target: Location) -> None:
        """Raise `LockedError` where the lock passed on while a file was put; it goes where a later holder's is there.

        Where none is, it is the true one by now, and whoever has the lock reads it.
        """
        try:
            self._hold.check()
        except LockedError:
            with suppress(LakeError), ExitStack() as closing:  # else the next export removes it
                paths = [target / name for name in part_names(self.files, target)]
                found = [closing.enter_context(PartReader(self.files, path, self.file_format)) for path in paths]
                if any(reader.part.footer.age > built.footer.age for reader in found):
                    self.files.remove(target / built.path.name)
            raise

    def _remove(self, _target: Location, replaced: Part) -> None:
        self.files.remove(replaced.path)


class _Look(NamedTuple):
    """The figures of one partition at one moment."""

    rows: int = 0
    removed: int = 0
    size: int = 0


class PlainTable:
    """A table whose folder `root` tells all there is to know of it; counts of its files are kept in another folder."""

    def __init__(self, files: Files, root: Location, file_format: FileFormat, counts_folder: Location) -> None:
        self.files, self.root, self.file_format = files, root, file_format
        self._counts_folder = counts_folder
        self._counts: dict[str, tuple[int, int]] | None = None

    def prepare(self) -> None:
        """Make the table's folder."""
        self.files.prepare(self.root)

    def folder(self, queue_id: str) -> Location:
        """Return the folder of a queue."""
        return self.root / f"{_QUEUE_ID}{queue_id}"

    def counts_file(self, queue_id: str) -> Location:
        """Return the file with the counts of a queue's parts: of `runs` it has no more than the queue's name."""
        table = self.file_format.table
        return self._counts_folder / (f"{queue_id}.json" if table == "runs" else f"{queue_id}.{table}.json")

    def queue_ids(self) -> list[str]:
        """Return the ids of the queues that have a folder."""
        names = self.files.names(self.root)
        return [name.removeprefix(_QUEUE_ID) for name in names if name.startswith(_QUEUE_ID)]

    def remarks(self, queue_id: str | None) -> list[Remark]:
        """Return what lies where it does not belong: in the table's folder, or in that of a queue and below it."""
        if queue_id is None:
            return list(others(self.files, self.root, _QUEUE_ID, fits=lambda name: name.startswith(_QUEUE_ID)))
        folder = self.folder(queue_id)
        if not self.file_format.partition:
            return list(passed_over(self.files, folder))
        found = list(self._strangers(folder))
        for day in self.days(queue_id):
            found += passed_over(self.files, self.file_format.folder(folder, day))
        return found

    def days(self, queue_id: str) -> list[int]:
        """Return the days that a queue has folders for, whatever else is there."""
        folder = self.folder(queue_id)
        if not self.file_format.partition:
            return [ALL_DAYS] if self.files.exists(folder) else []
        days = (self.file_format.day_named(name) for name in self.files.names(folder))
        return [day for day in days if day is not None]

    def only_days(self, queue_id: str) -> list[int]:
        """Return the same. Raises LakeError where something else is there."""
        for path, what, harmless in self._strangers(self.folder(queue_id)) if self.file_format.partition else ():
            if not harmless:
                raise LakeError(f"cannot trust {path}: {what}")
        return self.days(queue_id)

    def _strangers(self, folder: Location) -> Iterator[Remark]:
        file_format = self.file_format
        fits = lambda name: file_format.day_named(name) is not None  # noqa: E731
        return others(self.files, folder, f"{file_format.partition}=", fits=fits)

    def paths(self, queue_id: str, day: int) -> list[Location]:
        """Return the files of a partition."""
        folder = self.file_format.folder(self.folder(queue_id), day)
        return [folder / name for name in part_names(self.files, folder)]

    @contextmanager
    def opened(self, queue_id: str, day: int) -> Iterator[PartReader | None]:
        """Open the file of a partition, the true one of two; None where there is none. Heals nothing."""
        with ExitStack() as closing:
            paths = self.paths(queue_id, day)
            readers = [closing.enter_context(PartReader(self.files, path, self.file_format)) for path in paths]
            true = true_part(reader.part for reader in readers)
            yield next((reader for reader in readers if reader.part is true), None)

    def readers(self, queue_id: str) -> Iterator[tuple[int, PartReader]]:
        """Yield each day of a queue with its true file, open until the next one is asked for."""
        for day in self.days(queue_id):
            with ExitStack() as closing:
                reader = look_again(partial(closing.enter_context, self.opened(queue_id, day)))
                if reader is not None:
                    yield day, reader

    def held(self, queue_id: str) -> Held:
        """Return what is held of a queue, by the counts that are kept, else by the footers.

        A file that lies in many places is opened once: its name is its content. One that a running export replaces
        while it is looked at is looked for again, so that the figures of a partition are of one moment.
        """
        if self._counts is None:
            self._counts = all_counts(self.files, self._counts_folder)
        found = {day: look_again(partial(self._look, queue_id, day)) for day in self.only_days(queue_id)}
        newest = None
        for day in sorted((day for day, look in found.items() if day != NO_DAY and look.rows), reverse=True):
            found[day], newest = look_again(partial(self._newest, queue_id, day))  # a row is in its day's partition
            if newest is not None:
                break
        looks = found.values()
        return Held(
            rows=sum(look.rows for look in looks),
            removed=sum(look.removed for look in looks),
            partitions=sum(look.rows > 0 for look in looks),
            size=sum(look.size for look in looks),
            newest=newest,
        )

    def _look(self, queue_id: str, day: int) -> _Look:
        """Return the figures of a partition: by the counts, else by the footer, which is then counted too."""
        counts, paths = self._counts or {}, self.paths(queue_id, day)
        if len(paths) == 1 and paths[0].name in counts:
            return _Look(*counts[paths[0].name], self.files.size(paths[0]))
        return self._newest(queue_id, day)[0]

    def _newest(self, queue_id: str, day: int) -> tuple[_Look, datetime | None]:
        """Return the figures of a partition by its footer, and its latest time."""
        with self.opened(queue_id, day) as reader:
            if reader is None:
                return _Look(), None
            part = reader.part
            if self._counts is not None:
                self._counts[part.path.name] = part.rows, part.removed
            return _Look(part.rows, part.removed, part.size), max(reader.largest(self.file_format.time), default=None)

    def compared(self, queue_id: str, counts: Counts, versions: AbstractSet[int]) -> list[Remark]:
        """Return what is wrong with a queue as a whole, given what its files have."""
        folder, kept = self.folder(queue_id), self.counts_file(queue_id)
        lost = lost_files(
            self.files, kept, partial(self._parts_there, queue_id), file_format=self.file_format, read=counts
        )
        found = [Remark(kept, what) for what in (*wrong_counts(self.files, kept, counts), *lost)]
        if len(versions) > 1:
            what = "its files are of several schema versions; the next export rewrites the older ones"
            found.append(Remark(folder, what))
        return found

    def _parts_there(self, queue_id: str) -> list[Location]:
        """Return the files of a queue, whatever else is there."""
        folders = [self.file_format.folder(self.folder(queue_id), day) for day in self.days(queue_id)]
        return [folder / name for folder in folders for name in self.files.names(folder) if is_part(name)]

    def partitions(self, queue_id: str, workspace: Workspace, hold: Hold) -> Partitions:
        """Return the partitions of a queue, to one that has its lock."""
        return PlainPartitions(self, queue_id, workspace, hold)

    def purge(self, queue_id: str, *, concerned: Callable[[PartReader], bool]) -> int:  # noqa: ARG002 - as `vacuum`
        """Do nothing: there are no older versions."""
        return 0

    def vacuum(self, *, alone: Callable[[], bool]) -> int:  # noqa: ARG002 - nothing stays that was replaced
        """Do nothing: what was replaced is gone already."""
        return 0
