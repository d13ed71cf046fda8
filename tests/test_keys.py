"""The 16 bytes that stand for a row's id."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from annolake.keys import KEY_BYTES, key_of


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
