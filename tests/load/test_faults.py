"""Every step of the store broken once, and disks that are full, read-only or full of surprises."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from annolake.errors import LakeError
from annolake.load.merge.decide import Counts
from annolake.load.storage.local import LocalFiles
from load.faults import Gate, Killed
from load.model_queue import START, Arrangement, Row, changed, export, keys_with_polars, lake_at, stored, timeless

DAY = timedelta(days=1)
BEFORE = [Row(0, START), Row(1, START), Row(2, START + DAY), Row(3, START)]
AFTER = [
    changed(BEFORE[0]),  # stays in its partition, which Row 1 leaves for a new one, with Row 4
    changed(BEFORE[1], added_at=START + 2 * DAY),
    changed(BEFORE[2], added_at=START),  # empties its partition
    Row(4, START + 2 * DAY),  # new; Row 3 is gone
]


@pytest.fixture(scope="module", params=["exchange", "in-then-out", "delta"])
def exchanges(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Have partitions replaced in each of the ways there are; tell whether folders can be exchanged."""
    Arrangement.current = "delta" if request.param == "delta" else "parquet"
    yield request.param == "exchange"
    Arrangement.current = "parquet"


@pytest.fixture(scope="module")
def lake_before(exchanges: bool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake that the states before were exported to, arranged as `exchanges` has it."""
    del exchanges
    root = tmp_path_factory.mktemp("lakes") / "before"
    export(lake_at(root), BEFORE)
    return root


@pytest.fixture(scope="module")
def rows_after(lake_before: Path) -> dict[str, dict[str, Any]]:
    """Return what one clean export of the states after makes of that lake."""
    root = lake_before.with_name("after")
    shutil.copytree(lake_before, root)
    export(lake_at(root), AFTER, number=3, budget=1)
    return stored(lake_at(root))


def count_steps(lake_before: Path, *, exchanges: bool) -> int:
    """Return how many steps the clean export takes."""
    root, gate = lake_before.with_name("count"), Gate()
    shutil.copytree(lake_before, root)
    export(lake_at(root, files=LocalFiles(gate, exchanges=exchanges)), AFTER, number=3, budget=1)
    shutil.rmtree(root)
    return len(gate.steps)


@pytest.mark.parametrize("mode", ["before", "after", "kill"])
def test_any_broken_step_is_made_good_by_a_plain_rerun(
    lake_before: Path, rows_after: dict[str, dict[str, Any]], mode: str, *, exchanges: bool
) -> None:
    """Whichever step breaks, no row is ever missing, and the rerun ends as an export without faults."""
    steps = count_steps(lake_before, exchanges=exchanges)
    stride = 6 if Arrangement.current == "delta" else 1 if exchanges and mode == "kill" else 2  # half a kill
    for step in range(0, steps, stride):
        root = lake_before.with_name("broken")
        shutil.copytree(lake_before, root)

        with suppress(LakeError, Killed):
            files = LocalFiles(Gate(mode, step), exchanges=exchanges)
            export(lake_at(root, files=files), AFTER, number=2, budget=1)
        between = set(keys_with_polars(lake_at(root)))
        export(lake_at(root), AFTER, number=3, budget=1)

        assert between >= {row.key for row in BEFORE}, step
        assert timeless(stored(lake_at(root))) == timeless(rows_after), step
        assert not list((root / "_annolake" / "tmp").iterdir()), step
        shutil.rmtree(root)


def test_an_error_after_the_swap_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a call reports an error though it was done, the export looks, and goes on."""
    monkeypatch.setattr(Arrangement, "current", "parquet")
    root = tmp_path / "reported"
    export(lake_at(root), BEFORE)
    broken: list[str] = []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        done = call()
        if verb in {"write", "replace"} and path.name.startswith("added_date="):
            broken.append(path.name.removeprefix("added_date="))
            raise OSError(errno.EIO, "after the deed", str(path))
        return done

    done = export(lake_at(root, files=LocalFiles(gate)), AFTER, number=2)

    assert done.counts == Counts(inserted=1, updated=3, removed=1)
    assert len(stored(lake_at(root))) == len(BEFORE) + 1
    assert len(broken) == 3  # a new partition, a changed one, and one that was emptied
