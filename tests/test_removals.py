"""When rows that an export did not meet are marked removed, from counts alone."""

import pytest

from annolake.removals import MANY, Absence


@pytest.mark.parametrize(
    ("missing", "live", "large"),
    [
        (MANY, MANY, False),
        (MANY + 1, MANY + 1, True),
        (21, 104, True),
        (21, 105, False),
        (200, 1000, False),
        (0, 0, False),
    ],
)
def test_many_rows_are_more_than_twenty_and_than_a_fifth(missing: int, live: int, *, large: bool) -> None:
    """Both bounds count, and a share of exactly a fifth is not large."""
    assert Absence(missing, live, excess=0, usual=0).is_large is large


@pytest.mark.parametrize("excess", [None, 0, 7])
def test_few_rows_are_removed_where_the_sizes_say_what_they_always_say(excess: int | None) -> None:
    """Sizes that count as many rows too many as before, or that are not told, hold nothing back."""
    assert Absence(20, 200, excess, usual=7).doubt(missing_before=20) is None


def test_few_rows_that_are_still_counted_stay() -> None:
    """A size that counts more than before tells that they are there; how many is said."""
    assert " 8 " in (Absence(20, 200, excess=8, usual=7).doubt(missing_before=20) or "")
    assert " 1 " in (Absence(20, 200, excess=1, usual=None).doubt(missing_before=20) or "")


def test_many_rows_are_removed_where_everything_agrees() -> None:
    """Two readings that miss the same number, and a size that counts none of them."""
    assert Absence(100, 200, excess=0, usual=7).doubt(missing_before=100) is None


@pytest.mark.parametrize(("excess", "before"), [(0, 99), (0, 101), (None, 100), (1, 100)])
def test_many_rows_stay_where_anything_disagrees(excess: int | None, before: int) -> None:
    """Another number at the second reading, no size, or one that counts a single row more, whatever is usual."""
    assert Absence(100, 200, excess, usual=7).doubt(missing_before=before)
