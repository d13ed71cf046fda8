"""The folders of a table's partitions: what lies there, which file is true, how one replaces another.

Owns the layout below `<table>/queue_id=<id>/` and the exchange of folders (docs/lake.md#partitions). Knows no rows.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.storage.local import Store
from annolake.load.table.file_format import FileFormat
from annolake.load.table.part_file import NAME_END, NAME_START, Part, PartReader, prove, write_part

_PART = re.compile(f"{NAME_START}[0-9a-f]+{re.escape(NAME_END)}")


def part_names(store: Store, folder: Path) -> list[str]:
    """Return the names of the files in a partition folder; what is no part of annolake's is left alone."""
    names = store.names(folder)
    for name in names:
        if not _PART.fullmatch(name):
            raise LakeError(f"cannot trust {folder / name}: only part-*.parquet belongs there; move it away")
    return names


def days_there(store: Store, folder: Path, file_format: FileFormat) -> list[int]:
    """Return the days that a queue's folder has partitions for."""
    days = [(name, file_format.day_named(name)) for name in store.names(folder)]
    for name, day in days:
        if day is None:
            only = f"only {file_format.partition}=... belongs there"
            raise LakeError(f"cannot trust {folder / name}: {only}; move it away")
    return [day for _, day in days if day is not None]


def true_part(parts: Iterable[Part]) -> Part | None:
    """Return the file of the highest generation: a kill without exchange can leave two."""
    ordered = sorted(parts, key=lambda part: part.footer.generation)
    if len(ordered) > 1 and ordered[-1].footer.generation == ordered[-2].footer.generation:
        one, other = ordered[-2].path, ordered[-1].path
        raise LakeError(f"cannot tell which of {one} and {other} is the true one: move one away, then run again")
    return ordered[-1] if ordered else None


@contextmanager
def opened(store: Store, folder: Path, file_format: FileFormat) -> Iterator[PartReader | None]:
    """Open the file of a partition, the true one of two; None where there is none. Needs no lock, heals nothing."""
    with ExitStack() as closing:
        readers = [
            closing.enter_context(PartReader(store, folder / name, file_format)) for name in part_names(store, folder)
        ]
        true = true_part(reader.part for reader in readers)
        yield next((reader for reader in readers if reader.part is true), None)


@dataclass(frozen=True)
class Publisher:
    """Puts new files in the place of old ones; `aside` is the queue's own folder in the workspace."""

    store: Store
    aside: Path
    export_id: str
    file_format: FileFormat

    def publish(self, target: Path, tables: Iterable[pa.Table], *, replaced: Part | None) -> Part:
        """Write the rows as the one file of the folder `target`, in the place of `replaced`.

        Whoever reads sees the folder before or after. Where this raises, nothing was published, or (without
        exchange) both files are there and the next export keeps the later one. No row is taken from `tables` before
        the old file was found to be as it was written: what bit rot made of it would get a new checksum.
        """
        if replaced:
            prove(self.store, replaced.path)
        footer = self.file_format.footer(self.export_id, replaced.footer.generation + 1 if replaced else 1)
        folder = self.aside / f"{target.name}.{footer.generation}"
        built = write_part(self.store, folder, tables, file_format=self.file_format, footer=footer)
        self._check(target, replaced)
        if not self._swapped(folder, target, built.path.name):
            self._in_then_out(built.path, target)
        if replaced:
            self.store.sync(target.parent)  # before the old file goes; a new folder waits for the end
        self._tidy(folder)
        return replace(built, path=target / built.path.name)

    def withdraw(self, target: Path, *, replaced: Part) -> None:
        """Take the folder `target` out of the table: none of its rows is true there any more."""
        folder = self.aside / f"{target.name}.{replaced.footer.generation}.old"
        prove(self.store, replaced.path)
        self._check(target, replaced)
        self.store.make_folder(self.aside)
        try:
            self.store.move(target, folder)
        except LakeError:
            if self.store.exists(target):  # an error can come after the deed, so look
                raise
        self.store.sync(target.parent)
        self._tidy(folder)

    def _check(self, target: Path, replaced: Part | None) -> None:
        if part_names(self.store, target) != ([replaced.path.name] if replaced else []):
            raise LakeError(f"cannot replace {target}: another export replaced it meanwhile; do locks work there?")

    def _swapped(self, folder: Path, target: Path, name: str) -> bool:
        try:
            if self.store.exists(target):
                return self.store.exchange(folder, target)
            self.store.make_folder(target.parent)
            self.store.move(folder, target)
        except LakeError:
            if name not in self.store.names(target):  # an error can come after the deed, so look
                raise
        return True

    def _in_then_out(self, built: Path, target: Path) -> None:
        """Replace file by file, where folders can't be exchanged: a reader in between meets both."""
        new = target / built.name
        try:
            self.store.move(built, new)
        except LakeError:
            if not self.store.exists(new):
                raise
        self.store.sync(target)
        for name in part_names(self.store, target):
            if name != new.name:
                self.store.discard(target / name)

    def _tidy(self, folder: Path) -> None:
        with suppress(LakeError):  # what is left there goes with the workspace
            self.store.discard(folder)
