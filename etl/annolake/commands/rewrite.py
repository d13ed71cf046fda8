"""`annolake rewrite`: applies the settings of [columns] to the rows that are in the lake.

Owns how that is said. The work is `rewriting`'s.
"""

import argparse
from collections.abc import Mapping

from annolake.clock import Clock
from annolake.commands.change_words import in_words
from annolake.config import load_lake_config
from annolake.console import Console
from annolake.printable import json_line, printable
from annolake.revising.changes import QueueChanges
from annolake.revising.rewriting import rewrite
from annolake.streams import Streams

NOTHING = "no queue is in the lake: there is nothing to rewrite"


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Rewrite, telling of each queue when it is done; return the most urgent exit code of all."""

    def tell(queue: QueueChanges) -> None:
        if queue.error and not arguments.json:
            console.complain(printable(in_words(queue)))
        elif not arguments.json:
            print(printable(in_words(queue)), file=streams.out, flush=True)

    config, clock = load_lake_config(arguments.config, environ), Clock()
    console = Console(streams.err, now=clock.now, log_format=config.log.log_format)
    changes = rewrite(config, environ, clock=clock, tell=tell)
    if arguments.json:
        streams.answer(json_line(changes))
        return changes.exit_code
    if changes.error:
        console.complain(printable(changes.error))
    if not changes.queues:
        print(f"{config.lake.path}: {NOTHING}", file=streams.out)
    return changes.exit_code
