"""Turns, decoded from the threads endpoint's form into rows of the table."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from annolake.contract import TURNS
from annolake.keys import joint_key_of
from annolake.transform.flatten import flatten
from annolake.transform.turns import Thread, decode_turns, turn_selects

ADDED = datetime(2026, 11, 2, 10, tzinfo=UTC)
THREAD = Thread("item-1", "thread-1", "project-1", ADDED)


def answer(*turns: Any, cursor: str | None = None) -> bytes:
    """Return the body of an answer with these turns."""
    return json.dumps({"items": turns, "next_cursor": cursor}).encode()


def flattened(*turns: Any) -> list[dict[str, Any]]:
    """Return the rows that these turns become."""
    rows = decode_turns(answer(*turns), THREAD).rows
    found: list[dict[str, Any]] = flatten(TURNS, rows, exported_at=ADDED).to_pylist()
    return found


def test_what_is_selected_is_what_the_table_has() -> None:
    """Every column that is a field of a turn, by the name that the service selects it by."""
    assert set(turn_selects()) >= {"TRACE_ID", "TURN_NUMBER", "INPUTS", "TOTAL_COST", "PROMPT_TOKEN_DETAILS"}
    assert len(turn_selects()) == len(TURNS.columns_of("field")) == 20


def test_a_turn_becomes_a_row_of_its_item() -> None:
    """Item and time come from the item; maps are unwrapped, amounts exact, JSON kept as text, the rest unmapped."""
    (row,) = flattened(
        {
            "trace_id": "t",
            "turn_number": 3,
            "start_time": "2026-11-02T09:00:00",
            "inputs": {"a": 1.10},
            "total_cost": 1.5e-7,
            "prompt_token_details": {"raw": {"cache_read": 5}},
            "completion_token_details": {"raw": None},
            "prompt_cost_details": None,
            "mood": [1],
        }
    )

    assert (row["queue_run_id"], row["added_at"], row["trace_id"], row["turn_number"]) == ("item-1", ADDED, "t", 3)
    assert row["start_time"] == datetime(2026, 11, 2, 9, tzinfo=UTC)
    assert (row["inputs"], row["outputs"], row["total_cost"]) == ('{"a": 1.1}', None, Decimal("1.5E-7"))
    assert dict(row["prompt_token_details"]) == {"cache_read": 5}
    assert (row["completion_token_details"], row["prompt_cost_details"]) == (None, None)
    assert json.loads(row["unmapped"]) == {"mood": [1]}
    assert row["removed_at"] is None


def test_keys_and_hashes_tell_items_and_versions_apart() -> None:
    """The same trace of another item is another row; another value, day or unmapped field another version."""
    turn = {"trace_id": "t", "turn_number": 1}
    (row,) = decode_turns(answer(turn), THREAD).rows
    others = [
        decode_turns(answer({**turn, **more}), thread).rows[0]
        for more, thread in (
            ({"turn_number": 2}, THREAD),
            ({"mood": 1}, THREAD),
            ({}, Thread("item-1", "thread-1", "project-1", None)),
        )
    ]

    assert row.key == joint_key_of("item-1", "t") != joint_key_of("t", "item-1")
    assert {other.key for other in others} == {row.key}
    assert len({row.hash, *(other.hash for other in others)}) == 4
    assert decode_turns(answer(turn), THREAD).rows[0].hash == row.hash
    assert decode_turns(answer(turn), Thread("item-2", "thread-1", "p", ADDED)).rows[0].key != row.key


def test_a_turn_that_breaks_the_contract_leaves_its_neighbours() -> None:
    """A reject has the key that its row would have; one without an id that of its text."""
    page = decode_turns(
        answer({"trace_id": "a"}, {"trace_id": "b", "total_tokens": "x"}, {"turn_number": 1}, 7, {"trace_id": "c"}),
        THREAD,
    )

    named, *unnamed = page.rejects
    assert [row.row.trace_id for row in page.rows] == ["a", "c"]
    assert (named.key, named.path) == (joint_key_of("item-1", "b"), "$.total_tokens")
    assert named.queue_run_id == named.key.hex()
    assert [reject.queue_run_id for reject in unnamed] == [None, None]
    assert [len(page.keys), len(set(page.keys))] == [5, 5]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"items": [', b'{"items": {"a": 1}}', b'{"next_cursor": null}'])
def test_a_body_of_another_shape_is_no_answer(body: bytes) -> None:
    """Cut off, a list, an object without a list: to be asked for again."""
    with pytest.raises(ValueError):
        decode_turns(body, THREAD)


def test_an_answer_tells_where_it_goes_on() -> None:
    """The cursor as it is; none, null and empty are the end."""
    assert decode_turns(answer(cursor="more"), THREAD).cursor == "more"
    assert [decode_turns(answer(cursor=end), THREAD).cursor for end in (None, "")] == [None, None]
    assert decode_turns(b'{"items": null}', THREAD).rows == []
