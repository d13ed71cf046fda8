"""Two folders exchange their names at once."""

from pathlib import Path

import pytest

from annolake.load.storage.exchange import exchange


def test_exchange_swaps_two_folders_at_once(tmp_path: Path) -> None:
    """Both names stay, each with what the other had."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).touch()

    if not exchange(one, other):
        pytest.skip("this file system cannot exchange names")

    assert [path.name for path in (*one.iterdir(), *other.iterdir())] == ["other", "one"]


def test_exchange_of_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """Nothing is taken for done that was not."""
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "other")
