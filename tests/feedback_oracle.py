"""What the table `feedback` must hold for a sandbox's feedback, worked out without annolake's own code.

Values are what polars' Python rows show, JSON columns parsed with exact decimals.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from annolake.sandbox import Sandbox
from oracle import moment

SAME = (
    *("id", "run_id", "trace_id", "session_id", "key", "comment", "correction", "value", "extra", "is_root"),
    *("feedback_group_id", "comparative_experiment_id"),
)
TIMES = {"created_at": "created_at", "modified_at": "modified_at", "run_start_time": "start_time"}
AUTHOR = {"source_type": "type", "user_id": "user_id", "ls_user_id": "ls_user_id", "user_name": "user_name"}
KNOWN = frozenset({*SAME, *TIMES.values(), "score", "feedback_thread_id", "feedback_source"})
JSON = ("value", "correction", "source_metadata", "extra", "unmapped")


def stored(lake: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of the table by queue and id, as polars reads them; JSON columns parsed."""
    rows = pl.scan_parquet(lake / "feedback", hive_partitioning=True).collect().to_dicts()
    by_id = {row["id"]: _parsed(row) for row in rows}
    assert len(by_id) == len(rows), "a feedback is there twice"
    return by_id


def present(lake: Path) -> dict[str, dict[str, Any]]:
    """Return those that were not removed."""
    return {key: row for key, row in stored(lake).items() if row["removed_at"] is None}


def expected(sandbox: Sandbox, *, threads: bool) -> dict[str, dict[str, Any]]:
    """Return what is to be stored of all that was said on the first queue's runs, and on its threads."""
    queue = sandbox.queue()
    rows = [row for section in ("active", "archived") for row in queue.listing(section)]
    completed = {row.run_id or str(_read(row.text)["thread_id"]): _read(row.text).get("completed_by") for row in rows}
    asked = {item["feedback_key"] for item in sandbox.profile()["rubric_items"]}
    there = [one for one in sandbox.feedback.of_queue(queue) if threads or one.run_id]
    return {one.id: _row(one.value(), completed[one.subject], asked) for one in there}


def _row(sent: dict[str, Any], completed_by: list[str] | None, asked: set[str]) -> dict[str, Any]:
    source = sent.get("feedback_source") or {}
    score, value = sent.get("score"), sent.get("value")
    authors = {source.get("user_id"), source.get("ls_user_id")} - {None}
    source_beside = {name: source[name] for name in source if name not in {*AUTHOR.values(), "metadata"}}
    unmapped = {name: sent[name] for name in sent if name not in KNOWN}
    unmapped |= {"feedback_source": source_beside} if source_beside else {}
    return {
        **{name: sent.get(name) for name in SAME},
        **{name: sent.get(field) and moment(sent[field]) for name, field in TIMES.items()},
        **{name: source.get(field) for name, field in AUTHOR.items()},
        "source_metadata": source.get("metadata"),
        "thread_id": sent.get("feedback_thread_id"),
        "score": None if score is None else float(score),
        "plain": value if isinstance(value, str) else None,
        "in_rubric": sent["key"] in asked,
        "by_reviewer": None if completed_by is None or not authors else not authors.isdisjoint(completed_by),
        "unmapped": unmapped or None,
        "created_date": sent.get("created_at") and moment(sent["created_at"]).date(),
    }


def assert_equals_service(lake: Path, sandbox: Sandbox, *, threads: bool) -> None:
    """Check every field of every feedback that is not removed against what the service holds."""
    rows, wanted = present(lake), expected(sandbox, threads=threads)
    assert rows.keys() == wanted.keys()
    for key, row in rows.items():
        plain = row["value_text"] if isinstance(row["value"], str) else None
        shown = {**row, "plain": plain}
        assert {name: shown[name] for name in wanted[key]} == wanted[key]
        is_plain = isinstance(row["value"], str | bool | int | Decimal)
        assert (row["value_text"] is not None) == is_plain


def _read(text: bytes) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return read


def _parsed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: row[name] and json.loads(row[name], parse_float=Decimal) for name in JSON}
