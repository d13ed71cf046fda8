"""Rejects on their way into the lake: each is written once, and taken back when its row is accepted after all.

Owns what a reject says and when it is new (docs/lake.md#rejects). `load.records` stores it.
"""

import re
from datetime import datetime

from annolake.keys import key_of
from annolake.load.records import Rejects
from annolake.transform.row_batch import Reject, RowBatch

_DIGEST = re.compile("[0-9a-f]{32}")


class RejectKeeper:
    """The rejects of one queue in one export.

    `seen` has the keys of those met and not accepted since, `new` how many of them the lake did not know;
    `unreadable` tells whether one was met whose queue_run_id could not be read.
    """

    def __init__(self, kept: Rejects, queue_id: str, now: datetime) -> None:
        self._kept = kept
        self._queue_id = queue_id
        self._now = now
        self._names = {key: name for name in kept.names for key in _keys_of(name)}
        self.seen: set[bytes] = set()
        self.new = 0
        self.unreadable = False

    def see(self, batch: RowBatch) -> None:
        """Note the rejects and the accepted rows of a batch."""
        for reject in batch.rejects:
            self._keep(reject)
        for row in batch.rows if self._names else ():
            if row.key in self._names:
                self._kept.remove(self._names.pop(row.key))
                self.seen.discard(row.key)

    def _keep(self, reject: Reject) -> None:
        name = reject.queue_run_id or reject.key.hex()
        self.unreadable |= reject.queue_run_id is None
        record = {"queue_id": self._queue_id, "path": reject.path, "reason": reject.reason}
        known = self._kept.get(name)
        if known is None:
            self.new += 1
        first_seen = known["first_seen"] if known else self._now.isoformat().replace("+00:00", "Z")
        record |= {"first_seen": first_seen, "row": reject.text}
        if record != known:
            self._kept.put(name, record)
        self._names[reject.key] = name
        self.seen.add(reject.key)


def _keys_of(name: str) -> list[bytes]:
    """Return the keys that a kept name can stand for: an id as it is, or the digest of an odd one or of a content."""
    digest = [bytes.fromhex(name)] if _DIGEST.fullmatch(name) else []
    return [key_of(name), *digest]
