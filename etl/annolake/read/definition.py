"""What a view is to each engine: a SELECT for DuckDB beside a frame for polars, which give the same rows."""

from collections.abc import Callable
from typing import Protocol

import msgspec
import polars as pl


class Frames(Protocol):
    """The lake as polars sees it: `table` gives a table's rows, `view` a view's, `web` where runs have their pages."""

    @property
    def web(self) -> str | None:
        """The address of the service's web application; None where it is not known."""

    def table(self, name: str) -> pl.LazyFrame:
        """Return a table, with its partition columns."""

    def view(self, name: str) -> pl.LazyFrame:
        """Return a view."""


class Definition(msgspec.Struct, frozen=True):
    """One view.

    `sql` is a SELECT that names other views; `{runs}`, `{queues}`, `{feedback}` and `{turns}` stand for the tables,
    `{run_url}` for the address of a run's page. `frame` returns at least the view's columns.
    """

    name: str
    sql: str
    frame: Callable[[Frames], pl.LazyFrame]
