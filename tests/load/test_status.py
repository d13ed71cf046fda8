"""What `status` finds in a lake: sound, damaged, of two schema versions, and beside a running export."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from uuid import UUID

import pyarrow as pa
import pytest

from annolake.contract import QUEUES, RUNS
from annolake.load.lake import Lake
from annolake.load.status import QueueStatus, status
from annolake.load.table.file_format import Footer
from annolake.load.table.part_file import write_part
from annolake.load.table.partitions import Held
from load.model_queue import (
    FIRST_EXPORT,
    QUEUE,
    START,
    Row,
    counts_file,
    export,
    folder_of,
    lake_at,
    root_of,
    rows,
    workspace_in,
)
from load.test_schema_versions import OLDER, lake_of

OTHER = QUEUE.replace("1", "a")
NOW = datetime(2026, 12, 24, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake of two queues."""
    lake = lake_at(tmp_path / "lake")
    export(lake, rows(60))
    export(lake, rows(10), queue_id=OTHER)
    return lake


def by_id(lake: Lake) -> dict[str, QueueStatus]:
    """Return the status of each queue."""
    return {queue.queue_id: queue for queue in status(lake, now=NOW).queues}


def name_it(lake: Lake, name: str | None) -> None:
    """Write the queue's own record."""
    values = dict.fromkeys(QUEUES.schema.names) | {"name": name, "row_hash": b"h" * 16, "exported_at": FIRST_EXPORT}
    with lake.workspace("named", since=FIRST_EXPORT) as workspace, lake.lock(QUEUE, since=FIRST_EXPORT):
        lake.write_queue(QUEUE, workspace, pa.Table.from_pylist([values], schema=QUEUES.schema))


def report(lake: Lake, **entry: object) -> None:
    """Write a report of the queue."""
    with lake.workspace("report", since=FIRST_EXPORT) as workspace:
        queues = [{"queue_id": QUEUE, **entry}]
        lake.reports.write({"started_at": FIRST_EXPORT.isoformat(), "export_id": "x", "queues": queues}, workspace)


def test_each_queue_has_its_figures(lake: Lake) -> None:
    """Rows, partitions, bytes and the newest added_at, of the files that are there; rejects by their files."""
    rejected = root_of(lake) / "_annolake" / "rejected" / f"queue_id={QUEUE}"
    rejected.mkdir()
    for name in ("one.json", "two.json", "three.txt"):
        (rejected / name).touch()

    queue, other = by_id(lake)[QUEUE], by_id(lake)[OTHER]

    sizes = [path.stat().st_size for path in folder_of(lake).glob("*/*")]
    newest = max(row.added_at for row in rows(60) if row.added_at)
    assert queue.held == Held(rows=60, removed=0, partitions=len(sizes), size=sum(sizes), newest=newest)
    assert (queue.rejects, queue.error) == (2, None)
    assert other.held is not None
    assert (other.held.rows, other.rejects) == (10, 0)


@pytest.mark.parametrize("read", [[], [Row(1, None), Row(2, None)]], ids=["empty", "undated"])
def test_a_queue_without_a_dated_row_has_no_newest(tmp_path: Path, read: list[Row]) -> None:
    """The file without rows counts as no partition, and undated rows are of no day."""
    lake = lake_at(tmp_path)
    export(lake, read)

    held = by_id(lake)[QUEUE].held

    assert held is not None
    assert (held.rows, held.partitions, held.newest) == (len(read), bool(read), None)
    assert held.size == sum(path.stat().st_size for path in folder_of(lake).glob("*/*"))


def test_the_name_is_that_of_the_lake(lake: Lake) -> None:
    """The table `queues` has it; where it has none, the last report that has one."""
    assert by_id(lake)[QUEUE].name is None

    report(lake, name="reported")
    assert by_id(lake)[QUEUE].name == "reported"

    name_it(lake, "in the lake")
    assert by_id(lake)[QUEUE].name == "in the lake"


def test_queues_that_are_named_are_shown_also_without_a_file(lake: Lake) -> None:
    """A queue of the settings that was never exported holds nothing; only those asked for can be shown."""
    never = QUEUE.replace("1", "b")

    found = status(lake, now=NOW, named=[never])
    alone = status(lake, now=NOW, named=[never], only_named=True)

    assert [queue.queue_id for queue in found.queues] == sorted([QUEUE, OTHER, never])
    assert [queue.queue_id for queue in alone.queues] == [never]
    assert alone.queues[0].held == Held(0, 0, 0, 0, None)


def _newer(lake: Lake) -> str:
    (newest,) = (folder_of(lake) / "added_date=2026-11-05").iterdir()
    shutil.rmtree(newest.parent)
    table = lake.formats["runs"].schema.empty_table()
    write_part(workspace_in(newest.parent), [table], file_format=lake.formats["runs"], footer=Footer(99, 1, "x", 9))
    return "a newer annolake wrote it"


def _damaged(lake: Lake) -> str:
    (newest,) = (folder_of(lake) / "added_date=2026-11-05").iterdir()
    newest.write_bytes(b"PAR1" * 9)
    return "damaged, cut off or not written by annolake"


def _stranger(lake: Lake) -> str:
    next(folder_of(lake).iterdir()).joinpath("notes.txt").touch()
    return "only part-*.parquet belongs there"


def _strange_folder(lake: Lake) -> str:
    (folder_of(lake) / "added_date=someday" / "more").mkdir(parents=True)
    return "only added_date=... belongs there"


def _pipe(lake: Lake) -> str:
    path = next(folder_of(lake).glob("*/*"))
    path.unlink()
    path.mkdir()
    return "it is not a regular file"


@pytest.mark.parametrize("spoil", [_newer, _damaged, _stranger, _strange_folder, _pipe])
def test_a_queue_that_cannot_be_read_hides_no_other(lake: Lake, spoil: Callable[[Lake], str]) -> None:
    """Its figures are unknown, and one sentence says why; reports and rejects are still told."""
    report(lake, name="reported")
    before, error = by_id(lake)[OTHER], spoil(lake)

    found = by_id(lake)

    assert found[OTHER] == before
    queue = found[QUEUE]
    assert (queue.held, queue.name, queue.rejects) == (None, "reported", 0)
    assert error in (queue.error or "")
    assert queue.history.last is not None


def test_a_record_that_cannot_be_read_leaves_the_figures(lake: Lake) -> None:
    """The rows are counted, and the error is told all the same."""
    name_it(lake, "unread")
    (path,) = folder_of(lake, "queues").iterdir()
    path.write_bytes(b"")

    queue = by_id(lake)[QUEUE]

    assert queue.held is not None
    assert queue.held.rows == 60
    assert str(path) in (queue.error or "")


def test_what_is_no_queue_s_is_told_beside_them(lake: Lake) -> None:
    """A stranger's file in a table's folder stops exports, and hides no queue."""
    (root_of(lake) / "runs" / "notes.txt").touch()

    found = status(lake, now=NOW)

    assert "notes.txt: only queue_id=... belongs there; move it away" in (found.error or "")
    assert len(found.queues) == 2


def test_a_lake_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """No folder is made by looking."""
    found = status(lake_at(tmp_path / "none"), now=NOW)

    assert (found.queues, found.last_attempt, found.error) == ([], None, None)
    assert not (tmp_path / "none").exists()


def test_a_running_export_shows_each_queue_before_or_after(tmp_path: Path) -> None:
    """Over 40 queues of two schema versions, without counts at first: figures are of either moment."""
    ids = [str(UUID(int=number, version=4)) for number in range(1, 41)]
    before, after = rows(9, days=3), [*rows(9, days=3)[1:], *(Row(number, START) for number in range(100, 103))]
    older, newer = lake_of(tmp_path, 1, OLDER), lake_of(tmp_path, 2, RUNS.schema)
    for queue_id in ids:
        export(older, before, queue_id=queue_id)
        counts_file(older, queue_id=queue_id).unlink()
    failed: list[BaseException] = []

    def export_all() -> None:
        try:
            for number, queue_id in enumerate(ids):
                export(newer, after, number=2 + number, queue_id=queue_id)
                reject = tmp_path / "_annolake" / "rejected" / f"queue_id={queue_id}" / "odd.json"
                reject.parent.mkdir()
                reject.write_text(json.dumps({}))
        except BaseException as error:  # noqa: BLE001 - a thread's error is the test's
            failed.append(error)

    exporting, seen = Thread(target=export_all), []
    exporting.start()
    while exporting.is_alive():
        seen.append(by_id(newer))
    exporting.join()
    last = by_id(newer)

    assert failed == []
    assert all(look.keys() == set(ids) for look in seen)
    assert {queue.error for look in [*seen, last] for queue in look.values()} == {None}
    figures = [(q.held.rows, q.held.removed, q.held.partitions, q.rejects) for q in _all(seen) if q.held]
    assert set(figures) <= {(9, 0, 3, 0), (12, 1, 3, 0), (12, 1, 3, 1)}
    assert len(set(figures)) > 1
    assert {(q.held.rows, q.held.removed, q.rejects) for q in last.values() if q.held} == {(12, 1, 1)}


def _all(looks: list[dict[str, QueueStatus]]) -> list[QueueStatus]:
    return [queue for look in looks for queue in look.values()]


def test_a_part_that_is_replaced_between_two_looks_is_looked_for_again(lake: Lake) -> None:
    """Listed before it was replaced and measured after: the figures are of the new one, all of them."""
    gone = list(folder_of(lake).glob("*/*"))
    exported: list[int] = []

    def gate(verb: str, path: Path, call: Callable[[], object]) -> object:
        if verb == "read" and path in gone and not exported:
            exported.append(1)
            export(lake, [Row(500, START + timedelta(days=number)) for number in range(1)], number=9)
        return call()

    found = by_id(lake_at(root_of(lake), gate=gate))[QUEUE]

    assert exported
    assert found.error is None
    assert found.held == by_id(lake)[QUEUE].held
