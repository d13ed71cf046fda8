"""Rows that the contract cannot hold: set aside with their reasons, told once, taken back when they are mended."""

import json
from pathlib import Path
from typing import Any

import pytest

from annolake.sandbox import Population, Queue, Sandbox
from exporting import export_once, files_of, one_queue, with_polars


def broken_texts(text: bytes) -> list[bytes]:
    """Return seven ways in which a row can break the contract; the first six leave its id readable."""
    row: dict[str, Any] = json.loads(text)

    def but(**fields: Any) -> bytes:
        return json.dumps({**row, **fields}).encode()

    return [
        but(name="\ud800"),
        but(total_tokens=2**69),
        but(total_cost="0.0000000000000000001"),
        but(start_time="last week"),
        json.dumps({name: value for name, value in row.items() if name != "trace_id"}).encode(),
        but(prompt_token_details={"cache_read": "many"}),
        b'"a row that is no object"',
    ]


def plant(queue: Queue) -> list[str]:
    """Break seven rows among a queue's active ones and return their ids."""
    rows = queue.rows("active")[10:80:10]
    for place, row in enumerate(rows):
        queue.set_text(row.id, broken_texts(row.text)[place])
    return [row.id for row in rows]


def rejects_in(lake: Path) -> list[dict[str, Any]]:
    """Return the rejects that the lake keeps."""
    paths = sorted((lake / "_annolake/rejected").rglob("*.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_seven_broken_rows_among_400(tmp_path: Path) -> None:
    """Seven rejects with path and reason, 393 rows in the lake, exit 3; known ones don't turn a run red again."""
    with Sandbox(Population(rows=400, odd=False, days=2), seed=8) as sandbox:
        plant(sandbox.queue())
        first = one_queue(export_once(sandbox, tmp_path))
        before = files_of(tmp_path / "lake")
        kept = rejects_in(tmp_path / "lake")
        second = one_queue(export_once(sandbox, tmp_path))

    assert (first.status, first.exit_code, first.rejected, first.rejected_new) == ("partial", 3, 7, 7)
    assert (first.complete, first.inserted) == (True, 393)
    assert len(with_polars(tmp_path / "lake")) == 393
    assert {(reject["path"], reject["reason"] != "") for reject in kept} == {
        *(("$.name", True), ("$.total_tokens", True), ("$.total_cost", True), ("$.start_time", True)),
        *(("$.trace_id", True), ("$.prompt_token_details[...]", True), ("$", True)),
    }
    assert (second.status, second.exit_code, second.rejected, second.rejected_new) == ("ok", 0, 7, 0)
    assert rejects_in(tmp_path / "lake") == kept
    assert files_of(tmp_path / "lake") == before


@pytest.mark.parametrize("places", [(20, 200), (5, 60, 120, 180, 250), tuple(range(82, 94))])
def test_rows_that_are_unreadable_alike(places: tuple[int, ...], tmp_path: Path) -> None:
    """Several rows of the same unreadable text are no sign of movement: the queue is shown complete."""
    with Sandbox(Population(rows=400, odd=False, days=2), seed=8) as sandbox:
        rows = sandbox.queue().rows("active")
        for place in places:
            sandbox.queue().set_text(rows[place].id, b"null")
        first, second = (one_queue(export_once(sandbox, tmp_path)) for _ in range(2))

    assert (first.exit_code, first.complete, second.exit_code, second.complete) == (3, True, 0, True)
    assert len(with_polars(tmp_path / "lake")) == 400 - len(places)


def test_a_mended_row_loses_its_reject(tmp_path: Path) -> None:
    """Once the service sends it right, the row is in the lake and its reject is gone."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=8) as sandbox:
        queue = sandbox.queue()
        row = queue.rows("active")[4]
        queue.set_text(row.id, broken_texts(row.text)[1])
        export_once(sandbox, tmp_path)
        queue.set_text(row.id, row.text)
        report = one_queue(export_once(sandbox, tmp_path))

    assert (report.exit_code, report.inserted, report.rejected) == (0, 1, 0)
    assert rejects_in(tmp_path / "lake") == []


def test_a_row_that_breaks_later_keeps_its_last_good_version(tmp_path: Path) -> None:
    """It is neither removed nor overwritten: the service has it, only not in a form the table can hold."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=8) as sandbox:
        export_once(sandbox, tmp_path)
        row = sandbox.queue().rows("active")[4]
        sandbox.queue().set_text(row.id, broken_texts(row.text)[0])
        report = one_queue(export_once(sandbox, tmp_path))

    assert (report.exit_code, report.removed, report.rejected_new) == (3, 0, 1)
    assert with_polars(tmp_path / "lake")[row.id]["removed_at"] is None


def test_nothing_is_marked_removed_while_a_rejects_id_is_unreadable(tmp_path: Path) -> None:
    """A row that is missed might be the one that could not be read."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=8) as sandbox:
        export_once(sandbox, tmp_path)
        queue = sandbox.queue()
        one, other = queue.rows("active")[3:5]
        queue.set_text(one.id, b"7")
        queue.delete(other.id)
        report = one_queue(export_once(sandbox, tmp_path))

    assert (report.rejected_new, report.removed) == (1, 0)


@pytest.mark.parametrize("queue_run_id", ["a/b", "../../x", "row 7", "0123456789abcdef0123456789abcdef"])
def test_a_reject_of_an_odd_id_is_taken_back(queue_run_id: str, tmp_path: Path) -> None:
    """Whatever the id of a row is, its reject goes when the row is accepted in a later export."""
    with Sandbox(Population(rows=30, odd=False, days=2), seed=8) as sandbox:
        row = sandbox.queue().rows("active")[5]
        mended = {**json.loads(row.text), "queue_run_id": queue_run_id}
        sandbox.queue().set_text(row.id, json.dumps({**mended, "total_tokens": 2**69}).encode())
        first = one_queue(export_once(sandbox, tmp_path))
        sandbox.queue().set_text(row.id, json.dumps(mended).encode())
        second = one_queue(export_once(sandbox, tmp_path))

    assert (first.rejected_new, second.rejected, second.inserted) == (1, 0, 1)
    assert rejects_in(tmp_path / "lake") == []
