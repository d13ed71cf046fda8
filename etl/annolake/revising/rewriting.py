"""The settings of [columns] of now, carried out on all that a lake has (docs/privacy.md#rewriting).

Owns the order of it, and what is done to rejects. What an export writes obeys the settings by itself; this is for what
was written before. The record of the lake says so once nothing is left.
"""

from collections.abc import Callable, Mapping

from annolake.clock import Clock
from annolake.columns.rules import ColumnRules
from annolake.config import Config
from annolake.errors import LakeError
from annolake.load.column_record import ColumnRecord, read_record, write_record
from annolake.load.merge.revise import Change
from annolake.load.revision import revise_tables
from annolake.load.table.mask import Mask
from annolake.revising.changes import Changes, Hands, QueueChanges, hands_on
from annolake.transform.guard import Guards
from annolake.wiring import column_rules, open_lake

MEANWHILE = "an export with other settings of [columns] ran meanwhile: run annolake rewrite again"


def rewrite(
    config: Config, environ: Mapping[str, str], *, clock: Clock, tell: Callable[[QueueChanges], None]
) -> Changes:
    """Rewrite what does not obey the settings; `tell` of each queue when it is done.

    Raises ConfigError where the key of pseudonyms is missing, LakeError where there is no lake.
    """
    rules = column_rules(config, environ)
    with hands_on(open_lake(config, environ, clock), clock) as hands:
        work, changes = _Rewriting(hands, rules), Changes()
        before = read_record(hands.lake)
        for told in hands.change(_queues(hands), work.on_queue):
            changes.queues.append(told)
            tell(told)
        changes.conclude()
        if changes.exit_code == 0 and read_record(hands.lake) != before:
            changes.error, changes.exit_code = MEANWHILE, LakeError.exit_code
        if changes.exit_code == 0 and (rules or before):
            write_record(hands.lake, hands.workspace, ColumnRecord.of(rules))
        return changes


def _queues(hands: Hands) -> list[str]:
    return sorted({*hands.lake.queues(), *hands.lake.rejected_queues()})


class _Rewriting:
    """The rewriting of one queue after the other."""

    def __init__(self, hands: Hands, rules: ColumnRules) -> None:
        self._hands = hands
        self._guards = Guards(rules)
        self._changes = {
            name: Change(table.nulls | table.pseudonymized, Mask(table)) for name, table in rules.tables.items()
        }

    def on_queue(self, queue_id: str, told: QueueChanges) -> None:
        """Rewrite a queue's rejects, then its rows."""
        lake, workspace = self._hands.lake, self._hands.workspace
        for table in lake.keyed:
            told.rejects += self._rejects(queue_id, table)
        revise_tables(lake, queue_id, workspace, self._changes, told)

    def _rejects(self, queue_id: str, table: str) -> int:
        """Mask a table's rejects; one that cannot be read goes. Return how many were changed."""
        guard = self._guards.of(table)
        if guard is None:
            return 0
        kept, changed = self._hands.lake.rejects(queue_id, self._hands.workspace, table), 0
        names = kept.names
        for name, record in zip(names, kept.all(names), strict=True):
            text = record.get("row") if record else None
            if record is None or not isinstance(text, str):
                kept.remove(name)
                changed += 1
            elif (masked := guard.reject_text(text)) != text:
                new = guard.renamed(name, text, masked)
                kept.put(new, {**record, "row": masked})
                if new != name:
                    kept.remove(name)
                changed += 1
        kept.commit()
        return changed
