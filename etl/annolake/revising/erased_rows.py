"""Rows that were erased, met again by an export: they are left out, and counted as such.

Owns what of a queue counts as erased: by the ids of a row or of its run, or by when it was added
(docs/privacy.md#erasing).
"""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from annolake.contract import FEEDBACK, RUNS
from annolake.keys import joint_key_of, key_of
from annolake.load import erasure
from annolake.load.erased import Erased
from annolake.load.lake import Lake
from annolake.load.records import time_from
from annolake.load.storage.scratch import Workspace
from annolake.transform.reject_value import RejectedRow
from annolake.transform.row_batch import DecodedRow, Reject, RowBatch

_OF_ROWS, _OF_FEEDBACK, _OF_TURNS = ("id", "run_id"), ("run_id",), ("trace_id",)


class ErasedRows:
    """What was erased of one queue."""

    def __init__(self, erased: Erased, queue_id: str) -> None:
        self._erased, self._queue_id = erased, queue_id
        self._before = erased.added_before(queue_id)
        self._numbers = bytearray()
        self._rows = 0
        self._rejects: set[bytes] = set()

    @property
    def met(self) -> int:
        """How many rows, rejects among them, were met and left out so far, each once."""
        return self._rows + len(self._rejects)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever erased from the lake."""
        return self._erased.is_empty

    def is_row(self, row: Any) -> bool:
        """Tell whether a row, or an item, was erased."""
        return self._erased.has_row(self._queue_id, queue_run_id=row.queue_run_id, id=row.id, added_at=row.added_at)

    def _is_reject(self, reject: Reject) -> bool:
        """Tell whether a row that was rejected was erased, where its text tells; count it if so."""
        row = RejectedRow(reject.text)
        added_at = time_from(row.text_of("added_at")) if self._before else None
        was = self._erased.has_run(reject.queue_run_id, *map(row.text_of, _OF_ROWS)) or self._is_old(added_at)
        if was:
            self._rejects.add(reject.key)
        return was

    def without_feedback(self, rows: list[DecodedRow], rejects: list[Reject]) -> tuple[list[DecodedRow], list[Reject]]:
        """Return feedback, accepted and rejected, without what is on a run that was erased."""
        return (
            [row for row in rows if not self._erased.has_run(row.row.run_id)],
            [reject for reject in rejects if not self._tells(reject, _OF_FEEDBACK)],
        )

    def without_turns(self, rows: list[DecodedRow], rejects: list[Reject]) -> tuple[list[DecodedRow], list[Reject]]:
        """Return turns, accepted and rejected, without those whose run was erased."""
        return (
            [row for row in rows if not self._erased.has_run(row.row.trace_id)],
            [reject for reject in rejects if not self._tells(reject, _OF_TURNS)],
        )

    def _tells(self, reject: Reject, names: tuple[str, ...]) -> bool:
        return self._erased.has_run(*map(RejectedRow(reject.text).text_of, names))

    def sift(self, batch: RowBatch) -> RowBatch:
        """Return the batch without what was erased, which is counted."""
        if self.is_empty:
            return batch
        gone = [row for row in batch.rows if self.is_row(row.row)]
        self._count([*batch.left_out, *(row.number for row in gone)])
        left = {row.key for row in gone}
        rejects = [reject for reject in batch.rejects if not self._is_reject(reject)]
        if not gone and len(rejects) == len(batch.rejects):
            return batch
        return replace(batch, rows=[row for row in batch.rows if row.key not in left], rejects=rejects)

    def _count(self, numbers: list[int]) -> None:
        for number in numbers:
            if number >= len(self._numbers):
                self._numbers.extend(bytes(max(number + 1 - len(self._numbers), len(self._numbers))))
            self._rows += not self._numbers[number]
            self._numbers[number] = 1

    def _is_old(self, added_at: datetime | None) -> bool:
        return self._before is not None and added_at is not None and added_at < self._before


def rejected_rows(lake: Lake, queue_id: str) -> list[erasure.RejectedRow]:
    """Return what is known of the rejected rows of a queue."""
    rejects = (each for each in lake.rejected(queue_id) if each.table == RUNS.name and each.record)
    return [_facts(each.name, RejectedRow(str((each.record or {}).get("row")))) for each in rejects]


def _facts(name: str, row: RejectedRow) -> erasure.RejectedRow:
    """Return what a reject tells: over items its text is that of the item, or of the run alone."""
    told = {each: text.lower() for each in _OF_ROWS if (text := row.text_of(each))}
    run = told.get("run_id") or (told.get("id") if told.get("id") != name.lower() else None)
    return erasure.RejectedRow(
        name=name,
        ids=frozenset({name.lower(), *told.values()}),
        run=run,
        thread=None if run else row.text_of("thread_id"),
        added_at=time_from(row.text_of("added_at")),
    )


def rejects_erased(
    lake: Lake, queue_id: str, workspace: Workspace, table: str, *, rule: erasure.Rule, found: erasure.Found
) -> int:
    """Remove a table's rejects of rows that a rule concerns, as far as their texts tell; return how many."""
    kept, gone = lake.rejects(queue_id, workspace, table), 0
    names = kept.names
    for name, record in zip(names, kept.all(names), strict=True):
        row = RejectedRow(str((record or {}).get("row")))
        of_rows = table == RUNS.name
        if rule.concerns(_facts(name, row)) if of_rows else _belongs(name, row, table, rule, found):
            kept.remove(name)
            gone += 1
    kept.commit()
    return gone


def _belongs(name: str, row: RejectedRow, table: str, rule: erasure.Rule, found: erasure.Found) -> bool:
    """Tell whether feedback, or a turn, that was rejected is of what is erased."""
    if table == FEEDBACK.name:
        run, thread = (row.text_of("run_id") or "").lower(), row.text_of("thread_id")
        return rule.has(run) or key_of(run or thread or "") in found.owner_keys
    trace = row.text_of("trace_id") or ""
    return rule.has(trace.lower()) or any(joint_key_of(item, trace).hex() == name for item in found.items)
