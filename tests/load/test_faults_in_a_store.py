"""Every step of an export into an object store broken once, over a real one; `make test-storage` breaks them all."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

from annolake.errors import LakeError
from annolake.load.audit import verify
from annolake.load.lake import Lake
from annolake.load.storage.files import Gate as AnyGate
from annolake.load.storage.local import straight
from load.faults import AFTER, BEFORE, Gate, Killed
from load.model_queue import QUEUE, export, lake_of, timeless
from object_store import ObjectStore
from rounds import rounds

STRIDE = rounds(31, many=1)


@dataclass
class Broken:
    """Lakes of one format in the store, the one after the other."""

    store: ObjectStore
    scratch: Path
    format: Literal["parquet", "delta"]
    address: str = ""

    def lake(self, gate: AnyGate = straight) -> Lake:
        """Open the lake."""
        return lake_of(self.address, self.store.environ(), scratch=self.scratch, wanted=self.format, gate=gate)

    def begin(self) -> None:
        """Make another lake, of the states before."""
        self.address = self.store.address()
        export(self.lake(), BEFORE)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows, as polars reads them."""
        runs, options = f"{self.address}/runs", dict(self.store.environ())
        if self.format == "delta":
            return pl.scan_delta(runs, storage_options=options).collect().to_dicts()
        options = {name.lower(): value for name, value in options.items()}
        return pl.scan_parquet(f"{runs}/", hive_partitioning=True, storage_options=options).collect().to_dicts()

    def stored(self) -> dict[str, dict[str, Any]]:
        """Return the rows by key, each of which is there once."""
        rows = self.rows()
        assert len({row["queue_run_id"] for row in rows}) == len(rows)
        return {row["queue_run_id"]: row for row in rows}


@pytest.fixture(params=["delta", "parquet"])
def broken(request: pytest.FixtureRequest, object_store: ObjectStore, tmp_path: Path) -> Broken:
    """Give lakes of each format, with a lake of the states before."""
    found = Broken(object_store, tmp_path / "scratch", request.param)
    found.begin()
    return found


@pytest.mark.parametrize("mode", ["before", "after", "kill"])
def test_any_broken_step_is_made_good_by_a_plain_rerun(broken: Broken, mode: str) -> None:
    """Whichever step breaks, no row is ever missing, and the rerun ends as an export without faults."""
    counting = Gate()
    export(broken.lake(counting), AFTER, number=3, budget=1)
    wanted = timeless(broken.stored())

    for step in range(len(mode), len(counting.steps), STRIDE):
        broken.begin()
        with suppress(LakeError, Killed):
            export(broken.lake(Gate(mode, step)), AFTER, number=2, budget=1)
        between = {row["queue_run_id"] for row in broken.rows()}
        broken.lake().unlock(QUEUE)  # else the rerun would wait for the lease's end, a minute
        export(broken.lake(), AFTER, number=3, budget=1)

        assert between >= {row.key for row in BEFORE}, (step, counting.steps[step])
        assert timeless(broken.stored()) == wanted, (step, counting.steps[step])
        assert [remark for remark in verify(broken.lake()) if not remark.harmless] == [], (step, counting.steps[step])
