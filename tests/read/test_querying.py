"""docs/querying.md: each recipe answers the same in SQL and in polars, in every time zone."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from exporting import annolake
from read.lakes import PARTS, Odd, lively_lake
from read.recipes import checked, opening, recipes

TESTS = Path(__file__).parents[1]


def with_views(folder: Path) -> Path:
    """Make the database of a lake's views beside it, as the page says; return the folder."""
    settings = {"ANNOLAKE_LAKE__PATH": "lake", "ANNOLAKE_SOURCE__BASE_URL": "https://api.smith.langchain.com"}
    made = annolake("views", "--out", "lake.duckdb", cwd=folder, environ=settings)
    assert (made.exit_code, made.err) == (0, "")
    return folder


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    """A folder with a lake that has an answer to every recipe and with the database of its views; and its rows."""
    with lively_lake(tmp_path_factory.mktemp("lively")) as (folder, truth):
        yield with_views(folder), truth


@pytest.fixture(scope="module")
def answers(lively: Odd) -> dict[str, pl.DataFrame]:
    """What polars answers, and DuckDB with it."""
    return checked(lively[0])


def test_there_are_twenty_recipes() -> None:
    """Each with one block of Python and one of SQL."""
    assert len(recipes()) == 20
    assert "annolake.scan" in opening()


def test_both_engines_answer_alike(answers: dict[str, pl.DataFrame]) -> None:
    """Columns, rows and their order; no answer is empty."""
    assert [title for title, frame in answers.items() if frame.is_empty()] == []


def test_answers_are_those_of_the_data(lively: Odd, answers: dict[str, pl.DataFrame]) -> None:
    """What users last said in the dearest runs, what runs cost that are in two queues, and who finishes most."""
    truth = lively[1]
    runs = {row.columns["id"]: row for row in truth.here if row.columns["id"]}

    dearest = sorted(truth.here, key=lambda row: (-(row.columns["total_cost"] or 0), row.key))[:10]
    said = [row.columns["inputs"]["messages"][-1]["content"] for row in dearest]
    assert said[0] == PARTS[0]["content"]
    said[0] = json.dumps(said[0], ensure_ascii=False, separators=(",", ":"))
    assert answers["What did the user last say in the ten dearest runs?"]["last_message"].to_list() == said
    once = answers["What did all queues cost, a run in two queues counted once?"].rows()
    assert once == [(len(runs), sum(row.columns["total_cost"] for row in runs.values()))]
    assert len(runs) < sum(row.columns["id"] is not None for row in truth.here)
    finished = Counter(person for row in truth.here for person in {*row.columns["completed_by"]})
    assert dict(answers["Who finishes most?"].select("reviewer_id", "completed").rows()) == finished
    left = answers["How many runs left each queue?"]
    assert (left["rows"].sum(), left["removed"].sum()) == (len(truth.here) + 3, 3)


def test_both_engines_answer_alike_on_a_machine_elsewhere(lively: Odd) -> None:
    """Where the whole process, and DuckDB's session with it, is in another time zone."""
    environ = {**os.environ, "TZ": "America/Los_Angeles", "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "read.recipes", str(lively[0])]
    done = subprocess.run(command, env=environ, cwd=TESTS, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip()) == (0, "20 recipes"), done.stderr[-2000:]


def test_both_engines_answer_alike_of_odd_rows(odd: Odd, tmp_path: Path) -> None:
    """Of whatever the service may send: texts that are no JSON objects, times of many forms, costs of 18 places."""
    shutil.copytree(odd[0], tmp_path / "lake")

    assert len(checked(with_views(tmp_path))) == 20
