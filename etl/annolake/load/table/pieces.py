"""Tables put together and cut: one that is all there is stays as it is, for each of its columns would cost.

Measured on 87 columns: 25 us to put together, 55 us to cut, and a small file is made of such steps.
"""

from collections.abc import Sequence

import pyarrow as pa


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all tables, of which there is at least one, without a copy."""
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables)


def cut(table: pa.Table, start: int, rows: int) -> pa.Table:
    """Return so many rows of a table from `start` on, without a copy."""
    return table if (start, rows) == (0, table.num_rows) else table.slice(start, rows)
