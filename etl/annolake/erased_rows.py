"""Rows that were erased, met again by an export: they are left out, and counted as such.

Owns what of a queue counts as erased: by the ids of a row or of its run, or by when it was added
(docs/privacy.md#erasing).
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from annolake.keys import joint_key_of, key_of
from annolake.load.erased import Erased
from annolake.load.erasure import Found, Rule
from annolake.load.lake import Lake
from annolake.load.records import time_from
from annolake.load.storage.scratch import Workspace
from annolake.transform.reject_value import RejectedRow
from annolake.transform.row_batch import DecodedRow, Reject, RowBatch

_OF_ROWS, _OF_FEEDBACK, _OF_TURNS = ("id", "run_id"), ("run_id",), ("trace_id",)


class ErasedRows:
    """What was erased of one queue. `met` tells how many rows were left out so far, each once."""

    def __init__(self, erased: Erased, queue_id: str) -> None:
        self._erased, self._before = erased, erased.added_before(queue_id)
        self._numbers = bytearray()
        self.met = 0

    def is_row(self, row: Any) -> bool:
        """Tell whether a row, or an item, was erased."""
        return self._erased.has_run(row.queue_run_id, row.id) or self._is_old(row.added_at)

    def is_reject(self, reject: Reject) -> bool:
        """Tell whether a row that was rejected was erased; where its text tells."""
        row = RejectedRow(reject.text)
        added_at = time_from(row.text_of("added_at")) if self._before else None
        return self._erased.has_run(reject.queue_run_id, *map(row.text_of, _OF_ROWS)) or self._is_old(added_at)

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
        gone = [row for row in batch.rows if self.is_row(row.row)]
        self._count([*batch.left_out, *(row.number for row in gone)])
        left = {row.key for row in gone}
        rejects = [reject for reject in batch.rejects if not self.is_reject(reject)] if batch.rejects else []
        if not gone and len(rejects) == len(batch.rejects):
            return batch
        return replace(batch, rows=[row for row in batch.rows if row.key not in left], rejects=rejects)

    def _count(self, numbers: list[int]) -> None:
        """Count rows that were left out, given by their numbers."""
        for number in numbers:
            if number >= len(self._numbers):
                self._numbers.extend(bytes(max(number + 1 - len(self._numbers), len(self._numbers))))
            self.met += not self._numbers[number]
            self._numbers[number] = 1

    def _is_old(self, added_at: datetime | None) -> bool:
        return self._before is not None and added_at is not None and added_at < self._before


def rejects_erased(lake: Lake, queue_id: str, workspace: Workspace, table: str, *, rule: Rule, found: Found) -> int:
    """Remove a table's rejects of rows that a rule concerns, as far as their texts tell; return how many."""
    kept, gone = lake.rejects(queue_id, workspace, table), 0
    for name in kept.names:
        record = kept.get(name) or {}
        row = RejectedRow(str(record.get("row")))
        if _concerned(name, row, table, rule, found):
            kept.remove(name)
            gone += 1
    kept.commit()
    return gone


def _concerned(name: str, row: RejectedRow, table: str, rule: Rule, found: Found) -> bool:
    names = {"runs": _OF_ROWS, "feedback": _OF_FEEDBACK}.get(table, _OF_TURNS)
    told = [told.lower() for each in names if (told := row.text_of(each))]
    if not rule.ids.isdisjoint(told) or (table == "runs" and name.lower() in rule.ids):
        return True
    if table == "feedback":
        subject = (row.text_of("run_id") or "").lower() or row.text_of("thread_id")
        return subject is not None and key_of(subject) in found.owner_keys
    if table == "turns":
        trace = row.text_of("trace_id")
        return trace is not None and any(joint_key_of(item, trace).hex() == name for item in found.items)
    added_at = time_from(row.text_of("added_at")) if rule.before else None
    return rule.before is not None and added_at is not None and added_at < rule.before
