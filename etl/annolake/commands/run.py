"""`annolake run`: export the configured queues into the lake, as a person, cron or an orchestrator starts it.

Owns the signals of an export, and what of its report goes to which stream.
"""

import argparse
import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType

from annolake.clock import Clock
from annolake.config import load_config
from annolake.console import Console
from annolake.interruption import Interruption
from annolake.pipeline import export
from annolake.report import in_words
from annolake.streams import Streams


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Export; return the worst exit code of the queues."""
    overrides = {"source.queues": arguments.queue} if arguments.queue else {}
    config = load_config(arguments.config, environ, overrides)
    clock = Clock()
    console = Console(streams.err, now=clock.now, quiet=arguments.quiet, log_format=config.log.log_format)
    interruption = Interruption()
    _heed_signals(interruption.interrupt)
    with console.progress() as progress:
        report = export(
            config,
            environ,
            mode="new" if arguments.new_only else "full",
            accept_removals=arguments.accept_removals,
            clock=clock,
            log=console.log,
            progress=progress,
            interruption=interruption,
        )
    for queue in report.queues:
        (console.say if queue.exit_code == 0 else console.complain)(in_words(queue))
    if arguments.json:
        print(report.as_json().decode(), file=streams.out)
        if streams.lost:
            console.complain(f"cannot write the report to standard output: {streams.lost}; it is in the lake too")
    return report.exit_code


def _heed_signals(interrupt: Callable[[int], None]) -> None:
    """Have the first SIGINT or SIGTERM end the export in good order, and a second one end it at once."""

    def first(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda second, _: os._exit(128 + second))
        interrupt(number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, first)
