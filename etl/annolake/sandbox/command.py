"""`annolake sandbox`: the stand-in for people who want to try annolake without a key, and for benchmarks.

Owns the command's options and what it prints.
"""

import argparse
import json
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TextIO

from annolake.errors import ConfigError
from annolake.sandbox.changes import KINDS, Changes
from annolake.sandbox.embedded import Sandbox
from annolake.sandbox.faults import FAULTS, Faults
from annolake.sandbox.population import Population
from annolake.sandbox.service import Rules


def parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    description = "Run the embedded stand-in for the service, on loopback, until it is interrupted."
    made = argparse.ArgumentParser(prog=prog, description=description)
    add = made.add_argument
    add("--rows", type=_at_least(0), default=1500, help="rows in each queue (1500)")
    add("--queues", type=_at_least(1), default=1, help="number of queues (1)")
    add("--threads", type=_at_least(0), default=0, help="THREAD items in each queue, besides the rows (0)")
    add("--seed", type=int, default=1, help="seed of the generated data (1)")
    add("--ordinary", action="store_true", help="ordinary rows of about 2.5 kB instead of odd ones")
    add("--feedback", type=float, default=2.6, help="feedback on each run, on average (2.6)")
    add("--payload-kb", type=float, default=None, help="more text in each row, in kB")
    orders = ("oldest_first", "newest_first", "unsorted")
    add("--order", choices=orders, default="oldest_first", help="order of the rows (oldest_first)")
    add("--port", type=_at_least(0, most=65_535), default=0, help="port on 127.0.0.1 (any free one)")
    add("--change-rate", type=float, default=0.0, help="changes before each request to a queue (0)")
    add("--changes", default="finish", help=f"kinds of change, separated by commas: {', '.join(KINDS)} (finish)")
    add("--feedback-change-rate", type=float, default=0.0, help="changes of feedback before each request (0)")
    add("--latency-ms", type=float, default=0.0, help="latency of each request, in ms (0)")
    add("--rate-limit", type=_at_least(0), default=0, help="requests allowed in a second (no limit)")
    add("--query-rate-limit", type=_at_least(0), default=0, help="run queries allowed in 10 seconds (no limit)")
    add("--error-rate", type=float, default=0.0, help="share of requests that fail (0)")
    add("--errors", default="", help=f"kinds of failure, separated by commas: {', '.join(FAULTS)} (most of them)")
    add("--page-cap", type=_at_least(1), default=None, help="the most rows in a page, whatever is asked for")
    add("--retire-runs-after", type=_at_least(1), default=None, help="retire the runs endpoint from this request on")
    add("--gzip", action="store_true", help="compress answers for clients that ask for it")
    add("--json", action="store_true", help="print one line of JSON: url, api_key, tenant_id, queue_ids")
    return made


def run(args: argparse.Namespace, stdout: TextIO) -> int:
    """Serve until SIGINT or SIGTERM, then return 0; ConfigError when the options or the port won't do.

    Must be called from the main thread, which is where signals arrive.
    """
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ExitStack() as stack:
            sandbox = _entered(args, stack)
            stdout.write(_as_json(sandbox) if args.json else _as_text(sandbox))
            stdout.flush()
            stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _entered(args: argparse.Namespace, stack: ExitStack) -> Sandbox:
    try:
        return stack.enter_context(_sandbox(args))
    except (ValueError, OverflowError) as wrong:
        raise ConfigError(str(wrong)) from wrong
    except OSError as taken:
        raise ConfigError(f"port {args.port} cannot be opened ({taken.strerror}), choose another --port") from taken


def _sandbox(args: argparse.Namespace) -> Sandbox:
    faults = Faults(
        latency_s=args.latency_ms / 1000,
        rate=args.error_rate,
        rate_limit=args.rate_limit,
        query_rate_limit=args.query_rate_limit,
        kinds=tuple(args.errors.split(",")) if args.errors else Faults.kinds,
    )
    return Sandbox(
        Population(
            rows=args.rows,
            queues=args.queues,
            threads=args.threads,
            odd=not args.ordinary,
            payload_kb=args.payload_kb,
            order=args.order,
            feedback=args.feedback,
        ),
        seed=args.seed,
        port=args.port,
        faults=faults,
        changes=Changes(
            rate=args.change_rate, kinds=tuple(args.changes.split(",")), feedback_rate=args.feedback_change_rate
        ),
        rules=Rules(page_cap=args.page_cap, retire_runs_after=args.retire_runs_after, gzip=args.gzip),
    )


def _as_json(sandbox: Sandbox) -> str:
    there = {
        "url": sandbox.url,
        "api_key": sandbox.api_key,
        "tenant_id": sandbox.tenant_id,
        "queue_ids": sandbox.queue_ids,
    }
    return json.dumps(there) + "\n"


def _as_text(sandbox: Sandbox) -> str:
    queues = [sandbox.queue(queue_id) for queue_id in sandbox.queue_ids]
    lines = [
        f"url    {sandbox.url}",
        f"key    {sandbox.api_key}",
        *(
            f"queue  {queue.id}  {queue.name}: "
            f"{len(queue.rows('active')):,} active, {len(queue.rows('archived')):,} archived"
            for queue in queues
        ),
        "",
        "Export it from another terminal, stop it here with Ctrl-C:",
        "",
        f"export LANGSMITH_API_KEY={sandbox.api_key}",
        f"export ANNOLAKE_SOURCE__BASE_URL={sandbox.url} ANNOLAKE_LAKE__PATH=./sandbox-lake",
        "annolake run " + " ".join(f"--queue {queue.id}" for queue in queues),
    ]
    return "\n".join(lines) + "\n"


def _at_least(low: int, *, most: int | None = None) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be {low} or more, not {value}")
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f"must be {most} or less, not {value}")
        return value

    return number
