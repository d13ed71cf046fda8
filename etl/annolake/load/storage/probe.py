"""Whether a place in an object store can hold a lake: tried with one object, which is removed again.

Owns the sequence of what is tried. Each refusal names the grant that is missing.
"""

import uuid
from collections.abc import Callable
from typing import TypeVar

from annolake.errors import LakeError
from annolake.load.storage.bucket import Bucket, ConflictError
from annolake.load.storage.object_path import ObjectPath, key_of
from annolake.load.storage.objects import ObjectFiles

T = TypeVar("T")


def probe(bucket: Bucket, files: ObjectFiles, folder: ObjectPath) -> None:
    """Write, read, list, compare-and-swap and remove an object in `folder`, where nothing is left.

    Raises `LakeError` for the first thing that cannot be done.
    """
    path = folder / f"probe-{uuid.uuid4().hex}"
    key, content = key_of(path), uuid.uuid4().hex.encode()
    files.step("write", path, lambda: bucket.create(key, content))
    try:
        found = files.step("read", path, lambda: bucket.find(key))
        if found.content != content or path.name not in files.names(folder):
            raise LakeError(
                f"cannot trust {path}: the store does not show what was just written: it cannot hold a lake"
            )
        _must_conflict(path, lambda: files.step("write", path, lambda: bucket.create(key, b"")))
        files.step("write", path, lambda: bucket.swap(key, content[::-1], found.version))
        _must_conflict(path, lambda: files.step("write", path, lambda: bucket.swap(key, b"", found.version)))
    finally:
        files.step("remove", path, lambda: bucket.delete([key]))


def _must_conflict(path: ObjectPath, write: Callable[[], object]) -> None:
    try:
        write()
    except ConflictError:
        return
    raise LakeError(f"cannot lock {path}: the store ignores the conditions of writes: it cannot hold a lake")
