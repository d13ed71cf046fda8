"""Cutting JSON without parsing it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annolake.transform.json_text import split_array, split_object, without_lone_surrogates

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)


@given(st.lists(VALUES), st.sampled_from([None, 2]), st.booleans())
def test_an_array_is_cut_where_a_parser_cuts_it(values: list[Any], indent: int | None, escape: bool) -> None:
    """Each element's text parses to the element, however the array is laid out."""
    text = json.dumps(values, indent=indent, ensure_ascii=escape)
    pieces = split_array(text.encode("utf-8", "surrogatepass"))

    assert [json.loads(piece.decode("utf-8", "surrogatepass")) for piece in pieces] == values


@given(st.dictionaries(st.text(), VALUES))
def test_an_object_is_cut_where_a_parser_cuts_it(members: dict[str, Any]) -> None:
    """Each name and value text parses to what was written."""
    pairs, _ = split_object(json.dumps(members).encode())

    assert {name: json.loads(bytes(value)) for name, value in pairs} == members


@given(st.lists(VALUES, min_size=1), st.data())
def test_an_array_that_is_cut_off_is_refused(values: list[Any], data: st.DataObject) -> None:
    """No prefix of an array passes for an array."""
    text = json.dumps(values).encode()
    end = data.draw(st.integers(0, len(text) - 1))

    with pytest.raises(ValueError, match=r"expected \[|brackets do not match|continues after"):
        split_array(text[:end])


@pytest.mark.parametrize("text", [b"", b"<html></html>", b'{"detail": []}', b"[1] [2]", b"[[1]", b"null"])
def test_what_is_no_array_is_refused(text: bytes) -> None:
    """An answer of another shape is told apart from an empty page."""
    with pytest.raises(ValueError, match="expected|brackets|continues"):
        split_array(text)


def test_only_lone_surrogates_are_replaced() -> None:
    """Pairs, other escapes and escaped backslashes stay."""
    assert without_lone_surrogates(rb'"\ud83d\ude00 \ud800 \\ud800 \n \udc00"') == (
        rb'"\ud83d\ude00 \ufffd \\ud800 \n \ufffd"'
    )
