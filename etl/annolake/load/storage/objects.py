"""Files in an object store: the verbs of `Files` over one bucket.

Every touch is one step through one gate, as on a disk. A folder is the beginning of a name.
"""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.storage.bucket import FOREIGN, Bucket
from annolake.load.storage.files import Gate, Location
from annolake.load.storage.kinds import StoreKind
from annolake.load.storage.local import straight
from annolake.load.storage.object_path import key_of
from annolake.load.storage.reasons import DAMAGED
from annolake.load.storage.store_words import explained

S = TypeVar("S")
T = TypeVar("T")

_AT_ONCE = 8  # more of them share a slow line, and a large one takes longer than a request may

_WHOLE_BYTES = 4 << 20
_WINDOW_BYTES, _AHEAD_BYTES = 1 << 20, 4 << 20


class ObjectFiles:
    """The files of a bucket. Every verb raises `LakeError` with the address, the reason and what to do."""

    def __init__(self, bucket: Bucket, kind: StoreKind, gate: Gate = straight) -> None:
        self._bucket, self._kind, self._gate = bucket, kind, gate

    def step(self, verb: str, path: Location, call: Callable[[], T]) -> T:
        """Do one thing with the file or folder `path`; `verb` completes "cannot ... <path>"."""
        try:
            done: T = self._gate(verb, path, call)
        except (pa.ArrowException, UnicodeDecodeError) as exc:
            if verb != "read" or isinstance(exc, MemoryError):
                raise
            raise LakeError(f"cannot read {path}: {DAMAGED}") from None
        except FOREIGN as exc:
            raise explained(exc, self._kind, verb, path) from None
        return done

    def map(self, call: Callable[[S], T], things: Iterable[S]) -> Iterator[T]:
        """Yield what a call makes of each thing, in order; up to eight are under way at once."""
        running: deque[Future[T]] = deque()
        with ThreadPoolExecutor(_AT_ONCE, "store") as threads:
            for thing in things:
                running.append(threads.submit(call, thing))
                if len(running) == _AT_ONCE:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()

    def prepare(self, folder: Location) -> None:
        """Do nothing: a folder is there with its first file."""

    def names(self, folder: Location) -> list[str]:
        """Return the names of the files and folders in a folder, sorted; none where there is no folder."""
        return self.step("list", folder, lambda: self._bucket.names(key_of(folder)))

    def below(self, folder: Location) -> list[Location]:
        """Return all files in a folder and the folders below it, by one listing; none where there is no folder."""
        key = key_of(folder)
        found = self.step("list", folder, lambda: self._bucket.below(key))
        return [folder / each.removeprefix(f"{key}/") for each in found if each != key]

    def exists(self, path: Location) -> bool:
        """Tell whether there is a file or folder of that name."""
        return self.step("look for", path, lambda: self._exists(key_of(path)))

    def _exists(self, key: str) -> bool:
        if self._bucket.has_below(key):  # asked first: the refusal of a listing tells its reason, that of a HEAD none
            return True
        with suppress(FileNotFoundError):
            return bool(key) and self._bucket.size(key) >= 0
        return False

    def size(self, path: Location) -> int:
        """Return a file's size in bytes."""
        return self.step("read", path, lambda: self._bucket.size(key_of(path)))

    def read(self, path: Location) -> bytes:
        """Return the bytes of a small file."""
        return self.step("read", path, lambda: self._bucket.find(key_of(path)).content)

    def open(self, path: Location) -> pa.NativeFile:
        """Open a file to read any part of it; the caller closes it.

        A file of up to 4 MB is read at once, a larger one as it is asked for: 1 MB at least, 4 MB where it is read on.
        """
        there = self.step("read", path, lambda: self._bucket.open(key_of(path), _WHOLE_BYTES))
        if isinstance(there, bytes):
            return pa.BufferReader(there)
        key = key_of(path)
        fetch = lambda start, end: self.step("read", path, lambda: self._bucket.part(key, start, end))  # noqa: E731
        return pa.PythonFile(_Ranges(fetch, there), mode="r")

    def digest(self, path: Location) -> str:
        """Return the hash of all bytes of a file."""
        return self.step("read", path, lambda: self._digest(key_of(path)))

    def _digest(self, key: str) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for chunk in self._bucket.chunks(key):
            digest.update(chunk)
        return digest.hexdigest()

    def put(self, source: Path, target: Location, *, flush: bool = True) -> None:  # noqa: ARG002 - a store's always last
        """Put a local file in the place of `target` as a whole; `source` is removed then."""
        self.step("write", target, lambda: self._bucket.put(key_of(target), source))
        with suppress(OSError):  # else it goes with the workspace
            source.unlink()

    def remove(self, path: Location) -> None:
        """Remove a file, or a folder with all that is in it; nothing where there is none."""
        key = key_of(path)
        below = self.step("list", path, lambda: self._bucket.below(key))
        self.step("remove", path, lambda: self._bucket.delete([*below, key]))

    def remove_all(self, paths: Sequence[Location]) -> None:
        """Remove files, many at a time; one that is not there is no error."""
        if paths:
            self.step("remove", paths[0], lambda: self._bucket.delete([key_of(path) for path in paths]))


class _Ranges(io.RawIOBase):
    """A file of `size` bytes, read by ranges; what was read last is kept, for Parquet asks for neighbours."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch, self._size = fetch, size
        self._at = 0
        self._begin, self._window = 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def size(self) -> int:
        """Return the file's size: pyarrow asks for it."""
        return self._size

    def read(self, size: int | None = -1) -> bytes:
        """Return up to that many bytes from here on; all that is left without a number."""
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        end = self._begin + len(self._window)
        if not self._begin <= self._at <= self._at + wanted <= end:
            ahead = _AHEAD_BYTES if self._at == end else _WINDOW_BYTES
            self._begin = min(self._at, max(0, self._size - ahead))
            self._window = self._fetch(self._begin, min(self._size, max(self._at + wanted, self._begin + ahead)))
        start = self._at - self._begin
        self._at += wanted
        return self._window[start : start + wanted]
