"""What was said that is new, and the rows of the lake on whose runs it was: looked up once, a row group at a time.

Owns what makes a feedback new, and what must be known of a row to read its feedback. That is read from the lake because
a run is not a row's key, and because an export of new rows alone does not meet them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from annolake import arrow_compute as pc
from annolake.keys import KEY_BYTES, key_of
from annolake.load.merge.columns import Bools, halves, keys_of, one_chunk
from annolake.load.merge.upsert import Upsert
from annolake.sources.new_feedback import Mention


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


def owners_of_news(feedback: Upsert, mentions: Mapping[bytes, Mention]) -> frozenset[bytes]:
    """Return the runs and threads of what is new or edited: of what the lake does not have as it is."""
    known: set[bytes] = set()
    for table in feedback.columns(("id", "modified_at", "removed_at")) if mentions else ():
        here = _among(table.column("id"), mentions)
        for row in table.filter(pa.array(here)).to_pylist():
            key = key_of(row["id"])
            if row["removed_at"] is None and row["modified_at"] == mentions[key].modified_at:
                known.add(key)
    return frozenset(mention.owner for key, mention in mentions.items() if key not in known)


def rows_of(runs: Upsert, owners: Collection[bytes] | None = None) -> Iterator[list[RowFacts]]:
    """Yield the rows in the queue that are of these runs and threads (None: of any), as the lake has them, in lists."""
    for table in runs.columns((*RowFacts.__struct_fields__, "removed_at")) if owners is None or owners else ():
        here = np.asarray(one_chunk(pc.is_null(table.column("removed_at"))))
        if owners is not None:
            is_thread = pc.equal(table.column("item_type"), "THREAD")
            ids = pc.fill_null(pc.if_else(is_thread, table.column("thread_id"), pc.ascii_lower(table.column("id"))), "")
            here = here & _among(ids, owners)
        yield msgspec.convert(table.filter(pa.array(here)).to_pylist(), list[RowFacts])


def rows_not_met(runs: Upsert) -> Iterator[RowFacts]:
    """Yield the rows that the lake has in the queue and this export did not meet."""
    for table in runs.columns(RowFacts.__struct_fields__) if runs.index.missing else ():
        gone = runs.index.gone(runs.index.find(keys_of(one_chunk(table.column("queue_run_id")))))
        yield from msgspec.convert(table.filter(pa.array(gone)).to_pylist(), list[RowFacts])


def numbers_of(runs: Upsert, rows: Sequence[Any]) -> list[int]:
    """Return the numbers of rows that stay as the lake has them."""
    keys = b"".join(key_of(row.queue_run_id) for row in rows)
    numbers: list[int] = runs.index.find(halves(keys)).tolist() if keys else []
    return numbers


def _among(ids: pa.ChunkedArray, keys: Collection[bytes]) -> Bools:
    """Tell which ids have one of the keys."""
    wanted = np.frombuffer(b"".join(keys), f"S{KEY_BYTES}")
    return np.isin(keys_of(one_chunk(ids)).view(wanted.dtype).reshape(-1), wanted)
