"""The sandbox as a process of its own that can be told what to do between two runs.

Owns the protocol: one line of JSON in, one line of JSON out. The first line out tells url, key and queue. Nothing
that is measured runs in this process.
"""

import argparse
import json
import random
import sys
from typing import Any

from annolake.sandbox import Changes, Faults, Population, Sandbox, Showing

UNKNOWN = {
    "nothing": {},
    "a scalar": {"risk_class": "low"},
    "an object": {"risk": {f"reason_{number:02d}": "x" * 12 for number in range(10)}},
    "five fields": {f"risk_{number}": number for number in range(5)},
}
"""What each row, item and run can have besides what the contract names; the object is of 300 bytes."""


def main() -> None:
    """Serve until standard input ends."""
    args = _arguments()
    changes = Changes(rate=args.change_rate, kinds=tuple(args.changes.split(",")), burst=args.burst)
    sandbox = Sandbox(
        Population(
            rows=args.rows, queues=args.queues, days=args.days, odd=False, payload_kb=args.payload_kb, order=args.order
        ),
        seed=args.seed,
        faults=Faults(latency_s=args.latency_ms / 1000, query_rate_limit=args.queries_per_10_s, retry_after_s=10),
        changes=changes,
    )
    with sandbox:
        _say({"url": sandbox.url, "api_key": sandbox.api_key, "queue_ids": sandbox.queue_ids})
        for line in sys.stdin:
            _say(_obey(sandbox, json.loads(line)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--days", type=int, default=Population.days)
    parser.add_argument("--payload-kb", type=float)
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--queries-per-10-s", type=int, default=0)
    parser.add_argument("--order", default="oldest_first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--change-rate", type=float, default=0)
    parser.add_argument("--changes", default="finish")
    parser.add_argument("--burst", type=int, default=60)
    return parser.parse_args()


def _obey(sandbox: Sandbox, order: dict[str, Any]) -> dict[str, Any]:
    """Do one thing: "edit" a share of all rows, add "unknown" fields to all that is shown, or tell something.

    What can be told is the "requests" so far, or the "truth" since one of them.

    The truth is the ids of the rows that were in the queue from request `first` to now and were not moved.
    """
    queue = sandbox.queue()
    match order["do"]:
        case "edit":
            ids = [row.id for section in ("active", "archived") for row in queue.rows(section)]
            chosen = random.Random(order["round"]).sample(ids, round(len(ids) * order["share"]))
            for row_id in chosen:
                queue.edit(row_id, tags=[f"round {order['round']}"])
            return {"edited": len(chosen)}
        case "unknown":
            added = b"," + json.dumps(UNKNOWN[order["fields"]], separators=(",", ":")).encode()[1:]
            sandbox.showing = Showing(text=lambda text: text[:-1] + added) if len(added) > len(b",}") else Showing()
            return {}
        case "requests":
            return {"requests": len(sandbox.requests)}
        case "truth":
            first, last = order["first"], len(sandbox.requests)
            stayed = queue.throughout(first, last) - queue.moved(first, last)
            return {"rows": sorted(stayed), "changes": len(queue.history)}
        case unknown:
            raise ValueError(f"no such order: {unknown}")


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
