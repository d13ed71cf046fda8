"""The views over Delta tables and in S3, by extensions of DuckDB 1.5.5, hence in `make test-views`."""

from collections.abc import Iterator

import duckdb
import pytest

import annolake
from annolake.read.catalogue import VIEWS
from annolake.sandbox import Population, Sandbox
from kept import KINDS, Kept, lakes_of
from object_store import ObjectStore
from read.lakes import assert_same

pytest.importorskip("duckdb_extension_delta", reason="needs DuckDB's extensions: make test-views")

DAY = "2026-11-18"


@pytest.fixture(scope="module")
def lakes(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kept]]:
    """Lakes of all kinds of one queue; what was there before its first feedback and turn is `early`."""
    with Sandbox(Population(rows=100, threads=4, days=4.0), seed=6) as sandbox:
        found = lakes_of(sandbox, object_store, tmp_path_factory.mktemp("extensions"))
        for each in found.values():
            (each.folder / "home").mkdir()
            without = {"ANNOLAKE_SOURCE__FEEDBACK": "false", "ANNOLAKE_SOURCE__THREADS": "false"}
            assert each.ran("run", "--quiet", **without).exit_code == 0
            written = each.ran("views", "--out", "early.duckdb", **at_home(each))
            assert written.exit_code == 0, written.err
            assert written.out.count("there is no table") == 2
            assert each.exported()["exit_code"] == 0
        yield found


def at_home(kept: Kept) -> dict[str, str]:
    """Return the variable that tells DuckDB where its extensions are: a folder that has none yet."""
    return {"HOME": str(kept.folder / "home")}


def opened(kept: Kept, file: str, said: str, monkeypatch: pytest.MonkeyPatch) -> duckdb.DuckDBPyConnection:
    """Open a database read-only, as another program does, by what the command said."""
    monkeypatch.setenv("HOME", str(kept.folder / "home"))
    for name, value in kept.environ.items():
        monkeypatch.setenv(name, value)
    session = duckdb.connect(str(kept.folder / file), read_only=True)
    for line in said.splitlines():
        if "a session runs: " in line:
            session.execute(line.partition("a session runs: ")[2])
    return session


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_answers_as_the_frames_do(
    lakes: dict[str, Kept], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every view of every kind of lake, and one that was made before a later export; no secret is in the file."""
    kept = lakes[kind]
    written = kept.ran("views", "--out", "lake.duckdb", **at_home(kept))
    assert (written.exit_code, written.err) == (0, "")
    assert b"writersecret" not in (kept.folder / "lake.duckdb").read_bytes()

    with opened(kept, "lake.duckdb", written.out, monkeypatch) as session:
        for name in VIEWS:
            frame = annolake.scan(kept.address, name, environ=kept.environ, base_url=kept.sandbox.url).collect()
            answer = session.sql(f'FROM "{name}"')
            assert answer.columns == frame.columns
            assert_same(answer.fetchall(), frame.rows(), exactly=name != "review_latency")
            assert frame.height > 0
        plan = session.sql(f"EXPLAIN ANALYZE SELECT id FROM runs WHERE added_date = '{DAY}'").fetchall()[0][1]
        assert "Scanning Files: 1/" in plan
    with opened(kept, "early.duckdb", written.out, monkeypatch) as session:
        assert session.sql("SELECT count(*) FROM runs").fetchall() == [(104,)]
        assert session.sql("SELECT count(*) FROM feedback").fetchall() == [(0,)]


def test_the_script_brings_all_that_it_needs(lakes: dict[str, Kept]) -> None:
    """Extensions and where the store is; the secret is the machine's."""
    said = {kind: each.ran("views").out for kind, each in lakes.items()}
    needed = {kind: [line for line in text.splitlines() if line.startswith("INSTALL")] for kind, text in said.items()}

    assert needed["disk-parquet"] == []
    assert needed["disk-delta"] == ["INSTALL delta;"]
    assert needed["s3-parquet"] == ["INSTALL httpfs;", "INSTALL aws;"]
    assert needed["s3-delta"] == ["INSTALL httpfs;", "INSTALL aws;", "INSTALL delta;"]
    assert not any("writer" in text for text in said.values())
