"""Every step of the store broken once, and disks that are full, read-only or full of surprises."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from annolake.errors import LakeError
from annolake.load.audit import verify
from annolake.load.merge.decide import Counts
from load.faults import AFTER, BEFORE, Gate, Killed
from load.kinds import KINDS, Arrangement, bury, copy_lake
from load.model_queue import QUEUE, export, keys_with_polars, lake_at, stored, timeless
from rounds import rounds

STRIDES = {"exchange": 3, "in-then-out": 8, "disk-delta": 12, "s3-delta": 40, "s3-parquet": 40}
"""By how partitions are replaced: every how many-th step is broken. `make test-storage` breaks each."""


@pytest.fixture(scope="module", params=STRIDES)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have partitions replaced in each of the ways there are."""
    kind = request.param if request.param in KINDS else "disk-parquet"
    Arrangement.set(kind, lambda: request.getfixturevalue("object_store"))
    yield request.param
    Arrangement.set("disk-parquet", lambda: request.getfixturevalue("object_store"))


@pytest.fixture(scope="module")
def lake_before(way: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake that the states before were exported to."""
    root = tmp_path_factory.mktemp(way) / "before"
    export(lake_at(root), BEFORE)
    return root


@pytest.fixture(scope="module")
def rows_after(lake_before: Path) -> dict[str, dict[str, Any]]:
    """Return what one clean export of the states after makes of that lake."""
    root = lake_before.with_name("after")
    copy_lake(lake_before, root)
    export(lake_at(root), AFTER, number=3, budget=1)
    return stored(lake_at(root))


@pytest.fixture(scope="module")
def steps(lake_before: Path, way: str) -> int:
    """Return how many steps the clean export takes."""
    root, gate = lake_before.with_name("count"), Gate()
    copy_lake(lake_before, root)
    export(lake_at(root, gate=gate, exchanges=way == "exchange"), AFTER, number=3, budget=1)
    return len(gate.steps)


@pytest.mark.parametrize("mode", ["before", "after", "kill"])
def test_any_broken_step_is_made_good_by_a_plain_rerun(
    lake_before: Path, rows_after: dict[str, dict[str, Any]], steps: int, mode: str, way: str
) -> None:
    """Whichever step breaks, no row is ever missing, and the rerun ends as an export without faults.

    A step that breaks "after" is, in an object store, one whose answer was lost.
    """
    few = STRIDES[way]
    first = ["before", "after", "kill"].index(mode) * few // 3  # so that each mode breaks steps of its own
    for step in range(rounds(first, many=0), steps, rounds(few, many=1)):
        root = lake_before.with_name(f"{mode}-{step}")
        copy_lake(lake_before, root)

        with suppress(LakeError, Killed):
            lake = lake_at(root, gate=Gate(mode, step), exchanges=way == "exchange")
            export(lake, AFTER, number=2, budget=1)
        between = set(keys_with_polars(lake_at(root)))
        lost = [what for _, what, _ in verify(lake_at(root)) if "gone" in what]
        bury(lake_at(root), QUEUE)
        export(lake_at(root), AFTER, number=3, budget=1)

        assert between >= {row.key for row in BEFORE}, step
        assert lost == [], step
        assert timeless(stored(lake_at(root))) == timeless(rows_after), step
        assert not lake_at(root).litter(), step
        assert [remark for remark in verify(lake_at(root)) if not remark.harmless] == [], step
        shutil.rmtree(root)


def test_an_error_after_the_swap_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a call reports an error though it was done, the export looks, and goes on."""
    monkeypatch.setattr(Arrangement, "current", "parquet")
    monkeypatch.setattr(Arrangement, "store", None)
    root = tmp_path / "reported"
    export(lake_at(root), BEFORE)
    broken: list[str] = []

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        done = call()
        if verb in {"write", "replace"} and path.name.startswith("added_date="):
            broken.append(path.name.removeprefix("added_date="))
            raise OSError(errno.EIO, "after the deed", str(path))
        return done

    done = export(lake_at(root, gate=gate), AFTER, number=2)

    assert done.counts == Counts(inserted=1, updated=3, removed=1)
    assert len(stored(lake_at(root))) == len(BEFORE) + 1
    assert len(broken) == 3  # a new partition, a changed one, and one that was emptied
