"""`annolake views`: the script, the database file, and what is said where neither can be made."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

import annolake
from annolake.clock import Clock
from annolake.read.catalogue import VIEWS
from annolake.read.tables import open_tables
from annolake.read.views import LakeViews
from annolake.sandbox import Population, Sandbox
from exporting import Ran, export_once, export_rows
from exporting import annolake as command_line
from read.lakes import assert_same


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake, and a database of its views that was made before an export that brought feedback."""
    folder = tmp_path_factory.mktemp("views")
    with Sandbox(Population(rows=60, days=3.0), seed=3) as sandbox:
        assert export_rows(sandbox, folder).exit_code == 0
        settings = (folder / "annolake.toml").read_text().replace(str(folder / "lake"), "lake")
        (folder / "annolake.toml").write_text(settings)
        assert views(folder, "--out", "early.duckdb") == Ran(0, f"early.duckdb: 15 views of {folder}/lake\n", "")
        sandbox.queue().add(5)
        export_once(sandbox, folder)
    (folder / "annolake.toml").write_text(settings)
    return folder


def views(folder: Path, *arguments: object, environ: Mapping[str, str] | None = None) -> Ran:
    """Run the command in the lake's folder, where DuckDB finds no extension."""
    return command_line("views", *arguments, cwd=folder, environ={"HOME": str(folder), **(environ or {})})


def test_no_database_is_written_into_the_lake(folder: Path) -> None:
    """Readers of the table, and the next export, would stumble on it."""
    ran = views(folder, "--out", "lake/runs/v.duckdb")

    assert (ran.exit_code, ran.out) == (2, "")
    assert "lake/runs/v.duckdb is in the lake, where readers would take it for a part of it" in ran.err
    assert not (folder / "lake/runs/v.duckdb").exists()


def test_the_script_makes_the_views_wherever_it_is_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are absolute, though the settings' is not; views and columns have comments."""
    script = views(folder)
    monkeypatch.chdir(tmp_path)

    assert (script.exit_code, script.err) == (0, "")
    assert script.out.startswith(f"-- 15 views of the lake {folder}/lake, for DuckDB 2.0.")
    with duckdb.connect() as session:
        session.execute(script.out)
        session.execute(script.out)  # again
        assert_same(
            session.sql("FROM daily_cost").fetchall(), annolake.scan(folder / "lake", "daily_cost").collect().rows()
        )
        comments = dict(session.sql("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall())
        assert comments == {name: view.description for name, view in VIEWS.items()}
        told = "SELECT comment FROM duckdb_columns() WHERE table_name = 'daily_cost' AND column_name = 'tokens'"
        said = "Sum of total_tokens, exact; null where no run has any, or where int64 has no room for it. Unit: tokens."
        assert session.sql(told).fetchall() == [(said,)]


def test_a_database_shows_what_later_exports_brought(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, and a table that was not there; opened read-only, from another folder, and attached by another name."""
    monkeypatch.chdir(tmp_path)
    counts = "SELECT (SELECT count(*) FROM {0}runs), (SELECT count(*) FROM {0}feedback)"
    wanted = [(65, annolake.scan(folder / "lake", "feedback").collect().height)]

    with duckdb.connect(str(folder / "early.duckdb"), read_only=True) as session:
        assert session.sql(counts.format("")).fetchall() == wanted
    with duckdb.connect() as session:
        session.execute(f"ATTACH '{folder}/early.duckdb' AS lake (READ_ONLY)")
        assert session.sql(counts.format("lake.")).fetchall() == wanted
    assert wanted[0][1] > 0


def test_a_database_opens_with_older_versions_of_duckdb(folder: Path) -> None:
    """Its format, which is in the file's head, is that of 1.0: the command line that is at hand may be older."""
    head = (folder / "early.duckdb").read_bytes()[:20]

    assert (head[8:12], int.from_bytes(head[12:], "little")) == (b"DUCK", 64)


def test_a_database_takes_the_place_of_an_earlier_one_and_of_nothing_else(folder: Path, tmp_path: Path) -> None:
    """Whoever has the earlier one open keeps it; a file with tables, and any other file, stays as it is."""
    file = tmp_path / "lake.duckdb"
    shutil.copy(folder / "early.duckdb", file)
    with duckdb.connect(str(file), read_only=True) as session:
        assert views(folder, "--out", file).exit_code == 0
        assert session.sql("SELECT count(*) FROM runs").fetchall() == [(65,)]
    assert [path.name for path in tmp_path.iterdir()] == ["lake.duckdb"]

    with duckdb.connect(str(file)) as session:
        session.execute("CREATE TABLE mine AS SELECT 1 AS one")
    text = tmp_path / "text.duckdb"
    text.write_text("mine")
    for other in (file, text):
        before = other.read_bytes()
        ran = views(folder, "--out", other)
        assert (ran.exit_code, ran.out) == (2, "")
        assert ran.err == (
            f"annolake: --out: {other} is there and is no database of views: move it away, or name another file\n"
        )
        assert other.read_bytes() == before


@pytest.mark.parametrize(
    ("out", "exit_code", "said"),
    [
        ("missing/lake.duckdb", 5, "annolake: cannot write missing/lake.duckdb: No such file or directory\n"),
        (".", 2, "annolake: . is not a file: name one\n"),
    ],
)
def test_a_place_that_takes_no_file_is_named(folder: Path, out: str, exit_code: int, said: str) -> None:
    """One sentence, and nothing is left."""
    before = sorted(folder.iterdir())

    assert views(folder, "--out", out) == Ran(exit_code, "", said)
    assert sorted(folder.iterdir()) == before


def test_what_is_missing_is_named_with_what_brings_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB itself; a lake; the script needs no DuckDB."""
    nothing = {"ANNOLAKE_LAKE__PATH": str(folder / "nowhere")}
    ran = views(folder, environ=nothing)
    assert (ran.exit_code, ran.out) == (5, "")
    assert ran.err == f"annolake: {folder}/nowhere: there is no lake; check the path, or run an export first\n"

    monkeypatch.setattr("annolake.read.database.find_spec", lambda _: None)
    ran = views(folder, "--out", "lake.duckdb")
    assert ran == Ran(2, "", 'annolake: --out: install DuckDB: pip install "annolake[views]"\n')
    assert views(folder).exit_code == 0


def test_a_damaged_file_is_named_and_no_database_written(folder: Path, tmp_path: Path) -> None:
    """Exit code 5, in one line."""
    lake = Path(shutil.copytree(folder / "lake", tmp_path / "lake"))
    path = next((lake / "runs").rglob("*.parquet"))
    path.write_bytes(b"junk")
    ran = views(folder, "--out", tmp_path / "lake.duckdb", environ={"ANNOLAKE_LAKE__PATH": str(lake)})

    assert (ran.exit_code, ran.out, ran.err.count("\n")) == (5, "", 1)
    assert ran.err.startswith(f"annolake: cannot make views of {lake}: DuckDB {duckdb.__version__} says: ")
    assert path.name in ran.err
    assert not (tmp_path / "lake.duckdb").exists()


def test_tables_that_an_older_duckdb_cannot_find_later_are_empty_and_named(tmp_path: Path) -> None:
    """Before version 2.0 a pattern that no file fits is an error."""
    for name in ("runs", "queues", "_annolake"):
        (tmp_path / name).mkdir()
    older = LakeViews(open_tables(tmp_path, {}, {}, clock=Clock()), None, version=(1, 5, 5))

    assert older.missing == ["runs", "queues", "feedback", "turns"]
    with duckdb.connect() as session:
        for statement in older.statements():
            assert "allow_empty" not in statement
            session.execute(statement)
        assert [session.sql(f'FROM "{name}"').fetchall() for name in VIEWS] == [[]] * len(VIEWS)
