"""What a person or an orchestrator sees on standard error: messages, logs and the progress bar.

Owns which of them are shown. Never what is said, and never standard output, which belongs to a command's result.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from importlib import import_module
from typing import Literal, TextIO

from annolake.logger import Logger
from annolake.observers import SILENCE, Progress

LogFormat = Literal["text", "json"]


class Console:
    """Messages and logs of one command on `stream`.

    On a terminal a progress bar stands for the routine logs; elsewhere they are written as key=value or, with
    `log_format` json, as one JSON object a line, and then messages are logs too, so that every line parses.
    `quiet` leaves warnings and errors.
    """

    def __init__(
        self, stream: TextIO, *, now: Callable[[], datetime], quiet: bool = False, log_format: LogFormat = "text"
    ) -> None:
        self._stream = stream
        self._as_json = log_format == "json"
        self._quiet = quiet
        self.terminal = stream.isatty()
        routine = not quiet and (self._as_json or not self.terminal)
        self.log = Logger(stream, now, as_json=self._as_json, routine=routine)

    def say(self, message: str) -> None:
        """Tell a person how it went; nothing when quiet."""
        if self._as_json:
            self.log.info("message", text=message)
        elif not self._quiet:
            print(message, file=self._stream, flush=True)

    def complain(self, message: str) -> None:
        """Tell a person what went wrong: never left out."""
        if self._as_json:
            self.log.error("message", text=message)
        else:
            print(f"annolake: {message}", file=self._stream, flush=True)

    def progress(self) -> AbstractContextManager[Progress]:
        """Return a progress bar, one that shows nothing where there is no terminal."""
        if not self.terminal or self._quiet or self._as_json:
            return nullcontext(SILENCE)
        # Drawing is imported where it is done: 40 ms of every other start.
        bar: AbstractContextManager[Progress] = import_module("annolake.progress_bar").ProgressBar(self._stream)
        return bar
