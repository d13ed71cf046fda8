"""How much is asked for at once: by the weight of the rows seen so far."""

import pytest

from annolake.extract.page_size import PageSize


@pytest.mark.parametrize(("kilobytes", "rows", "spare"), [(1, 100, 4), (10, 100, 4), (60, 100, 2), (300, 40, 0)])
def test_pages_in_memory_stay_within_their_budget(kilobytes: int, rows: int, spare: int) -> None:
    """Four lanes share 48 MB; light rows leave room for pages that wait, heavy ones are asked for a few at a time."""
    size = PageSize(100, 48_000_000, 4)
    size.saw(20, 20 * kilobytes * 1000)

    assert (size(), size.spare()) == (rows, spare)
    assert (4 + 2 * spare) * rows * kilobytes <= 48_000


def test_a_small_page_comes_first() -> None:
    """Until twenty rows were weighed no page is larger, be the first ones light; nothing waits besides."""
    size = PageSize(100, 48_000_000, 4)

    assert (size(), size.spare()) == (20, 0)
    size.saw(0, 2)
    size.saw(1, 500)
    assert size() == 20
    size.saw(19, 19 * 500)
    assert size() == 100


def test_rows_too_heavy_for_any_budget_come_one_by_one() -> None:
    """Fewer than one row can't be asked for."""
    size = PageSize(100, 1_000_000, 4)
    size.saw(3, 30_000_000)

    assert (size(), size.spare()) == (1, 0)


def test_a_light_page_does_not_undo_a_heavy_one() -> None:
    """The heaviest pages of late count, whatever came after them."""
    size = PageSize(100, 48_000_000, 4)
    size.saw(40, 40 * 300_000)
    size.saw(40, 40 * 1_000)

    assert size() == 50
