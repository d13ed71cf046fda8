"""The interfaces of log and progress bar, and an implementation of both that does nothing."""

from typing import Any, Protocol

from annolake.report import QueueReport


class Log(Protocol):
    """Receives events, each a name and facts; called from several threads."""

    def debug(self, event: str, **facts: Any) -> Any:
        """Log what only a developer wants to see."""

    def info(self, event: str, **facts: Any) -> Any:
        """Log a routine event."""

    def warning(self, event: str, **facts: Any) -> Any:
        """Log what someone may want to look at."""

    def error(self, event: str, **facts: Any) -> Any:
        """Log what must be looked at."""


class Progress(Protocol):
    """Receives the progress of each queue; called from several threads."""

    def started(self, queue_id: str, name: str | None, expected: int | None) -> None:
        """Note that the reading of a queue begins."""

    def read(self, queue_id: str, rows: int) -> None:
        """Note how many rows of a queue were read so far."""

    def finished(self, queue: QueueReport) -> None:
        """Note how a queue ended."""


class _Silence:
    """A log and a progress bar that do nothing."""

    def _ignore(self, *_what: Any, **_facts: Any) -> None:
        """Do nothing."""

    debug = info = warning = error = started = read = finished = _ignore


SILENCE = _Silence()
