"""Where the queues of an export run when it is not in its own process: on the workers of a cluster or an executor.

Owns how many run at once, each one's share of the limits on requests, and what is said of a worker that was lost.
"""

import math
import signal
import socket
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from annolake.clock import Clock
from annolake.config import Config, with_absolute_paths
from annolake.errors import AnnolakeError, ConfigError, InterruptedExport, WorkerError
from annolake.export_context import Wishes
from annolake.observers.protocols import Log, Progress
from annolake.queue_task import QueueTask
from annolake.report import QueueReport, Report
from annolake.settings import LEAST_PER_SECOND

INTERRUPTED = 128 + signal.SIGINT


class Workers(Protocol):
    """What exports queues for a driver."""

    def at_once(self, queues: int) -> int:
        """Return how many of so many queues run at once."""

    def sharing(self, at_once: int) -> int:
        """Return how many of them may share one process, and its memory."""

    def serving(self, config: Config, export_id: str, log: Log, progress: Progress) -> AbstractContextManager[None]:
        """Be ready for the queues of one export as long as the block runs; workers tell log and progress.

        Raises ConfigError where the workers are not fit for it, WorkerError where there are none.
        """

    def submit(self, task: QueueTask) -> Future[QueueReport]:
        """Have a queue exported. What it raises says why the workers take none."""

    def stop(self) -> None:
        """Tell those that run to end, beside the file of their task."""

    def gives_up(self, queue_id: str, seconds: float) -> bool:
        """Tell whether a queue that has not ended so long after `stop` is waited for no longer, and cancelled."""


def share_of(config: Config, at_once: int) -> Config:
    """Return the settings of one of `at_once` exports of one key: its share of the limits, whole paths.

    No share is less than what the setting may be.
    """
    source = config.source
    requests, queries = source.max_requests_per_second, source.max_queries_per_10_s
    share = msgspec.structs.replace(
        source,
        max_requests_per_second=max(LEAST_PER_SECOND, requests / at_once) if requests else 0.0,
        max_queries_per_10_s=max(1, queries // at_once) if queries else 0,
    )
    return with_absolute_paths(msgspec.structs.replace(config, source=share))


def outcome_of(export: Future[QueueReport], queue_id: str) -> QueueReport:
    """Return the report of a queue; what an executor raises in its place is said in a sentence."""
    try:
        return export.result()
    except CancelledError:
        error: AnnolakeError = WorkerError(
            "the queue was given up, as where the scheduler or the executor has ended: start it anew, and run it again"
        )
    except AnnolakeError as told:
        error = told
    except ModuleNotFoundError:
        error = ConfigError("a worker could not load the queue's task: install annolake there, in the same version")
    except Exception as lost:  # noqa: BLE001 - of a foreign executor, whose errors may be of any kind
        kind = type(lost).__name__
        error = WorkerError(
            f"a worker was lost while it exported the queue ({kind}): look at its log, and run it again"
        )
    report = QueueReport(queue_id=queue_id)
    report.fail(error)
    return report


class TaskCrew:
    """Exports queues as tasks of workers, for the export of `report`."""

    def __init__(
        self, workers: Workers, config: Config, wishes: Wishes, *, report: Report, queues: int, stop_file: Path
    ) -> None:
        self._workers, self._wishes, self._report = workers, wishes, report
        self._stop_file = stop_file
        self.at_once = workers.at_once(queues)
        self._config = share_of(config, self.at_once)
        self._clock = Clock()
        self._stopped_by: int | None = None
        self._stopped_at = math.inf

    def submit(self, queue_id: str) -> Future[QueueReport]:
        """Have a queue exported."""
        task = QueueTask(
            config=self._config,
            queue_id=queue_id,
            export_id=self._report.export_id,
            started_at=self._report.started_at,
            wishes=self._wishes,
            at_once=self._workers.sharing(self.at_once),
            driver_host=socket.gethostname(),
            stop_file=self._stop_file.absolute(),
        )
        try:
            return self._workers.submit(task)
        except (AnnolakeError, BrokenExecutor):
            raise
        except Exception as error:
            reason = f"the executor takes no queue ({type(error).__name__}): hand over one that runs, and run it again"
            raise WorkerError(reason) from error

    def outcome(self, export: Future[QueueReport], queue_id: str) -> QueueReport:
        """Return what became of a queue; what an executor raises in place of a report is said in a sentence."""
        report = outcome_of(export, queue_id)
        if self._stopped_by is not None and report.exit_code == INTERRUPTED:
            report.fail(InterruptedExport(self._stopped_by))
        return report

    def stop(self, signal_number: int) -> None:
        """Tell the workers, those that see this disk by a file. Which signal it was they need not know."""
        self._stopped_by, self._stopped_at = signal_number, self._clock.monotonic()
        with suppress(OSError):  # an executor that can tell them does so too
            self._stop_file.touch()
        self._workers.stop()

    def gives_up(self, queue_id: str) -> bool:
        """Tell whether a queue that was told to end is not waited for any longer."""
        return self._workers.gives_up(queue_id, self._clock.monotonic() - self._stopped_at)
