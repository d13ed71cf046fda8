"""Which feedback an export reads, from what earlier exports proved."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from annolake.feedback.plan import FeedbackPlan, plan_feedback

NOW = datetime(2026, 12, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EARLIEST = datetime.min.replace(tzinfo=UTC)


def plan(read_at: datetime | None, since: datetime | None, **changes: Any) -> FeedbackPlan:
    """Plan an export that looks back a day and reads all every week."""
    facts: dict[str, Any] = {"mode": "full", "refresh": False, "every_s": 604_800, "lookback_s": 86_400}
    return plan_feedback(read_at, since, now=NOW, **facts | changes)


@pytest.mark.parametrize(
    ("read_at", "changes"),
    [
        (None, {}),
        (NOW - 7 * DAY - timedelta(seconds=1), {}),
        (NOW - DAY, {"refresh": True}),
        (NOW - DAY, {"every_s": 0}),
    ],
)
def test_all_is_read_where_that_is_due(read_at: datetime | None, changes: dict[str, Any]) -> None:
    """Never by an export of new rows, which does not meet the others."""
    assert plan(read_at, read_at, **changes) == FeedbackPlan(whole=True)
    assert not plan(read_at, read_at, mode="new", **changes).whole


@pytest.mark.parametrize("mode", ["full", "new"])
def test_otherwise_what_is_new_is_looked_for(mode: str) -> None:
    """From the look-back before the last export that read what was due."""
    assert plan(NOW - 7 * DAY, NOW - DAY, mode=mode) == FeedbackPlan(whole=False, since=NOW - 2 * DAY)
    assert plan(NOW - 7 * DAY, NOW - DAY, mode=mode, lookback_s=315_360_000_000).since == EARLIEST


def test_an_export_of_new_rows_before_any_whole_reading_looks_for_nothing() -> None:
    """There is no time to look from."""
    assert plan(None, None, mode="new") == FeedbackPlan(whole=False, since=None)
