"""A general ETL tool: dlt's REST source with its offset paginator, both lists, into a folder of Parquet files."""

import argparse
import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

# Through importlib, for mypy runs where dlt is not installed.
dlt = import_module("dlt")
rest_api = import_module("dlt.sources.rest_api")


def main() -> None:
    """Export one queue into a folder of Parquet files and tell how many rows there were."""
    args = _arguments()
    out = Path(args.out).absolute()
    pipeline = dlt.pipeline(
        pipeline_name="queue",
        pipelines_dir=str(out / "state"),
        destination=dlt.destinations.filesystem(bucket_url=str(out / "lake")),
        dataset_name="queue",
    )
    source = rest_api.rest_api_source(_config(args.url, args.queue), max_table_nesting=0)
    pipeline.run(source, loader_file_format="parquet", write_disposition="replace")
    print(json.dumps({"rows": sum(_rows(out / "lake" / "queue" / name) for name in ("active", "archived"))}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--url", "--queue", "--out"):
        parser.add_argument(name, required=True)
    return parser.parse_args()


def _config(url: str, queue: str) -> dict[str, Any]:
    return {
        "client": {
            "base_url": url,
            "headers": {"X-API-Key": os.environ["LANGSMITH_API_KEY"]},
            "paginator": {"type": "offset", "limit": 100, "total_path": None, "stop_after_empty_page": True},
        },
        "resources": [
            {
                "name": name,
                "endpoint": {
                    "path": f"api/v1/annotation-queues/{queue}/runs",
                    "params": {"archived": archived, "include_stats": "true"},
                    "data_selector": "$",
                },
            }
            for name, archived in (("active", "false"), ("archived", "true"))
        ],
    }


def _rows(folder: Path) -> int:
    return int(ds.dataset(folder, format="parquet").count_rows()) if folder.is_dir() else 0


if __name__ == "__main__":
    main()
