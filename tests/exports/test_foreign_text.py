"""Names and ids from the service are shown as text: they are no markup, move no cursor and forge no line."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from annolake.sandbox import Population, Sandbox
from exporting import KEY_VARIABLE, annolake, export_once, with_polars, write_config

ENDPOINTS = ("runs", "items")
MARKUP = ("triage [/done]", "[bold]x[/bold]", "[link=http://x]y", "[red", ":warning: {task.description}")
HOSTILE = "a\x1b[31m\x1b]0;owned\x07b\rc\nannolake: forged\x9b2Jd\u202egnp.exe\u2028e\x7f"
ESCAPED = r"a\x1b[31m\x1b]0;owned\x07b\rc\nannolake: forged\x9b2Jd\u202egnp.exe\u2028e\x7f"
FAITHFUL = "訳文 é 👩\u200d💻 नी\u200cम"


def call(sandbox: Sandbox, name: str) -> None:
    """Have the service call the first queue something else."""
    sandbox.profile(sandbox.queue_ids[0])["name"] = name


def on_terminal(*arguments: str, cwd: Path, key: str) -> tuple[int, str]:
    """Run a command on a terminal; return its exit code and all that was written there."""
    controller, terminal = pty.openpty()
    environ = {KEY_VARIABLE: key, "TERM": "xterm-256color", "COLUMNS": "300", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "annolake", *arguments]
    with subprocess.Popen(command, cwd=cwd, env=environ, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        written = b""
        try:
            while chunk := os.read(controller, 65_536):
                written += chunk
        except OSError:  # the way a terminal says that nobody writes to it any more
            os.close(controller)
    return process.returncode, written.decode(errors="replace")


def assert_harmless(text: str) -> None:
    """Check that nothing of the hostile name does anything."""
    assert not any(part in text for part in ("\x1b[31m", "\x1b]0;", "\x07", "\x9b", "\u202e", "\u2028", "\x7f"))
    assert not any(line.startswith("annolake: forged") for line in text.replace("\r", "\n").split("\n"))


@pytest.mark.parametrize("name", [*MARKUP, FAITHFUL])
def test_a_name_is_no_markup_on_a_terminal(name: str, tmp_path: Path) -> None:
    """The queue is exported, and called what it is called."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=2) as sandbox:
        call(sandbox, name)
        write_config(tmp_path, sandbox)
        exit_code, written = on_terminal("run", cwd=tmp_path, key=sandbox.api_key)

    assert exit_code == 0, written
    assert f"{name} ({sandbox.queue_ids[0]}): 60 rows" in written
    assert len(with_polars(tmp_path / "lake")) == 60


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_name_does_nothing_to_a_terminal(endpoint: str, tmp_path: Path) -> None:
    """In the progress bar, in the last words, in check and in status."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=2) as sandbox:
        call(sandbox, HOSTILE)
        write_config(tmp_path, sandbox, {"source.endpoint": endpoint})
        told = [on_terminal(command, cwd=tmp_path, key=sandbox.api_key) for command in ("run", "check", "status")]

    assert [exit_code for exit_code, _ in told] == [0, 0, 0]
    for _, written in told:
        assert ESCAPED in written
        assert_harmless(written)


def test_a_name_is_whole_in_json(tmp_path: Path) -> None:
    """Reports and logs of JSON hold it exactly: they have their own way to escape."""
    with Sandbox(Population(rows=3, days=2), seed=2) as sandbox:
        call(sandbox, HOSTILE)
        write_config(tmp_path, sandbox, {"log.log_format": "json"})
        run = annolake("run", "--json", key=sandbox.api_key, cwd=tmp_path)
        status = annolake("status", "--json", cwd=tmp_path)

    assert run.report["queues"][0]["name"] == HOSTILE
    assert json.loads(status.out)["queues"][0]["name"] == HOSTILE
    assert all(json.loads(line) for line in run.err.split("\n") if line)
    assert_harmless(run.err + run.out + status.out)


@pytest.mark.parametrize("command", ["run", "check"])
def test_an_id_forges_no_line(command: str, tmp_path: Path) -> None:
    """An id that the service lists and the lake refuses is told in one line, in logs and in words."""
    with Sandbox(Population(rows=3, queues=2, days=2), seed=2) as sandbox:
        sandbox.profile(sandbox.queue_ids[0])["id"] = HOSTILE
        write_config(tmp_path, sandbox, {"source.queues": "all"})
        ran = annolake(command, key=sandbox.api_key, cwd=tmp_path)
        exit_code, written = on_terminal(command, cwd=tmp_path, key=sandbox.api_key)

    assert ran.exit_code == exit_code
    assert exit_code in {4, 5}
    assert r"\x1b" in written
    for text in (ran.err + ran.out, written):
        assert_harmless(text)


def test_what_lies_in_the_lake_forges_no_line(tmp_path: Path) -> None:
    """Names of folders that others put there, and what the file of a lock says, are shown as text too."""
    with Sandbox(Population(rows=3, days=2), seed=2) as sandbox:
        export_once(sandbox, tmp_path)
        (tmp_path / "lake/runs" / HOSTILE.replace("/", "") / "full").mkdir(parents=True)
        told = [annolake(command, cwd=tmp_path) for command in ("verify", "status")]
        stranger = next((tmp_path / "lake/runs").glob("queue_id=*")) / HOSTILE
        (tmp_path / "lake/runs" / HOSTILE).rename(stranger)
        told += [annolake(command, key=sandbox.api_key, cwd=tmp_path) for command in ("verify", "run")]

    assert [ran.exit_code for ran in told] == [5, 5, 5, 5]
    for ran in told:
        assert_harmless(ran.err + ran.out)
        assert ESCAPED in ran.err + ran.out


def test_a_name_of_no_text_is_told_in_json_too(tmp_path: Path) -> None:
    """A folder that somebody gave a name of other bytes than UTF-8 is named in reports and findings."""
    with Sandbox(Population(rows=3, days=2), seed=2) as sandbox:
        export_once(sandbox, tmp_path)
        queue = next((tmp_path / "lake/runs").glob("queue_id=*"))
        Path(os.fsdecode(os.fsencode(queue) + b"/odd\xff/full")).mkdir(parents=True)
        run, verify = (annolake(c, "--json", key=sandbox.api_key, cwd=tmp_path) for c in ("run", "verify"))

    assert (run.exit_code, verify.exit_code) == (5, 5)
    assert "odd\udcff" in run.report["queues"][0]["error"]
    assert "odd\udcff" in json.loads(verify.out)["findings"][0]["path"]
    assert r"odd\udcff" in run.err
