"""Rows on their way into the lake: those that are new or changed wait here until there are enough to be flattened.

Owns how many rows are flattened at once: a column of a thousand values costs little more than one of ten.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from itertools import compress

from annolake.contract import RUNS, Table
from annolake.load.merge.upsert import Upsert
from annolake.report import Endpoint
from annolake.transform.flatten import flatten
from annolake.transform.row_batch import DecodedRow, RowBatch

_ROWS_AT_ONCE = 1_000
_BYTES_AT_ONCE = 8 << 20


class FlattenBuffer:
    """Takes the rows of one queue in one table in reading order; `flush` when all were taken.

    Rows of which the same columns are unavailable are flattened together; `nulls` are columns that are null in any
    case. `run_missing_new` tells how many rows are new or changed and have a run that was not found.
    """

    def __init__(
        self,
        upsert: Upsert,
        endpoint: Endpoint | None,
        now: Callable[[], datetime],
        *,
        table: Table = RUNS,
        nulls: Collection[str] = (),
    ) -> None:
        self.run_missing_new = 0
        self._upsert, self._endpoint, self._now, self._table, self._nulls = upsert, endpoint, now, table, nulls
        self._waiting: dict[frozenset[str], list[DecodedRow]] = {}
        self._numbers: set[int] = set()
        self._size = 0

    def take(self, batch: RowBatch) -> list[DecodedRow]:
        """Return the rows that are new or changed; they wait, and where enough of them do they are flattened."""
        rows = batch.latest().rows
        if not rows:
            return []
        changed = list(compress(rows, self._upsert.index.changed([r.number for r in rows], [r.hash for r in rows])))
        if self._endpoint == "items":
            self._upsert.index.note_found([row.number for row in rows], [row.run_found for row in rows])
        self.run_missing_new += sum(row.run_found is False for row in changed)
        row_bytes = max(1, batch.size // max(1, len(rows)))
        step = max(1, _BYTES_AT_ONCE // row_bytes)  # a page may be larger than what is flattened at once
        for start in range(0, len(changed), step):
            self._wait(changed[start : start + step], row_bytes)
        return changed

    def _wait(self, rows: list[DecodedRow], row_bytes: int) -> None:
        if any(row.number in self._numbers for row in rows):
            self.flush()  # an earlier version must be added first, for the last one added counts
        for row in rows:
            self._waiting.setdefault(row.unavailable, []).append(row)
            self._numbers.add(row.number)
        self._size += len(rows) * row_bytes
        if len(self._numbers) >= _ROWS_AT_ONCE or self._size >= _BYTES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Flatten the rows that wait, and hand them to the upsert."""
        for unavailable, rows in self._waiting.items():
            batch = flatten(self._table, rows, exported_at=self._now(), endpoint=self._endpoint, nulls=self._nulls)
            self._upsert.add(batch, [row.number for row in rows], unavailable=unavailable)
        self._waiting, self._numbers, self._size = {}, set(), 0
