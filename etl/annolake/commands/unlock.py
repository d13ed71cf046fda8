"""`annolake unlock`: takes a queue's lock from an export that died, before the time of its lease is over.

Owns what is said of it. The lock is `load.storage.lease`'s.
"""

import argparse
from collections.abc import Mapping

from annolake.clock import Clock
from annolake.config import load_lake_config
from annolake.console import Console
from annolake.printable import printable
from annolake.streams import Streams
from annolake.wiring import open_lake

_WARNING = (
    "that export may still run: if it does, it ends with exit code 6, and what it had not yet published "
    "is lost to it; the next export brings it"
)


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Free the lock of a queue and say who had it; return 0. Raises LakeError where that cannot be done."""
    config = load_lake_config(arguments.config, environ)
    lake = open_lake(config, environ)
    unlocked = lake.unlock(arguments.queue)
    if unlocked.holder is None:
        told = "nobody holds its lock"
    else:
        told = f"its lock is free now; it was held by {unlocked.holder}"
    print(printable(f"queue {arguments.queue}: {told}"), file=streams.out)
    if not unlocked.stale:
        Console(streams.err, now=Clock().now, log_format=config.log.log_format).complain(_WARNING)
    return 0
