"""The contract in schemas/: what it promises is pinned here, and accounts for the service's own document."""

import json
from pathlib import Path

import pytest

import oracle
from annolake import contract

GOLDEN = Path(__file__).parent / "golden"


def test_every_field_of_the_service_is_kept_under_its_name_or_dropped_on_purpose() -> None:
    """All 62 fields of the OpenAPI document are columns of the same name, `share_token` aside."""
    kept = {column.runs: column.name for column in contract.RUNS.column if column.runs}

    assert len(oracle.FIELDS) == 62
    assert set(contract.RUNS.dropped) == {"share_token"}
    assert set(kept) | {"share_token"} == set(oracle.FIELDS)
    assert all(field == name for field, name in kept.items())


def test_the_contract_requires_what_the_document_requires() -> None:
    """A field is required by runs.toml exactly where the OpenAPI document requires it."""
    required = {column.runs for column in contract.RUNS.column if column.required}

    assert required == oracle.REQUIRED


def test_json_columns_are_the_open_ended_fields_of_the_document() -> None:
    """A field is kept as JSON text exactly where the document leaves its inside open."""
    json_columns = {column.runs for column in contract.RUNS.column if column.json and column.runs}

    assert json_columns == {name for name in oracle.FIELDS if oracle.is_json(name)}


def test_the_arrow_schemas_are_pinned() -> None:
    """Names, types, order and nullability of all tables change only on purpose, with a new version."""
    lines = []
    for table in contract.TABLES:
        lines.append(f"{table.name} {table.version}")
        lines += [f"  {f.name}: {f.type}{'' if f.nullable else ' not null'}" for f in table.schema]

    assert "\n".join(lines) + "\n" == (GOLDEN / "schemas.txt").read_text()


def test_arrow_fields_carry_description_unit_and_source() -> None:
    """Whoever opens a file learns from its schema what a column is, its unit and where it comes from."""
    metadata = contract.RUNS.schema.field("prompt_cache_read_cost").metadata

    assert metadata == {
        b"description": b"Cost of tokens read from the prompt cache.",
        b"unit": b"USD",
        b"source": b"flattened from prompt_cost_details.cache_read",
    }
    assert all(f.metadata[b"description"] for table in contract.TABLES for f in table.schema)


def test_never_null_are_the_six_columns_of_the_design() -> None:
    """Only the key and what annolake itself writes are promised never to be null."""
    never_null = {column.name for column in contract.RUNS.column if not column.nullable}

    assert never_null == {"queue_run_id", "item_type", "endpoint", "archived", "row_hash", "exported_at"}


@pytest.mark.parametrize("table", contract.TABLES, ids=lambda table: table.name)
def test_a_table_names_its_key_its_time_and_its_owners_among_its_columns(table: contract.Table) -> None:
    """What the lake goes by is in each file: the key is never null, the partition is the date of the time."""
    columns = {column.name: column for column in table.column}

    assert {*table.key, *table.owners} <= columns.keys()
    assert not any(columns[name].nullable for name in table.key)
    assert not table.time or (columns[table.time].type, table.partition) == (
        "timestamp[us, UTC]",
        table.time.replace("_at", "_date"),
    )


def test_the_usage_of_a_turn_has_the_names_and_types_of_that_of_a_run() -> None:
    """Tokens and costs of turns and runs can be added up."""
    usage = {c.name: c.type for c in contract.TURNS.column if c.unit in {"tokens", "USD"}}

    assert len(usage) == 10
    assert usage.items() <= {c.name: c.type for c in contract.RUNS.column if c.unit and c.kind == "field"}.items()


def test_a_column_says_where_its_endpoint_has_it() -> None:
    """A member of an object of the service is named with a point; what annolake adds is called its own."""
    columns = {column.name: column for table in (contract.FEEDBACK, contract.TURNS) for column in table.column}

    assert columns["user_id"].origin == "feedback.feedback_source.user_id"
    assert columns["turn_number"].origin == "threads.TURN_NUMBER.turn_number"
    assert columns["in_rubric"].origin == "annolake"


def test_the_successor_endpoint_lacks_exactly_what_its_documentation_says() -> None:
    """Columns without a place in the successor endpoint are the seventeen that it gave up."""
    gone = {column.name for column in contract.RUNS.column if column.runs and not column.items}

    assert gone == {
        *("child_run_ids", "direct_child_run_ids", "execution_order", "inputs_s3_urls", "outputs_s3_urls"),
        *("s3_urls", "manifest_id", "manifest_s3_id", "messages", "trace_first_received_at"),
        *("trace_min_start_time", "trace_max_start_time", "trace_tier", "trace_upgrade", "ttl_seconds"),
    }


def test_both_documents_name_every_column() -> None:
    """The Markdown and the JSON form of `annolake schema` leave no column out."""
    for table in contract.TABLES:
        document = json.loads(json.dumps(contract.as_document(table)))
        markdown = contract.as_markdown(table)

        assert [column["name"] for column in document["columns"]] == table.schema.names
        assert all(f"| `{name}` |" in markdown for name in table.schema.names)
        assert document["version"] == table.version
