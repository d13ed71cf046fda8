"""One queue as a task: what travels to a worker, and what a worker does with it.

A worker is a process or thread that exports queues for a driver: the process that was asked for the export, and that
writes its report. Never has the key travel: a worker reads its own environment.
"""

import os
import pickle
import socket
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import msgspec

from annolake.clock import Clock
from annolake.config import Config
from annolake.errors import AnnolakeError, ConfigError, LakeError, ServiceError
from annolake.export_context import Surroundings, Wishes, open_context
from annolake.feedback.doubts import tell_doubts
from annolake.interruption import HEED_S, Interruption, Stop, heeding
from annolake.observers.protocols import SILENCE, LibraryLog, Log, Progress, log_bug, log_failed_stop
from annolake.queue_export import QueueExport
from annolake.report import QueueReport
from annolake.version import __version__
from annolake.wiring import column_rules, is_on_disk, open_lake

QUEUES_AT_ONCE = 4  # in one process: enough to fill the lanes, few enough to share the memory
# A dead worker's lease passes on after its ttl, a minute.
WAIT_FOR_LOCK_S = 75.0
# A queue on a worker that was told to end, and of which nothing is heard: Kubernetes kills the driver after 30 s.
ENDING_S = 15.0
# Exit codes of what may be the trouble of one worker alone: its key, its network, its disk.
_OF_ONE_WORKER = {ConfigError.exit_code, ServiceError.exit_code, LakeError.exit_code}


class QueueTask(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told: the settings, a queue of them, and the export that it is a part of.

    `at_once` queues share the memory for pages in a process. The limits on requests in `config` are this task's share.
    `stop_file` is there once the export shall stop; a worker that cannot see the driver's disk does not see it.
    """

    config: Config
    queue_id: str
    export_id: str
    started_at: datetime
    wishes: Wishes
    at_once: int
    driver_host: str
    stop_file: Path

    def pack(self) -> "PackedTask":
        """Return what travels: a worker of another version can read its first two parts."""
        return PackedTask(__version__, self.queue_id, pickle.dumps(self))


class PackedTask(NamedTuple):
    """A task on its way: `content` is for workers of the same version."""

    version: str
    queue_id: str
    content: bytes


class _TaskStop(NamedTuple):
    """Set once there is a file of that name, or the `other` stop is set: one thread looks at both."""

    path: Path
    other: Stop | None

    def is_set(self) -> bool:
        return self.path.exists() or (self.other is not None and self.other.is_set())


def export_queue(packed: PackedTask) -> QueueReport:
    """Export a queue on this worker and return its report, which has every error; none is raised."""
    return work(packed, environ=os.environ)


def work(
    packed: PackedTask,
    *,
    environ: Mapping[str, str],
    host: str | None = None,
    clock: Clock | None = None,
    log: Log | None = None,
    progress: Progress = SILENCE,
    stop: Stop | None = None,
    stop_every_s: float = HEED_S,
) -> QueueReport:
    """Do as `export_queue` does, with this environment; stop early where `stop` or the task's file says so."""
    host, clock, interruption = host or socket.gethostname(), clock or Clock(), Interruption()
    around = Surroundings(clock, log or LibraryLog(), progress, interruption)
    begun = clock.monotonic()
    try:
        task = _unpacked(packed, host)
        heeded = heeding(
            _TaskStop(task.stop_file, stop), interruption, partial(log_failed_stop, around.log), every_s=stop_every_s
        )
        with heeded:
            report = _export(task, environ, around)
    except Exception as error:  # noqa: BLE001 - what one worker lacks does not stop the others
        if not isinstance(error, AnnolakeError):
            log_bug(around.log, packed.queue_id, error)
        report = QueueReport(queue_id=packed.queue_id)
        report.fail(error)
        report.seconds, report.finished_at = round(clock.monotonic() - begun, 3), clock.now()
    if report.exit_code in _OF_ONE_WORKER:
        report.error = _told_by(host, report.error)
    return report


def _told_by(host: str, error: str | None) -> str:
    """Return an error with the name of this worker: of many machines one must be known that is to be mended."""
    return f"on the worker of process {os.getpid()} on host {host}: {error}"


def _unpacked(packed: PackedTask, host: str) -> QueueTask:
    """Return the task. Raises ConfigError where this worker is not fit for it."""
    if packed.version != __version__:
        raise ConfigError(
            f"annolake is {__version__} here and {packed.version} where the export began: "
            "install the same version on every worker"
        )
    task: QueueTask = pickle.loads(packed.content)  # noqa: S301 - a worker runs whatever its driver sends, by its nature
    config = task.config
    if is_on_disk(config) and not config.lake.shared and host != task.driver_host:
        raise ConfigError(foreign_disk(config, task.driver_host))
    return task


def foreign_disk(config: Config, driver_host: str) -> str:
    """Say that a lake in a folder is not for workers of other hosts."""
    return (
        f"the lake {config.lake.path} is a folder, which may be another one than on host {driver_host}, where the "
        "export began: set lake.shared = true if its disk is mounted on every worker, or use an object store"
    )


def _export(task: QueueTask, environ: Mapping[str, str], around: Surroundings) -> QueueReport:
    rules = column_rules(task.config, environ)
    lake = open_lake(task.config, environ, around.clock, rules)
    lake.prepare()  # the driver has, but its scratch may be another machine's
    name = f"{task.export_id}-{uuid4().hex[:8]}"  # another one when a task is run again
    with (
        lake.workspace(task.export_id, since=around.clock.now(), name=name) as workspace,
        open_context(
            task.config,
            environ,
            task.wishes,
            around,
            lake=lake,
            workspace=workspace,
            started_at=task.started_at,
            rules=rules,
            wait_for_lock_s=WAIT_FOR_LOCK_S,
        ) as context,
    ):
        report = QueueExport(context, task.queue_id, task.at_once).export()
        tell_doubts(context, [report])
        return report
