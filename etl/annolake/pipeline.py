"""One export from the service into the lake: where extract, transform and load meet.

What happens to a row: a lane fetches the page it is in (`extract.runs`) and decodes it (`transform.decode`). The
page is taken once it joins the pages before it (`extract.lists`). If the lake holds the row under the same hash,
that is all. Otherwise it is flattened with its neighbours (`transform.flatten`) and laid into the landing
(`load.landing`), which after the last page merges and publishes each day concerned. A row that the contract cannot
hold becomes a reject.
"""

import traceback
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from uuid import uuid4

import msgspec
import pyarrow as pa

from annolake import contract
from annolake.batches import Waiting, as_slice, newest_added_at
from annolake.clock import Clock
from annolake.config import Config
from annolake.errors import (
    AnnolakeError,
    ConfigError,
    InterruptedExport,
    LockedError,
    ServiceError,
    UnavailableError,
)
from annolake.extract.client import Cancelled, Client, Tally
from annolake.extract.lanes import Fetch, Slice
from annolake.extract.lists import QueueReader, Source
from annolake.extract.queues import list_queues, read_queue, read_size
from annolake.extract.runs import RunsListing
from annolake.extract.weight import PageSize
from annolake.load.lake import Lake, Workspace
from annolake.load.landing import Landing
from annolake.plan import FULL, Plan, plan_new_only, swept_because
from annolake.rejects import RejectKeeper
from annolake.report import Mode, QueueReport, Report, export_id, worst
from annolake.transform.decode import Page, decode_queue, runs_decoder
from annolake.transform.flatten import flatten
from annolake.wiring import Interruption, Log, Progress, Silence, open_client, open_lake

QUEUES_AT_ONCE = 4

_SILENCE = Silence()

# Columns that the runs listing could not have told, whatever is stored (DESIGN 1, promise 4).
_UNKNOWN_TO_RUNS = frozenset(column.name for column in contract.RUNS.columns_of("field") if not column.runs)


def export(
    config: Config,
    environ: Mapping[str, str],
    *,
    mode: Mode = "full",
    clock: Clock | None = None,
    log: Log = _SILENCE,
    progress: Progress = _SILENCE,
    interruption: Interruption | None = None,
) -> Report:
    """Export every configured queue and return what became of each; the report is in the lake as well.

    In mode "new" only rows added since the last complete exports are read, where those allow it (`plan`). Raises
    ConfigError, ServiceError or LakeError where no queue could even be begun.
    """
    clock, interruption = clock or Clock(), interruption or Interruption()
    started = clock.now()
    report = Report(export_id=export_id(started, uuid4().hex[:8]), started_at=started)
    if config.source.endpoint == "items":
        raise ConfigError('source.endpoint: "items" cannot be exported yet, use "auto" or "runs"')
    lake = open_lake(config)
    with open_client(config, environ, clock=clock, log=log) as client:
        lake.prepare()
        with (
            lake.workspace(report.export_id, since=started) as workspace,
            ThreadPoolExecutor(config.source.concurrency, "lane") as lanes,
        ):
            try:
                queue_ids = configured_queues(config, client, interruption.event())
            except Cancelled:
                raise InterruptedExport(interruption.signal_number or 0) from None
            run = Run(config, mode, client, lanes, lake, workspace, clock, log, progress, interruption)
            at_once = max(1, min(QUEUES_AT_ONCE, len(queue_ids)))
            with ThreadPoolExecutor(at_once, "queue") as queues:
                report.queues = list(queues.map(lambda each: QueueExport(run, each, at_once).export(), queue_ids))
            report.finished_at = clock.now()
            report.exit_code = worst(queue.exit_code for queue in report.queues)
            lake.write_report(msgspec.to_builtins(report), workspace)
    return report


def configured_queues(config: Config, client: Client, stop: Event) -> list[str]:
    """Return the ids of the queues to export, asking the service where the config says "all"."""
    if config.source.queues != "all":
        return list(config.source.queues)
    return [head.id for head in list_queues(client, tally=Tally(), stop=stop)]


@dataclass(frozen=True)
class Run:
    """What the queues of one export share."""

    config: Config
    mode: Mode
    client: Client
    lanes: ThreadPoolExecutor
    lake: Lake
    workspace: Workspace
    clock: Clock
    log: Log
    progress: Progress
    interruption: Interruption


class QueueExport:
    """The export of one queue, begun with `export`; `at_once` queues share the memory for pages."""

    def __init__(self, run: Run, queue_id: str, at_once: int) -> None:
        self._run = run
        self._queue_id = queue_id
        self._source = run.config.source
        self._stop = run.interruption.event()
        self._tally = Tally()
        self._decoder = runs_decoder()
        budget = self._source.max_inflight_mb * 1_000_000 // (self._source.concurrency * at_once)
        self._page_size = PageSize(self._source.page_size, budget)
        self._waiting = Waiting()
        self._report = QueueReport(queue_id=queue_id, filtered=self._filtered)

    def export(self) -> QueueReport:
        """Export the queue; whatever goes wrong is in the report, not raised."""
        report, begun = self._report, self._run.clock.monotonic()
        self._run.log.info("queue_started", queue_id=self._queue_id)
        try:
            self._export()
            report.conclude()
        except LockedError as error:
            report.fail(error, exit_code=error.exit_code)
            report.status = "skipped"
        except AnnolakeError as error:
            report.fail(error, exit_code=error.exit_code)
        except Cancelled:
            interrupted = InterruptedExport(self._run.interruption.signal_number or 0)
            report.fail(interrupted, exit_code=interrupted.exit_code)
        except Exception as error:  # noqa: BLE001 - a bug in one queue does not stop the others
            report.fail(RuntimeError(f"a bug ({type(error).__name__}): report it with the traceback"), exit_code=1)
            # The frames alone: an error's message may quote a row.
            frames = "".join(traceback.format_tb(error.__traceback__))
            facts = {"queue_id": self._queue_id, "kind": type(error).__name__, "traceback": frames}
            self._run.log.error("bug", **facts)  # noqa: TRY400 - see above
        finally:
            self._stop.set()
        report.requests, report.retries = self._tally.requests, self._tally.retries
        report.bytes_read = self._tally.bytes_read
        report.seconds = round(self._run.clock.monotonic() - begun, 3)
        self._run.progress.finished(report)
        facts = {name: getattr(report, name) for name in ("status", "exit_code", "rows_seen", "inserted", "updated")}
        self._run.log.info("queue_finished", queue_id=self._queue_id, **facts)
        return report

    def _export(self) -> None:
        lake, workspace, now = self._run.lake, self._run.workspace, self._run.clock.now()
        with (
            lake.lock(self._queue_id, since=now),
            lake.landing(self._queue_id, workspace, now=now) as landing,
        ):
            record = self._read_record()
            reader = self._reader(landing, self._plan(landing, now))
            rejects = RejectKeeper(lake.rejects(self._queue_id, workspace), self._queue_id, now)
            for _list, piece in reader.read():
                rejects.see(piece.page)
                self._land(landing, piece.page)
                self._follow(piece, reader.rows)
            self._flush(landing)
            self._conclude_reading(reader, rejects)
            self._publish(landing, remove_gone=self._may_remove(reader, rejects))
            lake.write_queue(self._queue_id, workspace, record)

    def _plan(self, landing: Landing, now: datetime) -> Plan:
        """Return what to read, and say in the report why where that is not what was asked for."""
        plan = FULL
        if self._run.mode == "new":
            sync = self._run.config.sync
            plan = plan_new_only(
                self._run.lake.reports.of(self._queue_id),
                now=now,
                lookback_s=sync.lookback_s,
                full_every_s=sync.full_every_s,
                rows_in_lake=landing.index.size,
            )
        self._report.mode, self._report.mode_reason = plan.mode, plan.reason
        return plan

    # --- the queue's own record

    def _read_record(self) -> pa.Table | None:
        """Return the queue's row of the table `queues`, None where the key may not read it or it does not fit."""
        try:
            row, unmapped, digest = read_queue(
                self._run.client, self._queue_id, decode_queue, tally=self._tally, stop=self._stop
            )
        except UnavailableError:
            raise
        except ServiceError as error:
            self._run.log.warning("queue_record_refused", queue_id=self._queue_id, status=error.status)
            return None
        self._report.name = row.name
        batch = flatten(
            contract.QUEUES,
            [row],
            unmapped=[unmapped],
            hashes=[digest],
            exported_at=self._run.clock.now(),
            facts={},
        )
        return pa.Table.from_batches([batch])

    # --- reading

    def _reader(self, landing: Landing, plan: Plan) -> QueueReader[Page]:
        names = ("active", "archived") if self._source.include_archived else ("active",)
        self._run.progress.started(self._queue_id, self._report.name, landing.index.size or None)
        return QueueReader(
            [Source(name, self._fetch(archived=name == "archived"), since=plan.since.get(name)) for name in names],
            met=landing.index,
            lanes=self._source.concurrency,
            limit=self._page_size,
            sizes=self._sizes,
        )

    def _fetch(self, *, archived: bool) -> Fetch[Page]:
        listing = RunsListing(
            self._run.client,
            self._queue_id,
            include_stats=self._source.include_stats,
            status=self._source.status,
            tally=self._tally,
            stop=self._stop,
        )

        def decode(body: bytes) -> Page:
            return self._decoder.decode(body, archived=archived)

        def read(offset: int, limit: int) -> Slice[Page]:
            return as_slice(listing.read(offset, limit, archived=archived, decode=decode))

        def fetch(offset: int, limit: int) -> Future[Slice[Page]]:
            return self._run.lanes.submit(read, offset, limit)

        return fetch

    def _sizes(self) -> object | None:
        """Return what the service says of the queue's sizes, None where it does not: a hint, see api notes 2."""
        asked = ("total_size", "total_archived") if self._source.include_archived else ("size",)
        told = [
            read_size(self._run.client, self._queue_id, which, tally=self._tally, stop=self._stop) for which in asked
        ]
        return None if None in told else tuple(told)

    def _follow(self, piece: Slice[Page], rows: int) -> None:
        self._page_size.saw(len(piece.keys), piece.page.size)
        newest = newest_added_at(piece)
        if newest is not None:
            self._report.newest_added_at = max(newest, self._report.newest_added_at or newest)
        self._report.rows_seen = rows
        self._run.progress.read(self._queue_id, rows)

    # --- landing

    def _land(self, landing: Landing, page: Page) -> None:
        """Have the page's rows that are new or changed wait to be flattened."""
        for place, changed in enumerate(landing.index.changed(page.row_keys, page.hashes)):
            if changed:
                self._waiting.add(page, place)
        if self._waiting.full:
            self._flush(landing)

    def _flush(self, landing: Landing) -> None:
        """Flatten the rows that wait, and land them."""
        if self._waiting.rows:
            unknown = frozenset() if self._source.include_stats else frozenset({"feedback_stats"})
            landing.add(self._waiting.flattened(self._run.clock.now()), unknown=unknown | _UNKNOWN_TO_RUNS)
            self._waiting = Waiting()

    def _publish(self, landing: Landing, *, remove_gone: bool) -> None:
        """Merge and publish each day concerned, one by one; an interruption is heeded between two."""
        for outcome in landing.publish(remove_gone=remove_gone):
            self._report.partitions_written += outcome.written
            self._report.bytes_written += outcome.size
            if self._stop.is_set():
                self._count(landing)
                raise Cancelled
        self._count(landing)

    def _count(self, landing: Landing) -> None:
        counts = landing.counts
        self._report.inserted, self._report.updated = counts.inserted, counts.updated
        self._report.removed, self._report.unchanged = counts.removed, landing.unchanged

    # --- the verdict

    @property
    def _filtered(self) -> bool:
        return bool(self._source.status) or not self._source.include_archived

    def _may_remove(self, reader: QueueReader[Page], rejects: RejectKeeper) -> bool:
        """Whether a row that was not met has left the queue (DESIGN 7)."""
        full = self._report.mode == "full"
        return full and reader.complete and not self._filtered and not rejects.unreadable

    def _conclude_reading(self, reader: QueueReader[Page], rejects: RejectKeeper) -> None:
        report = self._report
        report.repairs = reader.signs.repairs
        report.complete, report.incomplete_because = reader.complete, list(reader.reasons)
        report.rejected, report.rejected_new = len(rejects.seen), rejects.new
        report.orders = {name: str(order) if order else None for name, order in reader.orders.items()}
        if reader.swept:
            report.mode_reason = swept_because(reader.swept)
