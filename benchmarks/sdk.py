"""The public SDK's own paging of both lists, written by polars: what a careful script would do.

The SDK's public method lists only what is still in review, and its model of a row has no queue_run_id, no tokens and
no costs. So the pager behind that method is called for both lists, and its rows are taken as they come.
"""

import argparse
import json
import os
from importlib import import_module
from typing import Any

import polars as pl

# Through importlib, for mypy runs where the SDK is not installed.
langsmith = import_module("langsmith")


def main() -> None:
    """Export one queue into one Parquet file and tell how many rows there were."""
    args = _arguments()
    client = langsmith.Client(api_url=args.url, api_key=os.environ["LANGSMITH_API_KEY"], auto_batch_tracing=False)
    runs: list[dict[str, Any]] = []
    for archived in (False, True):
        runs += client._get_paginated_list(  # noqa: SLF001 - the SDK has no public way to every row and field
            f"/annotation-queues/{args.queue}/runs", params={"limit": 100, "archived": archived}
        )
    frame = pl.DataFrame([_flat(run) for run in runs], infer_schema_length=None)
    frame.write_parquet(args.out, compression="zstd")
    print(json.dumps({"rows": frame.height}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--url", "--queue", "--out"):
        parser.add_argument(name, required=True)
    return parser.parse_args()


def _flat(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run's fields with nested ones as JSON text."""
    return {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in run.items()}


if __name__ == "__main__":
    main()
