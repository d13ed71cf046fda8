"""What the queues of one export share, and what the tables of one queue do."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from annolake.clock import Clock
from annolake.config import Config
from annolake.extract.endpoints.query_limits import QueryLimits
from annolake.extract.http.client import Client
from annolake.interruption import Interruption
from annolake.load.lake import Lake
from annolake.load.proofs import ReportedProofs
from annolake.load.storage.scratch import Workspace
from annolake.observers import Log, Progress
from annolake.proof_keeper import ProofKeeper
from annolake.queue_record import QueueRecord
from annolake.report import Mode, QueueReport
from annolake.sources.feedback import FeedbackTerms
from annolake.sources.source import Access


@dataclass(frozen=True)
class ExportContext:
    """What the queues of one export share."""

    config: Config
    mode: Mode
    accept_removals: bool
    refresh: bool
    client: Client
    lanes: ThreadPoolExecutor
    query_lanes: ThreadPoolExecutor
    lake: Lake
    workspace: Workspace
    clock: Clock
    log: Log
    progress: Progress
    interruption: Interruption
    reported_proofs: ReportedProofs
    query_limits: QueryLimits = field(default_factory=QueryLimits)
    feedback_terms: FeedbackTerms = field(default_factory=FeedbackTerms)


@dataclass(frozen=True)
class QueueParts:
    """What a table that is filled beside the rows of a queue needs of its export, which began at `now`.

    `at_once` queues share the lanes.
    """

    context: ExportContext
    access: Access
    record: QueueRecord
    report: QueueReport
    proofs: ProofKeeper
    now: datetime
    at_once: int
