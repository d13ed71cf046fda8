"""What lies beside annolake's files in an object store, where a folder is no more than the beginning of a name."""

from pathlib import Path

import boto3
import pytest

from annolake.errors import LakeError
from annolake.load.audit import verify
from annolake.load.storage.bucket import Bucket
from annolake.load.storage.object_path import key_of
from load.kinds import Arrangement
from load.model_queue import QUEUE, export, lake_at, rows
from load.storage.buckets import bucket_of
from object_store import BUCKET, ObjectStore

CREDENTIALS = {"aws_access_key_id": "owner", "aws_secret_access_key": "ownersecret", "region_name": "us-east-1"}


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Have lakes be of plain files in the store, and give its bucket."""
    monkeypatch.setattr(Arrangement, "current", "parquet")
    monkeypatch.setattr(Arrangement, "store", object_store)
    return bucket_of(object_store)


@pytest.mark.parametrize("name", ["notes.txt", "more.parquet", "_more.parquet"])
def test_a_file_among_the_parts_is_named(bucket: Bucket, tmp_path: Path, name: str) -> None:
    """Readers would take it for rows, or fail: an export stops before it touches anything."""
    lake = lake_at(tmp_path)
    export(lake, rows(9))
    folder = lake.root / "runs" / f"queue_id={QUEUE}" / "added_date=2026-11-01"
    bucket.put(key_of(folder / name), b"mine")

    with pytest.raises(LakeError, match=r"only part-\*.parquet belongs there"):
        export(lake, rows(9), number=2)

    assert any(not remark.harmless and name in remark.what for remark in verify(lake))


def test_what_other_tools_leave_is_passed_over(bucket: Bucket, object_store: ObjectStore, tmp_path: Path) -> None:
    """Files that readers pass over, and markers of folders; verify mentions the files."""
    lake = lake_at(tmp_path)
    export(lake, rows(9))
    folder = lake.root / "runs" / f"queue_id={QUEUE}"
    bucket.put(key_of(folder / "added_date=2026-11-01" / "_SUCCESS"), b"")
    bucket.put(key_of(folder) + "/added_date=2026-11-01_$folder$", b"")
    markers = boto3.client("s3", endpoint_url=object_store.endpoint, **CREDENTIALS)
    markers.put_object(Bucket=BUCKET, Key=key_of(folder) + "/empty/", Body=b"")

    done = export(lake, rows(9), number=2)
    found = list(verify(lake))

    assert done.unchanged == 9
    assert {remark.path.name for remark in found} >= {"_SUCCESS", "added_date=2026-11-01_$folder$"}
    assert all(remark.harmless for remark in found)
