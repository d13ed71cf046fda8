"""A slice held against the rows read before it."""

import pytest

from annolake.extract.paging.overlap import TAIL_ROWS, Overlap, Tail
from annolake.extract.paging.slices import NAMELESS
from extract.rows import key


def keys(*numbers: int) -> list[bytes]:
    """Return the keys of model rows; 0 stands for a row that can't be told from others."""
    return [key(number) if number else NAMELESS for number in numbers]


def tail_of(*numbers: int) -> Tail:
    """Return the tail of a reading that has taken these rows from offset 0 on."""
    tail = Tail()
    tail.extend(0, keys(*numbers), Overlap(), ends=False)
    return tail


def take(tail: Tail, offset: int, *numbers: int, ends: bool = False) -> None:
    """Take a slice of these rows, held against the tail before."""
    tail.extend(offset, keys(*numbers), tail.compare(offset, keys(*numbers)), ends=ends)


def loose(tail: Tail) -> list[int]:
    """Return the numbers of the rows of unknown place."""
    return [int.from_bytes(one, "big") for one in tail.loose]


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
    take(tail, 3, 9, 4, 5, 6)

    assert tail.compare(1, keys(9, 3, 4, 5, 6)).ordered
    assert key(9) in tail.loose
    assert key(9) not in tail


def test_rows_not_reached_are_expected_behind_a_slice_of_known_rows() -> None:
    """Two rows came in front: the last rows read are two places further back, and given up on request."""
    tail = tail_of(1, 2, 3, 4, 5, 6)
    take(tail, 2, 1, 2, 3)

    assert (tail.end, tail.assumed) == (8, 3)
    assert tail.compare(6, keys(5, 6, 7)).shift == 0
    tail.doubt()

    assert (tail.end, tail.assumed) == (5, 0)
    assert key(6) in tail.loose


def test_the_tail_is_bounded() -> None:
    """However long the list, at most twice the rows are remembered, the last ones among them."""
    tail = Tail()
    for start in range(0, 20_000, 90):
        take(tail, start, *range(start + 1, start + 101))

        assert len(tail) <= 2 * TAIL_ROWS
    assert key(19_999) in tail
    assert key(10_000) not in tail


def test_rows_that_can_not_be_told_apart_are_never_counted() -> None:
    """They have their place, but nobody can know them again, nor miss them."""
    tail = tail_of(1, 0, 2, 0, 0, 3)
    overlap = tail.compare(0, keys(1))

    assert [tail.named(offset) for offset in (0, 1, 3, 5, 6)] == [3, 2, 1, 1, 0]
    assert (overlap.left, overlap.missing, overlap.strangers) == (2, 0, 0)
    assert tail.compare(0, keys(1, 0, 3)).missing == 1


def test_rows_follow_each_other_though_others_stand_between() -> None:
    """Rows 1, 3 and 5 follow each other as they did, with row 2 behind them."""
    overlap = tail_of(1, 2, 3, 4, 5).compare(0, keys(1, 3, 5, 2))

    assert overlap.holds(3)
    assert not overlap.holds(4)


@pytest.mark.parametrize("seen", [Overlap(shift=1), Overlap(shift=-1), Overlap(strangers=1), Overlap(missing=1)])
def test_any_difference_between_known_rows_shows_a_move(seen: Overlap) -> None:
    """Rows further on or further back, rows between, and rows missing are each enough."""
    assert seen.moved


def test_rows_left_behind_the_slice_show_no_move() -> None:
    """A slice may be shorter than what was read."""
    assert not Overlap(left=1).moved


def test_anchors_are_indexes_and_places() -> None:
    """Places count the rows read, in the slice's order."""
    overlap = tail_of(1, 2, 3).compare(1, keys(9, 3, 2))

    assert overlap.anchors == ((1, 2), (2, 1))
    assert overlap.first == 1


def test_places_stay_while_the_list_is_still() -> None:
    """New rows are set behind the ones there were, which keep their places."""
    tail = tail_of(1, 2, 3)
    take(tail, 1, 2, 3, 4)

    assert tail.compare(2, keys(3, 4)).anchors == ((0, 2), (1, 3))


@pytest.mark.parametrize(
    ("offset", "numbers", "shift"), [(2, (3, 4), 0), (2, (9, 3, 4), 1), (2, (4, 5), -1), (4, (5,), 0)]
)
def test_the_shift_is_measured_at_the_first_known_row(offset: int, numbers: tuple[int, ...], shift: int) -> None:
    """A row inserted further in front moves it back by one; a row removed there moves it forward."""
    assert tail_of(1, 2, 3, 4, 5).compare(offset, keys(*numbers)).shift == shift


def test_offsets_are_those_of_the_list() -> None:
    """A reading may begin far from the start."""
    tail = Tail()
    take(tail, 10, 1, 2, 3)

    assert tail.end == 13
    assert [tail.compare(offset, keys(3)).shift for offset in (12, 15)] == [0, 3]
    assert [tail.named(offset) for offset in (9, 12, 13)] == [3, 1, 0]


def test_only_rows_before_the_last_known_one_are_strangers() -> None:
    """Rows behind it are new, and those that can't be told from others are neither."""
    tail = tail_of(1, 2, 3)

    assert tail.compare(0, keys(1, 9, 2, 8, 7)).strangers == 1
    assert tail.compare(0, keys(1, 9, 0, 2, 0)).strangers == 1


def test_rows_behind_the_last_known_one_are_left() -> None:
    """The slice does not reach them, and begins behind another."""
    overlap = tail_of(1, 2, 3, 4, 5).compare(1, keys(2, 3))

    assert (overlap.left, overlap.missing, overlap.behind) == (2, 0, 2)


def test_nameless_rows_between_known_ones_are_not_missing() -> None:
    """It is so in a tail that was replaced, too; the nameless row behind the known ones does not count."""
    tail = tail_of(7, 8, 9)
    take(tail, 0, 1, 0, 2, 0)

    assert tail.compare(0, keys(1, 2)).missing == 0


@pytest.mark.parametrize(
    ("read", "numbers", "behind"),
    [((1, 2, 0, 0, 3), (1, 2, 0, 0, 4), 4), ((1, 2, 0), (1, 2, 0, 0, 3), 3), ((1, 2, 0, 0, 3), (1, 2, 0, 4), 3)],
)
def test_nameless_rows_behind_known_ones_were_read(
    read: tuple[int, ...], numbers: tuple[int, ...], behind: int
) -> None:
    """As many of the slice are taken for read as there are in the tail."""
    assert tail_of(*read).compare(0, keys(*numbers)).behind == behind


def test_nameless_rows_are_no_repeated_row() -> None:
    """Any number of them may be in a slice, but a row twice beside them is out of order."""
    assert tail_of(1, 2).compare(0, keys(1, 0, 0, 2, 0)).ordered
    assert Tail().compare(0, keys(0, 0, 1)).ordered
    assert not Tail().compare(0, keys(0, 0, 1, 1)).ordered


def test_a_new_tail_is_empty() -> None:
    """Nothing was read, and the list's start is expected."""
    tail = Tail()

    assert (tail.end, tail.assumed, len(tail), loose(tail)) == (0, 0, 0, [])
    assert tail.compare(0, keys(1)) == Overlap()


def test_a_slice_of_a_still_list_adds_its_new_rows() -> None:
    """The rows read before stay, and none is assumed."""
    tail = tail_of(1, 2, 3)
    take(tail, 1, 2, 3, 4)

    assert (tail.end, tail.assumed, len(tail), loose(tail)) == (4, 0, 4, [])


def test_a_slice_without_known_rows_is_set_behind_the_others() -> None:
    """A slice that is taken without an overlap leaves what was read where it was."""
    tail = tail_of(1, 2)
    take(tail, 2, 3)

    assert (len(tail), loose(tail)) == (3, [])
    assert tail.compare(0, keys(1, 2, 3)).anchors == ((0, 0), (1, 1), (2, 2))


def test_rows_before_a_slice_of_the_start_are_forgotten() -> None:
    """Nothing can stand in front of the first row of the list."""
    tail = tail_of(1, 2, 3)
    take(tail, 0, 2, 3, 4)

    assert (tail.end, len(tail)) == (3, 3)
    assert not tail.remembers(key(1))


def test_a_stranger_at_the_start_has_a_place() -> None:
    """No row that was read can stand in front of it."""
    tail = tail_of(1, 2, 3)
    take(tail, 0, 9, 1, 2)

    assert (tail.end, tail.assumed, len(tail)) == (4, 1, 4)
    assert tail.compare(0, keys(9, 1, 2, 3)) == Overlap(anchors=((0, 3), (1, 4), (2, 5), (3, 6)), behind=4)


def test_a_missing_row_loses_its_place() -> None:
    """The row behind the slice is assumed where the slice ends."""
    tail = tail_of(1, 2, 3, 4, 5)
    take(tail, 1, 2, 4)

    assert (tail.end, tail.assumed, len(tail), loose(tail)) == (4, 1, 4, [3])


def test_rows_are_missed_in_a_tail_that_was_replaced() -> None:
    """A second row leaves after the first one."""
    tail = tail_of(1, 2, 3, 4, 5)
    take(tail, 1, 2, 4)
    take(tail, 1, 2, 5)

    assert (tail.end, tail.assumed, len(tail), loose(tail)) == (3, 0, 3, [3, 4])


def test_placed_and_loose_rows_are_remembered() -> None:
    """Rows that were never read are not."""
    tail = tail_of(1, 2, 3, 4, 5)
    take(tail, 1, 2, 4)

    assert [tail.remembers(key(number)) for number in (2, 3, 9)] == [True, True, False]


def test_a_loose_row_that_is_read_again_has_a_place() -> None:
    """It was pushed back behind the others."""
    tail = tail_of(1, 2, 3, 4, 5)
    take(tail, 1, 2, 4)
    take(tail, 2, 4, 5, 3)

    assert (tail.end, tail.assumed, len(tail), loose(tail)) == (5, 0, 5, [])
    assert key(3) in tail


def test_rows_behind_a_new_row_lose_their_place() -> None:
    """A new row stands where another was expected: the others may stand before or behind it, or be gone."""
    tail = tail_of(1, 2, 3, 4, 5)
    take(tail, 0, 1, 2, 9)

    assert (tail.end, tail.assumed, len(tail), loose(tail)) == (3, 0, 3, [3, 4, 5])


def test_no_row_is_assumed_behind_the_end_of_the_list() -> None:
    """The slice holds the end, so the rows behind it are not in the list."""
    tail = tail_of(1, 2, 3, 4, 5)
    take(tail, 0, 1, 2, ends=True)

    assert (tail.end, tail.assumed, len(tail), loose(tail)) == (2, 0, 2, [3, 4, 5])


def test_a_slice_of_repeated_rows_replaces_the_tail() -> None:
    """It is out of order, and has no known row that shows where the others stand."""
    tail = tail_of(1, 2, 3)
    take(tail, 3, 4, 4)

    assert (tail.end, tail.assumed, loose(tail)) == (5, 0, [1, 2, 3])
    assert key(4) in tail


def test_nameless_rows_before_a_slice_keep_their_place() -> None:
    """Only the missing row is loose."""
    tail = tail_of(1, 0, 2, 3, 4)
    take(tail, 2, 2, 4)

    assert (tail.end, len(tail), loose(tail)) == (4, 4, [3])


def test_a_nameless_row_that_left_is_not_loose() -> None:
    """Nobody could know it again."""
    tail = tail_of(1, 0, 2, 3)
    take(tail, 0, 1, 2)

    assert (tail.end, tail.assumed, len(tail), tail.loose) == (3, 1, 3, {})


def test_nothing_is_given_up_where_nothing_is_assumed() -> None:
    """Every row of the tail was in the last slice or in front of it."""
    tail = tail_of(1, 2)
    tail.doubt()

    assert (tail.end, len(tail), loose(tail)) == (2, 2, [])


def test_a_tail_that_is_cleared_is_empty() -> None:
    """Rows with a place, assumed rows and loose ones are all forgotten."""
    tail = tail_of(1, 2, 3, 4, 5)
    take(tail, 1, 2, 4)
    tail.clear()

    assert (tail.end, tail.assumed, len(tail)) == (0, 0, 0)
    assert not any(tail.remembers(key(number)) for number in range(1, 6))


def test_twice_the_rows_are_kept() -> None:
    """Nothing is dropped from a tail that is just full."""
    tail = tail_of(*range(1, 2 * TAIL_ROWS + 1))

    assert len(tail) == 2 * TAIL_ROWS
    assert key(1) in tail


def test_an_overfull_tail_keeps_its_last_rows() -> None:
    """One row more than twice the rows leaves the rows once, each in its place."""
    tail = tail_of(*range(1, 2 * TAIL_ROWS + 1))
    take(tail, 2047, 2048, 2049)

    assert len(tail) == TAIL_ROWS
    assert [key(number) in tail for number in (1, 1024, 1025, 1026, 2049)] == [False, False, False, True, True]
    assert tail.compare(1025, keys(1026, 2049)) == Overlap(((0, 1025), (1, 2048)), missing=1022, behind=2)


def test_a_slice_that_replaces_the_tail_is_cut() -> None:
    """Twice the rows are kept of a larger slice, the last ones."""
    tail = tail_of(1)
    take(tail, 0, *range(2, 2 * TAIL_ROWS + 3))

    assert len(tail) == 2 * TAIL_ROWS
    assert [key(number) in tail for number in (2, 3, 2050)] == [False, True, True]


def test_loose_rows_are_bounded() -> None:
    """The last ones that lost their place are remembered, twice the rows of them."""
    tail = tail_of(*range(1, 2049))
    take(tail, 0, *range(3001, 5049))
    take(tail, 0, 9999)

    assert loose(tail) == [*range(3001, 5049)]


def test_rows_that_keep_a_place_push_out_no_loose_row() -> None:
    """The same slice of the start twice changes nothing."""
    tail = tail_of(*range(1, 2049))
    take(tail, 0, *range(3001, 5049))
    take(tail, 0, *range(3001, 5049))

    assert loose(tail) == [*range(1, 2049)]
