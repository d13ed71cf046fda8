"""Real processes: exports killed in the middle beside looping readers, over every kind of lake whose readers are safe.

`make test-storage` kills many more times. Plain Parquet in an object store is left out: there a reader may see a day
twice (README), and what a kill leaves is what it leaves on a disk that cannot exchange folders (`test_faults`).
"""

import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from threading import Event
from typing import Any, Literal

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from annolake.load.lake import Lake
from load.endless_export import DAYS, state
from load.model_queue import QUEUE, Row, export, lake_of
from load.storage.buckets import bucket_of
from object_store import BUCKET, ObjectStore
from rounds import rounds

TESTS = Path(__file__).parents[1]
KILLS = rounds(3, many=60)

Answer = tuple[tuple[str, str, str], ...]  # the date, the name and the version of each row, sorted


@dataclass
class Killed:
    """A lake whose exports are killed: in the `store`, else on the disk."""

    address: str
    scratch: Path
    format: Literal["parquet", "delta"]
    store: ObjectStore | None = None
    answers: dict[str, list[Answer]] = field(default_factory=lambda: {"polars": [], "duckdb": []})

    @property
    def environ(self) -> Mapping[str, str]:
        """What reaches the lake."""
        return self.store.environ() if self.store else {}

    @property
    def runs(self) -> str:
        """Where the table is."""
        return f"{self.address}/runs"

    def lake(self, *, keep_s: int = 604800) -> Lake:
        """Open the lake."""
        return lake_of(self.address, self.environ, scratch=self.scratch, wanted=self.format, keep_s=keep_s)

    def table(self) -> DeltaTable:
        """Open the Delta table."""
        return DeltaTable(self.runs, storage_options=dict(self.environ) or None)

    def with_polars(self) -> Answer:
        """Read the table, as polars scans it."""
        if self.format == "delta":
            frame = pl.scan_delta(self.runs, storage_options=dict(self.environ) or None)
        else:
            frame = pl.scan_parquet(f"{self.runs}/", hive_partitioning=True)
        days = pl.col("added_date").cast(pl.String).fill_null("None")
        return tuple(sorted(frame.select(days, "name", "status").collect().rows()))

    def with_duckdb(self) -> Answer:
        """Read the table, as DuckDB does."""
        with duckdb.connect() as connection:
            if self.format == "delta":
                connection.register("runs", self.table().to_pyarrow_dataset())
            else:
                files = f"read_parquet('{self.runs}/**/*.parquet', hive_partitioning = true)"
                connection.execute(f"create view runs as from {files}")
            query = "select coalesce(added_date::varchar, 'None'), name, status from runs"
            return tuple(sorted(connection.execute(query).fetchall()))

    def data_files(self) -> set[str]:
        """Return every file below the table's folder but those of the log."""
        if self.store:
            found: Sequence[str] = bucket_of(self.store).below(self.runs.removeprefix(f"s3://{BUCKET}/"))
        else:
            found = [str(path) for path in Path(self.runs).rglob("*") if path.is_file()]
        return {name.rpartition("/")[2] for name in found if "/_delta_log/" not in name}


@pytest.fixture(params=["disk-parquet", "disk-delta", "s3-delta"])
def killed(request: pytest.FixtureRequest, tmp_path: Path) -> Killed:
    """Give a lake of each kind, with one export."""
    place, arrangement = request.param.split("-")
    store = request.getfixturevalue("object_store") if place == "s3" else None
    address = store.address() if store else str(tmp_path / "lake")
    there = Killed(address, tmp_path / "scratch", arrangement, store)
    export(there.lake(), state(0), number=0)
    return there


def _is_not_found(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or "No such file" in str(error)


def _seen(rows: Sequence[Row]) -> Answer:
    """Return what a reader is to see of some rows."""
    return tuple(sorted((_day(row), row.values()["name"], f"version {row.version}") for row in rows))


def _day(row: Row) -> str:
    return row.added_at.date().isoformat() if row.added_at else "None"


def _wrong_days(answers: set[Answer], last: int) -> set[str]:
    """Return which days were seen as no export left them: a row missing or doubled, or half of an export."""
    right = defaultdict[str, set[Answer]](set)
    for number in range(last + 1):
        for day, rows in groupby(_seen(state(number)), key=itemgetter(0)):
            right[day].add(tuple(rows))
    found = set()
    for answer in answers:
        days = {day: tuple(rows) for day, rows in groupby(answer, key=itemgetter(0))}
        found |= {day for day in right if days.get(day) not in right[day]} | (days.keys() - right.keys())
    return found


def _wrong_versions(answers: list[Answer], last: int) -> str | None:
    """Say what is wrong where each answer must be one whole export's, and none older than the one before it."""
    numbers = {_seen(state(number)): number for number in range(last + 1)}
    seen = [numbers.get(answer) for answer in answers]
    if None in seen:
        return "an answer is no export's"
    return "an older version came after a newer one" if any(one > two for one, two in pairwise(seen)) else None  # type: ignore[operator]


@contextmanager
def _readers(there: Killed) -> Iterator[None]:
    """Have both engines read in a loop; where replaced files are gone at once, a file not found is asked for again."""
    stop = Event()

    def loop(read: Callable[[], Answer], answers: list[Answer]) -> None:
        while not stop.is_set():
            try:
                answers.append(read())
            except (OSError, duckdb.IOException, pl.exceptions.PolarsError) as error:
                if there.format == "delta" or not _is_not_found(error):
                    raise

    with ThreadPoolExecutor(2) as pool:
        loops = [
            pool.submit(loop, there.with_polars, there.answers["polars"]),
            pool.submit(loop, there.with_duckdb, there.answers["duckdb"]),
        ]
        try:
            yield
        finally:
            stop.set()
        for future in loops:
            future.result()


def test_killed_exports_beside_looping_readers(killed: Killed) -> None:
    """No answer is ever doubled, short or torn; the export after the kills equals the queue and leaves no litter."""
    moments, last = random.Random(7), 0
    with _readers(killed):
        for kill in range(KILLS):
            last = _killed_export(killed, last + 1, moments, while_publishing=kill % 2 == 0)
    lake = killed.lake(keep_s=0)
    export(lake, state(last + 1), number=last + 1)

    for engine, answers in killed.answers.items():
        assert len(answers) > KILLS, engine
        assert _wrong_days({*answers}, last) == set(), engine
        assert killed.format == "parquet" or _wrong_versions(answers, last) is None, engine
    assert killed.with_polars() == killed.with_duckdb() == _seen(state(last + 1))
    assert not lake.litter()
    if killed.format == "delta":
        lake.table("runs").vacuum(alone=lambda: True)
        assert killed.data_files() == {uri.rpartition("/")[2] for uri in killed.table().file_uris()}
    assert len(killed.data_files()) == DAYS + 1


def _killed_export(there: Killed, number: int, moments: random.Random, *, while_publishing: bool) -> int:
    """Export until a random moment, then kill -9; return the number of the export that was running."""
    command = [sys.executable, "-m", "load.endless_export", there.address, str(there.scratch), str(number)]
    environ: dict[str, Any] = {**os.environ, **there.environ}
    steps, publishes = moments.randrange(60, 240), "commit to" if there.format == "delta" else "replace"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS, env=environ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            steps -= 1
            if line.startswith("export"):
                number = int(line.split()[1])
            if steps < 0 and (line.startswith(publishes) or not while_publishing):
                break
        process.kill()
        for line in process.stdout:
            if line.startswith("export"):
                number = int(line.split()[1])
    if there.store:
        there.lake().unlock(QUEUE)  # else the next export would wait for the lease's end, a minute
    return number
