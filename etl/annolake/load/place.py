"""Where a lake lies, and what follows from it: its files, locks, scratch, and how its tables are arranged.

Owns the choice between the kinds. Everything else in `load` knows protocols only.
"""

from dataclasses import dataclass
from pathlib import Path

from annolake.load.storage.files import Files, Location, Locks
from annolake.load.storage.local import LocalFiles
from annolake.load.storage.locks import FileLocks
from annolake.load.storage.scratch import Scratch
from annolake.load.table.file_format import FileFormat
from annolake.load.table.folders import PlainTable
from annolake.load.table.partitions import Table
from annolake.load.table.swapped import SwappedTable

OWN = "_annolake"


@dataclass(frozen=True)
class Place:
    """The place of a lake: `root` is where its tables lie.

    `announces`: an export holds a lock in the place as long as it runs, since its scratch is on another machine.
    """

    root: Location
    files: Files
    locks: Locks
    scratch: Scratch
    announces: bool = False

    def table(self, file_format: FileFormat) -> Table:
        """Return a table of the lake."""
        root, counts = self.root / file_format.table, self.root / OWN / "counts"
        if isinstance(self.files, LocalFiles):
            return SwappedTable(self.files, Path(str(root)), file_format, Path(str(counts)))
        return PlainTable(self.files, root, file_format, counts)


def on_disk(root: Path, *, files: LocalFiles | None = None, scratch: Path | None = None) -> Place:
    """Return the place of a lake in a folder; spills go below the folder `scratch`, where one is given."""
    files = files or LocalFiles()
    return Place(root, files, FileLocks(files), Scratch(files, root / OWN / "tmp", scratch))
