"""Runs that several rows of one queue show: who has completed any of these rows is a reviewer of the run.

Owns that union, so that `by_reviewer` depends neither on which row is read last, nor on which of them changed. 29 bytes
for each row whose feedback is asked for.
"""

from collections.abc import Collection
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from annolake import arrow_compute as pc
from annolake.feedback.backlog import Reviewing, uuid_key
from annolake.feedback.news import RowFacts
from annolake.keys import KEY_BYTES, key_of
from annolake.load.merge.columns import keys_of, one_chunk
from annolake.load.merge.upsert import Upsert

_HALF = KEY_BYTES // 2  # of a row's key tells two rows of one run apart
_RECORD = np.dtype([("run", f"S{KEY_BYTES}"), ("row", f"S{_HALF}"), ("place", "<i4"), ("found", "?")])


class Sharing:
    """The rows whose feedback this export asks for, in the order in which it does."""

    def __init__(self) -> None:
        self._records = bytearray()
        self._reviewing: list[Reviewing] = []
        self._places: dict[Reviewing, int] = {}

    def note(self, row: Any, *, found: bool) -> None:
        """Note that what was said on the run of a row is asked for."""
        if row.id and (key := uuid_key(row.id)):
            reviewing = None if row.completed_by is None else frozenset(row.completed_by)
            place = self._places.setdefault(reviewing, len(self._reviewing))
            if place == len(self._reviewing):
                self._reviewing.append(reviewing)
            self._records += np.array((key, key_of(row.queue_run_id)[:_HALF], place, found), _RECORD).tobytes()

    def note_left(self, row: RowFacts) -> None:
        """Note that a row leaves the queue: its reviewers are none any more, where other rows show its run."""
        self.note(replace(row, completed_by=None), found=False)

    def to_ask_again(self, lake: Upsert | None) -> list[tuple[str, Reviewing, bool]]:
        """Return the runs that were asked for last with other reviewers than all of their rows have.

        Each with its reviewers, and whether it was found. `lake` has the rows that were not met, None where all were.
        """
        asked = np.frombuffer(bytes(self._records), _RECORD)
        others = _others(lake, asked["run"], asked["row"]) if lake and len(asked) else {}
        in_order = np.sort(asked["run"])
        shared = {*in_order[1:][in_order[1:] == in_order[:-1]].tolist(), *others}
        rows: dict[bytes, dict[bytes, Reviewing]] = {run: {} for run in shared}
        last: dict[bytes, Reviewing] = {}
        found: set[bytes] = set()
        for run, row, place, is_found in asked[np.isin(asked["run"], list(shared))].tolist() if shared else ():
            rows[run][row] = last[run] = self._reviewing[place]
            found |= {run} if is_found else set()
        unions = {run: _union([*there.values(), *others.get(run, ())]) for run, there in rows.items()}
        return [(_id_of(run), union, run in found) for run, union in unions.items() if union != last[run]]


def _others(lake: Upsert, runs: Any, rows: Any) -> dict[bytes, list[Reviewing]]:
    """Return who has completed the other rows of these runs that are in the queue, as the lake has them."""
    found: dict[bytes, list[Reviewing]] = {}
    for table in lake.columns(("queue_run_id", "id", "completed_by", "removed_at")):
        ids = one_chunk(pc.fill_null(pc.ascii_lower(table.column("id")), ""))
        keys = keys_of(ids).view(runs.dtype).reshape(-1)
        of_rows = keys_of(one_chunk(table.column("queue_run_id"))).view(rows.dtype).reshape(-1, 2)[:, 0]
        there = np.isin(keys, runs) & ~np.isin(of_rows, rows) & np.asarray(one_chunk(pc.is_null(table["removed_at"])))
        reviewing = table.column("completed_by").filter(pa.array(there)).to_pylist()
        for run, ids_of in zip(keys[there].tolist(), reviewing, strict=True):
            found.setdefault(run, []).append(None if ids_of is None else frozenset(ids_of))
    return found


def _union(reviewing: Collection[Reviewing]) -> Reviewing:
    known = [each for each in reviewing if each is not None]
    return frozenset(chain(*known)) if known else None


def _id_of(run: bytes) -> str:
    digits = run.ljust(KEY_BYTES, b"\0").hex()  # numpy leaves out the zeros at the end
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
