"""`annolake erase`: what it takes out of a lake of any kind is nowhere in it, and no export brings it back."""

import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

from annolake.clock import Clock
from annolake.config import load_config
from annolake.sandbox import Population, Sandbox
from annolake.wiring import open_lake
from exporting import Ran, annolake, write_config
from kept import KINDS, Kept, everything_in, lakes_of
from object_store import ObjectStore


def data_files(kept: Kept) -> int:
    """Return how many data files lie in a lake, of whatever version."""
    return sum(name.endswith(".parquet") and "_delta_log" not in name for name in kept.files())


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A queue of which a run is rejected, one has feedback, and a thread has turns."""
    with Sandbox(Population(rows=36, threads=4, days=2), seed=9) as sandbox:
        queue = sandbox.queue()
        row = queue.rows("active")[0]
        queue.set_text(row.id, json.dumps({**json.loads(row.text), "name": 7}).encode())
        yield sandbox


def erase_by_id(kept: Kept, sandbox: Sandbox, *, thorough: bool) -> None:
    """A run with its feedback, a thread with its turns and feedback, a rejected row: told by three kinds of ids.

    What exports read does not depend on where the lake is: not all of it is tried for each kind.
    """
    queue = sandbox.queue()
    broken = json.loads(queue.rows("active")[0].text)
    runs, feedback, turns = (kept.table(name) for name in ("runs", "feedback", "turns"))
    with_feedback = runs.filter(pl.col("id").is_in(feedback["run_id"].implode()))
    run, row = with_feedback.select("id", "queue_run_id").row(0)
    threads = runs.filter(pl.col("queue_run_id").is_in(turns["queue_run_id"].implode()))
    item, thread = (
        threads.filter(pl.col("thread_id").is_in(feedback["thread_id"].implode()))
        .select("queue_run_id", "thread_id")
        .row(0)
    )
    gone = [run, row, item, broken["queue_run_id"], broken["id"]]
    assert {thread, broken["id"]} <= {*feedback["thread_id"], *feedback["run_id"]}

    asked = ["--run", row.upper(), "--run", item, "--run", broken["queue_run_id"], "--yes"]
    erased = kept.ran("erase", *asked)
    assert erased.exit_code == 0, erased.err
    assert "1 reject erased" in erased.out
    assert ("readers of older versions" in erased.out) is (kept.format == "delta")
    assert [each for each in gone if each in everything_in(kept)] == []
    assert kept.table("runs").height == runs.height - 2
    assert thread not in kept.table("feedback")["thread_id"].to_list()
    assert kept.ran("verify").exit_code == 0
    dates = {"runs": "added_date", "feedback": "created_date", "turns": "added_date", "queues": "queue_id"}
    assert data_files(kept) == sum(kept.table(name)[date].n_unique() for name, date in dates.items())

    before = kept.files()
    queue.review(row)
    full = kept.exported()
    again, new = (kept.exported(), kept.exported("--new-only")) if thorough else (full, full)
    for report in (full, again, new):
        counts = [report[name] for name in ("exit_code", "inserted", "updated", "removed", "rejected", "complete")]
        assert counts == [0, 0, 0, 0, 0, True]
        assert report["feedback"]["inserted"] + report["turns"]["inserted"] == 0
    assert [each for each in gone if each in everything_in(kept)] == []
    assert (full["erased"], again["erased"], again["runs_asked"]) == (3, 3, 0)
    assert new["mode"] == ("new" if thorough else "full")
    assert full["rows_seen"] == full["unchanged"] + full["erased"]
    assert {name for name, there in kept.files().items() if before.get(name) != there if "/part-" in name} == set()


def erase_by_age(kept: Kept) -> None:
    """The older half, with what belongs to it and to no younger row."""
    left = kept.table("runs")
    middle = left["added_at"].drop_nulls().sort()[left.height // 2]
    seconds = (Clock().now() - middle).total_seconds()
    old = kept.ran("erase", "--older-than", f"{seconds:.0f}s", "--yes", "--json")
    assert json.loads(old.out)["queues"][0]["rows_gone"] > 10
    younger = kept.table("runs")
    assert 5 < younger.height < left.height - 5
    assert younger["added_at"].min() > left["added_at"].min()  # type: ignore[operator]
    assert set(kept.table("feedback")["run_id"].drop_nulls()) <= set(younger["id"])
    assert set(kept.table("turns")["queue_run_id"]) <= set(younger["queue_run_id"])
    after = kept.exported()
    assert [after[name] for name in ("exit_code", "inserted", "removed", "complete")] == [0, 0, 0, True]
    assert after["erased"] >= left.height - younger.height
    assert kept.table("runs").equals(younger)
    assert kept.ran("verify").exit_code == 0


def erase_the_queue(kept: Kept, sandbox: Sandbox) -> None:
    """Rows, record, rejects, proofs, counts and reports: its id is left in locks and in Delta's logs alone."""
    name, queue_id = sandbox.profile()["name"], sandbox.queue().id
    assert name in everything_in(kept)
    whole = kept.ran("erase", "--queue", name, "--yes")
    assert whole.exit_code == 0, whole.err
    assert data_files(kept) == 0
    assert name not in everything_in(kept)
    assert {file.split("/")[1] for file in kept.files() if queue_id in file} == {"locks"}
    skipped = kept.ran("run", "--json", "--quiet")
    (entry,) = skipped.report["queues"]
    assert (entry["exit_code"], entry["complete"], entry["rows_seen"], entry["requests"]) == (0, True, 0, 0)
    assert "event=queue_erased" in skipped.err
    assert "it was erased from this lake: nothing of it would be read" in kept.ran("run", "--dry-run").out
    assert data_files(kept) == 0
    assert [kept.ran(command).exit_code for command in ("verify", "rejects")] == [0, 0]
    assert "erased from this lake, and nothing of it is read" in kept.ran("status").out


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_erased_is_gone_for_good(
    kind: str, sandbox: Sandbox, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By id, by age, and the whole queue."""
    kept = lakes_of(sandbox, object_store, tmp_path_factory.mktemp(kind))[kind]
    assert kept.exported()["rejected_new"] == 1
    erase_by_id(kept, sandbox, thorough=kind == "disk-delta")
    erase_by_age(kept)
    erase_the_queue(kept, sandbox)


def test_over_runs_what_is_erased_is_left_out_too(tmp_path: Path) -> None:
    """Rows and rejects, on whatever page they are; what cannot be read as erased stops an export."""
    with Sandbox(Population(rows=12, days=2), seed=9) as sandbox:
        queue = sandbox.queue()
        good, bad = queue.rows("active")[:2]
        queue.set_text(bad.id, json.dumps({**json.loads(bad.text), "name": 7}).encode())
        settings = {"source.endpoint": "runs", "columns.exclude": ["inputs"]}
        path = write_config(tmp_path, sandbox, settings)

        def ran(*arguments: str) -> Ran:
            return annolake(*arguments, "--config", path, key=sandbox.api_key, cwd=tmp_path)

        assert ran("run", "--quiet").exit_code == 3
        erased = ran("erase", "--run", json.loads(good.text)["id"], "--run", json.loads(bad.text)["id"], "--yes")
        assert (erased.exit_code, "1 reject erased" in erased.out) == (0, True)
        after = ran("run", "--json").report["queues"][0]
        assert (after["erased"], after["exit_code"], after["rejected"], after["updated"]) == (2, 0, 0, 0)
        assert "met and left out, since they were erased: 2 rows" in ran("run").err
        record = tmp_path / "lake/_annolake/erased.json"
        assert good.id not in record.read_text()
        for text, says in (("{", "restore it"), ('{"record_version": 2, "key": ""}', "a newer annolake wrote it")):
            record.write_text(text)
            failed = ran("run", "--quiet")
            assert (failed.exit_code, says in failed.err) == (5, True)


def test_a_run_that_is_a_turn_is_erased_too(tmp_path: Path) -> None:
    """Its item stays, with its other turns; a refresh, which reads all of them, brings it back no more."""
    with Sandbox(Population(rows=4, threads=2, days=2), seed=9) as sandbox:
        path = write_config(tmp_path, sandbox, {"source.endpoint": "items", "source.feedback": False})

        def ran(*arguments: str) -> Ran:
            return annolake(*arguments, "--config", path, key=sandbox.api_key, cwd=tmp_path)

        assert ran("run", "--quiet").exit_code == 0
        before = pl.read_parquet(tmp_path / "lake/turns/**/*.parquet", hive_partitioning=True)
        item, trace = before.filter(pl.len().over("queue_run_id") > 1).select("queue_run_id", "trace_id").row(0)
        assert "1 row of all tables erased, 1 file written anew" in ran("erase", "--run", trace, "--yes").out
        queue = ran("run", "--refresh", "--json").report["queues"][0]
        after = pl.read_parquet(tmp_path / "lake/turns/**/*.parquet", hive_partitioning=True)

    assert (queue["exit_code"], queue["turns"]["inserted"], queue["turns"]["removed"]) == (0, 0, 0)
    assert set(after["trace_id"]) == set(before["trace_id"]) - {trace}
    assert item in after["queue_run_id"].to_list()
    assert not (tmp_path / "lake/feedback").exists()


def test_a_damaged_queue_holds_up_no_other(tmp_path: Path) -> None:
    """It is told, with exit code 5, and can still be erased as a whole."""
    with Sandbox(Population(rows=8, queues=2, days=2), seed=9) as sandbox:
        path = write_config(tmp_path, sandbox, {"source.feedback": False})
        annolake("run", "--quiet", "--config", path, key=sandbox.api_key, cwd=tmp_path)
        one, other = sandbox.queue_ids
        run = json.loads(sandbox.queue(other).rows("active")[0].text)["id"]
    damaged = next((tmp_path / f"lake/runs/queue_id={one}").rglob("part-*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-9])

    erased = annolake("erase", "--run", run, "--yes", "--config", path, cwd=tmp_path)
    assert (erased.exit_code, f"({other}): 1 row of all tables erased" in erased.out) == (5, True)
    assert f"cannot read {damaged}" in erased.err
    whole = annolake("erase", "--queue", one, "--yes", "--config", path, cwd=tmp_path)
    assert (whole.exit_code, whole.err) == (0, "")
    assert not (tmp_path / f"lake/runs/queue_id={one}").exists()
    assert annolake("verify", "--config", path, cwd=tmp_path).exit_code == 0


def test_it_asks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it would erase; whatever is not yes is no."""
    with Sandbox(Population(rows=12, days=2), seed=9) as sandbox:
        path = write_config(tmp_path, sandbox)
        annolake("run", "--quiet", "--config", path, key=sandbox.api_key, cwd=tmp_path)
        run = json.loads(sandbox.queue().rows("active")[0].text)["id"]

    def answered(answer: str, *arguments: str) -> Ran:
        monkeypatch.setattr("annolake.commands.erase.sys.stdin", Terminal(answer))
        return annolake("erase", *arguments, "--config", path, cwd=tmp_path)

    asked = answered("n\n", "--run", run)
    beside = "with their feedback, turns and rejects"
    assert asked.err == f"erase 1 row of 1 queue, {beside}, from {tmp_path}/lake, for good? [y/N] "
    assert (asked.exit_code, asked.out) == (0, "nothing was erased\n")
    assert "(12 rows) from" in answered("", "--queue", sandbox.queue_ids[0]).err
    assert "erase 12 rows of 1 queue added before 20" in answered("no", "--older-than", "1s").err
    assert answered("", "--run", run, "--json").exit_code == 2
    assert "3 rows of all tables erased, 2 files written anew" in answered("Yes\n", "--run", run).out
    assert "erase 0 rows of 0 queues" in answered("", "--run", run).err


class Terminal(io.StringIO):
    """A terminal at which somebody has typed."""

    def isatty(self) -> bool:
        """Say that somebody looks on."""
        return True


@pytest.mark.parametrize(("endpoint", "arrangement"), [("runs", "parquet"), ("items", "delta")])
@pytest.mark.parametrize("kind", ["run", "age", "queue"])
def test_an_erasure_that_was_cut_short_is_finished_by_the_next_export(
    kind: str, endpoint: str, arrangement: str, tmp_path: Path
) -> None:
    """By id, by age, or of a queue: what is remembered goes from all tables, though nobody knows the ids any more."""
    with Sandbox(Population(rows=20, queues=2, days=2), seed=9) as sandbox:
        path = write_config(tmp_path, sandbox, {"source.endpoint": endpoint, "lake.format": arrangement})
        annolake("run", "--quiet", "--config", path, key=sandbox.api_key, cwd=tmp_path)
        one, other = sandbox.queue_ids
        lake = open_lake(load_config(path, {}), {})
        run = pl.read_parquet(tmp_path / f"lake/feedback/queue_id={one}/**/*.parquet")["run_id"].drop_nulls()[0]
        what = {"run": ("--run", run), "age": ("--older-than", "1s"), "queue": ("--queue", one)}[kind]
        with lake.lock(one, since=Clock().now()):
            assert annolake("erase", *what, "--yes", "--config", path, cwd=tmp_path).exit_code == 6
        left = {table: lake.table(table).held(one).rows for table in ("runs", "feedback")}
        ran = annolake("run", "--config", path, key=sandbox.api_key, cwd=tmp_path)
        again = annolake("run", "--json", "--config", path, key=sandbox.api_key, cwd=tmp_path)
        told = annolake("status", "--config", path, cwd=tmp_path).out

    assert (ran.exit_code, again.exit_code) == (0, 0), ran.err
    assert f"event=erasure_finished queue_id={one}" in ran.err
    assert "erasure_finished" not in again.err
    assert "cut short" not in told
    rows = lake.table("runs").held(one).rows
    assert rows == {"run": left["runs"] - 1, "age": 0, "queue": 0}[kind]
    assert lake.table("feedback").held(one).rows < left["feedback"]
    assert again.report["queues"][0]["inserted"] == again.report["queues"][0]["updated"] == 0
    assert lake.table("runs").held(other).rows == (0 if kind == "age" else 20)
    if kind == "run":
        assert run not in pl.read_parquet(tmp_path / "lake/feedback/**/*.parquet")["run_id"].to_list()
    assert annolake("verify", "--config", path, cwd=tmp_path).exit_code == 0


@pytest.fixture
def umask() -> Iterator[None]:
    """Have new files hidden from others."""
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_queue_that_is_exported_is_told_and_the_rest_erased(tmp_path: Path) -> None:
    """Exit code 6; the run is remembered, so that erasing again finishes it. Files follow the umask."""
    without_inputs = {"ANNOLAKE_COLUMNS__EXCLUDE": "inputs"}
    with Sandbox(Population(rows=20, queues=2, days=2), seed=9) as sandbox:
        path = write_config(tmp_path, sandbox)
        annolake("run", "--quiet", "--config", path, key=sandbox.api_key, cwd=tmp_path)
        one, other = sandbox.queue_ids
        lake = open_lake(load_config(path, {}), {})
        with lake.lock(one, since=Clock().now()):
            rewritten = annolake("rewrite", "--config", path, cwd=tmp_path, environ=without_inputs)
            ran = annolake("erase", "--older-than", "1s", "--yes", "--config", path, cwd=tmp_path)
        assert (rewritten.exit_code, f"({other}): " in rewritten.out, f"queue {one} is held" in rewritten.err) == (
            6,
            True,
            True,
        )
        status = annolake("status", "--config", path, cwd=tmp_path, environ=without_inputs)
        assert "[columns] leaves out runs.inputs" in status.out
        assert ran.exit_code == 6
        assert f"queue {one} is held by pid" in ran.err
        assert (lake.table("runs").held(one).rows > 0, lake.table("runs").held(other).rows) == (True, 0)
        assert "an erasure was cut short" in annolake("status", "--queue", one, "--config", path, cwd=tmp_path).out
        assert "an erasure was cut" not in annolake("status", "--queue", other, "--config", path, cwd=tmp_path).out
        left = annolake("verify", "--config", path, cwd=tmp_path)
        rows = lake.table("runs").held(one).rows
        said = f"{rows} rows of it were erased and are still there: the next export takes them out"
        assert (left.exit_code, left.out.splitlines()[0]) == (5, f"{tmp_path}/lake/runs/queue_id={one}: {said}")
        again = annolake("erase", "--older-than", "1s", "--yes", "--config", path, cwd=tmp_path)
        assert (again.exit_code, lake.table("runs").held(one).rows) == (0, 0)
        assert annolake("verify", "--config", path, cwd=tmp_path).exit_code == 0
        assert pl.read_parquet(tmp_path / "lake/runs/**/*.parquet", hive_partitioning=True).height == 0
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "lake").rglob("part-*.parquet")}
        assert modes == {0o640}
        slip = annolake("erase", "--run", "nobody", "--yes", "--config", path, cwd=tmp_path)
        assert (slip.exit_code, "'nobody' is no id of a run, and nothing in the lake has it" in slip.err) == (2, True)
        unknown = annolake("erase", "--run", str(uuid4()), "--yes", "--config", path, cwd=tmp_path)
        assert (unknown.exit_code, unknown.out.startswith("nothing of it is in the lake")) == (0, True)
        ancient = annolake("erase", "--older-than", "999999999d", "--yes", "--config", path, cwd=tmp_path)
        assert (ancient.exit_code, ancient.out.startswith("nothing of it")) == (0, True)
        (tmp_path / "lake").rename(tmp_path / "moved")
        (tmp_path / "lake").mkdir()
        lost = annolake("erase", "--run", "x", "--yes", "--config", path, cwd=tmp_path)
        assert (lost.exit_code, lost.err) == (
            5,
            f"annolake: {tmp_path}/lake: there is no lake; check lake.path, or run an export first\n",
        )
        assert list((tmp_path / "lake").iterdir()) == []
        for wrong in (["--queue", "all"], ["--run", ""]):
            refused = annolake("erase", *wrong, "--yes", "--config", path, cwd=tmp_path)
            assert (refused.exit_code, "one by one" in refused.err) == (2, True)
        assert annolake("erase", "--yes", "--config", path, cwd=tmp_path).exit_code == 2
