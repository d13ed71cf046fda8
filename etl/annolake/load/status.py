"""What a lake holds of each queue, and how the last attempts to export it ended.

Owns the facts behind `annolake status`. Takes no queue's lock: a file that a running export replaces while it is looked
at is looked for again, so that the figures of a partition are of one moment. Files are counted by `counts`, without
being opened, and a file that lies in many places is opened once: its name is its content. One queue that can't be read
hides no other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from annolake.errors import LakeError
from annolake.load.attempts import Attempt, History, read_attempts
from annolake.load.counts import all_counts
from annolake.load.lake import Lake
from annolake.load.storage.local import look_again
from annolake.load.table.days import NO_DAY
from annolake.load.table.file_format import FileFormat
from annolake.load.table.folders import days_there, opened, part_names

T = TypeVar("T")


class Held(NamedTuple):
    """What the lake holds of a queue in a table; `removed` of the `rows` have left it, `size` is in bytes.

    `newest` is the latest time that partitions go by: added_at, or created_at.
    """

    rows: int
    removed: int
    partitions: int
    size: int
    newest: datetime | None


@dataclass(frozen=True)
class QueueStatus:
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


@dataclass(frozen=True)
class LakeStatus:
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
    counts = all_counts(lake.store, lake.counts_folder)
    strangers = [f"cannot trust {path}: only queue_id=... belongs there; move it away" for path in lake.strangers()]
    return LakeStatus(
        [_status(lake, queue_id, found.histories[queue_id], counts) for queue_id in wanted],
        found.listed,
        found.newest,
        strangers[0] if strangers else None,
    )


def _status(lake: Lake, queue_id: str, history: History, counts: dict[str, tuple[int, int]]) -> QueueStatus:
    errors: list[str] = []

    def tried(look: Callable[[], T]) -> T | None:
        try:
            return look()
        except LakeError as exc:
            errors.append(str(exc))
            return None

    held, *others = (tried(partial(_held, lake, queue_id, table, counts)) for table in lake.keyed)
    name = tried(lambda: lake.queue_name(queue_id)) or _reported_name(history)
    rejects = tried(lambda: lake.rejects_known(queue_id))
    other = dict(zip(lake.keyed[1:], others, strict=True))
    return QueueStatus(queue_id, name, held, other, rejects, errors[0] if errors else None, history)


class _Look(NamedTuple):
    """The figures of one partition at one moment; `newest` only where its file was opened."""

    rows: int = 0
    removed: int = 0
    size: int = 0
    newest: datetime | None = None


def _held(lake: Lake, queue_id: str, table: str, counts: dict[str, tuple[int, int]]) -> Held:
    folder, file_format = lake.folder(queue_id, table), lake.formats[table]
    days = days_there(lake.store, folder, file_format)
    found = {day: _look(lake, folder / file_format.folder_name(day), file_format, counts) for day in days}
    newest = None
    for day in sorted((day for day in found if day != NO_DAY), reverse=True):  # a row is in the partition of its day
        if found[day].rows and found[day].newest is None:
            found[day] = _look(lake, folder / file_format.folder_name(day), file_format, {})
        if newest := found[day].newest:
            break
    return Held(
        rows=sum(look.rows for look in found.values()),
        removed=sum(look.removed for look in found.values()),
        partitions=sum(look.rows > 0 for look in found.values()),
        size=sum(look.size for look in found.values()),
        newest=newest,
    )


def _look(lake: Lake, folder: Path, file_format: FileFormat, counts: dict[str, tuple[int, int]]) -> _Look:
    """Return the figures of a partition: by `counts`, else by the footer, which is then counted too."""

    def look() -> _Look:
        names = part_names(lake.store, folder)
        if len(names) == 1 and names[0] in counts:
            rows, removed = counts[names[0]]
            return _Look(rows, removed, lake.store.size(folder / names[0]))
        with opened(lake.store, folder, file_format) as reader:
            if reader is None:
                return _Look()
            part = reader.part
            counts[part.path.name] = part.rows, part.removed
            return _Look(part.rows, part.removed, part.size, max(reader.largest(file_format.time), default=None))

    return look_again(look)


def _reported_name(history: History) -> str | None:
    entries = [attempt.entry for attempt in (history.last, history.good, history.full) if attempt and attempt.entry]
    return next((entry["name"] for entry in entries if isinstance(entry.get("name"), str)), None)
