"""A local disk: full, read-only, or with a file where a folder should be."""

import errno
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from annolake.errors import LakeError
from annolake.load.storage.local import LocalFiles
from load.model_queue import START, Row, export, lake_at, parts, stored


@pytest.mark.parametrize("place", ["lake", "lake/runs", "lake/_annolake", "lake/_annolake/tmp"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path, place: str) -> None:
    """The message says what is in the way."""
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")

    with pytest.raises(LakeError, match=f"cannot (make the folder|list) {tmp_path}/lake.* a file is where a folder"):
        export(lake_at(tmp_path / "lake"), [])

    assert path.read_text() == "in the way"


def test_the_files_below_a_folder_are_found_or_what_hides_them_is_named(tmp_path: Path) -> None:
    """A folder that goes meanwhile was replaced by an export; one that may not be read hides files."""
    (tmp_path / "runs/queue_id=a").mkdir(parents=True)
    for name in ("runs/queue_id=a/part", "runs/stray"):
        (tmp_path / name).touch()
    assert sorted(map(str, LocalFiles().below(tmp_path / "runs"))) == [
        f"{tmp_path}/runs/queue_id=a/part",
        f"{tmp_path}/runs/stray",
    ]
    assert LocalFiles().below(tmp_path / "nowhere") == []

    (tmp_path / "file").touch()
    with pytest.raises(LakeError, match=f"cannot list {tmp_path}/file"):
        LocalFiles().below(tmp_path / "file")


def test_a_read_only_lake_is_told_before_anything_is_asked_of_the_service(tmp_path: Path) -> None:
    """Preparing the lake proves that it can be written to."""

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "write":
            raise OSError(errno.EROFS, "", str(path))
        return call()

    with pytest.raises(LakeError, match="cannot write .*Read-only file system; make it writable and run again"):
        lake_at(tmp_path, gate=gate).prepare()


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
