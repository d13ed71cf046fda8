"""What one answer shows of a list: the type that both ways of paging, by offset and by cursor, hand on."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

NAMELESS = b""  # stands for a row that can't be told from others


class Slice(msgspec.Struct, frozen=True):
    """What one answer shows of a window of a list at one moment: the rows in it, or fewer, in the list's order.

    `keys` has the 16-byte key of every element, in order, unreadable ones included (by their content). `times` has,
    for each time column, the values of the readable rows in the same order, microseconds since 1970; it always
    holds the same columns, `added_at` among them. `page` passes through untouched. `ambiguous_keys` has the keys that
    name no row, being made of the content of one whose id can't be read: several rows can have the same.
    """

    keys: Sequence[bytes]
    times: Mapping[str, Sequence[int | None]]
    page: Any
    ambiguous_keys: frozenset[bytes] = frozenset()

    @property
    def names(self) -> Sequence[bytes]:
        """The keys, with `NAMELESS` in the place of ambiguous ones."""
        return (
            [NAMELESS if key in self.ambiguous_keys else key for key in self.keys] if self.ambiguous_keys else self.keys
        )


class Piece(msgspec.Struct, frozen=True):
    """A slice that is to be taken, of the list `name`; `numbers` has the number of each of its keys.

    By cursor only the rows `wanted` are: those met for the first time, or where they had not been.
    """

    name: str
    slice: Slice
    numbers: Sequence[int]
    wanted: frozenset[bytes] = frozenset()

    def numbers_by_key(self) -> dict[bytes, int]:
        """Return the number of each row."""
        return dict(zip(self.slice.keys, self.numbers, strict=True))
