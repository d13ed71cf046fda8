"""Files of a local disk: the few verbs by which they are touched, each of them one step through one gate.

Owns the translation of what the system or pyarrow reports into `LakeError` with path and reason. A test hands in a gate
that breaks any step before or after it is done. Knows neither the lake's layout nor what is in a file.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.storage.exchange import exchange
from annolake.load.storage.files import Gate, Location, MissingError
from annolake.load.storage.holes import punch
from annolake.load.storage.reasons import DAMAGED, reason

S = TypeVar("S")
T = TypeVar("T")


def straight(_verb: str, _path: Location, call: Callable[[], T]) -> T:
    """Do the call: the gate of every real export."""
    return call()


class LocalFiles:
    """A local file system, as `Files` and with verbs of its own; `exchanges` False spares the system call."""

    def __init__(self, gate: Gate = straight, *, exchanges: bool = True) -> None:
        self._gate = gate
        self._exchanges = exchanges

    def step(self, verb: str, path: Location, call: Callable[[], T]) -> T:
        """Do one thing with the file or folder `path`; `verb` completes "cannot ... <path>".

        What pyarrow can't "read" is a damaged file; what it can't write is a bug, and passes as it is.
        """
        try:
            done: T = self._gate(verb, path, call)
        except FileNotFoundError as exc:
            raise MissingError(f"cannot {verb} {path}: there is no such file or folder") from exc
        except OSError as exc:
            raise LakeError(f"cannot {verb} {path}: {reason(exc)}") from exc
        except (pa.ArrowException, UnicodeDecodeError) as exc:
            if verb != "read" or isinstance(exc, MemoryError):
                raise
            raise LakeError(f"cannot read {path}: {DAMAGED}") from exc
        return done

    # --- as every place has them

    def map(self, call: Callable[[S], T], things: Iterable[S]) -> Iterator[T]:
        """Yield what a call makes of each thing, one after another."""
        return map(call, things)

    def prepare(self, folder: Location) -> None:
        """Make the folder, so that readers find one."""
        self.make_folder(_disk(folder))

    def names(self, folder: Location) -> list[str]:
        """Return the names in a folder, sorted; none where there is no folder."""
        try:
            return self.step("list", folder, lambda: sorted(os.listdir(_disk(folder))))  # noqa: PTH208 - names it is
        except MissingError:
            return []

    def below(self, folder: Location) -> list[Location]:
        """Return all files in a folder and the folders below it; none where there is no folder."""
        return self.step("list", folder, lambda: _below(_disk(folder)))

    def exists(self, path: Location) -> bool:
        """Tell whether there is a file or folder of that name."""
        return self.step("look for", path, lambda: os.path.lexists(_disk(path)))

    def size(self, path: Location) -> int:
        """Return a file's size in bytes; also to be asked before it is opened: a pipe would be waited for."""
        there = self.step("read", path, lambda: _disk(path).stat())
        if not stat.S_ISREG(there.st_mode):
            raise LakeError(f"cannot read {path}: it is not a regular file; move it away, then run again")
        return there.st_size

    def read(self, path: Location) -> bytes:
        """Return the bytes of a small file."""
        self.size(path)
        return self.step("read", path, lambda: _disk(path).read_bytes())

    def open(self, path: Location) -> pa.NativeFile:
        """Open a file to read any part of it; the caller closes it."""
        return self.step("read", path, lambda: pa.OSFile(str(path)))

    def digest(self, path: Location) -> str:
        """Return the hash of all bytes of a file."""
        self.size(path)
        return self.step("read", path, lambda: _digest(_disk(path)))

    def put(self, source: Path, target: Location, *, flush: bool = True) -> None:
        """Put a file of the same file system in the place of `target`, by renaming it."""
        if flush:
            self.sync(source)
        self.move(source, _disk(target))
        if flush:
            self.sync(_disk(target).parent)

    def remove(self, path: Location) -> None:
        """Remove a file or a folder with all that is in it; nothing where there is none."""
        self.step("remove", path, lambda: _remove(_disk(path)))

    def remove_all(self, paths: Sequence[Location]) -> None:
        """Remove files; one that is not there is no error."""
        for path in paths:
            self.remove(path)

    # --- a disk's own

    def prove(self, folder: Path) -> None:
        """Prove that the folder could be made, or could be written to where it is there; nothing stays."""
        there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
        probe = there / f".annolake-probe-{os.getpid()}"
        self.step("write in" if there == folder else "make the folder", folder, probe.mkdir)
        self.step("remove", probe, probe.rmdir)

    def make_folder(self, path: Path) -> None:
        """Make the folder and its parents, where they are not there yet."""
        self.step("make the folder", path, lambda: path.mkdir(parents=True, exist_ok=True))

    def write(self, path: Path, text: bytes) -> None:
        """Write a small file."""
        self.step("write", path, lambda: path.write_bytes(text))

    def give_back(self, path: Path, start: int, stop: int) -> None:
        """Give back the room of a part of a file, which is not read again, where the system can."""
        with suppress(OSError):  # it goes with the file then
            punch(path, start, stop)

    def sync(self, path: Path) -> None:
        """Flush a file, or the names in a folder, to the disk."""
        self.step("flush", path, lambda: _sync(path))

    def move(self, source: Path, target: Path) -> None:
        """Rename a file, replacing one of that name, or a folder to a name that is free, at once."""
        self.step("write", target, lambda: os.rename(source, target))  # noqa: PTH104 - Path.rename is os.rename

    def exchange(self, one: Path, other: Path) -> bool:
        """Give two folders each other's name at once; False, with nothing done, where the system can't."""
        return self._exchanges and self.step("replace", other, lambda: exchange(one, other))


def _disk(path: Location) -> Path:
    """Return the location as the path that it is on a disk."""
    return path if isinstance(path, Path) else Path(str(path))


def _below(folder: Path) -> list[Location]:
    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a folder that an export has just replaced
            raise error

    return [Path(where, name) for where, _, names in os.walk(folder, onerror=failed) for name in names]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
