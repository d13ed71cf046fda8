"""Feedback and turns as the tests see them, and an export of one table, driven the way the pipeline drives the lake."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa

from annolake.contract import FEEDBACK, TURNS
from annolake.keys import joint_key_of, key_of
from annolake.load.lake import Lake
from annolake.load.merge.columns import halves
from annolake.load.merge.decide import Counts
from annolake.load.merge.upsert import Upsert
from load.kinds import data_files, opened, scanned
from load.model_queue import FIRST_EXPORT, QUEUE, START

CONTRACTS = {"feedback": FEEDBACK, "turns": TURNS}
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def uuid(*parts: object) -> str:
    """Return an id that stands for the parts."""
    return str(UUID(bytes=blake2b(repr(parts).encode(), digest_size=16).digest()))


@dataclass(frozen=True)
class Feedback:
    """A feedback on the run of that number, or on a thread."""

    number: int
    run: int | None
    created_at: datetime | None = START
    version: int = 0
    thread_id: str | None = None

    table = "feedback"

    @property
    def ids(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (uuid("feedback", self.number),)

    @property
    def owners(self) -> set[str]:
        """What the feedback is read with."""
        return {*([] if self.run is None else [run_id(self.run)]), *([self.thread_id] if self.thread_id else [])}

    def values(self) -> dict[str, Any]:
        """The columns; the others are null."""
        return {
            "id": self.ids[0],
            "run_id": None if self.run is None else run_id(self.run),
            "thread_id": self.thread_id,
            "key": "correct",
            "score": self.version / 4,
            "comment": f"version {self.version}",
            "created_at": self.created_at,
        }


@dataclass(frozen=True)
class Turn:
    """A turn of the THREAD item of that number."""

    number: int
    item: int
    added_at: datetime | None = START
    version: int = 0

    table = "turns"

    @property
    def ids(self) -> tuple[str, ...]:
        """The columns of the key."""
        return uuid("item", self.item), uuid("trace", self.number)

    @property
    def owners(self) -> set[str]:
        """What the turn is read with."""
        return {self.ids[0]}

    def values(self) -> dict[str, Any]:
        """The columns; the others are null."""
        return {
            "queue_run_id": self.ids[0],
            "added_at": self.added_at,
            "trace_id": self.ids[1],
            "turn_number": self.number,
            "outputs": f'{{"version": {self.version}}}',
        }


Row = Feedback | Turn


def run_id(number: int) -> str:
    """Return the id of a run."""
    return uuid("run", number)


def changed(row: Row, **facts: Any) -> Row:
    """Return the row as it is after a change."""
    return replace(row, version=row.version + 1, **facts)


def batch(some: Sequence[Row]) -> pa.RecordBatch:
    """Return rows in the contract's schema."""
    own = [{"row_hash": _hash(row), "exported_at": NEVER} for row in some]
    values = [row.values() | each for row, each in zip(some, own, strict=True)]
    return pa.RecordBatch.from_pylist(values, schema=CONTRACTS[some[0].table].schema)


def _hash(row: Row) -> bytes:
    return blake2b(repr(row).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Done:
    """What an export did to a table: the ids of what rows belong to that were missing, by column, before they went."""

    counts: Counts
    unchanged: int
    partitions: int
    missing: int
    owners: dict[str, list[str]]


def land(upsert: Upsert, read: Iterable[Row], *, owners: Collection[str] | None, page: int = 10) -> Done:
    """Land what was `read`; only rows of the `owners` can have gone, None: any row."""
    line = list(read)
    for start in range(0, len(line), page):
        some = line[start : start + page]
        numbers = upsert.index.meet([joint_key_of(*row.ids) for row in some])[1]
        wanted = upsert.index.changed(numbers, [_hash(row) for row in some])
        new = [(row, number) for row, number, want in zip(some, numbers, wanted, strict=True) if want]
        if new:
            upsert.add(batch([row for row, _ in new]), [number for _, number in new])
    if owners is not None:
        upsert.keep_others(halves(b"".join(map(key_of, owners))))
    missing, missed = upsert.index.missing, upsert.missing_owners()
    list(upsert.publish(remove_gone=True))
    return Done(upsert.counts, upsert.unchanged, upsert.partitions_written, missing, missed)


def export(
    lake: Lake,
    table: str,
    read: Iterable[Row],
    *,
    number: int = 1,
    owners: Collection[str] | None = None,
    budget: int = 16 << 20,
    queue_id: str = QUEUE,
) -> Done:
    """Export one table of a queue, as the `number`th export, a second after the one before."""
    now = FIRST_EXPORT + timedelta(seconds=number)
    lake.prepare()
    with ExitStack() as closing:
        workspace = closing.enter_context(lake.workspace(f"export-{number}", since=now))
        closing.enter_context(lake.lock(queue_id, since=now))
        upsert = closing.enter_context(lake.upsert(queue_id, workspace, now=now, table=table, budget=budget))
        return land(upsert, read, owners=owners)


def stored(lake: Lake, table: str, queue_id: str = QUEUE) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return what the lake holds of a queue in a table, by key; no row is there twice."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for path in data_files(lake, table, queue_id=queue_id):
        for row in opened(path).read().to_pylist():
            key = tuple(row[name] for name in CONTRACTS[table].key)
            assert key not in found, "a row is there once"
            found[key] = row | {"partition": path.parent.name}
    return found


def expected(row: Row, *, exported: int, removed: int | None = None) -> dict[str, Any]:
    """Return what the lake holds of a row that the `exported`th export wrote (and the `removed`th missed)."""
    contract = CONTRACTS[row.table]
    time = row.values()[contract.time]
    day = "__HIVE_DEFAULT_PARTITION__" if time is None else time.date().isoformat()
    own = {
        "row_hash": _hash(row),
        "exported_at": FIRST_EXPORT + timedelta(seconds=exported),
        "removed_at": None if removed is None else FIRST_EXPORT + timedelta(seconds=removed),
        "partition": f"{contract.partition}={day}",
    }
    return dict.fromkeys(contract.schema.names) | row.values() | own


def with_polars(lake: Lake, table: str) -> pl.DataFrame:
    """Return a whole table as polars reads it."""
    return scanned(lake, table).collect()


def files(root: Path, table: str) -> dict[str, tuple[int, int]]:
    """Return each file of a table with its inode and mtime in ns."""
    found = {path: path.stat() for path in sorted((root / table).rglob("*.parquet"))}
    return {str(path): (there.st_ino, there.st_mtime_ns) for path, there in found.items()}
