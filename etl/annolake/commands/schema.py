"""`annolake schema`: the tables' columns, types and sources, as Markdown or JSON."""

import argparse
from collections.abc import Mapping

import msgspec

from annolake import contract
from annolake.streams import Streams


def run(arguments: argparse.Namespace, _environ: Mapping[str, str], streams: Streams) -> int:
    """Print the contract; return 0."""
    if arguments.format == "json":
        documents = {"tables": [contract.as_document(table) for table in contract.TABLES]}
        text = msgspec.json.format(msgspec.json.encode(documents), indent=2).decode()
    else:
        text = "\n".join(contract.as_markdown(table) for table in contract.TABLES)
    print(text, file=streams.out)
    return 0
