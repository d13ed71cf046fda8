"""Locks between processes and threads, and what a dead holder leaves."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from annolake.errors import LockedError
from annolake.load.storage.local import LocalFiles
from annolake.load.storage.locks import hold, is_free
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


def test_a_lock_ends_with_its_block_though_a_forked_child_lives_on(tmp_path: Path) -> None:
    """The child has the file open too: closing it here alone would leave the lock with it."""
    files, path = LocalFiles(), tmp_path / "queue.lock"
    with hold(files, path, since=FIRST_EXPORT) as holder:
        child = _Child.that(lambda: None)
    try:
        assert (holder, is_free(files, path)) == (None, True)
        with hold(files, path, since=FIRST_EXPORT) as again:
            assert again is None
    finally:
        child.end()


def test_a_forked_child_does_not_let_go_of_its_parent_s_lock(tmp_path: Path) -> None:
    """Where it leaves the block, as by an error that goes through it."""
    files, path = LocalFiles(), tmp_path / "queue.lock"
    with ExitStack() as block:
        block.enter_context(hold(files, path, since=FIRST_EXPORT))
        child = _Child.that(block.close)
        try:
            assert not is_free(files, path)
        finally:
            child.end()


class _Child:
    """A fork of this process, which does something and then waits for its end."""

    @classmethod
    def that(cls, does: Callable[[], object]) -> "_Child":
        """Return one that has done it."""
        done, tell_done = os.pipe()
        wait_for_end, end = os.pipe()
        pid = os.fork()
        if pid == 0:
            does()
            os.close(tell_done)
            os.close(end)
            os.read(wait_for_end, 1)
            os._exit(0)
        os.close(tell_done)
        os.close(wait_for_end)
        os.read(done, 1)
        os.close(done)
        return cls(pid, end)

    def __init__(self, pid: int, end: int) -> None:
        self._pid, self._end = pid, end

    def end(self) -> None:
        """Have it end, and wait for that."""
        os.close(self._end)
        os.waitpid(self._pid, 0)


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
