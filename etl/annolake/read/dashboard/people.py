"""What the page says of reviewers, and of what they answered."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec
import polars as pl

from annolake.read.dashboard import words
from annolake.read.dashboard.parts import Chart, Period, Section, as_table
from annolake.read.dashboard.sums import View, last_days

_LONGEST_PAUSE_H = 0.5
_MOST_RANKS, _MOST_KEYS = 10, 9
_FEWEST_ANSWERS = 10  # in each of two weeks, for a change to be worth a title
_REVIEWERS = """\
Finished: reviews by the UTC day of the run's last review. Time per run: the median time between a reviewer's answers on
one run and on the next, pauses of more than 30 minutes left out. Agreement: with other reviewers, on the same key of
the same run, at any time."""
_PEOPLE = "Answers of people to the keys of the rubrics, each feedback once."
_ALL = "No person has answered a key of a rubric in these days: all feedback is shown, each once."


def reviewers(view: View, period: Period) -> Section:
    """Return what each reviewer finished, how fast, and how far others agree."""
    done = view("reviewer_throughput").filter(period.has("day")).group_by(id="reviewer_id")
    each = done.agg(finished=pl.col("completed").sum(), recent=pl.col("completed").filter(period.week.has("day")).sum())
    names = view("reviewers").select("id", "name")
    joined = each.join(names, on="id", how="left").join(_pace(view, period), on="id", how="left")
    found = (
        joined.join(_agreement(view), on="id", how="left").sort("finished", "id", descending=[True, False]).collect()
    )
    if found.is_empty():
        return Section("reviewers", "No reviewer has finished a run in these days")
    called = words.labels(dict(found.select("id", "name").rows()))
    rows = [_reviewer_row(called, row) for row in found.to_dicts()]
    top = found.head(_MOST_RANKS)
    points = top.select(
        name=pl.col("id").replace_strict(called, return_dtype=pl.String),
        value=pl.col("finished").cast(pl.Float64),
        figure=pl.Series([row[1] for row in rows[:_MOST_RANKS]], dtype=pl.String),
    )
    done_by_first, done_by_all = found["finished"][0], found["finished"].sum()
    share = words.percent(done_by_first, done_by_all)
    title = f"{words.short(rows[0][0], 40)} finished {words.counted(done_by_first, 'review')}, {share} of all"
    heads = ("reviewer", "finished", last_days(period), "time per run", "agreement", "compared answers")
    return Section(
        "reviewers",
        title,
        _REVIEWERS,
        [Chart("ranks", "Finished reviews by reviewer", points)],
        as_table(heads, rows, numbers=(1, 2, 3, 4, 5)),
        "Reviewers",
    )


def _reviewer_row(called: dict[str, str], row: dict[str, Any]) -> tuple[str, ...]:
    return (
        called[row["id"]],
        words.number(row["finished"]),
        words.number(row["recent"]),
        words.hours(row["pace"]),
        words.NONE if row["percent"] is None else f"{row['percent']:.0f}%",
        words.number(row["compared"]),
    )


def _pace(view: View, period: Period) -> pl.LazyFrame:
    """Return the median hours between a person's answers on one run and on the next."""
    when = pl.col("created_at")
    said = view("feedback").filter(pl.col("source_type") == "app", period.has(when.dt.date()))
    runs = said.drop_nulls(["author", "run_id"]).group_by(pl.col("author").alias("id"), "run_id").agg(when.min())
    waited = runs.sort("id", "created_at").with_columns(
        hours=(when - when.shift(1)).over("id").dt.total_milliseconds() / 3.6e6
    )
    return waited.filter(pl.col("hours") <= _LONGEST_PAUSE_H).group_by("id").agg(pace=pl.col("hours").median())


def _agreement(view: View) -> pl.LazyFrame:
    """Return in how many percent of what a person and another both answered they agree."""
    pairs = view("agreement")
    both = pl.concat([pairs.select("n", "percent", id=name) for name in ("reviewer_a", "reviewer_b")])
    weighted = (pl.col("percent") * pl.col("n")).sum() / pl.col("n").sum()
    return both.group_by("id").agg(percent=weighted, compared=pl.col("n").sum())


class _Look(msgspec.Struct):
    """What is shown of a key: `what` by step in `points`, and its mean over all days, the last week, the week before.

    `change` tells how far the last two weeks are apart, in standard deviations; None where they hold too little.
    """

    key: str
    n: int
    what: str = "comments only"
    points: pl.DataFrame | None = None
    means: tuple[float | None, float | None, float | None] = (None, None, None)
    change: float | None = None
    percent: bool = False

    def shown(self) -> tuple[str, str, str]:
        """Return the means as the page writes them."""
        total, week, before = (words.NONE if mean is None else f"{mean:.3g}" for mean in self.means)
        return total, week, before


def answers(view: View, period: Period) -> Section:
    """Return what was answered to each key over time."""
    said = view("feedback").filter(period.has(pl.col("created_at").dt.date())).sort("queue_id")
    asked = pl.col("in_rubric").fill_null(value=False) & (pl.col("source_type") == "app")
    columns = ("key", "score", "value_text", pl.col("created_at").dt.date().alias("day"), asked.alias("asked"))
    found = said.unique("id", keep="first", maintain_order=True).select(columns).collect()
    by_people = found.filter("asked")
    shown, note = (found, _ALL) if by_people.is_empty() else (by_people, _PEOPLE)
    if shown.is_empty():
        return Section("answers", "No feedback was given in these days", wide=True)
    keys = shown.group_by("key").len().sort("len", "key", descending=[True, False])["key"].to_list()
    looks = [_look(key, shown.filter(pl.col("key") == key), period) for key in keys]
    called = words.labels({key: key for key in keys})
    charts = [
        Chart(
            "lines",
            f"{called[look.key]}: {look.what} per {period.step}",
            look.points,
            title=called[look.key],
            unit=look.what,
            percent=look.percent,
        )
        for look in looks[:_MOST_KEYS]
        if look.points is not None
    ]
    rows = [(called[look.key], words.number(look.n), look.what, *look.shown()) for look in looks]
    heads = ("key", "answers", "shown", "all days", last_days(period), "7 days before")
    return Section(
        "answers",
        _title(looks, called, shown.height, period),
        note,
        charts,
        as_table(heads, rows, numbers=(1, 3, 4, 5)),
        "Answers by key",
        wide=True,
    )


def _look(key: str, said: pl.DataFrame, period: Period) -> _Look:
    """Look at a key: at the average of its scores, else at how often its commonest value was given."""
    look = _Look(key, said.height)
    scored, valued = said.drop_nulls("score"), said.drop_nulls("value_text")
    if scored.height:
        look.what, used = "average score", scored.with_columns(value="score")
    elif valued.height:
        counts = valued.group_by("value_text").len().sort("len", "value_text", descending=[True, False])
        common = counts["value_text"][0]
        look.what, look.percent = f"percent of “{words.short(common, 30)}”", True
        used = valued.with_columns(value=(pl.col("value_text") == common).cast(pl.Float64) * 100)
    else:
        return look
    steps = used.group_by(day=period.step_of("day")).agg(pl.col("value").mean()).sort("day")
    look.points = steps.select("day", pl.lit(0).alias("series"), "value")
    before = period.week_before
    weeks = [used.filter(each.has("day")) if each else used.clear() for each in (period.week, before)]
    total, week, earlier = (_mean(each["value"]) for each in (used, *weeks))
    look.means = total, week, earlier
    if week is not None and earlier is not None and min(each.height for each in weeks) >= _FEWEST_ANSWERS:
        spread = used.select(pl.col("value").std()).item()
        change = (week - earlier) / (spread or 1)
        look.change = change if isfinite(change) else None
    return look


def _mean(values: pl.Series) -> float | None:
    """Return the mean; None where there is no value, or where it overflows."""
    mean: float | None = values.to_frame("value").select(pl.col("value").mean()).item()
    return mean if mean is not None and isfinite(mean) else None


def _title(looks: Sequence[_Look], called: Mapping[str, str], n: int, period: Period) -> str:
    moved = max(looks, key=lambda look: abs(look.change or 0))
    _, week, before = moved.shown()
    if not moved.change or week == before:
        told = f"{words.counted(n, 'answer')} to {words.counted(len(looks), 'key')}"
        return f"{told} since {words.since(period.first, period.last)}"
    verb, name = "rose" if moved.change > 0 else "fell", words.short(called[moved.key], 40)
    return f"{name}: {moved.what} {verb} from {before} to {week} within a week"
