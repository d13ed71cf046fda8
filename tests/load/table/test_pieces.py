"""Tables put together and cut: the right rows, and no new table where one is all there is."""

import pyarrow as pa

from annolake.load.table.pieces import cut, joined

TABLE = pa.table({"row": [1, 2, 3]})


def test_one_table_stays_as_it_is() -> None:
    """To make each of 85 columns anew takes as long as to write some of them."""
    assert joined([TABLE]) is TABLE
    assert cut(TABLE, 0, 3) is TABLE


def test_several_are_put_together_and_some_rows_are_cut() -> None:
    """In their order, from where they are wanted."""
    assert joined([TABLE, TABLE]).column("row").to_pylist() == [1, 2, 3, 1, 2, 3]
    assert cut(TABLE, 1, 2).column("row").to_pylist() == [2, 3]
    assert cut(TABLE, 3, 0).num_rows == 0
    assert cut(TABLE, 2, 3).column("row").to_pylist() == [3]
