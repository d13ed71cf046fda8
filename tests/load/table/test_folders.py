"""The folders of a table: names, which file is true, and how one takes another's place."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annolake.errors import LakeError
from annolake.load.storage.local import Store
from load.model_queue import (
    QUEUE,
    START,
    Row,
    changed,
    export,
    lake_at,
    parts,
    rows,
    stored,
    with_duckdb,
)


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
