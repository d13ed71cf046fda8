"""Which columns go with one that is left out, and pseudonyms."""

import pickle

import pytest

from annolake.columns.pseudonyms import Pseudonyms
from annolake.columns.rules import UNMAPPED, ColumnRules

PSEUDONYMS = Pseudonyms(b"a key of sixteen characters")


def test_pseudonyms_are_stable_known_again_and_tell_nothing() -> None:
    """The same for the same key, another for another key; none is made of one; the key is not shown."""
    one, other = PSEUDONYMS.of("ada"), Pseudonyms(b"another key of 16 characters")
    assert one == Pseudonyms(b"a key of sixteen characters").of("ada") == PSEUDONYMS.of(one)
    assert len({one, PSEUDONYMS.of("Ada"), other.of("ada"), other.of(one), PSEUDONYMS.of(""), "ada"}) == 6
    assert not PSEUDONYMS.is_one(other.of("ada"))
    assert not PSEUDONYMS.is_one("pn_" + "ü" * 40)
    assert PSEUDONYMS.check != other.check
    assert "sixteen" not in repr(PSEUDONYMS)
    with pytest.raises(TypeError, match="cannot be copied"):
        pickle.dumps(PSEUDONYMS)


@pytest.mark.parametrize(
    ("named", "gone"),
    [
        ("inputs", {"inputs", "inputs_preview", "messages", UNMAPPED}),
        ("extra", {"extra", UNMAPPED}),
        ("runs.completed_by", {"completed_by", "completed_count", UNMAPPED}),
        ("first_token_time", {"first_token_time", "first_token_s", UNMAPPED}),
        ("prompt_cost_details", {"prompt_cost_details", "prompt_cache_read_cost", "prompt_cache_creation_cost"}),
        ("feedback.value", {"value", "value_text", UNMAPPED}),
        ("turns.outputs", {"outputs", "outputs_preview", UNMAPPED}),
        ("queues.metadata", {"metadata", UNMAPPED}),
    ],
)
def test_what_repeats_a_column_goes_with_it(named: str, gone: set[str]) -> None:
    """And what the contract does not name, for nobody knows what it holds. Other tables stay as they are."""
    rules = ColumnRules.of([named], [])
    (table,) = rules.tables.values()
    assert gone <= table.excluded
    assert len(table.excluded) == len(gone) + ("details" in named) * 2
    assert table.names == table.pseudonymized == frozenset()


def test_an_author_is_pseudonymized_in_both_spaces() -> None:
    """One id of a person would give the other away; the name goes."""
    table = ColumnRules.of([], ["feedback.ls_user_id"], PSEUDONYMS).tables["feedback"]
    assert table.pseudonymized == {"user_id", "ls_user_id"}
    assert table.nulls == {"user_name", UNMAPPED}
    assert "comment" in table.searched
    assert not {"id", "run_id", "key", "user_id", "user_name", "thread_id"}.intersection(table.searched)


def test_settings_are_told_apart_by_their_mark() -> None:
    """In whatever order they are given; the key counts only where it is used."""
    one = ColumnRules.of(["inputs", "error"], ["reserved_by"], PSEUDONYMS)
    assert one.mark == ColumnRules.of(["error", "runs.inputs"], ["runs.reserved_by"], PSEUDONYMS).mark
    marks = {one.mark, ColumnRules.of(["error"], [], PSEUDONYMS).mark, ColumnRules.of(["error"], []).mark, ""}
    assert len(marks) == 3
    assert ColumnRules().mark == ""
    assert not ColumnRules().tables
