"""What an export reads, planned from what earlier ones proved."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from annolake.load.proofs import Proofs, proofs_of
from annolake.load.records import PastExport
from annolake.plan import plan_new_only
from load.test_proofs import HOUR, NOW, past


def proofs(*pasts: PastExport) -> Proofs:
    """Return what exports proved, given the newest first."""
    return proofs_of(pasts, now=NOW).get("q", Proofs())


def mark(*pasts: PastExport, lookback_s: float = 0) -> datetime | None:
    """Return from when on the active list is read; None where an export is a full one."""
    plan = plan_new_only(
        proofs(*pasts), endpoint="runs", now=NOW, lookback_s=lookback_s, full_every_s=86_400, rows_in_lake=5
    )
    if plan.mode == "full":
        assert plan.reason
        return None
    return datetime.fromtimestamp(plan.watermarks["active"].time / 1e6, UTC)


def at(hours_ago: int) -> str:
    """Return a time as a report has it."""
    return (NOW - hours_ago * HOUR).isoformat()


def test_new_rows_are_read_from_the_newest_row_met() -> None:
    """Less the look-back, which is in seconds."""
    assert mark(past(2, newest_added_at=at(3))) == NOW - 3 * HOUR
    assert mark(past(2, newest_added_at=at(3)), lookback_s=90) == NOW - 3 * HOUR - timedelta(seconds=90)


def test_no_later_than_the_export_began() -> None:
    """A row that was added while it ran may have been missed; without any row that time counts alone."""
    assert mark(past(2, newest_added_at=at(1))) == NOW - 2 * HOUR
    assert mark(past(2)) == NOW - 2 * HOUR


def test_a_row_of_a_time_to_come_counts_for_nothing() -> None:
    """The other export's newest row is the mark."""
    assert mark(past(2, mode="new", newest_added_at=at(-100)), past(9, newest_added_at=at(10))) == NOW - 10 * HOUR


def test_exports_of_new_rows_since_the_full_one_move_the_mark() -> None:
    """Complete ones alone, and none from before the last full export."""
    full = past(9, newest_added_at=at(10))

    assert mark(past(2, mode="new", newest_added_at=at(3)), full) == NOW - 3 * HOUR
    assert mark(past(2, mode="new", newest_added_at=at(3), complete=False), full) == NOW - 10 * HOUR
    assert mark(full, past(12, newest_added_at=at(4))) == NOW - 10 * HOUR


@pytest.mark.parametrize(
    "pasts",
    [
        [],
        [past(2, complete=False)],
        [past(2, filtered=True)],
        [past(2, mode="new")],
        [past(2, endpoint="items")],
        [past(25)],
    ],
)
def test_without_proof_an_export_is_a_full_one(pasts: list[PastExport]) -> None:
    """A complete and unfiltered full export over the same endpoint, of less than a day ago, is the proof."""
    assert mark(*pasts) is None


def test_a_full_export_of_just_so_long_ago_is_recent_enough() -> None:
    """The bound itself is within."""
    assert mark(past(24)) == NOW - 24 * HOUR


@pytest.mark.parametrize(("rows_seen", "mode"), [(5, "full"), (0, "new")])
def test_a_lake_without_rows_is_filled_where_there_were_some(rows_seen: int, mode: str) -> None:
    """An empty queue's lake is empty by right."""
    plan = plan_new_only(
        proofs(past(2, rows_seen=rows_seen)),
        endpoint="runs",
        now=NOW,
        lookback_s=0,
        full_every_s=86_400,
        rows_in_lake=0,
    )

    assert plan.mode == mode


@pytest.mark.parametrize("order", [None, "", "added_at", "added_at up", 7])
def test_a_list_of_no_known_order_is_read_whole(order: Any) -> None:
    """The report names it; the other list is read from the mark."""
    orders = {"active": "added_at desc", "archived": order}
    plan = plan_new_only(
        proofs(past(2, orders=orders)), endpoint="runs", now=NOW, lookback_s=0, full_every_s=86_400, rows_in_lake=5
    )

    assert (plan.mode, set(plan.watermarks)) == ("new", {"active"})
    assert plan.watermarks["active"].order.descending
    assert "archived" in (plan.reason or "")
    assert "active" not in (plan.reason or "")
