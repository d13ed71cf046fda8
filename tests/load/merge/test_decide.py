"""The pure merge of one partition against the rules said row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annolake.load.merge.blocks import Blocks
from annolake.load.merge.columns import hashes_of, one_chunk
from annolake.load.merge.decide import NONE, Arriving, Counts, Decision, Stored, decide, merged

NOW = datetime(2026, 12, 1, tzinfo=UTC)
SORT_BY = ["added_at", "queue_run_id"]
TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        pa.field("queue_run_id", pa.string(), nullable=False),
        pa.field("added_at", TIME),
        pa.field("cost", pa.decimal128(38, 18)),
        pa.field("details", pa.map_(pa.string(), pa.int64())),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("row_hash", pa.binary(16), nullable=False),
        pa.field("exported_at", TIME, nullable=False),
        pa.field("removed_at", TIME),
    ]
)
OLD = datetime(2026, 11, 30, tzinfo=UTC)


@dataclass(frozen=True)
class One:
    """A row of a partition: its number in the index, and everything else as one version."""

    number: int
    at: int
    version: int
    removed: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """The row's columns."""
        return {
            "queue_run_id": f"row {self.number:03}",
            "added_at": NOW.replace(minute=self.at),
            "cost": self.version,
            "details": [("a", self.number), ("b", None)] if self.version % 2 else None,
            "tags": [f"version {self.version}"] * (self.number % 3) or None,
            "row_hash": bytes([self.version, self.at, self.number]) * 5 + b".",
            "exported_at": OLD,
            "removed_at": OLD if self.removed else None,
        }


def table(some: Sequence[One]) -> pa.Table:
    """Return rows as a table, in the order of a file."""
    ordered = sorted((one.values for one in some), key=lambda row: (row["added_at"], row["queue_run_id"]))
    return pa.Table.from_pylist(ordered, schema=SCHEMA)


def blocks(of: pa.Table, size: int) -> Blocks:
    """Return a table's rows in blocks of some size."""
    starts = list(range(0, of.num_rows, size))
    return Blocks([min(size, of.num_rows - start) for start in starts], lambda block: of.slice(starts[block], size))


def numbers(of: pa.Table) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the rows' numbers."""
    return np.array([int(text[4:]) for text in of.column("queue_run_id").to_pylist()], np.int32)


def one_merge(
    stored: Sequence[One],
    runs: Sequence[Sequence[One]],
    *,
    gone: frozenset[int] = frozenset(),
    leaving: frozenset[int] = frozenset(),
    unavailable: frozenset[str] = frozenset(),
    size: int = 3,
) -> tuple[Decision, pa.Table]:
    """Merge rows and runs of rows; the index knows the stored rows alone."""
    held, arrived = table(stored), [table(run) for run in runs]
    known = numbers(held)
    side = Stored(
        numbers=known,
        keys=held.select(SORT_BY),
        hashes=hashes_of(one_chunk(held.column("row_hash"))),
        removed=np.array(held.column("removed_at").is_valid().to_pylist(), np.bool_),
        leaving=np.isin(known, list(leaving)),
        gone=np.isin(known, list(gone)),
    )
    arriving = [
        Arriving(
            numbers=numbers(run),
            keys=run.select(SORT_BY),
            hashes=hashes_of(one_chunk(run.column("row_hash"))),
            staying=~np.isin(numbers(run), list(leaving)),
            known=np.isin(numbers(run), known),
            unavailable=np.full(run.num_rows, 1 if unavailable else 0, np.uint8),
        )
        for run in arrived
    ]
    decision = decide(side, arriving)
    places = [int(np.flatnonzero(known == number)[0]) for number in decision.preserved_numbers]
    pieces = merged(
        decision,
        [blocks(each, size) for each in [held, *arrived]],
        preserved=held.take(pa.array(places, pa.int64())).select(sorted(unavailable)),
        unavailable_sets=[frozenset(), unavailable],
        now=NOW,
        schema=SCHEMA,
    )
    return decision, pa.concat_tables([SCHEMA.empty_table(), *pieces])


def in_words(
    stored: Sequence[One],
    runs: Sequence[Sequence[One]],
    gone: frozenset[int],
    leaving: frozenset[int],
    unavailable: frozenset[str],
) -> list[dict[str, Any]]:
    """Return what the merge makes of the rows, by the rules said one row at a time."""
    after = {one.number: one.values for one in stored if one.number not in leaving}
    for number in gone & after.keys():
        if after[number]["removed_at"] is None:
            after[number] |= {"removed_at": NOW, "exported_at": NOW}
    for one in {one.number: one for run in runs for one in run}.values():
        if one.number in leaving:
            continue
        before = after.get(one.number)
        kept = {name: before[name] for name in unavailable} if before else {}
        if before and before["row_hash"] == one.values["row_hash"]:
            if before["removed_at"]:
                before |= {"removed_at": None, "exported_at": NOW}
        else:
            after[one.number] = one.values | kept | {"exported_at": NOW, "removed_at": None}
    return sorted(after.values(), key=lambda row: (row["added_at"], row["queue_run_id"]))


ROWS = st.lists(
    st.builds(One, number=st.integers(0, 12), at=st.integers(0, 3), version=st.integers(0, 2), removed=st.booleans()),
    max_size=14,
    unique_by=lambda one: one.number,
)
RUNS = st.lists(ROWS.map(lambda run: [replace(one, removed=False) for one in run]), max_size=3)
SOME = st.frozensets(st.integers(0, 12), max_size=6)
UNKNOWN = st.frozensets(st.sampled_from(["cost", "details", "tags"]))


@given(ROWS, RUNS, st.tuples(SOME, SOME), UNKNOWN, st.integers(1, 5))
def test_a_merge_is_what_the_rules_say_row_by_row(
    stored: list[One],
    runs: list[list[One]],
    absent: tuple[frozenset[int], frozenset[int]],
    unavailable: frozenset[str],
    size: int,
) -> None:
    """Whatever is stored, arrives, is gone or leaves, in blocks of any size: every value, and the order."""
    gone, leaving = absent
    gone -= {one.number for run in runs for one in run} | leaving

    decision, after = one_merge(stored, runs, gone=gone, leaving=leaving, unavailable=unavailable, size=size)

    wanted = in_words(stored, runs, gone, leaving, unavailable)
    assert after.equals(pa.Table.from_pylist(wanted, schema=SCHEMA))
    assert decision.changed == (wanted != table(stored).to_pylist())
    assert decision.forward
    assert unavailable or not (len(decision.preserved_numbers) or (decision.preserved_from != NONE).any())


@given(ROWS, RUNS)
def test_merging_again_changes_nothing(stored: list[One], runs: list[list[One]]) -> None:
    """The same rows arriving at the merge's own outcome leave it as it is."""
    last = {one.number: one for one in stored} | {one.number: one for run in runs for one in run}
    everything = [replace(one, removed=False) for one in last.values()]

    again, _ = one_merge(everything, runs[-1:])

    assert not again.changed
    assert again.counts == Counts()


@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_the_order_of_runs_matters_to_rows_read_twice_alone(stored: list[One], read: list[One], shuffle: Any) -> None:
    """However rows of one version each are cut into runs, the outcome is one and the same."""
    cut = [replace(one, removed=False) for one in read]
    _, whole = one_merge(stored, [cut])
    shuffle.shuffle(cut)

    _, pieces = one_merge(stored, [cut[3:], cut[:3]])

    assert pieces.equals(whole)


def test_counts_tell_new_changed_and_gone_rows_apart() -> None:
    """Back and changed rows are updated ones; what stays or leaves counts nowhere."""
    stored = [One(1, 0, 0), One(2, 0, 0), One(3, 0, 0, removed=True), One(4, 0, 0), One(5, 0, 0)]
    read = [One(1, 0, 1), One(2, 0, 0), One(3, 0, 0), One(6, 0, 0)]

    decision, after = one_merge(stored, [read], gone=frozenset({4}), leaving=frozenset({5}))

    assert decision.counts == Counts(inserted=1, updated=2, removed=1)
    assert after.num_rows == 5


def test_a_file_out_of_order_is_recognised() -> None:
    """A stored file that is not sorted can't be read forward, and the decision says so."""
    held = table([One(1, 0, 0), One(2, 1, 0)]).take([1, 0])
    side = Stored(
        numbers=numbers(held),
        keys=held.select(SORT_BY),
        hashes=hashes_of(one_chunk(held.column("row_hash"))),
        removed=np.zeros(2, np.bool_),
        leaving=np.zeros(2, np.bool_),
        gone=np.zeros(2, np.bool_),
    )
    run = table([One(3, 0, 0)])
    arriving = Arriving(
        numbers=numbers(run),
        keys=run.select(SORT_BY),
        hashes=hashes_of(one_chunk(run.column("row_hash"))),
        staying=np.ones(1, np.bool_),
        known=np.zeros(1, np.bool_),
        unavailable=np.zeros(1, np.uint8),
    )

    assert not decide(side, [arriving]).forward


class Reads:
    """The rows of a table in blocks, of 100 bytes each, and which of them were read."""

    def __init__(self, of: pa.Table, size: int) -> None:
        self.ranges: list[tuple[int, int]] = []
        self._blocks = blocks(of, size)
        self.ends, self.row_bytes = self._blocks.ends, 100.0

    def read(self, low: int, high: int) -> pa.Table:
        """Note and return a range of rows."""
        self.ranges.append((low, high))
        return self._blocks.read(low, high)


def pieces_of(
    stored: Sequence[One], run: Sequence[One], *, size: int, unavailable: frozenset[str] = frozenset()
) -> tuple[list[int], Reads, Reads]:
    """Merge one run; return how many rows each piece has, and what was read of the stored file and of the run."""
    held, arrived = table(stored), table(run)
    decision, _ = one_merge(stored, [run], unavailable=unavailable)
    sources = Reads(held, size), Reads(arrived, size)
    pieces = merged(
        decision,
        cast("list[Blocks]", sources),
        preserved=held.slice(0, 0).select(sorted(unavailable)),
        unavailable_sets=[frozenset(), unavailable],
        now=NOW,
        schema=SCHEMA,
    )
    return [piece.num_rows for piece in pieces], *sources


def test_a_piece_is_of_one_block_of_the_stored_file() -> None:
    """However rows are added between, a block is read once, and no two at a time."""
    stored = [One(number, 2 * number, 0) for number in range(9)]

    sizes, held, _ = pieces_of(stored, [One(9, 1, 0), One(10, 7, 0), One(11, 18, 0)], size=3)

    assert sizes == [4, 4, 4]
    assert held.ranges == [(0, 3), (3, 6), (6, 9)]


def test_a_piece_of_new_rows_is_of_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is stored, a piece ends when its rows have come to that weight."""
    run = [One(number, number, 0) for number in range(10)]
    monkeypatch.setattr("annolake.load.merge.decide.PIECE_BYTES", 400)

    sizes, _, arrived = pieces_of([], run, size=10)

    assert sizes == [3, 4, 3]
    assert arrived.ranges == [(0, 3), (3, 7), (7, 10)]


def test_of_a_run_its_own_rows_alone_are_read() -> None:
    """Where a value of the stored row stays, the stored row is read beside the new one."""
    stored = [One(number, number, 0) for number in range(6)]

    sizes, held, arrived = pieces_of(stored, [One(4, 4, 1)], size=6, unavailable=frozenset({"cost"}))

    assert sizes == [6]
    assert (held.ranges, arrived.ranges) == ([(0, 6)], [(0, 1)])
