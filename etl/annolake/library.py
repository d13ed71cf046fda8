"""What a program calls: notebooks, orchestrators, scripts. Prints nothing, and leaves signals alone."""

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from annolake import config as settings
from annolake import pipeline
from annolake.clock import Clock
from annolake.config import Config
from annolake.errors import ConfigError, InterruptedExport
from annolake.executor_workers import ExecutorWorkers
from annolake.export_arguments import check_at_once, check_mode
from annolake.interruption import Interruption, Stop, heeding
from annolake.observers.events import ProgressEvent, ProgressRelay
from annolake.observers.protocols import SILENCE, LibraryLog, Progress, log_failed_stop
from annolake.queue_task import QUEUES_AT_ONCE
from annolake.report import Mode, Report, new_report


def load_config(path: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Return the settings of the file `path` (default: ./annolake.toml) and of the environment.

    Its paths are absolute: the program may change its folder. Raises ConfigError, which names the setting, what was
    given and what is allowed.
    """
    return settings.with_absolute_paths(settings.load_config(None if path is None else Path(path), environ))


def export(
    config: Config,
    mode: Mode = "full",
    queues: Iterable[str] | None = None,
    executor: Executor | None = None,
    on_progress: Callable[[ProgressEvent], object] | None = None,
    *,
    at_once: int | None = None,
    stop: Stop | None = None,
    accept_removals: bool = False,
    refresh: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Report:
    """Export the configured queues, or those of the ids `queues`, and return the report (docs/operating.md#python).

    `executor` exports whole queues instead of threads of this process, `at_once` of them at a time. `on_progress` gets
    events in the thread that called; what it raises ends the export. Once `stop`, a `threading.Event` perhaps, is set,
    the queues end in good order, with exit code 130 in their entries, or in the report where none is known yet.
    `environ` holds the key. A queue that fails is in the report; raises an AnnolakeError where no queue could be begun,
    or the report not be written.
    """
    check_mode(mode)
    if at_once is not None:
        check_at_once(at_once)
        if executor is None and at_once > QUEUES_AT_ONCE:
            raise ConfigError(f"at_once: {QUEUES_AT_ONCE} at most without an executor, got {at_once}: hand one over")
    config = settings.checked(config, environ, queues)
    progress: Progress = ProgressRelay(on_progress) if on_progress else SILENCE
    clock, interruption, log = Clock(), Interruption(), LibraryLog()
    report = new_report(clock.now())
    with heeding(stop, interruption, partial(log_failed_stop, log)):
        try:
            pipeline.export(
                config,
                environ,
                mode=mode,
                accept_removals=accept_removals,
                refresh=refresh,
                clock=clock,
                log=log,
                progress=progress,
                interruption=interruption,
                report=report,
                at_once=at_once or QUEUES_AT_ONCE,
                workers=None if executor is None else ExecutorWorkers(executor, at_once),
            )
        except InterruptedExport:
            if report.queues:  # of `on_progress`, which is called once the queues are known
                raise
    return report
