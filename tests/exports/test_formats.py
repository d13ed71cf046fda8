"""The same queue in a lake of every format and in every place: the same rows, value for value."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from annolake.sandbox import Population, Sandbox
from exporting import annolake, export_once, write_config
from object_store import ObjectStore


def rows_of(frame: pl.DataFrame) -> dict[Any, dict[str, Any]]:
    """Return rows by their key, without what each export stamps on them."""
    return {row["queue_run_id"]: {n: v for n, v in row.items() if n != "exported_at"} for row in frame.to_dicts()}


@pytest.fixture(params=["disk", "s3"])
def delta_lake(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str]]:
    """Give where a Delta lake is to be, and the environment that reaches it."""
    if request.param == "disk":
        return str(tmp_path / "delta"), {}
    store: ObjectStore = request.getfixturevalue("object_store")
    return store.address(), store.environ()


def test_a_delta_lake_has_the_rows_of_plain_files(delta_lake: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    """Every table that the export fills; unchanged, nothing is committed; changed, one version of each that changed."""
    address, environ = delta_lake
    (tmp_path / "run").mkdir()
    with Sandbox(Population(rows=60, odd=False), seed=5) as sandbox:
        export_once(sandbox, tmp_path)
        config = write_config(tmp_path / "run", sandbox, {"lake.path": address, "lake.format": "delta"})

        def run() -> dict[str, Any]:
            ran = annolake("run", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path, environ=environ)
            assert ran.exit_code == 0, ran.err
            entry: dict[str, Any] = ran.report["queues"][0]
            return entry

        first = run()
        versions = {table: _open(address, environ, table).version() for table in ("runs", "queues")}
        unchanged = run()
        again = {table: _open(address, environ, table).version() for table in ("runs", "queues")}
        verified = annolake("verify", "--config", config, key=sandbox.api_key, cwd=tmp_path, environ=environ)
        told = annolake("status", "--config", config, "--json", key=sandbox.api_key, cwd=tmp_path, environ=environ)

    assert (first["inserted"], first["complete"], first["partitions_written"] > 1) == (60, True, True)
    assert (unchanged["inserted"], unchanged["updated"], unchanged["bytes_written"]) == (0, 0, 0)
    assert (versions, again) == ({"runs": 1, "queues": 1}, {"runs": 1, "queues": 1})
    plain = pl.scan_parquet(tmp_path / "lake" / "runs", hive_partitioning=True).collect()
    delta = pl.scan_delta(f"{address}/runs", storage_options=environ or None).collect()
    assert rows_of(delta.select(plain.columns)) == rows_of(plain)
    assert verified.exit_code == 0, verified.err + verified.out
    assert told.exit_code == 0
    assert '"rows": 60' in told.out or '"rows":60' in told.out


def _open(address: str, environ: dict[str, str], table: str) -> DeltaTable:
    return DeltaTable(f"{address}/{table}", storage_options=environ or None)
