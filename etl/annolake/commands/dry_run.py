"""`annolake run --dry-run`: what an export would read, without reading or writing it.

Owns how that is said. Whether it would work is `check`'s to find out, what is read of a queue `plan`'s. Not looked at
is whether feedback needs all rows: then an export reads them in mode "new" too.
"""

from collections.abc import Callable, Mapping

import msgspec

from annolake.clock import Clock
from annolake.commands.check import Findings, QueueFindings, check
from annolake.config import Config
from annolake.errors import LakeError
from annolake.load.erased import read_erased
from annolake.load.lake import Lake
from annolake.load.proofs import ReportedProofs
from annolake.observers.protocols import Log
from annolake.plan import FULL, Plan, plan_new_only
from annolake.printable import counted
from annolake.report import Mode, worst
from annolake.wiring import column_rules, open_lake


class Expected(msgspec.Struct, kw_only=True):
    """What would be read of a queue; `held` are the rows of it that the lake has, removed ones too."""

    queue: QueueFindings
    mode: Mode
    mode_reason: str | None
    held: int


class DryRun(msgspec.Struct, kw_only=True):
    """What would be read; `dry_run` tells it from a report."""

    dry_run: bool = True
    exit_code: int
    findings: Findings
    queues: list[Expected]


def dry_run(
    config: Config, environ: Mapping[str, str], *, mode: Mode, clock: Clock, log: Log, say: Callable[[str], None]
) -> DryRun:
    """Tell what an export in that mode would read of each queue; raises as `check` does."""
    found = check(config, environ, clock=clock, log=log, say=lambda _: None)
    told = DryRun(exit_code=found.exit_code, findings=found, queues=[])
    for error in filter(None, (found.lake_error, found.queues_error)):
        say(error)
    if found.columns:
        say(f"columns: {found.columns}")
    lake, reported, columns = open_lake(config, environ, clock), None, column_rules(config, environ).mark
    for queue in found.queues:
        if queue.error:
            say(f"queue {queue.queue_id}: {queue.error}")
            continue
        try:
            reported = reported or ReportedProofs(lake.reports)
            if read_erased(lake).has_queue(queue.queue_id):
                say(f"queue {queue.queue_id}: {queue.name}: it was erased from this lake: nothing of it would be read")
                continue
            expected = _expected(config, queue, lake, reported, mode=mode, clock=clock, columns=columns)
        except LakeError as error:
            say(f"queue {queue.queue_id}: {error}")
            told.exit_code = worst([told.exit_code, error.exit_code])
        else:
            told.queues.append(expected)
            say(f"queue {queue.queue_id}: {_in_words(expected)}")
    return told


def _expected(
    config: Config,
    queue: QueueFindings,
    lake: Lake,
    reported: ReportedProofs,
    *,
    mode: Mode,
    clock: Clock,
    columns: str,
) -> Expected:
    now, held = clock.now(), lake.table("runs").held(queue.queue_id).rows
    plan: Plan = FULL
    if mode == "new":
        proofs = lake.proofs(queue.queue_id) or reported.of(queue.queue_id, now=now)
        plan = plan_new_only(
            proofs,
            endpoint=queue.endpoint or "runs",
            now=now,
            lookback_s=config.sync.lookback_s,
            full_every_s=config.sync.full_every_s,
            rows_in_lake=held,
            why_full=proofs.why_full(columns=columns),
        )
    return Expected(queue=queue, mode=plan.mode, mode_reason=plan.reason, held=held)


def _in_words(expected: Expected) -> str:
    queue = expected.queue
    rows = "an unknown number of rows" if queue.rows is None else counted(queue.rows, "row")
    told = "would be read whole" if expected.mode == "full" else "new ones would be read"
    because = f" ({expected.mode_reason})" if expected.mode_reason else ""
    return (
        f"{queue.name or 'without a name'}: {rows}, as reported by the service; {told}{because} over "
        f"{queue.endpoint}; the lake holds {counted(expected.held, 'row')} of it"
    )
