"""Real processes: exports killed in the middle beside looping readers, and locks between processes."""

import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Event

import duckdb
import polars as pl

from annolake.load.lake import Lake
from load.endless_export import DAYS, state
from load.model_queue import Row, export, lake_at, parts, root_of, stored, with_duckdb

TESTS = Path(__file__).parents[1]
KILLS = 4

Answer = tuple[tuple[str, str, str], ...]  # the date, the name and the version of each row, sorted


def _with_polars(lake: Lake) -> Answer:
    frame = pl.scan_parquet(root_of(lake) / "runs", hive_partitioning=True)
    found = frame.select(pl.col("added_date").cast(pl.String).fill_null("None"), "name", "status").collect()
    return tuple(sorted(found.rows()))


def _with_duckdb(lake: Lake) -> Answer:
    query = "select coalesce(added_date::varchar, 'None'), name, status from runs"
    return tuple(sorted(with_duckdb(lake, query)))


def _is_not_found(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or "No such file" in str(error)


def _states(last: int) -> dict[str, set[Answer]]:
    """Return, for each partition, what it holds before and after each export."""
    found = defaultdict[str, set[Answer]](set)
    for number in range(last + 1):
        days = defaultdict[str, list[tuple[str, str, str]]](list)
        for row in state(number):
            days[_day(row)].append((_day(row), row.values()["name"], f"version {row.version}"))
        for day, rows in days.items():
            found[day].add(tuple(sorted(rows)))
    return found


def _day(row: Row) -> str:
    return row.added_at.date().isoformat() if row.added_at else "None"


def _wrong(answer: Answer, states: dict[str, set[Answer]]) -> str | None:
    """Say what no reader may ever see: a row missing or doubled, or half of a partition's export."""
    days = {day: tuple(rows) for day, rows in groupby(answer, key=itemgetter(0))}
    if days.keys() != states.keys():
        return "a partition is missing"
    torn = [day for day, rows in days.items() if rows not in states[day]]
    return f"rows of {torn} are missing, doubled or of half an export" if torn else None


def test_killed_exports_beside_looping_readers(tmp_path: Path) -> None:
    """No answer is ever doubled, short or torn, and the export after the kills equals the queue."""
    lake, moments = lake_at(tmp_path), random.Random(7)
    export(lake, state(0), number=0)
    stop = Event()
    answers: dict[Callable[[Lake], Answer], list[Answer]] = {_with_polars: [], _with_duckdb: []}

    def loop(reader: Callable[[Lake], Answer]) -> None:
        while not stop.is_set():
            try:
                answers[reader].append(reader(lake))
            except (OSError, duckdb.IOException, pl.exceptions.PolarsError) as error:
                if not _is_not_found(error):
                    raise

    last = 0
    with ThreadPoolExecutor(2) as pool:
        loops = [pool.submit(loop, reader) for reader in answers]
        try:
            for kill in range(KILLS):
                last = _killed_export(tmp_path, last + 1, moments, while_replacing=kill % 2 == 0)
        finally:
            stop.set()
        for future in loops:
            future.result()
    export(lake, state(last + 1), number=last + 1)

    for reader, seen in answers.items():
        assert len(seen) > KILLS, reader
        assert {_wrong(answer, _states(last)) for answer in set(seen)} == {None}, reader
    assert {key: row["status"] for key, row in stored(lake).items()} == {
        row.key: f"version {row.version}" for row in state(last + 1)
    }
    assert len(parts(lake)) == DAYS + 1
    assert not list((tmp_path / "_annolake" / "tmp").iterdir())


def _killed_export(root: Path, number: int, moments: random.Random, *, while_replacing: bool) -> int:
    """Export until a random moment, then kill -9; return the number of the export that was running."""
    command = [sys.executable, "-m", "load.endless_export", str(root), str(number)]
    steps = moments.randrange(60, 240)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS) as process:
        assert process.stdout is not None
        for line in process.stdout:
            steps -= 1
            if line.startswith("export"):
                number = int(line.split()[1])
            if steps < 0 and (line.startswith("replace") or not while_replacing):
                break
        process.kill()
        for line in process.stdout:
            if line.startswith("export"):
                number = int(line.split()[1])
    return number
