"""`annolake unlock`: takes a queue's lock from an export that died, before the time of its lease is over.

Owns what is said of it. The lock is `load.storage.lease`'s.
"""

import argparse
from collections.abc import Mapping

from annolake.clock import Clock
from annolake.config import load_lake_config
from annolake.console import Console
from annolake.errors import ConfigError
from annolake.printable import printable
from annolake.streams import Streams
from annolake.wiring import named_queues, open_lake

NOT_ONE = "unlock frees the lock of one queue, not of all: name it"

_WARNING = (
    "that export may still run: if it does, it ends with exit code 6, and what it had not yet published "
    "is lost to it; the next export brings it"
)


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Free the lock of a queue and say who had it; return 0. Raises ConfigError, LakeError where that cannot be."""
    config = load_lake_config(arguments.config, environ, {"source.queues": [arguments.queue]})
    lake = open_lake(config, environ)
    queue_ids = named_queues(config, lake)
    if not queue_ids:
        raise ConfigError(NOT_ONE)
    unlocked = lake.unlock(queue_ids[0])
    if unlocked.holder is not None:
        told = f"its lock is free now; it was held by {unlocked.holder}"
    elif queue_ids[0] in lake.queues_named():
        told = "nobody holds its lock"
    else:  # its first export may have died, so it is no error
        told = "nobody holds its lock, and the lake has nothing of it: is the id right?"
    print(printable(f"queue {queue_ids[0]}: {told}"), file=streams.out)
    if not unlocked.stale:
        Console(streams.err, now=Clock().now, log_format=config.log.log_format).complain(_WARNING)
    return 0
