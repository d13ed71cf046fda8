"""`annolake status` and `annolake verify`: what the lake holds and whether it keeps its promises, in words or JSON.

Owns how that is said and the exit code. The facts are `load.audit`'s.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from annolake.config import Config
from annolake.errors import LakeError
from annolake.load.audit import QueueStatus, status, verify
from annolake.printable import json_line, printable
from annolake.wiring import open_lake

_NEVER = "never"


def tell_status(config: Config, *, now: datetime, as_json: bool) -> str:
    """Return per queue: rows, partitions, bytes, newest added_at, the last export and how it ended (DESIGN 3)."""
    queues = [_as_record(queue) for queue in status(open_lake(config), now=now)]
    if as_json:
        return json_line({"queues": queues})
    if not queues:
        return f"{config.lake.path}: no queue was exported into it yet"
    return "\n".join(_in_words(queue) for queue in queues)


def _as_record(queue: QueueStatus) -> dict[str, Any]:
    last = queue.last
    return {
        "queue_id": queue.queue_id,
        "name": last.entry.get("name") if last else None,
        "rows": queue.rows,
        "partitions": queue.partitions,
        "bytes": queue.size,
        "newest_added_at": queue.newest_added_at,
        "last_export": {
            "export_id": last.report.get("export_id"),
            "started_at": last.report.get("started_at"),
            "mode": last.entry.get("mode"),
            "status": last.entry.get("status"),
            "complete": last.entry.get("complete"),
            "exit_code": last.entry.get("exit_code"),
        }
        if last
        else None,
    }


def _in_words(queue: dict[str, Any]) -> str:
    newest: datetime | None = queue["newest_added_at"]
    last = queue["last_export"]
    ended = "no report of an export is kept"
    if last:
        complete = "complete" if last["complete"] else "could not be verified complete"
        ended = f"last export {last['started_at']}: {last['mode']}, {last['status']}, {complete}"
    lines = (
        f"{queue['name'] or 'queue'} ({queue['queue_id']})",
        (
            f"  {queue['rows']:,} rows in {queue['partitions']:,} partitions, {queue['bytes'] / 1e6:,.1f} MB; "
            f"newest added_at {newest.isoformat() if newest else _NEVER}"
        ),
        f"  {ended}",
    )
    return "\n".join(map(printable, lines))


def tell_verify(config: Config, *, as_json: bool) -> tuple[str, int]:
    """Read the lake back; return what is wrong with it, and the exit code: 5 where anything is.

    Raises LakeError where there is no lake.
    """
    if not Path(config.lake.path).is_dir():
        raise LakeError(f"{config.lake.path}: there is no lake; check lake.path, or run an export first")
    findings = [{"path": str(finding.path), "what": finding.what} for finding in verify(open_lake(config))]
    exit_code = LakeError.exit_code if findings else 0
    if as_json:
        return json_line({"exit_code": exit_code, "findings": findings}), exit_code
    lines = [printable(f"{finding['path']}: {finding['what']}") for finding in findings]
    return "\n".join(lines) or f"{config.lake.path}: every row once, in its place, every file whole", exit_code
