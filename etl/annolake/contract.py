"""The tables' contract, read from `schemas/`: the one source of Arrow schema, field mapping and docs.

Owns what a column is called, what type it has and where each endpoint has it. Never looks at data.
"""

import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
import pyarrow as pa

Kind = Literal["field", "flattened", "derived", "export"]

_DECIMAL = pa.decimal128(38, 18)
_PERSON = pa.struct([("id", pa.string()), ("name", pa.string()), ("email", pa.string())])
_FLAGS = ("is_required", "is_assertion")
_QUESTION = pa.struct(
    (name, pa.bool_() if name in _FLAGS else pa.string())
    for name in (
        *("feedback_key", "description", *_FLAGS, "value_descriptions", "score_descriptions", "feedback_config_id"),
        *("feedback_config", "regex_validator", "required_if", "visible_if"),
    )
)

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "timestamp[us, UTC]": pa.timestamp("us", "UTC"),
    "decimal128(38, 18)": _DECIMAL,
    "fixed_size_binary[16]": pa.binary(16),
    "list<string>": pa.list_(pa.string()),
    "list<struct<id: string, name: string, email: string>>": pa.list_(_PERSON),
    f"list<{_QUESTION}>": pa.list_(_QUESTION),
    "map<string, int64>": pa.map_(pa.string(), pa.int64()),
    "map<string, decimal128(38, 18)>": pa.map_(pa.string(), _DECIMAL),
}


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """One column; `schemas/runs.toml` tells what each key means."""

    name: str
    type: str
    description: str
    kind: Kind
    since: int
    nullable: bool = True
    unit: str | None = None
    json: bool = False
    urls: bool = False
    source: str | None = None
    runs: str | None = None
    items: str | None = None
    queue: str | None = None
    feedback: str | None = None
    threads: str | None = None
    required: bool = False

    @property
    def origin(self) -> str:
        """Where the column comes from, in words: for the documentation and the Arrow metadata."""
        if self.kind in {"flattened", "derived"}:
            return f"{self.kind} from {self.source}"
        named = {"runs": self.runs, "queue": self.queue, "feedback": self.feedback, "threads": self.threads}
        places = [f"{endpoint}.{place}" for endpoint, place in named.items() if place]
        return ", ".join(filter(None, [*places, self.items])) or "annolake"

    @property
    def arrow_field(self) -> pa.Field:
        """The Arrow field with description, unit and source as metadata."""
        metadata = {"description": self.description, "source": self.origin}
        if self.unit:
            metadata["unit"] = self.unit
        if self.json:
            metadata["content"] = "json"
        return pa.field(self.name, ARROW_TYPES[self.type], self.nullable, metadata)


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True, rename={"name": "table"}):
    """One table of the lake: its columns in their order in the files, partition columns not among them.

    `key` are the columns that tell a row from others, `time` the one whose UTC date is the `partition`. `owners` are
    columns of what a row belongs to and is read with: a run, a thread, an item. `queues` has none of them.
    """

    name: str
    version: int
    description: str
    column: tuple[Column, ...]
    dropped: dict[str, str] = {}
    key: tuple[str, ...] = ()
    time: str = ""
    partition: str = ""
    owners: tuple[str, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of each of the table's files."""
        return pa.schema([column.arrow_field for column in self.column])

    def columns_of(self, kind: Kind) -> list[Column]:
        """Return the columns of one kind, in order."""
        return [column for column in self.column if column.kind == kind]


def schemas_folder() -> Path:
    """Find `schemas/`: inside the package in a wheel, beside `etl/` in a checkout."""
    package = Path(__file__).parent
    packaged = package / "schemas"
    return packaged if packaged.is_dir() else package.parents[1] / "schemas"


def load_table(name: str) -> Table:
    """Read the contract of the table `name`."""
    document = tomllib.loads((schemas_folder() / f"{name}.toml").read_text(encoding="utf-8"))
    return msgspec.convert(document, Table)


RUNS = load_table("runs")
QUEUES = load_table("queues")
FEEDBACK = load_table("feedback")
TURNS = load_table("turns")

TABLES = (RUNS, QUEUES, FEEDBACK, TURNS)


def as_document(table: Table) -> dict[str, object]:
    """Return the contract as plain JSON values, for `annolake schema --format json`."""
    columns = [
        {"name": c.name, "type": c.type, "nullable": c.nullable, "unit": c.unit, "kind": c.kind, "json": c.json}
        | {"runs": c.runs or c.queue, "items": c.items, "feedback": c.feedback, "threads": c.threads}
        | {"from": c.source, "required": c.required}
        | {"since": c.since, "description": c.description}
        for c in table.column
    ]
    head: dict[str, object] = {"table": table.name, "version": table.version, "description": table.description}
    place: dict[str, object] = {"key": table.key, "time": table.time or None, "partition": table.partition or None}
    return head | place | {"dropped": table.dropped, "columns": columns}


def as_markdown(table: Table) -> str:
    """Return the contract as a Markdown section, for `annolake schema`."""
    dropped = "; ".join(f"`{field}` ({reason})" for field, reason in table.dropped.items())
    lines = [f"## Table `{table.name}` (schema version {table.version})", "", table.description, ""]
    lines += [f"Not kept: {dropped}.", ""] if dropped else []
    lines += ["| column | type | null | unit | where it comes from | what it is |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    lines += [
        f"| `{c.name}` | `{c.type}`{' (JSON text)' if c.json else ''} | {'yes' if c.nullable else 'never'} "
        f"| {c.unit or ''} | {c.origin} | {c.description} |"
        for c in table.column
    ]
    return "\n".join(lines) + "\n"
