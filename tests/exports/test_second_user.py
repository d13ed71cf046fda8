"""A lake that several users of one machine write to."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from annolake.sandbox import Population, Sandbox
from exporting import KEY_VARIABLE, annolake, with_polars, write_config

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

SECOND = 54_321  # a user's id that nobody has
BECOME_SECOND = f"""
os.setgroups([])
os.setgid({SECOND})
os.setuid({SECOND})
"""
# The first export is the first user's, and loads what the second user may not read: Python itself, perhaps.
EXPORT_TWICE = f"""
import os, pathlib
from annolake.cli import main
os.umask(0)
codes = [main(["run", "--quiet"])]
for lock in pathlib.Path("lake/_annolake/locks").iterdir():
    lock.chmod(0o644)
{BECOME_SECOND}
codes += [main(["run", "--quiet"]), main(["verify"])]
print(*codes)
"""
HOLD = f"""
import datetime, os, pathlib, sys
from annolake.load.storage.locks import hold
from annolake.load.storage.local import LocalFiles
{BECOME_SECOND}
with hold(LocalFiles(), pathlib.Path(sys.argv[1]), since=datetime.datetime(2026, 11, 24)) as holder:
    print(holder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may write to, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@as_root
@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_a_second_user_exports_into_the_lake(endpoint: str, folder: Path) -> None:
    """The locks that the first one made are held all the same, though they can't be written."""

    def rename(sandbox: Sandbox, _number: int) -> None:
        if list((folder / "lake/_annolake/reports").iterdir()):
            sandbox.queue().edit(sandbox.queue().rows("active")[0].id, name="renamed")

    with Sandbox(Population(rows=30, odd=False, days=2), seed=2, before_request=rename) as sandbox:
        write_config(folder, sandbox, {"source.endpoint": endpoint})
        environ = {KEY_VARIABLE: sandbox.api_key}
        ran = subprocess.run(
            [sys.executable, "-c", EXPORT_TWICE], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )

    assert ran.stdout.splitlines()[-1] == "0 0 0", ran.stdout + ran.stderr
    assert ran.stderr == ""
    assert "renamed" in {row["name"] for row in with_polars(folder / "lake").values()}


@as_root
@pytest.mark.parametrize("left", ["", "pid {} on host {} since 2026-11-20T08:00:00+00:00"])
def test_a_lock_that_another_user_holds_keeps_exports_out(left: str, folder: Path) -> None:
    """Exit 6, and nobody is named who is not there: the holder could not write its name over that of a dead export."""
    with Sandbox(Population(rows=3, days=2), seed=2) as sandbox:
        write_config(folder, sandbox)
        lock = folder / "lake/_annolake/locks" / sandbox.queue_ids[0]
        lock.parent.mkdir(parents=True)
        lock.write_text(left.format(_dead(), socket.gethostname()))
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            held = process.stdout.readline()
            refused = annolake("run", "--quiet", key=sandbox.api_key, cwd=folder)
            process.communicate()
        free = annolake("run", "--quiet", key=sandbox.api_key, cwd=folder)

    assert held == "None\n"
    assert (refused.exit_code, free.exit_code) == (6, 0)
    assert "is held by an unknown process" in refused.err


def _dead() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_a_lock_that_nobody_holds_names_nobody(folder: Path) -> None:
    """An export takes its name out of its locks when it ends, and puts it in while it runs."""
    named: list[str] = []

    def look(_sandbox: Sandbox, _number: int) -> None:
        named.extend(path.read_text() for path in (folder / "lake/_annolake/locks").iterdir())

    with Sandbox(Population(rows=3, days=2), seed=2, before_request=look) as sandbox:
        write_config(folder, sandbox)
        ran = annolake("run", "--quiet", key=sandbox.api_key, cwd=folder)

    assert ran.exit_code == 0
    assert any(re.match(r"pid \d+ on host ", name) for name in named)
    assert [path.read_text() for path in (folder / "lake/_annolake/locks").iterdir()] == [""]
