"""Engines that run exports: clusters for `annolake run --on`, and orchestrators, which call in from outside.

Owns which address means which cluster. An engine's libraries are an extra, and imported where it is asked for.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from annolake.errors import ConfigError
from annolake.interruption import Interruption

if (
    TYPE_CHECKING
):  # brings all that exports, 0.3 s: Airflow reads the file of a DAG, which imports this package, again and again
    from annolake.workers import Workers

_ALLOWED = "the address of a Dask scheduler, such as dask://host:8786"


def workers_at(address: str | None, interruption: Interruption) -> "AbstractContextManager[Workers | None]":
    """Return the workers at an address ("dask://host:8786"), to be entered; None stands for no workers.

    Raises ConfigError where it is no such address, or the engine is not installed; WorkerError, when it is entered,
    where nothing answers, and InterruptedExport.
    """
    if address is None:
        return nullcontext()
    engine, _, where = address.partition("://")
    if engine != "dask" or not where:
        raise ConfigError(f"--on: expected {_ALLOWED}, got {address!r}")
    try:
        from annolake.run_on import dask  # noqa: PLC0415 - an extra, and 0.3 s
    except ImportError:
        raise ConfigError("--on: Dask is not installed here: pip install 'annolake[dask]'") from None
    return dask.connected(where, interruption)
