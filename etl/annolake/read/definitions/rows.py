"""The views that show a table's rows: with the names of queues, what the rubric asks, and without what is gone."""

import polars as pl

from annolake.read.definition import Definition, Frames
from annolake.web_address import APP_PATH

_HERE = pl.col("removed_at").is_null()


def _queues(frames: Frames) -> pl.LazyFrame:
    return frames.table("queues").sort("exported_at", descending=True).unique("queue_id", keep="first")


QUEUES = Definition(
    "queues",
    "SELECT * FROM {queues} QUALIFY row_number() OVER (PARTITION BY queue_id ORDER BY exported_at DESC) = 1",
    _queues,
)


def _named(frames: Frames, table: str) -> pl.LazyFrame:
    names = frames.view("queues").select("queue_id", queue_name="name")
    return frames.table(table).join(names, on="queue_id", how="left")


def _all_runs(frames: Frames) -> pl.LazyFrame:
    path = pl.col("app_path").str.extract(APP_PATH, 1)
    page = pl.lit(None, pl.String) if frames.web is None else pl.lit(frames.web) + path
    return _named(frames, "runs").with_columns(run_url=page)


ALL_RUNS = Definition(
    "all_runs",
    """\
SELECT t.*, q.name AS queue_name, {run_url} AS run_url
FROM {runs} AS t LEFT JOIN queues AS q ON q.queue_id = t.queue_id""",
    _all_runs,
)
RUNS = Definition(
    "runs", "SELECT * FROM all_runs WHERE removed_at IS NULL", lambda frames: frames.view("all_runs").filter(_HERE)
)

ALL_TURNS = Definition(
    "all_turns",
    "SELECT t.*, q.name AS queue_name FROM {turns} AS t LEFT JOIN queues AS q ON q.queue_id = t.queue_id",
    lambda frames: _named(frames, "turns"),
)
TURNS = Definition(
    "turns", "SELECT * FROM all_turns WHERE removed_at IS NULL", lambda frames: frames.view("all_turns").filter(_HERE)
)


def _all_feedback(frames: Frames) -> pl.LazyFrame:
    item = pl.col("rubric_items").struct
    asked = (
        frames.view("queues")
        .select("queue_id", "rubric_items")
        .explode("rubric_items")
        .select(
            "queue_id",
            key=item.field("feedback_key"),
            rubric_description=item.field("description"),
            rubric_value_descriptions=item.field("value_descriptions"),
            rubric_score_descriptions=item.field("score_descriptions"),
        )
        .unique(["queue_id", "key"], keep="first", maintain_order=True)
    )
    said = _named(frames, "feedback").with_columns(author=pl.coalesce("user_id", "ls_user_id"))
    return said.join(asked, on=["queue_id", "key"], how="left")


ALL_FEEDBACK = Definition(
    "all_feedback",
    """\
SELECT t.*, q.name AS queue_name, coalesce(t.user_id, t.ls_user_id) AS author,
       asked.item.description AS rubric_description,
       asked.item.value_descriptions AS rubric_value_descriptions,
       asked.item.score_descriptions AS rubric_score_descriptions
FROM {feedback} AS t LEFT JOIN queues AS q ON q.queue_id = t.queue_id
LEFT JOIN (
    SELECT queue_id, item
    FROM (SELECT queue_id, unnest(rubric_items) AS item, generate_subscripts(rubric_items, 1) AS place FROM queues)
    QUALIFY row_number() OVER (PARTITION BY queue_id, item.feedback_key ORDER BY place) = 1
) AS asked ON asked.queue_id = t.queue_id AND asked.item.feedback_key = t.key""",
    _all_feedback,
)
FEEDBACK = Definition(
    "feedback",
    "SELECT * FROM all_feedback WHERE removed_at IS NULL",
    lambda frames: frames.view("all_feedback").filter(_HERE),
)
