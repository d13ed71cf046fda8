"""Every code block of the README does what it says, in the order a reader meets them."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from annolake.cli import EXIT_CODES
from annolake.config import markdown_table
from annolake.sandbox import Sandbox
from exporting import KEY_VARIABLE, export_once, with_polars, write_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
CLI = str(Path(sys.executable).with_name("annolake"))


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in one language."""
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the lake that the README's questions are put to, `lake`."""
    where = tmp_path_factory.mktemp("readme")
    with Sandbox(rows=600, seed=12, odd=False) as sandbox:
        export_once(sandbox, where)
        yield where


def test_every_block_is_in_a_language_that_is_tested_here() -> None:
    """A block of a new language would otherwise go untested."""
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "sql", "cron"}


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """`make demo` and `make test` exist, and nothing else is in that block."""
    targets = re.findall(r"^make (\w+)", blocks("sh")[0], re.MULTILINE)

    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets)


def test_the_first_real_export_works_as_written(tmp_path: Path) -> None:
    """With the reader's key and queue filled in, the three lines export the queue."""
    with Sandbox(rows=30, seed=2) as sandbox:
        lines = blocks("sh")[1].replace("your key", sandbox.api_key).replace("your queue's id", sandbox.queue_ids[0])
        environ = {"PATH": f"{Path(CLI).parent}:{os.environ['PATH']}", "ANNOLAKE_SOURCE__BASE_URL": sandbox.url}
        done = subprocess.run(
            ["bash", "-ec", lines], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stderr
    assert len(with_polars(tmp_path / "lake")) == 30


def answer_of(block: str, names: dict[str, object]) -> object:
    """Run a block of Python and return the value of its last expression."""
    tree = ast.parse(block)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, "README.md", "exec"), names)  # noqa: S102 - the README is ours
    value = ast.Expression(last.value) if isinstance(last, ast.Expr) else ast.Expression(ast.Constant(None))
    return eval(compile(ast.fix_missing_locations(value), "README.md", "eval"), names)  # noqa: S307 - the README is ours


def test_questions_in_polars_have_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block opens the lake, each of the six others answers with rows."""
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    first, *questions = blocks("python")[:-1]
    answer_of(first, names)
    answers = [answer_of(question, names) for question in questions]

    assert len(answers) == 6
    assert all(isinstance(answer, pl.DataFrame) and answer.height > 0 for answer in answers)


def test_questions_in_duckdb_have_the_answers_of_polars(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block makes the view, each of the six others answers; costs per day are polars' own."""
    monkeypatch.chdir(folder)
    view, *questions = blocks("sql")
    with duckdb.connect() as connection:
        connection.execute(view)
        answers = [connection.sql(question).fetchall() for question in questions]

    assert len(answers) == 6
    assert all(answers)
    names: dict[str, object] = {}
    answer_of(blocks("python")[0], names)
    costs = answer_of(blocks("python")[1], names)
    assert isinstance(costs, pl.DataFrame)
    assert costs.rows() == answers[0]


def test_the_python_api_works_as_written(tmp_path: Path) -> None:
    """The last block exports by the settings of the file and prints what the report says."""
    with Sandbox(rows=25, seed=2) as sandbox:
        write_config(tmp_path, sandbox)
        done = subprocess.run(
            [sys.executable, "-c", blocks("python")[-1]],
            cwd=tmp_path,
            env={KEY_VARIABLE: sandbox.api_key},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.stdout.split() == ["0", "25"], done.stderr


def test_the_cron_line_runs(tmp_path: Path) -> None:
    """Its command, with the folder filled in, exports quietly."""
    (line,) = blocks("cron")[0].splitlines()
    command = line.split(None, 5)[5].replace("/srv/annolake", str(tmp_path))
    with Sandbox(rows=10, seed=2) as sandbox:
        write_config(tmp_path, sandbox)
        (tmp_path / "key").write_text(sandbox.api_key)
        environ = {"PATH": f"{Path(CLI).parent}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_table_of_exit_codes_is_that_of_the_help() -> None:
    """README and `annolake --help` name the same codes."""
    in_help = set(re.findall(r"\b\d+\b", EXIT_CODES))
    in_readme = set(re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE))

    assert {code for cell in in_readme for code in re.findall(r"\d+", cell)} == in_help


def test_the_settings_are_those_of_the_program() -> None:
    """The table between the marks is generated: `make docs` writes it."""
    _, _, rest = README.partition("<!-- settings: generated by annolake.config.markdown_table -->\n")
    table, _, _ = rest.partition("<!-- /settings -->")

    assert table.strip() == markdown_table().strip()
