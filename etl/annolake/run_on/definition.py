"""What the definition of an orchestrator's assets needs to know: which tables there are, and where.

Light, since definitions are read again and again. Neither the service nor the lake is asked.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from annolake.config import Config, load_lake_config
from annolake.errors import LockedError
from annolake.export_arguments import check_at_once, check_mode
from annolake.report import TABLES, Mode

SKIPPED = LockedError.exit_code
QUEUES_AT_ONCE = 4


def settings_of(
    path: str | os.PathLike[str] | None,
    *,
    at_once: int = 1,
    mode: Mode = "full",
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Return the settings of a file, which need not name queues yet; `at_once` queues are to be exported at a time.

    Raises ConfigError.
    """
    check_at_once(at_once)
    check_mode(mode)
    return load_lake_config(None if path is None else Path(path), environ)


def tables_of(config: Config) -> list[str]:
    """Return the tables that an export writes, in the order in which they are told of."""
    chosen = {"feedback": config.source.feedback, "turns": config.source.threads}
    return ["runs", *(table for table in TABLES if chosen[table]), "queues"]


def address_of(config: Config, table: str) -> str:
    """Return the address of a table: that of the object store, or of the folder as a file:// address."""
    path = config.lake.path
    root = path if isinstance(path, str) else path.absolute().as_uri()
    return f"{root.rstrip('/')}/{table}"
