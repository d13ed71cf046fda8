"""What the page says of queues: runs that wait, reviews that were finished, how long runs waited.

Owns what is counted over which days. Numbers are those of the views (docs/schema.md#views), summed.
"""

from collections.abc import Mapping
from datetime import date, timedelta

import polars as pl

from annolake.errors import ConfigError
from annolake.read.dashboard import words
from annolake.read.dashboard.parts import Chart, Period, Section, Tile, as_table
from annolake.read.dashboard.sums import MOST_SERIES, View, in_weeks, key_of, last_days, numbered, points_of

_MOST_RANKS = 10
_FEWEST_DAYS = 7
_REVIEWED = pl.col("last_reviewed_time").dt.date()


def period_of(view: View, *, today: date, days: int, since: date | None) -> Period:
    """Return the days to show: up to the newest on which something happened, from `since` on, or so many `days`.

    Without `since` they begin on the first day on which something happened, if that is later, and are a week at least.
    Days that are still to come are passed over.
    """
    removed = pl.col("removed_at").dt.date()
    runs = view("all_runs").select(pl.col("added_date"), reviewed=_REVIEWED, removed=removed)
    said = view("feedback").select(said=pl.col("created_at").dt.date())
    there = pl.all().filter(pl.all() <= today)
    ends = [each.select(there.min().name.prefix("first_"), there.max()).collect().row(0) for each in (runs, said)]
    happened = [when for row in ends for when in row if when] or [today]
    last = max(happened)
    if since:
        if since > last:
            raise ConfigError(f"--since: nothing has happened since {since}; the newest day of the lake is {last}")
        return Period(since, last)
    first = max(last.toordinal() - days + 1, min(min(happened).toordinal(), last.toordinal() - _FEWEST_DAYS + 1))
    return Period(date.fromordinal(max(1, first)), last)


def queues(view: View, period: Period, names: Mapping[str, str]) -> list[Section]:
    """Return two sections: how many runs wait, and how many reviews were finished, by queue."""
    waiting = view("queue_backlog").filter(period.has("day")).select("day", "waiting", name="queue_id").collect()
    reviews = view("reviews").filter(pl.col("state") == "completed", period.has(_REVIEWED))
    done = reviews.group_by(name="queue_id", day=_REVIEWED).agg(n=pl.len().cast(pl.Int64)).collect()
    last = waiting.filter(pl.col("day") == pl.col("day").max())
    weights = (
        pl.concat([last.select("name", n="waiting"), done.select("name", "n")]).group_by("name").agg(pl.col("n").sum())
    )
    places = numbered(weights.sort("n", "name", descending=[True, False])["name"].to_list())
    return [
        _backlog(waiting, places, period, names, oldest=_oldest_waiting(view)),
        _finished(done, places, period, names),
    ]


def _backlog(
    found: pl.DataFrame, places: pl.DataFrame, period: Period, names: Mapping[str, str], *, oldest: Mapping[str, date]
) -> Section:
    note = "At the end of each UTC day, from what the lake knows: a run waits until it is archived or leaves its queue."
    tile = Tile("Runs that wait", "0", f"on {words.day(period.last)}")
    if found.is_empty():
        return Section("backlog", "No run was in a queue in these days", tile=tile)
    then_day = max(period.first, period.last - timedelta(days=7))
    now, then = ({n: w for d, w, n in found.rows() if d == day} for day in (found["day"].max(), then_day))
    waiting, before, since = sum(now.values()), sum(then.values()), f"since {words.since(then_day, period.last)}"
    ends = found.filter(pl.col("day").is_in(period.ends()))
    drawn = places.filter(pl.col("series") < MOST_SERIES) if places["series"].n_unique() < places.height else places
    points = ends.join(drawn, on="name").group_by("day", "series").agg(value=pl.col("waiting").sum())
    rows = [
        (
            names.get(each, each),
            words.number(now[each]),
            words.number(then.get(each)),
            words.signed(now[each] - then.get(each, 0)),
            words.day(oldest[each]) if each in oldest else words.NONE,
        )
        for each in sorted(now, key=lambda each: (-now[each], each))
    ]
    heads = ("queue", "waiting", words.since(then_day, period.last), "change", "oldest that waits")
    return Section(
        "backlog",
        _moved(waiting, before, since) if then_day < period.last else _waiting(waiting),
        note,
        [
            Chart(
                "lines",
                "Waiting runs at the end of each day, by queue",
                points.sort("series", "day"),
                key_of(places, now, names, "queues (not drawn)"),
            )
        ],
        as_table(heads, rows, numbers=(1, 2, 3)),
        "Waiting runs by queue",
        Tile("Runs that wait", words.number(waiting), f"{words.signed(waiting - before)} {since}"),
    )


def _moved(new: int, old: int, since: str) -> str:
    if new == old:
        return f"{_waiting(new)}, as many as on {since.removeprefix('since ')}"
    verb = "rose" if new > old else "fell"
    return f"Waiting runs {verb} from {words.number(old)} to {words.number(new)} {since}"


def _waiting(runs: int) -> str:
    return f"{words.counted(runs, 'run')} {'waits' if runs == 1 else 'wait'} for review"


def _oldest_waiting(view: View) -> dict[str, date]:
    waiting = view("runs").filter(~pl.col("archived")).group_by("queue_id")
    return dict(waiting.agg(pl.col("added_date").min()).drop_nulls().collect().rows())


def _finished(days: pl.DataFrame, places: pl.DataFrame, period: Period, names: Mapping[str, str]) -> Section:
    note = (
        "A run that two reviewers finished counts twice, on the UTC day of its last review: the service keeps no other."
    )
    if days.is_empty():
        tile = Tile("Reviews finished", "0", f"since {words.since(period.first, period.last)}")
        return Section("finished", "No review was finished in these days", tile=tile)
    week, before = in_weeks(days, period, "n")
    was = "was" if week == 1 else "were"
    compared = f"{words.change(week or 0, before)} in the 7 days before" if before else ""
    totals, recent = (
        {n: sum(each["n"]) for (n,), each in some.group_by("name")}
        for some in (days, days.filter(period.week.has("day")))
    )
    rows = [
        (names.get(each, each), words.number(totals[each]), words.number(recent.get(each, 0)))
        for each in sorted(totals, key=lambda each: (-totals[each], each))
    ]
    chart = Chart(
        "bars",
        f"Finished reviews per {period.step}, by queue",
        points_of(days, places, "n", period),
        key_of(places, totals, names, "queues"),
    )
    return Section(
        "finished",
        f"{words.counted(week or 0, 'review')} {was} finished in the {last_days(period)}{compared and ', ' + compared}",
        f"{note} {words.sums_since(period.first, period.last)}",
        [chart],
        as_table(("queue", "finished", last_days(period)), rows, numbers=(1, 2)),
        "Finished reviews by queue",
        Tile(
            "Reviews finished",
            words.number(week or 0),
            f"in the {last_days(period)}; {compared}" if compared else f"in the {last_days(period)}",
        ),
    )


def waits(view: View, period: Period, names: Mapping[str, str]) -> Section:
    """Return how long runs waited for their last review, by queue."""
    note = "From the moment a run was added to its last review, for runs whose last review was in these days."
    known = view("review_latency").filter(period.has(_REVIEWED), pl.col("hours") >= 0)
    by_queue = known.group_by("queue_id").agg(
        n=pl.len(), median=pl.col("hours").median(), slow=pl.col("hours").quantile(0.9, "linear")
    )
    found = by_queue.sort("median", "queue_id", descending=[True, False]).collect()
    if found.is_empty():
        return Section("waits", "No run was reviewed in these days")
    rows = [
        (
            names.get(row["queue_id"], row["queue_id"]),
            words.hours(row["median"]),
            words.hours(row["slow"]),
            words.number(row["n"]),
        )
        for row in found.to_dicts()
    ]
    first = rows[:_MOST_RANKS]
    points = pl.DataFrame(
        {
            "name": [row[0] for row in first],
            "value": found["median"].head(_MOST_RANKS),
            "figure": [row[1] for row in first],
        }
    )
    return Section(
        "waits",
        f"Runs wait longest in {words.short(rows[0][0], 40)}: {rows[0][1]} at the median",
        note,
        [Chart("ranks", "Median time from being added to the last review, by queue", points)],
        as_table(("queue", "median", "9 of 10 within", "runs"), rows, numbers=(1, 2, 3)),
        "Waiting time by queue",
    )
