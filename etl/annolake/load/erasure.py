"""Which stored rows an erasure concerns, table by table, and all that a lake has of a queue.

Owns how rows of other tables belong to those of `runs`: feedback to the run or thread that no other row is of, turns to
their item or their own run.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property, partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annolake import arrow_compute as pc
from annolake.errors import LakeError
from annolake.keys import KEY_BYTES
from annolake.load.lake import Lake
from annolake.load.merge.columns import Bools, keys_of, one_chunk
from annolake.load.merge.revise import Change
from annolake.load.place import OWN
from annolake.load.revision import Done, partitions_of
from annolake.load.storage.files import look_again
from annolake.load.storage.scratch import Workspace

_SEEN = ("queue_run_id", "item_type", "id", "thread_id", "added_at")
_KEY = "S16"

Keys = npt.NDArray[Any]
"""Keys of ids, as texts of 16 bytes."""


class RejectedRow(msgspec.Struct, frozen=True):
    """What the reject of a row of `runs` tells of it: `ids` of the row and its run, in lower case.

    `run` or `thread` is what feedback on it is on.
    """

    name: str
    ids: frozenset[str]
    run: str | None
    thread: str | None
    added_at: datetime | None


class Rule(msgspec.Struct, frozen=True):
    """Rows by ids of theirs or of their runs, in lower case; or by a time that they were added before.

    `remembered` tells of further ids, which nobody knows any more, whether they are among them.
    """

    ids: frozenset[str] = frozenset()
    before: datetime | None = None
    remembered: Callable[[str], bool] | None = None

    def has(self, id_: str) -> bool:
        """Tell whether an id, in lower case, is one of them."""
        return id_ in self.ids or bool(self.remembered and self.remembered(id_))

    def among(self, table: pa.Table, *names: str) -> Bools:
        """Tell which rows have one of the ids in one of these columns."""
        found = np.zeros(table.num_rows, np.bool_)
        wanted = pa.array(sorted(self.ids), pa.string())
        for name in names if self.ids else ():
            found |= _true(pc.is_in(pc.utf8_lower(table.column(name)), value_set=wanted))
        for name in names if self.remembered else ():
            values = table.column(name).to_pylist()
            found |= np.fromiter((each is not None and self.has(each) for each in values), np.bool_, len(values))
        return found

    def concerns(self, row: RejectedRow) -> bool:
        """Tell the same of a row that was rejected."""
        is_old = self.before is not None and row.added_at is not None and row.added_at < self.before
        return is_old or any(map(self.has, row.ids))

    def added(self, table: pa.Table) -> Bools:
        """Tell which rows were added before the time."""
        if self.before is None:
            return np.zeros(table.num_rows, np.bool_)
        return _true(pc.less(table.column("added_at"), pa.scalar(self.before, pa.timestamp("us", "UTC"))))


class Found(msgspec.Struct, dict=True):
    """The rows of a queue that a rule concerns: how many, their ids, and what no other row of the queue is of.

    Ids are kept where the rule names ids, for rows by age may be many. `items` are those of threads. `owners` are keys.
    """

    rows: int = 0
    rows_of: set[str] = msgspec.field(default_factory=set)
    runs: set[str] = msgspec.field(default_factory=set)
    items: set[str] = msgspec.field(default_factory=set)
    owners: Keys = msgspec.field(default_factory=lambda: np.zeros(0, _KEY))

    @cached_property
    def owner_keys(self) -> frozenset[bytes]:
        """The owners, to be asked for single ones."""
        return frozenset(key.ljust(KEY_BYTES, b"\0") for key in self.owners.tolist())


def scan(lake: Lake, queue_id: str, rule: Rule, rejected: Iterable[RejectedRow]) -> Found:
    """Return which rows of a queue, rejected ones among them, a rule concerns; needs no lock. Raises LakeError."""
    found, table = Found(), lake.table("runs")
    going, staying = [found.owners], [found.owners]
    for day in table.days(queue_id):
        for rows in look_again(partial(_read, lake, queue_id, day)):
            gone = rule.among(rows, "id", "queue_run_id") | rule.added(rows)
            owners = _owners(rows)
            going.append(owners[gone])
            staying.append(owners[~gone])
            found.rows += int(gone.sum())
            _note(found, rows.filter(pa.array(gone)), rule)
    for row in rejected:
        gone_too = rule.concerns(row)
        (going if gone_too else staying).append(_keys(pa.chunked_array([[row.run or row.thread]], pa.string())))
        if gone_too and rule.ids:
            found.rows_of |= row.ids
            found.runs.update(filter(None, [row.run]))
    none = _keys(pa.chunked_array([[None]], pa.string()))  # of a row that shows no run
    found.owners = np.setdiff1d(np.concatenate(going), np.concatenate([none, *staying]))
    return found


def _read(lake: Lake, queue_id: str, day: int) -> list[pa.Table]:
    with lake.table("runs").opened(queue_id, day) as reader:
        return [reader.stored_rows(group, _SEEN) for group in range(len(reader.row_groups))] if reader else []


def _note(found: Found, gone: pa.Table, rule: Rule) -> None:
    is_thread = pc.equal(gone.column("item_type"), "THREAD")
    found.items.update(gone.filter(is_thread).column("queue_run_id").to_pylist())
    if rule.ids:
        found.rows_of.update(gone.column("queue_run_id").to_pylist())
        found.runs.update(pc.utf8_lower(gone.column("id")).drop_null().to_pylist())


def _owners(rows: pa.Table) -> Keys:
    """Return the key of what feedback on a row is on: its run, or its thread."""
    is_thread = pc.equal(rows.column("item_type"), "THREAD")
    return _keys(pc.if_else(is_thread, rows.column("thread_id"), pc.utf8_lower(rows.column("id"))))


def _keys(ids: pa.ChunkedArray) -> Keys:
    return keys_of(one_chunk(pc.fill_null(ids, ""))).view(_KEY).reshape(-1)


def changes_of(rule: Rule, found: Found) -> Mapping[str, Change]:
    """Return what becomes of the tables' rows, those of `runs` last: the others are found by them."""

    def feedback(table: pa.Table) -> Bools:
        run = table.column("run_id")
        owners = _keys(pc.if_else(pc.is_valid(run), pc.utf8_lower(run), table.column("thread_id")))
        return rule.among(table, "run_id") | np.isin(owners, found.owners)

    def turns(table: pa.Table) -> Bools:
        return rule.among(table, "queue_run_id", "trace_id") | rule.added(table)

    def runs(table: pa.Table) -> Bools:
        return rule.among(table, "id", "queue_run_id") | rule.added(table)

    return {
        "feedback": _without(feedback, "run_id", "thread_id"),
        "turns": _without(turns, "queue_run_id", "trace_id", "added_at"),
        "runs": _without(runs, "id", "queue_run_id", "added_at"),
    }


def _without(concerned: Callable[[pa.Table], Bools], *names: str) -> Change:
    """Return the change that leaves rows out."""

    def apply(table: pa.Table) -> pa.Table:
        gone = concerned(table)
        return table.filter(pa.array(~gone)) if gone.any() else table

    return Change(frozenset(names), apply)


def drop_queue(lake: Lake, queue_id: str, workspace: Workspace, done: Done) -> None:
    """Remove all that a lake has of a queue: rows, old versions, rejects, proofs, counts, entries of reports.

    Counts and proofs go before what they tell of: a kill in between is not to look like a loss.
    """
    own = lake.root / OWN
    for name in lake.formats:
        table = lake.table(name)
        if lake.arrangement == "delta":
            _withdraw_all(lake, queue_id, workspace, name, done)
            done.old_files += table.purge(queue_id, concerned=lambda _: True)
        elif lake.files.exists(table.folder(queue_id)):
            with suppress(LakeError):  # a damaged file goes with the others
                held = table.held(queue_id)
                done.files, done.rows_gone = done.files + held.partitions, done.rows_gone + held.rows
    for name in lake.files.names(own / "counts"):
        if name.partition(".")[0] == queue_id:
            lake.files.remove(own / "counts" / name)
    lake.files.remove(own / "proofs" / f"{queue_id}.json")
    for name in lake.formats:
        lake.files.remove(lake.table(name).folder(queue_id))
    lake.files.remove(own / "rejected" / f"queue_id={queue_id}")
    lake.reports.forget(queue_id, workspace)


def _withdraw_all(lake: Lake, queue_id: str, workspace: Workspace, table: str, done: Done) -> None:
    with partitions_of(lake, queue_id, workspace, table) as partitions:
        for day, reader in partitions.stored():
            done.files, done.rows_gone = done.files + 1, done.rows_gone + reader.part.rows
            partitions.withdraw(day)
        partitions.finish({})


def _true(mask: pa.ChunkedArray) -> Bools:
    return np.asarray(one_chunk(pc.fill_null(mask, False)).to_numpy(zero_copy_only=False), np.bool_)
