"""Properties of exports over any states of a queue: nothing lost, nothing doubled, whatever breaks."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import strategies as st

from annolake.errors import LakeError
from load.faults import Gate, Killed
from load.kinds import bury, for_examples
from load.model_queue import QUEUE, START, Row, expected, export, lake_at, stored, timeless

FORGETTABLE = ["feedback_stats", "inputs", "tags", "prompt_cost_details"]

READ_ROWS = st.lists(
    st.builds(
        lambda number, hours, version: Row(number, None if hours is None else START + timedelta(hours=hours), version),
        number=st.integers(0, 7),
        hours=st.sampled_from([0, 3, 24, 27, 48, None]),
        version=st.integers(0, 2),
    ),
    max_size=12,
)


@dataclass(frozen=True)
class Export:
    """One export of a sequence, and how it fares."""

    read: Sequence[Row]
    complete: bool
    unavailable: frozenset[str]
    page: int
    hold: int
    budget: int
    at_once: int
    prepared: int | None
    mode: str
    at: int


EXPORTS = st.builds(
    Export,
    read=READ_ROWS,
    complete=st.booleans(),
    unavailable=st.sets(st.sampled_from(FORGETTABLE)).map(frozenset),
    page=st.integers(1, 5),
    hold=st.sampled_from([1, 4]),
    budget=st.sampled_from([1, 32 << 20]),
    at_once=st.integers(1, 2),
    prepared=st.sampled_from([None, 0, 3, 100]),
    mode=st.sampled_from(["", "", "before", "after", "kill"]),
    at=st.integers(0, 160),
)


def apply(known: dict[str, dict[str, Any]], done: Export, number: int) -> dict[str, dict[str, Any]]:
    """Return what the lake holds after an export, said in the plainest way."""
    after = dict(known)
    last = {row.key: row for row in done.read}
    for key, row in last.items():
        before = known.get(key)
        if before is None:
            after[key] = expected(row, exported=number)
        elif before["row_hash"] != row.hash:
            after[key] = expected(row, exported=number) | {name: before[name] for name in done.unavailable}
        elif before["removed_at"] is not None:
            after[key] = before | {name: expected(row, exported=number)[name] for name in ("exported_at", "removed_at")}
    if done.complete:
        for key in known.keys() - last.keys():
            if known[key]["removed_at"] is None:
                moment = expected(Row(0, None), exported=number)["exported_at"]
                after[key] = known[key] | {"exported_at": moment, "removed_at": moment}
    return after


def _run(lake_root: Path, done: Export, number: int, gate: Gate | None) -> None:
    export(
        lake_at(lake_root, gate=gate or Gate()),
        done.read,
        number=number,
        complete=done.complete,
        unavailable=done.unavailable,
        page=done.page,
        hold=done.hold,
        budget=done.budget,
        at_once=done.at_once,
        prepared=done.prepared,
    )


@pytest.mark.usefixtures("arrangement")
def test_any_sequence_of_exports_holds_what_was_read_last() -> None:
    """Each row is as it was last read, stamped by the export that changed it, in one partition."""

    def check(exports: list[Export]) -> None:
        known: dict[str, dict[str, Any]] = {}
        with TemporaryDirectory() as folder:
            for number, done in enumerate(exports):
                _run(Path(folder), done, number, None)
                known = apply(known, done, number)

                assert stored(lake_at(Path(folder))) == known

    for_examples(st.lists(EXPORTS, min_size=1, max_size=4), check, few=30)


@pytest.mark.usefixtures("arrangement")
def test_a_broken_export_is_made_good_by_the_next() -> None:
    """After any step broke, a plain rerun ends as if nothing had happened, stamps of time aside."""

    def check(exports: list[Export]) -> None:
        known: dict[str, dict[str, Any]] = {}
        with TemporaryDirectory() as folder:
            for number, done in enumerate(exports):
                lake = lake_at(Path(folder))
                with suppress(LakeError, Killed):
                    _run(Path(folder), done, 2 * number, Gate(done.mode, done.at))
                bury(lake, QUEUE)
                _run(Path(folder), done, 2 * number + 1, None)
                known = apply(known, done, number)

                assert timeless(stored(lake)) == timeless(known)
                assert not lake.litter()

    for_examples(st.lists(EXPORTS, min_size=1, max_size=3), check, few=30)
