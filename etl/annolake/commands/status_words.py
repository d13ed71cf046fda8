"""What `annolake status` says to people, made from the record that `--json` prints."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from annolake.printable import counted, printable

_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
_IN_DAYS_FROM_S = 2 * 86_400  # below, an age is told in hours

Record = Mapping[str, Any]


def in_words(record: Record, lake_wide: Sequence[Record], *, is_late: bool) -> str:
    """Return the status of a lake, a few lines for each queue.

    `lake_wide` are the last attempts that ended as a whole, or that name no queue: each is told once.
    """
    queues, max_age_s = record["queues"], record["max_age_s"]
    lines = [str(record["error"])] if record["error"] else []
    lines += [record["disk"]] if record["disk"] else []
    lines += [f"columns: {record['columns']}"] if record["columns"] and not record["error"] else []
    lines += [line for attempt in lake_wide for line in _attempt_lines(attempt)]
    if queues and (record["last_attempt"] or any(queue["partitions"] != 0 for queue in queues)):
        told = [(attempt["export_id"], attempt["error"]) for attempt in lake_wide]
        for queue in queues:
            lines += [_title(queue), *(f"  {line}" for line in _queue_lines(queue, max_age_s, told))]
    else:
        advice = "" if record["last_attempt"] else ": run `annolake run`"
        lines.append(f"{record['lake']}: no queue has been exported into it yet{advice}")
    if max_age_s is not None:
        lines.append(_verdict(queues, _length(max_age_s), is_late=is_late))
    return "\n".join(map(printable, lines))


def _title(queue: Record) -> str:
    return f"{queue['name'] or 'queue'} ({queue['queue_id']})"


def _queue_lines(queue: Record, max_age_s: float | None, told: Sequence[Any]) -> Iterator[str]:
    if queue["erased"]:
        yield "erased from this lake, and nothing of it is read: take it out of source.queues"
    if queue["erasure_unfinished"]:
        yield "an erasure was cut short, so rows of it may still be here: the next export takes them out"
    if queue["error"]:
        yield f"cannot be read: {queue['error']}"
    if queue["rows"] is not None:
        yield _held(queue, "added_at")
    for table, newest in (("feedback", "created_at"), ("turns", "added_at")):
        if queue[table]["rows"]:
            yield f"{table}: {_held(queue[table], newest)}"
    yield from _attempts(queue, told)
    yield from queue["last_attempt"]["refused"] if queue["last_attempt"] else ()
    if queue["rejects"]:
        yield f"{counted(queue['rejects'], 'reject')}: `annolake rejects` lists them"
    if queue["payloads_missing"]:
        yield f"{counted(queue['payloads_missing'], 'row')} whose run was gone before its payload was exported"
    if queue["listed"] is False:
        yield (
            "not in the newest export of all queues: it was deleted, or the key cannot see it; to leave it out, name "
            "the others in source.queues"
        )
    if max_age_s is not None and queue["too_old"] is None:
        yield "does not count for --max-age: it is not in source.queues"
    if queue["too_old"]:
        yield f"TOO OLD: no good export younger than {_length(max_age_s or 0)}"


def _held(table: Record, time: str) -> str:
    newest = table[f"newest_{time}"]
    return (
        f"{table['rows']:,} rows ({table['removed']:,} removed) in {counted(table['partitions'], 'partition')}, "
        f"{table['bytes'] / 1e6:,.1f} MB; newest {time} {_time(newest) if newest else 'none'}"
    )


def _attempts(queue: Record, told: Sequence[Any]) -> Iterator[str]:
    """Yield the last good export, the last attempt where that is another one, and the export that runs."""
    good, last, running = queue["last_good"], queue["last_attempt"], queue["running"]
    if not (last or running):
        yield "no export is on record: run `annolake run`"
        return
    is_last = bool(good and last and good["export_id"] == last["export_id"])
    yield f"{_good(good)}; it is the last attempt" if is_last and not running else _good(good)
    if last and not is_last and (last["export_id"], last["error"]) not in told:
        yield from _attempt_lines(last)
    if running and (running["export_id"], None) not in told:
        yield _running(running["started_at"])


def _running(since: datetime) -> str:
    return f"an export has been running since {_time(since)}"


def _good(good: Record | None) -> str:
    if good is None:
        return "no good export yet"
    return (
        f"last good export {_ago(good['age_s'])} ({_time(good['finished_at'] or good['started_at'])}), {good['mode']}"
    )


def _attempt_lines(attempt: Record) -> Iterator[str]:
    """Yield when an attempt began and how it ended, and why it is no good one."""
    began, reasons = _time(attempt["started_at"]), attempt["reasons"]
    if attempt["state"] == "running":
        yield _running(attempt["started_at"])
        return
    if attempt["state"] == "unfinished":
        yield f"last attempt {began}: {reasons[0]}"
        return
    ended = attempt["status"] or "ended"
    code = "" if attempt["exit_code"] is None else f", exit code {attempt['exit_code']}"
    if len(reasons) == 1:
        yield f"last attempt {began}: {ended}{code}: {reasons[0]}"
        return
    yield f"last attempt {began}: {ended}{code}"
    yield from (f"  {reason}" for reason in reasons)


def _verdict(queues: Sequence[Record], length: str, *, is_late: bool) -> str:
    counting = [queue["too_old"] for queue in queues if queue["too_old"] is not None]
    if not counting:
        ended = "no export has ended well in the last" if is_late else "the last export ended well in the last"
        return f"there is no queue to look at; {ended} {length}"
    return f"queues without a good export younger than {length}: {sum(counting):,} of {len(counting):,}"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _ago(age_s: int) -> str:
    for unit, seconds in _UNITS:
        if age_s >= (_IN_DAYS_FROM_S if unit == "day" else seconds) and unit != "second":
            return f"{counted(age_s // seconds, unit)} ago"
    return "less than a minute ago"


def _length(seconds: float) -> str:
    """Return a length of time in the largest unit that leaves no rest, days where they are more than one."""
    for unit, size in _UNITS:
        if seconds >= (_IN_DAYS_FROM_S if unit == "day" else size) and seconds % size == 0:
            return counted(int(seconds / size), unit)
    return f"{seconds:g} seconds"
