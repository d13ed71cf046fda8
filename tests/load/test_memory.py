"""Memory: a partition larger than what a merge may hold passes through it."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from annolake.contract import RUNS
from annolake.load.lake import Lake
from load.model_queue import FIRST_EXPORT, QUEUE, START, Row, folder_of, lake_at, numbers_of, stored

TESTS = Path(__file__).parents[1]

# Payload that no compression shortens, a row at a time, so that the process holds little besides what is tested.
CHANGE = """
import random, resource, sys
from datetime import timedelta
from pathlib import Path
import pyarrow as pa
from annolake.contract import RUNS
from annolake.keys import key_of
from load.model_queue import FIRST_EXPORT, QUEUE, START, Row, lake_at

root, number, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
lake, now = lake_at(root, row_group_mb=8), FIRST_EXPORT + timedelta(seconds=number)
lake.prepare()
before = peak()
with lake.workspace(str(number), since=now) as workspace, lake.lock(QUEUE, since=now):
    with lake.upsert(QUEUE, workspace, now=now, budget=8 << 20) as upsert:
        for place in range(count):
            row = Row(place * 37 % 400, START, number)
            text = random.Random(place).randbytes(150_000).hex()
            batch = pa.RecordBatch.from_pylist([row.values() | {"inputs": text}], schema=RUNS.schema)
            _, numbers = upsert.index.meet([key_of(row.key)])
            upsert.index.changed(numbers, [row.hash])
            upsert.add(batch, numbers)
        list(upsert.publish(remove_gone=False))
print(peak() - before)
"""


def _megabytes_for(root: Path, number: int, rows: int) -> int:
    """Export some rows of 300 kB into one partition in a process of its own; return what its peak grew by."""
    command = [sys.executable, "-c", CHANGE, str(root), str(number), str(rows)]
    done = subprocess.run(command, cwd=TESTS, check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.parametrize("expected", [1_000, 10_000_000])
def test_of_a_large_queue_fewer_rows_wait_in_memory(tmp_path: Path, expected: int) -> None:
    """The memory that its index will take is left from the start: 24 MB of rows wait, or go to the disk."""
    lake, rows = lake_at(tmp_path), [Row(number, START, 0) for number in range(24)]
    lake.prepare()
    with (
        lake.workspace("export", since=FIRST_EXPORT) as workspace,
        lake.lock(QUEUE, since=FIRST_EXPORT),
        lake.upsert(QUEUE, workspace, now=FIRST_EXPORT, budget=64 << 20) as upsert,
    ):
        upsert.expect(expected)
        for row in rows:
            heavy = pa.RecordBatch.from_pylist([row.values() | {"inputs": "x" * (1 << 20)}], schema=RUNS.schema)
            upsert.index.changed(numbers_of(upsert, [row]), [row.hash])
            upsert.add(heavy, numbers_of(upsert, [row]))
        spilled = any(workspace.folder.rglob("spill.arrow"))
        list(upsert.publish(remove_gone=False))

    assert spilled == (expected == 10_000_000)
    assert len(stored(lake)) == len(rows)


def test_a_partition_larger_than_the_budget_passes_through_a_merge(tmp_path: Path) -> None:
    """Neither writing 120 MB of rows nor changing 4 of them takes memory for them all."""
    first = _megabytes_for(tmp_path, 0, 400)
    change = _megabytes_for(tmp_path, 1, 4)

    lake: Lake = lake_at(tmp_path)
    rows = stored(lake)
    (path,) = folder_of(lake).glob("*/*")
    assert path.stat().st_size > 55_000_000
    assert (len(rows), sum(row["status"] == "version 1" for row in rows.values())) == (400, 4)
    assert all(len(row["inputs"]) == 300_000 for row in rows.values())
    assert (first < 100, change < 100) == (True, True), (first, change)
