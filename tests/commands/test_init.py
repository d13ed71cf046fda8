"""`annolake init` writes settings that an export runs with, and touches no file that is there."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from annolake.sandbox import Population, Sandbox
from annolake.settings import SETTINGS
from exporting import KEY_VARIABLE, annolake, with_polars

SMALL = Population(rows=9, odd=False, days=2)


def test_options_become_a_file_that_exports(tmp_path: Path) -> None:
    """By the queue's name; every setting is explained there, and what was not given is a comment."""
    with Sandbox(SMALL, seed=2) as sandbox:
        sandbox.profile()["name"] = 'Support "1" \U0001f600'
        options = ("--base-url", sandbox.url, "--queue", sandbox.profile()["name"], "--lake", "mine")
        made = annolake("init", *options, key=sandbox.api_key, cwd=tmp_path)
        was_made = (tmp_path / "mine").exists()
        ran = annolake("run", "--quiet", key=sandbox.api_key, cwd=tmp_path)
        again = annolake("init", *options, key=sandbox.api_key, cwd=tmp_path)

    text = (tmp_path / "annolake.toml").read_text()
    assert (made.exit_code, made.err, was_made) == (0, "", False)
    assert f"lake: {Path('mine')} can be written" in made.out
    assert "9 rows" in made.out
    assert (ran.exit_code, ran.err, len(with_polars(tmp_path / "mine"))) == (0, "", 9)
    assert all(str(setting.meta.description) in text for setting in SETTINGS.values())
    assert "\n# page_size = 100\n" in text
    assert (again.exit_code, again.out) == (2, "")
    assert "annolake.toml is there already" in again.err


def test_what_the_environment_sets_is_written(tmp_path: Path) -> None:
    """An export without those variables, as by cron, does what was checked; options come before them."""
    with Sandbox(SMALL, seed=2) as sandbox:
        name = sandbox.profile()["name"]
        variables = {
            "ANNOLAKE_SOURCE__BASE_URL": sandbox.url,
            "ANNOLAKE_SOURCE__QUEUES": f"{name}, {sandbox.queue_ids[0]}",
            "ANNOLAKE_LAKE__PATH": "theirs",
        }
        made = annolake("init", "--lake", "mine", key=sandbox.api_key, cwd=tmp_path, environ=variables)
        ran = annolake("run", "--quiet", key=sandbox.api_key, cwd=tmp_path)

    text = (tmp_path / "annolake.toml").read_text()
    assert f'\nqueues = ["{name}", "{sandbox.queue_ids[0]}"]\n' in text
    assert (made.exit_code, ran.exit_code, ran.err) == (0, 0, "")
    assert len(with_polars(tmp_path / "mine")) == 9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "there is no terminal to ask at: give --queue and --lake"),
        (("--queue", "x", "--lake", "ftp://x"), "lake.path: expected a folder"),
        (("--queue", "x", "--config", "nowhere/a.toml"), "nowhere/a.toml cannot be written: No such file or directory"),
    ],
)
def test_what_does_not_fit_leaves_no_file(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Exit 2, with what to do."""
    command = [sys.executable, "-m", "annolake", "init", *options]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env={KEY_VARIABLE: "x"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )

    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_asked(tmp_path: Path) -> None:
    """On a terminal, for what no option gives; an empty answer takes the default."""
    with Sandbox(SMALL, seed=2) as sandbox:
        ours, theirs = pty.openpty()
        os.write(ours, f"{sandbox.url}\n\n{sandbox.queue_ids[0]}\n".encode())
        command = [sys.executable, "-m", "annolake", "init", "--lake", "mine"]
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env={KEY_VARIABLE: sandbox.api_key},
            capture_output=True,
            text=True,
            check=False,
            stdin=theirs,
        )
        os.close(ours)
        os.close(theirs)

    text = (tmp_path / "annolake.toml").read_text()
    assert ran.returncode == 0, ran.stderr
    assert "Variable that holds the key [LANGSMITH_API_KEY]:" in ran.stderr
    assert "lake [" not in ran.stderr
    assert f'\nqueues = ["{sandbox.queue_ids[0]}"]\n' in text
    assert '\npath = "mine"\n' in text
