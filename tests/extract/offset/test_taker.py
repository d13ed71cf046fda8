"""Which slices join at the start and at the end of a list, and which slices asked for ahead are worth keeping."""

from concurrent.futures import Future

import pytest

from annolake.extract.offset.asker import Asker
from annolake.extract.offset.growth import Growth
from annolake.extract.offset.in_flight import Ask, Window
from annolake.extract.offset.prefetch import Capacity, Prefetch
from annolake.extract.offset.taker import Taker
from annolake.extract.paging.notes import Notes
from annolake.extract.paging.overlap import Tail
from annolake.extract.paging.patience import Patience
from annolake.extract.paging.readings import Ledger
from annolake.extract.paging.slices import Slice
from extract.moving import Answer
from extract.rows import PlainSeenKeys, key

LIMIT = 10


class Reading:
    """A list of which slices are shown by hand; `hint` is its reported size."""

    def __init__(self, hint: int | None = None) -> None:
        capacity, patience = Capacity(), Patience("the active list", "active", lambda: 0, restarts=3)
        self.window: Window = Window(lambda _offset, _limit: Answer())
        prefetch = Prefetch(capacity, lanes=1, limit=lambda: LIMIT, spare=lambda: 0, hint=lambda: hint)
        self.asker = Asker(self.window, Tail(), prefetch, patience)
        self.notes = Notes("active", Ledger(PlainSeenKeys()))
        self.taker = Taker(self.asker, self.notes, capacity, patience, hint=lambda: hint, watermark=None)

    def show(self, offset: int, *rows: int) -> bool:
        """Have a slice be shown; tell whether it was taken."""
        keys = [key(row) for row in rows]
        ask: Ask = Ask(offset, LIMIT, LIMIT, 3, Future())
        return self.taker.take(ask, Slice(keys, {"added_at": [None] * len(keys)}, tuple(keys))) is not None


def test_the_start_of_a_list_joins_by_any_row_in_its_order() -> None:
    """However many rows came in front, a slice at offset 0 that ends with known rows goes on with the reading."""
    reading = Reading()
    reading.show(0, *range(10))
    joined = reading.show(0, *range(100, 109), 0)

    assert (joined, reading.notes.reading.breaks, reading.notes.seen) == (True, 0, 19)


def test_the_start_of_a_list_opens_anew_where_known_rows_changed_their_order() -> None:
    """It is taken all the same, since nothing lies before it, and the reading begins again."""
    reading = Reading()
    reading.show(0, *range(10))
    opened = reading.show(0, 1, 0, *range(2, 10))

    assert (opened, reading.notes.reading.breaks, reading.notes.reading.disorders) == (True, 1, 1)


def test_an_empty_slice_opens_nothing_where_rows_were_read() -> None:
    """An answer that shows nothing at offset 0 may be one of a service that leaves rows out."""
    reading = Reading()
    reading.show(0, *range(10))
    opened = reading.show(0)

    assert (opened, reading.notes.reading.breaks) == (False, 0)


def test_a_slice_elsewhere_needs_rows_that_follow_each_other() -> None:
    """At any other offset one known row behind strangers is no overlap: the next slice begins further back."""
    reading = Reading()
    reading.show(0, *range(10))
    joined = reading.show(1, *range(100, 109), 0)

    assert (joined, reading.notes.reading.breaks, reading.asker.offset) == (False, 1, 0)


@pytest.mark.parametrize(("offset", "expected", "kept"), [(7, 3, 0), (7, 4, 1), (8, 10, 0), (12, 10, 0)])
def test_slices_ahead_are_dropped_where_they_bring_nothing(offset: int, expected: int, kept: int) -> None:
    """One that ends at the frontier, or shares too few rows with what was read, is thrown away with those behind it."""
    reading = Reading()
    reading.show(0, *range(10))
    reading.window.send(offset, LIMIT, expected, shared=3)
    reading.asker.drop_useless()

    assert len(reading.window) == kept


@pytest.mark.parametrize(("hint", "suspected"), [(None, True), (12, True), (13, False)])
def test_short_slices_within_the_reported_size_are_no_growth(hint: int | None, suspected: bool) -> None:
    """Three short slices in a row, each with new rows, from the reported end on are."""
    reading = Reading(hint)
    reading.show(0, *range(10))
    reading.show(7, *range(7, 12))
    reading.show(9, *range(9, 13))
    reading.show(10, *range(10, 14))

    assert reading.taker.growth.suspected is suspected


def test_a_growing_list_is_followed_as_far_as_it_was_looked_ahead() -> None:
    """Ten rows for each that the last slice brought; then it ends. Rows that are read again do not count."""
    for met in (1, 0):
        growth = Growth()
        for _ in range(3):
            growth.saw(1, met=1, short=True, beyond=True)
        growth.looked(clear=True)
        followed = [growth.saw(1, met=met, short=True, beyond=True) for _ in range(10)]

        assert followed == [False] * 9 + [met == 1]


@pytest.mark.parametrize(("last", "kept"), [(15, 0), (10, 1)])
def test_slices_ahead_are_dropped_at_once_but_behind_the_last_slice(last: int, kept: int) -> None:
    """What was asked for ahead of a slice that may be the list's last one may be what is asked for next."""
    reading = Reading()
    reading.show(0, *range(10))
    reading.window.send(7, LIMIT, expected=3, shared=3)
    reading.show(5, *range(5, last))

    assert len(reading.window) == kept
