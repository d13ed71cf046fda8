"""What the sandbox holds: valid by the contract, the same for a seed, and as odd as promised."""

import json
import re
from collections import Counter
from datetime import datetime
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from annolake.sandbox import Population, Row, Sandbox

CONTRACT = Path(__file__).parents[2] / "schemas" / "api" / "get-runs-from-annotation-queue.openapi.yaml"


KINDS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


@cache
def _row_schema() -> dict[str, Any]:
    document = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    schemas: dict[str, Any] = document["components"]["schemas"]
    return schemas


def _problems(schema: dict[str, Any], value: Any, where: str) -> list[str]:
    """Check a value by the document's own types; enumerations are open, times may lack a zone."""
    if "$ref" in schema:
        return _problems(_row_schema()[schema["$ref"].rsplit("/", 1)[1]], value, where)
    if "anyOf" in schema:
        found = [_problems(option, value, where) for option in schema["anyOf"]]
        return [] if [] in found else found[0]
    if not isinstance(value, KINDS[schema["type"]]) or (schema["type"] == "integer" and value is True):
        return [f"{where} is no {schema['type']}"]
    wrong = [f"{where} lacks {name}" for name in schema.get("required", ()) if name not in value]
    if schema["type"] == "string":
        wrong += _format_problems(schema.get("format"), value, where)
    if schema["type"] == "integer" and value < schema.get("minimum", value):
        wrong.append(f"{where} is too small")
    if schema["type"] == "array":
        wrong += [p for i, one in enumerate(value) for p in _problems(schema["items"], one, f"{where}[{i}]")]
    if schema["type"] == "object":
        wrong += _member_problems(schema, value, where)
    return wrong


def _member_problems(schema: dict[str, Any], value: dict[str, Any], where: str) -> list[str]:
    other = schema.get("additionalProperties")
    wrong = []
    for name, member in value.items():
        known = schema.get("properties", {}).get(name) or (other if isinstance(other, dict) else None)
        wrong += _problems(known, member, f"{where}.{name}") if known else []
    return wrong


def _format_problems(form: str | None, value: str, where: str) -> list[str]:
    try:
        if form == "uuid":
            assert str(UUID(value)) == value
        if form == "date-time":
            datetime.fromisoformat(value)
    except (ValueError, AssertionError):
        return [f"{where} is no {form}"]
    return []


def _all_rows(sandbox: Sandbox) -> list[Row]:
    return [row for section in ("active", "archived") for row in sandbox.queue().rows(section)]


@pytest.fixture(scope="module")
def odd_rows() -> list[Row]:
    """Return the rows of the sandbox as a user starts it."""
    return _all_rows(Sandbox())


@pytest.fixture(scope="module")
def odd_values(odd_rows: list[Row]) -> list[dict[str, Any]]:
    """Return the same rows, decoded."""
    return [row.value() for row in odd_rows]


@pytest.mark.parametrize("seed", [1, 2, 71])
@pytest.mark.parametrize("odd", [True, False])
def test_every_row_keeps_the_contract(seed: int, *, odd: bool) -> None:
    """Odd or ordinary, no row breaks the OpenAPI document's types, formats and required fields."""
    schema = _row_schema()["RunSchemaWithAnnotationQueueInfo"]

    for row in _all_rows(Sandbox(Population(odd=odd, rows=600), seed=seed)):
        assert _problems(schema, row.value(), "row") == []


def test_the_check_itself_finds_what_breaks_the_contract() -> None:
    """A missing required field, a null where none may be, a bad id and a bad time are told apart."""
    schema = _row_schema()["RunSchemaWithAnnotationQueueInfo"]
    value = _all_rows(Sandbox(Population(rows=1, odd=False)))[0].value()
    del value["name"]
    value |= {"id": "x", "added_at": "yesterday", "reserved_by": None, "total_tokens": True}

    assert _problems(schema, value, "row") == [
        "row lacks name",
        "row.id is no uuid",
        "row.total_tokens is no integer",
        "row.added_at is no date-time",
        "row.reserved_by is no array",
    ]


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Key, queues, order and every byte of every row follow from the seed alone."""
    one, two, other = (
        Sandbox(Population(rows=80, queues=2)),
        Sandbox(Population(rows=80, queues=2)),
        Sandbox(Population(rows=80), seed=2),
    )

    assert (one.api_key, one.tenant_id, one.queue_ids) == (two.api_key, two.tenant_id, two.queue_ids)
    assert [row.text for row in _all_rows(one)] == [row.text for row in _all_rows(two)]
    assert not {row.id for row in _all_rows(one)} & {row.id for row in _all_rows(other)}
    assert one.api_key != other.api_key


def test_row_ids_are_unique_across_queues() -> None:
    """No two rows of a sandbox share an id, nor do their runs."""
    sandbox = Sandbox(Population(rows=400, queues=3))
    rows = [row for queue_id in sandbox.queue_ids for row in sandbox.queue(queue_id).rows("active")]

    assert len({row.id for row in rows}) == len({row.run_id for row in rows}) == len(rows) == 3 * 280


def test_1500_odd_rows_are_about_15_megabytes(odd_rows: list[Row]) -> None:
    """Payloads run from less than 2 kB to half a megabyte, and the whole stays handy."""
    sizes = sorted(len(row.text) for row in odd_rows)

    assert sizes[0] < 3_000
    assert sizes[-1] > 450_000
    assert 9_000_000 < sum(sizes) < 20_000_000


def test_every_optional_field_is_also_absent_and_null_wherever_it_may_be(odd_values: list[dict[str, Any]]) -> None:
    """A field that need not be there is sometimes not, one that may be null sometimes is, none always."""
    schema = _row_schema()["RunSchemaWithAnnotationQueueInfo"]
    for name, field in schema["properties"].items():
        absent = sum(name not in value for value in odd_values)
        null = sum(name in value and value[name] is None for value in odd_values)
        nullable = {"type": "null"} in field.get("anyOf", ())

        assert (absent > 0) is (name not in schema["required"]), name
        assert (null > 0) is nullable, name
        assert absent + null < len(odd_values), name


def test_every_list_and_map_is_also_empty(odd_values: list[dict[str, Any]]) -> None:
    """Empty lists and maps are sent beside null ones."""
    empty = {name for value in odd_values for name, member in value.items() if member in ([], {})}

    assert empty >= {
        *("inputs", "outputs", "extra", "serialized", "events", "messages", "feedback_stats", "s3_urls", "tags"),
        *("inputs_s3_urls", "outputs_s3_urls", "child_run_ids", "direct_child_run_ids", "parent_run_ids"),
        *("prompt_token_details", "completion_token_details", "prompt_cost_details", "completion_cost_details"),
        *("reserved_by", "completed_by"),
    }


def test_times_are_written_in_every_way(odd_values: list[dict[str, Any]]) -> None:
    """With Z, with other offsets, without a zone; with microseconds, with milliseconds, with neither."""
    texts = [value["added_at"] for value in odd_values if value.get("added_at")]
    zones = Counter(re.sub(r"^.*?\d{2}:\d{2}:\d{2}(\.\d+)?", "", text) for text in texts)
    fractions = {len(found[1]) if (found := re.search(r"\.(\d+)", text)) else 0 for text in texts}

    assert set(zones) == {"Z", "+00:00", "+05:30", "-08:00", ""}
    assert fractions == {0, 3, 6}


def test_some_local_dates_differ_from_the_utc_date(odd_values: list[dict[str, Any]]) -> None:
    """An added_at with an offset may fall on another day in UTC."""
    texts = [value["added_at"] for value in odd_values if value.get("added_at")]

    assert any(
        at.tzinfo is not None and at.utctimetuple()[:3] != at.timetuple()[:3]
        for at in map(datetime.fromisoformat, texts)
    )


def test_costs_are_exact_decimals_of_every_form(odd_values: list[dict[str, Any]]) -> None:
    """Exponents, 18 decimals, zeros and negatives, none of them too wide for 38 digits with 18 decimals."""
    costs = [
        cost
        for value in odd_values
        for name in ("total_cost", "prompt_cost", "completion_cost")
        if (cost := value.get(name)) is not None
    ]

    assert {"1.5E-7", "1e-18", "0.123456789012345678", "0E-10", "-0.0125", "1E+3"} <= set(costs)
    with localcontext(prec=60):
        for cost in costs:
            assert abs(Decimal(cost)) < Decimal(10) ** 20
            assert Decimal(cost) == Decimal(cost).quantize(Decimal("1e-18"))


def test_texts_hold_unicode_and_control_characters(odd_rows: list[Row]) -> None:
    """NUL and other controls, text beyond the first plane, both as themselves and as escapes."""
    names = {row.value()["name"] for row in odd_rows}

    assert any("\x00" in name for name in names)
    assert any("\x1f" in name for name in names)
    assert any("\U0001f600" in name for name in names)
    assert any("\u2028" in name for name in names)
    assert "" in names
    assert any(b"\\ud83d\\ude00" in row.text for row in odd_rows)
    assert any("\U0001f600".encode() in row.text for row in odd_rows)
    assert any(b"\\u0000" in row.text for row in odd_rows)


def test_numbers_in_payloads_have_texts_that_floats_would_lose(odd_rows: list[Row]) -> None:
    """1.10, thirty digits and an exponent stand in some payloads as they are."""
    assert any(b"[1.10, 1E-7, -0.0, 123456789012345678901234567890," in row.text for row in odd_rows)


def test_enumerations_are_open_and_unknown_fields_come(odd_values: list[dict[str, Any]]) -> None:
    """Values and fields, nested ones too, that the contract does not name are among the rows."""
    known = _row_schema()["RunSchemaWithAnnotationQueueInfo"]["properties"]
    run_types = {value["run_type"] for value in odd_values}

    assert run_types - set(_row_schema()["RunTypeEnum"]["enum"]) == {"agent"}
    assert "glacial" in {value.get("trace_tier") for value in odd_values}
    assert "interrupted" in {value["status"] for value in odd_values}
    assert {name for value in odd_values for name in value} - set(known) == {
        *("reviewer_notes", "x_weights", "priority", "share_url")
    }


def test_the_contract_of_62_fields_is_all_used(odd_values: list[dict[str, Any]]) -> None:
    """Every field of the contract has a value in some row."""
    known = _row_schema()["RunSchemaWithAnnotationQueueInfo"]["properties"]
    used = {name for value in odd_values for name, member in value.items() if member is not None}

    assert len(known) == 62
    assert used >= set(known)


def test_offloaded_payloads_leave_null_or_nothing_and_a_signed_url(odd_values: list[dict[str, Any]]) -> None:
    """A large payload is behind a presigned URL under ROOT, and inputs or outputs are null or empty."""
    for name in ("inputs", "outputs"):
        offloaded = [value for value in odd_values if (value.get(f"{name}_s3_urls") or {}).get("ROOT")]

        assert {json.dumps(value[name]) for value in offloaded} == {"null", "{}"}
        urls = [value[f"{name}_s3_urls"]["ROOT"]["presigned_url"] for value in offloaded]
        assert all("Signature=" in url for url in urls)
        assert {url.partition(":")[0].partition("?")[0] for url in urls} == {"https", "/api/v1/public/download"}


def test_there_are_share_tokens_and_rows_without_added_at(odd_values: list[dict[str, Any]]) -> None:
    """Both kinds of row that need care are among 1,500; who has the token may be told by a link as well."""
    assert sum(value.get("share_token") is not None for value in odd_values) > 50
    assert all(("share_url" in value) == (value.get("share_token") is not None) for value in odd_values)
    assert sum("added_at" not in value for value in odd_values) > 10
    assert sum("added_at" in value and value["added_at"] is None for value in odd_values) > 10


def test_the_last_parent_is_the_parent(odd_values: list[dict[str, Any]]) -> None:
    """What the successor endpoint derives a parent from says the same as the old endpoint."""
    children = [value for value in odd_values if value.get("parent_run_id")]

    assert len(children) > 300
    for value in odd_values:
        assert value.get("parent_run_id") == ((value.get("parent_run_ids") or [None])[-1])


def test_ordinary_rows_answer_ordinary_questions() -> None:
    """About 2.5 kB each, all 62 fields there, costs that add up; models, reviews and cache hits vary."""
    rows = _all_rows(Sandbox(Population(rows=1000, odd=False)))
    values = [row.value() for row in rows]
    known = set(_row_schema()["RunSchemaWithAnnotationQueueInfo"]["properties"])
    reviewed = [value for value in values if value["completed_by"]]

    assert 2_300 < sum(len(row.text) for row in rows) / len(rows) < 2_900
    assert all(set(value) == known for value in values)
    for value in values:
        parts = Decimal(value["prompt_cost"]) + Decimal(value["completion_cost"])
        assert Decimal(value["total_cost"]) == parts > 0
        assert value["total_tokens"] == value["prompt_tokens"] + value["completion_tokens"]
    assert len({value["added_at"][:10] for value in values}) >= 20
    assert all(value["last_reviewed_time"] > value["added_at"] for value in reviewed)
    assert all(value["feedback_stats"]["helpfulness"]["n"] for value in reviewed)
    assert 0.2 < sum("cache_read" in value["prompt_token_details"] for value in values) / len(values) < 0.8
    assert len({value["extra"]["metadata"].get("ls_model_name") for value in values}) == 5


def test_payload_kb_makes_heavy_rows_that_share_their_memory() -> None:
    """Rows of 300 kB differ from each other, but their large part is held once for many."""
    rows = _all_rows(Sandbox(Population(rows=200, odd=False, payload_kb=300)))

    assert all(300_000 < len(row.text) < 304_000 for row in rows)
    assert len({row.text for row in rows}) == 200
    assert len({id(row.parts[1]) for row in rows}) <= 64


@pytest.mark.parametrize("odd", [True, False])
def test_order_is_by_time_of_adding_and_repeatable(*, odd: bool) -> None:
    """Oldest first is the reverse of newest first but for ties; unsorted is neither, and always the same."""
    lists = {
        order: Sandbox(Population(rows=300, odd=odd, order=order)).queue().rows("active")
        for order in ("oldest_first", "newest_first", "unsorted")
    }
    oldest, newest, unsorted_ = (lists[order] for order in ("oldest_first", "newest_first", "unsorted"))

    assert [row.key for row in oldest] == sorted(row.key for row in oldest)
    assert [row.key for row in newest] == [row.key for row in reversed(oldest)]
    assert [row.key for row in unsorted_] not in ([r.key for r in oldest], [r.key for r in newest])
    assert {row.id for row in oldest} == {row.id for row in newest} == {row.id for row in unsorted_}
    assert len({row.key for row in oldest}) < len(oldest), "some rows came together"
