"""What users in a process share that know nothing of one another: made by the first, ended by the last.

Tasks of one export are such, where an executor runs several of them in one process.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")

_lock = Lock()
_users: dict[Hashable, int] = {}
_open: dict[Hashable, Any] = {}


@contextmanager
def shared(key: Hashable, make: Callable[[], T], end: Callable[[T], None]) -> Iterator[T]:
    """Give the block what others that name the same key are using; where nobody does, it is made."""
    with _lock:
        if key not in _open:
            _open[key] = make()
        _users[key] = _users.get(key, 0) + 1
        held: T = _open[key]
    try:
        yield held
    finally:
        with _lock:
            _users[key] -= 1
            is_last = not _users[key]
            if is_last:
                del _users[key], _open[key]
        if is_last:
            end(held)
