"""What the page says of models: what runs cost, and how many tokens they took."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from annolake.read.dashboard import words
from annolake.read.dashboard.parts import Chart, Period, Section, Tile, as_table
from annolake.read.dashboard.sums import View, in_weeks, key_of, last_days, numbered, points_of, total

_NOTE = """\
By the UTC day on which a run was added to its queue; a run in two queues counts in both. Costs are those that the
service knows."""
_NO_MODEL = "runs without a model"


def costs(view: View, period: Period) -> list[Section]:
    """Return two sections, of costs and of tokens; one that says so where there was no run."""
    found = view("daily_cost").filter(period.has("day")).select("day", "runs", "tokens", "cost", name="model")
    days = found.with_columns(pl.col("name").fill_null(_NO_MODEL)).collect()
    if days.is_empty():
        tile = Tile("Cost", words.NONE, f"no run was added since {words.since(period.first, period.last)}")
        none = "No tokens are known of these days"
        return [Section("cost", "No run was added in these days", tile=tile), Section("tokens", none)]
    models = _by_model(days)
    names = words.labels({name: name for name in models})
    known = total([figures["cost"] for figures in models.values()])
    rows = [
        (
            names[name],
            words.number(figures["runs"]),
            words.number(figures["tokens"]),
            words.money(figures["cost"]),
            words.NONE if figures["cost"] is None else words.percent(figures["cost"], known),
        )
        for name, figures in models.items()
    ]
    table = as_table(("model", "runs", "tokens", "cost", "share of cost"), rows, numbers=(1, 2, 3, 4))
    note = f"{_NOTE} {words.sums_since(period.first, period.last)}"
    week, before = in_weeks(days, period, "cost")
    detail = f"in the {last_days(period)}" + (
        f"; {words.money(before)} in the 7 days before" if before is not None else ""
    )
    return [
        Section(
            "cost",
            _cost_title(days, period, week) if known is not None else "No costs are known of these days",
            note,
            _charts(days, models, names, period, "cost"),
            table,
            "Cost by model",
            Tile("Cost", words.money(week), detail),
        ),
        Section(
            "tokens",
            _token_title(models, names, period),
            note,
            _charts(days, models, names, period, "tokens"),
            table,
            "Tokens by model",
        ),
    ]


def _by_model(days: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the sums of each model, the dearest first."""
    sums = {
        str(name): {value: total(each[value].to_list()) for value in ("runs", "tokens", "cost")}
        for (name,), each in days.group_by("name")
    }
    return dict(sorted(sums.items(), key=lambda each: (-(each[1]["cost"] or 0), -(each[1]["tokens"] or 0), each[0])))


def _cost_title(days: pl.DataFrame, period: Period, week: Any) -> str:
    if not week:
        spent = words.money(total(days["cost"].to_list()))
        return f"Runs cost {spent} since {words.since(period.first, period.last)}, nothing in the {last_days(period)}"
    name, figures = next(iter(_by_model(days.filter(period.week.has("day"))).items()))
    by = f"{words.percent(figures['cost'], week)} of it by {words.short(name, 40)}"
    return f"Runs cost {words.money(week)} in the {last_days(period)}, {by}"


def _token_title(models: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], period: Period) -> str:
    tokens = total([figures["tokens"] for figures in models.values()])
    if not tokens:
        return "No tokens are known of these days"
    most = max(models, key=lambda name: models[name]["tokens"] or 0)
    by = f"{words.percent(models[most]['tokens'], tokens)} of them by {words.short(names[most], 40)}"
    return f"{words.number(tokens)} tokens since {words.since(period.first, period.last)}, {by}"


def _charts(
    days: pl.DataFrame, models: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], period: Period, value: str
) -> Sequence[Chart]:
    totals = {name: figures[value] for name, figures in models.items() if figures[value] is not None}
    if not totals:
        return []
    places, dollars = numbered([*models]), value == "cost"
    key = key_of(places, totals, names, "models", words.money if dollars else words.number)
    what = f"{'Cost in dollars' if dollars else 'Tokens'} per {period.step}, by model"
    return [Chart("bars", what, points_of(days, places, value, period), key, dollars=dollars)]
