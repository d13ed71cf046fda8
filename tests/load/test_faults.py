"""Every step of the store broken once, and disks that are full, read-only or full of surprises."""

import errno
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annolake.contract import RUNS
from annolake.errors import LakeError
from annolake.load.merge.decide import Counts
from annolake.load.storage.exchange import exchange
from annolake.load.storage.local import Store
from load.faults import Gate, Killed
from load.model_queue import (
    FIRST_EXPORT,
    QUEUE,
    START,
    Row,
    changed,
    export,
    lake_at,
    numbers_of,
    parts,
    rows,
    stored,
    with_duckdb,
    with_polars,
)

DAY = timedelta(days=1)
BEFORE = [Row(0, START), Row(1, START), Row(2, START + DAY), Row(3, START)]
AFTER = [
    changed(BEFORE[0]),  # stays in its partition, which Row 1 leaves for a new one, with Row 4
    changed(BEFORE[1], added_at=START + 2 * DAY),
    changed(BEFORE[2], added_at=START),  # empties its partition
    Row(4, START + 2 * DAY),  # new; Row 3 is gone
]


@pytest.fixture(scope="module")
def lake_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake that the states before were exported to."""
    root = tmp_path_factory.mktemp("lakes") / "before"
    export(lake_at(root), BEFORE)
    return root


@pytest.fixture(scope="module")
def rows_after(lake_before: Path) -> dict[str, dict[str, Any]]:
    """Return what one clean export of the states after makes of that lake."""
    root = lake_before.with_name("after")
    shutil.copytree(lake_before, root)
    export(lake_at(root), AFTER, number=3, budget=1)
    return stored(lake_at(root))


def count_steps(lake_before: Path, *, exchanges: bool) -> int:
    """Return how many steps the clean export takes."""
    root, gate = lake_before.with_name("count"), Gate()
    shutil.copytree(lake_before, root)
    export(lake_at(root, store=Store(gate, exchanges=exchanges)), AFTER, number=3, budget=1)
    shutil.rmtree(root)
    return len(gate.steps)


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "in-then-out"])
@pytest.mark.parametrize("mode", ["before", "after", "kill"])
def test_any_broken_step_is_made_good_by_a_plain_rerun(
    lake_before: Path, rows_after: dict[str, dict[str, Any]], mode: str, *, exchanges: bool
) -> None:
    """Whichever step breaks, no row is ever missing, and the rerun ends as an export without faults."""
    steps = count_steps(lake_before, exchanges=exchanges)
    stride = 1 if exchanges and mode != "before" else 2  # "before" is half a kill
    for step in range(0, steps, stride):
        root = lake_before.with_name("broken")
        shutil.copytree(lake_before, root)

        with suppress(LakeError, Killed):
            store = Store(Gate(mode, step), exchanges=exchanges)
            export(lake_at(root, store=store), AFTER, number=2, budget=1)
        between = set(with_polars(lake_at(root))["queue_run_id"])
        export(lake_at(root), AFTER, number=3, budget=1)

        assert between >= {row.key for row in BEFORE}, step
        assert _timeless(stored(lake_at(root))) == _timeless(rows_after), step
        assert not list((root / "_annolake" / "tmp").iterdir()), step
        shutil.rmtree(root)


def _timeless(some: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {key: row | {"exported_at": None, "removed_at": row["removed_at"] is not None} for key, row in some.items()}


def test_an_error_after_the_swap_is_no_failure(lake_before: Path) -> None:
    """When a call reports an error though it was done, the export looks, and goes on."""
    root = lake_before.with_name("reported")
    shutil.copytree(lake_before, root)
    broken: list[str] = []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        done = call()
        if verb in {"write", "replace"} and path.name.startswith("added_date="):
            broken.append(path.name.removeprefix("added_date="))
            raise OSError(errno.EIO, "after the deed", str(path))
        return done

    done = export(lake_at(root, store=Store(gate)), AFTER, number=2)

    assert done.counts == Counts(inserted=1, updated=3, removed=1)
    assert len(stored(lake_at(root))) == len(BEFORE) + 1
    assert len(broken) == 3  # a new partition, a changed one, and one that was emptied


def test_readers_meet_both_files_only_without_exchange(tmp_path: Path) -> None:
    """In the middle of the fallback both files are there and the later generation is told by its footer."""
    lake = lake_at(tmp_path)
    export(lake, [Row(1, START)])
    seen: list[int] = []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "remove" and path.parent.name.startswith("added_date"):
            seen.append(len(list(path.parent.iterdir())))
        return call()

    export(lake_at(tmp_path, store=Store(gate, exchanges=False)), [changed(Row(1, START))], number=2)

    assert seen == [2]
    assert stored(lake)[Row(1, START).key]["status"] == "version 1"


def test_of_two_files_the_later_generation_stays(tmp_path: Path) -> None:
    """What a kill between in and out left behind is removed by the next export, by generation."""
    lake, twin = lake_at(tmp_path / "lake"), lake_at(tmp_path / "twin")
    export(lake, [Row(1, START)])
    shutil.copytree(lake.root, twin.root)
    export(lake, [changed(Row(1, START))], number=2)
    (old,) = twin.runs_folder(QUEUE).glob("*/*")
    shutil.copy(old, lake.runs_folder(QUEUE) / old.parent.name)
    assert with_duckdb(lake, "select count(*) from runs") == [(2,)]

    done = export(lake, [changed(Row(1, START))], number=3)

    assert (len(parts(lake)), done.unchanged) == (1, 1)
    assert stored(lake)[Row(1, START).key]["status"] == "version 1"


def test_two_files_of_one_generation_are_not_guessed_at(tmp_path: Path) -> None:
    """Neither file is touched: the message names both."""
    lake, twin = lake_at(tmp_path / "lake"), lake_at(tmp_path / "twin")
    export(lake, [Row(1, START)])
    export(twin, [changed(Row(1, START))], number=2)
    (one,) = lake.runs_folder(QUEUE).glob("*/*")
    (other,) = twin.runs_folder(QUEUE).glob("*/*")
    shutil.copy(other, one.parent)

    with pytest.raises(LakeError, match=f"which of .*{one.parent.name}.* is the true one: move one away"):
        export(lake, [], number=3)

    assert len(list(one.parent.iterdir())) == 2


def test_of_two_files_none_is_removed_by_a_generation_that_rotted(tmp_path: Path) -> None:
    """The later file would go where a bit of its generation flipped: both stay, and the damaged one is named."""
    lake, twin = lake_at(tmp_path / "lake"), lake_at(tmp_path / "twin")
    export(lake, [Row(1, START)])
    shutil.copytree(lake.root, twin.root)
    export(lake, [changed(Row(1, START))], number=2)
    (old,) = twin.runs_folder(QUEUE).glob("*/*")
    (later,) = lake.runs_folder(QUEUE).glob("*/*")
    text = bytearray(later.read_bytes())
    text[text.index(b"2", text.index(b"annolake.generation"))] ^= 2
    later.write_bytes(text)
    shutil.copy(old, later.parent)

    with pytest.raises(LakeError, match=f"cannot trust {later}: it was changed after it was written"):
        export(lake, [], number=3)

    assert {path.name for path in later.parent.iterdir()} == {old.name, later.name}


@pytest.mark.parametrize("place", range(8))
def test_no_value_is_kept_from_a_file_that_rotted(tmp_path: Path, place: int) -> None:
    """A row that moved to another day takes nothing along from a file that is not what was written."""
    lake, moved = lake_at(tmp_path), changed(Row(1, START), added_at=START + DAY)
    export(lake, [Row(1, START), Row(2, START + DAY)])
    source, target = sorted(lake.runs_folder(QUEUE).glob("*/*"))
    text = bytearray(source.read_bytes())
    text[len(text) * place // 8] ^= 4
    source.write_bytes(text)
    before = parts(lake)

    with pytest.raises(LakeError, match=str(source)):
        export(lake, [moved, Row(2, START + DAY)], number=2, unavailable=frozenset({"feedback_stats"}))

    assert (parts(lake), source.read_bytes(), target.exists()) == (before, bytes(text), True)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def _spoilt_key_page(path: Path) -> None:
    text = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    text[at : at + 200] = b"\xff" * 200
    path.write_bytes(text)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_cut, "damaged, cut off or not written by annolake"),
        (_empty, "damaged, cut off or not written by annolake"),
        (_foreign, "annolake did not write it"),
        (_spoilt_key_page, "damaged, cut off or not written by annolake"),
    ],
)
def test_a_file_that_cannot_be_read_is_never_replaced(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    """The export ends with path and reason, and every file is as it was."""
    lake = lake_at(tmp_path)
    export(lake, rows(20))
    path = next(lake.runs_folder(QUEUE).glob("*/*"))
    spoil(path)
    spoilt, before = path.read_bytes(), parts(lake)

    with pytest.raises(LakeError, match=f"{path}: .*{reason}"):
        export(lake, [changed(row) for row in rows(20)], number=2)

    assert (path.read_bytes(), parts(lake)) == (spoilt, before)


@pytest.mark.parametrize("name", ["added_date=2026-11-01/notes.txt", "added_date=soon/x", "README", ".hidden"])
def test_what_does_not_belong_there_is_named(tmp_path: Path, name: str) -> None:
    """A stranger's file or folder under `runs/` stops the export before it touches anything."""
    lake = lake_at(tmp_path)
    export(lake, rows(20))
    stranger = lake.runs_folder(QUEUE) / name
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_text("mine")

    with pytest.raises(LakeError, match="cannot trust .*belongs there; move it away"):
        export(lake, [], number=2)

    assert stranger.read_text() == "mine"


@pytest.mark.parametrize("place", ["lake", "lake/runs", "lake/_annolake", "lake/_annolake/tmp"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path, place: str) -> None:
    """The message says what is in the way."""
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")

    with pytest.raises(LakeError, match=f"cannot make the folder {tmp_path}/lake.* a file is where a folder"):
        export(lake_at(tmp_path / "lake"), [])

    assert path.read_text() == "in the way"


def test_a_read_only_lake_is_told_before_anything_is_asked_of_the_service(tmp_path: Path) -> None:
    """Preparing the lake proves that it can be written to."""

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "write":
            raise OSError(errno.EROFS, "", str(path))
        return call()

    with pytest.raises(LakeError, match="cannot write .*Read-only file system; make it writable and run again"):
        lake_at(tmp_path, store=Store(gate)).prepare()


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("budget", [1, 1 << 30], ids=["while spilling", "while writing a partition"])
def test_a_disk_that_fills_up_leaves_the_lake_as_it_was(tmp_path: Path, budget: int) -> None:
    """A write that no longer fits ends with the reason, and the rerun finds no trace of it."""
    lake, queue = lake_at(tmp_path), [Row(number, START, payload=5000) for number in range(100)]
    export(lake, queue[:1])
    before = parts(lake)

    with _files_of_at_most(25_000), pytest.raises(LakeError, match="File too large; free some space"):
        export(lake, queue, number=2, budget=budget)
    left = parts(lake), list((tmp_path / "_annolake" / "tmp").iterdir())
    export(lake, queue, number=3)

    assert left == (before, [])
    assert len(stored(lake)) == 100


def test_a_value_that_does_not_fit_is_a_bug_and_no_damaged_file(tmp_path: Path) -> None:
    """What pyarrow refuses to write is not blamed on the disk, and nothing is published."""
    lake = lake_at(tmp_path)
    lake.prepare()
    null = pa.RecordBatch.from_pylist([Row(1, START).values() | {"endpoint": None}], schema=RUNS.schema)

    with (
        lake.workspace("one", since=FIRST_EXPORT) as workspace,
        lake.upsert(QUEUE, workspace, now=FIRST_EXPORT) as upsert,
    ):
        upsert.add(null, numbers_of(upsert, [Row(1, START)]))
        with pytest.raises(pa.ArrowInvalid, match="non-nullable"):
            list(upsert.publish(remove_gone=False))

    assert parts(lake) == {}


def test_a_lake_written_by_another_export_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Where a file system does not honour locks, the second export stops instead of undoing the first."""
    lake, queue = lake_at(tmp_path), rows(10)
    export(lake, queue)
    raced: list[bool] = []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "flush" and path.name.startswith("part-") and not raced:
            raced.append(True)
            shutil.move(tmp_path / "_annolake" / "locks" / QUEUE, tmp_path / "lock that is gone")
            export(lake, [changed(row) for row in queue], number=3)
        return call()

    with pytest.raises(LakeError, match="another export replaced it meanwhile"):
        export(lake_at(tmp_path, store=Store(gate)), [replace(row, version=9) for row in queue], number=2)

    assert {row["status"] for row in stored(lake).values()} == {"version 1"}


def test_exchange_swaps_two_folders_at_once(tmp_path: Path) -> None:
    """Both names stay, each with what the other had."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).touch()

    if not exchange(one, other):
        pytest.skip("this file system cannot exchange names")

    assert [path.name for path in (*one.iterdir(), *other.iterdir())] == ["other", "one"]


def test_exchange_of_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """Nothing is taken for done that was not."""
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "other")
