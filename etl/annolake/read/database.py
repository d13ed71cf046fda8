"""A DuckDB database that has the views of a lake: a file that opens anywhere on the machine, read-only too.

The only module of the package that imports DuckDB, an extra, beside the demo. A file that holds anything but views is
never replaced.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from annolake.errors import ConfigError, LakeError
from annolake.printable import is_utf8
from annolake.read.views import LakeViews

# Nothing is downloaded unasked, and an older command line of DuckDB opens the file too.
_CONFIG = {"autoinstall_known_extensions": "false", "storage_compatibility_version": "v1.0.0"}
_INSTALL = 'pip install "annolake[{}]"'


def write_database(views: LakeViews, file: Path) -> Sequence[str]:
    """Write a database of the views to `file`, in the place of an earlier one; readers see the one or the other.

    Returns the tables that DuckDB cannot find yet, whose views are empty. Raises ConfigError where DuckDB or one of its
    extensions is missing or `file` holds something else, LakeError where the lake cannot be read or the file written.
    """
    if find_spec("duckdb") is None:
        raise ConfigError(f"--out: install DuckDB: {_INSTALL.format('views')}")
    if not is_utf8(str(file)):
        raise ConfigError(f"--out: {file} is not UTF-8, as DuckDB needs it: name another file")
    duckdb = import_module("duckdb")
    views = replace(views, version=tuple(int(part) for part in re.findall(r"\d+", duckdb.__version__)[:3]))
    _spare(duckdb, file)
    with _beside(file) as made:
        try:
            with duckdb.connect(str(made), config=_CONFIG) as connection:
                for name in views.extensions:
                    _load(duckdb, connection, name, views)
                for statement in filter(None, [views.secret, *views.statements()]):
                    connection.execute(statement)
        except duckdb.Error as error:
            place, version = views.tables.root, duckdb.__version__
            raise LakeError(f"cannot make views of {place}: DuckDB {version} says: {_reason(error)}") from None
        made.replace(file)
    return views.missing


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """Give a file of that name in a folder beside it, gone afterwards: DuckDB names a database after its file."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{file.name}.", dir=file.parent))
        try:
            yield folder / file.name
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise LakeError(f"cannot write {file}: {os.strerror(error.errno or 0)}") from None


def _spare(duckdb: Any, file: Path) -> None:
    """Raise ConfigError where the file is there and is no database of views alone."""
    if not os.path.lexists(file):
        return
    with suppress(duckdb.Error), duckdb.connect(str(file), read_only=True) as connection:
        held = "SELECT count(*) FROM duckdb_tables() WHERE NOT internal AND NOT temporary"
        if connection.execute(held).fetchone() == (0,):
            return
    raise ConfigError(f"--out: {file} is there and is no database of views: move it away, or name another file")


def _load(duckdb: Any, connection: Any, name: str, views: LakeViews) -> None:
    """Load an extension that is installed, or that a package brings. Raises ConfigError where there is none."""
    with suppress(duckdb.Error):
        connection.execute(f"LOAD {name}")
        return
    with suppress(duckdb.Error, ImportError, OSError):
        import_module("duckdb_extensions").import_extension(name, con=connection)
        connection.execute(f"LOAD {name}")
        return
    raise ConfigError(
        f"--out: {views.tables.root} needs DuckDB's extension {name}, and {duckdb.__version__} has none here: "
        f"run INSTALL {name} in DuckDB, or {_INSTALL.format('views-delta')}; annolake.scan works without"
    )


def _reason(error: Exception) -> str:
    """Return what DuckDB says, in one line: paths and columns, never a row or a secret."""
    if re.search("HTTP|credential|secret", str(error), re.IGNORECASE):
        return "the store cannot be read; check the credentials that DuckDB's credential_chain finds, and the endpoint"
    return " ".join(str(error).partition("\n")[0].split())
