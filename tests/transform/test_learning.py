"""Fields that the contract does not name are learned: pages with them decode in one call, and come out the same."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annolake.transform.decode import PageDecoder, listed_rows
from annolake.transform.items import item_rows, run_rows
from annolake.transform.json_cut import Members
from annolake.transform.row_batch import Page, Reject
from annolake.transform.row_types import Rows
from annolake.transform.strict_decoder import MOST_LEARNED, StrictDecoder

LISTED = dict.fromkeys(
    ["name", "run_type", "trace_id", "dotted_order", "id", "status", "session_id", "app_path", "queue_run_id"], "x"
)
ITEM = {"id": "a", "queue_id": "q", "item_type": "RUN", "run_id": "r", "project_id": "p"}
QUERIED = {"id": "r", "name": "n", "run_type": "LLM", "prompt_cost_details": {"raw": {"audio": 1.5}}}

KINDS: list[Any] = [
    pytest.param(listed_rows, LISTED, id="listed"),
    pytest.param(item_rows, ITEM, id="item"),
    pytest.param(run_rows, QUERIED, id="queried"),
]
NAMES = [
    *("surprise", "two words", "class", "é", "\U0001f600", "", "\u2028", "_extra_0", "raw", "run_found", "archived"),
    *("item_type_", "former_session_id", "unmapped", "self", "n" * 100),
]
"""Names that can be learned: words of Python, attributes of the structs, names of other columns."""

UNLEARNED = ['a"b', "back\\slash", "line\nbreak", "\ud800", "n" * 101]


def body_of(*rows: Any) -> bytes:
    """Return a page of rows."""
    return json.dumps(rows).encode()


def read(decoder: PageDecoder, body: bytes) -> list[Any]:
    """Return what a page's elements become, in a form that can be compared."""
    return [
        each if isinstance(each, Reject) else (msgspec.json.encode(each[0]), each[1]) for each in decoder.read(body)
    ]


def versions(page: Page) -> list[Any]:
    """Return what paging and the merge see of a page."""
    rows = [(each.key, each.hash, each.unmapped, msgspec.json.encode(each.row)) for each in page.rows]
    return [page.size, page.keys, rows, page.rejects]


def slow_rows(decoder: PageDecoder, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the list of rows that the decoder reads member by member, which grows as it does."""
    slow: list[bytes] = []
    patiently = decoder._patiently

    def noted(text: bytes, members: Members | None) -> Any:
        slow.append(text)
        return patiently(text, members)

    monkeypatch.setattr(decoder, "_patiently", noted)
    return slow


# --- nothing changes but the time that it takes

TEXTS = st.text(st.characters(codec="utf-8"), max_size=3).map(lambda text: json.dumps(text).encode())
SCALARS = st.sampled_from(
    [
        *(b"null", b"true", b"-0.0", b"1.10", b"1e5", b"123456789012345678901234567890", b"1" * 5000, b'""', b"nul"),
        *(rb'"\ud800"', rb'"\ud83d\ude00"', rb'"a\\ud800"', b"NaN", b"-Infinity", b'"NaN"', b'"\xff"', b'"\t"', b'"x'),
        *(b'"https://h/p?sig=1"', b'{"share_token": "t"}', b'{"a": 1, "a": 2}', b"[" * 9000 + b"]" * 9000, b"1e999"),
        *(
            b'"0.1234567890123456789"',
            b'"2026-01-01T00:00:00+01:00"',
            b'{"raw": {"a": 1}, "by": [1]}',
            b'{"raw": null}',
        ),
    ]
)
VALUES = st.recursive(
    st.one_of(SCALARS, TEXTS),
    lambda inner: st.lists(inner, max_size=3).map(lambda values: b"[" + b" , ".join(values) + b"]"),
    max_leaves=3,
)
QUOTED = st.sampled_from(
    [json.dumps(name).encode() for name in [*NAMES, *UNLEARNED, "x?y=1", "sharetoken"]]
    + [b'"\xc3\xa9"', b'"\xff"', b'"a\tb"']
)
KNOWN = st.sampled_from(
    [
        b'"inputs"',
        b'"total_cost"',
        b'"prompt_cost_details"',
        b'"added_at"',
        b'"tags"',
        b'"share_token"',
        b'"name"',
        b'"id"',
    ]
)
MEMBERS = st.lists(st.tuples(st.one_of(QUOTED, QUOTED, KNOWN), st.one_of(TEXTS, VALUES)), max_size=4)


@st.composite
def rows_of(draw: st.DrawFn, base: dict[str, Any]) -> bytes:
    """Draw a row's text: mostly one that fits but for unknown fields, in any order and any layout."""
    there = {name: value for name, value in base.items() if draw(st.integers(0, 30))}
    pairs = [(json.dumps(name).encode(), json.dumps(value).encode()) for name, value in there.items()]
    pairs = draw(st.permutations([*pairs, *draw(MEMBERS)]))
    comma, colon = draw(st.sampled_from([(b",", b":"), (b", ", b": "), (b"\n\t,", b" : ")]))
    return b"{" + comma.join([name + colon + value for name, value in pairs]) + b"}"


@pytest.mark.parametrize(("rows", "base"), KINDS)
def test_what_was_learned_changes_nothing(rows: Callable[[], Rows], base: dict[str, Any]) -> None:
    """A page comes out the same from a decoder that has learned, one that learns from it, and one that never does."""
    learned, never = PageDecoder(rows()), PageDecoder(rows(), most=0)

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.one_of(rows_of(base), rows_of(base), VALUES), max_size=4))
    def holds(texts: list[bytes]) -> None:
        body = b"[" + b", ".join(texts) + b"]"
        try:
            expected = read(never, body)
        except ValueError:
            for decoder in (learned, PageDecoder(rows())):
                with pytest.raises(ValueError, match="."):
                    decoder.read(body)
            return
        assert read(learned, body) == expected
        assert read(PageDecoder(rows()), body) == expected

    holds()
    assert len(learned._strict.extra) > 10
    assert not never._strict.extra


@pytest.mark.parametrize("fields", [{"surprise": 1}, {"b": None, "a": {"x": [1.5]}}, {name: name for name in NAMES}])
def test_rows_have_the_same_key_and_hash_and_unmapped_fields(fields: dict[str, Any]) -> None:
    """Of a whole page: the one that taught, the one decoded in one call, and one that was never learned from."""
    body = body_of(LISTED, LISTED | fields, LISTED | fields | {"tags": ["x"]})
    learning, never = PageDecoder(listed_rows()), PageDecoder(listed_rows(), most=0)
    first, second, slow = (decoder.decode(body, archived=True) for decoder in (learning, learning, never))

    assert versions(first) == versions(second) == versions(slow)
    assert json.loads(second.rows[1].unmapped or b"") == fields
    assert list(json.loads(second.rows[1].unmapped or b"")) == sorted(fields)


# --- what is learned


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("rows", "base"), KINDS)
def test_a_field_is_learned_from_the_first_row_that_has_it(
    rows: Callable[[], Rows], base: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows after it decode without a look at their members, whatever the field's name is."""
    decoder = PageDecoder(rows())
    slow = slow_rows(decoder, monkeypatch)
    body = body_of(*[base | {name: number} for number in range(20)])

    first, second = read(decoder, body), read(decoder, body)

    assert len(slow) == 1
    assert first == second
    assert [json.loads(unmapped) for _, unmapped in second] == [{name: number} for number in range(20)]


def test_the_rest_of_the_page_that_taught_is_decoded_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where all rows have the field; a page whose rows bring one field after the other is tried once more."""
    decoder = PageDecoder(listed_rows())
    read_alone, tried = list[bytes](), list[bytes]()
    read_closely, read_at_once = decoder._read_closely, decoder._read_at_once

    def noted(text: bytes, error: Exception) -> Any:
        read_alone.append(text)
        return read_closely(text, error)

    def noted_at_once(body: bytes, strict: StrictDecoder) -> Any:
        tried.append(body)
        return read_at_once(body, strict)

    monkeypatch.setattr(decoder, "_read_closely", noted)
    monkeypatch.setattr(decoder, "_read_at_once", noted_at_once)

    assert len(read(decoder, body_of(LISTED, *[LISTED | {"a": 1}] * 18))) == 19
    assert (len(read_alone), len(tried)) == (1, 2)

    read_alone.clear()
    tried.clear()
    found = read(decoder, body_of(*[LISTED | {f"field_{number}": 1} for number in range(20)]))
    assert [unmapped for _, unmapped in found] == [b'{"field_%d":1}' % number for number in range(20)]
    assert (len(read_alone), len(tried)) == (20, 2)


def test_a_row_that_is_no_text_stays_out_of_the_page_that_is_tried_again() -> None:
    """What learning leads to is looked at as any page: a text that is not UTF-8 is rejected, wherever it stands."""
    decoder = PageDecoder(listed_rows())
    no_text = json.dumps(LISTED | {"inputs": "x"}).encode().replace(b'"inputs": "x"', b'"inputs": "\xff"')
    rows = [json.dumps(LISTED | {"a": 1}).encode(), no_text]

    taught, rejected = decoder.read(b"[" + b",".join(rows) + b"]")

    assert not isinstance(taught, Reject)
    assert isinstance(rejected, Reject)


def test_members_beside_raw_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a wrapped map has besides its value is kept under the map's name, and learned."""
    decoder = PageDecoder(run_rows())
    slow = slow_rows(decoder, monkeypatch)
    details = {"raw": {"audio": 1}, "z": None, "by": [2]}
    body = body_of(*[QUERIED | {"prompt_cost_details": details, "surprise": 1}] * 5, QUERIED)

    first, second = read(decoder, body), read(decoder, body)

    assert len(slow) == 1
    assert first == second
    assert [unmapped for _, unmapped in second] == [
        *[b'{"prompt_cost_details":{"by":[2],"z":null},"surprise":1}'] * 5,
        None,
    ]
    row, _ = decoder.decode_row(json.dumps(QUERIED | {"prompt_cost_details": details}).encode())
    assert row.prompt_cost_details == {"audio": 1}


def test_fields_come_and_go() -> None:
    """A row without a learned field has no trace of it; null is a value."""
    decoder = PageDecoder(listed_rows())
    body = body_of(LISTED | {"a": 1, "b": 2}, LISTED | {"b": None}, LISTED)

    for _ in range(2):
        assert [unmapped for _, unmapped in read(decoder, body)] == [b'{"a":1,"b":2}', b'{"b":null}', None]


def test_secrets_in_learned_fields_are_taken_out() -> None:
    """Signatures and share tokens are not in `unmapped`, neither of the row that taught nor of those after it."""
    decoder = PageDecoder(listed_rows())
    body = body_of(*[LISTED | {"link": "https://h/p?sig=secret", "Share-Token": "secret"}] * 3)

    assert {unmapped for _, unmapped in read(decoder, body)} == {b'{"Share-Token":null,"link":"https://h/p"}'}


@pytest.mark.parametrize("name", UNLEARNED)
def test_a_name_that_cannot_be_learned_is_kept_all_the_same(name: str) -> None:
    """No struct has such a field; its rows are read member by member."""
    decoder = PageDecoder(listed_rows())

    assert [json.loads(unmapped) for _, unmapped in read(decoder, body_of(*[LISTED | {name: 1}] * 2))] == [
        {name: 1}
    ] * 2
    assert not decoder._strict.extra


def test_learning_is_bounded() -> None:
    """A service that sends a new field in every row is read as before, and the decoder does not grow with it."""
    decoder = PageDecoder(listed_rows())
    rows = [LISTED | {f"field_{number}": number} for number in range(3 * MOST_LEARNED)]

    unmapped = [json.loads(text) for _, text in read(decoder, body_of(*rows))]

    assert unmapped == [{f"field_{number}": number} for number in range(3 * MOST_LEARNED)]
    assert len(decoder._strict.extra) == MOST_LEARNED


def test_lanes_learn_side_by_side() -> None:
    """Lanes that meet different fields at once lose none of them, and each gets its own rows."""
    decoder, never = PageDecoder(listed_rows()), PageDecoder(listed_rows(), most=0)
    bodies = [body_of(LISTED, *[LISTED | {f"field_{number % 30}": number}] * 3) for number in range(200)]

    with ThreadPoolExecutor(8) as lanes:
        pages = list(lanes.map(lambda body: read(decoder, body), bodies))

    assert pages == [read(never, body) for body in bodies]
    assert decoder._strict.extra == {("", f"field_{number}") for number in range(30)}


# --- rows that break the contract

BROKEN = [
    pytest.param(json.dumps(LISTED | {"name": None}).encode(), id="null"),
    pytest.param(json.dumps(LISTED | {"total_tokens": "12"}).encode(), id="text for a number"),
    pytest.param(json.dumps(LISTED | {"inputs": float("nan")}).encode(), id="NaN"),
    pytest.param(json.dumps(LISTED | {"name": "\ud800"}).encode(), id="lone surrogate"),
    pytest.param(json.dumps(LISTED).encode().replace(b'"name": "x"', b'"name": "a\tb"'), id="control character"),
    pytest.param(json.dumps(LISTED).encode()[:-1] + b', "inputs": ' + b"[" * 9000 + b"]" * 9000 + b"}", id="depth"),
    pytest.param(json.dumps(LISTED).encode()[:-1] + b', "inputs": nul}', id="half a word"),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_row_costs_no_other_its_fast_decoding(broken: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It alone is read member by member; its page is cut, and its neighbours decode in one call each."""
    decoder = PageDecoder(listed_rows())
    row = json.dumps(LISTED | {"surprise": "\\ [,] {"}).encode()
    decoder.read(b"[" + row + b"]")
    slow = slow_rows(decoder, monkeypatch)

    page = decoder.decode(b"[" + b" , ".join([*[row] * 10, broken, *[row] * 10]) + b"]", archived=False)

    assert slow == [broken]
    assert (len(page.rows), len(page.rejects)) == (20, 1)
    assert {each.unmapped for each in page.rows} == {json.dumps({"surprise": "\\ [,] {"}).replace(": ", ":").encode()}
