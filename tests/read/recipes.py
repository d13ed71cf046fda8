"""The recipes of docs/querying.md, put to a lake in both engines.

Run as a program, `python -m read.recipes FOLDER` checks them in the time zone of its environment.
"""

import re
import sys
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl

from read.lakes import alike
from test_readme import BLOCK, answer_of

PAGE = (Path(__file__).parents[2] / "docs/querying.md").read_text()


class Recipe(NamedTuple):
    """One question with its two blocks."""

    title: str
    python: str
    sql: str


def recipes() -> list[Recipe]:
    """Return the recipes in their order."""
    found = []
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        blocks = dict(BLOCK.findall(section))
        found.append(Recipe(section.partition("\n")[0], blocks["python"], blocks["sql"]))
    return found


def opening() -> str:
    """Return the block that opens a lake."""
    return str(next(block for kind, block in BLOCK.findall(PAGE) if kind == "python"))


def checked(folder: Path) -> dict[str, pl.DataFrame]:
    """Put each recipe to the lake `folder/lake` and to its views in `folder/lake.duckdb`; return what polars answers.

    Checks that both engines give the same columns and rows, in the same order.
    """
    found = {}
    with chdir(folder), duckdb.connect("lake.duckdb", read_only=True) as session:
        for recipe in recipes():
            names: dict[str, object] = {}
            answer_of(opening(), names)
            frame, answer = answer_of(recipe.python, names), session.sql(recipe.sql)
            assert isinstance(frame, pl.DataFrame), recipe.title
            rows = answer.fetchall()
            assert (frame.columns, frame.height) == (answer.columns, len(rows)), recipe.title
            assert [pair for pair in zip(frame.rows(), rows, strict=True) if not alike(*pair)] == [], recipe.title
            found[recipe.title] = frame
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{len(checked(Path(sys.argv[1])))} recipes")
