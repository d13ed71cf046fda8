"""Gates for the store's door: they count its steps, and break one of them."""

from collections.abc import Callable
from errno import EIO
from pathlib import Path
from typing import Any


class Killed(BaseException):
    """The process is dead from here on: nothing of ours catches this."""


class Gate:
    """Break the `at`th step: "before" it is done, "after" it, or "kill" the process there."""

    def __init__(self, mode: str = "", at: int = -1) -> None:
        self.steps: list[str] = []
        self._mode, self._at = mode, at

    def __call__(self, verb: str, path: Path, call: Callable[[], Any]) -> Any:
        """Do the step, unless it is the one to break; flushing is left out, it only costs time here."""
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
