"""The lanes of an export: the threads of this process that make its requests.

Owns that queues of one export share them, also where these are tasks that know nothing of one another.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple


class Lanes(NamedTuple):
    """Threads for listings and what belongs to them, and threads for queries of runs, which can take long."""

    listing: ThreadPoolExecutor
    query: ThreadPoolExecutor


_lock = Lock()
_users: dict[str, int] = {}
_open: dict[str, Lanes] = {}


@contextmanager
def lanes_of(export_id: str, count: int) -> Iterator[Lanes]:
    """Give an export its lanes, `count` of each kind; they end with the last block that uses them."""
    with _lock:
        _users[export_id] = _users.get(export_id, 0) + 1
        if export_id not in _open:
            _open[export_id] = Lanes(ThreadPoolExecutor(count, "lane"), ThreadPoolExecutor(count, "query"))
        lanes = _open[export_id]
    try:
        yield lanes
    finally:
        with _lock:
            _users[export_id] -= 1
            is_last = not _users[export_id]
            if is_last:
                del _users[export_id], _open[export_id]
        if is_last:
            for pool in lanes:
                pool.shutdown()
