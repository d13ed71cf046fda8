"""What the lake needs of a table, however its files are arranged: plain folders, or a Delta log.

Owns the protocols: `Table` is what readers find, and needs no lock; `Partitions` is one queue of it, while an export
has the queue's lock. `folders` and `delta` are the arrangements.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

import pyarrow as pa

from annolake.load.storage.files import Files, Hold, Location
from annolake.load.storage.scratch import Workspace
from annolake.load.table.file_format import FileFormat
from annolake.load.table.part_file import Part, PartReader


class Held(NamedTuple):
    """What the lake holds of a queue in a table; `removed` of the `rows` have left it, `size` is in bytes.

    `newest` is the latest time that partitions go by: added_at, or created_at.
    """

    rows: int
    removed: int
    partitions: int
    size: int
    newest: datetime | None


class Remark(NamedTuple):
    """What `annolake verify` says of one place, in a sentence; a `harmless` one breaks no promise."""

    path: Location
    what: str
    harmless: bool = False


class Partitions(Protocol):
    """The partitions of a queue in a table: each has one file, the true one. Raises `LakeError`.

    Days are published one by one, by several threads if need be; where the arrangement is `whole`, nothing of it is
    seen before `finish`, and then all of it at once.
    """

    @property
    def files(self) -> Files:
        """Where the files lie."""

    @property
    def file_format(self) -> FileFormat:
        """How they are written."""

    @property
    def parts(self) -> Mapping[int, Part]:
        """The true file of each day that has been read or published."""

    @property
    def whole(self) -> bool:
        """Whether all days change at once, with `finish`."""

    @property
    def needs_file(self) -> bool:
        """Whether a queue without rows must have a file, so that a scan of the table answers."""

    @property
    def mixes_versions(self) -> bool:
        """Whether files of several schema versions can lie side by side: else an export rewrites the older ones."""

    def stored(self) -> Iterator[tuple[int, PartReader]]:
        """Yield each day with its true file, open until the next one is asked for; remove others that a kill left."""

    def build(self, day: int, tables: Iterable[pa.Table]) -> Part:
        """Write the rows as a file for a day, which nobody sees before it is `put`.

        No row is taken from `tables` before the old file was found to be as it was written: what bit rot made of it
        would get a new checksum.
        """

    def put(self, day: int, built: Part) -> Part:
        """Put what was built in the place of the file of a day, if that is still the one that was there then."""

    def discard(self, day: int, built: Part) -> None:
        """Remove what was built and will not be put: of a day one file is built at a time."""

    def publish(self, day: int, tables: Iterable[pa.Table]) -> Part:
        """Build and put."""

    def withdraw(self, day: int) -> None:
        """Take the file of a day out of the table: none of its rows is true there any more."""

    def finish(self, facts: Mapping[str, int]) -> None:
        """Make what was published last, and seen where it is not yet; `facts` are told where a log has room."""

    def close(self) -> None:
        """Note what helps readers; after `finish`, or in its place when the export is cut short. Raises nothing."""


class Table(Protocol):
    """A table of the lake as anybody finds it; a running export may be changing it. Raises `LakeError`."""

    @property
    def file_format(self) -> FileFormat:
        """How its files are written."""

    def prepare(self) -> None:
        """See to it that readers find the table, where they would not find one without rows."""

    def queue_ids(self) -> list[str]:
        """Return the ids of the queues that the table has something of."""

    def remarks(self, queue_id: str | None) -> list[Remark]:
        """Return what lies where it does not belong: in the table's folder, or in that of a queue."""

    def folder(self, queue_id: str) -> Location:
        """Return where the files of a queue lie."""

    def compared(
        self, queue_id: str, counts: Mapping[str, tuple[int, int]], versions: AbstractSet[int]
    ) -> list[Remark]:
        """Return what is wrong with a queue as a whole, given its files' rows and removed rows, and their versions."""

    def days(self, queue_id: str) -> list[int]:
        """Return the days that a queue has partitions for."""

    def paths(self, queue_id: str, day: int) -> list[Location]:
        """Return the files of a partition: one, unless a kill left two."""

    def opened(self, queue_id: str, day: int) -> AbstractContextManager[PartReader | None]:
        """Open the file of a partition, the true one of two; None where there is none."""

    def readers(self, queue_id: str) -> Iterator[tuple[int, PartReader]]:
        """Yield each day of a queue with its true file, open until the next one is asked for.

        Of a log all files are those of one version.
        """

    def held(self, queue_id: str) -> Held:
        """Return what is held of a queue, opening as few files as can be."""

    def partitions(self, queue_id: str, workspace: Workspace, hold: Hold) -> Partitions:
        """Return the partitions of a queue, to one that has its lock; parts are built in the workspace."""

    def purge(self, queue_id: str, *, concerned: Callable[[PartReader], bool]) -> int:
        """Remove at once those files of a queue that only older versions of the table have, if they are `concerned`.

        Return how many. Whoever reads such a version then misses a file. One that cannot be read goes as well. Needs
        the queue's lock.
        """

    def vacuum(self, *, alone: Callable[[], bool]) -> int:
        """Remove files that no reader can need any more, and what dead exports left; return how many.

        `alone` tells whether no other export runs, so that what none is known to have published is a dead one's.
        """
