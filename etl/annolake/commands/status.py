"""`annolake status`: what the lake holds of each queue, and how the last attempts to export it ended.

Owns the JSON, which queues count for `--max-age`, and the exit code: 5 where a queue can't be read, 3 where one has no
good export that is young enough. The facts are `load.status`'s, the words `commands.status_words`'s.
"""

import argparse
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from annolake.clock import Clock
from annolake.commands.status_words import in_words
from annolake.config import Config, load_lake_config
from annolake.errors import LakeError
from annolake.load.attempts import Attempt
from annolake.load.column_record import difference
from annolake.load.erased import Erased, read_erased
from annolake.load.lake import Lake
from annolake.load.status import LakeStatus, QueueStatus, status
from annolake.load.storage.files import Location
from annolake.load.table.partitions import Held
from annolake.printable import json_line
from annolake.report import PARTIAL, TABLES, QueueReport, refusals, shortcomings, worst
from annolake.streams import Streams
from annolake.wiring import known_rules, named_queues, open_lake

DID_NOT_FINISH = """\
it did not finish: it was killed or interrupted twice, its disk was full, or the machine went down; run it again, \
nothing needs repair"""

_REPORTED = (
    "mode",
    "mode_reason",
    "endpoint",
    "status",
    "exit_code",
    "complete",
    "incomplete_because",
    "error",
    "rejected",
    "rejected_new",
    "rejects_known",
    "payloads_missing",
    "removed_unconfirmed",
    "unconfirmed_because",
    *TABLES,
)
_FULL_BELOW = 1_000_000  # bytes: less than a report and the notes beside it take
_NEWEST = {"feedback": "newest_created_at", "turns": "newest_added_at"}
_KEPT = ("status", "error")  # of an entry that can't be understood
_BEGUN = ("mode", "complete")  # of one that has not ended: the others are defaults


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Print the status of each queue; return 5 where one can't be read, 3 where one is too old, else 0."""
    overrides = {"source.queues": arguments.queue} if arguments.queue else {}
    told, exit_code = tell_status(
        load_lake_config(arguments.config, environ, overrides),
        environ,
        now=Clock().now(),
        as_json=arguments.json,
        max_age_s=arguments.max_age,
        only_named=bool(arguments.queue),
    )
    if arguments.json:
        streams.answer(told)
    else:
        print(told, file=streams.out)
    return exit_code


def tell_status(
    config: Config,
    environ: Mapping[str, str],
    *,
    now: datetime,
    as_json: bool = False,
    max_age_s: float | None = None,
    only_named: bool = False,
) -> tuple[str, int]:
    """Return what the lake holds and how the last attempts ended, and the exit code.

    With `max_age_s` each queue that counts is to have a good export that ended less than so many seconds before `now`.
    `only_named` leaves out the queues that source.queues does not name.
    """
    lake = open_lake(config, environ)
    named = named_queues(config, lake)
    found = status(lake, now=now, named=named, only_named=only_named and bool(named))
    rule = AgeRule(max_age_s, frozenset(named or (queue.queue_id for queue in found.queues)), now)
    unread, late = found.error or any(queue.error for queue in found.queues), rule.is_broken(found)
    exit_code = worst([LakeError.exit_code if unread else 0, PARTIAL if late else 0])
    erased = _erased(lake)
    record = {
        "exit_code": exit_code,
        "lake": str(config.lake.path),
        "max_age_s": max_age_s,
        "error": found.error,
        "disk": _full_disk(lake.root),
        "columns": _columns(config, environ, lake),
        "last_attempt": _head(found.last_attempt) if found.last_attempt else None,
        "queues": [
            {
                **_queue_record(queue, rule, None if named else found.listed),
                "erased": erased.has_queue(queue.queue_id),
                "erasure_unfinished": erased.is_unfinished(queue.queue_id),
            }
            for queue in found.queues
        ],
    }
    if as_json:
        return json_line(record), exit_code
    return in_words(record, [_attempt_record(attempt) for attempt in _lake_wide(found)], is_late=late), exit_code


def _full_disk(root: Location) -> str | None:
    """Say that the lake's disk is full, for an export can then leave no report; None where it is not, or in a store."""
    with suppress(OSError):
        free = shutil.disk_usage(root).free if isinstance(root, Path) else _FULL_BELOW
        if free < _FULL_BELOW:
            return f"{root}: the disk is full: exports fail, and leave no report; free some space and run again"
    return None


def _columns(config: Config, environ: Mapping[str, str], lake: Lake) -> str | None:
    """Say where rows of the lake obey other settings of [columns], None where they do not."""
    try:
        return difference(lake, known_rules(config, environ))
    except LakeError as error:
        return str(error)


def _erased(lake: Lake) -> Erased:
    """Return what was erased from the lake; nothing where that cannot be read, which an export tells."""
    with suppress(LakeError):
        return read_erased(lake)
    return Erased(None)


def _lake_wide(found: LakeStatus) -> list[Attempt]:
    """Return the attempts that concern all queues alike, the newest first: in words each is told once."""
    histories = [queue.history for queue in found.queues]
    seen = [found.last_attempt, *(attempt for each in histories for attempt in (each.running, each.last))]
    whole = [attempt for attempt in seen if attempt and attempt.entry is None and attempt.concerns_all]
    last = [history.last for history in histories]
    if last and all(attempt and attempt.ended_as_a_whole for attempt in last):
        whole += [attempt for attempt in last if attempt] if len({_id(attempt) for attempt in last}) == 1 else []
    by_id = {_id(attempt): replace(attempt, entry=None) for attempt in whole}
    return sorted(by_id.values(), key=lambda attempt: attempt.started_at, reverse=True)


def _id(attempt: Attempt | None) -> str:
    return str(attempt.report.get("export_id")) if attempt else ""


class AgeRule(msgspec.Struct, frozen=True):
    """`--max-age`: which queues are to have a good export that ended less than `max_age_s` before `now`."""

    max_age_s: float | None
    counting: frozenset[str]
    now: datetime

    def age_s(self, attempt: Attempt) -> float:
        """Return how long ago an attempt ended, or began where its end is not known."""
        return max(0.0, (self.now - attempt.time).total_seconds())

    def is_too_old(self, queue_id: str, good: Attempt | None) -> bool | None:
        """Tell whether a queue has no good export that is young enough; None where it does not count."""
        if self.max_age_s is None or queue_id not in self.counting:
            return None
        return good is None or self.age_s(good) >= self.max_age_s

    def is_broken(self, found: LakeStatus) -> bool:
        """Tell whether a queue breaks it; where there is no queue, whether the last attempt does."""
        if self.max_age_s is None:
            return False
        if self.counting:
            return any(self.is_too_old(queue.queue_id, queue.history.good) for queue in found.queues)
        last = found.last_attempt
        went_well = last is not None and last.state == "finished" and last.report.get("exit_code") == 0
        return last is None or not went_well or self.age_s(last) >= self.max_age_s


def _queue_record(queue: QueueStatus, rule: AgeRule, listed: Collection[str] | None) -> dict[str, Any]:
    history = queue.history
    good, full, running = history.good, history.full, history.running
    return {
        "queue_id": queue.queue_id,
        "name": queue.name,
        **_held_record(queue.held, "newest_added_at"),
        **{table: _held_record(queue.other.get(table), newest) for table, newest in _NEWEST.items()},
        "rejects": queue.rejects,
        "payloads_missing": _reported(full).get("payloads_missing") if full else None,
        "error": queue.error,
        "listed": None if listed is None else queue.queue_id in listed,
        "running": {name: _head(running)[name] for name in ("export_id", "started_at")} if running else None,
        "last_good": _good_record(good, rule) if good else None,
        "last_attempt": _attempt_record(history.last) if history.last else None,
        "too_old": rule.is_too_old(queue.queue_id, good),
    }


def _held_record(held: Held | None, newest: str) -> dict[str, Any]:
    """Return what the lake holds of a queue in a table; all is null where that can't be read."""
    names = ("rows", "removed", "partitions", "bytes", newest)
    return dict(zip(names, held or (None,) * len(names), strict=True))


def _good_record(good: Attempt, rule: AgeRule) -> dict[str, Any]:
    reported, head = _reported(good), _head(good)
    return {
        **{name: head[name] for name in ("export_id", "started_at", "finished_at")},
        "age_s": int(rule.age_s(good)),
        **{name: reported.get(name) for name in ("mode", "endpoint")},
    }


def _attempt_record(attempt: Attempt) -> dict[str, Any]:
    record = _head(attempt) | dict.fromkeys(_REPORTED) | _reported(attempt) | {"reasons": reasons_of(attempt)}
    record["refused"] = _refused(attempt)
    if attempt.state != "finished":
        return record | {"status": "failed" if attempt.state == "unfinished" else None, "exit_code": None}
    if attempt.entry is None:
        error = attempt.report.get("error")
        return record | {name: _head(attempt)[name] for name in ("exit_code", "error")} | {"status": error and "failed"}
    return record


def _head(attempt: Attempt) -> dict[str, Any]:
    """Return what the report says of the export as a whole."""
    ended = attempt.state == "finished"
    return {
        "export_id": attempt.report.get("export_id"),
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "state": attempt.state,
        "exit_code": attempt.report.get("exit_code") if ended else None,
        "error": attempt.report.get("error"),
    }


def reasons_of(attempt: Attempt) -> list[str]:
    """Return why an attempt is no good one, with what to do next."""
    if attempt.state != "finished":
        return [DID_NOT_FINISH] if attempt.state == "unfinished" else []
    error = (attempt.entry or attempt.report).get("error")
    if error:
        return [str(error)]
    entry = _understood(attempt.entry or {})
    return shortcomings(entry) if entry and entry.status == "partial" else []


def _refused(attempt: Attempt) -> list[str]:
    """Return which tables the service refused in an attempt, with what to do next."""
    entry = _understood(attempt.entry or {}) if attempt.state == "finished" else None
    return refusals(entry) if entry else []


def _reported(attempt: Attempt) -> dict[str, Any]:
    """Return what an entry says: of an export that has not ended how it began, of an odd one status and error."""
    entry = attempt.entry or {}
    names = _REPORTED if _understood(entry) else _KEPT
    if attempt.state != "finished":
        names = _BEGUN
    return {name: entry[name] for name in names if name in entry}


def _understood(entry: Mapping[str, Any]) -> QueueReport | None:
    try:
        return msgspec.convert(entry, QueueReport)
    except msgspec.ValidationError:
        return None
