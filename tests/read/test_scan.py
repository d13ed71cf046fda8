"""`annolake.scan`: which files are opened, lakes that have little, and what is said of wrong names and places."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

import annolake
from annolake.read.catalogue import VIEWS
from annolake.sandbox import Population, Sandbox
from exporting import KEY_VARIABLE, export_rows, write_config
from read.lakes import BASE_URL, Odd, age, assert_same, copy_of, in_duckdb

DAY = date(2026, 11, 18)
BEGIN, END = datetime(2026, 11, 18, tzinfo=UTC), datetime(2026, 11, 18, 23, 59, 59, 999999, UTC)


def spoil(lake: Path, table: str) -> int:
    """Make the files of all other days unreadable; return how many they are."""
    others = (path for path in (lake / table).rglob("*.parquet") if DAY.isoformat() not in path.parent.name)
    spoilt = [path for path in others if "=__" not in path.parent.name]
    for path in spoilt:
        path.write_bytes(b"junk")
    return len(spoilt)


@pytest.mark.parametrize(
    ("name", "time", "day"), [("runs", "added_at", "added_date"), ("feedback", "created_at", "created_date")]
)
def test_a_filter_on_the_time_opens_the_files_of_its_days_alone(
    odd: Odd, tmp_path: Path, name: str, time: str, day: str
) -> None:
    """All other days' files are unreadable, and not looked at; a filter on the day does the same."""
    whole, lake = annolake.scan(odd[0], name).collect(), copy_of(odd[0], tmp_path)
    assert spoil(lake, name) > 8
    frame = annolake.scan(lake, name)

    wanted = whole.filter(pl.col(day) == DAY).rows()
    assert len(wanted) > 5
    assert_same(frame.filter(pl.col(day) == DAY).collect().rows(), wanted)
    assert_same(frame.filter(pl.col(time).is_between(BEGIN, END)).collect().rows(), wanted)
    assert frame.filter(pl.col(time) > datetime(2030, 1, 1, tzinfo=UTC)).collect().is_empty()
    with pytest.raises(pl.exceptions.ComputeError):
        frame.collect()


def test_a_lake_of_delta_tables_is_read_by_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a path with signs of patterns; only the files of the days are opened.

    Files of an older schema version lie beside others; a damaged log is named, and so is the extra that is missing.
    """
    folder = tmp_path / "team=a" / "it's [1] *"
    folder.mkdir(parents=True)
    with Sandbox(Population(rows=60, days=3.0), seed=8) as sandbox:
        assert export_rows(sandbox, folder, {"lake.format": "delta"}).exit_code == 0
    whole = annolake.scan(folder / "lake").collect()
    age(folder / "lake", whole["queue_id"][0])
    columns = [name for name in whole.columns if name not in {"item_hash", "thread_id"}]
    older = annolake.scan(folder / "lake").collect()
    assert_same(older.select(columns).rows(), whole.select(columns).rows())
    assert older["thread_id"].null_count() == 60
    of_its_day = annolake.scan(folder / "lake").filter(pl.col("added_at").is_between(BEGIN, END))
    assert spoil(folder / "lake", "runs") > 1

    assert whole.height == 60 > whole["added_date"].null_count() > 0
    assert_same(of_its_day.collect().rows(), older.filter(pl.col("added_date") == DAY).rows())
    (folder / "lake/runs/_delta_log/00000000000000000000.json").write_text("junk")
    with pytest.raises(annolake.LakeError, match="its log, .*, is damaged or of a kind that annolake does not write"):
        annolake.scan(folder / "lake")
    monkeypatch.setattr("annolake.read.tables.find_spec", lambda _: None)
    with pytest.raises(annolake.ConfigError, match="install what reads them: pip install .annolake.delta."):
        annolake.scan(folder / "lake")


def test_rows_without_a_time_are_found(odd: Odd) -> None:
    """They lie in `__HIVE_DEFAULT_PARTITION__`: no day, and in no answer about days."""
    frame = annolake.scan(odd[0], "runs")
    undated = frame.filter(pl.col("added_at").is_null()).collect()

    assert undated.height == sum(row.day is None for row in odd[1].here) > 0
    assert undated["added_date"].null_count() == undated.height
    assert frame.filter(pl.col("added_at") < END).filter(pl.col("added_date").is_null()).collect().is_empty()


def test_of_two_files_in_a_partition_the_later_one_is_read(odd: Odd, tmp_path: Path) -> None:
    """A kill can leave both where folders cannot be exchanged: no row is there twice."""
    lake = copy_of(odd[0], tmp_path)
    wanted = annolake.scan(lake, "all_runs").collect()
    path = next((lake / "runs").rglob(f"added_date={DAY}/*.parquet"))
    table = pq.read_table(path, partitioning=None)
    footer = {name: value for name, value in pq.read_metadata(path).metadata.items() if name.startswith(b"annolake.")}
    footer[b"annolake.generation"] = b"99"
    pq.write_table(table.replace_schema_metadata(footer), path.with_name(f"part-{'0' * 32}.parquet"))

    assert_same(annolake.scan(lake, "all_runs").collect().rows(), wanted.rows())


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return lakes without rows: of an empty queue, without feedback and threads, and one without any file."""
    folder = tmp_path_factory.mktemp("bare")
    with Sandbox(Population(rows=0)) as sandbox:
        export_rows(sandbox, folder)
    nothing = folder / "nothing"
    for name in ("runs", "queues", "_annolake"):
        (nothing / name).mkdir(parents=True)
    return {"empty queue": folder / "lake", "nothing": nothing}


@pytest.mark.parametrize("kind", ["empty queue", "nothing"])
def test_a_lake_without_rows_answers_in_both_engines(bare: dict[str, Path], kind: str) -> None:
    """With the declared columns and types; a queue without rows is still a queue with reviewers."""
    with in_duckdb(bare[kind], zone="UTC") as session:
        for name, view in VIEWS.items():
            frame, answer = annolake.scan(bare[kind], name).collect(), session.sql(f'FROM "{name}"')
            assert frame.schema == view.schema
            assert answer.columns == frame.columns
            assert_same(answer.fetchall(), frame.rows())
            assert frame.is_empty() == (kind == "nothing" or name not in {"queues", "reviewers"})


def test_settings_say_where_the_lake_is_and_where_its_runs_have_pages(odd: Odd, tmp_path: Path) -> None:
    """`annolake.scan(annolake.load_config())`; a path alone tells no address, and `base_url` does."""
    lake, truth = odd
    settings = {"source.base_url": BASE_URL, "lake.path": str(lake)}
    config = annolake.load_config(write_config(tmp_path, truth.sandbox, settings), {KEY_VARIABLE: "key"})
    pages = [
        frame.select("run_url").collect()["run_url"].sort()
        for frame in (annolake.scan(config), annolake.scan(str(lake), base_url=BASE_URL), annolake.scan(lake))
    ]

    assert pages[0].equals(pages[1])
    assert pages[0].drop_nulls().str.starts_with("https://eu.smith.langchain.com/o/").all()
    assert pages[2].null_count() == len(pages[2]) > 0


def test_a_path_with_signs_of_patterns_is_a_path(odd: Odd, tmp_path: Path) -> None:
    """`[`, `*`, quotes, and `team=a`, which looks like a partition."""
    lake = Path(shutil.copytree(odd[0], tmp_path / "team=a" / "it's [1] *.parquet" / "lake"))
    wanted = annolake.scan(odd[0], "daily_cost").collect().rows()

    assert_same(annolake.scan(lake, "daily_cost").collect().rows(), wanted)
    with in_duckdb(lake, zone="UTC") as session:
        assert_same(session.sql("FROM daily_cost").fetchall(), wanted)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("review", "did you mean 'reviews'?"),
        ("Runs", "did you mean 'runs'?"),
        ("x", "there are runs, all_runs, queues"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(odd: Odd, name: str, hint: str) -> None:
    """A ValueError, as polars has for what is no such thing."""
    with pytest.raises(ValueError, match="a lake has no table or view") as raised:
        annolake.scan(odd[0], name)

    assert hint in str(raised.value)


def test_where_no_lake_is_that_is_said(tmp_path: Path) -> None:
    """Another folder is no lake, and an address is not a file's."""
    with pytest.raises(
        annolake.LakeError, match=f"{tmp_path}: there is no lake; check the path, or run an export first"
    ):
        annolake.scan(tmp_path, "runs")
    with pytest.raises(annolake.ConfigError, match="lake: expected a folder, or an address such as s3://bucket/lake"):
        annolake.scan("https://bucket.example/lake")


def test_without_statistics_the_rows_are_the_same(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A polars that takes no bounds of files opens more of them, and answers alike."""
    wanted = annolake.scan(odd[0], "runs").filter(pl.col("added_at") < BEGIN).collect()
    monkeypatch.setattr("annolake.read.tables._STATISTICS", False)

    assert_same(annolake.scan(odd[0], "runs").filter(pl.col("added_at") < BEGIN).collect().rows(), wanted.rows())
