"""Lakes compared: what two exports of the same queues must have in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

OWN = ("exported_at",)  # when a version was written differs between two exports


def rows_of(lake: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables of a lake by table, sorted, without the time at which they were written."""
    return {
        table.name: sorted(
            pl.scan_parquet(table, hive_partitioning=True).drop(OWN, strict=False).collect().to_dicts(), key=str
        )
        for table in sorted(lake.iterdir())
        if table.name != "_annolake"
    }


def runs_in(address: str, environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the rows of the table `runs` of a Delta lake in an object store by key, without that time."""
    table = pl.DataFrame(DeltaTable(f"{address}/runs", storage_options={**environ}).to_pyarrow_table())
    return {row["queue_run_id"]: row for row in table.drop(OWN).to_dicts()}
