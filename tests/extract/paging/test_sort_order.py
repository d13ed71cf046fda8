"""The order of a list, measured slice by slice."""

import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annolake.extract.paging.sort_order import Order, OrderMeasure

Times = Mapping[str, Sequence[int | None]]


def measured(columns: Times, size: int = 4) -> Order | None:
    """Return the order of a list, read in slices of which each shares a row with the next."""
    measure = OrderMeasure()
    for start in range(0, max(len(values) for values in columns.values()), size - 1):
        measure.watch({name: values[start : start + size] for name, values in columns.items()})
    return measure.order


@pytest.mark.parametrize(
    ("columns", "order"),
    [
        ({"added_at": [1, 2, 2, 3, 4, 4, 9]}, "added_at asc"),
        ({"added_at": [9, 9, 4, 3, 3, 3, 1]}, "added_at desc"),
        ({"added_at": [1, 2, 3, 4, 3, 5, 6]}, "None"),
        ({"added_at": [1, 3, 5, None, None]}, "added_at asc"),
        ({"added_at": [None, None, 5, 4, 1]}, "added_at desc"),
        ({"added_at": [None, 1, 3, 5, 7]}, "None"),
        ({"added_at": [3, 3, 3, 3, 3]}, "None"),
        ({"added_at": []}, "None"),
        ({"added_at": [7]}, "None"),
        ({"added_at": [3, 1, 2, 5], "reviewed": [4, 5, 6, 7]}, "reviewed asc"),
        ({"added_at": [3, 1, None, 5], "reviewed": [9, 8, 8, 7]}, "reviewed desc"),
        ({"added_at": [3, 1, 2, 5], "reviewed": [4, 5, None, 7]}, "None"),
        ({"added_at": [3, 1, 2, 9], "reviewed": [4, 5, 6, 7]}, "None"),
        ({"added_at": [3, 1, 2, 5], "reviewed": [4, 5, 6, None]}, "None"),
        ({"added_at": [3, 1, 2, 9], "reviewed": [4, 5, 6, None]}, "reviewed asc"),
        ({"added_at": [None, 9, 1, 5], "reviewed": [None, None, 8, 7]}, "reviewed desc"),
        ({"reviewed": [4, 5, 6, 7], "added_at": [1, 2, 3, 4]}, "added_at asc"),
        ({"added_at": [1, 2, 3, 4], "effective_added_at": [4, 5, 6, 7]}, "effective_added_at asc"),
        ({"added_at": [1, 2, 3, 4], "effective_added_at": [4, 5, 4, 7]}, "added_at asc"),
    ],
)
def test_a_list_is_sorted_by_a_column_that_can_tell_new_rows(columns: Times, order: str) -> None:
    """By the effective time if possible, by added_at, or by a column never before it; else it is not sorted.

    A row without the time has that of added_at.
    """
    assert str(measured(columns)) == order


@given(st.lists(st.integers(0, 50), min_size=2), st.booleans(), st.integers(0, 99))
def test_slices_may_overlap_and_come_in_any_sequence(values: list[int], descending: bool, seed: int) -> None:
    """Pages read again, in whatever sequence, change nothing in what is found."""
    values = sorted(values, reverse=descending)
    starts = [*range(0, len(values), 2), *range(0, len(values), 3)]
    random.Random(seed).shuffle(starts)
    measure = OrderMeasure()
    for start in starts:
        measure.watch({"added_at": values[start : start + 4]})

    assert measure.order == (Order("added_at", descending) if values[0] != values[-1] else None)


def test_one_row_out_of_order_is_enough() -> None:
    """A list of thousands that is sorted but for two neighbours is not sorted."""
    values = list(range(5000))
    values[4000], values[4001] = values[4001], values[4000]

    assert measured({"added_at": values}, size=100) is None


@pytest.mark.parametrize("order", [Order("added_at", descending=False), Order("last_reviewed_time", descending=True)])
def test_an_order_is_recorded_as_text(order: Order) -> None:
    """What is written is read back."""
    assert Order.parse(str(order)) == order


@pytest.mark.parametrize("text", ["", "added_at", "asc", "added_at up", "None"])
def test_any_other_text_is_no_order(text: str) -> None:
    """A report of another make leads to a list being read whole, not to an error."""
    assert Order.parse(text) is None
