"""One bucket of an object store: whole objects, read, written and compared-and-swapped.

The only module that imports obstore. Its exceptions hold addresses, bodies and a dump: what of them is needed is put
into annolake's words in `explained`, and nothing else gets out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from obstore import store as stores
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PreconditionError,
    UnknownConfigurationKeyError,
)

from annolake.errors import ConfigError
from annolake.load.storage.kinds import StoreKind

T = TypeVar("T")

_CLIENT_OPTIONS = {
    *("allow_http", "allow_invalid_certificates", "connect_timeout", "default_content_type", "http1_only"),
    *("http2_only", "pool_idle_timeout", "pool_max_idle_per_host", "proxy_url", "timeout", "user_agent"),
}
_MULTIPART_BYTES = 8 << 20
_PARTS_AT_ONCE = 4
_CHUNK_BYTES = 4 << 20
_CUT_OFF_AT_MOST = 3
_FIRST_WAIT, _LONGEST_WAIT = timedelta(milliseconds=100), timedelta(seconds=5)

FOREIGN = (BaseError, OSError, NotImplementedError)
"""What the client can raise."""

Version = dict[str, str]
"""What tells one version of an object from others: given back to `swap`."""


class ConflictError(Exception):
    """The object is not as the condition of a write wants it; or it is so by this very write, whose answer was lost."""


class Found(NamedTuple):
    """A small object: its bytes, its version, and when it was written by the store's clock."""

    content: bytes
    version: Version
    modified: datetime


class Patience(NamedTuple):
    """How long one request may take, and how long it is repeated, in seconds; how often at most."""

    request_s: float
    repeat_s: float
    repeats: int


class Bucket:
    """A bucket. Its verbs raise what the client raises, for `explained`; `ConflictError` comes of two of them."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def find(self, key: str) -> Found:
        """Return a small object, with its version."""
        got = self._store.get(key)
        return Found(bytes(got.bytes()), _version(got.meta), got.meta["last_modified"])

    def open(self, key: str, most: int) -> bytes | int:
        """Return an object of up to `most` bytes, else only its size: in one request."""
        got = self._store.get(key)
        size = int(got.meta["size"])
        return bytes(got.bytes()) if size <= most else size

    def part(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`, of which there must be one."""
        return bytes(self._store.get_range(key, start=start, end=end))

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an object, some MB at a time."""
        yield from (bytes(chunk) for chunk in self._store.get(key).stream(min_chunk_size=_CHUNK_BYTES))

    def size(self, key: str) -> int:
        """Return an object's size in bytes."""
        return int(self._store.head(key)["size"])

    def put(self, key: str, content: bytes | Path) -> None:
        """Write an object, in the place of one of that name; a large file in several parts, seen only when all are."""
        self._store.put(key, content, chunk_size=_MULTIPART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    def create(self, key: str, content: bytes) -> Version:
        """Write an object where there is none."""
        return self._conditional(key, content, "create")

    def swap(self, key: str, content: bytes, version: Version) -> Version:
        """Write an object in the place of the one that has this version."""
        return self._conditional(key, content, version)

    def _conditional(self, key: str, content: bytes, mode: Any) -> Version:
        try:
            return _version(self._store.put(key, content, mode=mode, use_multipart=False))
        except (AlreadyExistsError, PreconditionError):
            raise ConflictError from None

    def names(self, folder: str) -> list[str]:
        """Return the names directly below a folder ("" is the bucket), folders included."""
        listed = _patiently(lambda: self._store.list_with_delimiter(folder or None))
        paths = [*listed["common_prefixes"], *(each["path"] for each in listed["objects"] if each["path"] != folder)]
        return sorted({name for path in paths if (name := path.removeprefix(folder).strip("/"))})

    def below(self, folder: str) -> list[str]:
        """Return the keys of all objects below a folder."""
        return _patiently(lambda: [each["path"] for batch in self._store.list(folder or None) for each in batch])

    def has_below(self, folder: str) -> bool:
        """Tell whether there is an object below a folder, in one request."""
        batch: Sequence[Any] = _patiently(lambda: next(iter(self._store.list(folder or None, chunk_size=2)), []))
        return any(each["path"] != folder for each in batch)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is not there is no error."""
        try:
            _patiently(lambda: self._store.delete(keys))
        except FileNotFoundError:  # some stores tell, and leave those behind it
            for key in keys if len(keys) > 1 else ():
                self.delete([key])


def _patiently(call: Callable[[], T]) -> T:
    """Do again what was cut off while its answer was read, which the client leaves to its callers."""
    for _ in range(_CUT_OFF_AT_MOST):
        try:
            return call()
        except GenericError as error:
            if "kind: Interrupted" not in str(error):
                raise
    return call()


def _version(meta: Mapping[str, Any]) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name)}


def connect(
    kind: StoreKind, name: str, options: Mapping[str, str], patience: Patience, credentials: Any = None
) -> Bucket:
    """Return the bucket (or container) of that name; nothing is asked of it yet.

    Raises ConfigError where the client does not know an option.
    """
    make: Any = {"s3": stores.S3Store, "gs": stores.GCSStore, "az": stores.AzureStore}[kind.scheme]
    client = {"timeout": f"{patience.request_s}s"} | {
        option: value for option, value in options.items() if option in _CLIENT_OPTIONS
    }
    config = {option: value for option, value in options.items() if option not in _CLIENT_OPTIONS}
    more = {} if credentials is None else {"credential_provider": credentials}
    try:
        return Bucket(make(name, config=config, client_options=client, retry_config=_retry(patience), **more))
    except UnknownConfigurationKeyError as error:
        unknown = next((option for option in config if f"'{option}'" in str(error)), None)
        raise ConfigError(f"lake.storage.{unknown or '...'}: {kind.scheme}:// has no such option") from None
    except (BaseError, ValueError, TypeError):
        raise ConfigError(
            f"lake.storage: {kind.scheme}:// cannot be opened with these options: {', '.join(options)}"
        ) from None


def _retry(patience: Patience) -> Mapping[str, Any]:
    return {
        "max_retries": patience.repeats,
        "retry_timeout": timedelta(seconds=patience.repeat_s),
        "backoff": {"init_backoff": _FIRST_WAIT, "max_backoff": _LONGEST_WAIT, "base": 2},
    }
