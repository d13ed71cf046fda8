"""Which feedback an export reads: all of it, or that of rows that changed and of runs with new feedback.

Owns that decision, from what earlier exports proved (docs/guarantees.md#feedback). Pure: proofs in, plan out.
"""

from datetime import datetime, timedelta

import msgspec

from annolake.report import Mode


class FeedbackPlan(msgspec.Struct, frozen=True):
    """`whole`: the feedback of every row that is met. Runs with feedback `since` then are looked for; None: not."""

    whole: bool
    since: datetime | None = None


def plan_feedback(
    read_at: datetime | None,
    since: datetime | None,
    *,
    mode: Mode,
    refresh: bool,
    now: datetime,
    every_s: float,
    lookback_s: float,
) -> FeedbackPlan:
    """Plan the reading of feedback in an export that begins now.

    `read_at` is when all feedback was last read, None: it is not proved that it ever was; `since` from when on new
    feedback is to be looked for. New rows alone never make a whole reading.
    """
    is_due = refresh or read_at is None or every_s == 0 or now - read_at > timedelta(seconds=every_s)
    if mode == "full" and is_due:
        return FeedbackPlan(whole=True)
    return FeedbackPlan(whole=False, since=since and _earlier(since, lookback_s))


def _earlier(moment: datetime, seconds: float) -> datetime:
    try:
        return moment - timedelta(seconds=seconds)
    except OverflowError:  # at the beginning of the calendar
        return moment.min.replace(tzinfo=moment.tzinfo)
