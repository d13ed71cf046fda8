"""What a person or an orchestrator sees on standard error: messages, logs and the progress bar.

Owns which of them are shown. Never what is said, and never standard output, which belongs to a command's result.
"""

import logging
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from importlib import import_module
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from annolake.observers import SILENCE, Progress
from annolake.printable import printable_lines

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
        self.log = _logger(stream, now, as_json=self._as_json, routine=routine)

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


def _logger(stream: TextIO, now: Callable[[], datetime], *, as_json: bool, routine: bool) -> FilteringBoundLogger:
    def stamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["timestamp"] = now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    def escape(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {fact: printable_lines(told) if isinstance(told, str) else told for fact, told in event.items()}

    order = ["timestamp", "level", "event"]
    rendering: list[Any] = [escape, structlog.processors.LogfmtRenderer(key_order=order, drop_missing=True)]
    if as_json:
        rendering = [structlog.processors.JSONRenderer()]
    level = logging.INFO if routine else logging.WARNING
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[structlog.processors.add_log_level, stamp, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    return logger
