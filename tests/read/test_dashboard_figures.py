"""What the dashboard says of few rows, made by hand: titles, tables, what is left out."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from annolake.errors import ConfigError
from annolake.read.catalogue import VIEWS
from annolake.read.dashboard import costs, figures, health, people, words
from annolake.read.dashboard.health import QueueHealth, RejectKind
from annolake.read.dashboard.page import page
from annolake.read.dashboard.parts import Period, Section
from annolake.read.dashboard.sums import MOST_SERIES, View

LAST = date(2026, 11, 20)
MONTH = Period(LAST - timedelta(days=29), LAST)
NOW = datetime(2026, 11, 20, 18, tzinfo=UTC)


def lake(**rows: Sequence[Mapping[str, Any]]) -> View:
    """Return views that have these rows, with the columns and types of the contract; what is not given is null."""

    def view(name: str) -> pl.LazyFrame:
        schema = VIEWS[name].schema
        return pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows.get(name, ())], schema=schema).lazy()

    return view


def ago(days: int, **more: Any) -> dict[str, Any]:
    """Return a row with the day so long before the last one."""
    return {"day": LAST - timedelta(days=days), **more}


def at(days: float = 0, minutes: float = 0) -> datetime:
    """Return the time so long before noon of the last day."""
    return datetime(2026, 11, 20, 12, tzinfo=UTC) - timedelta(days=days, minutes=minutes)


def waiting(*counts: tuple[int, int]) -> Section:
    """Return what is said of one queue that so many runs waited in, so many days ago."""
    rows = [ago(days, queue_id="q", queue_name="Q", waiting=runs) for days, runs in counts]
    return figures.queues(lake(queue_backlog=rows), MONTH, {"q": "Q"})[0]


@pytest.mark.parametrize(
    ("counts", "title"),
    [
        ([(30, 9), (7, 40), (0, 120)], "Waiting runs rose from 40 to 120 since 13 Nov"),
        ([(7, 1200), (0, 7)], "Waiting runs fell from 1,200 to 7 since 13 Nov"),
        ([(7, 1), (0, 1)], "1 run waits for review, as many as on 13 Nov"),
        ([(0, 3)], "Waiting runs rose from 0 to 3 since 13 Nov"),
        ([], "No run was in a queue in these days"),
    ],
)
def test_the_backlog_s_title_says_how_it_moved(counts: list[tuple[int, int]], title: str) -> None:
    """Within a week, from what to what."""
    section = waiting(*counts)

    assert section.title == title
    assert bool(section.charts) is bool(counts)


def test_queues_without_a_colour_are_in_the_table() -> None:
    """The largest have a line each, in the same colour in both charts; the others are counted in the key."""
    rows = [ago(0, queue_id=f"q{n}", waiting=n) for n in range(1, 41)]
    done = [{"queue_id": f"q{n}", "state": "completed", "last_reviewed_time": at()} for n in (40, 3)]
    backlog, finished = figures.queues(
        lake(queue_backlog=rows, reviews=done), MONTH, {f"q{n}": f"Q{n}" for n in range(41)}
    )
    chart, bars = backlog.charts[0], finished.charts[0]

    assert [series.name for series in chart.series] == [f"Q{n}" for n in range(40, 34, -1)] + [
        "34 other queues (not drawn)"
    ]
    assert chart.series[-1].figure == str(sum(range(1, 35)))
    assert chart.points["series"].n_unique() == MOST_SERIES
    assert backlog.table
    assert len(backlog.table.rows) == 40
    assert [(series.place, series.name) for series in bars.series] == [(0, "Q40"), (MOST_SERIES, "Q3")]


def test_finished_reviews_are_compared_with_the_week_before() -> None:
    """Reserved rows and other days do not count; where the days are less than two weeks nothing is compared."""
    days = [0, 1, 6, 7, 13, 13, 14, 40]
    rows = [{"queue_id": "q", "state": "completed", "last_reviewed_time": at(day)} for day in days]
    rows += [{"queue_id": "q", "state": "reserved", "last_reviewed_time": at()}]
    _, section = figures.queues(lake(reviews=rows), MONTH, {"q": "Q"})
    _, short = figures.queues(lake(reviews=rows[:1]), Period(LAST - timedelta(days=8), LAST), {"q": "Q"})

    assert section.title == "3 reviews were finished in the last 7 days, as many as in the 7 days before"
    assert section.table
    assert section.table.rows == [("Q", "7", "3")]
    assert short.title == "1 review was finished in the last 7 days"


def test_costs_name_the_dearest_model_and_know_what_is_unknown() -> None:
    """Null is no cost; a run without a model is told as such; queues are added up."""
    rows = [
        ago(0, queue_id="a", model="m", runs=2, tokens=10, cost=Decimal("0.30")),
        ago(0, queue_id="b", model="m", runs=1, tokens=5, cost=Decimal("0.000000000000000001")),
        ago(9, queue_id="a", model=None, runs=1, tokens=None, cost=Decimal("0.10")),
        ago(3, queue_id="a", model="free", runs=4, tokens=99, cost=None),
        ago(31, queue_id="a", model="old", runs=9, tokens=9, cost=Decimal(9)),
    ]
    cost, tokens = costs.costs(lake(daily_cost=rows), MONTH)
    unknown, none = (costs.costs(lake(daily_cost=some), MONTH)[0] for some in (rows[3:4], []))

    assert cost.title == "Runs cost $0.30 in the last 7 days, all of it by m"
    assert cost.tile
    assert cost.tile.detail == "in the last 7 days; $0.10 in the 7 days before"
    assert cost.table
    assert cost.table.rows == [
        ("m", "3", "15", "$0.30", "75%"),
        ("runs without a model", "1", "–", "$0.10", "25%"),  # noqa: RUF001 - the page's dash
        ("free", "4", "99", "–", "–"),  # noqa: RUF001
    ]
    assert tokens.title == "114 tokens since 22 Oct, 87% of them by free"
    assert (unknown.title, none.title) == ("No costs are known of these days", "No run was added in these days")
    assert not unknown.charts


def test_reviewers_pace_and_agreement() -> None:
    """Pauses are left out of the time per run; agreement is weighted by how much was compared."""
    said = [
        {"author": "a", "run_id": f"r{n}", "source_type": "app", "created_at": at(1, -minutes)}
        for n, minutes in enumerate([0, 4, 10, 100, 102])
    ]
    said += [{"author": "a", "run_id": "r0", "source_type": "app", "created_at": at(1, -1)}]
    pairs = [
        {"key": "k", "reviewer_a": "a", "reviewer_b": "b", "n": 9, "percent": 100.0},
        {"key": "l", "reviewer_a": "a", "reviewer_b": "c", "n": 1, "percent": 0.0},
    ]
    done = [
        ago(1, reviewer_id="a", completed=3),
        ago(20, reviewer_id="a", completed=2),
        ago(0, reviewer_id="b", completed=1),
    ]
    view = lake(reviewer_throughput=done, feedback=said, agreement=pairs, reviewers=[{"id": "a", "name": "Ada"}])
    section = people.reviewers(view, MONTH)

    assert section.title == "Ada finished 5 reviews, 83% of all"
    assert section.table
    assert section.table.rows == [
        ("Ada", "5", "3", "4 min", "90%", "10"),
        ("b", "1", "1", "–", "100%", "9"),  # noqa: RUF001 - the page's dash
    ]


def answered(key: str, days: float, n: int, **more: Any) -> list[dict[str, Any]]:
    """Return so many answers of people to a key of the rubric."""
    row = {"key": key, "source_type": "app", "in_rubric": True, "created_at": at(days), **more}
    return [{**row, "id": f"{key}{days}{place}{more}"} for place in range(n)]


def test_answers_are_scores_or_the_commonest_value() -> None:
    """The title is of the key that moved most; what is in two queues counts once; programs count where nobody does."""
    rows = answered("helpful", 0, 10, score=0.5) + answered("helpful", 8, 10, score=0.75)
    rows += answered("tone", 0, 6, value_text="kind") + answered("tone", 1, 2, value_text="curt")
    rows += answered("note", 0, 1, comment="well")
    program = [{**row, "source_type": "api"} for row in answered("judge", 0, 1, score=1.0)]
    view = lake(feedback=[{**row, "queue_id": queue} for row in rows + program for queue in ("a", "b")])
    section, alone = people.answers(view, MONTH), people.answers(lake(feedback=program), MONTH)

    assert section.title == "helpful: average score fell from 0.75 to 0.5 within a week"
    assert section.table
    assert section.table.rows == [
        ("helpful", "20", "average score", "0.625", "0.5", "0.75"),
        ("tone", "8", "percent of “kind”", "75", "75", "–"),  # noqa: RUF001 - the page's dash
        ("note", "1", "comments only", "–", "–", "–"),  # noqa: RUF001
    ]
    assert [chart.title for chart in section.charts] == ["helpful", "tone"]
    assert alone.title == "1 answer to 1 key since 22 Oct"
    assert alone.note.startswith("No person has answered")
    assert people.answers(lake(), MONTH).title == "No feedback was given in these days"


def test_a_mean_that_overflows_is_left_out() -> None:
    """Scores that no double has room for when they are added: the other days are drawn, and no figure is made up."""
    rows = answered("large", 0, 2, score=1.7e308) + answered("large", 1, 1, score=-1.7e308)
    section = people.answers(lake(feedback=rows + answered("huge", 0, 2, score=1.7e308)), MONTH)
    html = page([section], MONTH, title="", subtitle="", version="")

    assert [chart.drawable.points.height for chart in section.charts] == [1, 0]
    assert html.count("<figure") == 1
    assert section.table
    assert [row[3:] for row in section.table.rows][1] == ("–", "–", "–")  # noqa: RUF001 - the page's dash


def test_waits_are_medians_of_what_took_time() -> None:
    """A review before the run was added is no wait."""
    hours = {"a": [1.0, 2.0, 60.0], "b": [-5.0, 0.5]}
    rows = [{"queue_id": queue, "hours": wait, "last_reviewed_time": at()} for queue in hours for wait in hours[queue]]
    section = figures.waits(lake(review_latency=rows), MONTH, {"a": "A", "b": "B"})

    assert section.title == "Runs wait longest in A: 2 hours at the median"
    assert section.table
    assert section.table.rows == [("A", "2 hours", "2 days", "3"), ("B", "30 min", "30 min", "1")]


def one(ended: health.Ended = "good", hours: float | None = 2, *, name: str = "Q", **more: Any) -> QueueHealth:
    """Return how it went with a queue."""
    facts: dict[str, Any] = {"reasons": (), "rows": 5, "rejects": 0, "payloads_missing": 0} | more
    return QueueHealth(name, ended, good_at=None if hours is None else NOW - timedelta(hours=hours), **facts)


@pytest.mark.parametrize(
    ("queues", "wrong", "title", "tile"),
    [
        ([one()], [], "The queue was exported well 2 hours ago", "all good"),
        ([one(), one(hours=30)], [], "Both queues were exported well within the last 30 hours", "all good"),
        ([one()] * 3, [], "All 3 queues were exported well within the last 2 hours", "all good"),
        ([one(), one("bad")], [], "1 of 2 queues needs a look: its last export was not good", "1 of 2"),
        ([one("bad", None)] * 2, [], "2 of 2 queues need a look: their last exports were not good", "2 of 2"),
        ([one("running", None)], [], "The first export is running", "running"),
        ([one()], ["The last export failed: no key"], "The lake needs a look", "failed"),
        ([], [], "No queue has been exported into this lake yet", "none"),
    ],
)
def test_exports_are_told_by_the_worst_of_them(
    queues: list[QueueHealth], wrong: list[str], title: str, tile: str
) -> None:
    """The table is open where something is to be seen to."""
    section = health.exports(queues, wrong, now=NOW)

    assert section.title == title
    assert section.tile
    assert section.tile.value == tile
    assert section.opened is any(queue.ended == "bad" for queue in queues)
    assert all(section.note.startswith(reason) for reason in wrong)


def test_what_is_missing_is_counted_by_reason() -> None:
    """Rejects by table, place and reason; payloads by queue."""
    kinds = [
        RejectKind("runs", "$.name", "expected a string", 1200, ["A", "B"]),
        RejectKind(None, None, "cut off", 1, ["A"]),
    ]
    section = health.missing([one(payloads_missing=1, name="A"), one(payloads_missing=None)], kinds)

    assert section.title == "1,201 rows were rejected for 2 reasons, 1 payload is missing"
    assert section.table
    assert section.table.rows == [
        ("expected a string", "runs $.name", "A, B", "1,200"),
        ("cut off", "file", "A", "1"),
        ("the run was gone before its payload was exported", "runs", "A", "1"),
    ]
    assert health.missing([one()], []).title == "Nothing was rejected, nothing is missing"


def test_long_periods_are_told_in_weeks_and_months() -> None:
    """Steps begin on Mondays and on the first of a month; the last one ends with the period."""
    weeks, months = Period(date(2026, 8, 1), LAST), Period(date(2024, 1, 15), LAST)

    assert (MONTH.step, weeks.step, months.step) == ("day", "week", "month")
    assert (len(MONTH.steps()), MONTH.steps()[0], MONTH.steps()[-1]) == (30, MONTH.first, LAST)
    assert {day.weekday() for day in weeks.steps()} == {0}
    assert weeks.ends()[-1] == LAST
    assert {day.day for day in months.steps()} == {1}
    assert (MONTH.week, MONTH.week_before) == (
        Period(date(2026, 11, 14), LAST),
        Period(date(2026, 11, 7), date(2026, 11, 13)),
    )
    assert Period(LAST, LAST).week_before is None


def test_the_period_ends_when_something_happened_last() -> None:
    """Days to come are passed over; a young lake has a week at least; --since is taken as it is."""
    rows = [{"queue_id": "q", "added_date": day} for day in (date(1970, 1, 1), date(2026, 11, 18), date(2999, 1, 1))]
    view = lake(all_runs=rows, feedback=[{"created_at": at(1)}])
    young = lake(all_runs=rows[1:2])

    assert figures.period_of(view, today=LAST, days=30, since=None) == Period(date(2026, 10, 21), date(2026, 11, 19))
    assert figures.period_of(young, today=LAST, days=30, since=None) == Period(date(2026, 11, 12), date(2026, 11, 18))
    assert figures.period_of(view, today=LAST, days=30, since=date(2026, 11, 1)).first == date(2026, 11, 1)
    assert figures.period_of(lake(), today=LAST, days=30, since=None) == Period(date(2026, 11, 14), LAST)
    with pytest.raises(ConfigError, match="nothing has happened since 2027-01-01; the newest day of the lake is"):
        figures.period_of(view, today=LAST, days=30, since=date(2027, 1, 1))


@pytest.mark.parametrize(
    ("told", "right"),
    [
        (words.money(Decimal("1234.5")), "$1,234.50"),
        (words.money(Decimal("0.00123")), "$0.0012"),
        (words.money(Decimal("0.00000001")), "under $0.0001"),
        (words.money(Decimal(2500000)), "$2.5 million"),
        (words.money(Decimal("-9.876")), "-$9.88"),
        (words.money(Decimal("-0.00123")), "-$0.0012"),
        (words.number(999_960_000), "1.0 billion"),
        (words.number(999_900_000), "999.9 million"),
        (words.percent(-1, 1000), "0%"),
        (words.hours(1.04), "1 hour"),
        (words.hours(1.06), "1.1 hours"),
        (words.hours(0.0), "1 s"),
        (words.hours(0.01), "36 s"),
        (words.hours(0.75), "45 min"),
        (words.hours(47.9), "47.9 hours"),
        (words.hours(60), "2.5 days"),
        (words.since(date(2026, 1, 2), LAST), "2 Jan"),
        (words.since(date(2025, 12, 31), LAST), "31 Dec 2025"),
        (words.percent(1, 1000), "under 1%"),
        (words.percent(2, 2), "all"),
        (words.change(30, 10), "3 times as many as"),
        (words.change(13, 10), "30% more than"),
        (words.change(7, 10), "30% fewer than"),
        (words.short("a\u202eb\n" + "c" * 99, 20), "a\\u202eb\\nccccccccc…"),
        (
            words.labels({"1234567890": "Q", "abcdefghij": "Q", "x": None}),
            {"1234567890": "Q (12345678)", "abcdefghij": "Q (abcdefgh)", "x": "x"},
        ),
    ],
)
def test_numbers_and_names_read_well(told: object, right: object) -> None:
    """As people write them."""
    assert told == right


def test_blank_names_are_told_apart() -> None:
    """By their ids, as status does."""
    assert words.labels({"11111111-x": " ", "22222222-x": "", "3": "Answers"}) == {
        "11111111-x": "11111111-x",
        "22222222-x": "22222222-x",
        "3": "Answers",
    }


def test_the_sums_of_a_key_say_since_when_they_are() -> None:
    """The title tells of seven days, the key of all that are shown."""
    rows = [
        {"day": LAST - timedelta(days=n), "queue_id": "q", "model": "m", "runs": 1, "cost": Decimal(1)}
        for n in range(9)
    ]
    cost, _ = costs.costs(lake(daily_cost=rows), Period(LAST - timedelta(days=29), LAST))

    assert "in the last 7 days" in cost.title
    assert "Beside the names are the sums since 22 Oct." in cost.note
