"""`annolake demo`: a sandbox queue exported into a lake, and a question about it answered by a view in both engines.

Owns the tour for a newcomer. It uses the same functions as `annolake run`, so what it shows is what runs.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from annolake.clock import Clock
from annolake.commands.dashboard import can_draw, dashboard
from annolake.config import Config, load_config
from annolake.console import Console
from annolake.interruption import Interruption
from annolake.pipeline import export
from annolake.read.database import write_database
from annolake.read.frames import scan
from annolake.read.tables import open_tables
from annolake.read.views import LakeViews
from annolake.report import Report, in_words, worst
from annolake.sandbox import Population, Sandbox
from annolake.streams import Streams
from annolake.web_address import web_address

ROWS = 1_500
SEED = 20

POLARS = """\
import annolake
annolake.scan("{lake}", "daily_cost")
  .sort(["cost", "day"], descending=[True, False])
  .select("day", "model", "runs", "tokens", "cost").head(5).collect()"""

SQL = "SELECT day, model, runs, tokens, cost FROM daily_cost ORDER BY cost DESC, day LIMIT 5"


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Run the demo into the folder of `--lake`; return the worst exit code of its exports."""
    return run_demo(arguments.lake, environ, streams.out, streams.err)


def run_demo(lake: Path, environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """Export a sandbox queue into `lake`, show what three finished reviews change, and query it."""
    clock = Clock()
    with Sandbox(Population(rows=ROWS, odd=False), seed=SEED) as sandbox:
        queue = sandbox.queue()
        print(f"A sandbox service is up at {sandbox.url}: one queue of {ROWS:,} rows.", file=out)
        settings = {
            "source.base_url": sandbox.url,
            "source.queues": sandbox.queue_ids,
            "source.api_key_env": "ANNOLAKE_DEMO_KEY",
            "lake.path": str(lake.absolute()),
        }
        theirs = {name: value for name, value in environ.items() if not name.startswith("ANNOLAKE_")}
        surroundings = {**theirs, "ANNOLAKE_DEMO_KEY": sandbox.api_key}
        config = load_config(None, surroundings, settings)
        console = Console(err, now=clock.now, quiet=True)

        def once(title: str) -> Report:
            report = export(config, surroundings, clock=clock, log=console.log, interruption=Interruption())
            print(f"\n{title}\n  {in_words(report.queues[0])}", file=out)
            return report

        reports = [once(f"The first export, into {lake}:")]
        for row in queue.rows("active")[:3]:
            queue.finish(row.id)
        reports.append(once("Three reviews are finished; the next export rewrites their days and no others:"))
    if all(report.exit_code == 0 for report in reports):
        _answer(config, lake, out)
        _draw(config, lake, surroundings, out)
        print(f"The lake stays in {lake}. For a real queue: README.md, 'A first real export'.", file=out)
    return worst(report.exit_code for report in reports)


def _answer(config: Config, lake: Path, out: TextIO) -> None:
    """Ask one view in both engines; the database of views is put beside the lake."""
    costs = scan(config, "daily_cost").sort(["cost", "day"], descending=[True, False])
    told = POLARS.format(lake=lake)
    print(f"\nThe five most expensive days and models, asked with polars:\n\n{told}\n", file=out)
    print(costs.select("day", "model", "runs", "tokens", "cost").head(5).collect(), file=out)
    try:
        import duckdb  # noqa: PLC0415 - an extra: an export never needs it
    except ImportError:
        print("\nDuckDB is not installed: pip install 'annolake[views]'", file=out)
        return
    file = lake.with_name(f"{lake.name}.duckdb")
    tables = open_tables(config.lake.path, {}, {}, clock=Clock())
    write_database(LakeViews(tables, web_address(config.source.base_url)), file)
    print(f"\nThe same with DuckDB, in {file}, which `annolake views --out` writes:\n\n{SQL}\n", file=out)
    with duckdb.connect(str(file), read_only=True) as connection:
        print(connection.sql(SQL), file=out)


def _draw(config: Config, lake: Path, environ: Mapping[str, str], out: TextIO) -> None:
    """Put the page about the lake beside it."""
    if not can_draw():
        print("What draws the dashboard is not installed: pip install 'annolake[dashboard]'", file=out)
        return
    file = lake.with_name(f"{lake.name}.html").absolute()
    file.write_text(dashboard(config, environ, now=Clock().now()), encoding="utf-8")
    print(f"A page to look at, as `annolake dashboard` writes it: {file.as_uri()}", file=out)
