"""What the command line takes: commands and options (docs/cli.md)."""

import argparse
import re
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from annolake.errors import ConfigError
from annolake.help_texts import (
    ACCEPT_REMOVALS,
    CONFIG,
    COPY,
    DASHBOARD,
    DRY_RUN,
    ERASE,
    ERASE_OLDER,
    ERASE_QUEUE,
    ERASE_RUN,
    EXIT_CODES,
    INIT,
    MAX_AGE,
    NEW_ONLY,
    ON,
    OUT,
    PAGE,
    QUEUE,
    REFRESH,
    REWRITE,
    SINCE,
    SPREADSHEET,
    UNLOCK,
    UNLOCK_QUEUE,
    VIEWS,
)
from annolake.version import __version__

_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class UsageError(ConfigError):
    """The command line is wrong; `usage` is what the command takes."""

    def __init__(self, usage: str, message: str) -> None:
        super().__init__(message)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """A parser that raises where it would end the process. Shortened options are no options: a script keeps its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(self.format_usage(), f"{self.prog}: error: {message}")


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
    for group in (_add_exports, _add_reports, _add_for_analysts, _add_changes, _add_others):
        group(commands)
    return parser


def _add_exports(commands: Any) -> None:
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


def _add_reports(commands: Any) -> None:
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


def _add_for_analysts(commands: Any) -> None:
    views = _command(commands, "views", "make views of the lake for DuckDB: SQL, or a database file", description=VIEWS)
    _add_config(views)
    views.add_argument("--out", type=Path, metavar="FILE", help=OUT)

    copy = _command(commands, "copy", "copy a table of the lake into one flat file", description=COPY)
    _add_config(copy)
    copy.add_argument(
        "table",
        choices=["runs", "queues", "feedback", "turns"],
        metavar="TABLE",
        help="runs, queues, feedback or turns",
    )
    copy.add_argument("--out", required=True, metavar="FILE", help="the file to write; - for standard output")
    copy.add_argument("--format", choices=["csv", "ndjson", "parquet"], help="default: what the file's name ends with")
    copy.add_argument("--queue", action="append", metavar="QUEUE", help=f"only this queue: {QUEUE}")
    copy.add_argument("--all", action="store_true", help="rows that left their queue, too")
    copy.add_argument("--spreadsheet", action="store_true", help=SPREADSHEET)
    copy.add_argument("--force", action="store_true", help="replace the file that has that name")

    dashboard = _command(commands, "dashboard", "write a page about the lake to look at", description=DASHBOARD)
    _add_config(dashboard)
    dashboard.add_argument("--out", type=Path, default=Path("dashboard.html"), metavar="FILE", help=PAGE)
    dashboard.add_argument("--since", type=_days_or_date, metavar="DAY", help=SINCE)


def _add_changes(commands: Any) -> None:
    rewrite = _command(commands, "rewrite", "apply [columns] to the rows that are in the lake", description=REWRITE)
    _add_config(rewrite)
    rewrite.add_argument("--json", action="store_true", help="print one line of JSON")

    erase = _command(commands, "erase", "remove a run, a queue or old rows from the lake, for good", description=ERASE)
    _add_config(erase)
    what = erase.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", action="append", metavar="ID", help=ERASE_RUN)
    what.add_argument("--queue", action="append", metavar="QUEUE", help=ERASE_QUEUE)
    what.add_argument("--older-than", type=_length_s, metavar="LENGTH", help=ERASE_OLDER)
    erase.add_argument("--yes", action="store_true", help="do not ask first")
    erase.add_argument("--json", action="store_true", help="print one line of JSON; needs --yes")

    unlock = _command(commands, "unlock", "free the lock of a queue, left by an export that died", description=UNLOCK)
    _add_config(unlock)
    unlock.add_argument("queue", metavar="QUEUE", help=UNLOCK_QUEUE)


def _add_others(commands: Any) -> None:
    schema = _command(commands, "schema", "print the columns and types of tables and views, and where they come from")
    schema.add_argument("--format", choices=["md", "json"], default="md", help="Markdown (default) or JSON")

    _command(commands, "sandbox", "run the embedded stand-in for the service", add_help=False)

    demo = _command(commands, "demo", "export a sandbox queue into ./demo-lake, query it, and make a page about it")
    demo.add_argument("--lake", type=Path, default=Path("demo-lake"), metavar="DIR", help="default: ./demo-lake")


def _days_or_date(text: str) -> date | int:
    """Return a day, or a number of days; ArgumentTypeError where it is neither."""
    days = re.fullmatch("([1-9][0-9]{0,4})d", text)
    if days:
        return int(days[1])
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a day such as 2026-11-01, or 30d, got {text!r}") from None


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
