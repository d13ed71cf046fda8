"""Locks on files that die with their holder (`flock`): one per queue, one per export.

They hold between processes of one machine, and between machines where the file system passes `flock` on (NFS
4 does, many network mounts don't). Owns nothing but the lock's own file.
"""

import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from annolake.errors import LakeError
from annolake.load.storage.files import Hold, Location, MissingError, Unlocked
from annolake.load.storage.holder import UNKNOWN, holder_name
from annolake.load.storage.local import LocalFiles

_WRITE = os.O_RDWR | os.O_CREAT
_READ = os.O_RDONLY | os.O_NONBLOCK
_MODE = 0o666  # less what the umask takes: who may write the lake's files may name itself in its locks
_HOLDER_BYTES = 500
_HOLDER = re.compile(r"pid ([0-9]{1,9}) on host (\S+) since \S+")


class FileHold(msgspec.Struct, frozen=True):
    """A lock on a file: it ends with its holder's process, and with nothing else, so that it never passes on."""

    holder: str | None
    generation: int = 0

    def check(self) -> None:
        """Do nothing: what is held stays held."""


class FileLocks:
    """Locks of a lake on a disk."""

    def __init__(self, files: LocalFiles) -> None:
        self._files = files

    @contextmanager
    def hold(self, path: Location, *, since: datetime) -> Iterator[Hold]:
        """Hold the lock on `path` as long as the block runs, where nobody else does."""
        with hold(self._files, Path(str(path)), since=since) as holder:
            yield FileHold(holder)

    def is_free(self, path: Location) -> bool:
        """Tell whether nobody holds the lock on `path`."""
        return is_free(self._files, Path(str(path)))

    def unlock(self, path: Location) -> Unlocked:
        """Refuse to, where somebody holds it: a lock on a disk ends with its holder's process."""
        if not self.is_free(path):
            raise LakeError(f"cannot unlock {path}: on a disk it ends with its holder's process: end that")
        return Unlocked(None, stale=True)


@contextmanager
def hold(files: LocalFiles, path: Path, *, since: datetime, wait: bool = False) -> Iterator[str | None]:
    """Hold the lock on `path` as long as the block runs; wait for it only where asked to.

    Yields None when it is ours, else who has it ("pid 12 on host a since 2026-11-20T08:00:00+00:00"). The file of
    another user can be held, but not written: then nobody is named in it.
    """
    with ExitStack() as closing:
        how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        taken = files.step("lock", path, lambda: _take(path, how, closing))
        if not taken.ours:
            yield _holder(taken.handle)
            return
        if taken.writable:
            holder = holder_name(since)
            closing.callback(_forget, taken.handle)
            files.step("write", path, lambda: _tell(taken.handle, holder))
        yield None


def is_free(files: LocalFiles, path: Path) -> bool:
    """Tell whether nobody holds the lock on `path`."""
    try:
        return files.step("lock", path, lambda: _is_free(path))
    except MissingError:
        return True


def _is_free(path: Path) -> bool:
    handle = os.open(path, _READ)
    with ExitStack() as closing:
        closing.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        closing.callback(_unlock, handle, os.getpid())
        return True


class _Taken(NamedTuple):
    """An open handle on a lock's file: whether it carries the lock, and whether the file can be written."""

    handle: int
    ours: bool
    writable: bool


def _take(path: Path, how: int, closing: ExitStack) -> _Taken:
    while True:
        handle, writable = _open(path)
        closing.callback(os.close, handle)
        try:
            fcntl.flock(handle, how)
        except BlockingIOError:
            return _Taken(handle, ours=False, writable=writable)
        closing.callback(_unlock, handle, os.getpid())
        if _is_there(path, handle):
            return _Taken(handle, ours=True, writable=writable)
        # locked just after its holder removed it: the name is free, or another file's


def _unlock(handle: int, holder: int) -> None:
    """Let go of a lock, which closing its file does not where a process that was forked meanwhile has it open too.

    Such a process does not, should it come here: the lock is its parent's.
    """
    if os.getpid() == holder:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _open(path: Path) -> tuple[int, bool]:
    """Open a lock's file, and tell whether to write to it; a lock needs no more than to read."""
    try:
        return os.open(path, _WRITE, _MODE), True
    except PermissionError:
        with suppress(FileNotFoundError):
            return os.open(path, _READ), False
    return os.open(path, _WRITE, _MODE), True  # it has gone meanwhile, or was never there


def _is_there(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _tell(handle: int, holder: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, holder.encode(), 0)


def _forget(handle: int) -> None:
    """Leave no name behind, for the next holder may be one who can't put his own in its place."""
    with suppress(OSError):
        os.ftruncate(handle, 0)


def _holder(handle: int) -> str:
    """Return who is named in the file, unless that process has ended: then another holds the lock."""
    text = os.pread(handle, _HOLDER_BYTES, 0).decode(errors="replace")
    named = _HOLDER.fullmatch(text)
    if not named:
        return UNKNOWN
    return UNKNOWN if named[2] == socket.gethostname() and not _is_alive(int(named[1])) else text


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
