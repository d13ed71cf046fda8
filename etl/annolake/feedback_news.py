"""The rows of the lake on whose runs anything new was said: looked up once, a row group at a time.

Owns what must be known of a row to read its feedback. That is read from the lake because a run is not a row's key, and
because an export of new rows alone does not meet them.
"""

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annolake.keys import KEY_BYTES
from annolake.load.merge.columns import keys_of, one_chunk
from annolake.load.merge.upsert import Upsert


class RowFacts(msgspec.Struct, frozen=True):
    """What the lake has of a row: of a THREAD item the thread is asked for, of any other the run."""

    queue_run_id: str
    item_type: str
    id: str | None
    thread_id: str | None
    session_id: str | None
    completed_by: list[str] | None


def projects_of(runs: Upsert) -> list[str]:
    """Return the projects of the rows that are in the queue, as the lake has them, in order."""
    found: set[str] = set()
    for table in runs.columns(("session_id", "removed_at")):
        there = table.filter(pc.is_null(table.column("removed_at"))).column("session_id")
        found.update(pc.unique(there).drop_null().to_pylist())
    return sorted(found)


def rows_of(runs: Upsert, owners: frozenset[bytes]) -> list[RowFacts]:
    """Return the rows in the queue, as the lake has them, that are of these runs and threads, given by their keys."""
    wanted, found = np.frombuffer(b"".join(owners), f"S{KEY_BYTES}"), []
    for table in runs.columns((*RowFacts.__struct_fields__, "removed_at")) if owners else ():
        is_thread = pc.equal(table.column("item_type"), "THREAD")
        ids = pc.fill_null(pc.if_else(is_thread, table.column("thread_id"), table.column("id")), "")
        here = np.isin(keys_of(one_chunk(ids)).view(wanted.dtype).reshape(-1), wanted)
        here &= np.asarray(one_chunk(pc.is_null(table.column("removed_at"))))
        found += msgspec.convert(table.filter(pa.array(here)).to_pylist(), list[RowFacts])
    return found
