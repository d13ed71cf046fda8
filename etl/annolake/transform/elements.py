"""The elements of a list, once they are decoded: rows with their keys and hashes, and rejects among them.

The same over both endpoints, whatever their rows are made into.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from annolake.keys import keys_of
from annolake.transform.row_batch import Reject
from annolake.transform.row_types import hash_seed, row_hash

Element = tuple[Any, bytes | None] | Reject
"""What becomes of an element of a list: its normalized row and the text of its unmapped fields, or why it is no row."""


class Elements(msgspec.Struct):
    """Elements of a list of rows: the rows and their `keys`, the rejects, and the keys of both in the list's order."""

    rows: Sequence[tuple[Any, bytes | None]]
    keys: list[bytes]
    rejects: list[Reject]
    in_order: list[bytes]

    def hashes(self, *, archived: bool) -> list[bytes]:
        """Return the rows' hashes, over what was sent for each and the list that it is in."""
        which, buffer = b"archived" if archived else b"active", bytearray()
        usual = hash_seed(which, b"")
        return [
            row_hash(row, usual if unmapped is None else hash_seed(which, unmapped), buffer)
            for row, unmapped in self.rows
        ]


def told_apart(elements: Sequence[Element]) -> Elements:
    """Return the rows and the rejects that elements are."""
    rejects = [each for each in elements if isinstance(each, Reject)]
    rows = [each for each in elements if not isinstance(each, Reject)]
    keys = keys_of([row.queue_run_id for row, _ in rows])
    own = iter(keys)
    return Elements(rows, keys, rejects, [each.key if isinstance(each, Reject) else next(own) for each in elements])
