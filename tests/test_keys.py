"""The 16 bytes that stand for a row's id."""

from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from annolake.keys import KEY_BYTES, key_of, keys_of


@given(st.uuids())
def test_a_uuid_is_its_own_bytes(value: UUID) -> None:
    """In its canonical form; in another it is another text."""
    assert key_of(str(value)) == value.bytes
    assert key_of(f"{{{value}}}") != value.bytes
    assert key_of(value.hex) != value.bytes


@given(st.sets(st.text(max_size=40)))
def test_other_ids_have_a_key_each(ids: set[str]) -> None:
    """Of the same width, and always the same."""
    keys = [key_of(each) for each in ids]

    assert len(set(keys)) == len(ids)
    assert all(len(key) == KEY_BYTES for key in keys)
    assert keys == [key_of(each) for each in ids]


_ODD = st.text(max_size=40) | st.text("0123456789abcdefABCDEF- \n", min_size=36, max_size=36)
_SHIFTED = st.uuids().map(lambda value: f"{str(value)[:7]}-{str(value)[7]}{str(value)[9:]}")
_BLANKS = st.uuids().map(lambda value: f"{str(value)[:24]}  {str(value)[26:]}")
_UPPER = st.uuids().map(lambda value: str(value).upper())


@given(
    st.lists(st.uuids().map(str), max_size=9), st.lists(_ODD | _SHIFTED | _BLANKS | _UPPER, max_size=2), st.randoms()
)
def test_ids_together_have_the_keys_that_each_has(uuids: list[str], odd: list[str], order: Random) -> None:
    """All UUIDs, or others among them: of another case, with blanks, or with a dash elsewhere."""
    ids = [*uuids, *odd]
    order.shuffle(ids)

    assert keys_of(ids) == [key_of(each) for each in ids]


def test_ids_that_spell_uuids_only_together_are_none() -> None:
    """Two texts of which one has a character that the other lacks."""
    whole = "0f0e0d0c-0b0a-0908-0706-050403020100"

    assert keys_of([whole + "0", whole[1:]]) == [key_of(whole + "0"), key_of(whole[1:])]
    assert keys_of([whole[:-1], "0" + whole]) == [key_of(whole[:-1]), key_of("0" + whole)]
