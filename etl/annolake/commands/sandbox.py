"""`annolake sandbox`: the embedded stand-in for the service. Its options are its own: see `annolake.sandbox`."""

import argparse
from collections.abc import Mapping

from annolake import sandbox
from annolake.streams import Streams


def run(arguments: argparse.Namespace, _environ: Mapping[str, str], streams: Streams) -> int:
    """Serve until it is interrupted; return 0."""
    return sandbox.run(sandbox.parser("annolake sandbox").parse_args(arguments.options), streams.out)
