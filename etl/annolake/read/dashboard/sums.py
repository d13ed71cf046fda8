"""How the page sums: by series of a chart, by step of its days, over the last two weeks."""

from collections.abc import Callable, Mapping, Sequence
from decimal import localcontext
from typing import Any

import polars as pl

from annolake.read.dashboard import words
from annolake.read.dashboard.parts import Period, Series

View = Callable[[str], pl.LazyFrame]
"""Returns a view of the lake by its name."""

MOST_SERIES = 6
"""How many of a chart's series have a colour of their own; the rest are put together."""

_EXACT = 60  # digits: more than a sum of decimal(38, 18) has
_LONGEST_IN_KEY = 48


def total(values: Sequence[Any]) -> Any:
    """Return the exact sum of what is known, None where nothing is."""
    known = [value for value in values if value is not None]
    with localcontext(prec=_EXACT):
        return sum(known[1:], known[0]) if known else None


def in_weeks(days: pl.DataFrame, period: Period, value: str) -> tuple[Any, Any]:
    """Return the sums of the last 7 days and of the 7 before, None where nothing is known or the period is shorter."""
    before = period.week_before
    return (
        total(days.filter(period.week.has("day"))[value].to_list()),
        total(days.filter(before.has("day"))[value].to_list()) if before else None,
    )


def last_days(period: Period) -> str:
    """Return what the last week is called, which can be shorter."""
    return f"last {period.week.days} days" if period.week.days > 1 else "last day"


def numbered(order: Sequence[str]) -> pl.DataFrame:
    """Return the places of names in the keys of charts: the first have one each, all others the last one together.

    Charts of the same names are given the same order, so that a name has one colour on the page.
    """
    many = len(order) > MOST_SERIES + 1
    places = [min(place, MOST_SERIES) if many else place for place in range(len(order))]
    return pl.DataFrame({"name": order, "series": places}, schema={"name": pl.String, "series": pl.Int64})


def key_of(
    places: pl.DataFrame,
    totals: Mapping[str, Any],
    names: Mapping[str, str],
    what: str,
    shown: Callable[[Any], str] = words.number,
) -> list[Series]:
    """Return a chart's key of those that have a total; `what` is the plural of what the names are of."""
    members: dict[int, list[str]] = {}
    for name, place in places.rows():
        if totals.get(name) is not None:
            members.setdefault(place, []).append(name)
    key = []
    for place, each in members.items():
        name = names.get(each[0], each[0]) if len(each) == 1 else f"{len(each)} other {what}"
        key.append(Series(place, words.short(name, _LONGEST_IN_KEY), shown(total([totals[one] for one in each]))))
    return key


def points_of(days: pl.DataFrame, places: pl.DataFrame, value: str, period: Period) -> pl.DataFrame:
    """Return a chart's points of rows by day and name: a sum for each step and series."""
    joined = days.with_columns(day=period.step_of("day")).join(places, on="name")
    return joined.group_by("day", "series").agg(value=pl.col(value).cast(pl.Float64).sum()).sort("series", "day")
