"""Decoded rows as a source hands them on, whichever the endpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from annolake.transform.decode import Reject

Endpoint = Literal["runs", "items"]

_BYTES_AT_ONCE = 8 << 20


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Decoded rows in reading order, whichever endpoint they came from, and the rejects among them.

    The lists but `rejects` have an entry for each row. `unavailable` names the columns that could not have been told,
    so that what is stored stays; `size` is in bytes, `newest` the latest added_at.
    """

    keys: Sequence[bytes]
    rows: Sequence[Any]
    hashes: Sequence[bytes]
    unmapped: Sequence[bytes | None]
    archived: Sequence[bool]
    item_types: Sequence[str]
    run_found: Sequence[bool | None]
    unavailable: Sequence[frozenset[str]]
    rejects: Sequence[Reject]
    size: int
    newest: datetime | None

    def latest(self) -> "RowBatch":
        """Return the same with the last version alone of each row: one that moves can be on a page twice."""
        last = {key: place for place, key in enumerate(self.keys)}
        if len(last) == len(self.keys):
            return self
        of_each: dict[str, Any] = {
            field: [getattr(self, field)[place] for place in last.values()] for field in _OF_EACH_ROW
        }
        return replace(self, **of_each)

    def portions(self, places: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield some places of rows in portions to be flattened: a page may be larger than what is at once."""
        step = max(1, _BYTES_AT_ONCE * len(self.rows) // max(1, self.size))
        for start in range(0, len(places), step):
            yield places[start : start + step]


_OF_EACH_ROW = tuple(one.name for one in fields(RowBatch) if one.name not in {"rejects", "size", "newest"})
