"""The tests' bucket, as its users have it, with little patience."""

from annolake.load.storage.bucket import Bucket, Patience, connect
from annolake.load.storage.kinds import S3
from annolake.load.storage.object_path import ObjectPath
from object_store import BUCKET, ObjectStore

QUICK = Patience(request_s=10, repeat_s=2, repeats=2)


def bucket_of(
    store: ObjectStore,
    user: str = "writer",
    *,
    endpoint: str | None = None,
    name: str = BUCKET,
    patience: Patience = QUICK,
    secret: str | None = None,
) -> Bucket:
    """Return the bucket as one user has it."""
    options = {
        "access_key_id": user,
        "secret_access_key": secret or f"{user}secret",
        "endpoint": endpoint or store.endpoint,
        "region": "us-east-1",
        "allow_http": "true",
    }
    return connect(S3, name, options, patience)


def fresh_folder(store: ObjectStore) -> ObjectPath:
    """Return a folder in which nothing is yet."""
    return ObjectPath(f"s3://{BUCKET}", *store.address().split("/")[3:])
