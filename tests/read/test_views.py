"""Every view, by polars and by DuckDB: the same rows, which are those of the service's own data."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest

import annolake
from annolake.read.catalogue import VIEWS
from annolake.sandbox import Population, Sandbox
from annolake.web_address import run_url
from exporting import export_once
from read.lakes import BASE_URL, Odd, age, assert_same, copy_of, in_duckdb
from read.view_oracle import COUNTED

ZONES = ("UTC", "America/Los_Angeles", "Asia/Kolkata")


@pytest.fixture(scope="module")
def frames(odd: Odd) -> dict[str, pl.DataFrame]:
    """Every view of that lake, by polars."""
    return {name: annolake.scan(odd[0], name, base_url=BASE_URL).collect() for name in VIEWS}


def test_every_frame_has_the_declared_schema(frames: dict[str, pl.DataFrame]) -> None:
    """Names, order and types; and each has rows, or the tests below would show little."""
    assert {name: frame.schema for name, frame in frames.items()} == {name: view.schema for name, view in VIEWS.items()}
    assert all(frame.height > 4 for name, frame in frames.items() if name != "queues")


@pytest.fixture(scope="module")
def session(odd: Odd) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session of DuckDB that has the views of that lake."""
    with in_duckdb(odd[0], zone="UTC") as session:
        yield session


@pytest.mark.parametrize("zone", ZONES)
def test_both_engines_show_the_same_rows(
    session: duckdb.DuckDBPyConnection, frames: dict[str, pl.DataFrame], zone: str
) -> None:
    """Value for value, whatever zone DuckDB's session is in: decimals, maps and times included."""
    session.execute(f"SET TimeZone = '{zone}'")
    for name, frame in frames.items():
        answer = session.sql(f'FROM "{name}"')
        assert answer.columns == frame.columns
        assert_same(answer.fetchall(), frame.rows(), exactly=name != "review_latency")  # a division


@pytest.mark.parametrize("name", COUNTED)
def test_what_is_counted_is_what_the_service_has(odd: Odd, frames: dict[str, pl.DataFrame], name: str) -> None:
    """Each such view is what plain Python makes of the service's own rows and feedback."""
    assert_same(frames[name].rows(), COUNTED[name](odd[1]), exactly=False)


def test_rows_have_the_names_of_their_queue_and_the_page_of_their_run(
    odd: Odd, frames: dict[str, pl.DataFrame]
) -> None:
    """`all_runs` has those that left too, `runs` does not; all else is as the table has it."""
    lake, truth = odd
    for name, rows in (("all_runs", truth.rows), ("runs", truth.here)):
        pages = [row.columns["app_path"] and run_url(BASE_URL, row.columns["app_path"]) for row in rows]
        wanted = [(*row.where, row.key, row.day, page) for row, page in zip(rows, pages, strict=True)]
        found = frames[name].select("queue_id", "queue_name", "queue_run_id", "added_date", "run_url")
        assert_same(found.rows(), wanted)
    table = pl.scan_parquet(lake / "runs", hive_partitioning=True).collect()
    assert_same(frames["all_runs"].select(table.columns).rows(), table.rows())
    assert len(truth.rows) == len(truth.here) + 5
    assert {row.day is None for row in truth.here} == {True, False}


def test_feedback_has_the_question_of_the_rubric(odd: Odd, frames: dict[str, pl.DataFrame]) -> None:
    """By queue and key; feedback that was deleted is in `all_feedback` alone."""
    _, truth = odd
    asked = {
        (queue_id, item["feedback_key"]): item.get("description")
        for queue_id in truth.sandbox.queue_ids
        for item in truth.sandbox.profile(queue_id)["rubric_items"]
    }
    wanted = []
    for queue_id, sent in truth.said():
        source = sent.get("feedback_source") or {}
        author = source.get("user_id") or source.get("ls_user_id")
        name = truth.sandbox.queue(queue_id).name
        wanted.append((queue_id, name, sent["id"], sent["key"], author, asked.get((queue_id, sent["key"]))))
    shown = ("queue_id", "queue_name", "id", "key", "author", "rubric_description")
    assert_same(frames["feedback"].select(shown).rows(), wanted)
    assert frames["all_feedback"].height == frames["feedback"].height + 3
    assert frames["feedback"]["rubric_description"].null_count() not in (0, frames["feedback"].height)


def test_a_run_in_two_queues_counts_in_both(frames: dict[str, pl.DataFrame]) -> None:
    """It has a row of each queue, and its feedback too; in `agreement` each feedback counts once."""
    twice = frames["runs"].drop_nulls("id").filter(pl.col("id").is_duplicated())
    assert twice.n_unique("queue_id") == 2
    assert frames["feedback"]["id"].is_duplicated().any()


def test_files_of_an_older_schema_version_show_null(odd: Odd, frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    """In both engines, beside files of this version: what they lack is null, a narrower number is the declared one."""
    lake = copy_of(odd[0], tmp_path)
    older = odd[1].sandbox.queue_ids[0]
    age(lake, older)
    lacking = [pl.when(pl.col("queue_id") != older).then(name).alias(name) for name in ("item_hash", "thread_id")]
    with in_duckdb(lake, zone="UTC") as session:
        for name in ("all_runs", "daily_cost"):
            wanted = frames[name].with_columns(lacking) if name == "all_runs" else frames[name]
            found = annolake.scan(lake, name, base_url=BASE_URL).collect()
            assert found.schema == VIEWS[name].schema
            assert_same(found.rows(), wanted.rows())
            assert_same(session.sql(f'FROM "{name}"').fetchall(), wanted.rows())


def test_sums_that_have_no_room_are_null_in_both_engines(tmp_path: Path) -> None:
    """Absurd tokens and costs make no wrong number, and hide no other day; one that just fits is exact."""
    most = 2**63 - 1
    with Sandbox(Population(rows=12, days=1.0, odd=False), seed=3) as sandbox:
        queue = sandbox.queue()
        rows = [row.id for row in (*queue.rows("active"), *queue.rows("archived"))]
        for row in rows:
            queue.edit(row, total_tokens=None, total_cost=None)
        for row, model, tokens, cost in (
            (rows[0], "too much", most - 5, f"{10**20 - 1}.5"),
            (rows[1], "too much", most - 5, f"{10**20 - 1}.5"),
            (rows[2], "fits", most - 5, f"{99 * 10**18 - 1}.000000000000000001"),
            (rows[3], "fits", 5, "0.5"),
            (rows[4], "fits", None, "0.5"),
            (rows[5], "negative", -1, "-1.25"),
            (rows[6], "negative", 0, "-0.5"),
        ):
            extra = {"metadata": {"ls_model_name": model}}
            queue.edit(row, total_tokens=tokens, total_cost=cost, extra=extra)
        assert export_once(sandbox, tmp_path).exit_code == 0
    frame = annolake.scan(tmp_path / "lake", "daily_cost").collect()
    with in_duckdb(tmp_path / "lake", zone="UTC") as session:
        assert_same(session.sql("FROM daily_cost").fetchall(), frame.rows())

    sums = frame.filter(pl.col("model").is_in(["too much", "fits", "negative"])).group_by("model", maintain_order=True)
    found = {name: frame.select("tokens", "cost").rows() for (name,), frame in sums}
    assert found == {
        "too much": [(None, None)],
        "fits": [(most, Decimal("99000000000000000000.000000000000000001"))],
        "negative": [(-1, Decimal("-1.75"))],
    }
