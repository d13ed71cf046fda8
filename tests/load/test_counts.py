"""The counts of parts: kept beside the lake's files, never needed, never wrong for long."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from annolake.errors import LakeError
from annolake.load.audit import verify
from annolake.load.lake import Lake
from annolake.load.status import status
from annolake.load.storage.local import LocalFiles
from annolake.load.table.counts import read_counts
from annolake.load.table.part_file import PartReader
from annolake.load.table.partitions import Held
from load.faults import Killed
from load.model_queue import (
    FIRST_EXPORT,
    QUEUE,
    START,
    Done,
    Row,
    changed,
    counts_file,
    export,
    folder_of,
    lake_at,
    parts,
    root_of,
    rows,
    with_polars,
)

QUEUE_OF = rows(60)
LEFT = QUEUE_OF[7:]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake with one queue of several days, of whose rows some have left it."""
    lake = lake_at(tmp_path / "lake")
    export(lake, QUEUE_OF)
    export(lake, LEFT, number=2)
    return lake


def held(lake: Lake) -> Held:
    """Return what the lake holds of the queue."""
    (queue,) = status(lake, now=FIRST_EXPORT).queues
    assert queue.error is None
    assert queue.held is not None
    return queue.held


def counted(lake: Lake) -> dict[str, tuple[int, int]]:
    """Return the counts of each part as pyarrow reads it."""
    tables = {path.name: pq.ParquetFile(path).read(["removed_at"]) for path in folder_of(lake).glob("*/*")}
    return {name: (len(table), len(table) - table.column(0).null_count) for name, table in tables.items()}


class Opened:
    """A gate that notes which parts are opened: more is read of them than their size."""

    def __init__(self) -> None:
        self._reads: list[Path] = []

    def __call__(self, verb: str, path: Path, call: Callable[[], Any]) -> Any:
        """Note what is read."""
        if verb == "read" and path.suffix == ".parquet":
            self._reads.append(path)
        return call()

    @property
    def paths(self) -> set[Path]:
        """The parts that were opened."""
        return {path for path in self._reads if self._reads.count(path) > 1}


def test_an_export_counts_the_parts_that_are_there(lake: Lake) -> None:
    """Rows and removed rows of each part, of the replaced ones none, as its reader and as pyarrow count them."""
    kept = read_counts(lake.files, counts_file(lake))

    assert kept == counted(lake)
    assert sum(removed for _, removed in kept.values()) == 7
    for path in folder_of(lake).glob("*/*"):
        with PartReader(lake.files, path, lake.formats["runs"]) as reader:
            assert (reader.part.rows, reader.part.removed) == kept[path.name]


def test_an_export_of_an_unchanged_queue_leaves_the_counts_alone(lake: Lake) -> None:
    """Neither the file's inode nor its time of change moves."""
    before = counts_file(lake).stat()

    export(lake, LEFT, number=3)

    after = counts_file(lake).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_status_opens_one_part_of_a_queue(lake: Lake) -> None:
    """The newest dated one, for its newest row; a lake without counts is opened whole, and says the same."""
    fast, slow = Opened(), Opened()
    with_counts = held(lake_at(root_of(lake), gate=fast))
    counts_file(lake).unlink()
    without = held(lake_at(root_of(lake), gate=slow))

    frame = with_polars(lake)
    newest = max(row.added_at for row in QUEUE_OF if row.added_at)
    assert {path.parent.name for path in fast.paths} == {f"added_date={newest.date()}"}
    assert len(slow.paths) == len(parts(lake)) > 2
    assert with_counts == without
    assert with_counts == Held(
        rows=len(frame),
        removed=frame["removed_at"].count(),
        partitions=len(parts(lake)),
        size=sum(path.stat().st_size for path in folder_of(lake).glob("*/*")),
        newest=newest,
    )


def test_a_file_that_lies_in_many_places_is_opened_once(lake: Lake) -> None:
    """A part is named by its content: a copy of a queue is counted by the counts of the other, or by one footer."""
    other = QUEUE.replace("1", "a")
    shutil.copytree(folder_of(lake), folder_of(lake, queue_id=other))
    gates = Opened(), Opened()
    copies = [{queue.held for queue in status(_through(lake, gates[0]), now=FIRST_EXPORT).queues}]
    counts_file(lake).unlink()
    copies.append({queue.held for queue in status(_through(lake, gates[1]), now=FIRST_EXPORT).queues})

    assert [len(held) for held in copies] == [1, 1]
    assert copies[0] == copies[1]
    assert [len(gate.paths) for gate in gates] == [2, len(parts(lake)) + 1]


def _through(lake: Lake, gate: Opened) -> Lake:
    return lake_at(root_of(lake), gate=gate)


def test_a_part_that_the_counts_do_not_name_is_opened(lake: Lake) -> None:
    """As beside a running export: what it has published is not in the counts yet."""
    path, gate = counts_file(lake), Opened()
    kept, before = json.loads(path.read_text()), held(lake)
    unnamed = next(path for path in folder_of(lake).glob("*/*") if "DEFAULT" in path.parent.name)
    del kept[unnamed.name]
    path.write_text(json.dumps(kept))

    assert held(lake_at(root_of(lake), gate=gate)) == before
    assert unnamed in gate.paths
    assert len(gate.paths) == 2


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _text(text: str) -> Callable[[Path], None]:
    return lambda path: (path.write_text(text), None)[1]


ODD: dict[str, Callable[[Path], None]] = {
    "cut": _cut,
    "folder": _folder,
    "pipe": _pipe,
    "empty": _text(""),
    "list": _text("[]"),
    "deep": _text('{"part-0.parquet":' + "[" * 100_000),
    "words": _text('{"part-0.parquet": ["1", "0"]}'),
    "negative": _text('{"part-0.parquet": [1, -1]}'),
    "more removed than there are": _text('{"part-0.parquet": [1, 2]}'),
    "truth": _text('{"part-0.parquet": [true, false]}'),
    "three": _text('{"part-0.parquet": [1, 0, 0]}'),
}


@pytest.mark.parametrize("spoil", ODD.values(), ids=ODD)
def test_odd_counts_are_as_if_they_were_not_there(lake: Lake, spoil: Callable[[Path], None]) -> None:
    """Status says what is true, verify names the file, an export goes well; what is a file is then written anew."""
    before, path = held(lake), counts_file(lake)
    spoil(path)

    assert held(lake) == before
    assert [finding.path for finding in verify(lake)] == [path]
    export(lake, LEFT, number=3)
    assert path.is_dir() or read_counts(lake.files, path) == counted(lake)
    assert not list((root_of(lake) / "_annolake" / "tmp").iterdir())


def test_a_wrong_count_is_put_right_by_the_next_export(lake: Lake) -> None:
    """The export knows every part's true counts, also where it changes none."""
    path = counts_file(lake)
    path.write_text(json.dumps({name: [rows + 1, removed] for name, (rows, removed) in counted(lake).items()}))
    assert list(verify(lake))

    export(lake, LEFT, number=3)

    assert read_counts(lake.files, path) == counted(lake)
    assert list(verify(lake)) == []


@pytest.mark.parametrize("verb", ["write", "read"])
def test_counts_that_cannot_be_written_fail_no_export(lake: Lake, verb: str) -> None:
    """What they count is published all the same, counted by its footers, and nothing is left in the workspace."""
    counts = counts_file(lake)

    def gate(asked: str, path: Path, call: Callable[[], Any]) -> Any:
        if asked == verb and path.name == counts.name:
            raise OSError(errno.ENOSPC, "full", str(path))
        return call()

    done = export(lake_at(root_of(lake), gate=gate), [changed(row) for row in LEFT], number=3)

    assert done.counts.updated == len(LEFT)
    assert (held(lake).rows, held(lake).removed) == (60, 7)
    assert not list((root_of(lake) / "_annolake" / "tmp").iterdir())
    assert list(verify(lake)) == []


def _one_file(lake: Lake) -> int:
    next(path for path in folder_of(lake).glob("*/*") if "2026-11-02" in path.parent.name).unlink()
    return 1


def _one_day(lake: Lake) -> int:
    shutil.rmtree(folder_of(lake) / "added_date=2026-11-02")
    return 1


def _queue(lake: Lake) -> int:
    shutil.rmtree(folder_of(lake))
    return 6


def _table(lake: Lake) -> int:
    shutil.rmtree(root_of(lake) / "runs")
    return 6


LOSSES = {"file": _one_file, "day": _one_day, "queue": _queue, "table": _table}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_files_that_are_gone_are_missed(lake: Lake, lose: Callable[[Lake], int]) -> None:
    """The counts alone tell of them, with their rows; a full export brings back what the queue still has."""
    before = counted(lake)
    files = lose(lake)
    there = counted(lake)

    lost = sum(rows for name, (rows, _) in before.items() if name not in there)
    (remark,) = verify(lake)
    assert remark.path == counts_file(lake)
    assert f"{files} file{'s' * (files > 1)} that it names, with {lost} rows, " in remark.what
    export(lake, LEFT, number=3)
    assert list(verify(lake)) == []


@pytest.mark.parametrize("lost", [True, False])
def test_a_loss_is_told_from_what_a_dead_export_left(lake: Lake, *, lost: bool) -> None:
    """Of three files that are counted and not there, two were replaced before the export was killed."""
    replaced: list[Path] = []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        replaced.extend([path] if verb == "replace" and "added_date" in path.name else [])
        if len(replaced) > 2:
            raise Killed
        return call()

    with suppress(Killed):
        export(lake_at(root_of(lake), gate=gate), [changed(row) for row in LEFT], number=3)
    if lost:
        there = counted(lake)
        counts = read_counts(lake.files, counts_file(lake))
        next(path for path in folder_of(lake).glob("*/*") if path.name in counts.keys() & there.keys()).unlink()

    assert len(read_counts(lake.files, counts_file(lake)).keys() - counted(lake).keys()) == 2 + lost
    found = [what for _, what, harmless in verify(lake) if "gone" in what]
    assert len(found) == lost
    assert all(what.startswith("at least 1 file that it names, with ") for what in found)


def test_an_export_that_ends_while_verify_looks_is_no_loss(lake: Lake) -> None:
    """The counts were read before it withdrew a day, and the days were listed after that."""
    root, exported = root_of(lake), list[Done]()

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        done = call()
        if verb == "read" and path == counts_file(lake) and not exported:
            moved = [changed(row, added_at=START) if row.added_at else row for row in LEFT]
            exported.append(export(lake_at(root), moved, number=3))
        return done

    found = list(verify(lake_at(root, gate=gate)))

    assert len(exported) == 1
    assert [remark for remark in found if "gone" in remark.what] == []


def test_a_failed_export_counts_what_it_has_published(lake: Lake) -> None:
    """Partitions that were published before it failed are in the counts, those that were not still are."""
    before = counted(lake)
    published: list[Path] = []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "replace":
            if published:
                raise OSError(errno.EIO, "broken", str(path))
            published.append(path)
        return call()

    with pytest.raises(LakeError):
        export(lake_at(root_of(lake), gate=gate), [changed(row) for row in LEFT], number=3)

    kept = read_counts(lake.files, counts_file(lake))
    assert kept == counted(lake)
    assert len(kept.keys() - before.keys()) == 1


def test_without_statistics_removed_rows_are_counted_one_by_one(lake: Lake) -> None:
    """A file that has no statistics takes longer, and is counted as truly."""
    path = next(path for path in folder_of(lake).glob("*/*") if "DEFAULT" not in path.parent.name)
    file = pq.ParquetFile(path)
    bare, metadata = path.with_name("part-0.parquet"), dict(file.metadata.metadata)
    with pq.ParquetWriter(bare, file.schema_arrow, write_statistics=False) as writer:
        writer.write_table(file.read())
        writer.add_key_value_metadata({k: v for k, v in metadata.items() if k.startswith(b"annolake.")})

    with (
        PartReader(LocalFiles(), path, lake.formats["runs"]) as one,
        PartReader(LocalFiles(), bare, lake.formats["runs"]) as other,
    ):
        assert one.part.removed == other.part.removed > 0


def test_the_true_one_of_two_parts_counts(lake: Lake) -> None:
    """Where a kill left two files in a partition, the later one is what the lake holds."""
    before = held(lake)

    def keep(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        return None if verb == "remove" and path.suffix == ".parquet" else call()

    export(lake_at(root_of(lake), gate=keep, exchanges=False), [Row(900, LEFT[0].added_at), *LEFT], number=3)

    assert any(len(list(folder.iterdir())) == 2 for folder in folder_of(lake).iterdir())
    assert held(lake).rows == before.rows + 1
