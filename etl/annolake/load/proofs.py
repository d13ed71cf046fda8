"""What earlier exports of a queue proved, in one small file: `_annolake/proofs/<queue id>.json` (docs/lake.md#proofs).

Owns the file's form, and how what one more export proves joins it. Holds what complete, unfiltered exports that were
published proved, and nothing else. What can't be understood is as if it were not there.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from annolake.errors import LakeError
from annolake.load.records import PastExport, Reports
from annolake.load.storage.files import Files, Location
from annolake.load.storage.scratch import Workspace

VERSION = 1

Usage = Literal["subtree", "own"]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class FullExport(msgspec.Struct, frozen=True, kw_only=True):
    """The last complete full export: what its report says of it, and what it left out (`columns` as in `Terms`)."""

    export_id: str
    started_at: Moment
    endpoint: str
    rows_seen: int = 0
    size_excess: int | None = None
    newest_added_at: Moment | None = None
    orders: Mapping[str, str | None] = {}
    columns: str = ""


class NewExports(msgspec.Struct, frozen=True, kw_only=True):
    """The complete new-only exports since: the latest start, and the newest added_at that any of them met."""

    started_at: Moment
    newest_added_at: Moment | None = None


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which values of a run an export asks for. Under other terms, payloads are others.

    `columns` tells what the settings left out (`ColumnRules.mark`).
    """

    include_stats: bool
    subtree_usage: bool
    schema_version: int
    columns: str = ""


class RunsRead(msgspec.Struct, frozen=True, kw_only=True):
    """The last complete export over items that asked for every run: its start, and on which terms.

    `archived` tells whether it read the archived rows too. `usage` is "own" while rows may have the tokens and costs of
    their own run alone, be it since the service refuses to report those of descendants.
    """

    started_at: Moment
    terms: Terms
    archived: bool = True
    usage: Usage = "subtree"


class TableTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a reading of a table other than `runs` was about: archived rows too or not; `rows` the lake then had.

    `columns` as in `Terms`.
    """

    archived: bool
    schema_version: int
    rows: int
    columns: str = ""

    def cover(self, *, archived: bool, schema_version: int, rows: int, columns: str = "") -> bool:
        """Tell whether that holds for what is wanted now, where the lake has so many rows of the table."""
        same = self.schema_version == schema_version and self.columns == columns
        return same and self.rows <= rows and (self.archived or not archived)


class TurnsRead(TableTerms, frozen=True, kw_only=True):
    """The last complete export after which the lake had the turns of every THREAD item: its start, and what it read."""

    started_at: Moment


class Proofs(msgspec.Struct, frozen=True, kw_only=True):
    """What is proved of one queue; None: nothing.

    `feedback_read_at` is the start of the last export that read all feedback of the queue, complete. Feedback that was
    given from `feedback_since` on, less what is looked back, is to be looked for: the start of the last export that
    read all that was due. `feedback_refused`: the service refused it to the last export that asked for it.
    `feedback_cut`: it was once found to cut answers about feedback short.
    """

    proofs_version: int = VERSION
    full: FullExport | None = None
    new: NewExports | None = None
    runs: RunsRead | None = None
    feedback_read_at: Moment | None = None
    feedback_since: Moment | None = None
    feedback_terms: TableTerms | None = None
    feedback_refused: bool = False
    feedback_cut: bool = False
    turns: TurnsRead | None = None

    def until(self, now: datetime) -> "Proofs":
        """Return what is proved by exports that began no later than `now`: another's clock was wrong."""
        full = self.full if self.full and self.full.started_at <= now else None
        new = self.new if full and self.new and self.new.started_at <= now else None
        runs = self.runs if self.runs and self.runs.started_at <= now else None
        read_at, since = ((at if at and at <= now else None) for at in (self.feedback_read_at, self.feedback_since))
        return Proofs(
            full=full,
            new=new,
            runs=runs,
            feedback_read_at=read_at,
            feedback_since=read_at and (since or read_at),
            feedback_terms=self.feedback_terms if read_at else None,
            feedback_refused=self.feedback_refused,
            feedback_cut=self.feedback_cut,
            turns=self.turns if self.turns and self.turns.started_at <= now else None,
        )

    def why_full(self, *, columns: str) -> str | None:
        """Tell why an export of new rows will not do where so much is left out: it was another part before."""
        return "the settings of [columns] have changed" if self.full and self.full.columns != columns else None

    def with_feedback(self, started_at: datetime, *, whole: bool, terms: TableTerms) -> "Proofs":
        """Return what is proved after an export that began then read the feedback that was due, or the `whole`."""
        read_at = started_at if whole else self.feedback_read_at
        since, terms_now = (started_at, terms) if read_at else (None, None)
        return replace(self, feedback_read_at=read_at, feedback_since=since, feedback_terms=terms_now)

    def without_feedback(self, *, refused: bool = False) -> "Proofs":
        """Return what is proved after an export that did not read the feedback that was due, or was refused it."""
        return replace(self, feedback_read_at=None, feedback_since=None, feedback_terms=None, feedback_refused=refused)

    def after(self, past: PastExport, *, now: datetime) -> "Proofs":
        """Return what is proved after one more export, the same where that proves nothing.

        An `added_at` later than `now` is no time to go by, and left out.
        """
        if past.proves_full:
            full = _full(past, now)
            return replace(self, full=full, new=None) if full else self
        return replace(self, new=_added(self.new, past, now)) if past.proves_complete and self.full else self

    def runs_read(self, terms: Terms, *, archived: bool) -> datetime | None:
        """Return when every run was last asked for on these terms, those of archived rows included where wanted."""
        runs = self.runs
        covers = runs is not None and runs.terms == terms and (runs.archived or not archived)
        return runs.started_at if runs and covers else None


def _newest(past: PastExport, now: datetime) -> datetime | None:
    return past.newest_added_at if past.newest_added_at and past.newest_added_at <= now else None


def _added(new: NewExports | None, past: PastExport, now: datetime) -> NewExports:
    """Return what complete new-only exports and one more met."""
    known = [moment for moment in (new and new.newest_added_at, _newest(past, now)) if moment]
    latest = max(new.started_at, past.started_at) if new else past.started_at
    return NewExports(started_at=latest, newest_added_at=max(known, default=None))


def _full(past: PastExport, now: datetime) -> FullExport | None:
    """Return what a report says of a complete full export, None where it has been tampered with."""
    orders = past.entry.get("orders")
    orders = orders if isinstance(orders, dict) else {}
    facts: dict[str, Any] = {
        "export_id": str(past.report.get("export_id")),
        "started_at": past.started_at,
        "endpoint": past.entry.get("endpoint"),
        "rows_seen": past.entry.get("rows_seen", 0),
        "size_excess": past.entry.get("size_excess"),
        "newest_added_at": _newest(past, now),
        "orders": {name: str(order) if order else None for name, order in orders.items()},
    }
    with suppress(msgspec.ValidationError):
        return msgspec.convert(facts, FullExport)
    return None


class ReportedProofs:
    """What the reports prove of every queue, for lakes without proofs: read once for all queues of an export."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._lock = Lock()
        self._proofs: Mapping[str, Proofs] | None = None

    def of(self, queue_id: str, *, now: datetime) -> Proofs:
        """Return what the reports prove of a queue. Raises LakeError."""
        with self._lock:
            if self._proofs is None:
                self._proofs = proofs_of(self._reports.pasts(now=now), now=now)
        return self._proofs.get(queue_id, Proofs()).until(now)


def proofs_of(pasts: Iterable[PastExport], *, now: datetime) -> dict[str, Proofs]:
    """Return what reports prove of each queue, given the newest first: those since its last complete full export."""
    found: dict[str, Proofs] = {}
    since: dict[str, NewExports] = {}
    for past in pasts:
        queue_id = str(past.entry.get("queue_id"))
        if queue_id in found or not past.proves_complete:
            continue
        if not past.proves_full:
            since[queue_id] = _added(since.get(queue_id), past, now)
        elif full := _full(past, now):
            found[queue_id] = Proofs(full=full, new=since.pop(queue_id, None))
    return found


def read_proofs(files: Files, path: Location) -> Proofs | None:
    """Return what a queue's file says; None where there is none that can be read, or one of a newer form."""
    try:
        proofs = msgspec.json.decode(files.read(path), type=Proofs)
    except (LakeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return proofs if proofs.proofs_version == VERSION else None


def write_proofs(files: Files, path: Location, proofs: Proofs, workspace: Workspace) -> None:
    """Put the file in the place of its last form, by way of the workspace. Raises LakeError."""
    files.prepare(path.parent)
    workspace.put(files, path, msgspec.json.format(msgspec.json.encode(proofs), indent=1) + b"\n")
