"""Lakes compared: what two exports of the same queues must have in common."""

from pathlib import Path
from typing import Any

import polars as pl

_OWN = ("exported_at",)  # when a version was written differs between two exports


def rows_of(lake: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables of a lake by table, sorted, without the time at which they were written."""
    return {
        table.name: sorted(
            pl.scan_parquet(table, hive_partitioning=True).drop(_OWN, strict=False).collect().to_dicts(), key=str
        )
        for table in sorted(lake.iterdir())
        if table.name != "_annolake"
    }
