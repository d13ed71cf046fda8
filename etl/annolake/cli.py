"""The command line: names, options and exit codes (docs/cli.md).

Owns the parser and what becomes of an error. A command's module is imported when the command is given, since pyarrow
and polars cost 0.5 s.
"""

import argparse
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from annolake.cli_analysts import FOR_ANALYSTS
from annolake.clock import Clock
from annolake.errors import AnnolakeError, ConfigError, outcome
from annolake.printable import json_line, printable, printable_lines
from annolake.process import settle_process
from annolake.report import new_report
from annolake.streams import Streams, settle_streams
from annolake.version import __version__

UNWRITTEN = 5

_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

EXIT_CODES = """\
exit codes:
  0    exported
  1    a bug, with a traceback
  2    the command line or the config is wrong
  3    finished, but something is missing: new rejects, runs that the service no longer has, a queue that could not be
       verified complete, or many rows that may have left; of status: a queue without a good export within --max-age
  4    the service refused a request or did not answer, or the cluster of --on did not, or lost a worker too often
  5    the lake could not be read, written or trusted, or standard output could not be written
  6    another export holds a queue's lock
  130, 143  interrupted by SIGINT, SIGTERM
"""


INIT = """\
Write a settings file with every setting explained, then check it. On a terminal it asks for what no option gives. A
file that is there is left alone."""


DRY_RUN = """\
export nothing: say of each queue how many rows there are, and whether all or new ones would be read; what check would
complain of is told too"""


CONFIG = "the settings file (default: ./annolake.toml)"


QUEUE = "its id, its page's address, or its exact name (may be given several times)"


NEW_ONLY = """\
read only rows added since the last complete export, in a few requests; it does not refresh reviews, feedback and
removals of older rows, so it becomes a full export when the last one is older than sync.full_every_s"""


ACCEPT_REMOVALS = """\
mark rows that the service did not show as removed, even if there are many of them or the service still counts them;
without it they are reported as removed_unconfirmed, and the next export looks again"""


MAX_AGE = """\
exit with 3 where a queue has no good export (complete and published) younger than this, counted from its end: 90m, 26h,
2d; for monitors. The queues of source.queues count, also when they were never exported; where these are "all", every
queue that is shown"""


REFRESH = """\
over the items endpoint: ask for the run of every row that is read; without it only for those whose item is new or has
changed, for some of the last 3 days, and for all once sync.refresh_runs_every_s is over; no effect over runs"""


ON = """\
have the workers of a Dask cluster export the queues, one each at a time: dask://host:8786; needs annolake[dask], in the
same version, here and on every worker, which also needs the key's variable and access to the lake"""


UNLOCK = """\
Free the lock of a queue in an object store. The lock of a dead export frees itself after 60 seconds; this is for those
who cannot wait. An export that still runs loses the queue by it, and publishes nothing more of it. On a disk a lock
ends with its process by itself."""


Command = Callable[[argparse.Namespace, Mapping[str, str], Streams], int]


class _UsageError(ConfigError):
    """The command line is wrong; `usage` is what the command takes."""

    def __init__(self, usage: str, message: str) -> None:
        super().__init__(message)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """A parser that raises where it would end the process. Shortened options are no options: a script keeps its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise _UsageError(self.format_usage(), f"{self.prog}: error: {message}")


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
        message = f"annolake: cannot write standard output: {streams.lost}; send it elsewhere and run again"
        print(message, file=streams.err)
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
        command: Command = import_module(f"annolake.commands.{arguments.command}").run
        if process_is_ours:  # nothing imported need be looked at for cycles; measured, 0.06 s of CPU
            gc.freeze()
        return command(arguments, os.environ, streams)
    except SystemExit as end:  # argparse's: after --help and --version, or of a wrong option of the sandbox
        if end.code and "--json" in argv:
            streams.answer(_failure(argv, ConfigError("the command line is wrong")))
        return int(end.code or 0)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last line of defence
        _complain(error, streams)
        if "--json" in argv:
            streams.answer(_failure(argv, error))
        return outcome(error)[1]


def _complain(error: BaseException, streams: Streams) -> None:
    if isinstance(error, _UsageError):
        print(f"{error.usage}{printable(str(error))}", file=streams.err)
    elif isinstance(error, AnnolakeError):
        # a ConfigError has a line for each setting, in which what was given is quoted
        fit = printable_lines if isinstance(error, ConfigError) else printable
        print(f"annolake: {fit(str(error))}", file=streams.err)
    elif isinstance(error, Exception):
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


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; docs/cli.md is generated from it."""
    parser = _Parser(
        prog="annolake",
        description="Export LangSmith annotation queues into a lake of partitioned Parquet files.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"annolake {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help=CONFIG)
    commands = parser.add_subparsers(required=True, metavar="command")

    run = _command(commands, "run", "export the configured queues into the lake")
    _add_config(run)
    run.add_argument("--queue", action="append", metavar="QUEUE", help=f"export only this queue: {QUEUE}")
    run.add_argument("--new-only", action="store_true", help=NEW_ONLY)
    run.add_argument("--accept-removals", action="store_true", help=ACCEPT_REMOVALS)
    run.add_argument("--refresh", action="store_true", help=REFRESH)
    run.add_argument("--on", metavar="ADDRESS", help=ON)
    run.add_argument("--dry-run", action="store_true", help=DRY_RUN)
    run.add_argument("--json", action="store_true", help="print the report as the last line of standard output")
    run.add_argument("--quiet", action="store_true", help="print only what went wrong")
    run.set_defaults(result_is_kept=True)  # the report is in the lake, and the export is done

    check = _command(commands, "check", "test settings, key, queues and lake; export nothing")
    _add_config(check)
    check.add_argument("--json", action="store_true", help="print one line of JSON")

    queues = _command(commands, "queues", "list the queues that the key can see: id, size, name, reviewers")
    _add_config(queues)
    queues.add_argument("--json", action="store_true", help="print one line of JSON")

    init = _command(
        commands, "init", "write a settings file with every setting explained, then check it", description=INIT
    )
    _add_config(init)
    init.add_argument("--base-url", metavar="ADDRESS", help="the service's address")
    init.add_argument("--api-key-env", metavar="NAME", help="the variable that holds the key")
    init.add_argument("--queue", action="append", metavar="QUEUE", help=f"a queue to export: {QUEUE}")
    init.add_argument("--lake", metavar="PLACE", help="the folder or address of the lake")

    status = _command(commands, "status", "show what the lake holds of each queue and how the last exports ended")
    _add_config(status)
    status.add_argument("--queue", action="append", metavar="QUEUE", help=f"show only this queue: {QUEUE}")
    status.add_argument("--max-age", type=_length_s, metavar="LENGTH", help=MAX_AGE)
    status.add_argument("--json", action="store_true", help="print one line of JSON")

    rejects = _command(commands, "rejects", "show which rows the lake could not take, and why, by reason")
    _add_config(rejects)
    rejects.add_argument("--queue", action="append", metavar="QUEUE", help=f"only this queue: {QUEUE}")
    rejects.add_argument("--json", action="store_true", help="print one line of JSON")

    verify = _command(commands, "verify", "read the lake back and report what is wrong with it")
    _add_config(verify)
    verify.add_argument("--json", action="store_true", help="print one line of JSON")

    _add_for_analysts(commands)

    unlock = _command(commands, "unlock", "free the lock of a queue, left by an export that died", description=UNLOCK)
    _add_config(unlock)
    unlock.add_argument("queue", metavar="QUEUE", help="the queue's id")

    schema = _command(commands, "schema", "print the columns and types of tables and views, and where they come from")
    schema.add_argument("--format", choices=["md", "json"], default="md", help="Markdown (default) or JSON")

    _command(commands, "sandbox", "run the embedded stand-in for the service", add_help=False)

    demo = _command(commands, "demo", "export a sandbox queue into ./demo-lake and query it")
    demo.add_argument("--lake", type=Path, default=Path("demo-lake"), metavar="DIR", help="default: ./demo-lake")
    return parser


def _add_for_analysts(commands: Any) -> None:
    for name, what, description, add_options in FOR_ANALYSTS:
        command = _command(commands, name, what, description=description)
        _add_config(command)
        add_options(command, QUEUE)


def _length_s(text: str) -> float:
    """Return a length of time in seconds; ArgumentTypeError where it is none."""
    length = _LENGTH.fullmatch(text)
    seconds = float(length[1]) * _UNIT_S[length[2]] if length else 0
    if not seconds:
        allowed = "a number above 0 and s, m, h or d, such as 90m, 26h or 2d (a plain number is seconds)"
        raise argparse.ArgumentTypeError(f"expected {allowed}, got {text!r}")
    return seconds


def _command(commands: Any, name: str, what: str, **options: Any) -> argparse.ArgumentParser:
    options = {"description": what[0].upper() + what[1:] + "."} | options
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what, **options)
    parser.set_defaults(command=name, reads_settings=False)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    # what is not given here leaves what was given before the command
    parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help=CONFIG)
    parser.set_defaults(reads_settings=True)
