"""Plain files where a lock passes on while its holder is stopped: of two exports the later holder's file is left."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from annolake.errors import LockedError
from annolake.load.storage.local import LocalFiles
from annolake.load.storage.scratch import Workspace
from annolake.load.table.folders import PlainPartitions, PlainTable
from load.model_queue import QUEUE, Row, batch
from load.table.delta_site import DAY, FORMATS, at


@dataclass
class PassingHold:
    """A lease of that generation, which is `lost` when a test says so."""

    generation: int
    lost: bool = False
    holder: str | None = None

    def check(self) -> None:
        """Raise where it is lost."""
        if self.lost:
            raise LockedError("the lock has passed to another")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a day that an export has written."""
    folder = Path(str(FORMATS["runs"].folder(tmp_path / "runs" / f"queue_id={QUEUE}", DAY)))
    folder.mkdir(parents=True)
    published(partitions_in(tmp_path, PassingHold(1)), 0)
    return folder


def partitions_in(root: Path, hold: PassingHold, files: LocalFiles | None = None) -> PlainPartitions:
    """Return the partitions of the queue as the holder of a lease reads them."""
    name = f"export-{hold.generation}"
    workspace = Workspace(name, root / "tmp" / name, root / "tmp" / name, LocalFiles())
    workspace.make()
    table = PlainTable(files or LocalFiles(), root / "runs", FORMATS["runs"], root / "counts")
    partitions = PlainPartitions(table, QUEUE, workspace, hold)
    for _ in partitions.stored():
        pass
    return partitions


def published(partitions: PlainPartitions, version: int) -> str:
    """Publish one row of that version; return the file's name."""
    return partitions.publish(DAY, [pa.Table.from_batches([batch([Row(1, at(DAY), version)])])]).path.name


@pytest.mark.parametrize("taken", [True, False], ids=["taken over", "nobody came"])
def test_a_file_that_was_put_too_late_goes_where_a_later_one_is(tmp_path: Path, folder: Path, *, taken: bool) -> None:
    """Its exporter was stopped between its last look at the lock and the put; where nobody came, it is the true one."""
    mine, later = PassingHold(2), PassingHold(3)
    names: list[str] = []

    def stopped(verb: str, path: Any, call: Callable[[], Any]) -> Any:
        if verb == "write" and path.parent == folder:
            mine.lost = True
            names.extend([published(partitions_in(tmp_path, later), 2)] if taken else [])
        return call()

    partitions = partitions_in(tmp_path, mine, LocalFiles(stopped))
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(LockedError):
        published(partitions, 1)
    left = {path.name for path in folder.iterdir()}

    assert left == set(names) if taken else left > before
    (true,) = partitions_in(tmp_path, PassingHold(4)).parts.values()
    assert true.footer.lease == (3 if taken else 2)
    assert [path.name for path in folder.iterdir()] == [true.path.name]
