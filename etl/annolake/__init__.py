"""annolake exports LangSmith annotation queues into a lake of partitioned Parquet files.

The Python API is `load_config` and `export`; both raise the errors of `annolake.errors`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from annolake.version import __version__

if TYPE_CHECKING:
    from annolake.config import Config
    from annolake.report import Report

__all__ = ["__version__", "export", "load_config"]


def load_config(path: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ) -> "Config":
    """Return the settings of the file `path` (default: ./annolake.toml) and of the environment.

    Raises ConfigError, which names the setting, what was given and what is allowed.
    """
    from annolake import config  # noqa: PLC0415 - `import annolake` stays free of cost

    return config.load_config(None if path is None else Path(path), environ)


def export(config: "Config", environ: Mapping[str, str] = os.environ) -> "Report":
    """Export the configured queues, as `annolake run` does, and return the report.

    `environ` holds the key. A queue that fails is in the report; raises ConfigError, ServiceError or LakeError
    where no queue could even be begun.
    """
    from annolake import pipeline  # noqa: PLC0415 - see above

    return pipeline.export(config, environ)
