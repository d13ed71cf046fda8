"""What all tables of a lake hold of a queue, changed by hand and not by an export, old versions included.

Owns the order of it: rows are published anew, then files that only older versions of a Delta table have are removed at
once, if they still hold what is to go. Needs the queue's lock.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

from annolake.errors import LakeError
from annolake.load.lake import Lake
from annolake.load.merge.revise import Change, concerns, revise
from annolake.load.storage.scratch import Workspace
from annolake.load.table.partitions import Partitions


class Done(Protocol):
    """What was done to a queue: files written anew or withdrawn, rows changed or gone, old files removed."""

    files: int
    rows_changed: int
    rows_gone: int
    old_files: int


def revise_tables(lake: Lake, queue_id: str, workspace: Workspace, changes: Mapping[str, Change], done: Done) -> None:
    """Carry out the change of each table that has one, and note in `done` what was. Raises LakeError, LockedError."""
    for name, change in changes.items():
        with partitions_of(lake, queue_id, workspace, name) as partitions:
            for revised in revise(partitions, change):
                done.files += 1
                done.rows_changed += revised.changed
                done.rows_gone += revised.gone
        done.old_files += lake.table(name).purge(queue_id, concerned=partial(concerns, change))


@contextmanager
def partitions_of(lake: Lake, queue_id: str, workspace: Workspace, table: str) -> Iterator[Partitions]:
    """Give the partitions of a queue in a table, to be published or withdrawn."""
    aside = workspace.within(f"{queue_id}.{table}.revised")
    aside.make()
    partitions = lake.partitions(queue_id, table, aside)
    try:
        yield partitions
    finally:
        partitions.close()
        with suppress(LakeError):  # else it goes with the workspace
            aside.discard()
