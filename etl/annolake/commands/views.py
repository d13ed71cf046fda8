"""`annolake views`: the lake's views for DuckDB, as a script of SQL or as a database file.

Owns what is printed. The views are `read.views`', the file `read.database`'s.
"""

import argparse
from collections.abc import Iterator, Mapping

from annolake.clock import Clock
from annolake.config import load_lake_config
from annolake.out_file import require_free
from annolake.printable import printable
from annolake.read.catalogue import VIEWS
from annolake.read.database import write_database
from annolake.read.tables import open_tables
from annolake.read.views import LakeViews
from annolake.streams import Streams
from annolake.version import __version__
from annolake.web_address import web_address

_EMPTY = "there is no table {} yet, and its views are empty: make them again after an export that brings it"


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Print the script, or write the database; return 0."""
    config = load_lake_config(arguments.config, environ)
    if arguments.out is not None:
        require_free(arguments.out, force=True, lake=config.lake.path)  # what is no database of views is spared later
    tables = open_tables(config.lake.path, config.lake.storage, environ, clock=Clock())
    views = LakeViews(tables, web_address(config.source.base_url))
    if arguments.out is None:
        print("\n".join(_script(views)), file=streams.out)
        return 0
    missing = write_database(views, arguments.out)
    print(printable(f"{arguments.out}: {len(VIEWS)} views of {tables.root}"), file=streams.out)
    if views.secret:
        print(printable(f"before it reads them, a session runs: {views.secret};"), file=streams.out)
    for name in missing:
        print(_EMPTY.format(name), file=streams.out)
    return 0


def _script(views: LakeViews) -> Iterator[str]:
    place = printable(str(views.tables.root))
    yield f"-- {len(VIEWS)} views of the lake {place}, for DuckDB 2.0. By annolake {__version__}."
    yield from (f"-- {_EMPTY.format(name)}" for name in views.missing)
    for name in views.extensions:
        yield f"INSTALL {name};\nLOAD {name};"
    yield from (f"{statement};" for statement in filter(None, [views.secret, *views.statements()]))
