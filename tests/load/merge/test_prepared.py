"""Partitions merged ahead of their publishing: nobody sees them before, and nothing of them is left where rows come."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from annolake.errors import LakeError
from annolake.load.lake import Lake
from annolake.load.merge import prepared
from annolake.load.merge.decide import Counts
from annolake.load.merge.partition_merge import PartitionMerge
from annolake.load.merge.upsert import Upsert
from load.model_queue import FIRST_EXPORT, QUEUE, START, Row, expected, export, lake_at, numbers_of, parts, stored, take

QUEUE_ROWS = [Row(number, START + timedelta(days=number % 6)) for number in range(60)]


@contextmanager
def opened(lake: Lake, number: int = 1) -> Iterator[tuple[Upsert, Path]]:
    """Begin an export, and return the folder of its unfinished files too."""
    lake.prepare()
    now = FIRST_EXPORT + timedelta(seconds=number)
    with (
        lake.workspace(f"export-{number}", since=now) as workspace,
        lake.lock(QUEUE, since=now),
        lake.upsert(QUEUE, workspace, now=now) as upsert,
    ):
        yield upsert, workspace.folder


def prepare(upsert: Upsert, at_once: int = 2) -> int:
    """Merge all that may be merged; return how often it was gone on with."""
    times = 1
    while upsert.prepare(at_once=at_once):
        times += 1
    return times


@pytest.mark.usefixtures("arrangement")
def test_what_was_merged_ahead_is_put_in_place_and_not_merged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six partitions lie in the workspace, none in the lake, until they are published."""
    lake = lake_at(tmp_path)
    with opened(lake) as (upsert, folder):
        take(upsert, QUEUE_ROWS)
        assert prepare(upsert) == 3
        before, built = stored(lake), list(folder.rglob("part-*"))
        monkeypatch.setattr(PartitionMerge, "merged", None)
        outcomes = list(upsert.publish(remove_gone=True, at_once=2))

    assert (before, len(built)) == ({}, 6)
    assert upsert.counts == sum((outcome.counts for outcome in outcomes), Counts()) == Counts(inserted=60)
    assert upsert.merges == (6, 6)
    assert stored(lake) == {row.key: expected(row, exported=1) for row in QUEUE_ROWS}


@pytest.mark.usefixtures("arrangement")
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_row_that_comes_later_leaves_no_trace_of_what_was_merged(tmp_path: Path, at_once: int) -> None:
    """It is published with those that were there before, and a later version of one of them counts."""
    lake = lake_at(tmp_path)
    later = [Row(60, START), Row(0, START + timedelta(days=1), version=1)]
    with opened(lake) as (upsert, folder):
        take(upsert, QUEUE_ROWS)
        prepare(upsert, at_once)
        take(upsert, later)
        left = list(folder.rglob("part-*"))
        list(upsert.publish(remove_gone=True, at_once=at_once))

    assert left == []
    assert stored(lake) == {row.key: expected(row, exported=1) for row in [*QUEUE_ROWS, *later]}


@pytest.mark.usefixtures("arrangement")
def test_a_queue_that_does_not_stand_still_is_merged_ahead_once(tmp_path: Path) -> None:
    """What was void once is not begun again with every row that comes."""
    lake = lake_at(tmp_path)
    with opened(lake) as (upsert, folder):
        take(upsert, QUEUE_ROWS[:30])
        prepare(upsert)
        take(upsert, QUEUE_ROWS[30:])

        assert prepare(upsert) == 1
        assert list(folder.rglob("part-*")) == []


@pytest.mark.usefixtures("arrangement")
def test_what_rows_leave_is_not_merged_ahead(tmp_path: Path) -> None:
    """A partition with a row that was not met, or that went to another day, waits for the verdict and its turn."""
    lake = lake_at(tmp_path)
    export(lake, QUEUE_ROWS)
    gone, moved, *stay = QUEUE_ROWS[:6]  # of a day each
    there = Row(moved.number, stay[0].added_at, version=1)
    new = [Row(100 + number, row.added_at) for number, row in enumerate(QUEUE_ROWS[:6])]
    with opened(lake, 2) as (upsert, folder):
        numbers_of(upsert, [*stay, *QUEUE_ROWS[6:]])
        take(upsert, [there, *new])
        prepare(upsert)
        built = list(folder.rglob("part-*"))
        list(upsert.publish(remove_gone=True, at_once=2))

    assert len(built) == 4
    assert upsert.counts == Counts(inserted=6, updated=1, removed=1)
    after = {row.key: expected(row, exported=1) for row in QUEUE_ROWS} | {
        row.key: expected(row, exported=2) for row in [there, *new]
    }
    assert stored(lake) == after | {gone.key: expected(gone, exported=2, removed=2)}


@pytest.mark.usefixtures("arrangement")
@pytest.mark.parametrize("removes", [False, True])
def test_an_export_that_reads_a_part_merges_days_with_rows_it_did_not_meet(tmp_path: Path, *, removes: bool) -> None:
    """What it prepared stays as long as none of these rows is to be removed."""
    lake = lake_at(tmp_path)
    export(lake, QUEUE_ROWS)
    new = [Row(100 + number, row.added_at) for number, row in enumerate(QUEUE_ROWS[:6])]
    with opened(lake, 2) as (upsert, folder):
        take(upsert, new)
        while upsert.prepare(may_remove=False, at_once=2):
            pass
        built = list(folder.rglob("part-*"))
        list(upsert.publish(remove_gone=removes, at_once=2))

    removed = 2 if removes else None
    assert len(built) == 6
    assert stored(lake) == {
        row.key: expected(row, exported=2 if row in new or removes else 1, removed=None if row in new else removed)
        for row in [*QUEUE_ROWS, *new]
    }


@pytest.mark.usefixtures("arrangement")
def test_no_more_is_merged_ahead_than_may_lie_beside_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with room for one new partition at a time is no fuller than before."""
    monkeypatch.setattr(prepared, "MOST_BYTES", 1)
    lake = lake_at(tmp_path)
    with opened(lake) as (upsert, folder):
        take(upsert, QUEUE_ROWS)
        assert prepare(upsert) == 1
        assert len(list(folder.rglob("part-*"))) == 2
        list(upsert.publish(remove_gone=True))

    assert len(stored(lake)) == 60


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_disk_that_is_full_by_then_is_the_publishing_s_matter(tmp_path: Path, at_once: int) -> None:
    """The export goes on: there may be room when the first partitions have taken the place of the old ones."""
    is_full = True

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if is_full and verb == "write":
            raise OSError(errno.ENOSPC, "no space left", str(path))
        return call()

    lake = lake_at(tmp_path, gate=gate)
    is_full = False
    with opened(lake) as (upsert, folder):
        take(upsert, QUEUE_ROWS)
        is_full = True
        assert prepare(upsert, at_once) == 1
        left = list(folder.rglob("part-*"))
        with pytest.raises(LakeError, match="free some space"):
            next(upsert.publish(remove_gone=True))
        is_full = False
        list(upsert.publish(remove_gone=True))

    assert left == []
    assert len(parts(lake)) == 6


@pytest.mark.usefixtures("arrangement")
def test_a_file_that_could_neither_be_finished_nor_removed_stays_out_of_the_lake(tmp_path: Path) -> None:
    """The disk fails when a file is flushed that has its name already, and again when it is to be removed."""
    failing = iter(["flush", "remove"])
    fails = ""

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        nonlocal fails
        if verb == fails and (verb == "remove" or path.name.startswith("part-")):
            fails = next(failing, "")
            raise OSError(errno.EIO, "the disk failed", str(path))
        return call()

    lake = lake_at(tmp_path, gate=gate)
    again = Row(0, START, version=1)
    with opened(lake) as (upsert, folder):
        take(upsert, QUEUE_ROWS)
        fails = next(failing)
        upsert.prepare(at_once=1)
        left = list(folder.rglob("part-*"))
        take(upsert, [again])
        list(upsert.publish(remove_gone=True))

    assert (len(left), fails) == (1, "")
    assert len(parts(lake)) == 6
    with opened(lake, 2) as (upsert, _):
        assert upsert.rows == 60
    assert stored(lake) == {row.key: expected(row, exported=1) for row in [*QUEUE_ROWS[1:], again]}
