"""Rows come back from a Parquet file as the service sent them, as polars reads it and as DuckDB does."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import openapi_rows
import oracle
from annolake import contract
from annolake.transform.decode import PageDecoder, listed_rows, runs_decoder
from annolake.transform.flatten import flatten
from annolake.transform.queue_row import decode_queue
from annolake.transform.row_batch import Page

EXPORTED_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def batch_of(page: Page) -> pa.RecordBatch:
    """Flatten a page of the runs listing."""
    return flatten(contract.RUNS, page.rows, exported_at=EXPORTED_AT, endpoint="runs")


def read_back(batch: pa.RecordBatch, path: Path) -> list[list[dict[str, Any]]]:
    """Write a batch as a Parquet file and return its rows as polars and as DuckDB read them."""
    pq.write_table(pa.Table.from_batches([batch]), path)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        relation = connection.sql(f"SELECT * FROM read_parquet('{path}')")
        rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    return [pl.read_parquet(path).to_dicts(), rows]


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(sent=st.lists(openapi_rows.rows(), min_size=1, max_size=4))
def test_export_and_read_back_is_the_input(sent: list[dict[str, Any]], tmp_path: Path) -> None:
    """Any rows of the OpenAPI document's types are in the file, field by field, exactly."""
    texts = [openapi_rows.as_text(row) for row in sent]
    page = runs_decoder().decode(b"[" + b",".join(texts) + b"]", archived=False)
    heard = [json.loads(text, parse_float=Decimal) for text in texts]

    assert not page.rejects
    for stored in read_back(batch_of(page), tmp_path / "rows.parquet"):
        for row, wanted in zip(map(oracle.parsed, stored), heard, strict=True):
            assert {name: row[name] for name in oracle.expected(wanted)} == oracle.expected(wanted)
            assert {name: row[name] for name in oracle.flattened(wanted)} == oracle.flattened(wanted)
            assert row["unmapped"] == oracle.unknown(wanted)


def test_json_columns_hold_the_text_as_sent(tmp_path: Path) -> None:
    """Spaces, number forms, repeated names, escapes and key order of a payload are untouched."""
    payload = b'{ "b" : 1.10, "a":1E5,"a":2,  "\\u00e9\\/": [ ] }'
    required = json.dumps(dict.fromkeys(oracle.REQUIRED, "x")).encode()
    body = b"[" + required[:-1] + b', "inputs": ' + payload + b', "events": null, "extra": {}}]'

    for rows in read_back(batch_of(runs_decoder().decode(body, archived=False)), tmp_path / "rows.parquet"):
        assert rows[0]["inputs"] == payload.decode()
        assert rows[0]["events"] is None
        assert rows[0]["outputs"] is None
        assert rows[0]["extra"] == "{}"


MODELS = [
    ({"metadata": {"ls_model_name": "a", "ls_provider": "p"}, "invocation_params": {"model": "b"}}, "a", "p"),
    ({"metadata": {"ls_model_name": 3}, "invocation_params": {"model": "b", "model_name": "c"}}, "b", None),
    ({"metadata": [], "invocation_params": {"model_name": "c"}}, "c", None),
    ({"metadata": None}, None, None),
    ([1, 2], None, None),
    ("\ud800", None, None),
    ({"metadata": {"ls_model_name": "a", "note": "\ud800"}, "note": "\udc00"}, "a", None),
    ({"metadata": {"ls_model_name": "\U0001f600"}, "x": "\ud800"}, "\U0001f600", None),
]


@pytest.mark.parametrize(("extra", "model", "provider"), MODELS)
def test_model_and_provider_come_from_whatever_extra_is(extra: Any, model: str, provider: str) -> None:
    """They are found where the contract says, and null, never an error, where `extra` is of another shape."""
    row = dict.fromkeys(oracle.REQUIRED, "x") | {"extra": extra}
    batch = batch_of(runs_decoder().decode(json.dumps([row]).encode(), archived=False))

    assert batch.column("model").to_pylist() == [model]
    assert batch.column("provider").to_pylist() == [provider]


def test_the_exports_own_columns(tmp_path: Path) -> None:
    """Archived, endpoint, hash and time of export are in each row; nobody is assigned here."""
    row = json.dumps(dict.fromkeys(oracle.REQUIRED, "x")).encode()
    page = runs_decoder().decode(b"[" + row + b"]", archived=True)

    for (stored,) in read_back(batch_of(page), tmp_path / "rows.parquet"):
        assert (stored["archived"], stored["endpoint"], stored["item_type"]) == (True, "runs", "RUN")
        assert stored["row_hash"] == page.rows[0].hash
        assert stored["exported_at"] == EXPORTED_AT
        assert (stored["assigned_to"], stored["removed_at"], stored["unmapped"]) == (None, None, None)


def test_kinds_of_tokens_and_costs_have_columns_of_their_own() -> None:
    """Each is taken out of its map, and null where the map is null or does not name it."""
    details = {"cache_read": 5, "audio": 2, "vendor": 1}
    rows = [{"prompt_token_details": details, "completion_cost_details": {"reasoning": "0.25"}}, {}]
    texts = [dict.fromkeys(oracle.REQUIRED, "x") | row for row in rows]

    batch = batch_of(runs_decoder().decode(json.dumps(texts).encode(), archived=False))

    assert batch.column("prompt_cache_read_tokens").to_pylist() == [5, None]
    assert batch.column("prompt_cache_creation_tokens").to_pylist() == [None, None]
    assert batch.column("prompt_audio_tokens").to_pylist() == [2, None]
    assert batch.column("completion_reasoning_cost").to_pylist() == [Decimal("0.25"), None]


def test_rows_with_learned_fields_lie_beside_rows_without() -> None:
    """A field that is learned meanwhile changes the form of the rows after it, and no column of theirs."""
    decoder = PageDecoder(listed_rows())
    plain, later = (dict.fromkeys(oracle.REQUIRED, "x") | more for more in ({}, {"aaa_new": 1}))
    pages = [decoder.decode(json.dumps([row]).encode(), archived=False) for row in (plain, later, later, plain)]
    rows = [row for page in pages for row in page.rows]

    assert len({type(each.row) for each in rows}) > 1
    for order in (rows, rows[::-1]):
        batch = flatten(contract.RUNS, order, exported_at=EXPORTED_AT)
        assert batch.column("unmapped").to_pylist() == [None, '{"aaa_new":1}', '{"aaa_new":1}', None]
        for name in oracle.REQUIRED:
            assert batch.column(name).to_pylist() == ["x"] * 4


def test_seconds_are_between_two_times() -> None:
    """Latency and the first token's time are counted from the start, to the microsecond."""
    times = {"start_time": "2026-11-01T00:00:00Z", "end_time": "2026-11-01T00:01:00.500001Z"}
    row = dict.fromkeys(oracle.REQUIRED, "x") | times | {"first_token_time": "2026-11-01T00:00:00.25Z"}

    batch = batch_of(runs_decoder().decode(json.dumps([row]).encode(), archived=False))

    assert batch.column("latency_s").to_pylist() == [60.500001]
    assert batch.column("first_token_s").to_pylist() == [0.25]


@pytest.mark.parametrize("reviewers", [None, [], [{"id": "1", "name": "Ada", "email": None}]])
def test_reviewers_of_a_queue_are_a_list_of_records(reviewers: Any) -> None:
    """As they were sent; a queue's record has no facts of its own."""
    text = json.dumps({"id": "q", "name": "n", "assigned_reviewers": reviewers}).encode()
    record = decode_queue(text)

    batch = flatten(contract.QUEUES, [record], exported_at=EXPORTED_AT)

    assert batch.schema == contract.QUEUES.schema
    assert batch.column("assigned_reviewers").to_pylist() == [reviewers]
    assert (batch.column("name").to_pylist(), batch.column("row_hash").to_pylist()) == (["n"], [record.hash])


def test_a_lone_surrogate_hides_no_model() -> None:
    """Where `extra` holds an escape that no text can hold, the names in it are found all the same."""
    extra = b'{"metadata": {"ls_model_name": 3, "note": "\\ud800"}, "invocation_params": {"model": "m"}}'
    row = json.dumps(dict.fromkeys(oracle.REQUIRED, "x")).encode()

    batch = batch_of(runs_decoder().decode(b"[" + row[:-1] + b', "extra": ' + extra + b"}]", archived=False))

    assert batch.column("model").to_pylist() == ["m"]
