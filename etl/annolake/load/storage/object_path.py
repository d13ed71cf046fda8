"""Where a file of a lake in an object store lies."""

from functools import total_ordering
from pathlib import Path

from annolake.load.storage.files import Location


@total_ordering
class ObjectPath:
    """Where an object or folder lies in a bucket: "s3://bucket/lake/runs". Immutable; as text it is the address."""

    __slots__ = ("_bucket", "_parts")

    def __init__(self, bucket: str, *parts: str) -> None:
        """Take the bucket's address ("s3://bucket") and the names below it, each without a slash."""
        self._bucket, self._parts = bucket, parts

    @property
    def key(self) -> str:
        """The name within the bucket, "" of the bucket itself."""
        return "/".join(self._parts)

    @property
    def name(self) -> str:
        """The last part."""
        return self._parts[-1] if self._parts else ""

    @property
    def stem(self) -> str:
        """The last part without its extension."""
        return Path(self.name).stem

    @property
    def parent(self) -> "ObjectPath":
        """The folder; the bucket's is itself."""
        return ObjectPath(self._bucket, *self._parts[:-1])

    def with_name(self, name: str) -> "ObjectPath":
        """Return the location of another name in the same folder."""
        return self.parent / name

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(self._bucket, *self._parts, *(part for part in name.split("/") if part))

    def __str__(self) -> str:
        return "/".join((self._bucket, *self._parts))

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and str(self) == str(other)

    def __lt__(self, other: "ObjectPath") -> bool:
        return (self._bucket, self._parts) < (other._bucket, other._parts)

    def __hash__(self) -> int:
        return hash(str(self))


def key_of(path: Location) -> str:
    """Return a location's name within its bucket."""
    if not isinstance(path, ObjectPath):
        raise TypeError(path)
    return path.key
