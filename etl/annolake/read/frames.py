"""The lake in polars: `annolake.scan`."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import polars as pl

from annolake.clock import Clock
from annolake.config import Config, checked
from annolake.errors import ConfigError
from annolake.read.catalogue import VIEWS
from annolake.read.definitions import DEFINITIONS
from annolake.read.tables import LakeTables, open_tables
from annolake.setting_values import UnfitError, read_lake_path
from annolake.web_address import web_address


class LakeFrames(msgspec.Struct, frozen=True):
    """The views of a lake as frames; `web` is the address of the service's web application, where that is known."""

    tables: LakeTables
    web: str | None
    _opened: dict[str, pl.LazyFrame] = msgspec.field(default_factory=dict)

    def table(self, name: str) -> pl.LazyFrame:
        """Return a table, with its partition columns: the same frame each time, so that polars reads it once."""
        if name not in self._opened:
            self._opened[name] = self.tables.frame(name)
        return self._opened[name]

    def view(self, name: str) -> pl.LazyFrame:
        """Return a view."""
        return DEFINITIONS[name].frame(self).select(VIEWS[name].names)


def scan(
    lake: str | os.PathLike[str] | Config,
    name: str = "runs",
    *,
    storage: Mapping[str, str] = MappingProxyType({}),
    base_url: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> pl.LazyFrame:
    """Return a view of a lake as a LazyFrame, with the columns and types of docs/schema.md#views.

    `lake` is a folder, an address (`s3://bucket/lake`) or settings, whose `lake.storage` and `source.base_url` are then
    taken too. `storage` are options of an object store; credentials come from `environ`, a profile or the machine's
    role. `base_url` is the service's address: without it `run_url` is null. The lake's files are looked up now and read
    when the frame is collected: scan again after an export, which may have replaced some of them.

    Raises ValueError for a name that is no view's, LakeError where there is no lake, ConfigError where an option does
    not fit or an extra is missing.
    """
    if name not in VIEWS:
        near = difflib.get_close_matches(name, VIEWS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(VIEWS)}"
        raise ValueError(f"a lake has no table or view {name!r}; {hint}")
    settings = checked(lake, environ) if isinstance(lake, Config) else lake
    address, options, url = _found(settings, storage, base_url)
    tables = open_tables(address, options, environ, clock=Clock())
    return LakeFrames(tables, web_address(url) if url else None).view(name)


def _found(
    lake: str | os.PathLike[str] | Config, storage: Mapping[str, str], base_url: str | None
) -> tuple[Path | str, Mapping[str, str], str | None]:
    """Return the lake's place, its options and the service's address."""
    if isinstance(lake, Config):
        return lake.lake.path, {**lake.lake.storage, **storage}, base_url or lake.source.base_url
    try:
        path = read_lake_path(os.fspath(lake))
    except UnfitError:
        raise ConfigError("lake: expected a folder, or an address such as s3://bucket/lake") from None
    return path.expanduser() if isinstance(path, Path) else path, storage, base_url
