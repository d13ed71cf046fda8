"""Every code block of the README does what it says, in the order a reader meets them."""

import ast
import json
import math
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from annolake.sandbox import Population, Sandbox
from exporting import KEY_VARIABLE, export_once, with_polars, write_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CLI = str(Path(sys.executable).with_name("annolake"))

QUESTIONS = "Five questions"
"""The heading of the section of questions."""

ASK = """
import duckdb, json, sys

with duckdb.connect("lake.duckdb", read_only=True) as connection:
    answers = [connection.sql(question) for question in json.load(sys.stdin)]
    print(json.dumps([[answer.columns, answer.fetchall()] for answer in answers], default=str))
"""


def blocks(language: str, under: str = "") -> list[str]:
    """Return the README's code blocks in one language, those of the section `under` a heading alone."""
    text = README.partition(f"\n## {under}\n")[2].partition("\n## ")[0] if under else README
    return [block for kind, block in BLOCK.findall(text) if kind == language]


def test_every_block_is_in_a_language_that_is_tested_here() -> None:
    """A block of a new language would otherwise go untested."""
    assert {kind for kind, _ in BLOCK.findall(README)} == {"sh", "python", "sql"}


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """`make demo` and `make test` exist, and nothing else is in that block."""
    targets = re.findall(r"^make (\w+)", blocks("sh")[0], re.MULTILINE)

    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets)


def test_the_first_real_export_works_as_written(tmp_path: Path) -> None:
    """With the reader's key and queue filled in, the three lines export the queue."""
    with Sandbox(Population(rows=30), seed=2) as sandbox:
        lines = blocks("sh")[1].replace("your key", sandbox.api_key).replace("your queue's name", sandbox.queue().name)
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


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lake of a queue that few people review, so that they meet on many runs."""
    where = tmp_path_factory.mktemp("reviewed")
    with Sandbox(Population(rows=400, odd=False, archived_share=0.8), seed=9) as sandbox:
        answered_by_three(sandbox)
        assert export_once(sandbox, where).exit_code == 0
        yield where


def answered_by_three(sandbox: Sandbox) -> None:
    """Let three people answer two keys of each run once, or twice, and agree a little more than by chance."""
    rng, people = random.Random(4), sandbox.queue().cast.reviewers[:3]
    for run_id in sorted({row.run_id for row in sandbox.queue().listing("archived") if row.run_id}):
        leaning = rng.random()
        for place, person in enumerate(rng.sample(people, rng.randrange(4))):
            for again in range(rng.randrange(1, 3)):
                at = f"2026-11-2{again}T10:0{place}:00Z"
                source = {"type": "app", "metadata": {}, "user_id": person.id, "user_name": person.name}
                said: dict[str, Any] = {"created_at": at, "modified_at": at, "feedback_source": source}
                score, comment = round(rng.random() * 0.5 + leaning * 0.5), rng.choice([None, "because"])
                sandbox.feedback.add(run_id, key="helpfulness", score=score, comment=comment, **said)
                sandbox.feedback.add(run_id, key="tone", value=rng.choice(["friendly", "curt"]), **said)


def in_polars() -> list[pl.DataFrame]:
    """Put the questions to polars, in the folder of the process."""
    names: dict[str, object] = {}
    answers = [answer_of(block, names) for block in blocks("python", QUESTIONS)]
    return [answer for answer in answers if isinstance(answer, pl.DataFrame)]


def in_duckdb(folder: Path, zone: str) -> list[tuple[list[str], list[Any]]]:
    """Have `annolake views` write the database as the section says, and put the questions to it in a time zone."""
    (command,) = blocks("sh", QUESTIONS)
    surroundings = {"PATH": f"{Path(CLI).parent}:{os.environ['PATH']}", "TZ": zone}
    subprocess.run(["bash", "-ec", command], cwd=folder, env=surroundings, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(blocks("sql", QUESTIONS)),
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        check=True,
    )
    return [(columns, rows) for columns, rows in json.loads(done.stdout)]


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Tell whether two rows are equal, floats but for their last digits."""
    return all(
        math.isclose(a, b, rel_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Kiritimati"])
def test_both_engines_give_the_same_answers(reviewed: Path, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """Each of the five questions has rows, the same ones in the same order, wherever the reader's machine stands."""
    monkeypatch.chdir(reviewed)
    frames, answers = in_polars(), in_duckdb(reviewed, zone)

    assert len(frames) == len(answers) == 5
    for frame, (columns, rows) in zip(frames, answers, strict=True):
        assert frame.height > 0
        assert (frame.columns, frame.height) == (columns, len(rows))
        assert all(map(same, json.loads(json.dumps(frame.rows(), default=str)), rows))
    assert {row[5] for row in frames[-1].rows()} > {None, "because"}


def test_the_python_api_works_as_written(tmp_path: Path) -> None:
    """The last block exports by the settings of the file and prints what the report says."""
    with Sandbox(Population(rows=25), seed=2) as sandbox:
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
