"""The rejects that the lake has, grouped by table, path and reason: the facts behind `annolake rejects`.

Owns how they are counted, and which are the examples. Reads the lake beside a running export and takes no lock. Memory
is bounded by the number of groups, however many rejects there are.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from heapq import heappush, heapreplace
from typing import Any

import msgspec

from annolake.contract import RUNS, TABLES
from annolake.load.lake import Lake
from annolake.load.records import KeptReject
from annolake.load.storage.files import Location
from annolake.transform.reject_value import RejectedRow
from annolake.web_address import run_url

MOST_EXAMPLES = 20
UNREADABLE = "the file cannot be read as a reject: it is cut off, or annolake did not write it"

_ID_OF = {table.name: table.key[-1] for table in TABLES if table.key}
_DIGEST = re.compile("[0-9a-f]{32}")  # what a file is named by where there is no id to name it by
_LONGEST_ID = 200
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)

Kind = tuple[str | None, str | None, str]
"""Table, path and reason."""


class Example(msgspec.Struct, frozen=True):
    """One reject; `value` is the JSON text that does not fit, `file` where the whole row is, within the lake.

    `id` is what its table's rows are told apart by: of a row of `runs` the `queue_run_id`.
    """

    queue_id: str
    id: str | None
    queue_run_id: str | None
    value: str | None
    first_seen: datetime | None
    url: str | None
    file: str


class Group(msgspec.Struct):
    """The rejects of one table with one path and one reason. Table and path are None where a file is unreadable."""

    table: str | None
    path: str | None
    reason: str
    queues: dict[str, int] = msgspec.field(default_factory=dict)
    oldest: datetime | None = None
    newest: datetime | None = None
    _examples: list[tuple[tuple[datetime, str, str], Example]] = msgspec.field(default_factory=list)

    @property
    def rejects(self) -> int:
        """How many there are, in all queues."""
        return sum(self.queues.values())

    @property
    def examples(self) -> list[Example]:
        """The last seen of them, the newest first."""
        return [example for _, example in sorted(self._examples, key=lambda each: each[0], reverse=True)]

    def add(self, queue_id: str, name: str, seen: datetime | None, example: Callable[[], Example]) -> None:
        """Count a reject, and have it made an example if it is one of the newest."""
        self.queues[queue_id] = self.queues.get(queue_id, 0) + 1
        if seen is not None:
            self.oldest, self.newest = min(self.oldest or seen, seen), max(self.newest or seen, seen)
        rank = (seen or _BEFORE_ALL, queue_id, name)
        if len(self._examples) < MOST_EXAMPLES:
            heappush(self._examples, (rank, example()))
        elif rank > self._examples[0][0]:
            heapreplace(self._examples, (rank, example()))


def group_rejects(lake: Lake, queue_ids: Iterable[str], base_url: str) -> list[Group]:
    """Return the groups of some queues' rejects, the most frequent first. Raises LakeError."""
    groups: dict[Kind, Group] = {}
    for queue_id in queue_ids:
        for kept in lake.rejected(queue_id):
            kind = _kind(kept.record)
            group = groups.setdefault(kind, Group(*kind))
            seen = _moment((kept.record or {}).get("first_seen"))
            group.add(queue_id, kept.name, seen, _Describe(lake.root, queue_id, kept, seen, base_url))
    return sorted(groups.values(), key=_by_frequency)


def queues_of(groups: Collection[Group]) -> dict[str, int]:
    """Return the queues concerned with the number of their rejects, in the order of their ids."""
    ids = sorted({queue_id for group in groups for queue_id in group.queues})
    return {queue_id: sum(group.queues.get(queue_id, 0) for group in groups) for queue_id in ids}


def _by_frequency(group: Group) -> tuple[int, str, str, str]:
    return -group.rejects, group.table or "", group.path or "", group.reason


def _kind(record: Mapping[str, Any] | None) -> Kind:
    table, path, reason = ((record or {}).get(name) for name in ("table", "path", "reason"))
    table = "runs" if table is None else table  # not written before there were other tables
    if not isinstance(path, str) or not isinstance(reason, str) or not isinstance(table, str):
        return None, None, UNREADABLE
    return table, path, reason


class _Describe(msgspec.Struct, frozen=True):
    """Makes an example of a reject: only where it is called is the row's text looked into."""

    root: Location
    queue_id: str
    kept: KeptReject
    seen: datetime | None
    base_url: str

    def __call__(self) -> Example:
        record = self.kept.record or {}
        text, path = record.get("row"), record.get("path")
        row = RejectedRow(text if isinstance(text, str) else "")
        app_path = row.text_of("app_path")
        named_by_id = not _DIGEST.fullmatch(self.kept.name)
        row_id = self.kept.name if named_by_id else row.text_of(_ID_OF[self.kept.table])
        row_id = row_id if row_id and len(row_id) <= _LONGEST_ID else None
        return Example(
            queue_id=self.queue_id,
            id=row_id,
            queue_run_id=row_id if self.kept.table == RUNS.name else None,
            value=row.shown(path) if isinstance(path, str) and isinstance(text, str) else None,
            first_seen=self.seen,
            url=run_url(self.base_url, app_path) if app_path else None,
            file=str(self.kept.file).removeprefix(f"{self.root}/"),
        )


def _moment(text: object) -> datetime | None:
    """Return a reject's time in UTC, None where it can't be understood."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        return moment and (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
