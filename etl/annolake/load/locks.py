"""Locks on files that die with their holder (`flock`): one per queue, one per export.

They hold between processes of one machine, and between machines where the file system passes `flock` on (NFS
4 does, many network mounts don't). Owns nothing but the lock's own file.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from annolake.load.store import MissingError, Store

_MODE = 0o644
_HOLDER_BYTES = 500


@contextmanager
def hold(store: Store, path: Path, *, since: datetime, wait: bool = False) -> Iterator[str | None]:
    """Hold the lock on `path` as long as the block runs; wait for it only where asked to.

    Yields None when it is ours, else who has it ("pid 12 on host a since 2026-11-20T08:00:00+00:00").
    """
    with ExitStack() as closing:
        how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        handle, ours = store.step("lock", path, lambda: _take(path, how, closing))
        if not ours:
            yield os.pread(handle, _HOLDER_BYTES, 0).decode(errors="replace") or "an unknown process"
            return
        when = since.isoformat(timespec="seconds")
        holder = f"pid {os.getpid()} on host {socket.gethostname()} since {when}"
        store.step("write", path, lambda: _tell(handle, holder))
        yield None


def is_free(store: Store, path: Path) -> bool:
    """Tell whether nobody holds the lock on `path`."""
    try:
        return store.step("lock", path, lambda: _is_free(path))
    except MissingError:
        return True


def _is_free(path: Path) -> bool:
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _take(path: Path, how: int, closing: ExitStack) -> tuple[int, bool]:
    """Return an open handle on the file and whether it carries the lock."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, _MODE)
        closing.callback(os.close, handle)
        try:
            fcntl.flock(handle, how)
        except BlockingIOError:
            return handle, False
        if _is_there(path, handle):
            return handle, True
        # locked just after its holder removed it: the name is free, or another file's


def _is_there(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _tell(handle: int, holder: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, holder.encode(), 0)
