"""From settings to the parts of an export: a client, a lake.

Owns which setting goes where, and nothing else.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from annolake import contract
from annolake.clock import Clock
from annolake.config import Config
from annolake.credentials import credentials
from annolake.extract.client import Client
from annolake.extract.pace import Pace
from annolake.load.lake import Lake
from annolake.report import QueueReport
from annolake.transform.rows import HASH_VERSION
from annolake.version import __version__


class Log(Protocol):
    """What structlog's loggers do: an event's name and its facts."""

    def info(self, event: str, **facts: Any) -> Any:
        """Log a routine event."""

    def warning(self, event: str, **facts: Any) -> Any:
        """Log what someone may want to look at."""

    def error(self, event: str, **facts: Any) -> Any:
        """Log what must be looked at."""

    def debug(self, event: str, **facts: Any) -> Any:
        """Log what only a developer wants to see."""


class Progress(Protocol):
    """Who is told how far each queue is; called from several threads."""

    def started(self, queue_id: str, name: str | None, expected: int | None) -> None:
        """Hear that a queue's reading begins."""

    def read(self, queue_id: str, rows: int) -> None:
        """Hear how many rows of a queue were read so far."""

    def finished(self, queue: QueueReport) -> None:
        """Hear how a queue ended."""


class Silence:
    """A log and a progress bar that keep everything to themselves."""

    def info(self, event: str, **facts: Any) -> None:
        """Log nothing."""

    def warning(self, event: str, **facts: Any) -> None:
        """Log nothing."""

    def error(self, event: str, **facts: Any) -> None:
        """Log nothing."""

    def debug(self, event: str, **facts: Any) -> None:
        """Log nothing."""

    def started(self, queue_id: str, name: str | None, expected: int | None) -> None:
        """Show nothing."""

    def read(self, queue_id: str, rows: int) -> None:
        """Show nothing."""

    def finished(self, queue: QueueReport) -> None:
        """Show nothing."""


class Interruption:
    """A signal's way into an export: `interrupt` may be called from a signal handler."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._events: list[Event] = []

    def event(self) -> Event:
        """Return an event that is set when the signal comes, or at once where it has come."""
        event = Event()
        self._events.append(event)
        if self.signal_number is not None:
            event.set()
        return event

    def interrupt(self, signal_number: int) -> None:
        """Note the signal and wake whoever waits."""
        self.signal_number = signal_number
        for event in self._events:
            event.set()


def open_client(config: Config, environ: Mapping[str, str], *, clock: Clock, log: Log) -> Client:
    """Return a client for the configured service. Raises ConfigError where the key can't be had."""
    found = credentials(config, environ)
    if found.exposed:
        log.warning("key_file_exposed", setting="source.api_key_file", advice="others may read the file: chmod 600 it")
    return Client(
        base_url=config.source.base_url,
        headers=found.headers(),
        key_name=found.name,
        timeout_s=config.source.timeout_s,
        request_timeout_s=config.source.request_timeout_s,
        max_response_mb=config.source.max_response_mb,
        max_inflight_mb=config.source.max_inflight_mb,
        max_attempts=config.retry.max_attempts,
        max_wait_s=config.retry.max_wait_s,
        lanes=config.source.concurrency,
        pace=Pace(config.source.max_requests_per_second, clock),
        clock=clock,
        random=random.random,
        version=__version__,
        log=log,
    )


def open_lake(config: Config) -> Lake:
    """Return the configured lake, nothing of which is touched yet."""
    return Lake(
        Path(config.lake.path),
        runs=contract.RUNS,
        queues=contract.QUEUES,
        hash_version=HASH_VERSION,
        compression=config.lake.compression,
        row_group_mb=config.lake.row_group_mb,
        keep_reports=config.lake.keep_reports,
    )
