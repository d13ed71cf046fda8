"""Exports that are killed between the commits of two Delta tables, beside readers of each."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import polars as pl
import pytest

from annolake.sandbox import Population, Sandbox
from exporting import KEY_VARIABLE, annolake, write_config

TESTS = Path(__file__).parents[1]
KEYS = {"feedback": "id", "queues": "queue_id", "runs": "queue_run_id"}
"""The tables, in the order in which they are committed."""


def table_of(lake: Path, name: str) -> pl.DataFrame:
    """Return a table as polars reads it, in order, without when each row was exported."""
    return pl.scan_delta(str(lake / name)).drop("exported_at").collect().sort(KEYS[name])


def change(sandbox: Sandbox) -> None:
    """Change rows and feedback of several days, and the queue itself."""
    queue = sandbox.queue()
    for row in queue.rows("active")[::4]:
        queue.review(row.id)
    for one in sandbox.feedback.of_queue(queue)[::3]:
        sandbox.feedback.edit(one, comment="on second thought")
    sandbox.profile()["rubric_instructions"] = "look twice"


@contextmanager
def readers(lake: Path) -> Iterator[dict[str, list[pl.DataFrame]]]:
    """Read each table in a loop; give the different answers, in the order of their coming."""
    stop = Event()
    answers: dict[str, list[pl.DataFrame]] = {name: [] for name in KEYS}

    def loop(name: str) -> None:
        while not stop.is_set():
            answer = table_of(lake, name)
            if not answers[name] or not answer.equals(answers[name][-1]):
                answers[name].append(answer)

    with ThreadPoolExecutor(len(KEYS)) as pool:
        loops = [pool.submit(loop, name) for name in KEYS]
        try:
            yield answers
        finally:
            stop.set()
        for future in loops:
            future.result()


@pytest.mark.parametrize("killed_at", ["queues", "runs"])
def test_an_export_killed_between_two_tables_is_healed_by_the_next(tmp_path: Path, killed_at: str) -> None:
    """What was committed is seen whole, what was not is as it was; each table has had two versions and no other."""
    lake, clean = tmp_path / "lake", tmp_path / "clean"
    clean.mkdir()
    with Sandbox(Population(rows=60, odd=False, days=5.0), seed=5) as sandbox:
        config = write_config(tmp_path, sandbox, {"lake.format": "delta"})
        once_more = write_config(clean, sandbox, {"lake.format": "delta"})

        def run(settings: Path) -> None:
            ran = annolake("run", "--quiet", "--config", settings, key=sandbox.api_key, cwd=tmp_path)
            assert ran.exit_code == 0, ran.err

        run(config)
        before = {name: table_of(lake, name) for name in KEYS}
        change(sandbox)
        with readers(lake) as answers:
            command = [sys.executable, "-m", "killed_commit", killed_at, "run", "--quiet", "--config", str(config)]
            killed = subprocess.run(command, cwd=TESTS, env={KEY_VARIABLE: sandbox.api_key}, check=False, timeout=120)
            between = {name: table_of(lake, name) for name in KEYS}
            run(config)
        run(once_more)
        verified = annolake("verify", "--config", config, key=sandbox.api_key, cwd=tmp_path)

    after = {name: table_of(clean / "lake", name) for name in KEYS}
    names = [*KEYS]
    committed = names[: names.index(killed_at)]
    assert killed.returncode == -signal.SIGKILL
    for name in names:
        assert not before[name].equals(after[name]), name
        assert between[name].equals(after[name] if name in committed else before[name]), name
        assert table_of(lake, name).equals(after[name]), name
        assert all(answer.equals(before[name]) or answer.equals(after[name]) for answer in answers[name]), name
        assert 1 <= len(answers[name]) <= 2, name
    assert verified.exit_code == 0, verified.out + verified.err
