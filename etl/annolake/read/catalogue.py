"""The views of a lake by name: their columns, types and descriptions, read from `schemas/views.toml`.

Owns the contract of the views. What each selects is in `definitions`.
"""

import tomllib
from functools import cached_property

import msgspec
import polars as pl
import pyarrow as pa

from annolake import contract
from annolake.contract import ARROW_TYPES, TABLES, Column


class ViewColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of a view; `unit` is that of its numbers."""

    name: str
    type: str
    description: str
    unit: str | None = None


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One view. `like` names the view whose columns it has, `table` the table whose columns come before its own."""

    name: str
    description: str
    like: str | None = None
    table: str | None = None
    column: tuple[ViewColumn, ...] = ()

    @cached_property
    def columns(self) -> tuple[ViewColumn, ...]:
        """All columns, in order."""
        if self.like:
            return VIEWS[self.like].columns
        return (*(_of_table(column) for column in _table_columns(self.table)), *self.column)

    @cached_property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]

    @cached_property
    def schema(self) -> pl.Schema:
        """The view's schema in polars."""
        return polars_schema(pa.schema([(column.name, ARROW_TYPES[column.type]) for column in self.columns]))


def _table_columns(name: str | None) -> tuple[Column, ...]:
    return next((table.column for table in TABLES if table.name == name), ())


def _of_table(column: Column) -> ViewColumn:
    return ViewColumn(column.name, column.type, column.description, column.unit)


def polars_schema(schema: pa.Schema) -> pl.Schema:
    """Return an Arrow schema as polars has it."""
    return pl.DataFrame(schema.empty_table()).schema


def duckdb_type(type_: pa.DataType) -> str:
    """Return an Arrow type as DuckDB names it."""
    if pa.types.is_map(type_):
        return f"MAP({duckdb_type(type_.key_type)}, {duckdb_type(type_.item_type)})"
    if pa.types.is_list(type_):
        return f"{duckdb_type(type_.value_type)}[]"
    if pa.types.is_struct(type_):
        fields = [f'"{field.name}" {duckdb_type(field.type)}' for field in type_]
        return f"STRUCT({', '.join(fields)})"
    if pa.types.is_decimal(type_):
        return f"DECIMAL({type_.precision}, {type_.scale})"
    return _DUCKDB_TYPES[str(type_)]


_DUCKDB_TYPES = {
    "string": "VARCHAR",
    "bool": "BOOLEAN",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "date32[day]": "DATE",
    "timestamp[us, tz=UTC]": "TIMESTAMP WITH TIME ZONE",
    "fixed_size_binary[16]": "BLOB",
}


def load_views() -> dict[str, View]:
    """Read the views' contract."""
    document = tomllib.loads((contract.schemas_folder() / "views.toml").read_text(encoding="utf-8"))
    return {view.name: view for view in msgspec.convert(document["view"], tuple[View, ...])}


VIEWS = load_views()


def as_document(view: View) -> dict[str, object]:
    """Return the contract of a view as plain JSON values, for `annolake schema --format json`."""
    columns = [{"name": c.name, "type": c.type, "unit": c.unit, "description": c.description} for c in view.columns]
    return {"view": view.name, "description": view.description, "columns": columns}


def as_markdown(view: View) -> str:
    """Return the contract of a view as a Markdown section; it refers to a table's columns, and to another view's."""
    lines = [f"### View `{view.name}`", "", view.description, ""]
    if view.like:
        return "\n".join([*lines, f"The columns are those of `{view.like}`."]) + "\n"
    lines += [f"The columns of the table `{view.table}`, then:", ""] if view.table else []
    lines += ["| column | type | unit | what it is |", "| --- | --- | --- | --- |"]
    lines += [f"| `{c.name}` | `{c.type}` | {c.unit or ''} | {c.description} |" for c in view.column]
    return "\n".join(lines) + "\n"
