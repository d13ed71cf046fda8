"""`annolake schema`: the columns and types of tables and views, and where they come from, as Markdown or JSON."""

import argparse
from collections.abc import Mapping

import msgspec

from annolake import contract
from annolake.read import catalogue
from annolake.read.catalogue import VIEWS
from annolake.streams import Streams


def run(arguments: argparse.Namespace, _environ: Mapping[str, str], streams: Streams) -> int:
    """Print the contract; return 0."""
    if arguments.format == "json":
        documents = {
            "tables": [contract.as_document(table) for table in contract.TABLES],
            "views": [catalogue.as_document(view) for view in VIEWS.values()],
        }
        text = msgspec.json.format(msgspec.json.encode(documents), indent=2).decode()
    else:
        tables, views = map(contract.as_markdown, contract.TABLES), map(catalogue.as_markdown, VIEWS.values())
        text = "\n".join([*tables, *views])
    print(text, file=streams.out)
    return 0
