"""The lakes that the views are tried on, and how their rows are compared."""

import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq

from annolake.clock import Clock
from annolake.read.tables import open_tables
from annolake.read.views import LakeViews
from annolake.sandbox import Population, Sandbox
from annolake.sandbox.rows import Row
from annolake.web_address import web_address
from exporting import export_once
from read.view_oracle import Truth, rows_of
from test_readme import answered_by_three

BASE_URL = "https://eu.api.smith.langchain.com"
FIRST = datetime(2026, 11, 20, 19, tzinfo=UTC)
SECOND = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)  # the day before in Los Angeles
MIDNIGHTS = ("00:00:00Z", "00:00:00.000001Z", "07:59:59Z", "08:00:00Z", "18:30:00Z", "23:59:59.999999Z")
STRANGER, NAMELESS = "a person whom no queue lists", "a person of whom there is no name"


Odd = tuple[Path, Truth]
"""A lake, or the folder that it is in, and what it has to show."""


def told(at: datetime) -> Clock:
    """Return a clock that stands still."""
    return Clock(now=lambda: at, sleep=lambda _: None)


@contextmanager
def odd_lake(folder: Path) -> Iterator[tuple[Path, Truth]]:
    """Give a lake of two queues of odd rows, exported twice, and what it has to show.

    Between the exports rows and feedback left, and reviews were finished about midnight. One run is in both queues.
    """
    with Sandbox(Population(rows=110, queues=2, threads=5, days=5.0, crowd=20), seed=8) as sandbox:
        one, other = map(sandbox.queue, sandbox.queue_ids)
        other.load([("active", _in_another_queue(one.rows("active")[3]))])
        _rename(sandbox)
        settings = {"source.endpoint": "items", "sync.refresh_feedback_every_s": 0}
        first = export_once(sandbox, folder, settings, clock=told(FIRST))
        assert first.exit_code == 0, first.queues
        gone = {row.id for row in (*one.rows("active")[:3], *one.rows("archived")[:2])}
        before = [row for row in rows_of(sandbox) if row.key in gone]
        for key in gone:
            one.delete(key)
        _review(sandbox)
        for said in sandbox.feedback.of_queue(other)[:3]:
            sandbox.feedback.delete(said)
        report = export_once(sandbox, folder, settings, clock=told(SECOND), accept_removals=True, refresh=True)
        assert (report.exit_code, report.queues[0].removed) == (0, 5)
        truth = Truth(sandbox, SECOND, [*rows_of(sandbox)])
        for row in before:
            row.removed_at = SECOND
        truth.rows += before
        yield folder / "lake", truth


@contextmanager
def lively_lake(folder: Path) -> Iterator[Odd]:
    """Give a folder with a lake that has an answer to every recipe: two queues of ordinary rows, exported twice.

    What it has to show are the rows that did not leave.
    """
    with Sandbox(Population(rows=110, queues=2, threads=5, days=9.0, odd=False, archived_share=0.7), seed=9) as sandbox:
        one, other = map(sandbox.queue, sandbox.queue_ids)
        other.load([("active", _in_another_queue(one.rows("active")[3]))])
        answered_by_three(sandbox)
        one.edit(one.rows("active")[9].id, total_cost="99.5", inputs={"messages": PARTS})
        settings = {"source.endpoint": "items"}
        assert export_once(sandbox, folder, settings, clock=told(FIRST)).exit_code == 0
        for queue, row in (
            (one, one.rows("active")[0]),
            (one, one.rows("archived")[0]),
            (other, other.rows("active")[0]),
        ):
            queue.delete(row.id)
        for row in one.rows("active")[5:8]:
            one.edit(row.id, reserved_by=[one.cast.reviewers[2].id])
        assert export_once(sandbox, folder, settings, clock=told(SECOND)).exit_code == 0
        yield folder, Truth(sandbox, SECOND, [*rows_of(sandbox)])


PARTS = [
    {"role": "user", "name": "Zoë", "content": [{"type": "text", "text": "Wie heißt das?"}, {"type": "image_url"}]}
]


def _in_another_queue(row: Row) -> Row:
    """Return a row of the same run for another queue."""
    its_id = "0" * 8 + row.id[8:]
    return replace(row.with_fields({"queue_run_id": its_id}), id=its_id)


def _rename(sandbox: Sandbox) -> None:
    """Let the queues list one person under two names, one without a name, and one with a name in one of them."""
    for queue_id, second, third in zip(sandbox.queue_ids, "BA", ("Chiara", None), strict=True):
        people: Any = sandbox.profile(queue_id)["assigned_reviewers"]
        people[1]["name"], people[2]["name"], people[3]["name"] = f"{second}. Lindqvist", third, None


def _review(sandbox: Sandbox) -> None:
    """Let people finish and reserve rows about the midnights of three zones, one of them twice."""
    for number, queue in enumerate(map(sandbox.queue, sandbox.queue_ids)):
        ids = [person.id for person in queue.cast.reviewers]
        several = [[ids[0]], ids[:3], [ids[1], ids[1]], [STRANGER, NAMELESS], [ids[2]], []]
        for place, row in enumerate(queue.rows("archived")[:18]):
            at = f"2026-11-{20 + place % 3}T{MIDNIGHTS[place % len(MIDNIGHTS)]}"
            queue.edit(row.id, last_reviewed_time=at, completed_by=several[(place + number) % len(several)])
        row = queue.rows("active")[7]
        queue.edit(row.id, reserved_by=[ids[1], ids[1], STRANGER], completed_by=[ids[1]], feedback_stats=ODD_STATS)
        said = {"type": "app", "user_id": STRANGER, "ls_user_id": "x", "user_name": "Zoë", "metadata": {}}
        sandbox.feedback.add(row.run_id or "", key="helpfulness", score=1, feedback_source=said)
        for person, answer in zip(ids, ODD_ANSWERS, strict=False):
            source = {"type": "app", "user_id": person, "metadata": {}}
            sandbox.feedback.add(row.run_id or "", key="numbers", feedback_source=source, **answer)


ODD_ANSWERS: tuple[dict[str, Any], ...] = ({"score": 1e-7}, {"value": "1e-7"}, {"score": -0.0}, {"score": 0})
ODD_STATS = {"ü 'x' $.n": {"n": 2, "avg": 0.1, "stdev": 1e-320, "min": 0, "max": 12345678901234567890}, "none": {}}


def in_duckdb(lake: Path, *, zone: str, base_url: str = BASE_URL) -> duckdb.DuckDBPyConnection:
    """Return a session in a time zone that has the views of a lake."""
    connection = duckdb.connect()
    connection.execute(f"SET TimeZone = '{zone}'")
    for statement in LakeViews(open_tables(lake, {}, {}, clock=Clock()), web_address(base_url)).statements():
        connection.execute(statement)
    return connection


def age(lake: Path, queue_id: str) -> None:
    """Make a queue's files those of an older schema version: without two columns, one column narrower."""
    for path in (lake / "runs" / f"queue_id={queue_id}").rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None).drop_columns(["item_hash", "thread_id"])
        place = table.schema.get_field_index("execution_order")
        narrow = pl.Series("execution_order", table["execution_order"]).cast(pl.Int32).to_arrow()
        pq.write_table(table.set_column(place, "execution_order", narrow), path)


def copy_of(lake: Path, folder: Path) -> Path:
    """Return a copy of a lake."""
    return Path(shutil.copytree(lake, folder / "lake"))


def plain(value: Any) -> Any:
    """Return a value as both engines and the oracle can show it: times in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, bytes | str):
        return value
    if isinstance(value, dict):
        return {key: plain(inside) for key, inside in value.items()}
    return [plain(inside) for inside in value] if isinstance(value, Sequence) else value


def ordered(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Return rows in an order that does not hang on the last digits of floats."""
    return sorted((plain([*row]) for row in rows), key=_without_floats)


def _without_floats(row: list[Any]) -> tuple[str, str]:
    floats = [value for value in row if isinstance(value, float)]
    return str([value for value in row if not isinstance(value, float)]), str(floats)


def alike(row: Sequence[Any], other: Sequence[Any]) -> bool:
    """Tell whether two rows are equal, floats but for their last digits."""
    return all(
        math.isclose(a, b, rel_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in zip(plain([*row]), plain([*other]), strict=True)
    )


def assert_same(found: Iterable[Sequence[Any]], wanted: Iterable[Sequence[Any]], *, exactly: bool = True) -> None:
    """Check that two views have the same rows in any order; with `exactly` False but for the last digits of floats."""
    rows, others = ordered(found), ordered(wanted)
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert row == other or (not exactly and alike(row, other)), (row, other)
