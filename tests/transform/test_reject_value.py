"""The value that a reject is about, by the path in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annolake.sandbox import Population, Sandbox
from annolake.transform.decode import runs_decoder
from annolake.transform.reject_value import SHOWN, RejectedRow

ROW = r"""{
 "name": "\ud800", "total_cost": 1.10, "tags": ["a", "b,]", {"c": [ 4, 5 ]}, 6], "x": {"k": {"raw": 7}},
 "twice": 1, "twice": 2, "a.b[0]": "odd", "é\n": 8, "deep": {"list": [[1], [2, 3]]}, "empty": {}, "nothing": null
}"""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.name", r'"\ud800"'),
        ("$.total_cost", "1.10"),
        ("$.tags[3]", "6"),
        ("$.tags[1]", '"b,]"'),
        ("$.tags[2].c", "[ 4, 5 ]"),
        ("$.x[...]", '{"k": {"raw": 7}}'),
        ("$.x[...].raw", '{"k": {"raw": 7}}'),
        ("$.deep.list[1][0]", "2"),
        ("$.twice", "2"),
        ("$.a.b[0]", '"odd"'),
        ("$.\\xe9\n", "8"),
        ("$.nothing", "null"),
        ("$.empty[...]", "{}"),
    ],
)
def test_a_value_is_shown_as_it_was_sent(path: str, value: str) -> None:
    """Numbers, spaces and escapes as they are; of a key that is not named the whole map."""
    assert RejectedRow(ROW).shown(path) == value


@pytest.mark.parametrize(
    "path",
    [
        *("$.missing", "$.tags[4]", "$.tags[-1]", "$.tags[99999999999]", "$.name.more", "$.name[0]", "$.missing[...]"),
        *("", "name", "$name", "$.", "$..name", "$.tags[", "$.tags[x]", "key` in `$.x", "$.run.name.more"),
    ],
)
def test_what_is_not_there_has_no_value(path: str) -> None:
    """A field that is missing, and a path that is none."""
    assert RejectedRow(ROW).shown(path) is None


@pytest.mark.parametrize(
    "text", ['"text"', "null", "[1, 2", "words", "{'a': 1}", "", '{"a": 1', '{"\\ud8": 1}', "\ud800"]
)
def test_a_row_of_another_shape_is_shown_whole(text: str) -> None:
    """It has no members; what no terminal can hold is escaped."""
    row = RejectedRow(text)

    assert row.shown("$") == text.encode(errors="backslashreplace").decode()
    assert (row.shown("$.a"), row.text_of("a")) == (None, None)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('{"id": "1", "name": 5}', "$.run.name", "5"),
        ('{"id": "1", "costs": {"raw": {"a": "b"}}}', "$.run.costs.raw[...]", '{"a": "b"}'),
        ('{"id": "1"}', "$.run", '{"id": "1"}'),
        ('{"id": "1"}', "$.run.id.run", None),
        ('{"run": {"name": 5}}', "$.run", '{"name": 5}'),
        ('{"runner": 5}', "$.runner", "5"),
    ],
)
def test_a_path_into_a_run_is_followed_in_its_text(text: str, path: str, value: str | None) -> None:
    """Over items the text of a run that does not fit is the run's; a field of that name goes before."""
    assert RejectedRow(text).shown(path) == value


@pytest.mark.parametrize("padding", [70, 76, 77, 78, 79, 80, 1_000_000])
def test_a_long_value_is_cut(padding: int) -> None:
    """After 80 characters, and only then."""
    text = '"' + "é" * padding + '"'
    shown = RejectedRow(f'{{"inputs": {text}}}').shown("$.inputs")

    assert shown == (text if padding + 2 <= SHOWN else text[:SHOWN] + "...")


def test_a_value_is_without_secrets() -> None:
    """Also where the row's text had some, and where they stand behind the place at which it is cut."""
    url = "https://bucket.example/x?X-Amz-Signature=5ignatur3"
    row = RejectedRow(json.dumps({"name": url, "x": {"share_token": "5ecret"}, "y": "a " * 35 + url}))

    assert row.shown("$.name") == '"https://bucket.example/x"'
    assert row.shown("$.x") == '{"share_token": null}'
    assert "5ig" not in f"{row.shown('$.y')}{row.shown('$')}"


def test_members_that_are_texts() -> None:
    """Anything else is none."""
    row = RejectedRow(r'{"a": "/o/\u0031", "b": 1, "c": null, "d": NaN, "e": "\ud800"}')

    assert [row.text_of(name) for name in "abcdef"] == ["/o/1", None, None, None, "\ud800", None]
    assert RejectedRow('{"deep": ' + "[" * 100_000 + "]" * 100_000 + "}").text_of("deep") is None


def test_a_megabyte_of_brackets_is_no_trouble() -> None:
    """Depth costs no stack."""
    row = RejectedRow('{"deep": ' + "[" * 500_000 + "]" * 500_000 + "}")

    assert row.shown("$.deep[0][0]") == "[" * SHOWN + "..."


@given(
    st.one_of(
        st.text(),
        st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(json.dumps),
    ),
    st.one_of(st.text(), st.from_regex(r"\A\$([.\[][a-z0-9.\]]{0,5}){0,4}\Z")),
)
def test_no_text_and_no_path_raise(text: str, path: str) -> None:
    """Whatever both are."""
    row = RejectedRow(text)
    shown = row.shown(path)

    assert shown is None or len(shown) <= SHOWN + len("...")
    assert row.text_of(path) is None or isinstance(row.text_of(path), str)


def test_each_reject_of_odd_rows_leads_to_its_value() -> None:
    """What decoding says of a broken field is found again in the text that it keeps."""
    with Sandbox(Population(rows=20, odd=False, days=2), seed=8) as sandbox:
        row = json.loads(sandbox.queue().rows("active")[3].text)
    broken = {
        "name": 5,
        "tags": ["a", 6],
        "total_tokens": 2**69,
        "total_cost": "0.0000000000000000001",
        "start_time": "0001-01-01T00:00:00+14:00",
        "prompt_token_details": {"cache_read": "many"},
        "prompt_cost_details": {"cache_read": 1e-30},
        "completed_by": ["a", None],
    }
    for field, value in broken.items():
        page = runs_decoder().decode(json.dumps([{**row, field: value}]).encode(), archived=False)
        (reject,) = page.rejects
        whole = json.dumps(value)

        assert reject.path.startswith(f"$.{field}")
        assert RejectedRow(reject.text).shown(reject.path) in {
            whole,
            *(json.dumps(part) for part in (value if isinstance(value, list) else [])),
        }, field
