"""Where a lake lies, and what follows from it: its files, locks, scratch, and how its tables are arranged.

Owns the choice between the kinds. Everything else in `load` knows protocols only.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import random

import msgspec

from annolake.clock import Clock
from annolake.errors import ConfigError, LakeError
from annolake.load.storage.files import Files, Gate, Location, Locks
from annolake.load.storage.kinds import KINDS
from annolake.load.storage.local import LocalFiles, straight
from annolake.load.storage.locks import FileLocks
from annolake.load.storage.scratch import Scratch
from annolake.load.table.arrangement import Arrangement, arrangement_of
from annolake.load.table.file_format import FileFormat
from annolake.load.table.folders import PlainTable
from annolake.load.table.partitions import Table
from annolake.load.table.swapped import SwappedTable
from annolake.printable import is_utf8

OWN = "_annolake"


class DeltaSettings(msgspec.Struct, frozen=True):
    """How Delta tables are written: replaced files stay for `keep_s` seconds.

    `clock` and `random` (0 to 1) are for commits.
    """

    keep_s: int = 7 * 86400
    clock: Clock = msgspec.field(default_factory=Clock)
    random: Callable[[], float] = random


class Place(msgspec.Struct, frozen=True):
    """The place of a lake: `root` is where its tables lie.

    `announces`: an export holds a lock in the place as long as it runs, since its scratch is on another machine.
    `wanted` is how its tables are to be arranged, None: as they are, and as is `usual` in a new lake.
    `prove` finds out whether a lake can be made there, and leaves nothing.
    `options` returns what readers take as `storage_options` for the place, `delta_options` what deltalake takes.
    """

    root: Location
    files: Files
    locks: Locks
    scratch: Scratch
    prove: Callable[[], None]
    announces: bool = False
    wanted: Arrangement | None = None
    usual: Arrangement = "parquet"
    delta: DeltaSettings = msgspec.field(default_factory=DeltaSettings)
    options: Callable[[], Mapping[str, str]] = dict
    delta_options: Callable[[], Mapping[str, str]] = dict

    @property
    def record(self) -> Location:
        """Where it is recorded how the tables are arranged."""
        return self.root / OWN / "lake.json"

    def arrangement(self) -> Arrangement:
        """Return how the tables of the lake that is there are arranged, or will be; raises as `arrangement_of` does."""
        return arrangement_of(self.files, self.root, self.record, wanted=self.wanted, usual=self.usual)

    def table(self, file_format: FileFormat, arrangement: Arrangement) -> Table:
        """Return a table of the lake. Raises ConfigError where what writes Delta tables is not installed."""
        root, counts = self.root / file_format.table, self.root / OWN / "counts"
        if arrangement == "delta":
            return _delta_table(self, root, file_format)
        if isinstance(self.files, LocalFiles):
            return SwappedTable(self.files, Path(str(root)), file_format, Path(str(counts)))
        return PlainTable(self.files, root, file_format, counts)

    @contextmanager
    def announced(self, export_id: str, since: datetime) -> Iterator[None]:
        """Hold the lock that tells other machines that the export runs, where they could not see it otherwise."""
        if not self.announces:
            yield
            return
        for lease in self.leases("exports"):
            if self.locks.is_free(lease):
                self.files.remove(lease)
        mine = self.root / OWN / "exports" / export_id
        with self.locks.hold(mine, since=since):
            yield
        with suppress(LakeError):  # what can't be removed now is removed by the next export
            self.files.remove(mine)

    def leases(self, folder: str) -> list[Location]:
        """Return the locks in a folder of annolake's own, held or not; a store's clock is beside them."""
        return [
            self.root / OWN / folder / name for name in self.files.names(self.root / OWN / folder) if name[0] != "."
        ]

    def is_running(self, export_id: str) -> bool:
        """Tell whether the export of that id runs."""
        if self.announces:
            return not self.locks.is_free(self.root / OWN / "exports" / export_id)
        return self.scratch.is_running(export_id)


def on_disk(
    root: Path, *, files: LocalFiles | None = None, scratch: Path | None = None, wanted: Arrangement | None = None
) -> Place:
    """Return the place of a lake in a folder; spills go below the folder `scratch`, where one is given.

    There the lake has a folder of its own: whatever else is in `scratch` is not what a dead export left.
    """
    local = files or LocalFiles()
    own = scratch and scratch / _name_of(str(root.absolute()))

    def prove() -> None:
        for folder in (root, scratch):
            if folder:
                local.prove(folder)

    return Place(root, local, FileLocks(local), Scratch(local, root / OWN / "tmp", own), prove, wanted=wanted)


def open_place(
    address: Path | str,
    options: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    clock: Clock,
    scratch: Path | None = None,
    gate: Gate = straight,
) -> Place:
    """Return the place of a lake, a folder or an address; nothing of it is touched yet.

    `options` are those of an object store; credentials come from `environ`, a profile or the machine's role. `scratch`
    is the local folder for unfinished files, None the usual one. Raises ConfigError where an option or a folder does
    not fit, or where the client of a store is not installed.
    """
    _require_utf8("path", address)
    _require_utf8("scratch", scratch)
    if isinstance(address, Path):
        if scratch and Path(os.path.realpath(scratch)).is_relative_to(os.path.realpath(address)):
            raise ConfigError(f"lake.scratch: {scratch} is in the lake: name a folder elsewhere, or leave it empty")
        return on_disk(address, files=LocalFiles(gate), scratch=scratch)
    kind = KINDS[address.partition("://")[0]]
    if find_spec("obstore") is None:
        raise ConfigError(f'lake.path: for {kind.scheme}:// install its client: pip install "annolake[{kind.extra}]"')
    opened = import_module("annolake.load.storage.store_place").open_store(
        address, options, environ, clock=clock, gate=gate
    )
    return Place(
        opened.root,
        opened.files,
        opened.locks,
        _scratch_of(address, scratch, LocalFiles(gate)),
        opened.prove,
        announces=True,
        usual="delta",
        options=opened.options,
        delta_options=opened.delta_options,
    )


def _require_utf8(key: str, place: Path | str | None) -> None:
    whole = place.absolute() if isinstance(place, Path) else place
    if not is_utf8(str(whole)):
        raise ConfigError(f"lake.{key}: {whole} is not UTF-8, which readers of Parquet need: name another")


def _scratch_of(address: str, folder: Path | None, local: LocalFiles) -> Scratch:
    """Return the scratch of a lake in a store: each lake has its own, for what is left in it is told of that lake."""
    name = _name_of(address)
    if folder:
        return Scratch(local, folder / name)
    private = Path(tempfile.gettempdir()) / f"annolake-{os.getuid()}"
    return Scratch(local, private / name, private=private)


def _name_of(address: str) -> str:
    """Return what the folder of a lake is called among those of other lakes, and of whatever else."""
    return f"annolake-{hashlib.blake2b(address.encode(), digest_size=8).hexdigest()}"


def _delta_table(place: Place, root: Location, file_format: FileFormat) -> Table:
    if find_spec("deltalake") is None:
        raise ConfigError('lake.format: for "delta" install what writes it: pip install "annolake[delta]"')
    from annolake.load.table.delta import DeltaTable  # noqa: PLC0415 - an extra, and 36 MB
    from annolake.load.table.delta_entries import Retry  # noqa: PLC0415
    from annolake.load.table.delta_log import DeltaLog  # noqa: PLC0415

    settings = place.delta
    local = place.files if isinstance(place.files, LocalFiles) else None
    log = DeltaLog(
        place.files,
        root,
        file_format,
        address=str(root),
        options=place.delta_options,
        retry=Retry(settings.random, settings.clock.sleep),
        keep_s=settings.keep_s,
        flush=(lambda path: local.sync(Path(str(path)))) if local else None,
    )
    return DeltaTable(log, now=settings.clock.now)
