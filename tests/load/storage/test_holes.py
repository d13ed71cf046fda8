"""A part of a file gives its room back, and nothing but that part."""

from pathlib import Path

import pytest

from annolake.load.storage.holes import punch
from annolake.load.storage.local import LocalFiles


def test_a_part_of_a_file_gives_its_room_back(tmp_path: Path) -> None:
    """It is zeros then, in a file as long as before, whose other bytes stay; both ends may lie within a block."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000_000)
    before = path.stat()

    if not punch(path, 10_001, 900_001):
        pytest.skip("this file system has no holes")

    assert path.read_bytes() == b"x" * 10_001 + b"\0" * 890_000 + b"x" * 99_999
    assert path.stat().st_blocks < before.st_blocks // 4


def test_a_file_that_cannot_give_room_back_is_no_error(tmp_path: Path) -> None:
    """It is removed later in any case."""
    LocalFiles().give_back(tmp_path / "missing", 0, 10)
    LocalFiles().give_back(tmp_path, 0, 10)
