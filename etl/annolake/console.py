"""What a person or an orchestrator sees on standard error: messages, logs and the progress bar.

Owns how things are said. Never what is said, and never standard output, which belongs to a command's result.
"""

import logging
from collections.abc import Callable, MutableMapping
from datetime import datetime
from typing import Any, Literal, Self, TextIO

import structlog
from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from structlog.typing import FilteringBoundLogger

from annolake.printable import printable, printable_lines
from annolake.report import QueueReport

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

    def progress(self) -> "ProgressBar":
        """Return a progress bar, one that shows nothing where there is no terminal."""
        return ProgressBar(self._stream, shown=self.terminal and not self._quiet and not self._as_json)


class ProgressBar:
    """One line per queue with the rows read so far, of those that are expected where that is known."""

    def __init__(self, stream: TextIO, *, shown: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rows"),
            TimeElapsedColumn(),
            console=RichConsole(file=stream),
            disable=not shown,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._progress.stop()

    def started(self, queue_id: str, name: str | None, expected: int | None) -> None:
        """Show a queue whose reading begins; one that begins again, on another worker, keeps its line."""
        if queue_id in self._tasks:
            self._progress.reset(self._tasks[queue_id], total=expected)
        else:
            self._tasks[queue_id] = self._progress.add_task(printable(name or queue_id), total=expected)

    def read(self, queue_id: str, rows: int) -> None:
        """Move a queue's bar to the number of rows read so far."""
        self._progress.update(self._tasks[queue_id], completed=rows)

    def finished(self, queue: QueueReport) -> None:
        """Fill a queue's bar."""
        task = self._tasks.get(queue.queue_id)
        if task is not None:
            self._progress.update(task, total=queue.rows_seen, completed=queue.rows_seen)

    def deliver(self) -> None:
        """Do nothing: the bar is redrawn by itself."""


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
