"""What the queues of one export share, and what the tables of one queue do."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime

import msgspec

from annolake.clock import Clock
from annolake.columns.rules import ColumnRules
from annolake.config import Config
from annolake.extract.endpoints.query_limits import QueryLimits
from annolake.extract.http.client import Client
from annolake.interruption import Interruption
from annolake.lanes import lanes_of
from annolake.load.lake import Lake
from annolake.load.proofs import ReportedProofs
from annolake.load.storage.scratch import Workspace
from annolake.observers.events import QueueProgress
from annolake.observers.protocols import Log, Progress
from annolake.proof_keeper import ProofKeeper
from annolake.queue_record import QueueRecord
from annolake.report import Mode, QueueReport
from annolake.revising.erased_rows import ErasedRows
from annolake.sources.feedback import FeedbackTerms
from annolake.sources.source import Access
from annolake.wiring import open_client


class Wishes(msgspec.Struct, frozen=True):
    """What an export is asked for, beside its settings.

    In mode "new" only rows added since the last complete exports are read, where those allow it (`plan`). With
    `accept_removals` rows that were not met are marked removed even where the service still counts them (`removals`).
    With `refresh` the run of every item that is read is asked for.
    """

    mode: Mode = "full"
    accept_removals: bool = False
    refresh: bool = False


class Surroundings(msgspec.Struct, frozen=True):
    """What surrounds an export in a process: its time, who is told of it, and what ends it early."""

    clock: Clock
    log: Log
    progress: Progress
    interruption: Interruption


class ExportContext(Surroundings, frozen=True):
    """What the queues of one export, which began at `started_at`, share in a process.

    A lock that the same export has already is waited for so many seconds.
    """

    config: Config
    wishes: Wishes
    started_at: datetime
    client: Client
    lanes: ThreadPoolExecutor
    query_lanes: ThreadPoolExecutor
    lake: Lake
    workspace: Workspace
    reported_proofs: ReportedProofs
    rules: ColumnRules
    wait_for_lock_s: float = 0.0
    query_limits: QueryLimits = msgspec.field(default_factory=QueryLimits)
    # not shared by tasks of a process: what one concluded from another's answers nobody could take back (`doubts`)
    feedback_terms: FeedbackTerms = msgspec.field(default_factory=FeedbackTerms)


class QueueParts(msgspec.Struct, frozen=True):
    """What a table that is filled beside the rows of a queue needs of its export, which began at `now`.

    `at_once` queues share the lanes. What was `erased` is left out.
    """

    context: ExportContext
    access: Access
    record: QueueRecord
    report: QueueReport
    progress: QueueProgress
    proofs: ProofKeeper
    now: datetime
    at_once: int
    erased: ErasedRows


@contextmanager
def open_context(
    config: Config,
    environ: Mapping[str, str],
    wishes: Wishes,
    around: Surroundings,
    *,
    lake: Lake,
    workspace: Workspace,
    started_at: datetime,
    rules: ColumnRules,
    wait_for_lock_s: float = 0.0,
) -> Iterator[ExportContext]:
    """Open the client and the lanes of an export. Raises ConfigError where the key is missing or unusable."""
    with (
        open_client(config, environ, clock=around.clock, log=around.log, sharing=workspace.export_id) as client,
        lanes_of(workspace.export_id, config.source.concurrency) as lanes,
    ):
        yield ExportContext(
            config=config,
            wishes=wishes,
            started_at=started_at,
            client=client,
            lanes=lanes.listing,
            query_lanes=lanes.query,
            lake=lake,
            workspace=workspace,
            clock=around.clock,
            log=around.log,
            progress=around.progress,
            interruption=around.interruption,
            reported_proofs=ReportedProofs(lake.reports),
            rules=rules,
            wait_for_lock_s=wait_for_lock_s,
        )
