"""What a queue asks its reviewers, in the table `queues`: as the service has it, whatever it has."""

import json
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import polars as pl
import pytest

from annolake import contract
from annolake.sandbox import Population, Sandbox
from annolake.transform import queue_row
from annolake.transform.decode import PageDecoder
from annolake.transform.row_types import Rows
from exporting import ROWS_ALONE, export_once, files_of, one_queue

OPEN = ("value_descriptions", "score_descriptions", "feedback_config", "required_if", "visible_if")
NAMES = (
    *("feedback_key", "description", "is_required", "is_assertion", "feedback_config_id", "regex_validator"),
    *OPEN,
)
SMALL = Population(rows=20, odd=False, days=3)


def record_in(lake: Path) -> dict[str, Any]:
    """Return the queue's row of the table `queues`, the same as polars and as DuckDB read it."""
    (row,) = pl.scan_parquet(lake / "queues", hive_partitioning=True).collect().to_dicts()
    with duckdb.connect() as connection:
        connection.execute(f"SELECT rubric_instructions, rubric_items FROM '{lake}/queues/**/*.parquet'")
        (again,) = connection.fetchall()
    assert again == (row["rubric_instructions"], row["rubric_items"])
    return row


def as_sent(item: dict[str, Any]) -> dict[str, Any]:
    """Return a rubric item of the lake with its JSON texts parsed."""
    return {
        name: json.loads(value) if name in OPEN and value is not None else value
        for name, value in item.items()
        if value is not None
    }


def without_nulls(item: dict[str, Any]) -> dict[str, Any]:
    """Return what is not null of a rubric item as sent."""
    return {name: value for name, value in item.items() if value is not None}


def test_a_rubric_arrives_as_the_service_has_it(tmp_path: Path) -> None:
    """Keys, what is required, descriptions and configuration; what is open-ended as JSON text."""
    with Sandbox(SMALL) as sandbox:
        report = export_once(sandbox, tmp_path)
        sent = sandbox.profile()

    row = record_in(tmp_path / "lake")
    assert report.exit_code == 0
    assert row["rubric_instructions"] == sent["rubric_instructions"]
    assert [as_sent(item) for item in row["rubric_items"]] == [without_nulls(item) for item in sent["rubric_items"]]
    assert set(row["rubric_items"][0]) == set(NAMES)
    assert row["unmapped"] is None


def test_a_change_of_the_rubric_rewrites_the_queue_s_row_and_nothing_else(tmp_path: Path) -> None:
    """One file more than before, and it is the queue's; the same rubric again writes none."""
    lake = tmp_path / "lake"
    with Sandbox(SMALL) as sandbox:
        export_once(sandbox, tmp_path)
        before = files_of(lake)
        sandbox.profile()["rubric_items"][2]["is_required"] = True
        export_once(sandbox, tmp_path)
        after = files_of(lake)
        export_once(sandbox, tmp_path)
        again = files_of(lake)

    changed = set(after.items()) - set(before.items())
    assert [path.relative_to(lake).parts[0] for path, _ in changed] == ["queues"]
    assert record_in(lake)["rubric_items"][2]["is_required"] is True
    assert again == after


@pytest.mark.parametrize(
    ("rubric", "instructions", "items"),
    [
        ({}, None, None),
        ({"rubric_instructions": None, "rubric_items": None}, None, None),
        ({"rubric_instructions": "", "rubric_items": []}, "", []),
        ({"rubric_instructions": "é \x00 \u2028", "rubric_items": [{}]}, "é \x00 \u2028", [{}]),
    ],
)
def test_a_queue_may_have_no_rubric(
    rubric: dict[str, Any], instructions: str | None, items: list[Any] | None, tmp_path: Path
) -> None:
    """Left out, null or empty: null or empty in the lake."""
    with Sandbox(SMALL) as sandbox:
        for name in ("rubric_instructions", "rubric_items"):
            sandbox.profile().pop(name)
        sandbox.profile().update(rubric)
        report = export_once(sandbox, tmp_path)

    row = record_in(tmp_path / "lake")
    found = row["rubric_items"]
    assert report.exit_code == 0
    assert row["rubric_instructions"] == instructions
    assert (None if found is None else [as_sent(item) for item in found]) == items
    assert row["unmapped"] is None


@pytest.mark.parametrize(
    ("rubric", "instructions", "items"),
    [
        ({"rubric_instructions": {"markdown": "x"}}, None, None),
        ({"rubric_items": {"helpfulness": {}}}, None, None),
        ({"rubric_items": "helpfulness"}, None, None),
        ({"rubric_instructions": "a \ud800 b"}, "a \ufffd b", None),
        ({"rubric_items": [{"feedback_key": "a", "weight": 2}]}, None, [{"feedback_key": "a"}]),
        ({"rubric_items": ["a", None, {"feedback_key": "b"}]}, None, [{"feedback_key": "b"}]),
        (
            {"rubric_items": [{"feedback_key": 7, "is_required": "yes", "description": "d", "visible_if": [1, {}]}]},
            None,
            [{"description": "d", "visible_if": [1, {}]}],
        ),
        ({"rubric_items": [{"feedback_key": "\ud800", "is_assertion": 1}]}, None, [{"feedback_key": "\ufffd"}]),
    ],
)
def test_an_odd_rubric_does_no_harm(
    rubric: dict[str, Any], instructions: str | None, items: list[Any] | None, tmp_path: Path
) -> None:
    """What fits is in the columns; a field that holds more is in `unmapped` too, as it was sent."""
    with Sandbox(SMALL) as sandbox:
        sandbox.profile().update({"rubric_instructions": None, "rubric_items": None, **rubric, "later": 1})
        report = export_once(sandbox, tmp_path)

    row = record_in(tmp_path / "lake")
    found = row["rubric_items"]
    assert (report.exit_code, one_queue(report).name) == (0, sandbox.queue().name)
    assert row["rubric_instructions"] == instructions
    assert (None if found is None else [as_sent(item) for item in found]) == items
    assert json.loads(row["unmapped"]) == {**rubric, "later": 1}


def test_an_older_lake_gets_the_columns_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of version 1, with the rubric in `unmapped`: rewritten by the next export, not by the one after it."""
    lake = tmp_path / "lake"
    columns = tuple(column for column in contract.QUEUES.column if column.since == 1)
    old = msgspec.structs.replace(contract.QUEUES, version=1, column=columns)
    fields = {column.queue: column for column in columns if column.queue}
    with Sandbox(SMALL) as sandbox:
        with monkeypatch.context() as patched:
            patched.setattr(contract, "QUEUES", old)
            patched.setattr(contract, "TABLES", (contract.RUNS, old))
            patched.setattr(queue_row, "_queue_record", PageDecoder(Rows(old, fields, name="QueueRecord")))
            patched.setattr(queue_row, "read_rubric", lambda _: {})
            export_once(sandbox, tmp_path, ROWS_ALONE)
        (first,) = pl.scan_parquet(lake / "queues").collect().to_dicts()
        before = files_of(lake)
        export_once(sandbox, tmp_path, ROWS_ALONE)
        after = files_of(lake)
        export_once(sandbox, tmp_path, ROWS_ALONE)
        again = files_of(lake)

    changed = {path.relative_to(lake).parts[0] for path, _ in set(after.items()) - set(before.items())}
    assert len(json.loads(first["unmapped"])["rubric_items"]) == 4
    assert "rubric_items" not in first
    assert changed == {"queues"}
    assert len(record_in(lake)["rubric_items"]) == 4
    assert record_in(lake)["unmapped"] is None
    assert again == after
