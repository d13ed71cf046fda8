"""Exports for tests: against a sandbox over a real socket, into a real folder, read back as analysts do."""

import gc
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import duckdb
import polars as pl

import oracle
from annolake.cli import main
from annolake.clock import Clock
from annolake.config import load_config
from annolake.console import Console
from annolake.interruption import Interruption
from annolake.pipeline import export
from annolake.report import Mode, QueueReport, Report
from annolake.sandbox import Queue, Record, Sandbox

KEY_VARIABLE = "LANGSMITH_API_KEY"

ROWS_ALONE: dict[str, Any] = {"source.feedback": False, "source.threads": False}
"""Settings where a test is about the rows: what is exported beside them takes as long again."""


class FakeClock:
    """Real wall time, with waits that are over at once and are written down."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        """Note the wait instead of waiting."""
        with self._lock:
            self.waits.append(seconds)

    @property
    def clock(self) -> Clock:
        """The clock to hand over."""
        return Clock(sleep=self.sleep)


class Served(Protocol):
    """A service that can be exported: a sandbox, or one that misbehaves (`hostile`)."""

    @property
    def url(self) -> str:
        """Its address."""

    @property
    def queue_ids(self) -> list[str]:
        """Its queues."""

    @property
    def api_key(self) -> str:
        """Its key."""


def write_config(folder: Path, sandbox: Served, settings: Mapping[str, Any] | None = None) -> Path:
    """Write an annolake.toml for a sandbox and the lake `folder/lake`; `settings` are "section.key": value."""
    values: dict[str, Any] = {
        "source.base_url": sandbox.url,
        "source.queues": sandbox.queue_ids,
        "lake.path": str(folder / "lake"),
        **(settings or {}),
    }
    lines = []
    for section in sorted({name.partition(".")[0] for name in values}):
        lines.append(f"[{section}]")
        for name, value in values.items():
            if name.startswith(section + "."):
                lines.append(f"{name.partition('.')[2]} = {json.dumps(value)}")
    path = folder / "annolake.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def export_once(
    sandbox: Served,
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    clock: Clock | None = None,
    mode: Mode = "full",
    **asked: Any,
) -> Report:
    """Export a sandbox's queues into `folder/lake` and return the report; `asked` are further arguments of `export`."""
    clock = clock or FakeClock().clock
    environ = {KEY_VARIABLE: sandbox.api_key}
    config = load_config(write_config(folder, sandbox, settings), environ, {})
    console = Console(io.StringIO(), now=clock.now)
    with console.progress() as progress:
        return export(
            config,
            environ,
            mode=mode,
            clock=clock,
            log=console.log,
            progress=progress,
            interruption=Interruption(),
            **asked,
        )


def one_queue(report: Report) -> QueueReport:
    """Return the report's only queue."""
    (queue,) = report.queues
    return queue


def export_rows(sandbox: Served, folder: Path, settings: Mapping[str, Any] | None = None, **asked: Any) -> Report:
    """Export as `export_once` does, the rows alone."""
    return export_once(sandbox, folder, {**ROWS_ALONE, **(settings or {})}, **asked)


def queries(sandbox: Sandbox) -> list[Record]:
    """Return the queries of runs that a sandbox had."""
    return [record for record in sandbox.requests if record.endpoint == "query"]


@dataclass(frozen=True)
class Ran:
    """A finished process."""

    exit_code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The report on the last line of standard output."""
        report: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return report


def annolake(*arguments: object, key: str | None = None, cwd: Path, environ: Mapping[str, str] | None = None) -> Ran:
    """Run the command line in this process, from a folder, with what it settles for a process of its own undone."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err), _as_in_a_process(_variables(key, environ)):
        exit_code = main([*map(str, arguments)])
    return Ran(exit_code, out.getvalue(), err.getvalue())


def annolake_process(
    *arguments: object, key: str | None = None, cwd: Path, environ: Mapping[str, str] | None = None
) -> Ran:
    """Run the command line in a process of its own: 0.6 s more, where the process is what is tested."""
    command = [sys.executable, "-m", "annolake", *map(str, arguments)]
    variables = _variables(key, environ)
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False, timeout=120)
    return Ran(done.returncode, done.stdout, done.stderr)


def _variables(key: str | None, environ: Mapping[str, str] | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANNOLAKE", "LANGSMITH"))}
    return {**inherited, **({KEY_VARIABLE: key} if key is not None else {}), **(environ or {})}


@contextmanager
def _as_in_a_process(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these environment variables; give back the old ones, the signals' handlers and the rhythm of collections."""
    before = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    thresholds = gc.get_threshold()
    _change_environ(variables)
    try:
        yield
    finally:
        _change_environ(before)
        gc.set_threshold(*thresholds)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _change_environ(variables: Mapping[str, str]) -> None:
    """Have these variables, changing no other: native threads that read one meanwhile can crash the process."""
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


# The process tells its own peak: what the system tells of a child begins with its parent's.
_PEAK = """
import sys
from annolake.cli import main
code = main(["run", "--quiet", "--json", "--config", sys.argv[1]])
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def peak_of_run(config: Path, key: str) -> tuple[Ran, int]:
    """Export in a process of its own; return how it went, and the megabytes that it took at its peak."""
    command = [sys.executable, "-c", _PEAK, str(config)]
    done = subprocess.run(command, env={KEY_VARIABLE: key}, capture_output=True, text=True, check=False, timeout=120)
    report, _, peak = done.stdout.rstrip().rpartition("\n")
    return Ran(done.returncode, report, done.stderr), int(peak)


def with_polars(lake: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of the table `runs` by queue_run_id, as polars reads them."""
    frame = pl.scan_parquet(lake / "runs", hive_partitioning=True).collect()
    return _by_key(frame.to_dicts())


def with_duckdb(lake: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of the table `runs` by queue_run_id, as DuckDB reads them."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        relation = connection.sql(f"FROM read_parquet('{lake}/runs/**/*.parquet', hive_partitioning = true)")
        columns = relation.columns
        return _by_key([dict(zip(columns, row, strict=True)) for row in relation.fetchall()])


def _by_key(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    by_key = {row["queue_run_id"]: row for row in rows}
    assert len(by_key) == len(rows), "a row is there twice"
    return by_key


def held(queue: Queue) -> dict[str, tuple[bool, dict[str, Any]]]:
    """Return what a sandbox queue holds: by queue_run_id whether it is archived, and the row as sent."""
    return {
        row.id: (section == "archived", json.loads(row.text, parse_float=Decimal))
        for section in ("active", "archived")
        for row in queue.rows(section)
    }


def assert_equals_service(lake: Path, queue: Queue) -> None:
    """Check every field of every row of one queue, as both engines read it, against what the service holds."""
    wanted = held(queue)
    for stored in (with_polars(lake), with_duckdb(lake)):
        rows = {key: row for key, row in stored.items() if str(row["queue_id"]) == queue.id}
        present = {key: row for key, row in rows.items() if row["removed_at"] is None}
        assert present.keys() == wanted.keys()
        for key, (archived, sent) in wanted.items():
            assert_row(oracle.parsed(present[key]), sent, archived=archived)


def assert_row(row: dict[str, Any], sent: dict[str, Any], *, archived: bool) -> None:
    """Check one row of the lake, its JSON columns parsed, against the row as sent."""
    for columns in (oracle.expected(sent), oracle.flattened(sent)):
        assert {name: row[name] for name in columns} == columns
    assert oracle.without_queries(row["unmapped"]) == oracle.without_queries(oracle.unknown(sent))
    assert (row["archived"], row["endpoint"], row["item_type"]) == (archived, "runs", "RUN")
    added = oracle.expected(sent)["added_at"]
    assert row["added_date"] == (None if added is None else added.astimezone(UTC).date())


def files_of(lake: Path) -> dict[Path, tuple[int, int]]:
    """Return inode and time of change of every file under `runs` and `queues`."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for table in ("runs", "queues")
        for path in sorted((lake / table).rglob("*.*"))
    }


def now() -> datetime:
    """Return the time, for rows that a test adds."""
    return Clock().now()
