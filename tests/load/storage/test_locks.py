"""Locks between processes and threads, and what a dead holder leaves."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from annolake.errors import LockedError
from annolake.load.storage.local import LocalFiles
from annolake.load.storage.locks import hold
from load.model_queue import FIRST_EXPORT, QUEUE, Row, expected, export, lake_at, stored

TESTS = Path(__file__).parents[2]


HOLD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from load.model_queue import QUEUE, lake_at
lake = lake_at(Path(sys.argv[1]))
since = datetime(2026, 1, 2, tzinfo=UTC)
with lake.workspace("theirs", since=since), lake.lock(QUEUE, since=since):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _held(root: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_held_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    """Another process's queue is refused by pid, host and time; other queues go on; a dead holder is no obstacle."""
    lake = lake_at(tmp_path)
    lake.prepare()

    with _held(tmp_path) as process:
        message = f"{QUEUE} is held by pid {process.pid} on host {os.uname().nodename} since 2026-01-02"
        with pytest.raises(LockedError, match=message):
            export(lake, [])
        export(lake, [Row(1, None)], queue_id=QUEUE.replace("1", "a"))
        alive = (tmp_path / "_annolake" / "tmp" / "theirs").is_dir()
    litter = [path.name for path in lake.litter()]
    export(lake, [Row(1, None)], number=2)

    assert (alive, litter) == (True, ["theirs"])
    assert not list((tmp_path / "_annolake" / "tmp").iterdir())
    assert stored(lake) == {Row(1, None).key: expected(Row(1, None), exported=2)}


def test_a_lock_whose_file_goes_while_it_is_taken_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking the file its last holder can remove it: the lock is then on the name's new file."""
    path, flock = tmp_path / "export.lock", fcntl.flock

    def removed_before(handle: int, how: int) -> None:
        monkeypatch.undo()
        path.unlink()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", removed_before)
    with (
        hold(LocalFiles(), path, since=FIRST_EXPORT, wait=True) as first,
        hold(LocalFiles(), path, since=FIRST_EXPORT) as second,
    ):
        assert first is None
        assert second is not None


def test_a_lock_is_held_between_threads_of_one_process_too(tmp_path: Path) -> None:
    """Two exports of one queue in one process exclude each other as two processes do."""
    lake = lake_at(tmp_path)
    lake.prepare()

    with (
        lake.lock(QUEUE, since=FIRST_EXPORT),
        pytest.raises(LockedError, match=f"by pid {os.getpid()} "),
        lake_at(tmp_path).lock(QUEUE, since=FIRST_EXPORT),
    ):
        pytest.fail("the lock was given twice")
    with lake.lock(QUEUE, since=FIRST_EXPORT):
        pass
