"""annolake exports LangSmith annotation queues into a lake of partitioned Parquet files.

The Python API is what `__all__` names: `load_config`, `export` and `scan`, what they take and return,
and their errors.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from annolake.version import __version__

if TYPE_CHECKING:
    from annolake.config import Config
    from annolake.errors import (
        AnnolakeError,
        ConfigError,
        GoneError,
        InterruptedExport,
        LakeError,
        LockedError,
        NotFoundError,
        RefusedError,
        ServiceError,
        TooLargeError,
        UnavailableError,
        WorkerError,
    )
    from annolake.interruption import Stop
    from annolake.library import export, load_config
    from annolake.observers.events import ProgressEvent
    from annolake.read.frames import scan
    from annolake.report import Mode, QueueReport, Report, TableReport

__all__ = [
    "AnnolakeError",
    "Config",
    "ConfigError",
    "GoneError",
    "InterruptedExport",
    "LakeError",
    "LockedError",
    "Mode",
    "NotFoundError",
    "ProgressEvent",
    "QueueReport",
    "RefusedError",
    "Report",
    "ServiceError",
    "Stop",
    "TableReport",
    "TooLargeError",
    "UnavailableError",
    "WorkerError",
    "__version__",
    "export",
    "load_config",
    "scan",
]

_MODULES = {
    "Config": "config",
    "Mode": "report",
    "ProgressEvent": "observers.events",
    "QueueReport": "report",
    "Report": "report",
    "Stop": "interruption",
    "TableReport": "report",
    "export": "library",
    "load_config": "library",
    "scan": "read.frames",
}


if not TYPE_CHECKING:  # a checker would take a misspelt name for one of any type

    def __getattr__(name: str) -> Any:
        """Return a name of the API: `import annolake` stays free of cost, the first use of a name brings its module."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"annolake.{_MODULES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return the names of the API, loaded or not."""
    return sorted({*globals(), *__all__})
