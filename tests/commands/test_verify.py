"""`annolake verify` on a real lake, sound and damaged."""

import json
import shutil
from pathlib import Path

import pytest

from annolake.sandbox import Population, Sandbox
from exporting import annolake, export_once, write_config
from load.model_queue import folder_of, lake_at
from load.model_tables import Feedback, export


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and a lake of two queues."""
    folder = tmp_path_factory.mktemp("exported")
    with Sandbox(Population(rows=120, queues=2, days=2), seed=2) as sandbox:
        export_once(sandbox, folder)
        write_config(folder, sandbox)
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage; its config names the copy's lake."""
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    config = copy / "annolake.toml"
    config.write_text(config.read_text().replace(str(exported), str(copy)))
    return copy


def test_verify_finds_nothing_in_a_sound_lake(folder: Path) -> None:
    """Exit 0 and no finding."""
    ran = annolake("verify", "--json", cwd=folder)

    assert (ran.exit_code, json.loads(ran.out)) == (0, {"exit_code": 0, "findings": [], "passed_over": []})


def test_verify_finds_a_changed_byte_a_doubled_row_and_litter(folder: Path) -> None:
    """Each is named with its path, and the exit code is 5."""
    damaged, copied, *_ = sorted((folder / "lake/runs").rglob("*.parquet"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3] ^= 1
    damaged.write_bytes(content)
    day = copied.parent.with_name("added_date=2001-01-01")
    shutil.copytree(copied.parent, day)
    (folder / "lake/_annolake/tmp/20010101T000000Z-dead").mkdir()
    ran = annolake("verify", cwd=folder)

    assert ran.exit_code == 5
    assert all(str(path) in ran.out for path in (damaged.parent, day, folder / "lake/_annolake/tmp"))
    assert "Traceback" not in ran.err


def test_verify_reads_every_table(folder: Path) -> None:
    """A damaged file of feedback is found as one of runs is."""
    lake = lake_at(folder / "lake")
    queue_id = lake.queues()[0]
    export(lake, "feedback", [Feedback(number, run=number) for number in range(5)], queue_id=queue_id)
    sound = annolake("verify", cwd=folder)
    path = next(folder_of(lake, "feedback", queue_id=queue_id).glob("*/*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    ran = annolake("verify", cwd=folder)

    assert (sound.exit_code, ran.exit_code) == (0, 5)
    assert str(path) in ran.out


def test_verify_without_a_lake_says_so(folder: Path) -> None:
    """A misspelt path is not a sound lake."""
    shutil.rmtree(folder / "lake")
    ran = annolake("verify", cwd=folder)

    assert ran.exit_code == 5
    assert "no lake" in ran.err


def test_verify_names_a_wrong_count(folder: Path) -> None:
    """A count that is not the footer's is named with its file, and the next export puts it right."""
    counts = next((folder / "lake/_annolake/counts").iterdir())
    kept = json.loads(counts.read_text())
    name = next(iter(kept))
    counts.write_text(json.dumps(kept | {name: [kept[name][0] + 1, 0]}))
    ran = annolake("verify", "--json", cwd=folder)

    (finding,) = json.loads(ran.out)["findings"]
    assert ran.exit_code == 5
    assert finding["path"] == str(counts)
    assert f"wrong about {name}, which has {kept[name][0]} rows" in finding["what"]


@pytest.mark.parametrize("table", ["runs", "feedback", "queues"])
def test_verify_misses_a_table_that_is_gone(folder: Path, table: str) -> None:
    """Each queue's loss is named, and the lake is not said to be intact."""
    shutil.rmtree(folder / "lake" / table)
    ran = annolake("verify", cwd=folder)

    assert ran.exit_code == 5
    assert ran.out.count("gone: restore") == 2
    assert "no problem found" not in ran.out
