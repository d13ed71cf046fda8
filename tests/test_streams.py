"""Standard output and error that go away, are full or closed: what is exported, and the exit code, stay true."""

import fcntl
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annolake.sandbox import Faults, Population, Sandbox
from exporting import KEY_VARIABLE, ROWS_ALONE, annolake, export_once, with_polars, write_config

ROWS = 150
ANNOLAKE = f"{sys.executable} -m annolake"

# How a shell starts it. "{}" is the command; what stands behind "|" never reads.
ENDS = {
    "stderr full": "{} 2>/dev/full",
    "stderr closed": "{} 2>&-",
    "stderr cannot be written to": "{} 2</dev/null",
    "stderr read by nobody": "{} 2>&1 >/dev/null | true; exit ${{PIPESTATUS[0]}}",
    "both read by nobody": "{} --json 2>&1 | true; exit ${{PIPESTATUS[0]}}",
    "stdout full": "{} --json >/dev/full",
    "stdout closed": "{} --json >&-",
    "stdout read by nobody": "{} --json | true; exit ${{PIPESTATUS[0]}}",
    "all closed": "{} --json <&- >&- 2>&-",
    "all full": "{} --json >/dev/full 2>&1",
}
ENDPOINTS = ("runs", "items")


def shell(line: str, folder: Path, *, key: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in a folder."""
    environ = {"PATH": os.environ["PATH"], **({KEY_VARIABLE: key} if key else {})}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=environ, capture_output=True, text=True, check=False)


def kept_report(folder: Path) -> Any:
    """Return the only report in the lake."""
    (kept,) = (folder / "lake/_annolake/reports").glob("*.json")
    return json.loads(kept.read_text())


@pytest.mark.parametrize("end", ENDS)
def test_no_stream_decides_an_export(end: str, tmp_path: Path) -> None:
    """Whatever becomes of what it says, every row is in the lake, the lake is sound, and code and report are true."""
    with Sandbox(Population(rows=ROWS, odd=False, days=2), seed=2) as sandbox:
        write_config(tmp_path, sandbox)
        ran = shell(ENDS[end].format(f"{ANNOLAKE} run"), tmp_path, key=sandbox.api_key)

    report = kept_report(tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (report["exit_code"], report["queues"][0]["inserted"], report["queues"][0]["complete"]) == (0, ROWS, True)
    assert len(with_polars(tmp_path / "lake")) == ROWS
    assert annolake("verify", cwd=tmp_path).exit_code == 0


@pytest.mark.parametrize("end", ENDS)
def test_no_stream_hides_a_failure(end: str, tmp_path: Path) -> None:
    """A key that is refused is exit 4, in the report too, whoever reads."""
    with Sandbox(Population(rows=3, days=2), seed=2) as sandbox:
        write_config(tmp_path, sandbox)
        ran = shell(ENDS[end].format(f"{ANNOLAKE} run"), tmp_path, key="wrong")

    assert ran.returncode == 4, ran.stderr
    assert (kept_report(tmp_path)["exit_code"], kept_report(tmp_path)["queues"][0]["status"]) == (4, "failed")
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("end", ["stderr full", "stderr closed", "stderr read by nobody"])
def test_warnings_of_lanes_fail_no_queue(end: str, endpoint: str, tmp_path: Path) -> None:
    """Each of many requests that are repeated is logged by the thread that sent it, to nobody."""
    faults = Faults(rate=0.4, kinds=("500", "reset"))
    settings = {**ROWS_ALONE, "source.endpoint": endpoint, "retry.max_attempts": 50, "retry.max_wait_s": 0.01}
    with Sandbox(Population(rows=600, odd=False, days=2), seed=2, faults=faults) as sandbox:
        write_config(tmp_path, sandbox, settings)
        ran = shell(ENDS[end].format(f"{ANNOLAKE} run"), tmp_path, key=sandbox.api_key)

    (queue,) = kept_report(tmp_path)["queues"]
    assert ran.returncode == 0, ran.stderr
    assert (queue["inserted"], queue["complete"]) == (600, True)
    assert queue["retries"] > 3
    assert len(with_polars(tmp_path / "lake")) == 600


def test_a_report_that_could_not_be_written_is_told_and_kept(tmp_path: Path) -> None:
    """A full disk under standard output is one sentence on standard error, and no other exit code."""
    with Sandbox(Population(rows=3, days=2), seed=2) as sandbox:
        write_config(tmp_path, sandbox)
        ran = shell(f"{ANNOLAKE} run --json --quiet >/dev/full", tmp_path, key=sandbox.api_key)

    assert ran.returncode == 0
    assert "cannot write the report to standard output: No space left on device" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_reader_that_goes_away_in_the_middle(tmp_path: Path) -> None:
    """`2>&1 | head -1`: the first line is read, the others are lost, the rows are not."""
    with Sandbox(Population(rows=ROWS, odd=False, days=2), seed=2) as sandbox:
        write_config(tmp_path, sandbox)
        line = f"{ANNOLAKE} run 2>&1 | head -1; exit ${{PIPESTATUS[0]}}"
        ran = shell(line, tmp_path, key=sandbox.api_key)

    assert (ran.returncode, len(ran.stdout.splitlines())) == (0, 1)
    assert kept_report(tmp_path)["queues"][0]["inserted"] == ROWS


def test_a_terminal_that_is_closed_in_the_middle(tmp_path: Path) -> None:
    """The progress bar has nothing left to be drawn on, and the export goes on."""
    controller, terminal = pty.openpty()

    def close_once(_sandbox: Sandbox, number: int) -> None:
        if number == 4:
            os.close(controller)

    with Sandbox(Population(rows=900, odd=False, days=2), seed=2, before_request=close_once) as sandbox:
        write_config(tmp_path, sandbox)
        command = [sys.executable, "-m", "annolake", "run"]
        environ = {KEY_VARIABLE: sandbox.api_key, "TERM": "xterm"}
        with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=terminal, stdout=terminal) as process:
            os.close(terminal)

    (queue,) = kept_report(tmp_path)["queues"]
    assert process.returncode == 0
    assert (queue["inserted"], queue["complete"]) == (900, True)


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Path]:
    """A folder with a config and a lake with litter in it."""
    with Sandbox(Population(rows=3, days=2), seed=2) as sandbox:
        export_once(sandbox, tmp_path)
        (tmp_path / "lake/_annolake/tmp/20010101T000000Z-dead").mkdir()
        yield tmp_path


@pytest.mark.parametrize("end", ["{} | true; exit ${{PIPESTATUS[0]}}", "{} >/dev/full", "{} >&-"])
def test_what_was_found_out_stays_the_exit_code(end: str, damaged: Path) -> None:
    """The 5 of verify and the 4 of check, whether or not anybody can read why."""
    verify = shell(end.format(f"{ANNOLAKE} verify"), damaged)
    check = shell(end.format(f"{ANNOLAKE} check"), damaged, key="wrong")
    wrong = shell(end.format(f"{ANNOLAKE} rum"), damaged)

    assert (verify.returncode, check.returncode, wrong.returncode) == (5, 4, 2)
    assert (verify.stderr, check.stderr) == ("", "")


COMMANDS = ("status", "verify --json", "schema", "check", "--help", "--version")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_result_that_cannot_be_written_is_exit_5(command: str, tmp_path: Path) -> None:
    """Where the output is all there is, a full disk is told in one sentence; a reader that went away is not."""
    with Sandbox(Population(rows=3, days=2), seed=2) as sandbox:
        export_once(sandbox, tmp_path)
        full = shell(f"{ANNOLAKE} {command} >/dev/full", tmp_path, key=sandbox.api_key)
        unread = shell(f"{ANNOLAKE} {command} | true; exit ${{PIPESTATUS[0]}}", tmp_path, key=sandbox.api_key)

    assert (full.returncode, unread.returncode, unread.stderr) == (5, 0, "")
    assert (
        full.stderr
        == "annolake: cannot write standard output: No space left on device; send it elsewhere and run again\n"
    )


def test_a_pipe_that_was_made_non_blocking_gets_everything(tmp_path: Path) -> None:
    """A result larger than the pipe waits for its reader, as it does where the pipe blocks."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    command = [sys.executable, "-m", "annolake", "schema", "--format", "json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=writing) as process, os.fdopen(reading) as told:
        os.close(writing)
        text = told.read()

    assert process.returncode == 0
    assert len(text) > 3 * 4096
    assert json.loads(text)["tables"]


def test_a_character_that_the_stream_lacks_is_escaped(tmp_path: Path) -> None:
    """A queue's name in another script does not stop `check` where the terminal is ASCII's."""
    with Sandbox(Population(rows=3, queues=6, days=2), seed=2) as sandbox:
        write_config(tmp_path, sandbox)
        ran = shell(f"PYTHONIOENCODING=ascii {ANNOLAKE} check", tmp_path, key=sandbox.api_key)

    assert ran.returncode == 0, ran.stderr
    assert r"\u8a33" in ran.stdout
