"""Cutting JSON without parsing it."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annolake.transform import json_cut
from annolake.transform.json_cut import cut_answer, split_array, split_object
from annolake.transform.json_text import joined

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)


def texts_of(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the texts of members, which may be views."""
    return {name: bytes(text) for name, text in members.items()}


@given(st.lists(VALUES), st.sampled_from([None, 2]), st.booleans())
def test_an_array_is_cut_where_a_parser_cuts_it(values: list[Any], indent: int | None, escape: bool) -> None:
    """Each element's text parses to the element, however the array is laid out."""
    text = json.dumps(values, indent=indent, ensure_ascii=escape)
    pieces = split_array(text.encode("utf-8", "surrogatepass"))

    assert [json.loads(piece.decode("utf-8", "surrogatepass")) for piece in pieces] == values


@given(st.dictionaries(st.text(), VALUES))
def test_an_object_is_cut_where_a_parser_cuts_it(members: dict[str, Any]) -> None:
    """Each name and value text parses to what was written."""
    cut = split_object(json.dumps(members).encode())

    assert {name: json.loads(bytes(value)) for name, value in cut.pairs} == members
    assert {name: json.loads(bytes(value)) for name, value in cut.there.items()} == members


COMPACT = [
    *((b"{}", True), (b'{"a":1}', True), (b'{"a":{"b": [1, 2]},"c":"x"}', True), (b' {"a":1}\n', True)),
    *((b'{"a": 1}', False), (b'{"a":1 }', False), (b'{ "a":1}', False), (b'{"a":1,"b": 2}', False), (b"{ }", False)),
    *((b'{"a":1,"a":1}', False), (b'{"\\u0061":1}', False), ('{"é":1}'.encode(), False)),
    *((b'{"a":NaN,"NaN":"\\ud800"}', True), (b'{"a": NaN}', False), (b'{"a":NaN,"a":1}', False), (b'{"a":nul}', False)),
]


@pytest.mark.parametrize(("text", "compact"), COMPACT)
def test_an_object_is_compact_where_its_members_are_all_that_it_has(text: bytes, compact: bool) -> None:
    """Joining them gives the text again; where names are not ASCII it may do so all the same."""
    cut = split_object(text)

    assert cut.compact is compact
    assert not compact or joined(cut.pairs) == text.strip()


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


PIECES = st.recursive(
    st.sampled_from(
        [
            *(b"1", b"12", b'"a"', b'"[,\\"{"', b"null", b"nul", b"NaN", b"-Infinity", b'"NaN"', b'"\t"', b'"\xff"'),
            *(rb'"\ud800"', rb'"\ud83d\ude00"', rb'"\\ud800"', b'"', b"\\", b"", b"[]", b"{}"),
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: b"[" + b" ,\n".join(values) + b"]"),
        st.lists(
            st.tuples(st.sampled_from([b'"a"', b'"b"', rb'"\u0061"', rb'"\ud800"', b'"\t"', b"a"]), inner), max_size=3
        ).map(lambda pairs: b"{ " + b", ".join([name + b" : " + value for name, value in pairs]) + b"}"),
    ),
    max_leaves=8,
)


def _cut_by_brackets(text: bytes, opening: bytes, closing: bytes) -> list[bytes] | None:
    try:
        return list(json_cut._elements(text, opening, closing))
    except ValueError:
        return None


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_every_way_of_cutting_gives_the_same_texts(text: bytes) -> None:
    """What msgspec cuts, with or without values written over, is what a loop over brackets cuts."""
    for split, ends in ((split_array, b"[]"), (split_object, b"{}")):
        expected = _cut_by_brackets(text, ends[:1], ends[1:])
        try:
            pieces: Any = split(text)
        except ValueError:
            assert expected is None or split is split_object
            continue
        if split is split_object:
            pieces = [bytes(value) for _, value in pieces.pairs]
            expected = [json_cut._member(member)[1] for member in expected or []]
        assert pieces == expected


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(PIECES, st.lists(PIECES, max_size=4).map(lambda values: b"[" + b",".join(values) + b"]")),
    st.sampled_from(
        [
            b"}",
            b" }",
            b',"next": "x"}',
            b' , "next":NaN}',
            b",}",
            b"",
            b"}}",
            b',"items":[2]}',
            b'x,"next":1}',
            b'"next":1}',
        ]
    ),
    st.sampled_from([b'{"items":', b' {\n"items" : ', b'{"first":1,"items":', rb'{"\u0069tems":', b'"items":', b"{"]),
)
def test_an_answer_is_cut_as_an_object_and_its_array_are(items: bytes, behind: bytes, before: bytes) -> None:
    """Whichever elements are unreadable, and whatever stands before and behind them."""
    body = before + items + behind
    try:
        others = dict(split_object(body).there)
        array = bytes(others.pop("items"))
        expected: Any = ([] if array == b"null" else split_array(array)), texts_of(others)
    except (ValueError, KeyError):
        with pytest.raises(ValueError, match="."):
            cut_answer(body, "items")
        return

    elements, there = cut_answer(body, "items")
    assert ([*map(bytes, elements)], texts_of(there)) == expected


@pytest.mark.parametrize(
    ("body", "elements"),
    [
        (b'{"runs":[nul],"items":[]}', []),
        (b'{"items":[nul],"items":[2]}', [b"2"]),
        (b'{"items":[nul],"next":NaN}', [b"nul"]),
        (b'{"items":[nul],"deep":' + b"[" * 9000 + b"]" * 9000 + b"}", [b"nul"]),
        (b'{"items":[nul, 1 2]}', [b"nul", b"1 2"]),
        (b'{"items":null,"next":NaN}', []),
        (b'{"next":NaN,"items":[nul]}', [b"nul"]),
    ],
)
def test_an_answer_that_is_not_as_expected_is_cut_all_the_same(body: bytes, elements: list[bytes]) -> None:
    """The array comes second or twice, or something behind it is unreadable, too."""
    assert [*map(bytes, cut_answer(body, "items")[0])] == elements


@pytest.mark.parametrize("text", [b"xnul]", b"[nul]x", b"[nul]]", b"[nul,1]]", b"[nul", b"[nul]1]", b"{nul]"])
def test_no_array_is_cut_around_its_unreadable_elements(text: bytes) -> None:
    """Where it begins and ends is looked at as that of any other."""
    with pytest.raises(ValueError, match="expected|brackets|continues"):
        split_array(text)


@pytest.mark.parametrize("unreadable", [b"nul", b'{"a": NaN}', rb'"\ud800"', b"[" * 9000 + b"]" * 9000])
def test_a_few_unreadable_elements_are_cut_alone(unreadable: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written over, and no loop over brackets goes through the others."""
    elements = [b'{"a": "}, {"}', unreadable, b"[1, 2]", b'"],"', unreadable, b"2"]
    array = b"[" + b" , ".join(elements) + b" ]"
    shapes, end_of_shape = list[int](), json_cut._end_of_shape

    def noted(shape: bytes, at: int) -> int:
        shapes.append(at)
        return end_of_shape(shape, at)

    monkeypatch.setattr(json_cut, "_readable", lambda _: pytest.fail("the page was written over"))
    monkeypatch.setattr(json_cut, "_end_of_shape", noted)

    assert split_array(array) == elements
    cut, others = cut_answer(b'{"items": ' + array + b', "next": 1}', "items")
    assert ([*map(bytes, cut)], texts_of(others)) == (elements, {"next": b"1"})
    assert len(shapes) == 4


def test_a_name_that_comes_twice_is_in_the_pairs_twice() -> None:
    """However it is written, and in its place."""
    cut = split_object(b'{"a":1,"b":1,"\\u0061":2}')

    assert [(name, bytes(value)) for name, value in cut.pairs] == [("a", b"1"), ("b", b"1"), ("a", b"2")]
    assert {name: bytes(value) for name, value in cut.there.items()} == {"a": b"2", "b": b"1"}
    assert split_object(b'{"a":NaN,"a":1}') == ([("a", b"NaN"), ("a", b"1")], {"a": b"1"}, False, False)


@pytest.mark.parametrize("text", [b'[1,"' + b'\\" ' * 300_000 + b"]", b"[" + b"{[" * 100_000 + b"]"])
def test_quotes_and_brackets_without_an_end_cost_no_more_than_their_number(text: bytes) -> None:
    """Looking for the end of each of them would take minutes."""
    for cut in (split_array, split_object):
        with contextlib.suppress(ValueError):
            cut(text)
