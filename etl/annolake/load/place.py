"""Where a lake lies, and what follows from it: its files, locks, scratch, and how its tables are arranged.

Owns the choice between the kinds. Everything else in `load` knows protocols only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from random import random

from annolake.clock import Clock
from annolake.errors import ConfigError
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
class DeltaSettings:
    """How the tables of a lake are Delta tables: replaced files stay for `keep_s` seconds.

    `options` are what deltalake is given to reach the store; `clock` and `random` (0 to 1) are for commits.
    """

    keep_s: int = 7 * 86400
    clock: Clock = field(default_factory=Clock)
    random: Callable[[], float] = random
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """The place of a lake: `root` is where its tables lie.

    `announces`: an export holds a lock in the place as long as it runs, since its scratch is on another machine.
    `delta`: the tables are Delta tables; else plain folders.
    """

    root: Location
    files: Files
    locks: Locks
    scratch: Scratch
    announces: bool = False
    delta: DeltaSettings | None = None

    def table(self, file_format: FileFormat) -> Table:
        """Return a table of the lake. Raises ConfigError where what writes Delta tables is not installed."""
        root, counts = self.root / file_format.table, self.root / OWN / "counts"
        if self.delta is not None:
            return _delta_table(self.files, root, file_format, self.delta)
        if isinstance(self.files, LocalFiles):
            return SwappedTable(self.files, Path(str(root)), file_format, Path(str(counts)))
        return PlainTable(self.files, root, file_format, counts)


def on_disk(
    root: Path, *, files: LocalFiles | None = None, scratch: Path | None = None, delta: DeltaSettings | None = None
) -> Place:
    """Return the place of a lake in a folder; spills go below the folder `scratch`, where one is given."""
    files = files or LocalFiles()
    return Place(root, files, FileLocks(files), Scratch(files, root / OWN / "tmp", scratch), delta=delta)


def _delta_table(files: Files, root: Location, file_format: FileFormat, settings: DeltaSettings) -> Table:
    if find_spec("deltalake") is None:
        raise ConfigError('lake.format: for "delta" install what writes it: pip install "annolake[delta]"')
    from annolake.load.table.delta import DeltaTable  # noqa: PLC0415 - an extra, and 36 MB
    from annolake.load.table.delta_log import DeltaLog, Retry  # noqa: PLC0415

    local = files if isinstance(files, LocalFiles) else None
    log = DeltaLog(
        files,
        root,
        file_format,
        address=str(root),
        options=settings.options,
        retry=Retry(settings.random, settings.clock.sleep),
        keep_s=settings.keep_s,
        flush=(lambda path: local.sync(Path(str(path)))) if local else None,
    )
    return DeltaTable(log, now=settings.clock.now)
