"""Run as a process: exports one state of a moving queue after the other, until it is killed.

Arguments: the lake's folder or address, a folder for scratch, the number of the first export. Prints each step of the
lake as it begins.
"""

import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from load.model_queue import Row, export, lake_of, rows

ROWS, DAYS, EVERY = 120, 5, 6


def state(number: int) -> list[Row]:
    """Return the queue as the `number`th export reads it: each changes another sixth of the rows."""
    changes = [(number - row % EVERY + EVERY) // EVERY for row in range(ROWS)]
    return [Row(row.number, row.added_at, version) for row, version in zip(rows(ROWS, days=DAYS), changes, strict=True)]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _telling(verb: str, _path: Any, call: Callable[[], Any]) -> Any:
    _say(verb)
    return None if verb == "flush" else call()


if __name__ == "__main__":
    lake = lake_of(sys.argv[1], os.environ, scratch=Path(sys.argv[2]), gate=_telling)
    for number in count(int(sys.argv[3])):
        _say(f"export {number}")
        export(lake, state(number), number=number, at_once=2)
