"""Stored rows changed by hand: whatever step breaks, each partition is whole, and doing it again ends it."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from annolake.contract import QUEUES, RUNS, TABLES
from annolake.errors import LakeError
from annolake.load.audit import verify
from annolake.load.erasure import drop_queue
from annolake.load.lake import Lake
from annolake.load.merge.revise import Change
from annolake.load.place import on_disk
from annolake.load.revision import Done, revise_tables
from annolake.load.table.part_file import PartReader
from load.faults import DAY, Gate, Killed
from load.kinds import Arrangement, bury, copy_lake, data_files
from load.model_queue import (
    FIRST_EXPORT,
    QUEUE,
    START,
    Row,
    RunsContract,
    changed,
    export,
    keys_with_polars,
    lake_at,
    stored,
)
from rounds import rounds

ROWS = [Row(number, START + number // 3 * DAY) for number in range(9)]
GOING = {ROWS[0].key, *(row.key for row in ROWS[3:6])}
"""A row of the first day, and all of the second one."""

STRIDES = {"disk-parquet": 13, "disk-delta": 24, "s3-delta": 70, "s3-parquet": 45}


def without(table: pa.Table) -> pa.Table:
    """Leave the rows out that go."""
    gone = np.array([key in GOING for key in table.column("queue_run_id").to_pylist()], np.bool_)
    return table.filter(pa.array(~gone)) if gone.any() else table


CHANGE = {"runs": Change(frozenset({"queue_run_id"}), without)}


def erase(lake: Lake) -> Done:
    """Take the rows out."""
    lake.prepare()
    done = SimpleNamespace(files=0, rows_changed=0, rows_gone=0, old_files=0)
    with lake.workspace("erasure", since=FIRST_EXPORT) as workspace, lake.lock(QUEUE, since=FIRST_EXPORT):
        revise_tables(lake, QUEUE, workspace, CHANGE, done)
    return done


def everywhere(lake: Lake) -> list[set[str]]:
    """Return the keys in each file that lies in the queue's folder, of whatever version."""
    folder, found = lake.root / "runs" / f"queue_id={QUEUE}", []
    for day in lake.files.names(folder):
        for name in lake.files.names(folder / day):
            with PartReader(lake.files, folder / day / name, lake.formats["runs"]) as reader:
                tables = list(reader.key_columns(["queue_run_id"]))
            found.append({key for table in tables for key in table.column(0).to_pylist()})
    return found


@pytest.fixture(scope="module", params=STRIDES)
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have lakes be of each kind."""
    Arrangement.set(request.param, lambda: request.getfixturevalue("object_store"))
    yield request.param
    Arrangement.set("disk-parquet", lambda: request.getfixturevalue("object_store"))


def test_any_broken_step_of_a_revision_is_made_good_by_another(kind: str, tmp_path: Path) -> None:
    """A row that stays is never missing; at the end what was to go is in no file, and other days have theirs."""
    before, counted = tmp_path / "before", tmp_path / "counted"
    export(lake_at(before), [*ROWS[:-1], changed(ROWS[-1])])
    export(lake_at(before), ROWS, number=2)
    files = {str(path).rpartition("/")[2] for path in data_files(lake_at(before), "runs", queue_id=QUEUE)}
    copy_lake(before, counted)
    gate = Gate()
    done = erase(lake_at(counted, gate=gate))
    left = {str(path).rpartition("/")[2] for path in data_files(lake_at(counted), "runs", queue_id=QUEUE)}
    assert (done.files, done.rows_gone, len(files & left), len(left)) == (2, 4, 1, 2)
    assert done.old_files == (2 if kind.endswith("delta") else 0)
    wanted = stored(lake_at(counted))
    assert len(everywhere(lake_at(counted))) == 2 + kind.endswith("delta")  # of the last day there is an older version
    assert set(wanted) == {row.key for row in ROWS} - GOING

    for mode, first in (("before", 0), ("kill", STRIDES[kind] // 2)):
        for step in range(rounds(first, many=0), len(gate.steps), rounds(STRIDES[kind], many=1)):
            root = tmp_path / f"{mode}-{step}"
            copy_lake(before, root)
            with suppress(LakeError, Killed):
                erase(lake_at(root, gate=Gate(mode, step)))
            between = set(keys_with_polars(lake_at(root)))
            bury(lake_at(root), QUEUE)
            erase(lake_at(root))

            assert set(wanted) <= between, step
            assert stored(lake_at(root)) == wanted, step
            assert not any(keys & GOING for keys in everywhere(lake_at(root))), step
            assert not lake_at(root).litter(), step
            assert [remark for remark in verify(lake_at(root)) if not remark.harmless] == [], step


def drop(lake: Lake) -> None:
    """Take the queue out."""
    done = SimpleNamespace(files=0, rows_changed=0, rows_gone=0, old_files=0)
    with lake.workspace("erasure", since=FIRST_EXPORT) as workspace, lake.lock(QUEUE, since=FIRST_EXPORT):
        drop_queue(lake, QUEUE, workspace, done)


@pytest.mark.parametrize("act", [erase, drop])
def test_whatever_step_a_kill_comes_at_no_file_is_missed(
    act: Callable[[Lake], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was erased is not lost, though nothing took its place: its count went first."""
    monkeypatch.setattr(Arrangement, "current", "parquet")
    monkeypatch.setattr(Arrangement, "store", None)
    export(lake_at(tmp_path / "lake"), ROWS)
    gate = Gate()
    copy_lake(tmp_path / "lake", tmp_path / "counted")
    act(lake_at(tmp_path / "counted", gate=gate))

    files = set()
    for step in range(len(gate.steps)):
        root = tmp_path / str(step)
        copy_lake(tmp_path / "lake", root)
        with suppress(Killed):
            act(lake_at(root, gate=Gate("kill", step)))
        files.add(len(data_files(lake_at(root), "runs", queue_id=QUEUE)))

        assert [what for _, what, _ in verify(lake_at(root)) if "gone" in what] == [], step
    assert min(files) < max(files) == 3


def test_a_queue_without_rows_has_a_file_without_rows_again(kind: str, tmp_path: Path) -> None:
    """Where a scan would not answer else; the next export takes it away."""
    lake = lake_at(tmp_path / "emptied")
    export(lake, [row for row in ROWS if row.key in GOING])
    erase(lake)

    assert len(data_files(lake, "runs", queue_id=QUEUE)) == (0 if kind.endswith("delta") else 1)
    assert keys_with_polars(lake) == []
    export(lake_at(tmp_path / "emptied"), ROWS, number=2)
    assert len(stored(lake_at(tmp_path / "emptied"))) == len(ROWS)
    assert [remark for remark in verify(lake) if not remark.harmless] == []


def test_older_files_are_written_anew_with_the_ones_concerned(tmp_path: Path) -> None:
    """Files of two schema versions do not lie side by side; where nothing is concerned, none is touched."""
    older = pa.schema([field for field in RUNS.schema if field.name != "item_hash"])
    root = tmp_path / "older"
    written = Lake(on_disk(root), tables=[RunsContract(1, older), QUEUES], hash_version=1)
    export(written, ROWS)
    lake = Lake(on_disk(root), tables=TABLES, hash_version=1)
    nothing = {"runs": Change(frozenset({"queue_run_id"}), lambda table: table)}
    with lake.workspace("erasure", since=FIRST_EXPORT) as workspace, lake.lock(QUEUE, since=FIRST_EXPORT):
        none = SimpleNamespace(files=0, rows_changed=0, rows_gone=0, old_files=0)
        revise_tables(lake, QUEUE, workspace, nothing, none)
    done = erase(lake)

    assert (none.files, done.files, done.rows_gone) == (0, 3, 4)
    assert set().union(*everywhere(lake)) == {row.key for row in ROWS} - GOING
    assert [remark for remark in verify(lake) if not remark.harmless] == []
