"""Rows in consecutive blocks, of which few are held."""

from itertools import pairwise
from weakref import ref

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from annolake.load.merge.blocks import Blocks

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=8)


@given(SIZES, st.data())
def test_ranges_read_forward_are_the_rows_and_load_each_block_once(sizes: list[int], data: st.DataObject) -> None:
    """However the ranges are cut, across blocks and within them."""
    total, loaded = sum(sizes), list[int]()

    def load(block: int) -> pa.Table:
        loaded.append(block)
        start = sum(sizes[:block])
        return pa.table({"row": list(range(start, start + sizes[block]))})

    blocks = Blocks(sizes, load)
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, total)))), total]
    read = [blocks.read(start, stop).column("row").to_pylist() for start, stop in pairwise(cuts) if stop > start]

    assert len(blocks) == total
    assert [row for rows in read for row in rows] == list(range(total))
    assert loaded == list(range(len(sizes)))


def test_of_what_was_read_to_its_end_nothing_is_held() -> None:
    """Only a block that there is more of stays: a partition has rows in many chunks, and is done with most of them."""
    loaded = []

    def load(_: int) -> pa.Table:
        table = pa.table({"row": [1, 2]})
        loaded.append(ref(table))
        return table

    blocks = Blocks([2, 2], load)
    blocks.read(0, 1)
    held = loaded[0]() is not None
    blocks.read(1, 4)

    assert held
    assert [block() for block in loaded] == [None, None]


def test_of_no_blocks_there_is_no_row() -> None:
    """They can be counted all the same."""
    assert len(Blocks([], lambda _: pa.table({}))) == 0
