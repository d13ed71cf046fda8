"""`annolake queues`: which queues the key can see, in words or JSON.

Owns how that is said. Needs no lake.
"""

import argparse
from collections.abc import Mapping, Sequence

from annolake.clock import Clock
from annolake.config import load_service_config
from annolake.console import Console
from annolake.extract.endpoints.queues import ListedQueue, list_queues
from annolake.extract.http.client import Caller
from annolake.printable import counted, json_line, printable
from annolake.streams import Streams
from annolake.wiring import open_client


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Print the queues; return 0. Raises ConfigError without a key, ServiceError where they cannot be listed."""
    config = load_service_config(arguments.config, environ)
    clock = Clock()
    log = Console(streams.err, now=clock.now, quiet=True, log_format=config.log.log_format).log
    with open_client(config, environ, clock=clock, log=log) as client:
        listing = list_queues(client, Caller())
    if arguments.json:
        record = {"exit_code": 0, "queues": listing.queues, "unreadable": listing.unreadable}
        streams.answer(json_line(record))
    else:
        for line in _in_words(listing.queues, listing.unreadable):
            print(printable(line), file=streams.out)
    return 0


def _in_words(queues: Sequence[ListedQueue], unreadable: int) -> list[str]:
    sizes = ["? rows" if queue.size is None else counted(queue.size, "row") for queue in queues]
    width = max(map(len, sizes), default=0)
    lines = [
        f"{queue.queue_id}  {size:>{width}}  {queue.name or 'without a name'}{_reviewers(queue)}"
        for queue, size in zip(queues, sizes, strict=True)
    ]
    if unreadable:
        lines.append(f"{counted(unreadable, 'record')} without an id, not shown")
    return lines or ["the key can see no queue: check source.tenant_id"]


def _reviewers(queue: ListedQueue) -> str:
    return f"  (reviewers: {', '.join(queue.reviewers)})" if queue.reviewers else ""
