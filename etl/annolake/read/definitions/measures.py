"""The views that count: costs by day, figures of feedback by run, and how many runs wait."""

from typing import Any

import msgspec
import polars as pl

from annolake.read.definition import Definition, Frames

_DOLLARS = pl.Decimal(38, 18)
_MOST_DOLLARS = 99 * 10**18
"""With so many before the point a cost may have no room in decimal(38, 18): it is null, whatever comes after it."""


def _sum(values: pl.Expr) -> pl.Expr:
    """Return the sum of values, null where there is none, as SQL has it."""
    return pl.when(values.count() > 0).then(values.sum())


def _daily_cost(frames: Frames) -> pl.LazyFrame:
    """Sum in types that no sum outgrows: in its own one polars goes on with a wrong number, where DuckDB fails."""
    tokens, cost = pl.col("total_tokens").cast(pl.Int128), pl.col("total_cost")
    whole = cost.cast(pl.Int128)
    days = frames.view("runs").group_by(pl.col("added_date").alias("day"), "queue_id", "queue_name", "model")
    sums = days.agg(
        runs=pl.len().cast(pl.Int64), tokens=_sum(tokens), whole=_sum(whole), part=_sum(cost - whole.cast(_DOLLARS))
    )
    fitting = pl.when(pl.col("whole").abs() < _MOST_DOLLARS).then("whole").cast(_DOLLARS)
    return sums.with_columns(pl.col("tokens").cast(pl.Int64, strict=False), cost=fitting + pl.col("part"))


DAILY_COST = Definition(
    "daily_cost",
    f"""\
SELECT day, queue_id, queue_name, model, runs, TRY_CAST(tokens AS BIGINT) AS tokens,
       CASE WHEN abs(whole) < {_MOST_DOLLARS} THEN CAST(whole AS DECIMAL(38, 18)) END + part AS cost
FROM (
    SELECT added_date AS day, queue_id, queue_name, model, count(*) AS runs, sum(total_tokens) AS tokens,
           sum(trunc(total_cost)) AS whole, sum(total_cost - trunc(total_cost)) AS part
    FROM runs GROUP BY ALL
)""",
    _daily_cost,
)

_FIGURES = ("n", "avg", "stdev", "min", "max")
_STATS = pl.List(pl.Struct({"key": pl.String, "n": pl.Int64} | dict.fromkeys(_FIGURES[1:], pl.Float64)))


def _stats(texts: pl.Series) -> pl.Series:
    return pl.Series(texts.name, [_stats_of(text) for text in texts], _STATS)


def _stats_of(text: str | None) -> list[dict[str, Any]]:
    """Return the figures of each key; none where the text is not strict JSON, which DuckDB reads no other."""
    try:
        read = msgspec.json.decode(text or "null")
    except (msgspec.DecodeError, RecursionError):
        return []
    found = []
    for key, stats in read.items() if isinstance(read, dict) else ():
        of_key = stats if isinstance(stats, dict) else {}
        numbers = {name: of_key[name] for name in _FIGURES if type(of_key.get(name)) in (int, float)}
        if type(numbers.get("n")) is float:
            del numbers["n"]
        found.append({"key": key} | numbers)
    return found


def _feedback_stats(frames: Frames) -> pl.LazyFrame:
    kept = ("queue_id", "queue_name", "queue_run_id", "added_date")
    stats = pl.col("feedback_stats").map_batches(_stats, return_dtype=_STATS, is_elementwise=True)
    each = frames.view("runs").select(*kept, run_id="id", stats=stats).explode("stats").drop_nulls("stats")
    return each.unnest("stats")


def _number(name: str, type_: str) -> str:
    kinds = "'BIGINT', 'UBIGINT'" + (", 'HUGEINT', 'DOUBLE'" if type_ == "DOUBLE" else "")
    return f"CASE WHEN json_type(value, '$.{name}') IN ({kinds}) THEN TRY_CAST(value ->> '$.{name}' AS {type_}) END"


FEEDBACK_STATS = Definition(
    "feedback_stats",
    f"""\
SELECT queue_id, queue_name, queue_run_id, runs.id AS run_id, added_date, stats.key,
       {_number("n", "BIGINT")} AS n,
       {_number("avg", "DOUBLE")} AS avg,
       {_number("stdev", "DOUBLE")} AS stdev,
       {_number("min", "DOUBLE")} AS min,
       {_number("max", "DOUBLE")} AS max
FROM runs, json_each(CASE WHEN json_valid(feedback_stats) AND json_type(feedback_stats) = 'OBJECT'
                     THEN feedback_stats END) AS stats""",
    _feedback_stats,
)


def _queue_backlog(frames: Frames) -> pl.LazyFrame:
    rows = frames.view("all_runs")
    until = rows.select(until=pl.col("exported_at").max().dt.date())
    finished = pl.when("archived").then(pl.coalesce(pl.col("last_reviewed_time").dt.date(), "added_date"))
    known = rows.filter(pl.col("added_date").is_not_null()).select(
        "queue_id", "queue_name", added="added_date", gone=pl.min_horizontal(finished, pl.col("removed_at").dt.date())
    )
    queue = ["queue_id", "queue_name"]
    days = (
        known.group_by(queue)
        .agg(day=pl.col("added").min())
        .join(until, how="cross")
        .filter(pl.col("day") <= pl.col("until"))
        .select(*queue, day=pl.date_ranges("day", "until"))
        .explode("day")
    )
    waited = known.filter(pl.col("gone").is_null() | (pl.col("gone") > pl.col("added")))
    came = waited.select("queue_id", day="added", change=pl.lit(1, pl.Int64))
    went = waited.drop_nulls("gone").select("queue_id", day="gone", change=pl.lit(-1, pl.Int64))
    changes = pl.concat([came, went]).group_by("queue_id", "day").agg(pl.col("change").sum())
    return (
        days.join(changes, on=["queue_id", "day"], how="left")
        .sort("queue_id", "day")
        .with_columns(waiting=pl.col("change").fill_null(0).cum_sum().over("queue_id"))
    )


QUEUE_BACKLOG = Definition(
    "queue_backlog",
    """\
WITH every AS MATERIALIZED (
    SELECT queue_id, queue_name, added_date, archived, last_reviewed_time, removed_at, exported_at FROM all_runs
), known AS (
    SELECT queue_id, queue_name, added_date AS added,
           least(CASE WHEN archived THEN coalesce(CAST(last_reviewed_time AT TIME ZONE 'UTC' AS DATE), added_date) END,
                 CAST(removed_at AT TIME ZONE 'UTC' AS DATE)) AS gone
    FROM every WHERE added_date IS NOT NULL
), span AS (
    SELECT queue_id, queue_name, min(added) AS first,
           (SELECT max(CAST(exported_at AT TIME ZONE 'UTC' AS DATE)) FROM every) AS last
    FROM known GROUP BY queue_id, queue_name
), days AS (
    SELECT queue_id, queue_name, CAST(day AS DATE) AS day
    FROM span, unnest(generate_series(CAST(first AS TIMESTAMP), CAST(last AS TIMESTAMP), INTERVAL 1 DAY)) AS each(day)
), changes AS (
    SELECT queue_id, day, sum(change) AS change
    FROM (
        SELECT queue_id, added AS day, 1 AS change FROM known WHERE gone IS NULL OR gone > added
        UNION ALL SELECT queue_id, gone, -1 FROM known WHERE gone > added
    )
    GROUP BY ALL
)
SELECT days.day, days.queue_id, queue_name,
       CAST(sum(coalesce(change, 0)) OVER (PARTITION BY days.queue_id ORDER BY days.day) AS BIGINT) AS waiting
FROM days LEFT JOIN changes ON changes.queue_id = days.queue_id AND changes.day = days.day""",
    _queue_backlog,
)
