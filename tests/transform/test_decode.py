"""What becomes of a row that fits the contract, of one that nearly does, and of one that does not."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annolake.keys import key_of
from annolake.transform.decode import PageDecoder, runs_decoder
from annolake.transform.json_cut import split_object
from annolake.transform.json_text import joined
from annolake.transform.queue_row import decode_queue
from annolake.transform.row_batch import Page, Reject

KEY = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
REQUIRED = {
    "name": "n",
    "run_type": "llm",
    "trace_id": "t",
    "dotted_order": "d",
    "id": "i",
    "status": "success",
    "session_id": "s",
    "app_path": "/a",
    "queue_run_id": KEY,
}


def text(**fields: Any) -> str:
    """Return a row's JSON text with the required fields and these."""
    return json.dumps(REQUIRED | fields)


def decode(*rows: str | bytes, archived: bool = False) -> Page:
    """Decode a page of these rows."""
    texts = [row if isinstance(row, bytes) else row.encode() for row in rows]
    return runs_decoder().decode(b"[" + b", ".join(texts) + b"]", archived=archived)


def with_raw(field: str, value: bytes) -> bytes:
    """Return a row in which a field's value is this very text."""
    return text(**{field: "HERE"}).encode().replace(b'"HERE"', value)


BROKEN = [
    pytest.param(text(name="\ud800"), "$.name", "lone surrogate", id="lone surrogate in text"),
    pytest.param(text(tags=["\udfff"]), "$.tags", "lone surrogate", id="lone surrogate in a list"),
    pytest.param(text(total_tokens=2**70), "$.total_tokens", "Expected `int`", id="70 bits"),
    pytest.param(text(total_tokens=-(2**63) - 1), "$.total_tokens", "Expected `int`", id="64 bits and a sign"),
    pytest.param(text(total_tokens="12"), "$.total_tokens", "got `str`", id="text for a number"),
    pytest.param(text(prompt_token_details={"a": 2**64}), "$.prompt_token_details", "int", id="bits in a map"),
    pytest.param(text(name=None), "$.name", "Expected `str`, got `null`", id="required and null"),
    pytest.param(text(total_cost="0.1234567890123456789"), "$.total_cost", "18 decimals", id="19 decimals"),
    pytest.param(text(total_cost="1e20"), "$.total_cost", "20 digits", id="21 digits"),
    pytest.param(text(total_cost="NaN"), "$.total_cost", "not an amount", id="cost is no number"),
    pytest.param(text(total_cost="Infinity"), "$.total_cost", "not an amount", id="cost without end"),
    pytest.param(text(total_cost="free"), "$.total_cost", "Invalid decimal", id="cost in words"),
    pytest.param(text(prompt_cost_details={"a": "1e-19"}), "$.prompt_cost_details", "18 decimals", id="in a map"),
    pytest.param(text(added_at="yesterday"), "$.added_at", "Invalid RFC3339", id="time in words"),
    pytest.param(text(added_at="0001-01-01T00:00:00+05:00"), "$.added_at", "years 1 to 9999", id="year 0"),
    pytest.param(text(inputs={"x": float("nan")}), "$.inputs", "not JSON", id="NaN in JSON"),
    pytest.param(text(surprise=float("inf")), "$.surprise", "not JSON", id="Infinity in an unknown field"),
    pytest.param(with_raw("outputs", b"[" * 9000 + b"]" * 9000), "$.outputs", "nested too deeply", id="depth"),
    pytest.param(with_raw("inputs", b'{"x": "\xff"}'), "$", "not UTF-8", id="no UTF-8"),
    pytest.param(json.dumps({**REQUIRED, "trace_id": ...}, default=lambda _: 5), "$.trace_id", "int", id="int id"),
    pytest.param("7", "$", "not a JSON object", id="no object"),
    pytest.param("[]", "$", "not a JSON object", id="a list"),
]


@pytest.mark.parametrize(("row", "path", "reason"), BROKEN)
def test_a_broken_row_is_set_aside_alone(row: str | bytes, path: str, reason: str) -> None:
    """Its neighbours go through, and the reject says where and why without quoting the value."""
    neighbour = text(queue_run_id="00000000-0000-4000-8000-000000000001")

    page = decode(neighbour, row, neighbour)

    assert len(page.rows) == 2
    assert len(page.keys) == 3
    (reject,) = page.rejects
    assert reject.path.startswith(path)
    assert reason in reject.reason
    assert page.keys[1] == reject.key


@pytest.mark.parametrize(("row", "path", "reason"), BROKEN)
def test_a_compact_row_gives_the_same_reject(row: str | bytes, path: str, reason: str) -> None:
    """What is found at the first look at a compact row is what a closer look at another finds."""
    del path, reason
    text = row if isinstance(row, bytes) else row.encode()
    cut = split_object(text) if text.startswith(b"{") and text.endswith(b"}") else None
    compact = joined(cut.pairs) if cut else text

    (reject,), (other,) = decode(compact).rejects, decode(compact.replace(b"{", b"{ ", 1)).rejects

    assert reject == other


def test_the_same_is_found_of_a_row_broken_twice() -> None:
    """What cannot be read at all comes before what does not fit, in a compact row as in another."""
    row = text(name=None, inputs={"x": float("nan")}, queue_run_id=KEY)
    compact = json.dumps(json.loads(row), separators=(",", ":"))

    assert [(reject.path, reject.reason) for reject in decode(row, compact).rejects] == [("$.inputs", "not JSON")] * 2


DROPPED = [
    '{"queue_run_id":"q","share_token":null,"inputs":{"share_token":null}}',
    '{"queue_run_id":"q","inputs":{"share_token":null},"share_token":null}',
    '{"share_token":"abc","queue_run_id":"q","inputs":{}}',
    '{"queue_run_id":"q","inputs":{},"share_token":"abc"}',
    '{"share_token":"abc"}',
]


@pytest.mark.parametrize("row", DROPPED)
def test_a_reject_has_nothing_that_is_dropped(row: str) -> None:
    """Wherever it stands, and whatever else has the same text."""
    (reject,) = decode(row).rejects

    assert json.loads(reject.text) == {name: value for name, value in json.loads(row).items() if name != "share_token"}


def test_a_missing_required_field_is_named() -> None:
    """The reject's path is the field that is not there."""
    row = {name: value for name, value in REQUIRED.items() if name != "dotted_order"}

    (reject,) = decode(json.dumps(row)).rejects

    assert (reject.path, reject.queue_run_id) == ("$.dotted_order", KEY)
    assert "missing" in reject.reason


def test_a_reject_whose_id_cannot_be_read_has_a_key_of_its_content() -> None:
    """Two different unreadable rows are two rejects, the same one twice is one."""
    page = decode(text(queue_run_id=1), text(queue_run_id=2), text(queue_run_id=1))

    first, second, again = page.rejects
    assert first.queue_run_id is None
    assert first.key == again.key != second.key


def test_rejects_hold_no_secret() -> None:
    """Neither share token nor signature is in a reject's text, however they are written."""
    row = text(total_tokens="x", share_token="tok-secret", inputs_s3_urls={"ROOT": "https://h/p?sig=secret"})
    escaped = row.replace('"share_token"', '"share\\u005ftoken"').replace("?sig", "\\u003fsig")
    loose = json.dumps("https://h/p?sig=secret")
    nested = json.dumps([{"share_token": "secret", "a": 1}])

    page = decode(row, escaped, loose, nested)

    assert len(page.rejects) == 4
    assert not any("secret" in reject.text for reject in page.rejects)


def test_a_reject_loses_signatures_of_any_spelling_in_the_url_columns() -> None:
    """What would be text elsewhere is an address there."""
    page = decode(text(total_tokens="x", s3_urls={"ROOT": "p?secret"}, inputs={"q": "p?word"}))

    (reject,) = page.rejects
    assert "secret" not in reject.text
    assert "p?word" in reject.text


def test_a_page_cut_off_is_no_page() -> None:
    """A truncated body raises, so that the client asks again, and never passes for a shorter page."""
    body = f"[{text()}, {text()}]".encode()

    for end in (0, 1, 40, len(body) - 1):
        with pytest.raises(ValueError, match="expected|brackets"):
            runs_decoder().decode(body[:end], archived=False)


def test_unknown_fields_are_kept_as_sent() -> None:
    """Their text, nested and with odd numbers, is in `unmapped`; signatures in it are not."""
    page = decode(with_raw("zeta", b'{"b": 1.10, "a": [1e5]}'), text(link={"u": "https://h/p?sig=1"}))

    assert [each.unmapped for each in page.rows] == [
        b'{"zeta":{"b": 1.10, "a": [1e5]}}',
        b'{"link":{"u": "https://h/p"}}',
    ]
    assert not page.rejects


def test_a_lone_surrogate_in_a_json_column_is_kept_as_text() -> None:
    """The escape is plain text there, so nothing is lost and the row goes through."""
    page = decode(text(inputs={"x": "\ud800"}, name="ok"))

    assert not page.rejects
    assert bytes(page.rows[0].row.inputs) == b'{"x": "\\ud800"}'
    assert page.rows[0].row.name == "ok"


def test_times_without_a_zone_are_utc() -> None:
    """A time is the same instant in UTC, whatever zone it was written in; one without a zone is in UTC."""
    page = decode(
        text(added_at="1970-01-02T00:30:00"),
        text(added_at="1970-01-02T00:30:00+01:00"),
        text(added_at="1969-12-31T23:00:00Z"),
        text(),
    )

    assert [each.row.added_at and each.row.added_at.isoformat() for each in page.rows] == [
        "1970-01-02T00:30:00+00:00",
        "1970-01-01T23:30:00+00:00",
        "1969-12-31T23:00:00+00:00",
        None,
    ]


SAME = [
    ({"added_at": "2026-01-01T00:00:00Z"}, {"added_at": "2026-01-01T01:00:00.000+01:00"}),
    ({"added_at": "2026-01-01T00:00:00Z"}, {"added_at": "2026-01-01T00:00:00"}),
    ({"total_cost": "1.10"}, {"total_cost": "1.1E0"}),
    ({"prompt_cost_details": {"a": "1", "b": "2"}}, {"prompt_cost_details": {"b": "2.0", "a": "1"}}),
    ({"s3_urls": {"a": "https://h/p?sig=1"}}, {"s3_urls": {"a": "https://h/p?sig=2"}}),
    ({"share_token": "a"}, {"share_token": "b"}),
    ({"share_token": "a"}, {}),
    ({"error": None}, {}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_row_written_another_way_has_the_same_hash(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Instants, amounts, key order, signatures and share tokens do not make a row look changed."""
    page = decode(text(**one), text(**other))

    assert page.rows[0].hash == page.rows[1].hash


DIFFERENT: list[dict[str, Any]] = [
    {"total_tokens": 1},
    {"total_cost": "0.000000000000000001"},
    {"inputs": {"a": 1.0}},
    {"inputs": {"a": 1.00001}},
    {"surprise": 1},
    {"surprise": 2},
    {"reserved_by": []},
    {"tags": ["a"]},
    {"prompt_token_details": {}},
    {"end_time": "2026-01-01T00:00:00.000001Z"},
]


def test_every_change_of_a_row_changes_its_hash() -> None:
    """Typed values, JSON text, unknown fields and the list it is in all count."""
    rows = [text(), *(text(**fields) for fields in DIFFERENT)]
    active, archived = decode(*rows), decode(*rows, archived=True)

    assert len({each.hash for each in (*active.rows, *archived.rows)}) == 2 * len(rows)


def test_keys_are_the_ids_in_order() -> None:
    """A page tells paging the key of every element in the order of the answer."""
    ids = ["00000000-0000-4000-8000-00000000000a", "not a uuid", KEY]

    page = decode(*(text(queue_run_id=each) for each in ids))

    assert page.keys == [key_of(each) for each in ids]
    assert [each.key for each in page.rows] == page.keys
    assert all(len(key) == 16 for key in page.keys)


def test_costs_are_exact() -> None:
    """Exponent forms and 18 decimals keep their value to the last digit."""
    row = decode(text(total_cost="12345678901234567890.123456789012345678", prompt_cost="1E-18")).rows[0].row

    assert row.total_cost == Decimal("12345678901234567890.123456789012345678")
    assert row.prompt_cost == Decimal("0.000000000000000001")


def test_a_queue_s_record_is_a_row_with_its_hash() -> None:
    """What the contract does not know is kept beside it and counts; the order of fields does not."""
    record = decode_queue(b'{"id": "q", "name": "n", "later": 1.0}')
    again = decode_queue(b'{"later": 1.0, "name": "n", "id": "q"}')

    assert (record.row.name, record.unmapped) == ("n", b'{"later":1.0}')
    assert (again.unmapped, again.hash) == (record.unmapped, record.hash)
    assert decode_queue(b'{"id": "q", "name": "m", "later": 1.0}').hash != record.hash
    assert decode_queue(b'{"id": "q", "name": "n", "later": 2.0}').hash != record.hash
    with pytest.raises(ValueError, match="not a JSON object"):
        decode_queue(b"[]")


def test_a_page_that_fits_counts_its_bytes_and_keys() -> None:
    """A page has the size of its answer, and of each row its key, its hash and no unknown fields."""
    body = f"[{text()}, {text(queue_run_id='other')}]".encode()

    page = runs_decoder().decode(body, archived=True)

    assert (page.size, page.rejects) == (len(body), [])
    assert page.keys == [each.key for each in page.rows] == [key_of(KEY), key_of("other")]
    assert [(each.archived, each.unmapped, len(each.hash)) for each in page.rows] == [(True, None, 16)] * 2


def test_pages_can_be_put_together() -> None:
    """Rows, rejects and bytes of the page that follows come behind those of the first."""
    first, second = decode(text(), text(name=None)), decode(text(surprise=1))
    whole = decode(text(), text(name=None), text(surprise=1))
    size = first.size + second.size

    first.append(second)

    versions = [[(each.key, each.hash, each.unmapped) for each in page.rows] for page in (first, whole)]
    assert (first.keys, versions[0], first.rejects) == (whole.keys, versions[1], whole.rejects)
    assert (first.size, len(first.rows)) == (size, 2)


def test_the_same_elements_can_be_read_one_by_one() -> None:
    """`read` returns of each element the row and its unknown fields, or the reject."""
    body = f"[{text()}, {text(name=None)}, {text(surprise=1)}]".encode()
    sound, broken, odd = runs_decoder().read(body)

    assert isinstance(sound, tuple)
    assert isinstance(broken, Reject)
    assert isinstance(odd, tuple)
    assert (sound[0].queue_run_id, sound[1]) == (KEY, None)
    assert (broken.path, broken.queue_run_id, broken.key) == ("$.name", KEY, key_of(KEY))
    assert (odd[0].queue_run_id, odd[1]) == (KEY, b'{"surprise":1}')
    (alone,) = runs_decoder().read(f"[{text()}]".encode())
    assert not isinstance(alone, Reject)
    assert (alone[0].queue_run_id, alone[1]) == (KEY, None)


ROWS = st.one_of(
    st.just(text()),
    st.just(text(total_cost="0.5", added_at="2026-01-01T00:00:00+01:00")),
    st.sampled_from([broken.values[0] for broken in BROKEN]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, max_size=30))
def test_a_row_becomes_the_same_alone_and_in_any_page(rows: list[Any]) -> None:
    """Wherever it stands, and whichever others are broken."""
    texts = [row if isinstance(row, bytes) else row.encode() for row in rows]
    body = b"[" + b",".join(texts) + b"]"
    items = b'{"items":' + body + b"}"

    pages = [runs_decoder().read(body), runs_decoder().read_answer(items)[0]]

    alone = [element for text in texts for element in runs_decoder().read(b"[" + text + b"]")]
    assert [msgspec.json.encode(page, enc_hook=bytes) for page in pages] == [
        msgspec.json.encode(alone, enc_hook=bytes)
    ] * 2


@pytest.mark.parametrize("before", range(4))
def test_a_character_on_the_border_of_a_megabyte_is_read(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is checked piece by piece, no character is torn in two by it, and the page is decoded in one call."""
    start = 1 + text(inputs="HERE").encode().index(b"HERE")
    padding = "x" * ((1 << 20) - start - before)
    row = text(inputs="HERE").replace("HERE", f"{padding}\U0001f600")

    monkeypatch.setattr(PageDecoder, "_read_each", lambda *_: pytest.fail("the page was not decoded in one call"))
    page = runs_decoder().decode(f"[{row}]".encode(), archived=False)

    assert bytes(page.rows[0].row.inputs).decode() == f'"{padding}\U0001f600"'


def test_bytes_that_are_no_text_beyond_a_megabyte_cost_their_row_alone() -> None:
    """The second piece is checked like the first."""
    torn = with_raw("inputs", b'"' + b"x" * (1 << 20) + b'\xff"')

    page = decode(text(), torn)

    assert [reject.reason for reject in page.rejects] == ["not UTF-8 text"]
    assert len(page.rows) == 1
