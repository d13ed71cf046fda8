"""Between reading and landing: rows that arrived, and those of them that wait to be flattened together.

Owns how many rows are flattened at once: a column of a thousand values costs little more than one of ten.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from annolake import contract
from annolake.sources.row_batch import Endpoint, RowBatch
from annolake.transform.flatten import flatten

_ROWS_AT_ONCE = 1_000
_BYTES_AT_ONCE = 8 << 20


@dataclass
class _Alike:
    """Rows that wait and of which the same columns are unknown."""

    rows: list[Any] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    unmapped: list[bytes | None] = field(default_factory=list)
    archived: list[bool] = field(default_factory=list)
    item_types: list[str] = field(default_factory=list)
    run_found: list[bool | None] = field(default_factory=list)


class FlattenBuffer:
    """Rows that are new or changed, until there are enough of them to be flattened together."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._alike: dict[frozenset[str], _Alike] = {}
        self._keys: set[bytes] = set()
        self._size = 0

    def holds(self, keys: Iterable[bytes]) -> bool:
        """Whether an earlier version of a row waits; it must land first, for the last one landed counts."""
        return not self._keys.isdisjoint(keys)

    def add(self, arrived: RowBatch, places: Sequence[int]) -> None:
        """Add some of the rows that arrived, no two of them with one key."""
        alikes: dict[frozenset[str], list[int]] = {}
        for place in places:
            alikes.setdefault(arrived.unavailable[place], []).append(place)
        for unavailable, some in alikes.items():
            alike = self._alike.setdefault(unavailable, _Alike())
            alike.rows += [arrived.rows[place] for place in some]
            alike.hashes += [arrived.hashes[place] for place in some]
            alike.unmapped += [arrived.unmapped[place] for place in some]
            alike.archived += [arrived.archived[place] for place in some]
            alike.item_types += [arrived.item_types[place] for place in some]
            alike.run_found += [arrived.run_found[place] for place in some]
        self._keys.update(arrived.keys[place] for place in places)
        self._size += arrived.size * len(places) // len(arrived.rows)

    @property
    def full(self) -> bool:
        """Whether it is time to flatten."""
        return len(self._keys) >= _ROWS_AT_ONCE or self._size >= _BYTES_AT_ONCE

    def flattened(self, now: datetime) -> Iterator[tuple[pa.RecordBatch, frozenset[str]]]:
        """Yield the rows as batches of the table `runs`, each with its unknown columns, and forget them."""
        for unavailable, alike in self._alike.items():
            facts: dict[str, Sequence[Any]] = {
                "item_type": alike.item_types,
                "endpoint": [self._endpoint] * len(alike.rows),
                "archived": alike.archived,
                "run_found": alike.run_found,
            }
            batch = flatten(
                contract.RUNS,
                alike.rows,
                unmapped=alike.unmapped,
                hashes=alike.hashes,
                exported_at=now,
                facts=facts,
            )
            yield batch, unavailable
        self._alike, self._keys, self._size = {}, set(), 0
