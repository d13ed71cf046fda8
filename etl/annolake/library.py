"""What a program calls: notebooks, orchestrators, scripts. Prints nothing, and leaves signals alone."""

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import get_args

from annolake import config as settings
from annolake import pipeline
from annolake.config import Config
from annolake.errors import ConfigError
from annolake.executor_workers import ExecutorWorkers
from annolake.interruption import Interruption, Stop, heeding
from annolake.observers.events import ProgressEvent, ProgressRelay
from annolake.observers.protocols import SILENCE, LibraryLog, Progress, log_failed_stop
from annolake.report import Mode, Report


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

    `executor` exports whole queues, `at_once` of them, instead of threads of this process. `on_progress` gets events in
    the thread that called; what it raises ends the export. Once `stop`, a `threading.Event` perhaps, is set, the queues
    end in good order, with exit code 130 in their entries. `environ` holds the key. A queue that fails is in the
    report; raises an AnnolakeError where no queue could be begun, or the report not be written.
    """
    if mode not in get_args(Mode):
        raise ConfigError(f'mode: expected "full" or "new", got {mode!r}')
    if at_once is not None and at_once < 1:
        raise ConfigError(f"at_once: expected a number of queues from 1 on, got {at_once!r}")
    config = settings.checked(config, environ, queues)
    progress: Progress = ProgressRelay(on_progress) if on_progress else SILENCE
    interruption, log = Interruption(), LibraryLog()
    with heeding(stop, interruption, partial(log_failed_stop, log)):
        return pipeline.export(
            config,
            environ,
            mode=mode,
            accept_removals=accept_removals,
            refresh=refresh,
            log=log,
            progress=progress,
            interruption=interruption,
            workers=None if executor is None else ExecutorWorkers(executor, at_once),
        )
