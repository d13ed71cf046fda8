"""JSON that is put together, and what any parser reads of it."""

from annolake.transform import json_text
from annolake.transform.json_text import without_lone_surrogates


def test_only_lone_surrogates_are_replaced() -> None:
    """Pairs, other escapes and escaped backslashes stay."""
    assert without_lone_surrogates(rb'"\ud83d\ude00 \ud800 \\ud800 \n \udc00"') == (
        rb'"\ud83d\ude00 \ufffd \\ud800 \n \ufffd"'
    )


def test_names_are_remembered_up_to_a_bound() -> None:
    """A service that sends a new name in every row, or long ones, does not fill the memory."""
    for number in range(2000):
        json_text.member(f"name {number}", b"1")
    json_text.member("n" * 101, b"1")

    assert len(json_text._heads) <= 1000
    assert "n" * 101 not in json_text._heads
