"""A table as plain folders on a disk, where the new folder of a partition takes the place of the old one at once.

Owns the exchange of folders (docs/lake.md#partitions), and what is flushed when.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from annolake.errors import LakeError
from annolake.load.storage.files import Hold, Location
from annolake.load.storage.local import LocalFiles
from annolake.load.storage.scratch import Workspace
from annolake.load.table.file_format import FileFormat
from annolake.load.table.folders import PlainPartitions, PlainTable
from annolake.load.table.part_file import Part
from annolake.load.table.strangers import part_names


class SwappedPartitions(PlainPartitions):
    """The partitions of a queue on a disk: whoever reads sees each before or after.

    Where the system can't exchange folders, files come and go one after the other, as elsewhere.
    """

    def __init__(self, files: LocalFiles, table: PlainTable, queue_id: str, workspace: Workspace, hold: Hold) -> None:
        super().__init__(table, queue_id, workspace, hold)
        self._local, self._disk_folder = files, Path(str(table.folder(queue_id)))

    def finish(self, facts: Mapping[str, int]) -> None:  # noqa: ARG002 - there is no log to tell them
        """Flush the names of new partitions."""
        self._local.sync(self._disk_folder)

    def _replace(self, aside: Workspace, built: Part, target: Location, replaced: Part | None) -> None:
        folder, there = aside.folder, Path(str(target))
        if not self._swap(folder, there, built.path.name):
            self._in_then_out(folder / built.path.name, there)
        if replaced:
            self._local.sync(there.parent)  # before the old file goes; a new folder waits for the end
        self._tidy(folder)

    def _remove(self, target: Location, replaced: Part) -> None:
        there = Path(str(target))
        folder = self._workspace.folder / f"{there.name}.{replaced.footer.generation}.old"
        self._local.make_folder(folder.parent)
        try:
            self._local.move(there, folder)
        except LakeError:
            if self._local.exists(there):  # an error can come after the deed, so look
                raise
        self._local.sync(there.parent)
        self._tidy(folder)

    def _swap(self, folder: Path, target: Path, name: str) -> bool:
        try:
            if self._local.exists(target):
                return self._local.exchange(folder, target)
            self._local.make_folder(target.parent)
            self._local.move(folder, target)
        except LakeError:
            if name not in self._local.names(target):  # an error can come after the deed, so look
                raise
        return True

    def _in_then_out(self, built: Path, target: Path) -> None:
        """Replace file by file: a reader in between meets both."""
        new = target / built.name
        try:
            self._local.move(built, new)
        except LakeError:
            if not self._local.exists(new):
                raise
        self._local.sync(target)
        for name in part_names(self._local, target):
            if name != new.name:
                self._local.remove(target / name)

    def _tidy(self, folder: Path) -> None:
        with suppress(LakeError):  # what is left there goes with the workspace
            self._local.remove(folder)


class SwappedTable(PlainTable):
    """A table in a folder of a disk."""

    def __init__(self, files: LocalFiles, root: Path, file_format: FileFormat, counts_folder: Path) -> None:
        super().__init__(files, root, file_format, counts_folder)
        self._local = files

    def partitions(self, queue_id: str, workspace: Workspace, hold: Hold) -> SwappedPartitions:
        """Return the partitions of a queue, to one that has its lock."""
        return SwappedPartitions(self._local, self, queue_id, workspace, hold)
