"""How a lake is arranged: fixed when it is made, recorded, and found where the record is missing."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from annolake.clock import Clock
from annolake.contract import TABLES
from annolake.errors import ConfigError, LakeError
from annolake.load.audit import verify
from annolake.load.lake import Lake
from annolake.load.place import DeltaSettings, on_disk
from annolake.load.status import status
from annolake.load.table.arrangement import Arrangement
from annolake.load.vacuum import vacuum
from load.model_queue import FIRST_EXPORT, QUEUE, Row, changed, export, rows

NOW = FIRST_EXPORT + timedelta(days=1)
LONG_AGO = -40 * 86400  # seconds; also the number of an export of that time


def lake_of(root: Path, wanted: Arrangement | None = None, *, keep_s: int = 604800, committed: int = 0) -> Lake:
    """Return a lake in a folder, as settings want it; commits are dated `committed`, the vacuum by the system."""
    clock = Clock(now=lambda: FIRST_EXPORT + timedelta(seconds=committed))
    place = replace(on_disk(root, wanted=wanted), delta=DeltaSettings(keep_s, clock))
    return Lake(place, tables=TABLES, hash_version=1)


def test_a_new_lake_on_a_disk_is_of_plain_files(tmp_path: Path) -> None:
    """It is recorded, and another format is refused from then on."""
    export(lake_of(tmp_path), rows(3))

    assert (tmp_path / "_annolake" / "lake.json").read_text() == '{"format":"parquet","layout":1}\n'
    with pytest.raises(ConfigError, match=f'lake.format: the lake {tmp_path} is "parquet", not "delta", and stays so'):
        export(lake_of(tmp_path, "delta"), rows(3), number=2)


@pytest.mark.parametrize("record", [True, False])
def test_a_delta_lake_stays_one_without_the_setting(tmp_path: Path, *, record: bool) -> None:
    """Its record says so; where somebody removed that, the tables' log does."""
    export(lake_of(tmp_path, "delta"), rows(3))
    if not record:
        (tmp_path / "_annolake" / "lake.json").unlink()

    export(lake_of(tmp_path), [changed(row) for row in rows(3)], number=2)

    assert lake_of(tmp_path).arrangement == "delta"
    assert (tmp_path / "_annolake" / "lake.json").read_text() == '{"format":"delta","layout":1}\n'
    assert len(list((tmp_path / "runs" / "_delta_log").glob("*.json"))) == 3
    with pytest.raises(ConfigError, match='is "delta", not "parquet"'):
        lake_of(tmp_path, "parquet").prepare()


def test_a_lake_of_before_there_was_a_record_is_of_plain_files(tmp_path: Path) -> None:
    """Its files tell; the next export records it."""
    export(lake_of(tmp_path), rows(3))
    (tmp_path / "_annolake" / "lake.json").unlink()

    with pytest.raises(ConfigError, match='is "parquet", not "delta"'):
        lake_of(tmp_path, "delta").prepare()
    export(lake_of(tmp_path), rows(3), number=2)

    assert (tmp_path / "_annolake" / "lake.json").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "it is no record of a lake"), ('{"format":"delta","layout":2}', "a newer annolake made this lake; upgrade")],
)
def test_a_record_that_cannot_be_trusted_is_told(tmp_path: Path, text: str, reason: str) -> None:
    """Nothing is guessed."""
    (tmp_path / "_annolake").mkdir()
    (tmp_path / "_annolake" / "lake.json").write_text(text)

    with pytest.raises(LakeError, match=reason):
        lake_of(tmp_path).prepare()


def test_what_writes_delta_tables_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "deltalake", None)

    with pytest.raises(ConfigError, match=r'lake.format: .* pip install "annolake\[delta\]"'):
        lake_of(tmp_path, "delta").prepare()


def test_status_and_verify_read_a_delta_lake(tmp_path: Path) -> None:
    """The figures are those of plain files; strangers are mentioned, and a missing file is found."""
    for folder, wanted in ((tmp_path / "plain", "parquet"), (tmp_path / "delta", "delta")):
        lake = lake_of(folder, wanted)  # type: ignore[arg-type]
        export(lake, rows(40))
        export(lake, rows(30), number=2)
    plain, delta = (status(lake_of(tmp_path / name), now=NOW).queues[0].held for name in ("plain", "delta"))
    lake = lake_of(tmp_path / "delta")
    (path,) = lake.table("runs").paths(QUEUE, lake.table("runs").days(QUEUE)[0])
    queue_folder = Path(str(path)).parents[1]
    (tmp_path / "delta" / "runs" / "_SUCCESS").touch()
    (queue_folder / "notes.txt").touch()
    Path(str(path)).with_name(".DS_Store").touch()

    remarks = list(verify(lake))

    assert plain is not None
    assert delta is not None
    assert (delta.rows, delta.removed, delta.partitions, delta.newest) == (40, 10, plain.partitions, plain.newest)
    assert {remark.path.name for remark in remarks} == {"_SUCCESS", "notes.txt", ".DS_Store"}
    assert all(remark.harmless for remark in remarks)
    gone = lake.table("runs").paths(QUEUE, lake.table("runs").days(QUEUE)[1])[0]
    Path(str(gone)).unlink()
    assert [what for _, what, harmless in verify(lake) if not harmless] == [
        f"cannot read {gone}: there is no such file or folder"
    ]


def files_of(root: Path) -> set[str]:
    """Return the names of all data files of a lake's tables."""
    return {path.name for path in root.glob("*/queue_id=*/**/*.parquet")}


def test_old_files_leave_once_a_day_at_the_end_of_an_export(tmp_path: Path) -> None:
    """Not before they were kept long enough, and not twice a day."""
    lake = lake_of(tmp_path, "delta", committed=LONG_AGO)
    export(lake, [Row(1, FIRST_EXPORT)], number=LONG_AGO)
    export(lake, [Row(1, FIRST_EXPORT, 1)], number=LONG_AGO + 1)
    days = timedelta(days=1)

    with lake.workspace("export", since=NOW) as workspace:
        before = len(files_of(tmp_path))
        first = vacuum(lake, workspace, now=NOW)
        left = len(files_of(tmp_path))
    export(lake, [Row(1, FIRST_EXPORT, 2)], number=LONG_AGO + 2)
    with lake.workspace("export", since=NOW) as workspace:
        soon = vacuum(lake, workspace, now=NOW + days - timedelta(seconds=1))
        later = vacuum(lake, workspace, now=NOW + days)

    assert (before, first, left) == (2, 1, 1)
    assert (soon, later) == (0, 1)
    assert list(verify(lake)) == []


def test_plain_files_leave_nothing_to_a_vacuum(tmp_path: Path) -> None:
    """Nothing is looked for, and no mark is left."""
    lake = lake_of(tmp_path)
    export(lake, rows(3))

    with lake.workspace("export", since=NOW) as workspace:
        assert vacuum(lake, workspace, now=NOW) == 0

    assert not (tmp_path / "_annolake" / "vacuum.json").exists()


def test_an_upload_of_a_running_export_is_no_litter(tmp_path: Path) -> None:
    """With no time to keep old files: while another queue is exported, what no log has yet stays."""
    lake = lake_of(tmp_path, "delta", keep_s=0, committed=LONG_AGO)
    export(lake, rows(3), number=LONG_AGO)
    stray = next(path for path in tmp_path.glob("runs/queue_id=*/*/*.parquet")).with_name("part-abc.parquet")
    stray.write_bytes(b"")

    with lake.workspace("export", since=NOW) as workspace:
        with lake.lock("another", since=NOW):
            assert vacuum(lake, workspace, now=NOW) == 0
        assert stray.exists()
        assert vacuum(lake, workspace, now=NOW) == 1

    assert not stray.exists()
