"""Rejects on their way into the lake: each is written once, and taken back when its row is accepted after all.

Owns what a reject says and when it is new (docs/lake.md#rejects). `load.records` stores it. Nothing of it reaches the
lake before `commit`, so that an export that fails leaves no reject known that it has not reported.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from annolake.keys import key_of
from annolake.load.lake import Lake
from annolake.load.records import Rejects
from annolake.load.storage.scratch import Workspace
from annolake.transform.row_batch import Reject, RowBatch

_DIGEST = re.compile("[0-9a-f]{32}")


class RejectKeeper:
    """The rejects of one queue in one table and one export.

    `seen` has the keys of those met and not accepted since; `unreadable` tells whether one was met whose
    id could not be read. `tells` says of an export's id whether it reported how the queue ended: what one met
    first that did not, because it was killed, is new once more.
    """

    def __init__(
        self,
        kept: Rejects,
        queue_id: str,
        now: datetime,
        *,
        table: str = "runs",
        export_id: str,
        tells: Callable[[str], bool],
    ) -> None:
        self._kept, self._table = kept, table
        self._queue_id = queue_id
        self._now = now
        self._export_id = export_id
        self._tells = cache(tells)
        self._names = {key: name for name in kept.names for key in _keys_of(name)}
        self.seen: set[bytes] = set()
        self._new: set[str] = set()
        self.unreadable = False

    @property
    def keys(self) -> list[bytes]:
        """The keys that the known rejects can stand for."""
        return list(self._names)

    @property
    def new(self) -> int:
        """How many of those seen the lake did not know before this export."""
        return len(self._new)

    def see(self, batch: RowBatch) -> None:
        """Note the rejects and the accepted rows of a batch."""
        names = [reject.queue_run_id or reject.key.hex() for reject in batch.rejects]
        for name, reject, known in zip(names, batch.rejects, self._kept.all(names), strict=True):
            self._keep(name, reject, known or {})
        for row in batch.rows if self._names else ():
            if row.key in self._names:
                name = self._names.pop(row.key)
                self._kept.remove(name)
                self._new.discard(name)
                self.seen.discard(row.key)

    def commit(self) -> None:
        """Have the lake know what was seen, once the queue is published. Raises LakeError."""
        self._kept.commit()

    def _keep(self, name: str, reject: Reject, known: Mapping[str, Any]) -> None:
        self.unreadable |= reject.queue_run_id is None
        first_export = known.get("export_id")
        if not known or (isinstance(first_export, str) and not self._tells(first_export)):
            self._new.add(name)
            first_export = self._export_id
        record = {
            "table": self._table,
            "queue_id": self._queue_id,
            "path": reject.path,
            "reason": reject.reason,
            "first_seen": known.get("first_seen") or self._now.isoformat().replace("+00:00", "Z"),
            "export_id": first_export or self._export_id,
            "row": reject.text,
        }
        if record == known:
            self._kept.keep(name)
        else:
            self._kept.put(name, record)
        self._names[reject.key] = name
        self.seen.add(reject.key)


def rejects_of(lake: Lake, workspace: Workspace, queue_id: str, *, now: datetime, table: str = "runs") -> RejectKeeper:
    """Return the keeper of a queue's rejects in a table, in an export that began at `now`. Raises LakeError."""
    kept, export_id = lake.rejects(queue_id, workspace, table), workspace.export_id
    return RejectKeeper(
        kept,
        queue_id,
        now,
        table=table,
        export_id=export_id,
        tells=lambda earlier: earlier == export_id or lake.reports.tells(earlier, queue_id),
    )


def _keys_of(name: str) -> list[bytes]:
    """Return the keys that a kept name can stand for: an id as it is, or the digest of an odd one or of a content."""
    digest = [bytes.fromhex(name)] if _DIGEST.fullmatch(name) else []
    return [key_of(name), *digest]
