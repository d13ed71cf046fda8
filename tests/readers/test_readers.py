"""Every call of docs/readers.md does what the page says of it, in the environment of `make test-readers`."""

import ast
import doctest
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, localcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import oracle
from annolake.sandbox import Population, Sandbox
from exporting import ROWS_ALONE, export_once, held

PAGE = (Path(__file__).parents[2] / "docs/readers.md").read_text()
MISSING = [name for name in ("datafusion", "pandas") if find_spec(name) is None]
SECTIONS = {"Plain Parquet": "parquet", "Delta": "delta"}
BROKEN = "Calls that do not work"

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed: make test-readers")


class Figures(NamedTuple):
    """What each reader is to find of the live rows."""

    rows: int
    cost: Decimal
    undated: int


def section(heading: str) -> str:
    """Return what is on the page under a heading."""
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks() -> Iterator[Any]:
    """Yield the blocks of Python, each with the kind of lake it is for and its reader."""
    for heading, kind in SECTIONS.items():
        for part in section(heading).split("\n### ")[1:]:
            reader = part.partition("\n")[0]
            for place, block in enumerate(re.findall(r"^```python\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)):
                yield pytest.param(kind, block, id=f"{kind}-{reader}-{place}")


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, Figures]]:
    """Folders with a plain and a Delta lake, and what the service has of their queues: one row has left."""
    found = {}
    for kind in SECTIONS.values():
        where = tmp_path_factory.mktemp(kind)
        settings = {**ROWS_ALONE, "lake.format": kind}
        with Sandbox(Population(rows=200, days=6.0, queues=2), seed=5) as sandbox:
            first = sandbox.queue(sandbox.queue_ids[0])
            first.edit(first.rows("active")[0].id, total_cost="1234567.123456789012345678")  # no float can hold it
            export_once(sandbox, where, settings)
            queues = [*map(sandbox.queue, sandbox.queue_ids)]
            first.delete(first.rows("archived")[0].id)
            assert sum(each.removed for each in export_once(sandbox, where, settings).queues) == 1
            sent = [oracle.expected(row) for queue in queues for _, row in held(queue).values()]
        with localcontext(prec=38):
            cost = sum((row["total_cost"] or Decimal(0) for row in sent), Decimal(0))
        figures = Figures(len(sent), cost, sum(row["added_at"] is None for row in sent))
        assert (figures.rows, figures.undated > 1, figures.cost.as_tuple().exponent) == (399, True, -18)
        found[kind] = where, figures
    return found


def answer_of(block: str) -> object:
    """Run a block and return the value of the expression that it ends with."""
    *lines, last = ast.parse(block).body
    assert isinstance(last, ast.Expr)
    names: dict[str, object] = {}
    exec(compile(ast.Module(lines, []), "readers.md", "exec"), names)  # noqa: S102 - the page is ours
    return eval(compile(ast.Expression(last.value), "readers.md", "eval"), names)  # noqa: S307 - the page is ours


def figures_of(answer: Any) -> Figures:
    """Return the figures that a reader gives, in whatever it gives them."""
    if hasattr(answer, "fetchall"):  # DuckDB
        answer = [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]
    if hasattr(answer, "to_dicts"):  # polars
        answer = answer.to_dicts()
    (found,) = answer if isinstance(answer, list) else [answer]
    return Figures(int(found["rows"]), found["cost"], int(found["undated"]))


@pytest.mark.parametrize(("kind", "block"), [*blocks()])
def test_each_call_finds_every_live_row_the_exact_cost_and_the_rows_without_a_date(
    lakes: Mapping[str, tuple[Path, Figures]], kind: str, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the service has them."""
    folder, right = lakes[kind]
    monkeypatch.chdir(folder)

    assert figures_of(answer_of(block)) == right


def test_the_calls_that_do_not_work_fail_as_the_page_says(
    lakes: Mapping[str, tuple[Path, Figures]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When one of them works, a reader has learnt it, and the page is out of date."""
    monkeypatch.chdir(lakes["parquet"][0])
    examples = doctest.DocTestParser().get_doctest(
        re.sub("^```.*$", "", section(BROKEN), flags=re.MULTILINE), {}, BROKEN, "readers.md", 0
    )
    said: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=said.append)

    assert (failed, tried) == (0, 17), "".join(said)


def test_the_versions_that_the_page_names_are_those_that_were_tried() -> None:
    """The table is of this environment."""
    table = re.findall(r"^\| (\w+) \| ([\d.]+) \|", PAGE, re.MULTILINE)

    assert len(table) == 6
    assert [(name, version(name.lower())) for name, _ in table] == table
