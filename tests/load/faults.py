"""Gates for the store's door: they count its steps, and break one of them; and a queue to export meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from errno import EIO
from pathlib import Path
from threading import Lock
from typing import Any

from load.model_queue import START, Row, changed

DAY = timedelta(days=1)
BEFORE = [Row(0, START), Row(1, START), Row(2, START + DAY), Row(3, START)]
AFTER = [
    changed(BEFORE[0]),  # stays in its partition, which Row 1 leaves for a new one, with Row 4
    changed(BEFORE[1], added_at=START + 2 * DAY),
    changed(BEFORE[2], added_at=START),  # empties its partition
    Row(4, START + 2 * DAY),  # new; Row 3 is gone
]
"""The rows of a queue before and after it changed in every way."""


class Killed(BaseException):
    """The process is dead from here on: nothing of ours catches this."""


class Gate:
    """Break the `at`th step: "before" it is done, "after" it, or "kill" the process there."""

    def __init__(self, mode: str = "", at: int = -1) -> None:
        self.steps: list[str] = []
        self._mode, self._at = mode, at
        self._counting = Lock()

    def __call__(self, verb: str, path: Path, call: Callable[[], Any]) -> Any:
        """Do the step, unless it is the one to break; flushing is left out, it only costs time here."""
        with self._counting:  # a store's steps may be done side by side
            self.steps.append(verb)
            step = len(self.steps) - 1
        if self._mode == "kill" and step >= self._at:
            raise Killed
        broken = self._mode != "" and step == self._at
        if broken and self._mode == "before":
            raise OSError(EIO, "broken before", str(path))
        done = None if verb == "flush" else call()
        if broken:
            raise OSError(EIO, "broken after", str(path))
        return done
