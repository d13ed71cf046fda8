"""The options of the commands that are for analysts: `copy`, `dashboard`.

Owns their names and what `--help` says of them; `cli` has the parser, and what all commands have in common.
"""

import argparse
import re
from datetime import date
from pathlib import Path

COPY = """\
Copy a table into one flat file, for programs that know no lake: lists, maps and objects as JSON text, decimals exact,
times in UTC, hashes left out, queue_id and queue_name first. Rows that left their queue are left out; --all copies them
too, with removed_at. The file has its name when it is whole."""


DASHBOARD = """\
Write one page of HTML about the lake: how the last exports went, which runs wait and for how long, what was finished
and by whom, costs and tokens, answers, rejects. It is one file, without scripts, and loads nothing. It needs
annolake[dashboard]."""


SPREADSHEET = """\
CSV for a spreadsheet: text that it would compute as a formula begins with an apostrophe, and the file says that it is
UTF-8; without it each text is copied exactly"""


SINCE = """\
the first day to show (2026-11-01), or how many days up to the newest on which something happened (30d, the default)"""


OUT = """\
the file to write (default: ./dashboard.html); an earlier dashboard is replaced, another file never"""


def _add_copy(copy: argparse.ArgumentParser, queue: str) -> None:
    tables = ["runs", "queues", "feedback", "turns"]
    copy.add_argument("table", choices=tables, metavar="TABLE", help=f"{', '.join(tables[:-1])} or {tables[-1]}")
    copy.add_argument("--out", required=True, metavar="FILE", help="the file to write; - for standard output")
    copy.add_argument("--format", choices=["csv", "ndjson", "parquet"], help="default: what the file's name ends with")
    copy.add_argument("--queue", action="append", metavar="QUEUE", help=f"only this queue: {queue}")
    copy.add_argument("--all", action="store_true", help="rows that left their queue, too")
    copy.add_argument("--spreadsheet", action="store_true", help=SPREADSHEET)
    copy.add_argument("--force", action="store_true", help="replace the file that has that name")


def _add_dashboard(dashboard: argparse.ArgumentParser, _queue: str) -> None:
    dashboard.add_argument("--out", type=Path, default=Path("dashboard.html"), metavar="FILE", help=OUT)
    dashboard.add_argument("--since", type=_days_or_date, metavar="DAY", help=SINCE)


def _days_or_date(text: str) -> date | int:
    """Return a day, or a number of days; ArgumentTypeError where it is neither."""
    days = re.fullmatch("([1-9][0-9]{0,4})d", text)
    if days:
        return int(days[1])
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a day such as 2026-11-01, or 30d, got {text!r}") from None


FOR_ANALYSTS = (
    ("copy", "copy a table of the lake into one flat file", COPY, _add_copy),
    ("dashboard", "write a page about the lake to look at", DASHBOARD, _add_dashboard),
)
"""The commands: name, what it does in a line, what it does in full, and what adds its options.

That takes the parser, and how a queue is named in words.
"""
