"""What the command settles for its own process, before anything heavy is imported: threads, memory and garbage.

Nothing here changes what is exported, and a program that imports annolake keeps its own ways. Whatever the
environment says already stays.
"""

import ctypes
import gc
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import cache
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # glibc, malloc.h
_LARGE = 9 << 20  # a little more than a page, and than what is flattened at once
_KEPT = 8 << 20
_ARENAS = 2
_COLLECT_AFTER = (20_000, 50, 10)  # new containers, then collections of the younger ones

# What libraries import where it is installed, and do without where it is not. No command uses it: httpx's own command
# line, which brings click, rich and Pygments; httpcore's HTTP/2 and coroutines; what tenacity has for tornado, which
# brings asyncio; pyarrow's object stores (annolake's are obstore's).
UNUSED = (
    *("httpx._main", "h2", "anyio", "trio", "tornado"),
    *("pyarrow._azurefs", "pyarrow._gcsfs", "pyarrow._hdfs", "pyarrow._s3fs"),
)


def settle_process(environ: MutableMapping[str, str]) -> None:
    """Have memory go back to the system when it is freed, and no unneeded thread run.

    Measured on 5,000 rows of 300 kB: 341 MB at the peak, against 495; on 20,000 ordinary rows 190 against 223, and an
    eighth of the CPU less. numpy would start a thread a core for linear algebra: 0.1 s of CPU a start. Rows are made by
    the thousand and none is part of a circle, so Python need not look for such all the time: of 20,000 rows over items
    it did for 0.2 s of 2.6 with half of these counts; with five times as many, memory grows by 10 MB.
    """
    gc.set_threshold(*_COLLECT_AFTER)
    environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in environ):
        _settle_malloc()


@cache
def _settle_malloc() -> None:
    """Map each large block by itself, and have threads share their pools; nothing where there is no glibc.

    Below that, what is freed is used again: mapped anew, each 4 kB of it is a fault. Measured on 1.5 GB of rows of
    300 kB: 0.7 million faults in place of 1.6, and 3 s of CPU less.
    Once a process: mallopt is not safe beside other threads, which a process has when it runs a second command.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
    mallopt(_M_ARENA_MAX, _ARENAS)


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Have libraries take modules for not installed. Afterwards these can be imported; the libraries do without them.

    Measured, for those above: 0.1 s of CPU of each start of an export, and a tenth of that where click, tornado and h2
    are not installed. What has been imported before stays.
    """
    modules: dict[str, Any] = sys.modules
    absent = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(absent))  # an import of None raises ModuleNotFoundError: Python's reference, 5.3.1
    try:
        yield
    finally:
        for name in absent:
            modules.pop(name, None)
