"""A Delta table by our own hand: what readers see, and which of two exports is first."""

import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake.transaction import AddAction
from msgspec import structs

from annolake.errors import LakeError, LockedError
from annolake.load.table.days import NO_DAY
from annolake.load.table.delta import DeltaTable
from load.model_queue import QUEUE, Row, changed
from load.table.delta_site import DAY, FORMATS, NOW, Site, at, disk, put, store

OTHER = "99999999-2222-4333-8444-555555555555"
DAYS = {DAY: [Row(1, at(DAY, 1)), Row(2, at(DAY, 1999))], DAY - 1: [Row(3, at(DAY - 1))], NO_DAY: [Row(4, None)]}


@pytest.fixture
def on_disk(tmp_path: Path) -> Site:
    """Give a place for tables on the disk."""
    return disk(tmp_path / "site")


@pytest.fixture(params=["disk", "s3"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """Give a place for tables on the disk, then in an object store."""
    if request.param == "disk":
        return disk(tmp_path / "site")
    return store(request.getfixturevalue("object_store"), tmp_path / "scratch")


def statuses(site: Site, queue_id: str = QUEUE) -> list[str]:
    """Return the status of each row of a queue, as polars reads it."""
    frame = site.scan().filter(pl.col("queue_id") == queue_id).select("name", "status").collect()
    return [status for _, status in sorted(frame.rows())]


def expected(rows: list[Row]) -> list[dict[str, Any]]:
    """Return what any reader finds of rows."""
    return [dict.fromkeys(FORMATS["runs"].schema.names) | row.values() for row in rows]


def test_every_type_comes_back_exactly(site: Site) -> None:
    """Decimals, maps, lists, times, bytes and a null partition: in polars, in pyarrow and in DuckDB over the files."""
    site.export(site.log(), DAYS)
    rows = [row for rows in DAYS.values() for row in rows]
    by_key = {row["queue_run_id"]: row for row in expected(rows)}
    names = FORMATS["runs"].schema.names

    in_polars = site.scan().collect()
    in_arrow = site.delta().to_pyarrow_table()
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        dataset = site.delta().to_pyarrow_dataset()  # noqa: F841 - DuckDB finds it by its name
        in_duckdb = connection.execute("select queue_run_id, total_cost, exported_at from dataset")
        costs = {key: (cost, when) for key, cost, when in in_duckdb.fetchall()}

    assert {row["queue_run_id"]: {n: row[n] for n in names} for row in in_arrow.to_pylist()} == by_key
    plain = ["queue_run_id", "total_cost", "added_at", "tags", "row_hash", "start_time", "latency_s", "inputs"]
    assert {row["queue_run_id"]: row for row in in_polars.select(plain).to_dicts()} == {
        key: {name: row[name] for name in plain} for key, row in by_key.items()
    }
    assert {key: (cost, when.timestamp()) for key, (cost, when) in costs.items()} == {
        key: (row["total_cost"], row["exported_at"].timestamp()) for key, row in by_key.items()
    }
    assert sorted(in_polars["added_date"].cast(pl.String).fill_null("none").unique()) == sorted(
        {"none", at(DAY).date().isoformat(), at(DAY - 1).date().isoformat()}
    )
    assert (in_polars["queue_id"] == QUEUE).all()
    assert site.delta().protocol()[:2] == (1, 2)


def test_nothing_is_seen_before_the_end_and_then_all_at_once(site: Site) -> None:
    """A reader finds the table as it was until one version has all days; what it tells of the export is there."""
    log = site.log()
    site.export(log, DAYS, export_id="first")
    partitions = site.partitions(log, export_id="second")
    put(partitions, DAY, [changed(row) for row in DAYS[DAY]])
    put(partitions, DAY - 1, [])

    assert statuses(site) == ["version 0"] * 4
    assert partitions.parts.keys() == {DAY, NO_DAY}
    before = site.delta().version()
    partitions.finish({"inserted": 0, "updated": 2, "removed": 1})

    assert site.delta().version() == before + 1
    assert statuses(site) == ["version 1", "version 1", "version 0"]
    told = json.loads(site.delta().history(1)[0]["userMetadata"])
    assert told == {"export_id": "second", "queue_id": QUEUE, "inserted": 0, "updated": 2, "removed": 1}


def test_an_export_that_changes_nothing_writes_nothing(site: Site) -> None:
    """No version and no file comes of it."""
    site.export(site.log(), DAYS)
    before = site.delta().version(), site.data_files()

    site.export(site.log(), {})

    assert (site.delta().version(), site.data_files()) == before


def test_the_second_of_two_exports_of_a_queue_is_refused(site: Site) -> None:
    """Whoever read an older state changes nothing: neither by replacing a file nor by adding a day."""
    site.export(site.log(), DAYS)
    loser_log = site.log()
    replacing, adding = site.partitions(loser_log), site.partitions(loser_log)
    site.export(site.log(), {DAY: [changed(row) for row in DAYS[DAY]]})
    before = site.delta().version()
    put(replacing, DAY, [Row(1, at(DAY))])
    put(adding, DAY - 9, [Row(9, at(DAY - 9))])

    for loser in (replacing, adding):
        with pytest.raises(LockedError, match=f"queue {QUEUE} was exported by another export meanwhile.*; run again"):
            loser.finish({})

    assert site.delta().version() == before
    assert statuses(site) == ["version 1", "version 1", "version 0", "version 0"]


def test_two_first_exports_of_a_queue_never_double_a_row(site: Site) -> None:
    """Both found no table: one makes it, the other is refused."""
    one, other = site.partitions(site.log()), site.partitions(site.log())
    put(one, DAY, DAYS[DAY])
    put(other, DAY, DAYS[DAY])
    one.finish({})

    with pytest.raises(LockedError):
        other.finish({})

    assert len(statuses(site)) == 2


def test_exports_of_other_queues_are_no_hindrance(site: Site) -> None:
    """An export that is two commits behind lands on top of them, with waits that grow."""
    waits: list[float] = []
    log = site.log(sleep=waits.append, random=lambda: 0.5)
    site.export(log, DAYS)
    late = site.partitions(log)
    put(late, DAY, [changed(row) for row in DAYS[DAY]])
    others = iter([{DAY: [Row(7, at(DAY))]}, {DAY: [Row(8, at(DAY))]}])

    def overtaking(verb: str, _path: Any, call: Callable[[], Any]) -> Any:
        if verb == "commit to" and (days := next(others, None)):
            site.export(site.log(), days, OTHER)
        return call()

    log.files._gate = overtaking  # type: ignore[attr-defined]
    late.finish({})

    assert statuses(site) == ["version 1", "version 1", "version 0", "version 0"]
    assert site.scan().filter(pl.col("queue_id") == OTHER).select("name").collect().height == 1
    assert waits == [0.01, 0.02]


def test_a_commit_that_is_overtaken_again_and_again_gives_up(on_disk: Site) -> None:
    """It ends, says where, and has changed nothing."""
    numbers = iter(range(100))

    def overtaking(verb: str, _path: Any, call: Callable[[], Any]) -> Any:
        if verb == "commit to":
            on_disk.export(on_disk.log(), {DAY: [Row(next(numbers), at(DAY))]}, OTHER)
        return call()

    with pytest.raises(
        LakeError, match=f"cannot commit to {on_disk.root}/runs: others did 30 times in between; run again"
    ):
        on_disk.export(on_disk.log(gate=overtaking), DAYS)

    assert not statuses(on_disk)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("landed", [True, False], ids=["after", "before"])
def test_a_commit_whose_answer_was_lost_lands_once(site: Site, times: int, *, landed: bool) -> None:
    """Whatever was reported: it is looked for in the log, and tried again only where it is not there."""
    broken = iter(range(times))

    def gate(verb: str, path: Any, call: Callable[[], Any]) -> Any:
        if verb != "commit to" or next(broken, None) is None:
            return call()
        if landed:
            call()
        raise OSError(errno.EIO, "lost", str(path))

    log = site.log(gate=gate)
    site.export(log, DAYS)
    site.export(log, {DAY: [changed(row) for row in DAYS[DAY]]})

    assert statuses(site) == ["version 1", "version 1", "version 0", "version 0"]
    assert site.delta().version() == 2


def test_an_error_that_stays_is_told(site: Site) -> None:
    """Place, reason, advice; the files stay, for what was sent may land after all."""

    def gate(verb: str, path: Any, call: Callable[[], Any]) -> Any:
        if verb == "commit to":
            raise OSError(errno.ENOSPC, "full", str(path))
        return call()

    with pytest.raises(LakeError, match="cannot commit to .*/runs: No space left on device; free some space and run"):
        site.export(site.log(gate=gate), DAYS)

    assert len(site.data_files()) == len(DAYS)


def test_readers_see_one_version_and_exports_of_all_queues_get_in(site: Site) -> None:
    """Four queues at once, each from a process of its own: every answer has one version of a queue across its days."""
    queues = [f"{number}1111111-2222-4333-8444-555555555555" for number in range(4)]
    stop = Event()
    seen: list[set[tuple[str, str]]] = []

    def one(queue_id: str) -> None:
        rows = [row for rows in DAYS.values() for row in rows]
        log = site.log()
        for version in range(5):
            now = [replace(row, version=version) for row in rows]
            site.export(log, {DAY: now[:2], DAY - 1: now[2:3], NO_DAY: now[3:]}, queue_id)

    def read() -> None:
        while not stop.is_set():
            seen.append(set(site.scan().select("queue_id", "status").collect().rows()))

    site.log().create()
    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        list(pool.map(one, queues))
        stop.set()
        for reader in readers:
            reader.result()

    assert all(len(rows) == len({queue_id for queue_id, _ in rows}) for rows in seen)
    assert len({frozenset(rows) for rows in seen}) > 3
    for queue_id in queues:
        assert statuses(site, queue_id) == ["version 4"] * 4


def test_what_a_commit_proves_outlasts_checkpoints(site: Site) -> None:
    """After so many commits that the log has a checkpoint the base of a queue at rest is still known."""
    site.export(site.log(), DAYS)
    at_rest = site.log().queue(QUEUE)
    log = site.log()
    for number in range(25):
        site.export(log, {DAY: [Row(number, at(DAY))]}, OTHER)

    reopened = site.log()

    checkpoints = [name for name in log.files.names(site.root / "runs" / "_delta_log") if "checkpoint.p" in name]
    assert len(checkpoints) == 1
    assert (at_rest.base > 0, reopened.queue(QUEUE)) == (True, at_rest)
    assert reopened.queue_ids() == [QUEUE, OTHER]
    site.export(reopened, {DAY: [changed(row) for row in DAYS[DAY]]})
    assert statuses(site) == ["version 1", "version 1", "version 0", "version 0"]


def test_a_part_that_is_replaced_before_the_end_never_reaches_the_log(site: Site) -> None:
    """A day published twice has its last file; a day published and withdrawn has none."""
    site.export(site.log(), DAYS)
    log = site.log()
    partitions = site.partitions(log)
    put(partitions, DAY, [Row(1, at(DAY), 7)])
    put(partitions, DAY, [Row(1, at(DAY), 8)])
    put(partitions, DAY - 5, [Row(5, at(DAY - 5))])
    put(partitions, DAY - 5, [])
    put(partitions, DAY - 1, [Row(3, at(DAY - 1), 9)])
    put(partitions, DAY - 1, [])
    partitions.finish({})

    assert statuses(site) == ["version 8", "version 0"]
    assert len(site.data_files()) == len(DAYS) + 1  # the replaced ones stay for readers of the version before
    assert list(log.queue(QUEUE).files) == [NO_DAY, DAY]


def test_what_was_never_committed_leaves_with_the_export(site: Site) -> None:
    """An export that is cut short removes what it has put, and the table stays as it was."""
    site.export(site.log(), DAYS)
    before = site.data_files()
    partitions = site.partitions(site.log())
    put(partitions, DAY, [Row(1, at(DAY), 7)])

    partitions.close()

    assert site.data_files() == before
    assert statuses(site) == ["version 0"] * 4


def test_the_log_tells_what_a_queue_has(site: Site) -> None:
    """Rows, removed ones and bytes; of the latest time, which the log rounds up, one file; of no queue, nothing."""
    partitions = site.partitions(site.log())
    gone = {"removed_at": NOW}
    rows = pa.Table.from_pylist([row.values() | gone for row in DAYS[DAY]], schema=FORMATS["runs"].schema)
    newest = partitions.publish(DAY, [rows])
    size = (
        newest.size + partitions.publish(NO_DAY, [pa.Table.from_pylist([DAYS[NO_DAY][0].values()], rows.schema)]).size
    )
    partitions.finish({})
    steps: list[tuple[str, Any]] = []

    def gate(verb: str, path: Any, call: Callable[[], Any]) -> Any:
        steps.append((verb, path))
        return call()

    held = DeltaTable(site.log(gate=gate), now=lambda: NOW).held(QUEUE)

    assert held == (3, 2, 2, size, max(row.added_at for row in DAYS[DAY] if row.added_at))
    assert {path for _, path in steps} == {site.root / "runs", newest.path}
    assert DeltaTable(site.log(), now=lambda: NOW).held(OTHER) == (0, 0, 0, 0, None)


def test_bounds_in_the_log_hold_though_they_are_rounded(site: Site) -> None:
    """A reader that asks for the last microsecond of a file opens it: statistics never lie."""
    site.export(site.log(), {DAY: [Row(1, at(DAY, 1)), Row(2, at(DAY, 1999))]})

    found = pa.table(site.delta().get_add_actions(flatten=True)).to_pylist()[0]

    assert (found["min.added_at"], found["max.added_at"]) == (at(DAY), at(DAY, 2000))
    assert (found["num_records"], found["null_count.removed_at"], found["null_count.added_at"]) == (2, 2, 0)
    assert site.scan().filter(pl.col("added_at") == at(DAY, 1999)).collect().height == 1
    assert site.scan().filter(pl.col("added_at") >= at(DAY, 1999)).collect().height == 1


def test_columns_of_a_later_version_are_added_and_old_files_stay(site: Site) -> None:
    """The older file reads as null in them, and is not written anew."""
    runs = FORMATS["runs"]
    older = structs.replace(runs, version=1, schema=pa.schema([f for f in runs.schema if f.name != "thread_id"]))
    old = site.partitions(site.log(file_format=older))
    old.publish(DAY, [pa.Table.from_pylist([DAYS[DAY][0].values()], schema=older.schema)])
    old.finish({})
    assert "thread_id" not in site.scan().collect_schema()
    log = site.log()

    site.export(log, {DAY - 1: [Row(3, at(DAY - 1))]})

    assert site.scan().select("thread_id").collect()["thread_id"].to_list() == [None, None]
    assert site.delta().to_pyarrow_table().column("thread_id").null_count == 2
    assert set(site.live_names()) == site.data_files()
    assert len(site.data_files()) == 2


def test_a_column_of_another_type_is_refused(site: Site) -> None:
    """A table can't change a column's type: the message says which, and nothing is committed."""
    runs = FORMATS["runs"]
    narrow = [pa.field(f.name, pa.int32()) if f.name == "total_tokens" else f for f in runs.schema]
    old = site.partitions(site.log(file_format=structs.replace(runs, version=1, schema=pa.schema(narrow))))
    old.publish(DAY, [pa.Table.from_pylist([DAYS[DAY][0].values()], schema=pa.schema(narrow))])
    old.finish({})

    with pytest.raises(LakeError, match="its column total_tokens has another type than this annolake gives it"):
        site.export(site.log(), {DAY - 1: [Row(3, at(DAY - 1))]})

    assert len(statuses(site)) == 1


def test_a_damaged_log_is_told_without_what_is_in_it(on_disk: Site) -> None:
    """Place, reason, advice; nothing of the file's text."""
    log = Path(str(on_disk.root)) / "runs" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("secret garbage")

    with pytest.raises(LakeError, match="its log, .*/runs/_delta_log, is damaged or of a kind") as caught:
        on_disk.log().queue(QUEUE)

    assert "garbage" not in str(caught.value)
    assert "kernel" not in str(caught.value).lower()


def test_a_file_where_the_table_should_be_is_told(on_disk: Site) -> None:
    """The system's reason comes through deltalake."""
    root = Path(str(on_disk.root))
    root.mkdir()
    (root / "runs").write_text("")

    with pytest.raises(LakeError, match="cannot .* .*/runs: Not a directory; a file is where a folder should be"):
        on_disk.log().create()


def test_of_two_files_that_another_program_left_in_a_partition_the_later_stays(on_disk: Site) -> None:
    """The one that an earlier export wrote leaves the log with the next commit."""
    log = on_disk.log()
    on_disk.export(log, {DAY: [Row(1, at(DAY))]})
    old = log.queue(QUEUE).files[DAY][0]
    on_disk.export(log, {DAY: [Row(1, at(DAY), 1)]})
    values = {"queue_id": QUEUE, "added_date": at(DAY).date().isoformat()}
    add = AddAction(old.name, old.size, values, 0, data_change=True, stats='{"numRecords": 1}')
    on_disk.delta().create_write_transaction([add], "append", on_disk.delta().schema(), ["queue_id", "added_date"])
    assert statuses(on_disk) == ["version 0", "version 1"]

    on_disk.export(log, {})

    assert statuses(on_disk) == ["version 1"]


def old_enough(on_disk: Site, name: str) -> None:
    """Make a file of the disk old: deltalake's vacuum goes by the time that it was written."""
    (path,) = Path(str(on_disk.root)).rglob(name)
    os.utime(path, (0, 0))


def test_the_vacuum_takes_what_no_kept_version_has_and_nothing_else(on_disk: Site) -> None:
    """Old files and crashed uploads go; live files, young ones and those of other programs stay."""
    long_ago = NOW - timedelta(days=40)
    log = on_disk.log()
    on_disk.export(log, DAYS, now=long_ago)
    on_disk.export(log, {DAY: [Row(1, at(DAY), 1)], DAY - 1: []}, now=long_ago)  # two files are old now
    on_disk.export(log, {DAY: [Row(1, at(DAY), 2)]})  # replaced today
    crashed, running = on_disk.partitions(log), on_disk.partitions(log)
    put(crashed, DAY - 7, [Row(7, at(DAY - 7))])
    put(running, DAY - 8, [Row(8, at(DAY - 8))])
    old_enough(on_disk, crashed.parts[DAY - 7].path.name)
    stranger = Path(str(crashed.parts[DAY - 7].path.parent / ".DS_Store"))
    stranger.write_text("")
    old_enough(on_disk, ".DS_Store")
    assert len(on_disk.data_files()) == 7

    removed = log.vacuum(alone=lambda: False)

    assert removed == 3
    assert on_disk.live_names() < on_disk.data_files()
    assert running.parts[DAY - 8].path.name in on_disk.data_files()
    assert len(on_disk.data_files()) == 4
    assert stranger.exists()
    running.finish({})
    assert statuses(on_disk) == ["version 2", "version 0", "version 0"]


def test_where_old_versions_are_not_kept_only_live_files_are_left(on_disk: Site) -> None:
    """With no time to keep them they go at once; uploads only where no other export can be running."""
    log = on_disk.log(keep_s=0)
    on_disk.export(log, DAYS)
    on_disk.export(log, {DAY: [Row(1, at(DAY), 1)]})
    upload = on_disk.partitions(log)
    put(upload, DAY - 7, [Row(7, at(DAY - 7))])
    old_enough(on_disk, upload.parts[DAY - 7].path.name)

    assert log.vacuum(alone=lambda: False) == 1
    assert len(on_disk.data_files()) == len(DAYS) + 1
    assert log.vacuum(alone=lambda: True) == 1
    assert on_disk.data_files() == on_disk.live_names()


def test_an_upload_that_is_committed_beside_the_vacuum_stays(site: Site) -> None:
    """It was listed before its export ended; who has ended is no other export any more."""
    log = site.log(keep_s=0)
    site.export(log, DAYS)
    running = site.partitions(site.log(), OTHER)
    put(running, DAY, [Row(7, at(DAY))])

    def ends() -> bool:
        running.finish({})
        return True

    assert log.vacuum(alone=ends) == 0
    assert site.data_files() == site.live_names()
    assert statuses(site, OTHER) == ["version 0"]


def test_files_stay_as_long_as_the_setting_of_today_says(on_disk: Site) -> None:
    """A longer time counts for what was replaced before; tombstones outlast checkpoints for as long."""
    fifty_days_ago = NOW - timedelta(days=50)
    on_disk.export(on_disk.log(), DAYS, now=fifty_days_ago)
    on_disk.export(on_disk.log(), {DAY: [Row(1, at(DAY), 1)]}, now=fifty_days_ago)
    log = on_disk.log(keep_s=60 * 86400)

    assert log.vacuum(alone=lambda: True) == 0
    for number in range(25):
        on_disk.export(log, {DAY: [Row(number, at(DAY))]}, OTHER)
    for name in on_disk.data_files():
        old_enough(on_disk, name)

    assert on_disk.log(keep_s=60 * 86400).vacuum(alone=lambda: True) == 0
    assert on_disk.log(keep_s=40 * 86400).vacuum(alone=lambda: True) == 1
    assert len(statuses(on_disk)) == len(DAYS)
