"""The folders of a table: names, which file is true, and how one takes another's place."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from annolake.errors import LakeError
from annolake.load.table.days import NO_DAY, day_from
from annolake.load.table.file_format import Footer
from annolake.load.table.folders import true_part
from annolake.load.table.part_file import Part
from load.model_queue import (
    QUEUE,
    START,
    Row,
    changed,
    export,
    folder_of,
    lake_at,
    parts,
    root_of,
    rows,
    stored,
    with_duckdb,
)

RUNS, FEEDBACK = (lake_at(Path("nowhere")).formats[table] for table in ("runs", "feedback"))


def test_readers_meet_both_files_only_without_exchange(tmp_path: Path) -> None:
    """In the middle of the fallback both files are there and the later generation is told by its footer."""
    lake = lake_at(tmp_path)
    export(lake, [Row(1, START)])
    seen: list[int] = []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "remove" and path.parent.name.startswith("added_date"):
            seen.append(len(list(path.parent.iterdir())))
        return call()

    export(lake_at(tmp_path, gate=gate, exchanges=False), [changed(Row(1, START))], number=2)

    assert seen == [2]
    assert stored(lake)[Row(1, START).key]["status"] == "version 1"


def test_of_two_files_the_later_generation_stays(tmp_path: Path) -> None:
    """What a kill between in and out left behind is removed by the next export, by generation."""
    lake, twin = lake_at(tmp_path / "lake"), lake_at(tmp_path / "twin")
    export(lake, [Row(1, START)])
    shutil.copytree(root_of(lake), root_of(twin))
    export(lake, [changed(Row(1, START))], number=2)
    (old,) = folder_of(twin).glob("*/*")
    shutil.copy(old, folder_of(lake) / old.parent.name)
    assert with_duckdb(lake, "select count(*) from runs") == [(2,)]

    done = export(lake, [changed(Row(1, START))], number=3)

    assert (len(parts(lake)), done.unchanged) == (1, 1)
    assert stored(lake)[Row(1, START).key]["status"] == "version 1"


def test_two_files_of_one_generation_are_not_guessed_at(tmp_path: Path) -> None:
    """Neither file is touched: the message names both."""
    lake, twin = lake_at(tmp_path / "lake"), lake_at(tmp_path / "twin")
    export(lake, [Row(1, START)])
    export(twin, [changed(Row(1, START))], number=2)
    (one,) = folder_of(lake).glob("*/*")
    (other,) = folder_of(twin).glob("*/*")
    shutil.copy(other, one.parent)

    with pytest.raises(LakeError, match=f"which of .*{one.parent.name}.* is the true one: move one away"):
        export(lake, [], number=3)

    assert len(list(one.parent.iterdir())) == 2


def test_of_two_files_none_is_removed_by_a_generation_that_rotted(tmp_path: Path) -> None:
    """The later file would go where a bit of its generation flipped: both stay, and the damaged one is named."""
    lake, twin = lake_at(tmp_path / "lake"), lake_at(tmp_path / "twin")
    export(lake, [Row(1, START)])
    shutil.copytree(root_of(lake), root_of(twin))
    export(lake, [changed(Row(1, START))], number=2)
    (old,) = folder_of(twin).glob("*/*")
    (later,) = folder_of(lake).glob("*/*")
    text = bytearray(later.read_bytes())
    text[text.index(b"2", text.index(b"annolake.generation"))] ^= 2
    later.write_bytes(text)
    shutil.copy(old, later.parent)

    with pytest.raises(LakeError, match=f"cannot trust {later}: it was changed after it was written"):
        export(lake, [], number=3)

    assert {path.name for path in later.parent.iterdir()} == {old.name, later.name}


@pytest.mark.parametrize("name", ["added_date=2026-11-01/notes.txt", "added_date=soon/x", "README"])
def test_what_does_not_belong_there_is_named(tmp_path: Path, name: str) -> None:
    """A stranger's file or folder under `runs/` stops the export before it touches anything."""
    lake = lake_at(tmp_path)
    export(lake, rows(20))
    stranger = folder_of(lake) / name
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_text("mine")

    with pytest.raises(LakeError, match="cannot trust .*belongs there; move it away"):
        export(lake, [], number=2)

    assert stranger.read_text() == "mine"


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
        export(lake_at(tmp_path, gate=gate), [replace(row, version=9) for row in queue], number=2)

    assert {row["status"] for row in stored(lake).values()} == {"version 1"}


@pytest.mark.parametrize("when", [date(2026, 11, 1), date(1970, 1, 1), date(1969, 12, 31), date.min, date.max])
def test_a_day_comes_back_from_its_folder_s_name(when: date) -> None:
    """Days before 1970 too, and in each table under the name of its partition column."""
    for file_format, column in ((RUNS, "added_date"), (FEEDBACK, "created_date")):
        name = file_format.folder_name(day_from(when))

        assert name == f"{column}={when.isoformat()}"
        assert file_format.day_named(name) == day_from(when)


def test_rows_without_a_day_have_a_folder_of_their_own() -> None:
    """It has the name that readers of partitions take for null."""
    assert RUNS.folder_name(NO_DAY) == "added_date=__HIVE_DEFAULT_PARTITION__"
    assert RUNS.day_named(RUNS.folder_name(NO_DAY)) == NO_DAY


STRANGE = [
    *("", "2026-11-01", "__HIVE_DEFAULT_PARTITION__", "added_date=", "added_date=20261101", "added_date=2026-W45-1"),
    *("added_date=2026-11-31", "added_date=null", "Added_date=2026-11-01", "added_date=2026-11-01 "),
    "created_date=2026-11-01",
]


@pytest.mark.parametrize("name", STRANGE)
def test_a_name_that_no_export_writes_is_no_day(name: str) -> None:
    """Other spellings of a date are other folders."""
    assert RUNS.day_named(name) is None


def part(name: str, generation: int) -> Part:
    """Return a file as a listing tells of it."""
    return Part(Path(name), Footer(1, 1, "an export", generation), rows=1, size=1, removed=0)


def test_the_later_generation_is_true() -> None:
    """In whatever order files are listed; of none, none is."""
    one, other = part("one", 9), part("other", 10)

    assert true_part([one, other]) == true_part([other, one]) == other
    assert true_part([one]) == one
    assert true_part([other, part("c", 11), one]) == part("c", 11)
    assert true_part([]) is None


def test_of_one_generation_neither_is_true() -> None:
    """An earlier one beside them changes nothing; both are named."""
    with pytest.raises(LakeError, match="which of b and c is the true one|which of c and b is the true one"):
        true_part([part("b", 2), part("a", 1), part("c", 2)])


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "in-then-out"])
@pytest.mark.parametrize("done", [True, False], ids=["after the deed", "before it"])
def test_an_error_of_a_swap_counts_where_nothing_was_done(tmp_path: Path, *, done: bool, exchanges: bool) -> None:
    """A file that is replaced, one in a new folder and one that goes: the export looks, and goes on or stops."""
    lake, before = lake_at(tmp_path), [Row(1, START), Row(2, START + timedelta(days=1))]
    after = [changed(before[0]), changed(before[1], added_at=START + timedelta(days=2))]
    export(lake, before)
    was, broken = parts(lake), []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        swapping = verb in {"write", "replace"} and (tmp_path / "runs" in path.parents or path.name.endswith(".old"))
        result = call() if done or not swapping else None
        if swapping:
            broken.append(path)
            raise OSError(errno.EIO, "broken", str(path))
        return result

    if done:
        export(lake_at(tmp_path, gate=gate, exchanges=exchanges), after, number=2)
        assert {row["status"] for row in stored(lake).values()} == {"version 1"}
        assert len(broken) == 3
    else:
        with pytest.raises(LakeError, match="Input/output error"):
            export(lake_at(tmp_path, gate=gate, exchanges=exchanges), after, number=2)
        assert parts(lake) == was
    assert not list((tmp_path / "_annolake/tmp").iterdir())


def test_each_file_is_of_the_generation_after_the_one_it_replaces(tmp_path: Path) -> None:
    """The first one is of generation 1."""
    lake, told = lake_at(tmp_path), []
    for version in range(3):
        export(lake, [Row(1, START, version)], number=version)
        (path,) = folder_of(lake).glob("*/*")
        told.append(pq.ParquetFile(path).metadata.metadata[b"annolake.generation"])

    assert told == [b"1", b"2", b"3"]
