"""The progress bar of a terminal.

Owns how an export's progress is drawn. Never whether it is (console.py).
"""

from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from annolake.printable import printable
from annolake.report import QueueReport


class ProgressBar:
    """One line per queue with the rows read so far, of those that are expected where that is known."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rows"),
            TimeElapsedColumn(),
            console=Console(file=stream),
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
