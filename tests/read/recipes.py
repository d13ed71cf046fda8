"""The recipes of docs/querying.md, put to a lake in both engines.

Run as a program, `python -m read.recipes FOLDER` checks them in the time zone of its environment.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl

from read.lakes import rough
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


def answers(folder: Path) -> Iterator[tuple[Recipe, pl.DataFrame, pl.DataFrame]]:
    """Yield each recipe with what polars and DuckDB answer: of the lake `folder/lake` and of `folder/lake.duckdb`."""
    with chdir(folder), duckdb.connect("lake.duckdb", read_only=True) as session:
        for recipe in recipes():
            names: dict[str, object] = {}
            answer_of(opening(), names)
            by_polars = answer_of(recipe.python, names)
            assert isinstance(by_polars, pl.DataFrame), recipe.title
            relation = session.sql(recipe.sql)
            rows = relation.fetchall()
            # the types of polars, so that nothing is compared as text
            by_duckdb = pl.DataFrame(rows, schema=dict.fromkeys(relation.columns, pl.Object), orient="row")
            yield recipe, by_polars, by_duckdb


def check(folder: Path) -> dict[str, int]:
    """Check that both engines give the same columns and rows, in the same order; return how many rows each has."""
    found = {}
    for recipe, by_polars, by_duckdb in answers(folder):
        assert by_polars.columns == by_duckdb.columns, recipe.title
        one, other = ([rough(row) for row in frame.rows()] for frame in (by_polars, by_duckdb))
        assert len(one) == len(other), recipe.title
        assert one == other, (recipe.title, [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]][:3])
        found[recipe.title] = len(one)
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{len(check(Path(sys.argv[1])))} recipes")
