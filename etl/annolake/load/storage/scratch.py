"""Where an export keeps what is unfinished: a local folder of its own, gone when it ends.

Owns the folders, one an export, and the locks that tell living exports from dead ones. What a dead one left is removed
by the next.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from annolake.errors import LakeError
from annolake.load.storage.files import Files, Location
from annolake.load.storage.local import LocalFiles
from annolake.load.storage.locks import hold, is_free

_LOCK = ".lock"
_OTHERS = 0o077  # the rights of everybody but the owner
_ID = re.compile(r"[0-9A-Za-z-]+")


class Workspace(msgspec.Struct, frozen=True):
    """The folder of one export, or one within it: what is published is first a whole file here.

    `spill` is the folder for what is never published.
    """

    export_id: str
    folder: Path
    spill: Path
    local: LocalFiles

    def within(self, name: str) -> "Workspace":
        """Return a part of the workspace, whose folders may not be there yet."""
        return replace(self, folder=self.folder / name, spill=self.spill / name)

    def make(self) -> None:
        """Make the folders."""
        self.local.make_folder(self.folder)
        self.local.make_folder(self.spill)

    def discard(self) -> None:
        """Remove the folders with all that is in them."""
        self.local.remove(self.folder)
        self.local.remove(self.spill)

    def put(self, files: Files, target: Location, content: bytes, *, flush: bool = True) -> None:
        """Put a small file in the place of `target`, by way of the workspace."""
        beside = self.folder / f"{target.parent.name}-{target.name}"
        self.local.write(beside, content)
        files.put(beside, target, flush=flush)


class Scratch:
    """The workspaces below a local folder; spills are below another one where `spill` is given.

    `private` is a folder above them that nobody else may look into, or have made before: in one that all users share.
    """

    def __init__(
        self, local: LocalFiles, folder: Path, spill: Path | None = None, *, private: Path | None = None
    ) -> None:
        self._local, self._folder, self._spill = local, folder, spill or folder
        self._private = private

    def prepare(self) -> None:
        """Make the folders, and prove that they can be written to."""
        if self._private:
            self._make_private(self._private)
        for folder in dict.fromkeys((self._folder, self._spill)):
            self._local.make_folder(folder)
            probe = folder / f"probe-{os.getpid()}"
            self._local.write(probe, b"")
            self._local.remove(probe)

    def _make_private(self, folder: Path) -> None:
        self._local.step("make the folder", folder, lambda: folder.mkdir(mode=0o700, exist_ok=True))
        there = self._local.step("read", folder, folder.lstat)
        if there.st_uid != os.getuid() or not stat.S_ISDIR(there.st_mode) or there.st_mode & _OTHERS:
            raise LakeError(
                f"cannot trust {folder}: other users can get at it; set lake.scratch to a folder of your own"
            )

    @contextmanager
    def hold(self, export_id: str, *, since: datetime, name: str | None = None) -> Iterator[Workspace]:
        """Give an export its workspace, gone afterwards, and remove those of dead exports.

        Queues of one export share the workspace, which is named by its id; a part of the export that runs in a process
        of its own has one of another `name`, which nothing else has.
        """
        name = name or export_id
        with hold(self._local, self._lock(name), since=since, wait=True):
            self._sweep(name, since)
            workspace = Workspace(export_id, self._folder / name, self._spill / name, self._local)
            workspace.make()
            try:
                yield workspace
            finally:
                self._discard(name)

    def litter(self) -> list[Path]:
        """Return what dead exports left."""
        return [self._folder / name for name in self._exports() if is_free(self._local, self._lock(name))]

    def is_running(self, export_id: str) -> bool:
        """Tell whether a process holds the workspace of that export."""
        return bool(_ID.fullmatch(export_id)) and not is_free(self._local, self._lock(export_id))

    def _lock(self, export_id: str) -> Path:
        return self._folder / (export_id + _LOCK)

    def _exports(self) -> list[str]:
        names = {*self._local.names(self._folder), *self._local.names(self._spill)}
        return sorted({name.removesuffix(_LOCK) for name in names})

    def _sweep(self, living: str, since: datetime) -> None:
        for export_id in self._exports():
            if export_id != living:
                with hold(self._local, self._lock(export_id), since=since) as holder:
                    if holder is None:
                        self._discard(export_id)

    def _discard(self, export_id: str) -> None:
        """Remove an export's folder, then its lock, which is held: a folder without a lock counts as dead."""
        with suppress(LakeError):  # what can't be removed now is removed by the next export
            self._local.remove(self._spill / export_id)
            self._local.remove(self._folder / export_id)
            self._local.remove(self._lock(export_id))
