"""Rows taken out of a lake for good: of a run, of a queue, or older than so long (docs/privacy.md#erasing).

Owns the order of it: what is to go is remembered first, so that an export that begins meanwhile leaves it out; then it
goes, the rows of `runs` last, for the others are found by them. What a kill leaves is taken out by the next export of
the queue (`taking_out`), or by the same erasure once more.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import msgspec

from annolake.errors import LakeError, LockedError
from annolake.load.erased import read_erased
from annolake.load.erasure import Found, Rule, drop_queue, scan
from annolake.printable import counted
from annolake.revising.changes import Changes, Hands, QueueChanges
from annolake.revising.erased_rows import rejected_rows
from annolake.revising.taking_out import take_out

_LATER_TABLES = ("feedback", "turns")


class Order(msgspec.Struct, frozen=True):
    """What is to be erased: one of the three. `runs` are ids of runs or of rows, `queues` ids of queues."""

    runs: Sequence[str] = ()
    queues: Sequence[str] = ()
    older_than: timedelta | None = None


class Erasure:
    """One erasure: look what it concerns (`sentence`), then `carry_out`."""

    def __init__(self, hands: Hands, order: Order) -> None:
        self._hands, self._lake, self._order = hands, hands.lake, order
        self._mark = secrets.token_hex(4)
        self._queues = list(order.queues) or sorted({*self._lake.queues(), *self._lake.rejected_queues()})
        self._rule = self._resolved()
        self._rows = {queue_id: self._count(queue_id) for queue_id in self._queues}

    def _resolved(self) -> Rule:
        """Return the rule of the rows; ids of rows stand for their runs too."""
        order = self._order
        if order.older_than is not None:
            return Rule(before=self._hands.clock.now() - order.older_than)
        ids = frozenset(each.lower() for each in order.runs)
        if not ids:
            return Rule()
        runs = {run for queue_id in self._queues for run in self._scan_sound(queue_id, Rule(ids)).runs}
        return Rule(ids | runs)

    def _count(self, queue_id: str) -> int:
        if not self._order.queues:
            return self._scan_sound(queue_id, self._rule).rows
        with suppress(LakeError):
            return self._lake.table("runs").held(queue_id).rows
        return 0

    def _name(self, queue_id: str) -> str:
        with suppress(LakeError):
            return self._lake.queue_name(queue_id) or queue_id
        return queue_id

    def _scan_sound(self, queue_id: str, rule: Rule) -> Found:
        """Return what `_scan` does; nothing of a queue that cannot be read, which is told when its turn comes."""
        with suppress(LakeError):
            return self._scan(queue_id, rule)
        return Found()

    def _scan(self, queue_id: str, rule: Rule) -> Found:
        return scan(self._lake, queue_id, rule, rejected_rows(self._lake, queue_id))

    @property
    def rows(self) -> int:
        """How many rows it concerns."""
        return sum(self._rows.values())

    @property
    def sentence(self) -> str:
        """What is to be erased, to be asked before."""
        rows, where = self.rows, self._lake.root
        if self._order.queues:
            names = ", ".join(map(self._name, self._order.queues))
            return f"erase all of {names} ({counted(rows, 'row')}) from {where}, for good"
        queues = sum(count > 0 for count in self._rows.values())
        which = ""
        if self._rule.before is not None:
            which = f" added before {self._rule.before.isoformat(timespec='seconds')}"
        beside = "with their feedback, turns and rejects"
        return f"erase {counted(rows, 'row')} of {counted(queues, 'queue')}{which}, {beside}, from {where}, for good"

    def carry_out(self, tell: Callable[[QueueChanges], None]) -> Changes:
        """Erase, and `tell` of each queue that it concerned. Raises LakeError; LockedError beside another erasure."""
        self._remember()
        changes, done = Changes(), list[str]()
        for told in self._hands.change(self._queues, self._drop if self._order.queues else self._erase):
            if told.error or told.files or told.old_files or told.rejects or self._order.queues:
                changes.queues.append(told)
                tell(told)
            if not told.error:
                done.append(told.queue_id)
        self._note_finished(done)
        changes.conclude()
        return changes

    def _note_finished(self, queues: Sequence[str]) -> None:
        lake, workspace = self._lake, self._hands.workspace
        with suppress(LockedError), lake.lock_erasures(since=self._hands.clock.now()):  # else an export looks for more
            read_erased(lake).finishing(queues, self._mark).write(lake, workspace)

    def _remember(self) -> None:
        lake, workspace = self._lake, self._hands.workspace
        with lake.lock_erasures(since=self._hands.clock.now()):
            erased = read_erased(lake)
            if self._order.queues:
                more = erased.with_more(queues=self._order.queues)
            elif self._rule.before is not None:
                more = erased.with_more(added_before=dict.fromkeys(self._queues, self._rule.before))
            else:
                rows = {row for queue_id in self._queues for row in self._scan_sound(queue_id, self._rule).rows_of}
                more = erased.with_more(runs=self._rule.ids | rows)
            more.beginning(self._mark, self._queues).write(lake, workspace)

    def _erase(self, queue_id: str, told: QueueChanges) -> None:
        """Take rows of a queue out of all tables."""
        take_out(self._lake, queue_id, self._hands.workspace, self._rule, told)

    def _drop(self, queue_id: str, told: QueueChanges) -> None:
        """Take all that there is of a queue out of the lake."""
        told.rejects = self._lake.rejects_known(queue_id)
        drop_queue(self._lake, queue_id, self._hands.workspace, told)
