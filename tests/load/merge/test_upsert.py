"""What exports make of a queue's rows in the lake, read back from the files."""

import random
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from annolake.errors import LakeError
from annolake.load.merge.decide import Counts
from annolake.load.storage.holes import punch
from annolake.load.storage.scratch import Workspace
from load.model_queue import (
    FIRST_EXPORT,
    QUEUE,
    START,
    Row,
    changed,
    expected,
    export,
    folder_of,
    lake_at,
    numbers_of,
    parts,
    rows,
    stored,
    take,
    with_duckdb,
    with_polars,
)


@pytest.mark.usefixtures("arrangement")
def test_a_first_export_stores_every_row_once(tmp_path: Path) -> None:
    """Each row is in the partition of its UTC date, with every value as it came, nested and decimal too."""
    lake, queue = lake_at(tmp_path), rows(120)

    done = export(lake, queue)

    assert stored(lake) == {row.key: expected(row, exported=1) for row in queue}
    assert (done.counts, done.unchanged) == (Counts(inserted=120), 0)


@pytest.mark.usefixtures("arrangement")
@pytest.mark.parametrize("arrangement", ["disk-parquet", "disk-delta", "s3-delta"], indirect=True)
def test_polars_and_duckdb_read_the_same_lake(tmp_path: Path) -> None:
    """Both readers see the same rows, exact sums, typed partition columns, and null for a row without date."""
    lake, queue = lake_at(tmp_path), rows(120)
    export(lake, queue)

    frame = with_polars(lake)
    cost = sum((row.values()["total_cost"] for row in queue), Decimal(0))
    days = {row.added_at.date() if row.added_at else None for row in queue}
    by_duckdb = with_duckdb(
        lake, "select sum(total_cost), count(*), count(distinct added_date), count(added_date) from runs"
    )

    assert frame["total_cost"].sum() == cost
    assert set(frame["added_date"].to_list()) == days
    assert frame["queue_id"].unique().to_list() == [QUEUE]
    dated = sum(row.added_at is not None for row in queue)
    assert by_duckdb == [(cost, 120, len(days) - 1, dated)]
    maps = with_duckdb(lake, "select name, prompt_token_details, tags from runs order by all")
    by_polars = frame.select("name", "prompt_token_details", "tags").sort("name").rows()
    assert sorted((name, dict(pairs), tags) for name, pairs, tags in by_polars) == sorted(
        maps, key=lambda row: str(row[0])
    )


@pytest.mark.usefixtures("arrangement")
def test_an_unchanged_queue_changes_no_file(tmp_path: Path) -> None:
    """Inode, time and name of every file stay, whatever order the rows are read in."""
    lake, queue = lake_at(tmp_path), rows(60)
    export(lake, queue)
    before = parts(lake)

    done = export(lake, reversed(queue), number=2)

    assert parts(lake) == before
    assert (done.counts, done.unchanged, done.written) == (Counts(), 60, set())


@pytest.mark.usefixtures("arrangement")
def test_a_changed_row_rewrites_its_own_partition_alone(tmp_path: Path) -> None:
    """Only the changed row gets a new exported_at, and only its day's file is another one."""
    lake, queue = lake_at(tmp_path), rows(60)
    export(lake, queue)
    before = parts(lake)
    after = [changed(row) if row.number == 7 else row for row in queue]

    done = export(lake, after, number=2)

    now = parts(lake)
    assert {day for day in before if now[day] != before[day]} == {"added_date=2026-11-03"}
    assert done.written == {date(2026, 11, 3)}
    assert (done.counts, done.unchanged) == (Counts(updated=1), 59)
    assert stored(lake) == {row.key: expected(row, exported=2 if row.number == 7 else 1) for row in after}


def test_a_row_that_changes_its_day_moves(tmp_path: Path) -> None:
    """It leaves its old partition in the same export, counts as updated, and an emptied partition goes."""
    lake, queue = lake_at(tmp_path), rows(10)
    lonely = Row(99, START + timedelta(days=40))
    export(lake, [*queue, lonely])
    after = [changed(queue[0], added_at=None), *queue[1:], changed(lonely, added_at=START + timedelta(days=1))]

    done = export(lake, after, number=2)

    assert stored(lake) == {row.key: expected(row, exported=2 if row.number in {0, 99} else 1) for row in after}
    assert done.counts == Counts(updated=2)
    assert not folder_of(lake).joinpath("added_date=2026-12-11").exists()


@pytest.mark.usefixtures("arrangement")
def test_rows_can_trade_their_days(tmp_path: Path) -> None:
    """Where two partitions wait for each other, neither row is ever out of the lake."""
    lake = lake_at(tmp_path)
    one, other = Row(1, START), Row(2, START + timedelta(days=1))
    export(lake, [one, other])
    after = [changed(one, added_at=other.added_at), changed(other, added_at=one.added_at)]
    lake.prepare()
    now = FIRST_EXPORT + timedelta(days=1)

    with (
        lake.workspace("trade", since=now) as workspace,
        lake.lock(QUEUE, since=now),
        lake.upsert(QUEUE, workspace, now=now) as upsert,
    ):
        take(upsert, after)
        seen = [set(with_polars(lake)["queue_run_id"]) for _ in upsert.publish(remove_gone=True)]
        counts = upsert.counts

    assert all(keys == {one.key, other.key} for keys in seen)
    assert counts == Counts(updated=2)
    assert {key: row["status"] for key, row in stored(lake).items()} == {one.key: "version 1", other.key: "version 1"}


def test_a_move_that_was_cut_short_is_healed(tmp_path: Path) -> None:
    """A row left in both partitions counts once, by its later exported_at, and the next export removes the old."""
    lake, queue = lake_at(tmp_path), rows(20)
    export(lake, queue)
    moved = changed(queue[0], added_at=START + timedelta(days=3))
    now = FIRST_EXPORT + timedelta(seconds=2)
    with (
        lake.workspace("cut", since=now) as workspace,
        lake.lock(QUEUE, since=now),
        lake.upsert(QUEUE, workspace, now=now) as upsert,
    ):
        take(upsert, [moved])
        next(upsert.publish(remove_gone=False))
    assert with_duckdb(lake, f"select count(*) from runs where queue_run_id = '{moved.key}'") == [(2,)]

    done = export(lake, [moved, *queue[1:]], number=3)

    assert stored(lake) == {row.key: expected(row, exported=2 if row is moved else 1) for row in [moved, *queue[1:]]}
    assert (done.counts, done.unchanged) == (Counts(), 20)


@pytest.mark.usefixtures("arrangement")
def test_a_row_that_left_the_queue_stays_with_removed_at(tmp_path: Path) -> None:
    """removed_at is set once, and nothing is written when the row stays away."""
    lake, queue = lake_at(tmp_path), rows(30)
    export(lake, queue)

    done = export(lake, queue[1:], number=2)
    before = parts(lake)
    again = export(lake, queue[1:], number=3)

    assert done.counts == Counts(removed=1)
    assert stored(lake)[queue[0].key] == expected(queue[0], exported=2, removed=2)
    assert (again.counts, again.unchanged, parts(lake)) == (Counts(), 29, before)


@pytest.mark.usefixtures("arrangement")
def test_a_row_that_comes_back_loses_removed_at(tmp_path: Path) -> None:
    """Unchanged or not, it counts as updated and its exported_at moves."""
    lake, queue = lake_at(tmp_path), rows(30)
    export(lake, queue)
    export(lake, queue[2:], number=2)
    after = [queue[0], changed(queue[1]), *queue[2:]]

    done = export(lake, after, number=3)

    assert done.counts == Counts(updated=2)
    assert stored(lake) == {row.key: expected(row, exported=3 if row.number < 2 else 1) for row in after}


@pytest.mark.usefixtures("arrangement")
def test_what_an_incomplete_export_did_not_meet_is_not_removed(tmp_path: Path) -> None:
    """Only an export that can know marks rows as removed."""
    lake, queue = lake_at(tmp_path), rows(30)
    export(lake, queue)
    before = parts(lake)

    done = export(lake, queue[:5], number=2, complete=False)

    assert (done.counts, parts(lake)) == (Counts(), before)


@pytest.mark.usefixtures("arrangement")
@pytest.mark.parametrize(
    "added_at",
    [START, START + timedelta(seconds=9), START + timedelta(days=2), None],
    ids=["same place", "another place in its day", "another day", "no day"],
)
def test_columns_that_the_export_could_not_know_keep_their_value(tmp_path: Path, added_at: datetime | None) -> None:
    """Stored values stay where the export is ignorant, also in a row that moves; new rows have none."""
    lake, new = lake_at(tmp_path), Row(50, START)
    queue = [Row(number, START + timedelta(seconds=number % 20)) for number in range(0, 40, 20)] + rows(9)[1:]
    export(lake, queue)
    after = replace(queue[0], version=3, added_at=added_at)

    export(lake, [after, *queue[1:], new], number=2, unavailable=frozenset({"feedback_stats", "tags", "inputs"}))

    kept = {name: queue[0].values()[name] for name in ("feedback_stats", "tags", "inputs")}
    assert stored(lake) == {row.key: expected(row, exported=1) for row in queue[1:]} | {
        after.key: expected(after, exported=2) | kept,
        new.key: expected(new, exported=2),
    }


@pytest.mark.usefixtures("arrangement")
@pytest.mark.parametrize("budget", [1, 1 << 30], ids=["spilled", "in memory"])
def test_the_last_version_read_wins(tmp_path: Path, budget: int) -> None:
    """Of several versions of a row in one export only the last is stored, whatever day the others had."""
    lake, first = lake_at(tmp_path), Row(1, START)
    versions = [
        first,
        changed(first, added_at=START + timedelta(days=1)),
        replace(first, version=5),
        replace(first, version=6, added_at=START + timedelta(days=2)),
        replace(first, version=7),
    ]

    done = export(lake, versions, budget=budget, page=1)

    assert stored(lake) == {first.key: expected(versions[-1], exported=1)}
    assert done.counts == Counts(inserted=1)


@pytest.mark.parametrize("budget", [1 << 20, 1 << 30], ids=["spilled", "in memory"])
@pytest.mark.parametrize("heavy_first", [True, False], ids=["heavy first", "heavy last"])
def test_heavy_rows_are_stored_whatever_order_they_come_in(tmp_path: Path, budget: int, *, heavy_first: bool) -> None:
    """Rows too heavy to be copied, beside ordinary ones, are stored in order, the last version of each."""
    lake, light = lake_at(tmp_path, row_group_mb=2), rows(80, days=2)
    heavy = [replace(row, payload=150_000) for row in light[20:40]]
    again = [changed(row) for row in heavy[::3]]
    random.Random(1).shuffle(heavy)
    others = [*light[:20], *light[40:]]
    queue = [*heavy, *again, *others] if heavy_first else [*others, *heavy, *again]

    export(lake, queue, budget=budget, page=7)

    assert stored(lake) == {row.key: expected(row, exported=1) for row in queue}
    for path in folder_of(lake).rglob("*.parquet"):
        in_file = pq.read_table(path, columns=["added_at", "queue_run_id"])
        assert in_file == in_file.sort_by([("added_at", "ascending"), ("queue_run_id", "ascending")])


@pytest.mark.usefixtures("arrangement")
def test_a_row_that_changed_back_while_it_was_read_is_unchanged(tmp_path: Path) -> None:
    """What was read in between leaves no trace."""
    lake, queue = lake_at(tmp_path), rows(10)
    export(lake, queue)
    before = parts(lake)

    done = export(lake, [*queue, changed(queue[3]), queue[3]], number=2, page=1)

    assert (done.counts, parts(lake)) == (Counts(), before)


def test_an_empty_queue_has_a_file_without_rows(tmp_path: Path) -> None:
    """A scan of a new lake answers in both readers, with a date to compare with; once is enough."""
    lake = lake_at(tmp_path)
    export(lake, [])
    before = parts(lake)

    export(lake, [], number=2)

    assert parts(lake) == before
    frame = with_polars(lake)
    assert (frame.height, frame.filter(frame["added_date"] >= date(2026, 1, 1)).height) == (0, 0)
    assert with_duckdb(lake, "select count(*) from runs where added_date >= date '2026-01-01'") == [(0,)]


@pytest.mark.parametrize("first", [[], [Row(16, None)]], ids=["no row", "no dated row"])
def test_the_empty_file_goes_when_a_dated_row_comes(tmp_path: Path, first: Sequence[Row]) -> None:
    """It is there as long as no other partition has a date, and not a moment longer."""
    lake = lake_at(tmp_path)
    export(lake, first)
    assert "added_date=1970-01-01" in parts(lake)

    export(lake, [*first, Row(1, START)], number=2)

    assert "added_date=1970-01-01" not in parts(lake)
    assert len(stored(lake)) == len(first) + 1


@pytest.mark.usefixtures("arrangement")
def test_a_row_of_the_first_day_of_1970_is_no_empty_file(tmp_path: Path) -> None:
    """The partition of the empty file can hold rows as any other."""
    lake, old = lake_at(tmp_path), Row(1, datetime(1970, 1, 1, 5, tzinfo=UTC))
    export(lake, [])

    export(lake, [old], number=2)
    export(lake, [old, Row(2, START)], number=3)

    assert stored(lake)[old.key] == expected(old, exported=2)


@pytest.mark.usefixtures("arrangement")
def test_a_clock_that_went_back_does_not_turn_versions_around(tmp_path: Path) -> None:
    """What is written later is stamped later than all that is there."""
    lake = lake_at(tmp_path)
    export(lake, [Row(1, START), Row(2, START)], number=50)

    export(lake, [changed(Row(1, START)), Row(2, START)], number=3)

    stamps = [row["exported_at"] for row in stored(lake).values()]
    assert max(stamps) == FIRST_EXPORT + timedelta(seconds=50, microseconds=1)


@pytest.mark.usefixtures("arrangement")
def test_two_queues_share_a_lake(tmp_path: Path) -> None:
    """Exports of one queue leave the files of the other alone."""
    lake, other = lake_at(tmp_path), QUEUE.replace("1", "a")
    export(lake, rows(10))
    before = parts(lake)

    export(lake, rows(5), queue_id=other)

    assert parts(lake) == before
    assert sorted(lake.queues()) == sorted([QUEUE, other])
    assert len(stored(lake, other)) == 5


@pytest.mark.usefixtures("arrangement")
def test_a_row_asked_for_and_not_added_is_not_silently_lost(tmp_path: Path) -> None:
    """Publishing refuses to go on: the lake would never ask for that version again."""
    lake = lake_at(tmp_path)
    lake.prepare()

    with (
        lake.workspace("one", since=FIRST_EXPORT) as workspace,
        lake.lock(QUEUE, since=FIRST_EXPORT),
        lake.upsert(QUEUE, workspace, now=FIRST_EXPORT) as upsert,
    ):
        upsert.index.changed(numbers_of(upsert, rows(1)), [rows(1)[0].hash])
        with pytest.raises(RuntimeError, match="1 changed rows were read and never added"):
            next(upsert.publish(remove_gone=False))


@pytest.mark.usefixtures("arrangement")
def test_what_a_queue_spilled_goes_with_the_queue(tmp_path: Path) -> None:
    """The room is there for the report and for other queues, though the queue failed."""
    lake, queue = lake_at(tmp_path), rows(20)
    lake.prepare()

    with lake.workspace("one", since=FIRST_EXPORT) as workspace, lake.lock(QUEUE, since=FIRST_EXPORT):
        with suppress(LakeError), lake.upsert(QUEUE, workspace, now=FIRST_EXPORT, budget=1) as upsert:
            take(upsert, queue)
            assert list(workspace.folder.rglob("spill.arrow"))
            raise LakeError("the disk is full")
        left = list(workspace.folder.iterdir())

    assert left == []


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("payload", [2_000, 60_000], ids=["light", "heavy"])
def test_the_room_of_spilled_rows_is_given_back_day_by_day(tmp_path: Path, payload: int, at_once: int) -> None:
    """What was published is in the lake; only the rows of other days are still read from the spill."""
    probe = tmp_path / "probe"
    probe.write_bytes(b"x" * 100_000)
    if not punch(probe, 0, 100_000):
        pytest.skip("this file system has no holes")
    lake, queue = lake_at(tmp_path / "lake"), [replace(row, payload=payload) for row in rows(100)]
    lake.prepare()

    with (
        lake.workspace("export-1", since=FIRST_EXPORT) as workspace,
        lake.lock(QUEUE, since=FIRST_EXPORT),
        lake.upsert(QUEUE, workspace, now=FIRST_EXPORT + timedelta(seconds=1), budget=1) as upsert,
    ):
        for start in range(0, len(queue), 10):
            take(upsert, queue[start : start + 10])
        room = [spill_room(workspace) for _ in upsert.publish(remove_gone=True, at_once=at_once)]
        with pytest.raises(RuntimeError, match="once more"):
            list(upsert._spill.arrivals(min(upsert._spill.days())))

    assert len(room) == 6
    assert room[-1] < room[0] // 2
    assert sorted(room, reverse=True) == room
    assert stored(lake) == {row.key: expected(row, exported=1) for row in queue}


def spill_room(workspace: Workspace) -> int:
    """Return the blocks that an export's spill takes on the disk."""
    (spill,) = workspace.folder.rglob("spill.arrow")
    return spill.stat().st_blocks


def test_partitions_merged_side_by_side_are_whole_and_counted_when_it_stops(tmp_path: Path) -> None:
    """Whoever stops after the first of six partitions finds each one whole or not there, and those there counted."""
    lake, queue = lake_at(tmp_path), [Row(number, START + timedelta(days=number % 6)) for number in range(60)]
    lake.prepare()

    with (
        lake.workspace("one", since=FIRST_EXPORT) as workspace,
        lake.lock(QUEUE, since=FIRST_EXPORT),
        lake.upsert(QUEUE, workspace, now=FIRST_EXPORT) as upsert,
    ):
        take(upsert, queue)
        with closing(upsert.publish(remove_gone=False, at_once=3)) as outcomes:
            next(outcomes)

    there = parts(lake)
    assert 1 <= len(there) <= 3
    assert upsert.counts == Counts(inserted=10 * len(there))
    assert upsert.partitions_written == len(there)
    assert len(stored(lake)) == 10 * len(there)


@pytest.mark.usefixtures("arrangement")
@pytest.mark.parametrize("queue_id", ["../outside", "a/b", "", "q=1"])
def test_a_queue_id_that_is_no_folder_name_is_refused(tmp_path: Path, queue_id: str) -> None:
    """No id leads out of the lake."""
    lake = lake_at(tmp_path)

    with pytest.raises(LakeError, match="a queue's id is a UUID"):
        export(lake, [], queue_id=queue_id)


def test_a_stranger_among_the_queues_is_named(tmp_path: Path) -> None:
    """What is no queue's folder is not taken for one."""
    lake = lake_at(tmp_path)
    export(lake, [])
    (tmp_path / "runs" / "notes" / "of").mkdir(parents=True)

    with pytest.raises(LakeError, match="runs/notes: only queue_id=... belongs there"):
        lake.queues()
