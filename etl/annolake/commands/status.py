"""`annolake status`: what the lake holds of each queue, and how the last export ended, in words or JSON.

Owns how that is said. The facts are `load.audit`'s.
"""

import argparse
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from annolake.clock import Clock
from annolake.config import Config, load_lake_config
from annolake.load.audit import QueueStatus, status
from annolake.printable import json_line, printable
from annolake.streams import Streams
from annolake.wiring import open_lake

_NEVER = "never"


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Print the status of each queue; return 0."""
    config = load_lake_config(arguments.config, environ)
    print(tell_status(config, now=Clock().now(), as_json=arguments.json), file=streams.out)
    return 0


def tell_status(config: Config, *, now: datetime, as_json: bool) -> str:
    """Return per queue: rows, partitions, bytes, newest added_at, the last export and how it ended."""
    queues = [_as_record(queue) for queue in status(open_lake(config), now=now)]
    if as_json:
        return json_line({"queues": queues})
    if not queues:
        return f"{config.lake.path}: no queue has been exported into it yet"
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
    ended = "there is no report of an export"
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
