"""Changes of a lake that are no export: a queue after the other, each under its lock, and what is told of them.

Owns what becomes of an error in one queue: the others are changed all the same, and the most urgent exit code wins.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from annolake.clock import Clock
from annolake.errors import AnnolakeError, LakeError
from annolake.load.lake import Lake
from annolake.load.place import OWN
from annolake.load.storage.scratch import Workspace
from annolake.report import new_report, worst


class QueueChanges(msgspec.Struct, kw_only=True):
    """What was done to a queue. `old_files`: those of older versions of Delta tables that were removed at once."""

    queue_id: str
    name: str | None = None
    files: int = 0
    rows_changed: int = 0
    rows_gone: int = 0
    old_files: int = 0
    rejects: int = 0
    error: str | None = None
    exit_code: int = 0


class Changes(msgspec.Struct, kw_only=True):
    """What was done to a lake; `error` is what concerns it as a whole."""

    exit_code: int = 0
    error: str | None = None
    queues: list[QueueChanges] = []

    def conclude(self) -> None:
        """Settle the exit code: the most urgent one."""
        self.exit_code = worst([self.exit_code, *(queue.exit_code for queue in self.queues)])


class Hands(msgspec.Struct, frozen=True):
    """What changes a lake: the lake itself, a folder for unfinished files, the time."""

    lake: Lake
    workspace: Workspace
    clock: Clock

    def change(self, queue_ids: Iterable[str], work: Callable[[str, QueueChanges], None]) -> Iterator[QueueChanges]:
        """Do the work on each queue, which has its lock meanwhile; yield what was done, an error included."""
        for queue_id in queue_ids:
            told = QueueChanges(queue_id=queue_id)
            try:
                with self.lake.lock(queue_id, since=self.clock.now()):
                    with suppress(LakeError):  # what is wrong there need not hold up the rest
                        told.name = self.lake.queue_name(queue_id)
                    work(queue_id, told)
            except AnnolakeError as error:
                told.error, told.exit_code = str(error), error.exit_code
            yield told


@contextmanager
def hands_on(lake: Lake, clock: Clock) -> Iterator[Hands]:
    """Give what is needed to change a lake. Raises LakeError where there is none."""
    if not lake.files.exists(lake.root / OWN) and not lake.queues_named():
        raise LakeError(f"{lake.root}: there is no lake; check lake.path, or run an export first")
    lake.prepare()
    now = clock.now()
    with lake.workspace(new_report(now).export_id, since=now) as workspace:
        yield Hands(lake, workspace, clock)
