"""`annolake run`: export the configured queues into the lake, as a person, cron or an orchestrator starts it.

Owns the signals of an export, and what of its report goes to which stream.
"""

import argparse
import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType

from annolake.clock import Clock
from annolake.commands.dry_run import dry_run
from annolake.config import load_config
from annolake.console import Console
from annolake.errors import AnnolakeError, InterruptedExport
from annolake.interruption import Interruption
from annolake.pipeline import export
from annolake.printable import json_line, printable
from annolake.report import Report, in_words, known_rejects, new_report
from annolake.run_on import workers_at
from annolake.streams import Streams


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Export; return the exit code of the report, which is the last line of standard output where it is asked for."""
    clock = Clock()
    if arguments.dry_run:
        return _dry_run(arguments, environ, streams, clock)
    report = new_report(clock.now())

    def last_words() -> None:
        if arguments.json:
            streams.answer(report.as_json())

    def leave(signal_number: int) -> None:
        report.finish(clock.now(), InterruptedExport(signal_number))
        last_words()

    try:
        console = _run(arguments, environ, streams, clock=clock, report=report, leave=leave)
    except BaseException as error:
        report.finish(clock.now(), error)
        raise
    finally:
        last_words()
    if streams.lost and arguments.json:
        console.complain(f"cannot write the report to standard output: {streams.lost}; it is in the lake too")
    return report.exit_code


def _run(
    arguments: argparse.Namespace,
    environ: Mapping[str, str],
    streams: Streams,
    *,
    clock: Clock,
    report: Report,
    leave: Callable[[int], None],
) -> Console:
    overrides = {"source.queues": arguments.queue} if arguments.queue else {}
    config = load_config(arguments.config, environ, overrides)
    console = Console(
        streams.err, now=clock.now, quiet=arguments.quiet, log_format=config.log.log_format, environ=environ
    )
    interruption = Interruption()

    def leave_at_once(signal_number: int) -> None:
        leave(signal_number)
        console.give_back()  # last: it may interrupt a write of its own thread

    _heed_signals(interruption.interrupt, leave_at_once)
    try:
        with workers_at(arguments.on, interruption) as workers, console.progress(clock) as progress:
            export(
                config,
                environ,
                mode="new" if arguments.new_only else "full",
                accept_removals=arguments.accept_removals,
                refresh=arguments.refresh,
                clock=clock,
                log=console.log,
                progress=progress,
                interruption=interruption,
                report=report,
                workers=workers,
            )
    except AnnolakeError as error:
        if report.state == "running":  # it never came to the export, since there are no workers
            report.finish(clock.now(), error)
        console.complain(printable(str(error)))
    _say_how_it_went(report, console)
    return console


def _dry_run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams, clock: Clock) -> int:
    overrides = {"source.queues": arguments.queue} if arguments.queue else {}
    config = load_config(arguments.config, environ, overrides)
    log = Console(streams.err, now=clock.now, quiet=True, log_format=config.log.log_format).log

    def say(line: str) -> None:
        if not arguments.json:
            print(printable(line), file=streams.out)

    told = dry_run(config, environ, mode="new" if arguments.new_only else "full", clock=clock, log=log, say=say)
    if arguments.json:
        streams.answer(json_line(told))
    return told.exit_code


def _say_how_it_went(report: Report, console: Console) -> None:
    for queue in report.queues:
        if queue.error is None or queue.error != report.error:
            (console.say if queue.exit_code == 0 else console.complain)(in_words(queue))
    if rejects := known_rejects(report):
        new = any(queue.rejected_new for queue in report.queues)
        (console.complain if new else console.say)(rejects)


def _heed_signals(interrupt: Callable[[int], None], leave: Callable[[int], None]) -> None:
    """Have the first SIGINT or SIGTERM end the export in good order, and a second one end it at once."""

    def second(number: int, _frame: FrameType | None) -> None:
        try:
            leave(number)
        finally:
            os._exit(128 + number)

    def first(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, second)
        interrupt(number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, first)
