"""From typed rows to Arrow, column by column, in the contract's schema.

Owns what flattened and derived columns mean (DESIGN 6). Rows are settled before they come here, so a value
that does not fit its column is a bug, never a reject.
"""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET, Raw, UnsetType

from annolake.contract import Column, Table
from annolake.transform.json_text import without_lone_surrogates

T = TypeVar("T")

_NULL = Raw(b"null")


class _Names(msgspec.Struct):
    """The places in a part of `extra` that name a model."""

    ls_model_name: str | None = None
    ls_provider: str | None = None
    model: str | None = None
    model_name: str | None = None


class _Extra(msgspec.Struct):
    metadata: _Names | None = None
    invocation_params: _Names | None = None


class _OddNames(msgspec.Struct):
    """The same, whatever is there."""

    ls_model_name: Any = None
    ls_provider: Any = None
    model: Any = None
    model_name: Any = None


class _OddExtra(msgspec.Struct):
    metadata: Raw | UnsetType = UNSET
    invocation_params: Raw | UnsetType = UNSET


_decode_extra = msgspec.json.Decoder(_Extra | None).decode


def flatten(
    table: Table,
    rows: Sequence[Any],
    *,
    unmapped: Sequence[bytes | None],
    hashes: Sequence[bytes],
    exported_at: datetime,
    facts: dict[str, Sequence[Any]],
) -> pa.RecordBatch:
    """Return the rows as one batch of `table.schema`.

    `facts` gives the export's own columns that differ from row to row (item_type, endpoint, archived, ...); a
    column that neither a row nor a fact has is null.
    """
    own: dict[str, pa.Array] = {
        "unmapped": _texts(unmapped),
        "row_hash": pa.array(hashes, pa.binary(16)),
        "exported_at": pa.repeat(pa.scalar(exported_at, pa.timestamp("us", "UTC")), len(rows)),
    }
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    own |= {name: pa.array(values, types[name]) for name, values in facts.items()}
    if "model" in types:
        own |= _models(rows)
    columns: dict[str, pa.Array] = {}
    for column in table.column:
        name, kind = column.name, types[column.name]
        if name in own:
            columns[name] = own[name]
        elif column.kind == "flattened":
            columns[name] = _flattened(column, kind, columns, rows)
        elif column.kind == "derived":
            columns[name] = _seconds(columns, _ENDS[name])
        else:
            columns[name] = _column(column, kind, rows)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=table.schema)


def _column(column: Column, kind: pa.DataType, rows: Sequence[Any]) -> pa.Array:
    if not rows or not hasattr(rows[0], column.name):
        return pa.nulls(len(rows), kind)
    values = map(attrgetter(column.name), rows)
    if column.json:
        return _texts([None if value is UNSET or value == _NULL else bytes(value) for value in values])
    if pa.types.is_timestamp(kind):
        # by way of text: measured, a quarter of the time that Arrow takes for aware datetimes
        return pa.array(msgspec.to_builtins(list(values)), pa.string()).cast(kind)
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return pa.array(msgspec.to_builtins(list(values)), kind)
    return pa.array(list(values), kind)


def _texts(values: Sequence[bytes | None]) -> pa.Array:
    return pa.array(values, pa.binary()).cast(pa.string())


def _flattened(column: Column, kind: pa.DataType, columns: dict[str, pa.Array], rows: Sequence[Any]) -> pa.Array:
    source, _, key = (column.source or "").partition(".")
    if not key:
        return pc.list_value_length(columns[source]).cast(kind)
    maps = map(attrgetter(source), rows)
    return pa.array([None if details is None else details.get(key) for details in maps], kind)


def _seconds(columns: dict[str, pa.Array], end: str) -> pa.Array:
    elapsed = pc.subtract(columns[end], columns["start_time"])
    return pc.divide(elapsed.cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)


_ENDS = {"latency_s": "end_time", "first_token_s": "first_token_time"}


def _models(rows: Sequence[Any]) -> dict[str, pa.Array]:
    """Return the columns model and provider, found in the rows' `extra`."""
    named = [_model_and_provider(row.extra) for row in rows]
    return {
        "model": pa.array([model for model, _ in named], pa.string()),
        "provider": pa.array([provider for _, provider in named], pa.string()),
    }


def _model_and_provider(text: Raw | UnsetType) -> tuple[str | None, str | None]:
    if text is UNSET:
        return None, None
    try:
        extra = _decode_extra(text) or _Extra()
    except (ValueError, RecursionError):
        return _odd_model_and_provider(text)
    metadata, parameters = extra.metadata or _Names(), extra.invocation_params or _Names()
    models = (metadata.ls_model_name, parameters.model, parameters.model_name)
    return next((model for model in models if model is not None), None), metadata.ls_provider


def _odd_model_and_provider(text: Raw) -> tuple[str | None, str | None]:
    """Find both where something else than a text, or no object, stands in one of the places."""
    extra = _decode(text, _OddExtra)
    metadata, parameters = _decode(extra.metadata, _OddNames), _decode(extra.invocation_params, _OddNames)
    models = (metadata.ls_model_name, parameters.model, parameters.model_name)
    return next(filter(_is_text, models), None), next(filter(_is_text, (metadata.ls_provider,)), None)


def _decode(text: Raw | UnsetType, kind: type[T]) -> T:
    """Decode JSON text of any shape into `kind`, empty where it is of another one."""
    if text is UNSET:
        return kind()
    for readable in (bytes(text), without_lone_surrogates(bytes(text))):
        try:
            return msgspec.json.decode(readable, type=kind)
        except (msgspec.ValidationError, RecursionError):
            break
        except ValueError:
            continue
    return kind()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
