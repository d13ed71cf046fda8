"""Bits that flip on the disk: never rewritten with a new checksum, whichever byte of a file they are in."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from annolake.report import QueueReport
from annolake.sandbox import Population, Sandbox
from exporting import ROWS_ALONE, annolake, export_once, one_queue, write_config

COMPRESSIONS = ("none", "lz4", "snappy", "zstd")
FLIPS = 8


def flipped(content: bytes, rng: random.Random, share: float) -> bytes:
    """Return a content with one bit flipped, about so far into it."""
    damaged = bytearray(content)
    damaged[min(int(len(content) * share), len(content) - 1)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


@dataclass(frozen=True)
class Rot:
    """A lake of which a row and the queue's own record have changed at the service, and how it is exported."""

    sandbox: Sandbox
    folder: Path
    settings: dict[str, Any]
    day: str

    def file_of(self, table: str, folder: Path | None = None) -> Path:
        """Return the file that the next export replaces."""
        (queue,) = ((folder or self.folder) / "lake" / table).iterdir()
        (path,) = (queue / self.day if table == "runs" else queue).iterdir()
        return path

    def exported(self, folder: Path, path: Path, content: bytes, endpoint: str = "runs") -> QueueReport:
        """Export into a copy of the lake in which a file has another content."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        (folder / path.relative_to(self.folder)).write_bytes(content)
        return one_queue(export_once(self.sandbox, folder, {**self.settings, "source.endpoint": endpoint}))


@pytest.fixture(scope="module", params=COMPRESSIONS)
def rot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rot]:
    """A lake of one compression, of rows of a few days."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {**ROWS_ALONE, "lake.compression": request.param}
    with Sandbox(Population(rows=30, odd=False, days=4), seed=2) as sandbox:
        export_once(sandbox, folder, settings)
        row = sandbox.queue().rows("active")[7]
        sandbox.queue().edit(row.id, name="renamed")
        sandbox.profile(sandbox.queue_ids[0])["description"] = "changed"
        yield Rot(sandbox, folder, settings, f"added_date={row.members()['added_at'].decode()[1:11]}")


@pytest.mark.parametrize("table", ["runs", "queues"])
def test_a_file_with_a_flipped_bit_is_not_replaced(table: str, rot: Rot, tmp_path: Path) -> None:
    """Headers, pages and footer: exit 5 and one sentence that names the file, which stays byte for byte as it was."""
    rng, path = random.Random(table), rot.file_of(table)
    for number in range(FLIPS):
        damaged = flipped(path.read_bytes(), rng, (number + rng.random()) / FLIPS)
        folder = tmp_path / str(number)
        report = rot.exported(folder, path, damaged, ("runs", "items")[number % 2])
        error = report.error or ""

        assert rot.file_of(table, folder).read_bytes() == damaged, number
        assert (report.exit_code, path.name in error, len(error.splitlines())) == (5, True, 1), number


def test_without_damage_it_is_replaced(rot: Rot, tmp_path: Path) -> None:
    """What holds the file back is the flipped bit."""
    path = rot.file_of("runs")
    report = rot.exported(tmp_path / "sound", path, path.read_bytes())

    assert (report.exit_code, report.updated, report.partitions_written) == (0, 1, 1)


def test_a_flipped_bit_in_what_no_export_reads_is_left_to_verify(rot: Rot, tmp_path: Path) -> None:
    """A file of which no row has changed stays as it is, and `verify` names it."""
    rng, folder = random.Random(1), tmp_path / "copy"
    path = next(path for path in (rot.folder / "lake/runs").rglob("*.parquet") if rot.day not in str(path))
    for number in range(FLIPS):
        damaged = flipped(path.read_bytes(), rng, (number + rng.random()) / FLIPS)
        report = rot.exported(folder, path, damaged)
        kept = folder / path.relative_to(rot.folder)

        assert report.exit_code in {0, 5}
        assert kept.read_bytes() == damaged
    write_config(folder, rot.sandbox, rot.settings)
    verified = annolake("verify", cwd=folder)
    assert verified.exit_code == 5
    assert str(kept.parent) in verified.out


def test_the_command_tells_it_in_one_sentence(rot: Rot, tmp_path: Path) -> None:
    """Exit 5, the file's name, what to do; no traceback."""
    path, folder = rot.file_of("runs"), tmp_path / "copy"
    shutil.copytree(rot.folder, folder)
    (folder / path.relative_to(rot.folder)).write_bytes(flipped(path.read_bytes(), random.Random(1), 0.4))
    write_config(folder, rot.sandbox, rot.settings)
    ran = annolake("run", "--quiet", key=rot.sandbox.api_key, cwd=folder)

    assert ran.exit_code == 5
    assert path.name in ran.err
    assert "restore it or move it away" in ran.err
    assert len(ran.err.splitlines()) == 1
