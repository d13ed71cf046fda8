"""The interfaces of log and progress bar, a log for programs, and one of both that does nothing."""

import logging
import traceback
from typing import Any, Protocol

from annolake.observers.events import LiveQueue
from annolake.printable import printable_lines
from annolake.report import QueueReport

logging.getLogger("annolake").addHandler(logging.NullHandler())


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
    """Receives the progress of an export; called from several threads."""

    def planned(self, queues: int) -> None:
        """Note how many queues are to be exported."""

    def entered(self, queue: LiveQueue) -> None:
        """Note that a phase of a queue begins; its figures can be looked at from now on, at any time."""

    def finished(self, queue: QueueReport) -> None:
        """Note how a queue ended."""

    def deliver(self) -> None:
        """Pass on what was noted; called now and again by the thread that began the export, and a last time."""


class LibraryLog:
    """A log for programs that import annolake: it goes to the logger "annolake" of the standard library.

    Nothing is written anywhere as long as the program does not say where.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger("annolake")

    def debug(self, event: str, **facts: Any) -> None:
        """Log what only a developer wants to see."""
        self._log(logging.DEBUG, event, facts)

    def info(self, event: str, **facts: Any) -> None:
        """Log a routine event."""
        self._log(logging.INFO, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Log what someone may want to look at."""
        self._log(logging.WARNING, event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Log what must be looked at."""
        self._log(logging.ERROR, event, facts)

    def _log(self, level: int, event: str, facts: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            told = " ".join(f"{name}={printable_lines(str(fact))}" for name, fact in facts.items())
            self._logger.log(level, "%s %s", event, told)


class _Silence:
    """A log and a progress bar that do nothing."""

    def _ignore(self, *_what: Any, **_facts: Any) -> None:
        """Do nothing."""

    debug = info = warning = error = planned = entered = finished = deliver = _ignore


SILENCE = _Silence()


def log_failed_stop(log: Log, error: Exception) -> None:
    """Log that the program's `stop` could not be looked at any more."""
    log.warning("stop_failed", error=type(error).__name__, meaning="the export ends as if it had been set")


def log_bug(log: Log, queue_id: str, error: BaseException) -> None:
    """Log where a bug is: the frames alone, since an error's message may quote a row."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("bug", queue_id=queue_id, kind=type(error).__name__, traceback=frames)
