"""What the lake needs of the place where its files lie: a disk or an object store.

Owns the protocols, and nothing that touches a file. `local` and `objects` are the two kinds of files, `locks` and
`lease` the two kinds of locks.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import pyarrow as pa

from annolake.errors import LakeError

S = TypeVar("S")
T = TypeVar("T")

_LOOKS = 5

Gate = Callable[[str, Any, Callable[[], Any]], Any]
"""Called with verb, location and the real call in place of the real call: a test breaks any step there."""


class MissingError(LakeError):
    """There is no such file or folder; a reader beside a running export meets this and looks again."""


def look_again(look: Callable[[], T]) -> T:
    """Look, and look again where a running export replaced a file between its listing and its opening."""
    for _ in range(_LOOKS - 1):
        with suppress(MissingError):
            return look()
    return look()


class Location(Protocol):
    """Where a file or folder lies: a `Path` on a disk, else an address in a store. As text it is what users know."""

    @property
    def name(self) -> str:
        """The last part."""

    @property
    def stem(self) -> str:
        """The last part without its extension."""

    @property
    def parent(self) -> "Location":
        """The folder."""

    def __truediv__(self, name: str, /) -> "Location":
        """Return the location of that name (or of several, divided by slashes) below this folder."""


class Files(Protocol):
    """The files of one place. Every verb raises `LakeError` where it fails, `MissingError` where there is no file.

    A folder is there as long as a file is in it or below it; a disk has empty ones too.
    """

    def step(self, verb: str, path: Location, call: Callable[[], T]) -> T:
        """Do one thing with `path`, translating foreign errors; `verb` completes "cannot ... <path>"."""

    def map(self, call: Callable[[S], T], things: Iterable[S]) -> Iterator[T]:
        """Yield what a call makes of each thing, in order: some are called ahead, at once, where each is a request.

        Raises what the first call raises that fails.
        """

    def prepare(self, folder: Location) -> None:
        """See to it that readers find the folder, where the place has folders."""

    def names(self, folder: Location) -> list[str]:
        """Return the names of the files and folders in a folder, sorted; none where there is no folder."""

    def below(self, folder: Location) -> list[Location]:
        """Return all files in a folder and the folders below it, in no order; none where there is no folder."""

    def exists(self, path: Location) -> bool:
        """Tell whether there is a file or folder of that name."""

    def size(self, path: Location) -> int:
        """Return a file's size in bytes."""

    def read(self, path: Location) -> bytes:
        """Return the bytes of a small file."""

    def open(self, path: Location) -> pa.NativeFile:
        """Open a file to read any part of it; the caller closes it."""

    def digest(self, path: Location) -> str:
        """Return the hash of all bytes of a file: BLAKE2b, 16 bytes, in hexadecimal digits."""

    def put(self, source: Path, target: Location, *, flush: bool = True) -> None:
        """Put a file of the workspace in the place of `target` as a whole; `source` is used up.

        With `flush` it is made to last before it is seen: on a disk the file is flushed, renamed, and its name too. The
        folder of `target` is there, where the place has folders (`prepare`).
        """

    def remove(self, path: Location) -> None:
        """Remove a file, or a folder with all that is in it; nothing where there is none."""

    def remove_all(self, paths: Sequence[Location]) -> None:
        """Remove files; one that is not there is no error."""


class Hold(Protocol):
    """A lock, held or not: `holder` is None where it is ours, else it says who has it."""

    @property
    def holder(self) -> str | None:
        """Who has it ("pid 12 on host a since 2026-11-20T08:00:00+00:00"), None where it is ours."""

    @property
    def generation(self) -> int:
        """Grows from holder to holder of a lease; 0 of a lock that ends with its holder's process."""

    def check(self) -> None:
        """Raise `LockedError` where the lock can have passed to another meanwhile."""


class Unlocked(NamedTuple):
    """What became of a lock that was taken away: who had it (None: nobody), and whether its time was over anyway."""

    holder: str | None
    stale: bool


class Locks(Protocol):
    """Locks between processes: one for a queue, one for an export as long as it runs."""

    def hold(self, path: Location, *, since: datetime) -> AbstractContextManager[Hold]:
        """Hold the lock on `path` as long as the block runs, where nobody else does. Never waits."""

    def is_free(self, path: Location) -> bool:
        """Tell whether nobody holds the lock on `path`; changes nothing."""

    def unlock(self, path: Location) -> Unlocked:
        """Take the lock from whoever holds it, who publishes nothing after that.

        Raises `LakeError` where a lock ends with its holder's process, so that nothing need be taken away.
        """
