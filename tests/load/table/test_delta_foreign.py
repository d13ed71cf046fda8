"""A Delta table that other programs write to as well: an export never doubles a row there, and says what is wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable as Delta
from deltalake import TableFeatures, write_deltalake

from annolake.errors import LakeError
from annolake.load.table.delta import DeltaTable
from load.model_queue import QUEUE, Row, changed
from load.table.delta_site import DAY, NOW, Site, at, disk, put

ROWS = [Row(number, at(DAY, number)) for number in range(5)]
FOREIGN = "another program put it into the table's log; restore the version of the table before, then run again"
CHANGED = f"another program changed the files of queue {QUEUE} meanwhile; run again"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give a place for tables on the disk, with one export of a queue."""
    site = disk(tmp_path / "site")
    site.export(site.log(), {DAY: ROWS})
    return site


def _append(table: Delta) -> None:
    write_deltalake(table.table_uri, table.to_pyarrow_table().slice(0, 1), mode="append")


MEANWHILE: dict[str, tuple[Callable[[Delta], object], str, int]] = {
    "sorted": (lambda table: table.optimize.z_order(["queue_run_id"]), FOREIGN, 5),
    "updated": (lambda table: table.update(updates={"status": "'x'"}, predicate="status = 'version 0'"), FOREIGN, 5),
    "deleted": (lambda table: table.delete(), CHANGED, 0),
    "restored": (lambda table: table.restore(0), CHANGED, 0),
    "appended": (_append, FOREIGN, 6),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_others_do_while_a_queue_is_exported_is_noticed(site: Site, what: str) -> None:
    """Files that they rewrote, or took out, are not replaced: rows would be there twice, or come back."""
    foreign, words, rows = MEANWHILE[what]
    partitions = site.partitions(site.log())
    put(partitions, DAY, [changed(row) for row in ROWS])
    foreign(site.delta())

    with pytest.raises(LakeError) as caught:
        partitions.finish({})

    assert str(caught.value).endswith(words)
    assert site.scan().collect().height == rows


def test_a_table_that_was_restored_is_exported_again(site: Site) -> None:
    """As the message says."""
    before = site.delta().version()
    site.delta().optimize.z_order(["queue_run_id"])
    with pytest.raises(LakeError, match=FOREIGN):
        site.partitions(site.log())

    site.delta().restore(before)
    site.export(site.log(), {DAY: [changed(row) for row in ROWS]})

    assert site.scan().collect()["status"].to_list() == ["version 1"] * len(ROWS)


def test_rows_of_no_queue_are_told(site: Site) -> None:
    """Whoever lists the queues hears of them."""
    rows = site.delta().to_pyarrow_table().slice(0, 1)
    rows = rows.drop(["queue_id"]).append_column("queue_id", pa.nulls(1, pa.string()))
    write_deltalake(site.delta().table_uri, rows.select(site.delta().to_pyarrow_table().column_names), mode="append")

    with pytest.raises(LakeError, match="a file of no queue is in its log"):
        site.log().queue_ids()


def test_a_table_that_takes_no_such_version_is_told(site: Site) -> None:
    """No other export was first: it is the table's own properties."""
    site.delta().alter.set_table_properties({"delta.appendOnly": "true"})

    with pytest.raises(LakeError, match="its properties or protocol, which another program changed, do not allow it"):
        site.export(site.log(), {DAY: [changed(row) for row in ROWS]})

    assert site.scan().collect()["status"].to_list() == ["version 0"] * len(ROWS)


def test_a_table_with_deletion_vectors_is_refused(site: Site) -> None:
    """A file there can have rows that the table has not; one that is replaced would stay as well."""
    log = site.log()
    log.queue(QUEUE)
    site.delta().alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    version = site.delta().version()

    for opened in (log, site.log()):
        with pytest.raises(LakeError, match="another program gave the table features that annolake does not know"):
            opened.queue(QUEUE)

    assert site.delta().version() == version
    assert site.delta().protocol().min_reader_version == 3


def test_files_without_a_log_are_not_trusted(site: Site) -> None:
    """A new log would forget the rows that have left their queue, and a vacuum would take their files."""
    partitions = site.partitions(site.log())
    put(partitions, DAY, [changed(row) for row in ROWS])
    shutil.rmtree(Path(str(site.root / "runs" / "_delta_log")))

    with pytest.raises(LakeError, match="its log, the folder _delta_log, is gone: restore it, or move the table away"):
        site.log().create()
    with pytest.raises(LakeError, match="restore it or move the table away"):
        partitions.finish({})
    (remark,) = DeltaTable(site.log(), now=lambda: NOW).remarks(None)
    assert "is gone" in remark.what
    assert not remark.harmless


def test_a_live_file_that_is_gone_is_told(site: Site) -> None:
    """With what brings the queue back."""
    (path,) = Path(str(site.root)).rglob("part-*.parquet")
    path.unlink()

    with pytest.raises(LakeError, match=f"cannot read {path}: the table's log has it, and it is gone: restore it, or"):
        site.partitions(site.log())

    site.delta().repair()
    site.export(site.log(), {DAY: ROWS})
    assert site.scan().collect().height == len(ROWS)
