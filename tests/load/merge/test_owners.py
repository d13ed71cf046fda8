"""What stored rows belong to, in little room, against a plain dictionary."""

from uuid import UUID

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from annolake.keys import joint_key_of, key_of
from annolake.load.merge.columns import halves, row_keys
from annolake.load.merge.owners import Owners

IDS = st.one_of(st.none(), st.sampled_from([str(UUID(int=number << 64)) for number in range(5)] + ["", "odd", "odd\0"]))


@given(st.lists(st.lists(st.tuples(IDS, IDS), max_size=8), max_size=5), st.sets(IDS.filter(bool)))
def test_a_row_belongs_to_what_either_column_names(
    row_groups: list[list[tuple[str | None, str | None]]], read: set[str]
) -> None:
    """Ids of any form, keys that end in zeros among them; a null is nothing."""
    owners, line = Owners(["run_id", "thread_id"]), [row for group in row_groups for row in group]
    begin = 0
    for group in row_groups:
        columns = [pa.array([row[place] for row in group], pa.string()) for place in (0, 1)]
        numbers = np.arange(begin, begin + len(group), dtype=np.int32)
        owners.note(numbers, pa.table(columns, ["run_id", "thread_id"]))
        begin += len(group)

    belongs = owners.belonging(halves(b"".join(map(key_of, read))), begin)

    assert belongs.tolist() == [bool(read & {*row}) for row in line]


def test_a_hundred_thousand_rows_take_little_room() -> None:
    """Two million bytes, and an eighth more at most for growing."""
    owners, none = Owners(["run_id", "thread_id"]), pa.nulls(1_000, pa.string())
    for start in range(0, 100_000, 1_000):
        ids = pa.array([str(UUID(int=number)) for number in range(start, start + 1_000)], pa.string())
        owners.note(np.arange(start, start + 1_000, dtype=np.int32), pa.table([ids, none], ["run_id", "thread_id"]))

    some = owners.belonging(halves(b"".join(key_of(str(UUID(int=number))) for number in (5, 99_999, 100_000))), 100_000)

    assert np.flatnonzero(some).tolist() == [5, 99_999]
    assert owners.nbytes < 24 * 100_000


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=20))
def test_keys_of_two_columns_are_those_of_two_ids(pairs: list[tuple[str, str]]) -> None:
    """Page by page in Python, and column by column in the lake; those of other pairs differ."""
    columns = [pa.array([pair[place] for pair in pairs], pa.string()) for place in (0, 1)]

    keys = [joint_key_of(*pair) for pair in pairs]

    assert row_keys(pa.table(columns, ["one", "other"]), ["one", "other"]).tobytes() == b"".join(keys)
    assert len(set(keys)) == len(set(pairs))
    assert all(joint_key_of(other, one) != joint_key_of(one, other) for one, other in pairs if one != other)
    assert all(joint_key_of(one) == key_of(one) for one, _ in pairs)
