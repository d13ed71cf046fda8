"""What a lake holds of each queue, and how the last attempts to export it ended.

Owns the facts behind `annolake status`. Takes no queue's lock. One queue that can't be read hides no other.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import msgspec

from annolake.errors import LakeError
from annolake.load.attempts import Attempt, History, read_attempts
from annolake.load.lake import Lake
from annolake.load.table.partitions import Held

T = TypeVar("T")


class QueueStatus(msgspec.Struct, frozen=True):
    """One queue: what is `held` of it in `runs`, and in the `other` tables.

    That, and `rejects`, are None where they can't be read, and `error` says why in one sentence.
    """

    queue_id: str
    name: str | None
    held: Held | None
    other: Mapping[str, Held | None]
    rejects: int | None
    error: str | None
    history: History


class LakeStatus(msgspec.Struct, frozen=True):
    """The lake; `listed` are the queues that the newest export of all queues was of, `error` is not of one queue."""

    queues: list[QueueStatus]
    listed: frozenset[str] | None
    last_attempt: Attempt | None
    error: str | None


def status(lake: Lake, *, now: datetime, named: Sequence[str] = (), only_named: bool = False) -> LakeStatus:
    """Return the status of each queue that the lake has something of, that was exported lately, or that is `named`.

    With `only_named` of these alone. Reports come first: files are never older than what is said of them.
    """
    known = named if only_named else {*named, *lake.queues_named()}
    found = read_attempts(lake.reports, known, now=now, is_running=lake.is_running)
    wanted = named if only_named else sorted(found.histories)
    strangers = [f"cannot trust {path}: {what}" for path, what, _ in lake.strangers()]
    return LakeStatus(
        [_status(lake, queue_id, found.histories[queue_id]) for queue_id in wanted],
        found.listed,
        found.newest,
        strangers[0] if strangers else None,
    )


def _status(lake: Lake, queue_id: str, history: History) -> QueueStatus:
    errors: list[str] = []

    def tried(look: Callable[[], T]) -> T | None:
        try:
            return look()
        except LakeError as exc:
            errors.append(str(exc))
            return None

    held, *others = (tried(partial(lake.table(table).held, queue_id)) for table in lake.keyed)
    name = tried(lambda: lake.queue_name(queue_id)) or _reported_name(history)
    rejects = tried(lambda: lake.rejects_known(queue_id))
    other = dict(zip(lake.keyed[1:], others, strict=True))
    return QueueStatus(queue_id, name, held, other, rejects, errors[0] if errors else None, history)


def _reported_name(history: History) -> str | None:
    entries = [attempt.entry for attempt in (history.last, history.good, history.full) if attempt and attempt.entry]
    return next((entry["name"] for entry in entries if isinstance(entry.get("name"), str)), None)
