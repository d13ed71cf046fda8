"""One queue's lake in each of the four kinds, by the real command: what is in it, file by file and row by row."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from annolake.sandbox import Sandbox
from exporting import Ran, annolake
from hostile import Hostile
from load.storage.buckets import bucket_of
from object_store import BUCKET, ObjectStore

TABLES = {"runs": "queue_run_id", "feedback": "id", "turns": "trace_id", "queues": "queue_id"}
"""The tables, each with a column by which its rows are put in order."""

KINDS = {
    "disk-parquet": (False, "parquet"),
    "disk-delta": (False, "delta"),
    "s3-delta": (True, "delta"),
    "s3-parquet": (True, "parquet"),
}
"""Of each kind whether it is in an object store, and its format."""


@dataclass
class Kept:
    """One queue's lake of one kind: in the `store`, else on the disk."""

    sandbox: Sandbox | Hostile
    folder: Path
    address: str
    format: str
    store: ObjectStore | None

    @property
    def environ(self) -> dict[str, str]:
        """What a scheduler sets: the format alone where it is not what a new lake there would get."""
        usual = self.format == ("delta" if self.store else "parquet")
        return {
            **(self.store.environ() if self.store else {}),
            **({} if usual else {"ANNOLAKE_LAKE__FORMAT": self.format}),
            "ANNOLAKE_SOURCE__BASE_URL": self.sandbox.url,
            "ANNOLAKE_SOURCE__QUEUES": "all",
            "ANNOLAKE_SOURCE__ENDPOINT": "items",
            "ANNOLAKE_LAKE__PATH": self.address,
            "ANNOLAKE_LAKE__SCRATCH": str(self.folder / "scratch"),
        }

    def ran(self, *arguments: str, **more: str) -> Ran:
        """Run the command; `more` are further variables."""
        return annolake(*arguments, key=self.sandbox.api_key, cwd=self.folder, environ=self.environ | more)

    def exported(self, *options: str) -> dict[str, Any]:
        """Export; return what the report says of the queue, which includes the exit code."""
        done = self.ran("run", "--json", "--quiet", *options)
        (queue,) = done.report["queues"]
        return dict(queue)

    def table(self, name: str) -> pl.DataFrame:
        """Return a table as polars reads it, in order, without what tells of the export and not of the queue."""
        options = {key.lower(): value for key, value in self.store.environ().items()} if self.store else None
        if self.format == "delta":
            frame = pl.scan_delta(f"{self.address}/{name}", storage_options=options)
        else:
            frame = pl.scan_parquet(f"{self.address}/{name}/", hive_partitioning=True, storage_options=options)
        removed = [pl.col("removed_at").is_not_null()] if name != "queues" else []
        return frame.with_columns(removed).drop("exported_at").collect().sort(TABLES[name])

    def files(self) -> dict[str, tuple[bytes, object]]:
        """Return every file of the lake by its name: its bytes, and when it was written."""
        if self.store is None:
            root = Path(self.address)
            paths = [path for path in root.rglob("*") if path.is_file()]
            return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
        bucket, folder = bucket_of(self.store), self.address.removeprefix(f"s3://{BUCKET}/")
        found = {key.removeprefix(f"{folder}/"): bucket.find(key) for key in bucket.below(folder)}
        return {name: (there.content, there.modified) for name, there in found.items()}


def lakes_of(sandbox: Sandbox | Hostile, store: ObjectStore, folder: Path) -> dict[str, Kept]:
    """Return lakes of all kinds for a sandbox's queue, in which nothing is yet."""
    found = {}
    for kind, (stored, arrangement) in KINDS.items():
        (folder / kind).mkdir()
        address = store.address() if stored else str(folder / kind / "lake")
        found[kind] = Kept(sandbox, folder / kind, address, arrangement, store if stored else None)
    return found


def everything_in(kept: Kept) -> str:
    """Return all that a lake of any kind holds: names, bytes, and the cells of Parquet files."""
    told = []
    for name, (content, _) in kept.files().items():
        told += [name, content.decode("utf-8", "replace")]
        if name.endswith(".parquet") and "_delta_log" not in name:
            told.append(str(pl.read_parquet(io.BytesIO(content)).to_dicts()))
    return "\n".join(told)
