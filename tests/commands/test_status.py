"""`annolake status` after real exports: what it says the next morning, in words and as JSON."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pytest

from annolake.commands.status import DID_NOT_FINISH, tell_status
from annolake.config import load_lake_config
from annolake.load.storage.local import LocalFiles
from annolake.load.storage.locks import hold
from annolake.sandbox import Population, Rules, Sandbox
from exporting import KEY_VARIABLE, annolake, export_once, export_rows, now, with_polars, write_config
from load.model_queue import folder_of, lake_at
from load.model_tables import Feedback, export
from load.model_tables import with_polars as table_of
from test_rejects import plant

LATE = datetime(2027, 1, 1, tzinfo=UTC)
Status = dict[str, Any]


class Nightly:
    """A sandbox of two queues, and a folder to export it into; a run is killed before request `kill_at` is answered."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.kill_at = 0
        population = Population(rows=120, queues=2, days=2, odd=False)
        self.sandbox = Sandbox(population, seed=2, before_request=self._before, **options)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = Event()
        self._requests = 0

    def configure(self, **settings: Any) -> None:
        """Write the settings."""
        write_config(self.folder, self.sandbox, {name.replace("__", "."): value for name, value in settings.items()})

    def run(self, *arguments: str, key: str | None = None) -> int:
        """Export; return the exit code."""
        return annolake("run", "--quiet", *arguments, key=key or self.sandbox.api_key, cwd=self.folder).exit_code

    def run_and_kill(self, at: int) -> None:
        """Export in a process of its own that is killed before the `at`th request is answered."""
        self._requests, self.kill_at = 0, at
        assert self.run_in_a_process() == -signal.SIGKILL
        self.kill_at = 0

    def run_in_a_process(self) -> int:
        """Export in a process of its own; return its exit code."""
        command = [sys.executable, "-m", "annolake", "run", "--quiet"]
        environ = {**os.environ, KEY_VARIABLE: self.sandbox.api_key}
        with subprocess.Popen(command, cwd=self.folder, env=environ) as process:
            self._process = process
            self._started.set()
        return process.returncode

    def _before(self, _sandbox: Sandbox, _number: int) -> None:
        self._requests += 1
        if self._requests == self.kill_at:
            self._started.wait()
            assert self._process is not None
            self._process.kill()

    def status(self, *arguments: str, exit_code: int = 0) -> Status:
        """Return what status says as JSON."""
        ran = annolake("status", "--json", *arguments, cwd=self.folder)
        status: Status = json.loads(ran.out)
        assert (ran.exit_code, status["exit_code"], len(ran.out.splitlines())) == (exit_code, exit_code, 1)
        return status

    def queue(self, number: int = 0) -> Status:
        """Return what it says of one queue."""
        queues: list[Status] = self.status()["queues"]
        return next(queue for queue in queues if queue["queue_id"] == self.sandbox.queue_ids[number])

    def words(self, *arguments: str) -> str:
        """Return what it says in words."""
        return annolake("status", *arguments, cwd=self.folder).out

    def at(self, hours: float, *, max_age_s: float | None = None) -> tuple[Status, int]:
        """Return what it says that long after the good export of the first queue to end, and the exit code."""
        ends = [queue["last_good"]["finished_at"] for queue in self.status()["queues"] if queue["last_good"]]
        moment = min(map(datetime.fromisoformat, ends)) + timedelta(hours=hours)
        config = load_lake_config(self.folder / "annolake.toml", {})
        told, exit_code = tell_status(config, {}, now=moment, as_json=True, max_age_s=max_age_s)
        return json.loads(told), exit_code


@pytest.fixture
def nightly(tmp_path: Path) -> Iterator[Nightly]:
    """Two queues that were exported once, with exit code 0."""
    nightly = Nightly(tmp_path)
    with nightly.sandbox:
        nightly.configure()
        assert nightly.run() == 0
        yield nightly


def test_a_good_export_is_the_last_attempt(nightly: Nightly) -> None:
    """Name, figures and age of each queue, without a key; in words it is said once."""
    queues, words = nightly.status()["queues"], nightly.words()

    names = {queue["name"] for queue in queues}
    assert {queue["queue_id"] for queue in queues} == set(nightly.sandbox.queue_ids)
    for queue in queues:
        files = list((nightly.folder / "lake/runs" / f"queue_id={queue['queue_id']}").rglob("*.parquet"))
        size = sum(path.stat().st_size for path in files)
        assert (queue["rows"], queue["removed"], queue["partitions"], queue["bytes"]) == (120, 0, len(files), size)
        assert (queue["rejects"], queue["payloads_missing"], queue["error"], queue["too_old"]) == (0, 0, None, None)
        assert queue["newest_added_at"]
        good, last = queue["last_good"], queue["last_attempt"]
        assert (good["export_id"], good["mode"], good["endpoint"]) == (last["export_id"], "full", "runs")
        assert (last["state"], last["status"], last["exit_code"], last["reasons"]) == ("finished", "ok", 0, [])
        assert 0 <= good["age_s"] < 600
    assert all(f"{name} (" in words for name in names)
    assert words.count("120 rows (0 removed)") == 2
    assert words.count("last good export less than a minute ago") == 2
    assert words.count(", full; it is the last attempt") == 2


def test_each_table_of_a_queue_is_told(nightly: Nightly) -> None:
    """Rows, removed rows and size of feedback and turns as polars has them; words leave out a table without rows."""
    queue_id, lake = nightly.sandbox.queue_ids[0], lake_at(nightly.folder / "lake")
    some = [Feedback(number, run=number, created_at=LATE + number * timedelta(days=1)) for number in range(5)]
    export(lake, "feedback", some, queue_id=queue_id, owners=[])
    export(lake, "feedback", some[1:], queue_id=queue_id, number=2, owners=some[0].owners)

    queue, words = nightly.queue(), nightly.words()
    frame = table_of(lake, "feedback").filter(pl.col("queue_id") == queue_id)
    files = list(folder_of(lake, "feedback", queue_id=queue_id).glob("*/*"))

    assert queue["feedback"] == {
        "rows": len(frame),
        "removed": 1,
        "partitions": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "newest_created_at": "2027-01-05T00:00:00Z",
    }
    assert len(frame) > len(some)
    assert (queue["turns"]["rows"], queue["turns"]["newest_added_at"]) == (0, None)
    assert f"feedback: {len(frame):,} rows (1 removed) in {len(files)} partitions" in words
    assert "turns:" not in words


@pytest.mark.parametrize(
    ("told", "status", "said"),
    [
        ({"status": "refused"}, "ok", "the service refuses it: a reason; what the lake has of it stays;"),
        ({"status": "partial"}, "partial", "feedback could not be read whole: a reason; run it again"),
        ({"status": "ok", "rejected_new": 2}, "partial", "feedback: 2 new rejects: `annolake rejects` lists them"),
    ],
)
def test_what_is_missing_of_a_table_is_told_with_what_to_do(
    nightly: Nightly, told: Status, status: str, said: str
) -> None:
    """As the report of the last attempt has it; a table that is refused makes no attempt a bad one."""
    (path,) = (nightly.folder / "lake/_annolake/reports").iterdir()
    report = json.loads(path.read_text())
    for queue in report["queues"]:
        queue |= {"status": status, "feedback": {"because": ["a reason"], **told}}
    path.write_text(json.dumps(report))

    queue, words = nightly.queue(), nightly.words()
    last = queue["last_attempt"]

    assert last["feedback"]["status"] == told["status"]
    assert [text for text in (*last["reasons"], *last["refused"]) if said in text]
    assert words.count(said) == 2, "once for each queue"
    assert (queue["last_good"] is not None) == (status == "ok")


def test_feedback_that_cannot_be_read_is_told_of_its_queue(nightly: Nightly) -> None:
    """The rows of `runs` are told all the same; the exit code is 5."""
    queue_id, lake = nightly.sandbox.queue_ids[0], lake_at(nightly.folder / "lake")
    export(lake, "feedback", [Feedback(1, run=1)], queue_id=queue_id)
    next(folder_of(lake, "feedback", queue_id=queue_id).glob("*")).joinpath("notes.txt").touch()

    queues = {queue["queue_id"]: queue for queue in nightly.status(exit_code=5)["queues"]}

    assert (queues[queue_id]["rows"], queues[queue_id]["feedback"]["rows"]) == (120, None)
    assert "only part-*.parquet belongs there" in queues[queue_id]["error"]


def test_the_figures_are_those_of_the_table(nightly: Nightly) -> None:
    """Rows and removed rows as polars counts them."""
    queue = nightly.sandbox.queue()
    for row in queue.rows("active")[:3]:
        queue.delete(row.id)
    assert nightly.run() == 0

    status = nightly.status()["queues"]

    stored = with_polars(nightly.folder / "lake").values()
    assert sum(queue["rows"] for queue in status) == len(stored)
    assert sum(queue["removed"] for queue in status) == sum(row["removed_at"] is not None for row in stored) == 3


def test_known_rejects_are_counted_also_where_the_key_is_missing(nightly: Nightly) -> None:
    """Status and report say the same number, although no queue was begun."""
    plant(nightly.sandbox.queue())
    nightly.run()
    annolake("run", "--quiet", cwd=nightly.folder)

    queue = nightly.queue()

    assert (queue["last_attempt"]["exit_code"], queue["rejects"], queue["last_attempt"]["rejects_known"]) == (2, 7, 7)


def test_a_lost_lock_hides_no_good_export(nightly: Nightly) -> None:
    """The last attempt was skipped, by whom is told, and the good one stays with its age."""
    good = nightly.queue()["last_good"]
    lock = nightly.folder / "lake/_annolake/locks" / nightly.sandbox.queue_ids[0]
    with hold(LocalFiles(), lock, since=now()):
        assert nightly.run() == 6

    queue, words = nightly.queue(), nightly.words()

    assert (queue["last_good"]["export_id"], queue["last_good"]["mode"]) == (good["export_id"], "full")
    last = queue["last_attempt"]
    assert (last["status"], last["exit_code"], last["export_id"] != good["export_id"]) == ("skipped", 6, True)
    assert "is held by pid" in last["reasons"][0]
    assert "skipped, exit code 6: queue" in words
    assert words.count("it is the last attempt") == 1


def test_a_wrong_key_concerns_all_queues_and_is_told_once(nightly: Nightly) -> None:
    """With queues = "all" it ends before any queue is known: each has that last attempt, and its good export."""
    good = nightly.queue()["last_good"]["export_id"]
    nightly.configure(source__queues="all")
    assert nightly.run(key="a-wrong-key") == 4

    status, words = nightly.status(), nightly.words()

    assert (status["last_attempt"]["exit_code"], status["last_attempt"]["state"]) == (4, "finished")
    for queue in status["queues"]:
        last = queue["last_attempt"]
        assert (last["status"], last["exit_code"], last["mode"], last["complete"]) == ("failed", 4, None, None)
        assert last["reasons"] == [status["last_attempt"]["error"]]
        assert "401" in last["reasons"][0]
        assert queue["last_good"]["export_id"] == good
    assert words.splitlines()[0].startswith("last attempt ")
    assert "failed, exit code 4: " in words.splitlines()[0]
    assert words.count("last attempt") == words.count("(401)") == 1
    assert words.count("last good export") == 2


def test_what_ended_a_whole_export_is_told_once(nightly: Nightly) -> None:
    """Without a key each queue failed for the same reason; as JSON each has it, in words it stands on top."""
    ran = annolake("run", "--quiet", cwd=nightly.folder)

    status, words = nightly.status(), nightly.words()

    assert ran.exit_code == 2
    assert [queue["last_attempt"]["exit_code"] for queue in status["queues"]] == [2, 2]
    assert all("LANGSMITH_API_KEY is not set" in queue["last_attempt"]["error"] for queue in status["queues"])
    assert words.count("LANGSMITH_API_KEY is not set") == words.count("last attempt") == 1


def test_a_wrong_key_in_an_empty_lake_is_told(tmp_path: Path) -> None:
    """There is no queue to tell of, and yet it is said what happened."""
    nightly = Nightly(tmp_path)
    with nightly.sandbox:
        nightly.configure(source__queues="all")
        assert nightly.run(key="a-wrong-key") == 4
        words, late = nightly.words(), nightly.status("--max-age", "26h", exit_code=3)

    assert "failed, exit code 4: " in words.splitlines()[0]
    assert words.splitlines()[1].endswith("no queue has been exported into it yet")
    assert (late["queues"], late["last_attempt"]["exit_code"]) == ([], 4)


@pytest.mark.parametrize("queues", ["named", "all"])
@pytest.mark.parametrize("request_number", [1, 5])
def test_a_killed_export_did_not_finish(nightly: Nightly, queues: str, request_number: int) -> None:
    """Status says so until the next good export, which needs no repair; the good one before it stays."""
    nightly.configure(**({"source__queues": "all"} if queues == "all" else {}))
    good = nightly.queue()["last_good"]["export_id"]
    nightly.run_and_kill(at=request_number)

    status, words = nightly.status(), nightly.words()
    attempts = [queue["last_attempt"] for queue in status["queues"]]
    report = max((nightly.folder / "lake/_annolake/reports").iterdir())
    named = len(json.loads(report.read_text())["queues"])
    assert nightly.run() == 0
    after = nightly.status()["queues"]

    assert status["last_attempt"]["state"] == "unfinished"
    for attempt in attempts:
        assert (attempt["state"], attempt["exit_code"], attempt["finished_at"]) == ("unfinished", None, None)
        assert attempt["reasons"] == [DID_NOT_FINISH]
        assert (attempt["status"], attempt["endpoint"], attempt["rejects_known"]) == ("failed", None, None)
        assert attempt["mode"] in {"full", None}
    assert {queue["last_good"]["export_id"] for queue in status["queues"]} == {good}
    assert words.count(DID_NOT_FINISH) == (named or 1)
    assert "killed or interrupted twice, its disk was full, or the machine went down; run it again, nothing" in words
    assert (named == 0) >= (queues == "all" and request_number == 1)
    for queue in after:
        assert queue["last_good"]["export_id"] == queue["last_attempt"]["export_id"] != good


def looking(folder: Path, at: int, seen: list[tuple[str, str]]) -> Callable[[Sandbox, int], None]:
    """Return what notes the status, as JSON and in words, before a sandbox answers its `at`th request."""

    def look(_sandbox: Sandbox, number: int) -> None:
        if number == at:
            config = load_lake_config(folder / "annolake.toml", {})
            line, words = (tell_status(config, {}, now=now(), as_json=as_json)[0] for as_json in (True, False))
            seen.append((line, words))

    return look


def test_a_running_export_is_told_with_its_start(tmp_path: Path) -> None:
    """The first one: before any queue is published; a queue that has ended is good while others still run."""
    seen: list[tuple[str, str]] = []
    look = looking(tmp_path, 3, seen)

    with Sandbox(Population(rows=30, queues=2, days=2, odd=False), seed=2, before_request=look) as sandbox:
        export_once(sandbox, tmp_path)

    ((line, words),) = seen
    status = json.loads(line)
    assert (status["last_attempt"]["state"], status["last_attempt"]["exit_code"]) == ("running", None)
    for queue in status["queues"]:
        assert queue["running"]["export_id"] == status["last_attempt"]["export_id"]
        assert (queue["last_attempt"], queue["last_good"]) == (None, None)
    assert words.count("an export has been running since 20") == 2
    assert words.count("no good export yet") == 2


def test_how_the_last_attempt_ended_is_told_while_another_runs(tmp_path: Path) -> None:
    """Both are there: the refused key, and that an export runs; nobody is told to run another."""
    seen: list[tuple[str, str]] = []
    look = looking(tmp_path, 6, seen)

    with Sandbox(Population(rows=30, queues=2, days=2, odd=False), seed=2, before_request=look) as sandbox:
        path = write_config(tmp_path, sandbox, {"source.queues": "all"})
        annolake("run", "--quiet", "--config", path, key="a-wrong-key", cwd=tmp_path)
        export_once(sandbox, tmp_path, {"source.queues": "all"})

    ((line, words),) = seen
    for queue in json.loads(line)["queues"]:
        assert "401" in queue["last_attempt"]["error"]
        assert queue["running"]["export_id"] != queue["last_attempt"]["export_id"]
    assert words.count("(401)") == 1
    assert "an export has been running since 20" in words
    assert "run `annolake run`" not in words


def test_new_rejects_are_partial_and_known_ones_are_good(nightly: Nightly) -> None:
    """First the reason and what to do, then a good export; the number stays as long as the rejects do."""
    plant(nightly.sandbox.queue())
    assert nightly.run() == 3
    first, words = nightly.queue(), nightly.words()
    assert nightly.run() == 0
    second = nightly.queue()

    assert (first["last_attempt"]["status"], first["last_attempt"]["rejected_new"], first["rejects"]) == (
        "partial",
        7,
        7,
    )
    assert first["last_good"]["export_id"] != first["last_attempt"]["export_id"]
    assert any("7 new rejects" in reason for reason in first["last_attempt"]["reasons"])
    assert "partial, exit code 3: 7 new rejects" in words
    assert "7 rejects: `annolake rejects` lists them" in words
    assert (second["last_attempt"]["status"], second["last_attempt"]["rejected_new"], second["rejects"]) == ("ok", 0, 7)
    assert second["last_good"]["export_id"] == second["last_attempt"]["export_id"]


def test_status_report_and_rejects_say_the_same_of_40_queues(tmp_path: Path) -> None:
    """Rows and rejects of each queue, after an export that met new rejects in some of them."""
    with Sandbox(Population(rows=90, queues=40, odd=False, days=2), seed=2) as sandbox:
        for queue_id in sandbox.queue_ids[::3]:
            plant(sandbox.queue(queue_id))
        report = export_rows(sandbox, tmp_path)
    told = [json.loads(annolake(command, "--json", cwd=tmp_path).out) for command in ("status", "rejects")]

    status = {queue["queue_id"]: queue for queue in told[0]["queues"]}
    rejects = {queue["queue_id"]: queue["rejects"] for queue in told[1]["queues"]}
    assert len(status) == len(report.queues) == 40
    assert len(rejects) == 14
    for queue in report.queues:
        said = status[queue.queue_id]
        assert (said["rows"], said["name"]) == (queue.inserted, queue.name)
        assert said["rejects"] == said["last_attempt"]["rejects_known"] == queue.rejects_known
        assert said["rejects"] == rejects.get(queue.queue_id, 0)


def test_payloads_that_are_missing_are_counted(tmp_path: Path) -> None:
    """Over items, rows whose run the service did not return; an export of new rows alone does not forget them."""
    nightly = Nightly(tmp_path, rules=Rules(runs_gone=0.1))
    with nightly.sandbox:
        nightly.configure(source__endpoint="items")
        codes = [nightly.run(), nightly.run("--new-only")]

        queues, words = nightly.status()["queues"], nightly.words()

    missing = [row["queue_id"] for row in with_polars(tmp_path / "lake").values() if row["run_found"] is False]
    assert codes[0] == 3
    assert [queue["payloads_missing"] for queue in queues] == [missing.count(queue["queue_id"]) for queue in queues]
    assert "whose run was gone before its payload was exported" in words


def test_without_an_export_there_is_a_sentence(tmp_path: Path) -> None:
    """And what to do; as JSON the queues of the settings are there, never exported. For a monitor that is too old."""
    nightly = Nightly(tmp_path)
    with nightly.sandbox:
        nightly.configure()
        words, queues = nightly.words(), nightly.status()["queues"]
        late = annolake("status", "--max-age", "26h", cwd=tmp_path)
        nightly.configure(source__queues="all")
        nothing = annolake("status", "--max-age", "26h", cwd=tmp_path)

    assert "no queue has been exported into it yet: run `annolake run`" in words
    assert [(queue["rows"], queue["last_good"], queue["last_attempt"]) for queue in queues] == [(0, None, None)] * 2
    assert late.exit_code == nothing.exit_code == 3
    assert late.out.splitlines()[-1] == "queues without a good export younger than 26 hours: 2 of 2"
    assert "there is no queue to look at" in nothing.out.splitlines()[-1]


def test_a_full_disk_is_told(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export could leave no report of it."""
    assert nightly.status()["disk"] is None
    usage = shutil.disk_usage(nightly.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))

    told = (
        f"{nightly.folder / 'lake'}: the disk is full: exports fail, and leave no report; free some space and run again"
    )
    assert nightly.status()["disk"] == told
    assert nightly.words().splitlines()[0] == told


@pytest.mark.parametrize(("seconds", "exit_code"), [(0.001, 0), (0, 3), (-0.001, 3)])
def test_max_age_tells_young_from_old(nightly: Nightly, seconds: float, exit_code: int) -> None:
    """A good export of exactly that age is too old; older attempts that failed make no difference."""
    nightly.run(key="a wrong key")
    status, code = nightly.at(26 - seconds / 3600, max_age_s=26 * 3600)

    assert code == status["exit_code"] == exit_code
    oldest = min(status["queues"], key=lambda queue: queue["last_good"]["finished_at"])
    assert oldest["too_old"] is bool(exit_code)
    assert oldest["last_good"]["age_s"] == int(26 * 3600 - seconds)


def test_max_age_in_words(nightly: Nightly) -> None:
    """The last line counts, and each queue that is too old is marked."""
    young, old = nightly.words("--max-age", "26h"), nightly.words("--max-age", "0.001")

    assert young.splitlines()[-1] == "queues without a good export younger than 26 hours: 0 of 2"
    assert "TOO OLD" not in young
    assert old.splitlines()[-1] == "queues without a good export younger than 0.001 seconds: 2 of 2"
    assert old.count("TOO OLD: no good export younger than 0.001 seconds") == 2


def test_max_age_counts_the_queues_that_are_named(nightly: Nightly) -> None:
    """Those of source.queues, also when they were never exported; others of the lake are shown, and not counted."""
    exported, other = nightly.sandbox.queue_ids
    never = "00000000-0000-4000-8000-000000000000"

    nightly.configure(source__queues=[exported])
    one = nightly.status("--max-age", "26h")
    nightly.configure(source__queues=[exported, never])
    two = nightly.status("--max-age", "26h", exit_code=3)
    alone = nightly.status("--max-age", "26h", "--queue", other)

    def old(status: Status) -> Mapping[str, bool | None]:
        return {queue["queue_id"]: queue["too_old"] for queue in status["queues"]}

    assert old(one) == {exported: False, other: None}
    assert old(two) == {exported: False, other: None, never: True}
    assert old(alone) == {other: False}


def test_max_age_counts_all_queues_unless_they_are_named(nightly: Nightly) -> None:
    """With "all", and where source.queues is not set: every queue that is shown."""
    nightly.configure(source__queues="all")
    shutil.rmtree(nightly.folder / "lake/runs" / f"queue_id={nightly.sandbox.queue_ids[0]}")
    shutil.rmtree(nightly.folder / "lake/queues" / f"queue_id={nightly.sandbox.queue_ids[0]}")
    config = nightly.folder / "annolake.toml"
    counted = [[queue["too_old"] for queue in nightly.status("--max-age", "1h")["queues"]]]
    config.write_text(
        "".join(line for line in config.read_text().splitlines(keepends=True) if not line.startswith("queues"))
    )
    counted.append([queue["too_old"] for queue in nightly.status("--max-age", "1h")["queues"]])

    assert counted == [[False, False], [False, False]]


def test_a_run_of_one_queue_hides_no_other_from_a_monitor(tmp_path: Path) -> None:
    """All queues were tried and killed, then one was run by hand: the other still has no good export."""
    nightly = Nightly(tmp_path)
    with nightly.sandbox:
        nightly.configure(source__queues="all")
        nightly.run_and_kill(at=4)
        assert nightly.run("--queue", nightly.sandbox.queue_ids[0]) == 0
        late = nightly.status("--max-age", "1h", exit_code=3)

    assert {queue["queue_id"]: queue["too_old"] for queue in late["queues"]} == dict(
        zip(nightly.sandbox.queue_ids, (False, True), strict=True)
    )


def test_a_queue_that_the_service_no_longer_lists_is_told(nightly: Nightly) -> None:
    """It counts, for the key may have lost access: and it is said why, and how to leave it out."""
    nightly.configure(source__queues="all")
    kept, gone = nightly.sandbox.queue_ids
    assert nightly.run() == 0
    with Sandbox(Population(rows=120, queues=1, days=2, odd=False), seed=2) as fewer:
        assert fewer.queue_ids == [kept]
        export_once(fewer, nightly.folder, {"source.queues": "all"})

    listed = {queue["queue_id"]: queue["listed"] for queue in nightly.status()["queues"]}
    words = nightly.words()
    nightly.configure()

    assert listed == {kept: True, gone: False}
    assert words.count("not in the newest export of all queues") == 1
    assert {queue["listed"] for queue in nightly.status()["queues"]} == {None}


def test_a_failed_run_of_one_queue_is_told_of_that_queue(nightly: Nightly) -> None:
    """Without a key, for one queue: the other's last attempt is its good one."""
    annolake("run", "--quiet", "--queue", nightly.sandbox.queue_ids[0], cwd=nightly.folder)

    words = nightly.words()

    assert not words.startswith("last attempt")
    assert words.count("LANGSMITH_API_KEY is not set") == 1
    assert words.count("it is the last attempt") == 1


def test_without_reports_there_is_no_export_on_record(nightly: Nightly) -> None:
    """The rows are there, and it is said what to do."""
    shutil.rmtree(nightly.folder / "lake/_annolake")

    assert nightly.words().count("no export is on record: run `annolake run`") == 2


def test_where_the_service_has_no_queue_the_last_attempt_counts(tmp_path: Path) -> None:
    """An export of all queues that found none ended well, and grows old like any other."""
    with Sandbox(Population(rows=1, queues=1), seed=2, rules=Rules()) as sandbox:
        export_once(sandbox, tmp_path)
    for table in ("runs", "queues", "feedback", "turns"):
        shutil.rmtree(tmp_path / "lake" / table, ignore_errors=True)
    (report,) = (tmp_path / "lake/_annolake/reports").iterdir()
    empty = json.loads(report.read_text()) | {"queues": []}
    report.write_text(json.dumps(empty))
    config = load_lake_config(None, {"ANNOLAKE_LAKE__PATH": str(tmp_path / "lake")})
    ended = datetime.fromisoformat(empty["finished_at"])

    codes = [tell_status(config, {}, now=ended + timedelta(seconds=age), max_age_s=60)[1] for age in (59, 60)]

    assert codes == [0, 3]
    assert "the last export ended well in the last 1 minute" in tell_status(config, {}, now=ended, max_age_s=60)[0]


@pytest.mark.parametrize("length", ["", "h", "26 h", "-1h", "0", "0h", "1w", "1e3", "26h30m", "\u0662h", "9" * 30])
def test_a_length_that_is_none_is_one_sentence(tmp_path: Path, length: str) -> None:
    """Exit 2: what is allowed, and what was given."""
    ran = annolake("status", f"--max-age={length}", cwd=tmp_path)

    assert ran.exit_code == 2
    assert "expected a number above 0 and s, m, h or d, such as 90m, 26h or 2d" in ran.err.splitlines()[-1]


def test_a_queue_that_was_never_exported_is_told_of_itself(nightly: Nightly) -> None:
    """The lake has others: it is not said to be empty."""
    words = nightly.words("--queue", "00000000-0000-4000-8000-000000000000")

    assert "no export is on record: run `annolake run`" in words
    assert "no queue has been exported" not in words


def test_a_queue_that_is_none_is_one_sentence(nightly: Nightly) -> None:
    """Exit 2, as for `annolake run`."""
    ran = annolake("status", "--queue", "support", cwd=nightly.folder)

    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.err == 'annolake: the lake has no queue named "support", in these very letters: give its id\n'


def test_a_queue_that_cannot_be_read_ends_with_5(nightly: Nightly) -> None:
    """Its figures are null and the sentence is there; the other queue is as before, also for a monitor."""
    (nightly.folder / "lake/runs" / f"queue_id={nightly.sandbox.queue_ids[0]}" / "mine").touch()

    queues = nightly.status("--max-age", "26h", exit_code=5)["queues"]
    words = nightly.words()

    spoilt, sound = sorted(queues, key=lambda queue: nightly.sandbox.queue_ids.index(queue["queue_id"]))
    assert (spoilt["rows"], spoilt["removed"], spoilt["bytes"], spoilt["newest_added_at"]) == (None,) * 4
    assert "only added_date=... belongs there; move it away" in spoilt["error"]
    assert (spoilt["too_old"], sound["too_old"], sound["rows"], sound["error"]) == (False, False, 120, None)
    assert "cannot be read: cannot trust" in words


def test_foreign_text_does_nothing(nightly: Nightly) -> None:
    """A queue's name that moves the cursor or ends the line is escaped, in words and in JSON."""
    for path in (nightly.folder / "lake/queues").rglob("*.parquet"):
        path.unlink()
    (report,) = (nightly.folder / "lake/_annolake/reports").iterdir()
    record = json.loads(report.read_text())
    facts = {"name": "a\nb\x1b[2J\u202e", "status": "failed", "error": "c\nd\x1b[2J"}
    record["queues"] = [entry | facts for entry in record["queues"]]
    report.write_text(json.dumps(record))

    words, line = nightly.words(), annolake("status", "--json", cwd=nightly.folder).out

    assert not {"\x1b", "\u202e"} & {*words, *line}
    assert "a\\nb\\x1b[2J\\u202e (" in words
    assert json.loads(line)["queues"][0]["name"] == "a\nb\x1b[2J\u202e"


@pytest.mark.parametrize(
    "odd", [{"mode": 7}, {"incomplete_because": "x"}, {"status": "better"}, {"rejected": "many", "status": ["ok"]}]
)
def test_an_entry_that_cannot_be_understood_is_told_by_its_status(nightly: Nightly, odd: Status) -> None:
    """Of an export by another version, perhaps: the rest of the lake is told all the same."""
    (report,) = (nightly.folder / "lake/_annolake/reports").iterdir()
    record = json.loads(report.read_text())
    facts = {"complete": False, "status": "failed", "error": "what it says"} | odd
    record["queues"] = [entry | facts for entry in record["queues"]]
    report.write_text(json.dumps(record))

    last = nightly.queue()["last_attempt"]

    assert (last["status"], last["error"], last["reasons"]) == (
        odd.get("status", "failed"),
        "what it says",
        ["what it says"],
    )
    assert last["mode"] is None
    assert "what it says" in nightly.words()
