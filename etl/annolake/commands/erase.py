"""`annolake erase`: takes a run, a queue or old rows out of the lake, for good.

Owns what is asked before and said after. The work is `erasing`'s.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta

from annolake.clock import Clock
from annolake.commands.change_words import in_words
from annolake.config import load_lake_config
from annolake.console import Console
from annolake.errors import ConfigError
from annolake.printable import is_utf8, json_line, printable
from annolake.revising.changes import Hands, QueueChanges, hands_on
from annolake.revising.erasing import Erasure, Order
from annolake.streams import Streams
from annolake.wiring import named_queues, open_lake

_OLDEST_S = 60_000_000_000  # 1,900 years: no date is before the year 1

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

NOT_ASKED = "erase asks first, and there is no terminal to ask at: add --yes"
NOT_ONE = "erase takes ids and names one by one: not all queues, and no empty id"
NOTHING = "nothing of it is in the lake; it is remembered, so that no export brings it"


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Erase, where it is wanted; return the most urgent exit code of all queues."""
    if not arguments.yes and (arguments.json or not sys.stdin.isatty()):
        raise ConfigError(NOT_ASKED)
    if "all" in (arguments.queue or ()) or not all(arguments.run or ["one"]):
        raise ConfigError(NOT_ONE)
    config = load_lake_config(arguments.config, environ, {"source.queues": arguments.queue} if arguments.queue else {})
    lake, clock = open_lake(config, environ), Clock()
    console = Console(streams.err, now=clock.now, log_format=config.log.log_format)

    def tell(queue: QueueChanges) -> None:
        if queue.error and not arguments.json:
            console.complain(printable(in_words(queue)))
        elif not arguments.json:
            print(printable(in_words(queue)), file=streams.out, flush=True)

    with hands_on(lake, clock) as hands:
        queues = named_queues(config, lake) if arguments.queue else ()
        _refuse_unknown(hands, arguments.run or ())
        age = None if arguments.older_than is None else timedelta(seconds=min(arguments.older_than, _OLDEST_S))
        erasure = Erasure(hands, Order(arguments.run or (), queues, age))
        if not arguments.yes and not _confirmed(erasure.sentence, streams):
            print("nothing was erased", file=streams.out)
            return 0
        changes = erasure.carry_out(tell)
    if arguments.json:
        streams.answer(json_line(changes))
    elif not changes.queues:
        print(NOTHING, file=streams.out)
    return changes.exit_code


def _refuse_unknown(hands: Hands, runs: Sequence[str]) -> None:
    """Refuse an id that nothing in the lake has, and that is no UUID: a slip, which would be remembered for nothing."""
    for each in runs:
        if not _UUID.fullmatch(each) and not (is_utf8(each) and Erasure(hands, Order((each,))).rows):
            raise ConfigError(f"--run: {each!a} is no id of a run, and nothing in the lake has it; correct it")


def _confirmed(sentence: str, streams: Streams) -> bool:
    print(printable(f"{sentence}? [y/N]"), end=" ", flush=True, file=streams.err)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
