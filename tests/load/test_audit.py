"""What `verify` finds in a lake."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from annolake.load.audit import verify
from annolake.load.lake import Lake
from annolake.load.status import status
from annolake.load.table.file_format import Footer
from annolake.load.table.part_file import write_part
from load.model_queue import (
    FIRST_EXPORT,
    START,
    Row,
    changed,
    counts_file,
    export,
    folder_of,
    lake_at,
    root_of,
    rows,
    workspace_in,
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake with one queue of several days."""
    lake = lake_at(tmp_path / "lake")
    export(lake, rows(60))
    export(lake, [changed(row) if row.number < 3 else row for row in rows(60)], number=2)
    return lake


def _partition(lake: Lake, day: str = "2026-11-02") -> Path:
    return folder_of(lake) / f"added_date={day}"


def _file(lake: Lake, day: str = "2026-11-02") -> Path:
    (path,) = _partition(lake, day).iterdir()
    return path


def _rewritten(lake: Lake, table: pa.Table) -> None:
    """Put a file of annolake's own making, with other rows, in the place of a partition's."""
    form = replace(lake.formats["runs"], schema=table.schema)
    shutil.rmtree(_partition(lake))
    write_part(workspace_in(_partition(lake)), [table], file_format=form, footer=Footer(form.version, 1, "test", 9))


def test_a_lake_as_exported_has_no_findings(lake: Lake) -> None:
    """Everything is as promised, a running export's workspace included."""
    with lake.workspace("running", since=FIRST_EXPORT):
        found = list(verify(lake))

    assert found == []


def _wrong_date(lake: Lake) -> None:
    _rewritten(lake, pq.ParquetFile(_file(lake, "2026-11-03")).read())
    shutil.rmtree(_partition(lake, "2026-11-03"))


def _unsorted(lake: Lake) -> None:
    table = pq.ParquetFile(_file(lake)).read()
    _rewritten(lake, table.take(list(reversed(range(table.num_rows)))))


def _twice(lake: Lake) -> None:
    table = pq.ParquetFile(_file(lake)).read()
    _rewritten(lake, table.take([0, *range(table.num_rows)]))


def _other_columns(lake: Lake) -> None:
    schema = lake.formats["runs"].schema
    narrow = schema.remove(schema.get_field_index("thread_id"))
    _rewritten(lake, pq.ParquetFile(_file(lake)).read().select(narrow.names))


def _in_two_partitions(lake: Lake) -> None:
    first = pq.ParquetFile(_file(lake, "2026-11-03")).read().slice(0, 1)
    moved = first.set_column(5, "added_at", pa.array([START.replace(hour=1, day=2)], first.schema.field(5).type))
    both = pa.concat_tables([moved.cast(lake.formats["runs"].schema), pq.ParquetFile(_file(lake)).read()])
    _rewritten(lake, both)


def _spoilt_page(lake: Lake) -> None:
    path = _file(lake)
    text = bytearray(path.read_bytes())
    group = pq.ParquetFile(path).metadata.row_group(0)
    column = next(group.column(at) for at in range(99) if group.column(at).path_in_schema == "inputs")
    text[column.data_page_offset + column.total_compressed_size - 9] ^= 255
    path.write_bytes(text)


def _renamed(lake: Lake) -> None:
    _file(lake).rename(_partition(lake) / "part-0123456789abcdef.parquet")


def _stranger(lake: Lake) -> None:
    (_partition(lake) / "notes.txt").write_text("mine")


def _strange_folder(lake: Lake) -> None:
    (folder_of(lake) / "added_date=someday").mkdir()
    (folder_of(lake) / "added_date=someday" / "notes.txt").touch()


def _two_files(lake: Lake) -> None:
    twin = lake_at(root_of(lake).with_name("twin"))
    export(twin, rows(60))
    shutil.copy(_file(twin, "2026-11-01"), _partition(lake, "2026-11-01"))


def _litter(lake: Lake) -> None:
    (root_of(lake) / "_annolake" / "tmp" / "dead").mkdir()


def _wrong_count(lake: Lake) -> None:
    path = counts_file(lake)
    path.write_text(path.read_text().replace("[", "[1", 1))


def _odd_counts(lake: Lake) -> None:
    counts_file(lake).write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (_wrong_date, "it has a row of another date"),
        (_unsorted, "its rows are not sorted by added_at and queue_run_id"),
        (_twice, "it has a row twice"),
        (_other_columns, "its columns are not those of schema version 2"),
        (_in_two_partitions, "a row of it is in another partition too"),
        (_spoilt_page, "damaged, cut off or not written by annolake"),
        (_renamed, "its name does not match its content"),
        (_stranger, r"only part-\*.parquet belongs there"),
        (_strange_folder, "only added_date=... belongs there"),
        (_two_files, "it has more than one file"),
        (_wrong_count, r"counts/.*json: it is wrong about part-[0-9a-f]+\.parquet, which has"),
        (_odd_counts, r"cannot read .*json: these are not the counts of parts"),
        (_litter, "a command that was killed left this"),
    ],
)
def test_verify_finds_what_is_wrong(lake: Lake, spoil: Callable[[Lake], None], finding: str) -> None:
    """Each broken promise is one finding that says where and what."""
    spoil(lake)

    found = [f"{one.path}: {one.what}" for one in verify(lake)]

    assert any(re.search(finding, text) for text in found), found


def test_a_move_cut_short_is_found_and_then_healed(lake: Lake) -> None:
    """What verify finds the next export mends."""
    _in_two_partitions(lake)

    export(lake, [Row(999, None)], number=3, complete=False)

    assert list(verify(lake)) == []


def test_what_other_tools_leave_is_passed_over(lake: Lake) -> None:
    """Files that readers pass over, and empty folders, trouble neither export nor status; verify mentions them."""
    left = [
        root_of(lake) / "runs" / ".DS_Store",
        folder_of(lake) / "_SUCCESS",
        _partition(lake) / ".part-1.parquet.crc",
        root_of(lake) / "queues" / ".DS_Store",
    ]
    for path in left:
        path.touch()
    empty = [root_of(lake) / "runs" / "empty", folder_of(lake) / "added_date=someday", _partition(lake) / "empty"]
    for path in empty:
        path.mkdir()

    found = list(verify(lake))
    export(lake, rows(60), number=3)
    (told,) = status(lake, now=FIRST_EXPORT).queues

    assert {remark.path for remark in found} == {*left, *empty}
    assert all(remark.harmless for remark in found)
    assert told.error is None
    assert told.held is not None
    assert told.held.rows == 60
