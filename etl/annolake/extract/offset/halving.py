"""A slice of a list whose answer is too large, asked for again: the first half of its rows, and so on.

Owns how little is asked for instead. What comes back is one contiguous part of the list at one moment, like any other
slice, only shorter. Two rows that only fit alone are read one after the other, and the first once more: where it is
still in its place, both stood side by side at the moment at which the second was read.
"""

from collections.abc import Callable
from typing import Any

from annolake.errors import TooLargeError, UnavailableError

_PAIR = 2
_TRIES = 3


Read = Callable[[int, int], Any]
"""Reads (offset, rows); what it returns has the `keys` of its elements, and can `append` what follows."""


def read_fitting(read: Read, offset: int, rows: int, *, most: Callable[[], int], refused: Callable[[int], None]) -> Any:
    """Return what is at `offset`, of `rows` rows as many as fit (`most` at most).

    `refused` is called with the number of rows that did not fit. Raises TooLargeError where a single row does not,
    UnavailableError where rows keep moving while they are read one by one, and what `read` raises.
    """
    some = min(rows, most())
    while True:
        try:
            return read(offset, some)
        except TooLargeError:
            if some == 1:
                raise
            refused(some)
        if some == _PAIR:
            return _pair(read, offset)
        some = max(_PAIR, min(some // 2, most()))


def _pair(read: Read, offset: int) -> Any:
    for _ in range(_TRIES):
        first, second = read(offset, 1), read(offset + 1, 1)
        if read(offset, 1).keys == first.keys:
            first.append(second)
            return first
    raise UnavailableError(
        "rows too large to be read together keep moving: run again later, or set source.max_response_mb higher",
        status=200,
        endpoint="runs",
        attempts=_TRIES,
    )
