"""How many requests are under way at once, and who is next.

Owns that sequence: who waits longest. A semaphore of the standard library serves whoever comes first once one is free,
which is the lane that has just given it back: a page of a window waited for five others of every other window.
"""

from collections import deque
from threading import Lock


class Slots:
    """So `many` slots, each for the time of a `with` block."""

    def __init__(self, many: int) -> None:
        self._free = many
        self._lock = Lock()
        self._waiting: deque[Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def __exit__(self, *_exception: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()  # the slot is handed over: it is never free in between
            else:
                self._free += 1
