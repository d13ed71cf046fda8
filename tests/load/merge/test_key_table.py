"""The numbering of keys against a plain dictionary: as a dict, as arrays, and from one to the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annolake.load.merge.columns import halves
from annolake.load.merge.key_table import FEW, FREE, KeyTable

PAGES = st.lists(st.lists(st.integers(0, 60), max_size=9), max_size=20)


def _key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@given(PAGES, st.sampled_from([0, 5, 20, FEW]), st.booleans())
def test_keys_have_the_numbers_that_a_dictionary_would_give_them(
    pages: list[list[int]], few: int, joined: bool
) -> None:
    """Numbers stay for good, are without a gap, and an unknown key has none; whichever form the table has."""
    table, given_numbers = KeyTable(few), dict[int, int]()
    for page in pages:
        keys = [_key(number) for number in page]
        wanted = halves(b"".join(keys))
        assert table.find(wanted).tolist() == [given_numbers.get(number, FREE) for number in page]
        numbers = table.number(wanted).tolist() if joined else table.number_each(keys)
        given_numbers |= {number: at for number, at in zip(page, numbers, strict=True) if number not in given_numbers}
        assert numbers == [given_numbers[number] for number in page]
        assert sorted(given_numbers.values()) == list(range(len(table)))


@pytest.mark.parametrize("few", [0, FEW])
def test_memory_is_told_about_as_it_is(few: int) -> None:
    """What many keys take is under 30 bytes each, what few do is the dict's."""
    table = KeyTable(few)
    table.number(np.arange(100_000, dtype=np.uint64).reshape(-1, 2))

    assert len(table) == 50_000
    assert (table.nbytes / 50_000 < 30) == (few == 0)
