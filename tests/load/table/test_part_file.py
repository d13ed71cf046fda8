"""Files of rows: sorted, checked, in bounded row groups, and never replaced by what bit rot made of them."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annolake.contract import RUNS
from annolake.errors import LakeError
from annolake.load.table.part_file import row_groups
from load.model_queue import (
    FIRST_EXPORT,
    QUEUE,
    START,
    Row,
    changed,
    expected,
    export,
    folder_of,
    lake_at,
    numbers_of,
    parts,
    rows,
    stored,
)

DAY = timedelta(days=1)


def test_each_file_is_sorted_checked_and_says_who_wrote_it(tmp_path: Path) -> None:
    """Rows are in order of added_at and queue_run_id, and the footer carries versions, export and generation."""
    lake = lake_at(tmp_path)
    export(lake, reversed(rows(60)))
    export(lake, [changed(row) for row in rows(60)], number=2)

    for path in folder_of(lake).glob("*/*"):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        keys = file.read().select(["added_at", "queue_run_id"]).to_pylist()
        assert keys == sorted(keys, key=lambda key: (key["added_at"] is not None, *key.values()))
        assert {key: value for key, value in file.metadata.metadata.items() if key.startswith(b"annolake.")} == {
            b"annolake.schema_version": b"2",
            b"annolake.hash_version": b"1",
            b"annolake.export_id": b"export-2",
            b"annolake.generation": b"2",
        }
        assert [column.column_index for column in file.metadata.row_group(0).sorting_columns] == [5, 0]
        assert file.metadata.row_group(0).column(5).statistics.has_min_max or keys[0]["added_at"] is None


def test_row_groups_are_bounded(tmp_path: Path) -> None:
    """No row group has more than row_group_mb in memory, a single larger row aside."""
    lake = lake_at(tmp_path, row_group_mb=1)
    heavy = [Row(number, START, payload=20_000) for number in range(64)] + [Row(99, START, payload=900_000)]

    export(lake, heavy, budget=1 << 20)
    export(lake, [changed(row) for row in heavy], number=2, budget=1 << 20)

    (path,) = folder_of(lake).glob("*/*")
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    assert all(group.nbytes <= 1 << 20 or group.num_rows == 1 for group in groups)
    assert 3 <= len(groups) <= 6
    assert stored(lake) == {row.key: expected(changed(row), exported=2) for row in heavy}


def test_tables_become_row_groups_of_bounded_size() -> None:
    """Small ones come together as long as they fit, large ones are halved, and none has no rows."""
    small, empty = pa.table({"text": ["x" * 300_000]}), pa.table({"text": pa.array([], pa.string())})
    limit = 1 << 20

    grouped = [*row_groups([empty, *[small] * 8, empty], limit)]
    assert [(table.num_rows, is_last) for table, is_last in grouped] == [(3, False), (3, False), (2, True)]
    assert [*row_groups([empty, empty], limit)] == []
    assert [table.num_rows for table, _ in row_groups([pa.table({"text": ["x" * 300_000] * 8})], limit)] == [2, 2, 2, 2]


@pytest.mark.parametrize("kind", [pa.decimal128(38, 18), pa.int64(), pa.binary(16), pa.string(), pa.bool_()], ids=str)
def test_columns_that_are_all_null_count(kind: pa.DataType) -> None:
    """Arrow has one buffer for all that such a column holds, and counts it once."""
    table = pa.table({str(number): pa.nulls(40_000, kind) for number in range(20)})
    limit = table.nbytes // 3

    groups = [group for group, _ in row_groups([table], limit)]
    assert all(group.nbytes <= limit for group in groups)
    assert sum(group.num_rows for group in groups) == 40_000


def test_columns_of_few_bytes_are_not_compressed(tmp_path: Path) -> None:
    """They would hardly get smaller; longer ones are, and in a file of several row groups all are."""
    few, many = codecs(tmp_path / "few", 10, payload=200), codecs(tmp_path / "many", 1_000, payload=20)

    assert (few["inputs"], few["row_hash"], few["error"]) == ("ZSTD", "UNCOMPRESSED", "UNCOMPRESSED")
    assert few["tags.list.element"] == few["prompt_token_details.key_value.value"] == "UNCOMPRESSED"
    assert (many["inputs"], many["row_hash"], many["error"]) == ("ZSTD", "ZSTD", "UNCOMPRESSED")
    assert many["tags.list.element"] == many["prompt_token_details.key_value.value"] == "ZSTD"
    some = codecs(tmp_path / "some", 20, payload=20)
    assert (few["queue_run_id"], some["queue_run_id"]) == ("UNCOMPRESSED", "ZSTD")  # 36 bytes each
    assert {*codecs(tmp_path / "groups", 20, payload=90_000).values()} == {"ZSTD"}


def codecs(root: Path, count: int, *, payload: int) -> dict[str, str]:
    """Return how each column is compressed in the file of an export of so many rows."""
    lake = lake_at(root, row_group_mb=1)
    export(lake, [Row(number, START, payload=payload) for number in range(count)])
    (path,) = folder_of(lake).glob("*/*")
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    return {column.path_in_schema: column.compression for column in columns}


@pytest.mark.parametrize("place", range(8))
def test_no_value_is_kept_from_a_file_that_rotted(tmp_path: Path, place: int) -> None:
    """A row that moved to another day takes nothing along from a file that is not what was written."""
    lake, moved = lake_at(tmp_path), changed(Row(1, START), added_at=START + DAY)
    export(lake, [Row(1, START), Row(2, START + DAY)])
    source, target = sorted(folder_of(lake).glob("*/*"))
    text = bytearray(source.read_bytes())
    text[len(text) * place // 8] ^= 4
    source.write_bytes(text)
    before = parts(lake)

    with pytest.raises(LakeError, match=str(source)):
        export(lake, [moved, Row(2, START + DAY)], number=2, unavailable=frozenset({"feedback_stats"}))

    assert (parts(lake), source.read_bytes(), target.exists()) == (before, bytes(text), True)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def _spoilt_key_page(path: Path) -> None:
    text = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    text[at : at + 200] = b"\xff" * 200
    path.write_bytes(text)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_cut, "damaged, cut off or not written by annolake"),
        (_empty, "damaged, cut off or not written by annolake"),
        (_foreign, "annolake did not write it"),
        (_spoilt_key_page, "damaged, cut off or not written by annolake"),
    ],
)
def test_a_file_that_cannot_be_read_is_never_replaced(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    """The export ends with path and reason, and every file is as it was."""
    lake = lake_at(tmp_path)
    export(lake, rows(20))
    path = next(folder_of(lake).glob("*/*"))
    spoil(path)
    spoilt, before = path.read_bytes(), parts(lake)

    with pytest.raises(LakeError, match=f"{path}: .*{reason}"):
        export(lake, [changed(row) for row in rows(20)], number=2)

    assert (path.read_bytes(), parts(lake)) == (spoilt, before)


def test_a_value_that_does_not_fit_is_a_bug_and_no_damaged_file(tmp_path: Path) -> None:
    """What pyarrow refuses to write is not blamed on the disk, and nothing is published."""
    lake = lake_at(tmp_path)
    lake.prepare()
    null = pa.RecordBatch.from_pylist([Row(1, START).values() | {"endpoint": None}], schema=RUNS.schema)

    with (
        lake.workspace("one", since=FIRST_EXPORT) as workspace,
        lake.lock(QUEUE, since=FIRST_EXPORT),
        lake.upsert(QUEUE, workspace, now=FIRST_EXPORT) as upsert,
    ):
        upsert.add(null, numbers_of(upsert, [Row(1, START)]))
        with pytest.raises(pa.ArrowInvalid, match="non-nullable"):
            list(upsert.publish(remove_gone=False))

    assert parts(lake) == {}
