"""What the log of a Delta table tells of files, and what it is told."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

_LONGEST_WAIT = 2.0


class LiveFile(msgspec.Struct, frozen=True):
    """A file that the log has: `name` below the table's folder, `size` in bytes, `removed` of its `rows` left.

    `newest` is the latest time that partitions go by, rounded up to milliseconds; None where no row has one.
    """

    name: str
    rows: int
    removed: int
    size: int
    newest: datetime | None


class QueueFiles(msgspec.Struct, frozen=True):
    """What one version of the log has of a queue: the files of each day, and the `base` that a commit has to prove."""

    base: int
    files: Mapping[int, Sequence[LiveFile]]

    @property
    def names(self) -> set[str]:
        """The names of all files."""
        return {file.name for files in self.files.values() for file in files}


class NewFile(msgspec.Struct, frozen=True):
    """A file that is in its place and not in the log yet; `statistics` are those of `statistics_of`."""

    name: str
    size: int
    statistics: str


class Retry(msgspec.Struct, frozen=True):
    """How a commit that others overtook waits for its next attempt: `random` yields 0 to 1, `sleep` takes seconds."""

    random: Callable[[], float]
    sleep: Callable[[float], None]

    def wait(self, attempt: int) -> None:
        """Wait before the next attempt, longer each time."""
        self.sleep(self.random() * min(_LONGEST_WAIT, 0.02 * 2.0**attempt))
