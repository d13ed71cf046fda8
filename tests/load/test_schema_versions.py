"""Lakes written by an older and by a newer program, and the queue's own record."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annolake.contract import QUEUES, RUNS
from annolake.errors import LakeError
from annolake.load.audit import verify
from annolake.load.lake import Lake
from annolake.load.merge.decide import Counts
from annolake.load.place import on_disk
from load.model_queue import (
    FIRST_EXPORT,
    QUEUE,
    RunsContract,
    batch,
    changed,
    expected,
    export,
    folder_of,
    lake_at,
    numbers_of,
    parts,
    rows,
    stored,
)


def lake_of(root: Path, version: int, schema: pa.Schema) -> Lake:
    """Return the lake as a program of that schema version sees it."""
    return Lake(on_disk(root), tables=[RunsContract(version, schema), QUEUES], hash_version=1)


# What version 1 was before the contract grew: without a column, and with a narrower one.
OLDER = pa.schema(
    [
        pa.field(field.name, pa.int32() if field.name == "total_tokens" else field.type, field.nullable)
        for field in RUNS.schema
        if field.name not in {"thread_id", "item_hash"}
    ]
)


def test_a_new_schema_version_rewrites_every_partition_of_the_queue(tmp_path: Path) -> None:
    """No file of the older version stays, no row counts as changed, and none gets another exported_at."""
    queue = rows(40)
    export(lake_of(tmp_path, 1, OLDER), queue)
    before = parts(lake_at(tmp_path))
    newer = lake_at(tmp_path)

    done = export(newer, [changed(queue[0]), *queue[1:]], number=2)

    after = parts(newer)
    assert after.keys() == before.keys()
    assert all(after[day] != before[day] for day in before)
    assert stored(newer) == {
        row.key: expected(row, exported=2 if row.version else 1) for row in [changed(queue[0]), *queue[1:]]
    }
    assert (done.counts, done.unchanged) == (Counts(updated=1), 39)
    pl.scan_parquet(tmp_path / "runs").collect()


def test_a_file_of_a_newer_schema_version_is_refused(tmp_path: Path) -> None:
    """An older program neither reads nor replaces what it does not understand."""
    export(lake_of(tmp_path, RUNS.version + 1, RUNS.schema), rows(10))
    lake = lake_at(tmp_path)
    before = parts(lake)

    with pytest.raises(LakeError, match=r"a newer annolake wrote it \(schema version 3, this one knows 2\); upgrade"):
        export(lake, rows(10), number=2)

    assert parts(lake) == before


def record(*, name: str, digest: bytes) -> pa.Table:
    """Return a queue's own record."""
    values = dict.fromkeys(QUEUES.schema.names) | {
        "name": name,
        "assigned_reviewers": [{"id": "1", "name": "Ada", "email": None}],
        "row_hash": digest * 16,
        "exported_at": FIRST_EXPORT,
    }
    return pa.Table.from_pylist([values], schema=QUEUES.schema)


def write(lake: Lake, row: pa.Table | None, *, number: int) -> bool:
    """Write the queue's record as the `number`th export."""
    lake.prepare()
    with lake.workspace(f"export-{number}", since=FIRST_EXPORT) as workspace, lake.lock(QUEUE, since=FIRST_EXPORT):
        return lake.write_queue(QUEUE, workspace, row)


def test_a_queues_record_is_written_when_its_hash_is_news(tmp_path: Path) -> None:
    """The same record changes no file, another replaces it, and one that could not be had leaves it."""
    lake = lake_at(tmp_path)
    written = [write(lake, record(name="one", digest=b"a"), number=1)]
    (first,) = folder_of(lake, "queues").iterdir()
    written += [write(lake, record(name="two", digest=b"a"), number=2), write(lake, None, number=3)]
    (still,) = folder_of(lake, "queues").iterdir()
    written += [write(lake, record(name="three", digest=b"b"), number=4)]

    (last,) = folder_of(lake, "queues").iterdir()
    assert (written, still) == ([True, False, False, True], first)
    assert pq.read_table(last, partitioning=None) == record(name="three", digest=b"b").replace_schema_metadata()
    assert pl.scan_parquet(tmp_path / "queues").select("queue_id", "name").collect().rows() == [(QUEUE, "three")]


def test_a_queue_without_a_readable_record_has_a_file_without_rows(tmp_path: Path) -> None:
    """A scan of the table `queues` answers also where the key may not read the record."""
    lake = lake_at(tmp_path)

    written = [write(lake, None, number=1), write(lake, None, number=2)]

    assert written == [True, False]
    assert pl.scan_parquet(tmp_path / "queues").collect().height == 0
    assert list(verify(lake)) == []


@pytest.mark.usefixtures("arrangement")
def test_a_batch_in_another_column_order_lands_by_name(tmp_path: Path) -> None:
    """Columns are taken by name, whatever stands beside them."""
    lake = lake_at(tmp_path)
    lake.prepare()
    turned = batch(rows(3)).select(list(reversed(RUNS.schema.names)))

    with (
        lake.workspace("turned", since=FIRST_EXPORT) as workspace,
        lake.lock(QUEUE, since=FIRST_EXPORT),
        lake.upsert(QUEUE, workspace, now=FIRST_EXPORT) as upsert,
    ):
        upsert.add(turned, numbers_of(upsert, rows(3)))
        list(upsert.publish(remove_gone=False))

    assert stored(lake) == {row.key: expected(row, exported=0) for row in rows(3)}
