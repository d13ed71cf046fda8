"""Where the lakes of the load's tests lie and how they are arranged: of the kind that the fixture `arrangement` sets.

A test names a lake by a local folder. Of a lake in the object store that folder has the scratch alone.
"""

import shutil
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow.parquet as pq
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy
from msgspec.structs import replace

from annolake.clock import Clock
from annolake.load.lake import Lake
from annolake.load.place import Place, on_disk, open_place
from annolake.load.storage.bucket import Bucket
from annolake.load.storage.files import Gate, Location
from annolake.load.storage.local import LocalFiles, straight
from annolake.load.storage.object_path import ObjectPath, key_of
from load.storage.buckets import bucket_of
from object_store import BUCKET, ObjectStore
from rounds import rounds

KINDS = ("disk-parquet", "disk-delta", "s3-delta", "s3-parquet")


class Arrangement:
    """How the tables of the tests' lakes are arranged, and the object store that they are in (None: on the disk)."""

    current: Literal["parquet", "delta"] = "parquet"
    store: ObjectStore | None = None

    @classmethod
    def set(cls, kind: str, store: Callable[[], ObjectStore]) -> None:
        """Have lakes be of that kind; the store is asked for where it is needed."""
        place, _, arranged = kind.partition("-")
        cls.current = "delta" if arranged == "delta" else "parquet"
        cls.store = store() if place == "s3" else None


def place_at(root: Path, *, gate: Gate = straight, exchanges: bool = True) -> Place:
    """Return the place of the lake that `root` names; every step goes through the gate."""
    if Arrangement.store is None:
        return on_disk(root, files=LocalFiles(gate, exchanges=exchanges), wanted=Arrangement.current)
    place = open_place(
        str(_address(root)), {}, Arrangement.store.environ(), clock=Clock(), scratch=root / "scratch", gate=gate
    )
    return replace(place, wanted=Arrangement.current)


def _address(root: Path) -> ObjectPath:
    return ObjectPath(f"s3://{BUCKET}", blake2b(str(root).encode(), digest_size=8).hexdigest(), "lake")


def copy_lake(source: Path, target: Path) -> None:
    """Make a lake that has what another has."""
    if Arrangement.store is None:
        shutil.copytree(source, target)
        return
    bucket, old, new = _bucket(Arrangement.store), _address(source).key, _address(target).key
    for key in bucket.below(old):
        bucket.put(new + key.removeprefix(old), bucket.find(key).content)


@cache
def _bucket(store: ObjectStore) -> Bucket:
    return bucket_of(store)


def bury(lake: Lake, queue_id: str) -> None:
    """Take the locks of a dead export away, as `annolake unlock` does: a store's would last for a minute."""
    if Arrangement.store is not None:
        lake.unlock(queue_id)


def _options() -> dict[str, str] | None:
    return {name.lower(): value for name, value in Arrangement.store.environ().items()} if Arrangement.store else None


def delta_table(lake: Lake, table: str) -> DeltaTable:
    """Return a table as anybody's deltalake opens it."""
    return DeltaTable(f"{lake.root}/{table}", storage_options=_options())


def scanned(lake: Lake, table: str = "runs") -> pl.LazyFrame:
    """Return a table as polars scans it."""
    where, options = f"{lake.root}/{table}", _options()
    if Arrangement.current == "delta":
        return pl.scan_delta(where, storage_options=options)
    where += "/**/*.parquet" if options else ""
    return pl.scan_parquet(where, hive_partitioning=True, storage_options=options)


def data_files(lake: Lake, table: str, *, queue_id: str) -> list[Location]:
    """Return the files that a queue has in a table, as any reader finds them, in order."""
    folder = lake.root / table
    if Arrangement.current == "delta":
        found = delta_table(lake, table).file_uris() if lake.files.exists(folder) else []
    elif Arrangement.store is None:
        found = [str(path) for path in Path(str(folder)).rglob("*.parquet")]
    else:
        keys = _bucket(Arrangement.store).below(key_of(folder))
        found = [f"s3://{BUCKET}/{key}" for key in keys if key.endswith(".parquet")]
    below = f"{folder}/queue_id={queue_id}/"
    return [_location(uri) for uri in sorted(uri.removeprefix("file://") for uri in found) if below in uri]


def _location(uri: str) -> Location:
    if Arrangement.store is None:
        return Path(uri)
    scheme, _, bucket, *names = uri.split("/")
    return ObjectPath(f"{scheme}//{bucket}", *names)


def opened(path: Location) -> pq.ParquetFile:
    """Open a file as pyarrow reads it."""
    if Arrangement.store is None:
        return pq.ParquetFile(str(path))
    return pq.ParquetFile(BytesIO(_bucket(Arrangement.store).find(key_of(path)).content))


def written(path: Location) -> tuple[object, object]:
    """Return what is another whenever a file is written: inode and mtime in ns, or the object's version and time."""
    if Arrangement.store is None:
        there = Path(str(path)).stat()
        return there.st_ino, there.st_mtime_ns
    found = _bucket(Arrangement.store).find(key_of(path))
    return found.version.get("e_tag"), found.modified


def for_examples(strategy: SearchStrategy[Any], check: Callable[[Any], None], *, few: int) -> None:
    """Check examples, the same ones each time: `few` on a disk, and some in a store, where one costs much more.

    `make test-storage` tries twenty times as many, and others each time.
    """
    count = rounds(few, many=20 * few) // (1 if Arrangement.store is None else 8)
    settings(max_examples=count, deadline=None)(given(strategy)(check))()
