"""The few verbs by which the lake's files are touched, each of them one step through one gate.

Owns the translation of what the system or pyarrow reports into `LakeError` with path and reason. A test hands in a gate
that breaks any step before or after it is done. Knows neither the lake's layout nor what is in a file.
"""

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.storage.exchange import exchange
from annolake.load.storage.reasons import DAMAGED, reason

T = TypeVar("T")

_LOOKS = 5

Gate = Callable[[str, Path, Callable[[], Any]], Any]
"""Called with verb, path and the real call in place of the real call."""


def straight(_verb: str, _path: Path, call: Callable[[], T]) -> T:
    """Do the call: the gate of every real export."""
    return call()


class Store:
    """A local file system. Raises `LakeError` from every verb; `exchanges` False spares the system call."""

    def __init__(self, gate: Gate = straight, *, exchanges: bool = True) -> None:
        self._gate = gate
        self._exchanges = exchanges

    def step(self, verb: str, path: Path, call: Callable[[], T]) -> T:
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

    def make_folder(self, path: Path) -> None:
        """Make the folder and its parents, where they are not there yet."""
        self.step("make the folder", path, lambda: path.mkdir(parents=True, exist_ok=True))

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted; none where there is no folder."""
        try:
            return self.step("list", folder, lambda: sorted(os.listdir(folder)))  # noqa: PTH208 - names are asked for
        except MissingError:
            return []

    def exists(self, path: Path) -> bool:
        """Tell whether there is a file or folder of that name."""
        return self.step("look for", path, lambda: os.path.lexists(path))

    def size(self, path: Path) -> int:
        """Return a file's size in bytes; also to be asked before it is opened: a pipe would be waited for."""
        there = self.step("read", path, path.stat)
        if not stat.S_ISREG(there.st_mode):
            raise LakeError(f"cannot read {path}: it is not a regular file; move it away, then run again")
        return there.st_size

    def read(self, path: Path) -> bytes:
        """Return the bytes of a small file."""
        self.size(path)
        return self.step("read", path, path.read_bytes)

    def write(self, path: Path, text: bytes) -> None:
        """Write a small file."""
        self.step("write", path, lambda: path.write_bytes(text))

    def sync(self, path: Path) -> None:
        """Flush a file, or the names in a folder, to the disk."""
        self.step("flush", path, lambda: _sync(path))

    def move(self, source: Path, target: Path) -> None:
        """Rename a file, replacing one of that name, or a folder to a name that is free, at once."""
        self.step("write", target, lambda: os.rename(source, target))  # noqa: PTH104 - Path.rename is os.rename

    def exchange(self, one: Path, other: Path) -> bool:
        """Give two folders each other's name at once; False, with nothing done, where the system can't."""
        return self._exchanges and self.step("replace", other, lambda: exchange(one, other))

    def discard(self, path: Path) -> None:
        """Remove a file or a folder with all that is in it; nothing where there is none."""
        self.step("remove", path, lambda: _discard(path))


class MissingError(LakeError):
    """There is no such file or folder; a reader beside a running export meets this and looks again."""


def look_again(look: Callable[[], T]) -> T:
    """Look, and look again where a running export replaced a file between its listing and its opening."""
    for _ in range(_LOOKS - 1):
        with suppress(MissingError):
            return look()
    return look()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
