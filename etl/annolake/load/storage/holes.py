"""One system call: a part of a file gives back its room on the disk, and in the system's memory of files."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # linux/falloc.h


def punch(path: Path, start: int, stop: int) -> bool:
    """Have the bytes from `start` to `stop` of a file take no room; they are zeros then (Linux `fallocate`).

    Return False, with nothing done, where the system or the file system does not support it.
    """
    call = _fallocate()
    if call is None:
        return False
    file = os.open(path, os.O_WRONLY)
    try:
        done: int = call(file, _PUNCH_HOLE | _KEEP_SIZE, start, stop - start)
    finally:
        os.close(file)
    return done == 0


@cache
def _fallocate() -> Any:
    """Return the C library's function, None where it has none."""
    try:
        call = ctypes.CDLL(None).fallocate64
    except (AttributeError, OSError, TypeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return call
