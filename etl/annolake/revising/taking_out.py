"""What was erased, taken out of a queue: by an erasure, or by an export that finds an erasure cut short.

Needs the queue's lock.
"""

from contextlib import suppress
from datetime import datetime

from msgspec.structs import replace as replaced

from annolake.errors import LockedError
from annolake.load.erased import Erased, read_erased
from annolake.load.erasure import Rule, changes_of, drop_queue, scan
from annolake.load.lake import Lake
from annolake.load.revision import revise_tables
from annolake.load.storage.scratch import Workspace
from annolake.revising.changes import QueueChanges
from annolake.revising.erased_rows import rejected_rows, rejects_erased

_LATER_TABLES = ("feedback", "turns")


def take_out(lake: Lake, queue_id: str, workspace: Workspace, rule: Rule, told: QueueChanges) -> None:
    """Take the rows of a rule out of all tables of a queue, and out of its rejects."""
    found = scan(lake, queue_id, rule, rejected_rows(lake, queue_id))
    for table in lake.keyed:
        told.rejects += rejects_erased(lake, queue_id, workspace, table, rule=rule, found=found)
    revise_tables(lake, queue_id, workspace, changes_of(rule, found), told)
    _keep_proofs(lake, queue_id, workspace)


def _keep_proofs(lake: Lake, queue_id: str, workspace: Workspace) -> None:
    """Have proofs hold of the rows that are left, so that not all feedback and turns are read again."""
    proofs = lake.proofs(queue_id)
    if proofs is None:
        return
    feedback, turns = (lake.table(name).held(queue_id).rows for name in _LATER_TABLES)
    kept = replaced(
        proofs,
        feedback_terms=proofs.feedback_terms and replaced(proofs.feedback_terms, rows=feedback),
        turns=proofs.turns and replaced(proofs.turns, rows=turns),
    )
    if kept != proofs:
        lake.write_proofs(queue_id, kept, workspace)


def finish(lake: Lake, queue_id: str, workspace: Workspace, erased: Erased, *, now: datetime) -> QueueChanges:
    """Take out of a queue all that is remembered, and note that nothing is left of it. Raises LakeError."""
    told = QueueChanges(queue_id=queue_id)
    if erased.has_queue(queue_id):
        drop_queue(lake, queue_id, workspace, told)
    else:
        rule = Rule(before=erased.added_before(queue_id), remembered=erased.has_run)
        take_out(lake, queue_id, workspace, rule, told)
    with suppress(LockedError), lake.lock_erasures(since=now):  # else the next export looks once more
        read_erased(lake).finishing([queue_id]).write(lake, workspace)
    return told
