"""The views about reviewers: who they are, what each holds or has finished, and how long that took."""

import polars as pl

from annolake.read.definition import Definition, Frames

_LISTS = ("completed_by", "reserved_by", "assigned_to")


def _reviewers(frames: Frames) -> pl.LazyFrame:
    person = pl.col("assigned_reviewers").struct
    listed = (
        frames.view("queues")
        .select("queue_id", "assigned_reviewers")
        .explode("assigned_reviewers")
        .select("queue_id", id=person.field("id"), name=person.field("name"), email=person.field("email"))
        .drop_nulls("id")
        .group_by("id")
        .agg(pl.col("name", "email").max(), queues=pl.col("queue_id").unique().sort())
    )
    rows, said = frames.view("all_runs"), frames.view("all_feedback").filter(pl.col("source_type") == "app")
    met = pl.concat([rows.select(id=pl.col(name)).explode("id") for name in _LISTS])
    ids = pl.concat([listed.select("id"), met]).drop_nulls().unique()
    authors = pl.concat([said.select(id=name, called="user_name") for name in ("user_id", "ls_user_id")])
    authors = authors.drop_nulls("id").group_by("id").agg(pl.col("called").max())
    return (
        ids.join(listed, on="id", how="left")
        .join(authors, on="id", how="left")
        .with_columns(pl.coalesce("name", "called").alias("name"), pl.col("queues").fill_null([]))
    )


REVIEWERS = Definition(
    "reviewers",
    """\
WITH listed AS (
    SELECT person.id AS id, max(person.name) AS name, max(person.email) AS email,
           list(DISTINCT queue_id ORDER BY queue_id) AS queues
    FROM (SELECT queue_id, unnest(assigned_reviewers) AS person FROM queues)
    WHERE person.id IS NOT NULL GROUP BY person.id
), met AS (
    SELECT unnest(list_concat(coalesce(completed_by, []), coalesce(reserved_by, []), coalesce(assigned_to, []))) AS id
    FROM all_runs
), authors AS (
    SELECT id, max(user_name) AS name
    FROM (SELECT unnest([user_id, ls_user_id]) AS id, user_name FROM all_feedback WHERE source_type = 'app')
    WHERE id IS NOT NULL GROUP BY id
)
SELECT ids.id, coalesce(listed.name, authors.name) AS name, listed.email,
       coalesce(listed.queues, []) AS queues
FROM (SELECT id FROM listed UNION SELECT id FROM met WHERE id IS NOT NULL) AS ids
LEFT JOIN listed ON listed.id = ids.id LEFT JOIN authors ON authors.id = ids.id""",
    _reviewers,
)


def _reviews(frames: Frames) -> pl.LazyFrame:
    kept = ("queue_id", "queue_name", "queue_run_id", "added_at", "last_reviewed_time", "added_date")
    rows, names = frames.view("runs"), frames.view("reviewers").select(reviewer_id="id", reviewer_name="name")
    states = [
        rows.select(*kept, run_id="id", reviewer_id=pl.col(name).list.unique(), state=pl.lit(state))
        for name, state in (("completed_by", "completed"), ("reserved_by", "reserved"))
    ]
    each = pl.concat(states).explode("reviewer_id").drop_nulls("reviewer_id")
    return each.join(names, on="reviewer_id", how="left")


REVIEWS = Definition(
    "reviews",
    """\
SELECT each.queue_id, queue_name, queue_run_id, run_id, reviewer_id, reviewers.name AS reviewer_name, state,
       added_at, last_reviewed_time, added_date
FROM (
    SELECT queue_id, queue_name, queue_run_id, id AS run_id, state, added_at, last_reviewed_time, added_date,
           unnest(list_distinct(CASE state WHEN 'completed' THEN completed_by ELSE reserved_by END)) AS reviewer_id
    FROM runs CROSS JOIN (VALUES ('completed'), ('reserved')) AS states(state)
) AS each LEFT JOIN reviewers ON reviewers.id = each.reviewer_id""",
    _reviews,
)


def _throughput(frames: Frames) -> pl.LazyFrame:
    finished = frames.view("reviews").filter(pl.col("state") == "completed")
    days = pl.col("last_reviewed_time").dt.date().alias("day")
    return finished.group_by(days, "reviewer_id", "reviewer_name").agg(completed=pl.len().cast(pl.Int64))


REVIEWER_THROUGHPUT = Definition(
    "reviewer_throughput",
    """\
SELECT CAST(last_reviewed_time AT TIME ZONE 'UTC' AS DATE) AS day, reviewer_id, reviewer_name, count(*) AS completed
FROM reviews WHERE state = 'completed' GROUP BY ALL""",
    _throughput,
)


def _latency(frames: Frames) -> pl.LazyFrame:
    finished = (pl.col("completed_count") > 0) & pl.all_horizontal(
        pl.col("added_at", "last_reviewed_time").is_not_null()
    )
    micros = pl.col("last_reviewed_time").dt.epoch("us") - pl.col("added_at").dt.epoch("us")
    return frames.view("runs").filter(finished).with_columns(run_id="id", hours=micros / 3.6e9)


REVIEW_LATENCY = Definition(
    "review_latency",
    """\
SELECT queue_id, queue_name, queue_run_id, id AS run_id, completed_count, added_at, last_reviewed_time, added_date,
       (epoch_us(last_reviewed_time) - epoch_us(added_at)) / 3.6e9 AS hours
FROM runs WHERE completed_count > 0 AND added_at IS NOT NULL AND last_reviewed_time IS NOT NULL""",
    _latency,
)
