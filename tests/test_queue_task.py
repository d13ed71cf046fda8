"""What travels to a worker, and what a worker refuses."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from annolake.clock import Clock
from annolake.columns.rules import NO_RULES
from annolake.config import Config, load_config
from annolake.export_context import ExportContext, Surroundings, Wishes, open_context
from annolake.interruption import Interruption
from annolake.load.storage.local import LocalFiles
from annolake.load.storage.scratch import Workspace
from annolake.observers.protocols import SILENCE
from annolake.queue_task import WAIT_FOR_LOCK_S, PackedTask, QueueTask, work
from annolake.report import QueueReport
from annolake.sandbox import Population, Sandbox
from annolake.wiring import open_lake
from annolake.workers import share_of
from exporting import KEY_VARIABLE, now, write_config

HOST = os.uname().nodename
SMALL = Population(rows=30, odd=False, days=2)


def config_of(sandbox: Sandbox, folder: Path, **settings: object) -> Config:
    """Return the settings of an export of a sandbox into `folder/lake`; `source__page_size` sets source.page_size."""
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return load_config(write_config(folder, sandbox, named), {}, {})


def task_of(config: Config, sandbox: Sandbox, folder: Path) -> QueueTask:
    """Return the task of the sandbox's first queue, of an export that begins now on this host."""
    return QueueTask(
        config=share_of(config, 1),
        queue_id=sandbox.queue_ids[0],
        export_id="20260102T030405Z-00000000",
        started_at=now(),
        wishes=Wishes(),
        at_once=1,
        driver_host=HOST,
        stop_file=folder / "stop",
    )


def work_on(packed: PackedTask, sandbox: Sandbox, *, clock: Clock | None = None, host: str = HOST) -> QueueReport:
    """Work on a task as a worker that has the key."""
    return work(packed, environ={KEY_VARIABLE: sandbox.api_key}, clock=clock, host=host)


def test_a_task_brings_no_key(tmp_path: Path) -> None:
    """What is sent has the settings, in which the key has no place; the worker's environment has it."""
    with Sandbox(SMALL) as sandbox:
        packed = task_of(config_of(sandbox, tmp_path), sandbox, tmp_path).pack()
        report = work_on(packed, sandbox)

    assert sandbox.api_key.encode() not in packed.content
    assert KEY_VARIABLE.encode() in packed.content
    assert (report.status, report.inserted) == ("ok", 30)


def test_tasks_of_one_process_conclude_nothing_from_one_another_s_answers(tmp_path: Path) -> None:
    """One took feedback for whole because of a longer answer to another, which showed only later that answers are cut.

    An export in one process takes that back when all queues have ended; a task's report has left by then.
    """

    def context() -> AbstractContextManager[ExportContext]:
        return open_context(
            config,
            {KEY_VARIABLE: "key"},
            Wishes(),
            Surroundings(Clock(), SILENCE, SILENCE, Interruption()),
            lake=open_lake(config, {}),
            workspace=Workspace("one", tmp_path, tmp_path, LocalFiles()),
            started_at=now(),
            rules=NO_RULES,
        )

    with Sandbox(SMALL) as sandbox:
        config = config_of(sandbox, tmp_path)
    with context() as one, context() as other:
        assert one.lanes is other.lanes
        one.feedback_terms.longest.rows = 7
        assert other.feedback_terms.longest.rows == 0


def test_another_version_is_refused() -> None:
    """Before the task is even read: it may not be readable there."""
    with Sandbox(SMALL) as sandbox:
        report = work_on(PackedTask("99.0", sandbox.queue_ids[0], b"of another version"), sandbox)

    assert (report.status, report.exit_code, report.queue_id) == ("failed", 2, sandbox.queue_ids[0])
    assert "and 99.0 where the export began: install the same version on every worker" in str(report.error)


def test_a_folder_of_another_host_is_refused_unless_it_is_shared(tmp_path: Path) -> None:
    """It could be a folder of the same name; with lake.shared the disk is said to be the same."""
    with Sandbox(SMALL) as sandbox:
        config = config_of(sandbox, tmp_path)
        refused = work_on(task_of(config, sandbox, tmp_path).pack(), sandbox, host="elsewhere")
        shared = config_of(sandbox, tmp_path, lake__shared=True)
        taken = work_on(task_of(shared, sandbox, tmp_path).pack(), sandbox, host="elsewhere")

    assert refused.exit_code == 2
    assert f"than on host {HOST}" in str(refused.error)
    assert "lake.shared = true" in str(refused.error)
    assert taken.status == "ok"


def test_a_lake_that_the_worker_cannot_write_is_told_with_the_worker_s_name(tmp_path: Path) -> None:
    """Which of many machines lacks the disk is what the operator must know."""
    (tmp_path / "lake").write_text("a file")
    with Sandbox(SMALL) as sandbox:
        report = work_on(task_of(config_of(sandbox, tmp_path), sandbox, tmp_path).pack(), sandbox)

    assert report.exit_code == 5
    assert str(report.error).startswith(f"on the worker of process {os.getpid()} on host {HOST}: cannot ")


def test_a_key_that_the_service_refuses_is_told_with_the_worker_s_name(tmp_path: Path) -> None:
    """Others may have the right one."""
    with Sandbox(SMALL) as sandbox:
        task = task_of(config_of(sandbox, tmp_path), sandbox, tmp_path)
        report = work(task.pack(), environ={KEY_VARIABLE: "another"}, host=HOST)

    assert (report.status, report.exit_code) == ("failed", 4)
    assert str(report.error).startswith(f"on the worker of process {os.getpid()} on host {HOST}: ")
    assert "refused the key (401)" in str(report.error)


def passing(clock: list[float], meanwhile: Callable[[], None]) -> Clock:
    """Return a clock that passes by its waits alone, with something done in each."""

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        meanwhile()

    return Clock(monotonic=lambda: clock[0], sleep=sleep)


def test_a_lock_that_an_earlier_attempt_holds_is_waited_for(tmp_path: Path) -> None:
    """A worker that was lost may still hold it for a while: this attempt takes over when it passes on."""
    with Sandbox(SMALL) as sandbox, ExitStack() as held:
        config = config_of(sandbox, tmp_path)
        task = task_of(config, sandbox, tmp_path)
        lake = open_lake(config, {})
        lake.prepare()
        held.enter_context(lake.lock(task.queue_id, since=task.started_at))
        time = [0.0]
        report = work_on(task.pack(), sandbox, clock=passing(time, lambda: held.close() if time[0] > 30 else None))

    assert (report.status, report.inserted) == ("ok", 30)
    assert 30 < time[0] < WAIT_FOR_LOCK_S


@pytest.mark.parametrize(("later_us", "waits"), [(0, True), (1, False)])
def test_a_lock_that_is_not_let_go_is_another_export_s(later_us: int, waits: bool, tmp_path: Path) -> None:
    """Another export's at once; one of this export after as long as a dead holder's lease can last."""
    with Sandbox(SMALL) as sandbox:
        config = config_of(sandbox, tmp_path)
        task = task_of(config, sandbox, tmp_path)
        lake = open_lake(config, {})
        lake.prepare()
        time = [0.0]
        with lake.lock(task.queue_id, since=task.started_at + timedelta(microseconds=later_us)):
            report = work_on(task.pack(), sandbox, clock=passing(time, lambda: None))

        assert sandbox.requests == []
    assert (report.status, report.exit_code) == ("skipped", 6)
    assert (time[0] >= WAIT_FOR_LOCK_S) == waits
    assert (time[0] == 0) != waits


def test_the_limits_on_requests_are_shared(tmp_path: Path) -> None:
    """So many tasks at once keep what one export may send; none of them is left without a request or a query."""
    limits = {"source__max_requests_per_second": 30, "source__max_queries_per_10_s": 6}
    with Sandbox(SMALL) as sandbox:
        limited, free = config_of(sandbox, tmp_path, **limits), config_of(sandbox, tmp_path)
    shares = [share_of(limited, at_once).source for at_once in (1, 4, 10, 600)]
    unlimited = share_of(free, 4).source

    assert [each.max_requests_per_second for each in shares] == [30, 7.5, 3, 0.1]
    assert [each.max_queries_per_10_s for each in shares] == [6, 1, 1, 1]
    assert (unlimited.max_requests_per_second, unlimited.max_queries_per_10_s) == (0, 0)


def test_paths_travel_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker runs in another folder than its driver."""
    monkeypatch.chdir(tmp_path)
    with Sandbox(SMALL) as sandbox:
        config = config_of(sandbox, Path(), source__api_key_file="key")
    assert not Path(config.lake.path).is_absolute()

    shared = share_of(config, 1)

    assert (shared.lake.path, shared.source.api_key_file) == (tmp_path / "lake", tmp_path / "key")


def test_a_worker_has_the_key_of_pseudonyms_itself(tmp_path: Path) -> None:
    """It does not travel; where the worker lacks it nothing is exported, and the worker is named."""
    settings = {"columns__pseudonymize": ["reserved_by"], "columns__pseudonym_key_env": "PSEUDONYM_KEY"}
    with Sandbox(SMALL) as sandbox:
        packed = task_of(config_of(sandbox, tmp_path, **settings), sandbox, tmp_path).pack()
        refused = work_on(packed, sandbox)
        environ = {KEY_VARIABLE: sandbox.api_key, "PSEUDONYM_KEY": "a key of sixteen characters"}
        done = work(packed, environ=environ, host=HOST)

    assert (refused.status, refused.exit_code, done.status, done.inserted) == ("failed", 2, "ok", 30)
    assert f"on host {HOST}: PSEUDONYM_KEY is not set" in str(refused.error)
