"""What is lost and doubled when a queue changes while it is read: the public SDK, dlt's REST source, annolake.

Owns the kinds of change and the table. Every run meets a queue of its own, the same one with the same reviewers at
work; the truth is the service's own memory: the rows that were there throughout and that nobody moved.
"""

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from processes import Service, contender, measured, service

CONTENDERS = ("sdk", "dlt_rest", "annolake")

KINDS: dict[str, dict[str, Any]] = {
    "nothing": {"change_rate": 0},
    "3 rows finish": {"change_rate": 3, "changes": "finish"},
    "3 rows are deleted": {"change_rate": 3, "changes": "delete"},
    "3 rows come in front": {"change_rate": 3, "changes": "insert_front"},
    "60 rows finish at once, every 4th time": {"change_rate": 0.25, "changes": "burst_finish"},
    "60 rows are deleted at once, every 4th time": {"change_rate": 0.25, "changes": "burst_delete"},
    "1 row is sent back to review": {"change_rate": 1, "changes": "requeue"},
    "1 row finishes, 1 goes, 1 comes": {"change_rate": 3, "changes": "finish,delete,insert_front"},
}


@dataclass(frozen=True)
class Outcome:
    """What one contender made of one changing queue."""

    missed: int
    doubled: int
    requests: int
    verdict: str


def main() -> None:
    """Run every contender on every kind of change and print a Markdown table."""
    args = _arguments()
    print(f"{args.rows:,} rows, {args.order.replace('_', ' ')}, seed {args.seed}, {args.lanes} lanes\n")
    print(
        "| between two requests | contender | missed | doubled | requests | what it says |\n|---|---|--:|--:|--:|---|"
    )
    for kind, changes in KINDS.items():
        for name in args.contenders.split(","):
            sys.stderr.write(f"{kind}: {name}\n")
            with service(rows=args.rows, order=args.order, seed=args.seed, **changes) as there:
                told = _outcome(name, there, args.lanes)
            cells = [kind, name, f"{told.missed:,}", f"{told.doubled:,}", f"{told.requests:,}", told.verdict]
            print("| " + " | ".join(cells) + " |", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--order", choices=("oldest_first", "newest_first"), default="oldest_first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=8, help="of annolake; the others read one page at a time")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="by commas (all)")
    return parser.parse_args()


def _outcome(name: str, there: Service, lanes: int) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command, environ = contender(name, there, out, lanes=lanes)
        run = measured(command, environ, cwd=Path(folder), may_exit=(0, 3) if name == "annolake" else (0,))
        ids = _ids(name, out)
    requests: int = there.tell("requests")["requests"]
    stayed = set(there.tell("truth", first=1)["rows"])
    times = Counter(ids)
    doubled = sum(1 for often in times.values() if often > 1)
    return Outcome(len(stayed - times.keys()), doubled, requests, _verdict(name, run.exit_code, run.told))


def _ids(name: str, out: Path) -> list[str]:
    """Return the queue_run_id of every row that a contender wrote."""
    folders = {
        "sdk": [out],
        "dlt_rest": [out / "lake" / "queue" / "active", out / "lake" / "queue" / "archived"],
        "annolake": [out / "runs"],
    }
    return [
        key
        for folder in folders[name]
        for key in ds.dataset(folder, format="parquet").to_table(columns=["queue_run_id"])[0].to_pylist()
    ]


def _verdict(name: str, exit_code: int, told: dict[str, Any]) -> str:
    """Return what the contender says of its own result: the others have no notion of it."""
    if name != "annolake":
        return "nothing"
    complete = told["queues"][0]["complete"]
    return f"{'complete' if complete else 'not complete'}, exit {exit_code}"


if __name__ == "__main__":
    main()
