"""Slices that do not fit into an answer: how little is asked for instead, and that it is still a part of the list."""

from dataclasses import dataclass, field

import pytest

from annolake.errors import TooLargeError, UnavailableError
from annolake.extract.offset.halving import read_fitting
from annolake.extract.page_size import PageSize


@dataclass
class Rows:
    """What an answer showed."""

    keys: list[bytes]

    def append(self, other: "Rows") -> None:
        """Add what follows."""
        self.keys += other.keys


@dataclass
class Listing:
    """A list of rows of these weights, of which at most 100 in sum fit into an answer."""

    weights: list[int]
    asked: list[tuple[int, int]] = field(default_factory=list)

    def read(self, offset: int, rows: int) -> Rows:
        """Answer as a service does."""
        self.asked.append((offset, rows))
        there = range(offset, min(offset + rows, len(self.weights)))
        if sum(self.weights[place] for place in there) > 100:
            raise TooLargeError("too large", status=None, endpoint="/", attempts=1)
        return Rows([b"%d" % place for place in there])

    def fitting(self, offset: int, rows: int, most: int = 100) -> list[bytes]:
        """Return the keys that fit."""
        shown: Rows = read_fitting(self.read, offset, rows, most=lambda: most, refused=lambda _: None)
        return shown.keys


def test_the_first_half_is_asked_for_until_it_fits() -> None:
    """What fits at once is one request; the rest of a slice is left to whoever reads on."""
    listing = Listing([10] * 80)

    assert listing.fitting(0, 8) == [b"%d" % place for place in range(8)]
    assert listing.fitting(8, 40) == [b"%d" % place for place in range(8, 18)]
    assert listing.asked == [(0, 8), (8, 40), (8, 20), (8, 10)]
    assert listing.fitting(0, 40, most=5) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_pair_that_only_fits_alone_is_read_one_by_one() -> None:
    """And the first one once more, to show that both stood side by side."""
    listing = Listing([60] * 4)

    assert listing.fitting(1, 2) == [b"1", b"2"]
    assert listing.asked == [(1, 2), (1, 1), (2, 1), (1, 1)]
    assert listing.fitting(3, 2) == [b"3"]


def test_a_single_row_that_does_not_fit_is_an_error() -> None:
    """There is nothing less to ask for, be it the first or the second of two."""
    for weights in ([101, 1], [1, 101]):
        with pytest.raises(TooLargeError):
            Listing(weights).fitting(0, 10)


def test_rows_that_move_while_they_are_read_are_no_slice() -> None:
    """A few tries, then an error: what was read may not have stood side by side."""

    def moving(offset: int, rows: int) -> Rows:
        if rows > 1:
            raise TooLargeError("too large", status=None, endpoint="/", attempts=1)
        asked.append(offset)
        return Rows([b"%d" % len(asked)])

    asked: list[int] = []
    with pytest.raises(UnavailableError, match="keep moving"):
        read_fitting(moving, 0, 2, most=lambda: 100, refused=lambda _: None)

    assert len(asked) == 9


def test_what_was_refused_makes_pages_smaller() -> None:
    """A row weighs as much as the refused rows did at least; no page aims at more than half of what may come."""
    size = PageSize(100, 64_000_000, 8, 1_000_000)
    size.saw(100, 250_000)
    assert size() == 100

    size.refused(100, 1_000_000)
    assert size() == 50
    size.refused(10, 1_000_000)
    assert size() == 5
