"""`annolake demo`: a sandbox queue exported into a lake, and a question about it answered twice.

Owns the tour for a newcomer. It uses the same functions as `annolake run`, so what it shows is what runs.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import polars as pl

from annolake.clock import Clock
from annolake.config import load_config
from annolake.console import Console
from annolake.interruption import Interruption
from annolake.pipeline import export
from annolake.report import Report, in_words, worst
from annolake.sandbox import Population, Sandbox
from annolake.streams import Streams

ROWS = 1_500
SEED = 20

SQL = """\
SELECT added_date, model, sum(total_cost) AS cost, sum(total_tokens) AS tokens
FROM read_parquet('{lake}/runs/**/*.parquet', hive_partitioning = true)
WHERE removed_at IS NULL
GROUP BY added_date, model ORDER BY cost DESC, added_date LIMIT 5"""

POLARS = """\
pl.scan_parquet("{lake}/runs/", hive_partitioning=True)
  .filter(pl.col("removed_at").is_null())
  .group_by("added_date", "model")
  .agg(cost=pl.col("total_cost").sum(), tokens=pl.col("total_tokens").sum())
  .sort(["cost", "added_date"], descending=[True, False]).head(5).collect()"""


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
        _answer(lake, out)
    return worst(report.exit_code for report in reports)


def _answer(lake: Path, out: TextIO) -> None:
    frame = (
        pl.scan_parquet(lake / "runs", hive_partitioning=True)
        .filter(pl.col("removed_at").is_null())
        .group_by("added_date", "model")
        .agg(cost=pl.col("total_cost").sum(), tokens=pl.col("total_tokens").sum())
        .sort(["cost", "added_date"], descending=[True, False])
        .head(5)
        .collect()
    )
    print(f"\nThe five most expensive days and models, asked with polars:\n\n{POLARS.format(lake=lake)}\n", file=out)
    print(frame, file=out)
    query = SQL.format(lake=lake)
    print(f"\nThe same, asked with DuckDB:\n\n{query}\n", file=out)
    try:
        import duckdb  # noqa: PLC0415 - an extra: an export never needs it
    except ImportError:
        print(f"DuckDB is not installed: {sys.executable} -m pip install duckdb", file=out)
        return
    print(duckdb.sql(query), file=out)
    print(f"The lake stays in {lake}. For a real queue: README.md, 'A first real export'.", file=out)
