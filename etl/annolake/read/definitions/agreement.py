"""The view of how far two people agree, in percent and as Cohen's kappa."""

import polars as pl

from annolake.read.definition import Definition, Frames

_PAIR = ["key", "reviewer_a", "reviewer_b"]
_ANSWER = ["text", "score"]  # either; a score stays a number, for each engine writes 1e-7 in a way of its own


def _agreement(frames: Frames) -> pl.LazyFrame:
    said = frames.view("feedback").filter(pl.col("source_type") == "app").drop_nulls(["author", "run_id"])
    answers = (
        said.with_columns(text="value_text", score=pl.when(pl.col("value_text").is_null()).then("score"))
        .filter(pl.any_horizontal(pl.col(*_ANSWER).is_not_null()))
        .sort("queue_id")
        .unique("id", keep="first", maintain_order=True)
        .sort("created_at", "id", nulls_last=False)
        .group_by("run_id", "key", "author")
        .agg(pl.col(*_ANSWER).last())
    )
    both = answers.rename({"author": "reviewer_a"}).join(
        answers.rename({"author": "reviewer_b"}), on=["run_id", "key"], suffix="_b"
    )
    pairs = both.filter(pl.col("reviewer_a") < pl.col("reviewer_b"))
    of_a, of_b = (
        pairs.group_by(*_PAIR, *(pl.col(name + suffix).alias(name) for name in _ANSWER)).agg(n=pl.len().cast(pl.Int64))
        for suffix in ("", "_b")
    )
    chance = of_a.join(of_b, on=[*_PAIR, *_ANSWER], suffix="_b", nulls_equal=True).group_by(_PAIR)
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_b")) for name in _ANSWER)
    counts = pairs.group_by(_PAIR).agg(n=pl.len().cast(pl.Int64), same=same.sum().cast(pl.Int64))
    n = pl.col("n")
    square, by_chance = n * n, pl.col("equal").fill_null(0)
    kappa = (pl.col("same") * n - by_chance) / (square - by_chance)
    return (
        counts.join(chance.agg(equal=(n * pl.col("n_b")).sum()), on=_PAIR, how="left")
        .with_columns(percent=100 * pl.col("same") / n)
        .with_columns(kappa=pl.when(by_chance < square).then(kappa))
    )


AGREEMENT = Definition(
    "agreement",
    """\
WITH said AS (
    SELECT id, run_id, key, author, created_at,
           {{'text': value_text, 'score': CASE WHEN value_text IS NULL THEN score END}} AS answer
    FROM feedback
    WHERE source_type = 'app' AND author IS NOT NULL AND run_id IS NOT NULL
      AND (value_text IS NOT NULL OR score IS NOT NULL)
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY queue_id) = 1
), answers AS (
    SELECT run_id, key, author, last(answer ORDER BY created_at NULLS FIRST, id) AS answer FROM said GROUP BY ALL
), pairs AS (
    SELECT a.key, a.author AS reviewer_a, b.author AS reviewer_b, a.answer, b.answer AS other
    FROM answers AS a JOIN answers AS b ON a.run_id = b.run_id AND a.key = b.key AND a.author < b.author
), of_a AS (
    SELECT key, reviewer_a, reviewer_b, answer, count(*) AS n FROM pairs GROUP BY ALL
), of_b AS (
    SELECT key, reviewer_a, reviewer_b, other AS answer, count(*) AS n FROM pairs GROUP BY ALL
), chance AS (
    SELECT key, reviewer_a, reviewer_b, sum(of_a.n * of_b.n) AS equal
    FROM of_a JOIN of_b USING (key, reviewer_a, reviewer_b, answer) GROUP BY ALL
), counts AS (
    SELECT key, reviewer_a, reviewer_b, count(*) AS n, count(*) FILTER (answer = other) AS same FROM pairs GROUP BY ALL
)
SELECT key, reviewer_a, reviewer_b, n, CAST(100 * same AS DOUBLE) / n AS percent,
       CAST(same * n - coalesce(equal, 0) AS DOUBLE) / nullif(n * n - coalesce(equal, 0), 0) AS kappa
FROM counts LEFT JOIN chance USING (key, reviewer_a, reviewer_b)""",
    _agreement,
)
