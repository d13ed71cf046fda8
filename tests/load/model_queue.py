"""A queue as the tests see it, and one export of it, driven the way the pipeline drives the lake."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import duckdb
import polars as pl
import pyarrow as pa
from msgspec import structs

from annolake.clock import Clock
from annolake.contract import RUNS, TABLES
from annolake.keys import key_of
from annolake.load.lake import Lake
from annolake.load.merge.decide import Counts
from annolake.load.merge.upsert import Outcome, Upsert
from annolake.load.place import DeltaSettings, open_place
from annolake.load.storage.files import Gate
from annolake.load.storage.local import LocalFiles, straight
from annolake.load.storage.scratch import Workspace
from load.kinds import Arrangement, data_files, delta_table, opened, place_at, scanned, written

QUEUE = "11111111-2222-4333-8444-555555555555"
START = datetime(2026, 11, 1, 8, tzinfo=UTC)
FIRST_EXPORT = datetime(2026, 12, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RunsContract:
    """The contract of the table `runs` in another version."""

    version: int
    schema: pa.Schema
    name: str = RUNS.name
    key: tuple[str, ...] = RUNS.key
    time: str = RUNS.time
    partition: str = RUNS.partition
    owners: tuple[str, ...] = RUNS.owners


@dataclass(frozen=True)
class Row:
    """A row of the queue: `version` stands for everything that reviewers change."""

    number: int
    added_at: datetime | None
    version: int = 0
    payload: int = 20

    @property
    def key(self) -> str:
        """The row's queue_run_id, in an order that is not that of the numbers."""
        return str(UUID(bytes=blake2b(str(self.number).encode(), digest_size=16).digest()))

    @property
    def hash(self) -> bytes:
        """The row's hash: everything but what the export itself adds."""
        return blake2b(repr(self).encode(), digest_size=16).digest()

    def values(self) -> dict[str, Any]:
        """The row's columns, odd types among them; the others are null."""
        cost = Decimal(f"{self.number}.{self.version:018d}")
        return {
            "queue_run_id": self.key,
            "item_type": "RUN",
            "endpoint": "runs",
            "archived": self.version % 2 == 1,
            "added_at": self.added_at,
            "name": f"run {self.number} \u00e9\x00",
            "status": f"version {self.version}",
            "total_cost": cost,
            "prompt_token_details": [("cache_read", 2**53 + self.version)] if self.number % 3 else [],
            "prompt_cost_details": [("cache_read", cost)] if self.number % 2 else None,
            "tags": None if self.number % 5 == 0 else ["a"] * (self.number % 3),
            "start_time": START + timedelta(microseconds=self.number),
            "latency_s": self.number / 7,
            "inputs": '{"text": "' + f"{self.number:x}" * self.payload + '"}',
            "feedback_stats": f'{{"version": {self.version}}}',
            "row_hash": self.hash,
            "exported_at": datetime(1970, 1, 1, tzinfo=UTC),
        }


def rows(count: int, *, days: int = 5) -> list[Row]:
    """Return rows spread over some days, every 17th without added_at."""
    return [
        Row(number, None if number % 17 == 16 else START + timedelta(days=number % days, seconds=number))
        for number in range(count)
    ]


def numbers_of(upsert: Upsert, some: Sequence[Row]) -> list[int]:
    """Return the numbers of rows, which are met thereby."""
    return upsert.index.meet([key_of(row.key) for row in some])[1]


def take(upsert: Upsert, some: Sequence[Row]) -> None:
    """Have an upsert take rows that are new or changed."""
    numbers = numbers_of(upsert, some)
    upsert.index.changed(numbers, [row.hash for row in some])
    upsert.add(batch(some), numbers)


def batch(some: Sequence[Row]) -> pa.RecordBatch:
    """Return rows in the contract's schema."""
    return pa.RecordBatch.from_pylist([row.values() for row in some], schema=RUNS.schema)


def lake_at(
    root: Path, *, gate: Gate = straight, exchanges: bool = True, row_group_mb: int = 32, keep_reports: int = 500
) -> Lake:
    """Return the lake that a folder names, of the kind that the test's fixtures set (`load.kinds`)."""
    place = place_at(root, gate=gate, exchanges=exchanges)
    return Lake(place, tables=TABLES, hash_version=1, row_group_mb=row_group_mb, keep_reports=keep_reports)


def lake_of(
    address: str,
    environ: Mapping[str, str],
    *,
    scratch: Path | None = None,
    wanted: Literal["parquet", "delta"] | None = None,
    gate: Gate = straight,
    keep_s: int = 604800,
) -> Lake:
    """Return the lake in a folder or at an address, as a process of its own opens it."""
    where = address if "://" in address else Path(address)
    place = open_place(where, {}, environ, clock=Clock(), scratch=scratch, gate=gate)
    return Lake(structs.replace(place, wanted=wanted, delta=DeltaSettings(keep_s)), tables=TABLES, hash_version=1)


def root_of(lake: Lake) -> Path:
    """Return the folder of a lake on a disk."""
    return Path(str(lake.root))


def folder_of(lake: Lake, table: str = "runs", *, queue_id: str = QUEUE) -> Path:
    """Return the folder of a queue in a table, of a lake on a disk."""
    return root_of(lake) / table / f"queue_id={queue_id}"


def workspace_in(folder: Path) -> Workspace:
    """Return a workspace in a folder that is there."""
    return Workspace("test", folder, folder, LocalFiles())


def counts_file(lake: Lake, table: str = "runs", *, queue_id: str = QUEUE) -> Path:
    """Return the file with the counts of a queue's files in a table."""
    name = f"{queue_id}.json" if table == "runs" else f"{queue_id}.{table}.json"
    return root_of(lake) / "_annolake" / "counts" / name


@dataclass(frozen=True)
class Done:
    """What one export did."""

    counts: Counts
    unchanged: int
    outcomes: list[Outcome]

    @property
    def written(self) -> set[date | None]:
        """The days whose partition was written."""
        return {outcome.day for outcome in self.outcomes if outcome.written}


def export(
    lake: Lake,
    read: Iterable[Row],
    *,
    number: int = 1,
    complete: bool = True,
    queue_id: str = QUEUE,
    unavailable: frozenset[str] = frozenset(),
    page: int = 10,
    hold: int = 1,
    budget: int = 32 << 20,
    at_once: int = 1,
    prepared: int | None = None,
) -> Done:
    """Export what was `read`, in that order, as the `number`th export, a second after the one before.

    Changed rows wait until there are `hold` of them, as in the pipeline. Once `prepared` rows were read, what can be
    merged of them is; in every other export it is not foreseen that rows will be removed.
    """
    foreseen = complete and number % 2 == 1
    now, line = FIRST_EXPORT + timedelta(seconds=number), list(read)
    waiting: list[Row] = []
    lake.prepare()
    with (
        lake.workspace(f"export-{number}", since=now) as workspace,
        lake.lock(queue_id, since=now),
        lake.upsert(queue_id, workspace, now=now, budget=budget) as upsert,
    ):
        for start in range(0, len(line), page):
            if prepared is not None and start >= prepared:
                _add(upsert, waiting, unavailable)
                _prepare(upsert, at_once, may_remove=foreseen)
                waiting, prepared = [], None
            some = line[start : start + page]
            wanted = upsert.index.changed(numbers_of(upsert, some), [row.hash for row in some])
            waiting += [row for row, want in zip(some, wanted, strict=True) if want]
            if len(waiting) >= hold:
                _add(upsert, waiting, unavailable)
                waiting = []
        _add(upsert, waiting, unavailable)
        if prepared is not None:
            _prepare(upsert, at_once, may_remove=foreseen)
        outcomes = list(upsert.publish(remove_gone=complete, at_once=at_once))
        return Done(upsert.counts, upsert.unchanged, outcomes)


def _add(upsert: Upsert, some: Sequence[Row], unavailable: frozenset[str]) -> None:
    if some:
        upsert.add(batch(some), numbers_of(upsert, some), unavailable=unavailable)


def _prepare(upsert: Upsert, at_once: int, *, may_remove: bool) -> None:
    """Merge what can be merged of what was read."""
    while upsert.prepare(may_remove=may_remove, at_once=at_once):
        pass


def parts(lake: Lake, queue_id: str = QUEUE) -> dict[str, tuple[object, ...]]:
    """Return each file under `runs/` of a queue by its folder: its name, and what tells when it was written."""
    found: dict[str, tuple[object, ...]] = {}
    for path in data_files(lake, "runs", queue_id=queue_id):
        assert path.parent.name not in found, "a partition has one file"
        found[path.parent.name] = (path.name, *written(path))
    return found


def stored(lake: Lake, queue_id: str = QUEUE) -> dict[str, dict[str, Any]]:
    """Return what the lake holds of a queue, by queue_run_id, as pyarrow reads it; no row is there twice."""
    found: dict[str, dict[str, Any]] = {}
    for path in data_files(lake, "runs", queue_id=queue_id):
        for row in opened(path).read().to_pylist():
            assert row["queue_run_id"] not in found, "a row is there once"
            found[row["queue_run_id"]] = row | {"added_date": path.parent.name.removeprefix("added_date=")}
    return found


def expected(row: Row, *, exported: int, removed: int | None = None) -> dict[str, Any]:
    """Return what the lake holds of a row that the `exported`th export wrote (and the `removed`th missed)."""
    day = "__HIVE_DEFAULT_PARTITION__" if row.added_at is None else row.added_at.date().isoformat()
    own = {
        "exported_at": FIRST_EXPORT + timedelta(seconds=exported),
        "removed_at": None if removed is None else FIRST_EXPORT + timedelta(seconds=removed),
        "added_date": day,
    }
    return dict.fromkeys(RUNS.schema.names) | row.values() | own


def timeless(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return rows without the times of the exports that wrote them; that a row is removed stays."""
    return {key: row | {"exported_at": None, "removed_at": row["removed_at"] is not None} for key, row in rows.items()}


def with_polars(lake: Lake) -> pl.DataFrame:
    """Return the whole table `runs` as polars reads it."""
    return scanned(lake).collect()


def keys_with_polars(lake: Lake) -> list[str]:
    """Return the queue_run_id of every row of the table `runs` as polars reads it."""
    return scanned(lake).select("queue_run_id").collect().to_series().to_list()


def with_duckdb(lake: Lake, query: str) -> list[Any]:
    """Return the answer to a query over `runs`; of a lake in a store DuckDB is handed what pyarrow opens."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        if Arrangement.current == "parquet":
            source = f"read_parquet('{lake.root}/runs/**/*.parquet', hive_partitioning = true)"
        elif Arrangement.store is None:
            source = f"read_parquet({delta_table(lake, 'runs').file_uris()}, hive_partitioning = true)"
        else:
            source = "of_the_log"
            connection.register(source, delta_table(lake, "runs").to_pyarrow_dataset())
        return connection.execute(query.replace("runs", source)).fetchall()


def changed(row: Row, **facts: Any) -> Row:
    """Return the row as it is after a change."""
    return replace(row, version=row.version + 1, **facts)
