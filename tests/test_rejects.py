"""Rows that the contract cannot hold: set aside with their reasons, told once, taken back when they are mended."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from annolake.config import Config, load_config
from annolake.interruption import Interruption
from annolake.load.lake import Lake
from annolake.load.storage.scratch import Workspace
from annolake.pipeline import export
from annolake.rejects import RejectKeeper
from annolake.sandbox import Population, Queue, Rules, Sandbox
from annolake.sandbox.answers import Answer, Asked
from annolake.transform.row_batch import DecodedRow, Reject, RowBatch
from exporting import KEY_VARIABLE, export_once, export_rows, files_of, one_queue, with_polars, write_config
from hostile import Hostile, Wire
from load.faults import Gate, Killed
from load.model_queue import FIRST_EXPORT, QUEUE, lake_at


def broken_texts(text: bytes) -> list[bytes]:
    """Return seven ways in which a row can break the contract; the first six leave its id readable."""
    row: dict[str, Any] = json.loads(text)

    def but(**fields: Any) -> bytes:
        return json.dumps({**row, **fields}).encode()

    return [
        but(name="\ud800"),
        but(total_tokens=2**69),
        but(total_cost="0.0000000000000000001"),
        but(start_time="last week"),
        json.dumps({name: value for name, value in row.items() if name != "trace_id"}).encode(),
        but(prompt_token_details={"cache_read": "many"}),
        b'"a row that is no object"',
    ]


def plant(queue: Queue) -> list[str]:
    """Break seven rows among a queue's active ones and return their ids."""
    rows = queue.rows("active")[10:80:10]
    for place, row in enumerate(rows):
        queue.set_text(row.id, broken_texts(row.text)[place])
    return [row.id for row in rows]


def rejects_in(lake: Path) -> list[dict[str, Any]]:
    """Return the rejects that the lake keeps."""
    paths = sorted((lake / "_annolake/rejected").rglob("*.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_seven_broken_rows_among_400(tmp_path: Path) -> None:
    """Seven rejects with path and reason, 393 rows in the lake, exit 3; known ones don't turn a run red again."""
    with Sandbox(Population(rows=400, odd=False, days=2), seed=8) as sandbox:
        plant(sandbox.queue())
        first = one_queue(export_once(sandbox, tmp_path))
        before = files_of(tmp_path / "lake")
        kept = rejects_in(tmp_path / "lake")
        second = one_queue(export_once(sandbox, tmp_path))

    assert (first.status, first.exit_code, first.rejected, first.rejected_new) == ("partial", 3, 7, 7)
    assert (first.complete, first.inserted) == (True, 393)
    assert len(with_polars(tmp_path / "lake")) == 393
    assert {(reject["path"], reject["reason"] != "") for reject in kept} == {
        *(("$.name", True), ("$.total_tokens", True), ("$.total_cost", True), ("$.start_time", True)),
        *(("$.trace_id", True), ("$.prompt_token_details[...]", True), ("$", True)),
    }
    assert (second.status, second.exit_code, second.rejected, second.rejected_new) == ("ok", 0, 7, 0)
    assert rejects_in(tmp_path / "lake") == kept
    assert files_of(tmp_path / "lake") == before


@pytest.mark.parametrize("places", [(20, 200), (5, 60, 120, 180, 250), tuple(range(82, 94))])
def test_rows_that_are_unreadable_alike(places: tuple[int, ...], tmp_path: Path) -> None:
    """Several rows of the same unreadable text are no sign of movement: the queue is shown complete."""
    with Sandbox(Population(rows=400, odd=False, days=2), seed=8) as sandbox:
        rows = sandbox.queue().rows("active")
        for place in places:
            sandbox.queue().set_text(rows[place].id, b"null")
        first, second = (one_queue(export_once(sandbox, tmp_path)) for _ in range(2))

    assert (first.exit_code, first.complete, second.exit_code, second.complete) == (3, True, 0, True)
    assert len(with_polars(tmp_path / "lake")) == 400 - len(places)


def test_a_mended_row_loses_its_reject(tmp_path: Path) -> None:
    """Once the service sends it right, the row is in the lake and its reject is gone."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=8) as sandbox:
        queue = sandbox.queue()
        row = queue.rows("active")[4]
        queue.set_text(row.id, broken_texts(row.text)[1])
        export_once(sandbox, tmp_path)
        queue.set_text(row.id, row.text)
        report = one_queue(export_once(sandbox, tmp_path))

    assert (report.exit_code, report.inserted, report.rejected) == (0, 1, 0)
    assert rejects_in(tmp_path / "lake") == []


def test_a_row_that_breaks_later_keeps_its_last_good_version(tmp_path: Path) -> None:
    """It is neither removed nor overwritten: the service has it, only not in a form the table can hold."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=8) as sandbox:
        export_once(sandbox, tmp_path)
        row = sandbox.queue().rows("active")[4]
        sandbox.queue().set_text(row.id, broken_texts(row.text)[0])
        report = one_queue(export_once(sandbox, tmp_path))

    assert (report.exit_code, report.removed, report.rejected_new) == (3, 0, 1)
    assert with_polars(tmp_path / "lake")[row.id]["removed_at"] is None


def test_nothing_is_marked_removed_while_a_rejects_id_is_unreadable(tmp_path: Path) -> None:
    """A row that is missed might be the one that could not be read."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=8) as sandbox:
        export_once(sandbox, tmp_path)
        queue = sandbox.queue()
        one, other = queue.rows("active")[3:5]
        queue.set_text(one.id, b"7")
        queue.delete(other.id)
        report = one_queue(export_once(sandbox, tmp_path))

    assert (report.rejected_new, report.removed) == (1, 0)


@pytest.mark.parametrize("queue_run_id", ["a/b", "../../x", "row 7", "0123456789abcdef0123456789abcdef"])
def test_a_reject_of_an_odd_id_is_taken_back(queue_run_id: str, tmp_path: Path) -> None:
    """Whatever the id of a row is, its reject goes when the row is accepted in a later export."""
    with Sandbox(Population(rows=30, odd=False, days=2), seed=8) as sandbox:
        row = sandbox.queue().rows("active")[5]
        mended = {**json.loads(row.text), "queue_run_id": queue_run_id}
        sandbox.queue().set_text(row.id, json.dumps({**mended, "total_tokens": 2**69}).encode())
        first = one_queue(export_once(sandbox, tmp_path))
        sandbox.queue().set_text(row.id, json.dumps(mended).encode())
        second = one_queue(export_once(sandbox, tmp_path))

    assert (first.rejected_new, second.rejected, second.inserted) == (1, 0, 1)
    assert rejects_in(tmp_path / "lake") == []


# --- what a failed export leaves


def test_a_service_that_dies_leaves_new_rejects_new(tmp_path: Path) -> None:
    """The export that met them failed: the next one reports them as new, with exit code 3, the one after as known."""
    dead = False

    def behave(_wire: Wire, asked: Asked, answer: Answer) -> Answer:
        nonlocal dead
        offset = int(asked.query.get("offset", ["0"])[0])
        if asked.path.endswith("/runs") and (dead := dead or offset >= 150):
            return replace(answer, status=403, body=b"{}")
        return answer

    sandbox = Sandbox(Population(rows=400, odd=False, days=2), seed=8)
    plant(sandbox.queue())
    settings = {"source.page_size": 50, "source.concurrency": 1}
    with Hostile(sandbox, behave) as service:
        failed = one_queue(export_once(service, tmp_path, settings))
    left = rejects_in(tmp_path / "lake")
    with Hostile(sandbox) as service:
        good, later = (one_queue(export_once(service, tmp_path, settings)) for _ in range(2))

    assert (failed.status, failed.exit_code) == ("failed", 4)
    assert failed.rows_seen > 0, "pages with rejects were taken"
    assert left == []
    assert (good.exit_code, good.rejected, good.rejected_new) == (3, 7, 7)
    assert (later.exit_code, later.rejected, later.rejected_new) == (0, 7, 0)


def lake_with(monkeypatch: pytest.MonkeyPatch, gate: Callable[[str, Path, Callable[[], Any]], Any]) -> None:
    """Have exports touch their lake through a gate."""

    def open_lake(config: Config, *_: object) -> Lake:
        return lake_at(Path(config.lake.path), gate=gate)

    monkeypatch.setattr("annolake.pipeline.open_lake", open_lake)


@pytest.mark.parametrize("table", ["runs", "queues"])
def test_a_disk_that_fills_up_leaves_new_rejects_new(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows or the queue's record could not be published, so nothing is known of what was met."""

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "write" and path.is_relative_to(tmp_path / "lake" / table):
            raise OSError(ENOSPC, "full", str(path))
        return call()

    with Sandbox(Population(rows=100, odd=False, days=2), seed=8) as sandbox:
        plant(sandbox.queue())
        with monkeypatch.context() as patched:
            lake_with(patched, gate)
            failed = one_queue(export_once(sandbox, tmp_path))
        left = rejects_in(tmp_path / "lake")
        good = one_queue(export_once(sandbox, tmp_path))

    assert (failed.status, failed.exit_code, left) == ("failed", 5, [])
    assert (good.exit_code, good.rejected, good.rejected_new) == (3, 6, 6)


def test_a_killed_export_leaves_new_rejects_new_and_mended_ones_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its rows are published nothing changes among the rejects; a good export afterwards makes up for it."""
    with Sandbox(Population(rows=100, odd=False, days=2), seed=8) as sandbox:
        queue = sandbox.queue()
        mended, broken = queue.rows("active")[4:6]
        queue.set_text(mended.id, broken_texts(mended.text)[1])
        lake = tmp_path / "lake"
        export_once(sandbox, tmp_path)
        before = rejects_in(lake)
        queue.set_text(mended.id, mended.text)
        queue.set_text(broken.id, broken_texts(broken.text)[0])

        def gate(verb: str, _path: Path, call: Callable[[], Any]) -> Any:
            if verb == "replace":  # the first partition is about to be exchanged
                raise Killed
            return call()

        with monkeypatch.context() as patched, suppress(Killed):
            lake_with(patched, gate)
            export_once(sandbox, tmp_path)
        left = rejects_in(lake)
        good = one_queue(export_once(sandbox, tmp_path))

    assert left == before
    assert (good.exit_code, good.rejected, good.rejected_new) == (3, 1, 1)
    (after,) = rejects_in(lake)
    assert (after["path"], next(iter(after))) == ("$.name", "table")


def test_an_interrupted_export_leaves_new_rejects_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes between two partitions ends the export before anything is known."""
    interruption = Interruption()

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "write" and path.is_relative_to(tmp_path / "lake" / "runs"):
            interruption.interrupt(15)
        return call()

    with Sandbox(Population(rows=100, odd=False, days=9), seed=8) as sandbox:
        plant(sandbox.queue())
        environ = {KEY_VARIABLE: sandbox.api_key}
        config = load_config(write_config(tmp_path, sandbox), environ, {})
        with monkeypatch.context() as patched:
            lake_with(patched, gate)
            interrupted = one_queue(export(config, environ, interruption=interruption))
        left = rejects_in(tmp_path / "lake")
        good = one_queue(export_once(sandbox, tmp_path))

    assert (interrupted.status, interrupted.exit_code, left) == ("failed", 143, [])
    assert 0 < interrupted.inserted < 94
    assert (good.exit_code, good.rejected_new) == (3, 6)


def test_any_kill_reports_a_reject_once_at_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever step a kill meets: what no report has told is new for the next export, which tells it."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=8) as sandbox:
        plant(sandbox.queue())
        gate = Gate()
        with monkeypatch.context() as patched:
            lake_with(patched, gate)
            export_rows(sandbox, tmp_path)
        rejects, outcomes = len(rejects_in(tmp_path / "lake")), set()
        for step in sorted({*range(20, len(gate.steps), 9), *range(len(gate.steps) - 16, len(gate.steps))}):
            folder = tmp_path / f"step-{step}"
            folder.mkdir()
            with monkeypatch.context() as patched, suppress(Killed):
                lake_with(patched, Gate("kill", step))
                export_rows(sandbox, folder)
            known = len(rejects_in(folder / "lake"))
            published = len(with_polars(folder / "lake")) == 60 - rejects if known else False
            reports = (folder / "lake/_annolake/reports").glob("*.json")
            reported = [queue for path in reports for queue in json.loads(path.read_text())["queues"]]
            told = any(queue["status"] == "partial" for queue in reported)
            good = one_queue(export_rows(sandbox, folder))
            again = one_queue(export_rows(sandbox, folder))

            assert not known or published, step
            assert (good.rejected, good.rejected_new) == (rejects, 0 if told else rejects), step
            assert (again.rejected, again.rejected_new, again.rejects_known) == (rejects, 0, rejects), step
            outcomes.add((known > 0, told))

    assert outcomes == {(False, False), (True, False), (True, True)}


def test_what_was_rejected_over_the_retired_endpoint_is_forgotten(tmp_path: Path) -> None:
    """An export that goes on over items reports what it met there alone."""
    rules = Rules(retire_runs_after=4)
    with Sandbox(Population(rows=400, odd=False, days=2), seed=8, rules=rules) as sandbox:
        row = sandbox.queue().rows("active")[5]
        text = {name: value for name, value in json.loads(row.text).items() if name != "trace_id"}
        sandbox.queue().set_text(row.id, json.dumps(text).encode())  # of which the items endpoint has no need
        settings = {"source.page_size": 50, "source.concurrency": 1}
        report = one_queue(export_once(sandbox, tmp_path, settings))

    assert (report.endpoint, report.exit_code, report.rejected_new) == ("items", 0, 0)
    assert rejects_in(tmp_path / "lake") == []


# --- what is new within one export

ID = "00000000-0000-4000-8000-000000000001"


def rejected(reason: str = "why") -> RowBatch:
    """Return a batch in which the row is rejected."""
    return RowBatch(rejects=[Reject(bytes.fromhex(ID.replace("-", "")), ID, "$.name", reason, "{}")])


def accepted() -> RowBatch:
    """Return a batch in which the row fits."""
    return RowBatch(rows=[DecodedRow(bytes.fromhex(ID.replace("-", "")), None, b"", None, archived=False)])


def keeper(lake: Lake, workspace: Workspace) -> RejectKeeper:
    """Return the keeper of another export."""
    return RejectKeeper(lake.rejects(QUEUE, workspace), QUEUE, FIRST_EXPORT, export_id="this one", tells=lambda _: True)


@pytest.mark.parametrize(
    ("known", "met", "new", "left"),
    [
        (False, [rejected(), rejected()], 1, 1),
        (False, [rejected(), accepted()], 0, 0),
        (False, [rejected(), accepted(), rejected("another")], 1, 1),
        (True, [rejected()], 0, 1),
        (True, [rejected("another")], 0, 1),
        (True, [accepted()], 0, 0),
        (True, [accepted(), rejected()], 0, 1),
        (True, [rejected("another"), accepted()], 0, 0),
        (True, [], 0, 1),
    ],
)
def test_each_reject_counts_once(known: bool, met: list[RowBatch], new: int, left: int, tmp_path: Path) -> None:
    """However often a row is met in an export, the last time decides; new is what the lake did not know."""
    lake = lake_at(tmp_path)
    lake.prepare()
    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        if known:
            earlier = keeper(lake, workspace)
            earlier.see(rejected())
            earlier.commit()
        rejects = keeper(lake, workspace)
        for batch in met:
            rejects.see(batch)
        before = lake.rejects_known(QUEUE)
        rejects.commit()

    assert (rejects.new, before, lake.rejects_known(QUEUE)) == (new, int(known), left)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"path": 1}'])
def test_a_known_reject_that_cannot_be_read_is_written_again(text: str, tmp_path: Path) -> None:
    """After a power cut, for example. Where nothing can be read it counts as new; a fact that is missing is made up."""
    lake = lake_at(tmp_path)
    lake.prepare()
    path = tmp_path / "_annolake" / "rejected" / f"queue_id={QUEUE}" / f"{ID}.json"
    path.parent.mkdir()
    path.write_text(text)
    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        rejects = keeper(lake, workspace)
        rejects.see(rejected())
        rejects.commit()

    assert rejects.new == (0 if "path" in text else 1)
    assert json.loads(path.read_text())["first_seen"] == FIRST_EXPORT.isoformat().replace("+00:00", "Z")
