"""The rows of a table as a flat copy has them: scalars and text alone, for programs that know no lists and maps.

Owns what becomes of each column, and the forms CSV, NDJSON and Parquet (docs/readers.md#a-flat-copy). Knows no lake.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from io import RawIOBase
from typing import Any, BinaryIO, Literal

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

Format = Literal["csv", "ndjson", "parquet"]

FORMATS: tuple[Format, ...] = ("csv", "ndjson", "parquet")

_NESTED = (pa.types.is_list, pa.types.is_map, pa.types.is_struct)
_FORMULA = r"^\s*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]|^[\t\r\n]"
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"
_BOM = "\ufeff"
_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"
_encode = msgspec.json.Encoder().encode


def flat_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns of a copy: hashes are left out, lists, maps and structs are text."""
    fields = [field for field in schema if not pa.types.is_fixed_size_binary(field.type)]
    return pa.schema([pa.field(each.name, pa.string() if _is_nested(each.type) else each.type) for each in fields])


def flat(table: pa.Table) -> pa.Table:
    """Return the rows with the columns of `flat_schema`: what is nested as JSON text, decimals in it as strings."""
    schema = flat_schema(table.schema)
    columns = [_as_json(column) if _is_nested(column.type) else column for column in map(table.column, schema.names)]
    return pa.Table.from_arrays(columns, schema=schema)


def _is_nested(kind: pa.DataType) -> bool:
    return any(is_so(kind) for is_so in _NESTED)


def _as_json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    prepared: Callable[[Any], Any] = _object if pa.types.is_map(column.type) else lambda value: value
    texts = [None if value is None else _encode(prepared(value)).decode() for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _object(pairs: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    return {key: _plain(value) if isinstance(value, Decimal) else value for key, value in pairs}


def _plain(number: Decimal) -> str:
    """Return a decimal as text, exact, without an exponent and without zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Written(msgspec.Struct):
    """What was written: `rows`, and of CSV the cells that a spreadsheet takes for `formulas`."""

    rows: int = 0
    formulas: int = 0


def write_rows(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    sink: BinaryIO | RawIOBase,
    *,
    kind: Format,
    spreadsheet: bool = False,
) -> Written:
    """Write flat rows, a table at a time; `schema` is theirs.

    With `spreadsheet` CSV begins with a byte order mark, and a cell that would be taken for a formula with an
    apostrophe.
    """
    written = Written()
    if kind == "parquet":
        with pq.ParquetWriter(pa.PythonFile(sink, "w"), schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
                written.rows += table.num_rows
        return written
    if kind == "csv":
        sink.write(f"{_BOM if spreadsheet else ''}{_header(schema)}".encode())
    for table in tables:
        frame = _as_text(table)
        if kind == "csv":
            risky = frame.select(pl.col(pl.String).str.contains(_FORMULA) & ~pl.col(pl.String).str.contains(_NUMBER))
            # columns of numbers and times became text above, and none of these begins so but a negative number
            written.formulas += sum(risky.sum().row(0)) if frame.height else 0
            if spreadsheet:
                frame = frame.with_columns(
                    pl.when(risky[name]).then("'" + pl.col(name)).otherwise(name).alias(name) for name in risky.columns
                )
        text = frame.write_csv(include_header=False) if kind == "csv" else frame.write_ndjson()
        sink.write(text.encode())
        written.rows += table.num_rows
    return written


def _header(schema: pa.Schema) -> str:
    return ",".join(schema.names) + "\n"


def _as_text(table: pa.Table) -> pl.DataFrame:
    """Return rows for CSV and NDJSON: decimals exact without zeros at their end, times in UTC by ISO 8601."""
    frame = pl.DataFrame(table)
    return frame.with_columns(
        pl.col(pl.Decimal).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end("."),
        pl.col(pl.Datetime).dt.strftime(_TIME),
    )
