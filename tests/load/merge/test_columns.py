"""Keys, hashes and days of a column as the arrays that a merge compares."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from annolake.keys import key_of
from annolake.load.merge.columns import days_of, hashes_of, keys_of, mask_of, places_of, times_of, true_of, valid_of
from annolake.load.table.days import NO_DAY, NO_TIME

UUIDS = st.uuids().map(str)
IDS = st.one_of(UUIDS, UUIDS.map(str.upper), st.text(min_size=36, max_size=36), st.text(max_size=40))


@given(st.lists(IDS), st.integers(0, 5), st.integers(0, 5))
def test_keys_of_a_column_are_the_keys_of_its_values(ids: list[str], skip: int, end: int) -> None:
    """Whatever form the ids have, and wherever in its memory the column begins."""
    column = pa.array(ids, pa.string()).slice(skip, max(0, len(ids) - skip - end))

    keys = keys_of(column)

    assert [row.tobytes() for row in keys] == [key_of(text) for text in column.to_pylist()]


@given(st.lists(st.binary(min_size=16, max_size=16)), st.integers(0, 5))
def test_hashes_of_a_column_are_its_bytes(hashes: list[bytes], skip: int) -> None:
    """Wherever in its memory the column begins."""
    column = pa.array(hashes, pa.binary(16)).slice(skip)

    assert [row.tobytes() for row in hashes_of(column)] == column.to_pylist()


@given(st.lists(st.none() | st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))))  # noqa: DTZ001 - made aware below
def test_days_are_utc_dates(times: list[datetime | None]) -> None:
    """Also long before 1970; without a time there is no day."""
    aware = [None if time is None else time.replace(tzinfo=UTC) for time in times]

    days = days_of(pa.array(aware, pa.timestamp("us", "UTC"))).tolist()

    assert days == [
        NO_DAY if time is None else (time.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days for time in aware
    ]


def _sliced(values: list[Any], kind: pa.DataType, skip: int, end: int) -> pa.Array:
    return pa.array(values, kind).slice(skip, max(0, len(values) - skip - end))


@given(st.lists(st.none() | st.booleans()), st.integers(0, 9), st.integers(0, 9))
def test_which_values_are_true_and_which_are_there(values: list[bool | None], skip: int, end: int) -> None:
    """With nulls and without, and wherever in its memory the column begins."""
    for column in (_sliced(values, pa.bool_(), skip, end), pa.nulls(skip, pa.bool_()), pa.array([], pa.bool_())):
        assert valid_of(column).tolist() == [value is not None for value in column.to_pylist()]
        assert true_of(column).tolist() == [value is True for value in column.to_pylist()]


@given(st.lists(st.none() | st.integers(-(2**40), 2**40)), st.integers(0, 9), st.integers(0, 9))
def test_times_are_microseconds(values: list[int | None], skip: int, end: int) -> None:
    """The same: a null has no time."""
    kind = pa.timestamp("us", "UTC")
    for column in (_sliced(values, pa.int64(), skip, end).view(kind), pa.nulls(skip, kind), pa.array([], kind)):
        numbers = column.view(pa.int64()).to_pylist()
        assert times_of(column).tolist() == [NO_TIME if number is None else number for number in numbers]


@given(st.lists(st.integers(0, 2**40)), st.lists(st.booleans()))
def test_places_and_masks_are_what_arrow_makes_of_them(places: list[int], mask: list[bool]) -> None:
    """Of any length, and of every other number of an array too."""
    order, chosen = np.array(places, np.int64), np.array(mask, np.bool_)

    assert places_of(order).equals(pa.array(order))
    assert places_of(order[::2]).equals(pa.array(order[::2]))
    assert places_of(np.arange(3, dtype=np.int32)).equals(pa.array([0, 1, 2], pa.int64()))
    assert mask_of(chosen).equals(pa.array(chosen))
