"""Which columns of a file are compressed: in a small one only those that get smaller by it (docs/lake.md#files)."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from annolake.load.table.file_format import FileFormat, by_schema

_LEAST_BYTES = 512


def by_column(table: pa.Table, file_format: FileFormat) -> Mapping[str, str]:
    """Return how each column of a file's only row group is compressed; one that is not named is not compressed.

    By what it takes in memory: equal rows may be stored otherwise where a column is about as large as the limit.
    What takes few bytes hardly gets smaller, and Arrow makes a context of the codec for each column, in writing and in
    reading: measured on a virtual machine, 25 us, two fifths of what a file of 10 rows takes.
    """
    codec, rows = file_format.compression, table.num_rows
    return {
        path: codec
        for column, (width, paths) in zip(table.columns, _places_in_parquet(file_format), strict=True)
        if column.null_count < rows and (rows * width // 8 or column.nbytes) >= _LEAST_BYTES
        for path in paths
    }


@by_schema
def _places_in_parquet(file_format: FileFormat) -> Sequence[tuple[int, Sequence[str]]]:
    """Return of each column the bits of a value, 0 where they differ, and its paths in Parquet: a list has others."""
    schema, sink = file_format.schema, pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema):
        pass
    stored = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    paths = [stored.column(number).path for number in range(len(stored))]
    return [(_bits(field.type), [path for path in paths if path.split(".")[0] == field.name]) for field in schema]


def _bits(kind: pa.DataType) -> int:
    """Return the bits of each value of a type, 0 where they differ."""
    try:
        return int(kind.bit_width)
    except ValueError:
        return 0
