"""The command line: one command is run, and the process ends with its exit code (docs/cli.md).

Owns what becomes of an error. A command's module is imported when the command is given, since pyarrow
and polars cost 0.5 s.
"""

import argparse
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NoReturn

from annolake.arguments import UsageError, build_parser
from annolake.clock import Clock
from annolake.errors import AnnolakeError, ConfigError, LakeError, outcome
from annolake.printable import json_line, printable, printable_lines
from annolake.process import UNUSED, left_out, settle_process
from annolake.report import new_report
from annolake.streams import Streams, settle_streams

UNWRITTEN = 5

Command = Callable[[argparse.Namespace, Mapping[str, str], Streams], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if argv is None:  # SIGINT raises KeyboardInterrupt by itself; an export that has begun heeds both in its own way
        signal.signal(signal.SIGTERM, _end)
    streams = settle_streams()
    settle_process(os.environ)
    arguments = argparse.Namespace(result_is_kept=False)
    given = sys.argv[1:] if argv is None else argv
    exit_code = _run_command(given, arguments, streams, process_is_ours=argv is None)
    if exit_code == 0 and streams.lost and not arguments.result_is_kept:
        message = f"cannot write standard output: {streams.lost}; send it elsewhere and run again"
        _complain(LakeError(message), streams, as_json=_logs_json(given, arguments))
        return UNWRITTEN
    return exit_code


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(number)


def _run_command(argv: Sequence[str], arguments: argparse.Namespace, streams: Streams, *, process_is_ours: bool) -> int:
    try:
        parser = build_parser()
        _, arguments.options = parser.parse_known_args(argv, arguments)
        if arguments.options and arguments.command != "sandbox":  # which has a parser of its own
            parser.error(f"unrecognized arguments: {' '.join(arguments.options)}")
        if arguments.config and not arguments.reads_settings:
            parser.error(f"argument --config: {arguments.command} reads no settings")
        command = _imported(arguments.command, process_is_ours=process_is_ours)
        return command(arguments, os.environ, streams)
    except SystemExit as end:  # argparse's: after --help and --version, or of a wrong option of the sandbox
        if end.code and "--json" in argv:
            streams.answer(_failure(argv, ConfigError("the command line is wrong")))
        return int(end.code or 0)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last line of defence
        if isinstance(error, Exception):  # of a signal nothing is said
            _complain(error, streams, as_json=_logs_json(argv, arguments))
        if "--json" in argv:
            streams.answer(_failure(argv, error))
        return outcome(error)[1]


def _imported(name: str, *, process_is_ours: bool) -> Command:
    """Return what runs a command. Nothing that it imports need be looked at for cycles: measured, 0.08 s of CPU."""
    if process_is_ours:
        gc.disable()
    with left_out(*(UNUSED if process_is_ours else ())):
        command: Command = import_module(f"annolake.commands.{name}").run
    if process_is_ours:
        gc.freeze()
        gc.enable()
    return command


def _logs_json(argv: Sequence[str], arguments: argparse.Namespace) -> bool:
    """Tell whether the settings ask for JSON, be they right or wrong; the command line may be wrong, too."""
    if not getattr(arguments, "reads_settings", True):
        return False
    given = [*argv]
    named = next((given[i + 1] for i, each in enumerate(given[:-1]) if each == "--config"), None)
    named = next((each.removeprefix("--config=") for each in given if each.startswith("--config=")), named)
    settings = import_module("annolake.config")  # which cost 0.1 s, and are needed when something is wrong
    return bool(settings.log_format_of(Path(named) if named else None, os.environ) == "json")


def _complain(error: Exception, streams: Streams, *, as_json: bool) -> None:
    if as_json:
        console = import_module("annolake.console").Console(streams.err, now=Clock().now, log_format="json")
        if isinstance(error, AnnolakeError):
            console.complain(str(error), exit_code=error.exit_code)
        else:
            lines = "".join(traceback.format_exception(error))
            console.log.error("bug", kind=type(error).__name__, traceback=lines, advice="report it with the traceback")
        return
    if isinstance(error, UsageError):
        print(f"{error.usage}{printable(str(error))}", file=streams.err)
    elif isinstance(error, AnnolakeError):
        # a ConfigError has a line for each setting, in which what was given is quoted
        fit = printable_lines if isinstance(error, ConfigError) else printable
        print(f"annolake: {fit(str(error))}", file=streams.err)
    else:
        print(printable_lines("".join(traceback.format_exception(error)).rstrip()), file=streams.err)
        print("annolake: this is a bug; please report it with the lines above", file=streams.err)


def _failure(argv: Sequence[str], error: BaseException) -> str:
    """Return the line of JSON of a command that failed before it could print its own."""
    if _command_of(argv) == "run":
        now = Clock().now()
        report = new_report(now)
        report.finish(now, error)
        return report.as_json()
    sentence, exit_code = outcome(error)
    return json_line({"exit_code": exit_code, "error": sentence})


def _command_of(argv: Sequence[str]) -> str | None:
    """Return what stands where a command does, behind a settings file."""
    rest = argv[2:] if argv[:1] == ["--config"] else argv[1:] if argv and argv[0].startswith("--config=") else argv
    return rest[0] if rest else None
