"""A slice held against the rows read before it."""

from annolake.extract.paging.overlap import TAIL_ROWS, Overlap, Tail
from annolake.extract.paging.slices import NAMELESS
from extract.rows import key


def keys(*numbers: int) -> list[bytes]:
    """Return the keys of model rows."""
    return [key(number) for number in numbers]


def tail_of(*numbers: int) -> Tail:
    """Return the tail of a reading that has taken these rows from offset 0 on."""
    tail = Tail()
    tail.extend(0, keys(*numbers), Overlap(), ends=False)
    return tail


def test_a_slice_of_a_still_list_joins_where_expected() -> None:
    """Its first rows are the last ones read, and nothing is seen to have moved."""
    overlap = tail_of(1, 2, 3, 4, 5).compare(2, keys(3, 4, 5, 6, 7))

    assert overlap.holds(3)
    assert not overlap.moved
    assert (overlap.first, overlap.behind, overlap.left) == (0, 3, 0)


def test_known_rows_in_another_order_join_nothing() -> None:
    """As many known rows as needed are at the head, but too few that follow each other as they did."""
    overlap = tail_of(1, 2, 3, 4, 5).compare(2, keys(5, 3, 4, 6, 7))

    assert not overlap.holds(3)
    assert overlap.holds(2)
    assert not overlap.ordered


def test_known_rows_behind_strangers_join_nothing() -> None:
    """Rows in front of the known ones may follow rows that were never read."""
    overlap = tail_of(1, 2, 3, 4, 5).compare(2, keys(11, 12, 13, 14, 3, 4, 5))

    assert overlap.anchors
    assert not overlap.holds(3)


def test_a_row_that_left_between_known_rows_is_missing() -> None:
    """The slice joins, and shows that the list has changed."""
    overlap = tail_of(1, 2, 3, 4, 5).compare(2, keys(3, 5, 6, 7))

    assert overlap.holds(2)
    assert overlap.missing == 1
    assert overlap.moved


def test_a_row_twice_in_a_slice_is_out_of_order() -> None:
    """No list that keeps an order has a row twice."""
    assert not tail_of(1, 2, 3).compare(2, keys(3, 4, 4)).ordered
    assert not Tail().compare(0, keys(4, 4)).ordered


def test_rows_of_unknown_place_are_not_put_in_one() -> None:
    """A stranger before the first known row may stand before or behind rows that the slice does not hold."""
    tail = tail_of(1, 2, 3, 4, 5)
    tail.extend(3, keys(9, 4, 5, 6), tail.compare(3, keys(9, 4, 5, 6)), ends=False)

    assert tail.compare(1, keys(9, 3, 4, 5, 6)).ordered
    assert key(9) in tail.loose
    assert key(9) not in tail


def test_rows_not_reached_are_expected_behind_a_slice_of_known_rows() -> None:
    """Two rows came in front: the last rows read are two places further back, and given up on request."""
    tail = tail_of(1, 2, 3, 4, 5, 6)
    tail.extend(2, keys(1, 2, 3), tail.compare(2, keys(1, 2, 3)), ends=False)

    assert (tail.end, tail.assumed) == (8, 3)
    assert tail.compare(6, keys(5, 6, 7)).shift == 0
    tail.doubt()

    assert (tail.end, tail.assumed) == (5, 0)
    assert key(6) in tail.loose


def test_the_tail_is_bounded() -> None:
    """However long the list, at most twice the rows are remembered, the last ones among them."""
    tail = Tail()
    for start in range(0, 20_000, 90):
        page = keys(*range(start, start + 100))
        tail.extend(start, page, tail.compare(start, page), ends=False)

        assert len(tail) <= 2 * TAIL_ROWS
    assert key(19_999) in tail
    assert key(10_000) not in tail


def test_rows_that_can_not_be_told_apart_are_never_counted() -> None:
    """They have their place, but nobody can know them again, nor miss them."""
    tail = Tail()
    tail.extend(0, [key(1), NAMELESS, key(2), NAMELESS, NAMELESS, key(3)], Overlap(), ends=False)
    overlap = tail.compare(0, [key(1)])

    assert [tail.named(offset) for offset in (0, 1, 3, 5, 6)] == [3, 2, 1, 1, 0]
    assert (overlap.left, overlap.missing, overlap.strangers) == (2, 0, 0)
    assert tail.compare(0, [key(1), NAMELESS, key(3)]).missing == 1
