"""Between pages and batches: rows that wait to be flattened together, and what paging needs to know of a page.

Owns how many rows are flattened at once: a column of a thousand values costs little more than one of ten.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from annolake import contract
from annolake.extract.lanes import Slice
from annolake.transform.decode import Page
from annolake.transform.flatten import flatten

_ROWS_AT_ONCE = 1_000
_BYTES_AT_ONCE = 8 << 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMES = ("added_at", "effective_added_at", "last_queued_at")  # those a list may be sorted by


def as_slice(page: Page) -> Slice[Page]:
    """Return a page as paging sees it: its keys and the times it may be sorted by."""
    return Slice(page.keys, {name: _microseconds(page.rows, name) for name in _TIMES}, page)


def newest_added_at(piece: Slice[Page]) -> datetime | None:
    """Return the latest added_at of a slice, None where no row has one."""
    newest = max((time for time in piece.times["added_at"] if time is not None), default=None)
    return None if newest is None else _EPOCH + newest * _MICROSECOND


def _microseconds(rows: Iterable[Any], name: str) -> list[int | None]:
    times = (getattr(row, name) for row in rows)
    return [None if time is None else (time - _EPOCH) // _MICROSECOND for time in times]


@dataclass
class Waiting:
    """Rows that are new or changed, until there are enough of them to be flattened together."""

    rows: list[Any] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    unmapped: list[bytes | None] = field(default_factory=list)
    archived: list[bool] = field(default_factory=list)
    size: int = 0

    def add(self, page: Page, place: int) -> None:
        """Add one row of a page."""
        self.rows.append(page.rows[place])
        self.hashes.append(page.hashes[place])
        self.unmapped.append(page.unmapped[place])
        self.archived.append(page.archived)
        self.size += page.size // len(page.keys)

    @property
    def full(self) -> bool:
        """Whether it is time to flatten."""
        return len(self.rows) >= _ROWS_AT_ONCE or self.size >= _BYTES_AT_ONCE

    def flattened(self, now: datetime) -> pa.RecordBatch:
        """Return the rows as a batch of the table `runs`."""
        same = len(self.rows)
        facts: dict[str, Sequence[Any]] = {
            "item_type": ["RUN"] * same,
            "endpoint": ["runs"] * same,
            "archived": self.archived,
            "run_found": [True] * same,
        }
        return flatten(
            contract.RUNS, self.rows, unmapped=self.unmapped, hashes=self.hashes, exported_at=now, facts=facts
        )
