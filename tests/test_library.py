"""The Python API: what notebooks and orchestrators call, with and without an executor."""

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import pytest

import annolake
from annolake.config import load_config
from annolake.errors import InterruptedExport, RefusedError
from annolake.sandbox import Faults, Population, Sandbox
from exporting import KEY_VARIABLE, write_config
from lakes import rows_of

ONE = Population(rows=1, odd=False, days=2)
SEVERAL = Population(rows=40, queues=5, days=2)


def config_of(sandbox: Sandbox, folder: Path, settings: Mapping[str, Any] | None = None) -> annolake.Config:
    """Return the settings of an export of a sandbox into `folder/lake`."""
    return load_config(write_config(folder, sandbox, settings), {}, {})


@pytest.fixture
def spawning() -> Iterator[ProcessPoolExecutor]:
    """Give two worker processes, which are begun by the first task."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


def test_importing_annolake_costs_nothing_and_every_name_is_there() -> None:
    """The modules behind the names come with their first use, and all of them are listed."""
    heavy = ("pyarrow", "polars", "httpx", "msgspec")
    program = f"import sys, annolake; print([name for name in {heavy} if name in sys.modules], dir(annolake))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("[] [")
    assert all(repr(name) in done.stdout for name in annolake.__all__)
    assert {name for name in annolake.__all__ if getattr(annolake, name, None) is None} == set()
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        annolake.exprot  # type: ignore[attr-defined]  # noqa: B018 - the look-up is what is tested


def test_a_first_export_imports_nothing_for_masked_arrays(tmp_path: Path) -> None:
    """numpy.ma, which `pa.array` of an array and `np.unique` ask for, takes 10 ms of each start."""
    with Sandbox(Population(rows=40, odd=False, days=2), seed=2) as sandbox:
        config = write_config(tmp_path, sandbox)
        program = (
            "import sys, annolake; "
            f"report = annolake.export(annolake.load_config({str(config)!r})); "
            "print(report.exit_code, 'pyarrow' in sys.modules, 'numpy.ma' in sys.modules)"
        )
        environ = {**os.environ, KEY_VARIABLE: sandbox.api_key}
        done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)

    assert done.stdout == "0 True False\n"


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_an_export_of_an_unchanged_queue_uses_no_function_of_arrow(tmp_path: Path, endpoint: str) -> None:
    """pyarrow.compute takes 40 ms of each start; a first export needs it, and so does feedback."""
    with Sandbox(Population(rows=40, odd=False, days=2), seed=2) as sandbox:
        config = write_config(tmp_path, sandbox, {"source.endpoint": endpoint, "source.feedback": False})
        program = (
            "import sys, annolake; "
            f"report = annolake.export(annolake.load_config({str(config)!r})); "
            "print(report.queues[0].unchanged, 'pyarrow.compute' in sys.modules)"
        )
        environ = {**os.environ, KEY_VARIABLE: sandbox.api_key}
        told = [
            subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
            for _ in range(2)
        ]

    assert [each.stdout for each in told] == ["0 True\n", "40 False\n"]


def test_export_then_new_only_then_one_queue(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a notebook does: reports are typed objects, and nothing is printed."""
    with Sandbox(Population(rows=120, queues=2, odd=False, days=2), seed=2) as sandbox:
        first, second = sandbox.queue_ids
        environ = {KEY_VARIABLE: sandbox.api_key}
        config = annolake.load_config(write_config(tmp_path, sandbox), environ)
        full = annolake.export(config, environ=environ)
        sandbox.queue(first).add(3)
        new = annolake.export(config, mode="new", environ=environ)
        sandbox.queue(second).add(2)
        one = annolake.export(config, queues=[second.upper()], environ=environ)

    assert isinstance(full, annolake.Report)
    assert [(queue.mode, queue.inserted, queue.exit_code) for queue in full.queues] == [("full", 120, 0)] * 2
    assert {queue.queue_id: (queue.mode, queue.inserted) for queue in new.queues} == {
        first: ("new", 3),
        second: ("new", 0),
    }
    assert [(queue.queue_id, queue.inserted) for queue in one.queues] == [(second, 2)]
    assert isinstance(one.queues[0].feedback, annolake.TableReport)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"mode": "newest"}, 'mode: expected "full" or "new", got \'newest\''),
        ({"queues": [" "]}, r"source.queues: .* got \" \" \(in the argument queues\)"),
        ({"queues": []}, "source.queues: expected a list"),
        ({"at_once": 0}, "at_once: expected a number of queues from 1 on, got 0"),
        ({"at_once": 2.5}, "at_once: expected a number of queues from 1 on, got 2.5"),
        ({"at_once": "2"}, "at_once: expected a number of queues from 1 on, got '2'"),
        ({"at_once": True}, "at_once: expected a number of queues from 1 on, got True"),
        ({"at_once": 5}, "at_once: 4 at most without an executor, got 5: hand one over"),
    ],
)
def test_wrong_arguments_are_named(asked: dict[str, Any], message: str, tmp_path: Path) -> None:
    """They are errors of the caller, told before anything is touched."""
    with Sandbox(ONE) as sandbox, pytest.raises(annolake.ConfigError, match=message):
        annolake.export(config_of(sandbox, tmp_path), environ={}, **asked)
    assert not (tmp_path / "lake").exists()


def test_threads_export_as_many_queues_at_once_as_asked(tmp_path: Path) -> None:
    """One after the other, for a service that is to be spared."""
    events: list[annolake.ProgressEvent] = []
    with Sandbox(SEVERAL, seed=2) as sandbox:
        environ = {KEY_VARIABLE: sandbox.api_key}
        report = annolake.export(config_of(sandbox, tmp_path), on_progress=events.append, at_once=1, environ=environ)
    changes = [event.queue_id for number, event in enumerate(events) if event.queue_id != events[number - 1].queue_id]

    assert report.exit_code == 0
    assert changes == [queue.queue_id for queue in report.queues]


def test_progress_comes_as_events_in_the_caller_s_thread(tmp_path: Path) -> None:
    """Of each queue: its phases in order, and figures that grow to those of its report, with which it ends."""
    events: list[annolake.ProgressEvent] = []
    threads = set()

    def note(event: annolake.ProgressEvent) -> None:
        events.append(event)
        threads.add(threading.current_thread())

    with Sandbox(SEVERAL, seed=2) as sandbox:
        environ = {KEY_VARIABLE: sandbox.api_key}
        report = annolake.export(config_of(sandbox, tmp_path), on_progress=note, environ=environ)

    assert threads == {threading.current_thread()}
    for queue in report.queues:
        of_queue = [event for event in events if event.queue_id == queue.queue_id]
        phases = list(dict.fromkeys(event.phase for event in of_queue))
        assert phases == ["started", "reading", "feedback", "merging", "publishing", "ended"]
        assert [event.rows for event in of_queue] == sorted(event.rows for event in of_queue)
        assert of_queue[-1].rows == of_queue[-1].total == 40
        assert of_queue[-1].report == queue
        assert of_queue[-1].requests == queue.requests >= of_queue[-2].requests > 5
        assert of_queue[-1].report is queue
        assert of_queue[-1].name == queue.name


def test_what_on_progress_raises_ends_the_export_in_good_order(tmp_path: Path) -> None:
    """The program gets its own exception; what ran has ended, and the lake's report says so."""

    def fail(_event: annolake.ProgressEvent) -> None:
        raise RuntimeError("of the program")

    with Sandbox(SEVERAL, seed=2) as sandbox:
        environ = {KEY_VARIABLE: sandbox.api_key}
        config = config_of(sandbox, tmp_path)
        with pytest.raises(RuntimeError, match="of the program"):
            annolake.export(config, on_progress=fail, environ=environ)
        (file,) = (tmp_path / "lake/_annolake/reports").iterdir()
        told = json.loads(file.read_text())
        again = annolake.export(config, environ=environ)

    assert (told["state"], told["exit_code"]) == ("finished", 130)
    assert told["error"].startswith("on_progress raised RuntimeError, which ended the export")
    assert {queue["status"] for queue in told["queues"]} <= {"ok", "failed"}
    assert again.exit_code == 0


@pytest.mark.parametrize(
    "raised",
    [KeyboardInterrupt("by the user"), KeyboardInterrupt(1), annolake.InterruptedExport(1), ValueError("at the end")],
    ids=repr,
)
def test_whatever_on_progress_raises_reaches_the_program(raised: BaseException, tmp_path: Path) -> None:
    """Also where its argument is no signal, or one that annolake never gets; and when all queues have ended."""

    def fail(event: annolake.ProgressEvent) -> None:
        if event.phase == "ended":
            raise raised

    with Sandbox(ONE, seed=2) as sandbox:
        config = config_of(sandbox, tmp_path)
        with pytest.raises(type(raised)) as caught:
            annolake.export(config, on_progress=fail, environ={KEY_VARIABLE: sandbox.api_key})
    (file,) = (tmp_path / "lake/_annolake/reports").iterdir()
    told = json.loads(file.read_text())

    assert caught.value is raised
    assert (told["state"], [queue["status"] for queue in told["queues"]]) == ("finished", ["ok"])
    assert told["exit_code"] == (129 if raised.args == (1,) or isinstance(raised, annolake.InterruptedExport) else 130)


ENDS_EARLY = """
import sys
from threading import Event, Thread
import annolake
reading = Event()
def note(event):
    if event.phase == "reading":
        reading.set()
Thread(target=lambda: annolake.export(annolake.load_config(sys.argv[1]), on_progress=note)).start()
reading.wait(60)
"""


def test_a_program_that_ends_before_its_export_is_no_bug(tmp_path: Path) -> None:
    """Python then begins no thread any more; the lake's report says what the program is to do."""
    with Sandbox(Population(rows=400, odd=False), faults=Faults(latency_s=0.4)) as sandbox:
        config = write_config(tmp_path, sandbox, {"source.page_size": 10})
        environ = {**os.environ, KEY_VARIABLE: sandbox.api_key}
        command = [sys.executable, "-c", ENDS_EARLY, str(config)]
        subprocess.run(command, env=environ, timeout=120, check=False, capture_output=True)
    (file,) = (tmp_path / "lake/_annolake/reports").iterdir()
    told = json.loads(file.read_text())

    assert (told["state"], told["exit_code"]) == ("finished", 130)
    assert told["queues"][0]["error"].startswith("the program ended before its export did: have it wait")


def test_exports_leave_nothing_in_logging(tmp_path: Path) -> None:
    """A program that exports every hour has one handler that does nothing, not thousands."""
    with Sandbox(ONE, seed=2) as sandbox:
        config, environ = config_of(sandbox, tmp_path), {KEY_VARIABLE: sandbox.api_key}
        annolake.export(config, environ=environ)
        before = [*logging.getLogger("annolake").handlers]
        annolake.export(config, environ=environ)

    assert logging.getLogger("annolake").handlers == before
    assert len(before) == 1


@pytest.mark.parametrize("on", ["threads of this process", "an executor"])
def test_an_export_is_stopped_from_another_thread(
    on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Queues end with exit code 130 in the report, nothing is printed, and the next export brings the rest.

    Of those that are read no row is published (docs/operating.md#deadlines).
    """
    stop = threading.Event()

    def stop_at(_sandbox: Sandbox, number: int) -> None:
        if number == 12:
            stop.set()

    with (
        Sandbox(Population(rows=60, queues=6, odd=False, days=2), seed=2, before_request=stop_at) as sandbox,
        ThreadPoolExecutor(2) as pool,
    ):
        monkeypatch.setenv(KEY_VARIABLE, sandbox.api_key)
        config = config_of(sandbox, tmp_path, {"source.max_requests_per_second": 20})
        executor: Executor | None = pool if on == "an executor" else None
        stopped = annolake.export(config, stop=stop, executor=executor)
        published = {path.parts[-3] for path in (tmp_path / "lake/runs").glob("*/*/part-*.parquet")}
        again = annolake.export(config_of(sandbox, tmp_path), executor=executor)

    assert stopped.exit_code == 130
    assert {(queue.status, queue.exit_code) for queue in stopped.queues} <= {("ok", 0), ("failed", 130)}
    assert "interrupted by signal 2" in str(stopped.queues[-1].error)
    assert published == {f"queue_id={queue.queue_id}" for queue in stopped.queues if queue.status == "ok"}
    assert all(queue.finished_at for queue in stopped.queues)
    assert (again.exit_code, {queue.rows_seen for queue in again.queues}) == (0, {60})
    assert list((tmp_path / "lake/_annolake/tmp").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_queues_that_wait_in_an_executor_end_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its threads are busy with something else: what has not begun is given up."""
    stop, release = threading.Event(), threading.Event()
    with Sandbox(SEVERAL, seed=2) as sandbox, ThreadPoolExecutor(1) as pool:
        monkeypatch.setenv(KEY_VARIABLE, sandbox.api_key)
        other = pool.submit(release.wait, 120)
        threading.Timer(0.3, stop.set).start()
        report = annolake.export(config_of(sandbox, tmp_path), executor=pool, at_once=5, stop=stop)
        was_running = other.running()
        release.set()

        assert sandbox.requests == []
    assert was_running
    assert {(queue.status, queue.exit_code) for queue in report.queues} == {("failed", 130)}


def test_an_executor_that_takes_nothing_is_told(tmp_path: Path) -> None:
    """It was shut down, perhaps: no worker was lost."""
    with ThreadPoolExecutor(1) as pool:
        pass
    with Sandbox(SEVERAL, seed=2) as sandbox:
        report = annolake.export(config_of(sandbox, tmp_path), executor=pool)

    assert report.exit_code == 4
    assert {queue.error for queue in report.queues} == {
        "the executor takes no queue (RuntimeError): hand over one that runs, and run it again"
    }


@pytest.mark.parametrize(
    "error",
    [
        annolake.ConfigError("a setting"),
        annolake.ServiceError("it stayed away", status=503, endpoint="/api", attempts=5),
        RefusedError("it said no", status=401, endpoint="/api", attempts=1),
        annolake.LockedError("it is held", holder="another"),
        InterruptedExport(15),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel_between_processes(error: annolake.AnnolakeError, spawning: ProcessPoolExecutor) -> None:
    """As those of a program's own pool do, which would break where one could not be read."""
    there = spawning.submit(copy, error).result()

    assert (type(there), str(there), there.exit_code) == (type(error), str(error), error.exit_code)
    assert vars(there) == vars(error)


def test_an_export_runs_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spawning: ProcessPoolExecutor
) -> None:
    """Its settings travel there, and its report back."""
    with Sandbox(ONE) as sandbox:
        monkeypatch.setenv(KEY_VARIABLE, sandbox.api_key)
        report = spawning.submit(annolake.export, config_of(sandbox, tmp_path)).result()

    assert (report.exit_code, report.queues[0].inserted) == (0, 1)


def test_a_stop_that_is_set_already_begins_nothing(tmp_path: Path) -> None:
    """No request is sent."""
    stop = threading.Event()
    stop.set()
    with Sandbox(SEVERAL, seed=2) as sandbox:
        config = config_of(sandbox, tmp_path)
        report = annolake.export(config, stop=stop, environ={KEY_VARIABLE: sandbox.api_key})

        assert sandbox.requests == []
    assert {(queue.status, queue.exit_code) for queue in report.queues} == {("failed", 130)}


@pytest.mark.parametrize("queues", ["all", ["Support"]])
@pytest.mark.parametrize("when", ["before", "while the service is asked"])
def test_a_stop_before_the_queues_are_known_returns_the_report(queues: Any, when: str, tmp_path: Path) -> None:
    """Without entries, with the exit code of a stop; the lake's report is the same."""
    stop = threading.Event()
    if when == "before":
        stop.set()

    def stop_now(_sandbox: Sandbox, _number: int) -> None:
        stop.set()
        for watcher in threading.enumerate():
            if watcher.name == "stop":
                watcher.join()

    with Sandbox(SEVERAL, seed=2, before_request=stop_now) as sandbox:
        config = config_of(sandbox, tmp_path, {"source.queues": queues})
        report = annolake.export(config, stop=stop, environ={KEY_VARIABLE: sandbox.api_key})
    (file,) = (tmp_path / "lake/_annolake/reports").iterdir()

    assert (report.state, report.exit_code, report.queues) == ("finished", 130, [])
    assert "interrupted by signal 2" in str(report.error)
    assert len(sandbox.requests) == (when != "before")
    assert json.loads(file.read_text()) == report.as_record()


def test_executors_make_the_same_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spawning: ProcessPoolExecutor
) -> None:
    """Row for row in every table, in threads and in processes that were begun anew; the report is alike too.

    Of a queue on an executor its end is told, once.
    """
    reports, lakes = [], []
    events: list[annolake.ProgressEvent] = []
    with Sandbox(SEVERAL, seed=5) as sandbox, ThreadPoolExecutor(3) as threads:
        monkeypatch.setenv(KEY_VARIABLE, sandbox.api_key)
        for number, executor in enumerate([None, threads, spawning]):
            folder = tmp_path / str(number)
            folder.mkdir()
            note = events.append if executor else None
            reports.append(annolake.export(config_of(sandbox, folder), executor=executor, on_progress=note))
            lakes.append(rows_of(folder / "lake"))
            assert list((folder / "lake/_annolake/tmp").iterdir()) == []

    assert lakes[0] == lakes[1] == lakes[2]
    assert {"feedback", "queues", "runs"} <= lakes[0].keys()
    assert len(lakes[0]["runs"]) == 200
    told = [[(queue.queue_id, queue.name, queue.inserted, queue.status) for queue in each.queues] for each in reports]
    assert told[0] == told[1] == told[2]
    assert {each.exit_code for each in reports} == {0}
    assert [(event.phase, event.rows) for event in events] == [("ended", 40)] * 10
    assert [event.report for event in events[5:]] == sorted(
        reports[2].queues, key=lambda queue: [event.queue_id for event in events[5:]].index(queue.queue_id)
    )


def test_processes_that_are_forks_are_refused(tmp_path: Path) -> None:
    """They would hang in the threads of polars, which a fork does not have."""
    forking = multiprocessing.get_context("fork")
    with (
        Sandbox(ONE) as sandbox,
        ProcessPoolExecutor(2, mp_context=forking) as executor,
        pytest.raises(annolake.ConfigError, match=r'get_context\("spawn"\)'),
    ):
        annolake.export(config_of(sandbox, tmp_path), executor=executor)


def test_a_worker_without_the_key_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own key does not travel: each queue fails with the name of the variable and of the worker."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with Sandbox(SEVERAL, seed=2) as sandbox, ThreadPoolExecutor(2) as executor:
        config = config_of(sandbox, tmp_path)
        report = annolake.export(config, executor=executor, environ={KEY_VARIABLE: sandbox.api_key})

    assert report.exit_code == 2
    said = f"on the worker of process {os.getpid()} on host {os.uname().nodename}: {KEY_VARIABLE} is not set"
    assert all(str(queue.error).startswith(said) for queue in report.queues)


def test_a_process_that_dies_fails_its_queues_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spawning: ProcessPoolExecutor
) -> None:
    """The pool is broken from then on, which is the pool's way; the next export brings the queues."""

    def kill_at(_sandbox: Sandbox, number: int) -> None:
        if number == 4:
            for pid in [*spawning._processes]:
                os.kill(pid, signal.SIGKILL)

    with Sandbox(SEVERAL, seed=2, before_request=kill_at) as sandbox:
        monkeypatch.setenv(KEY_VARIABLE, sandbox.api_key)
        report = annolake.export(config_of(sandbox, tmp_path), executor=spawning)
        again = annolake.export(config_of(sandbox, tmp_path))

    assert report.exit_code == 4
    assert {queue.error for queue in report.queues if queue.status == "failed"} == {
        "a worker was lost while it exported the queue (BrokenProcessPool): look at its log, and run it again"
    }
    assert (again.exit_code, {queue.rows_seen for queue in again.queues}) == (0, {40})


def test_logs_go_to_the_program_s_own_logging(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The logger "annolake" of the standard library has them, for programs that want them."""
    caplog.set_level(logging.INFO, "annolake")
    with Sandbox(Population(rows=20, days=2), seed=2) as sandbox:
        annolake.export(config_of(sandbox, tmp_path), environ={KEY_VARIABLE: sandbox.api_key})

    assert any(message.startswith("queue_finished queue_id=") for message in caplog.messages)
    assert sandbox.api_key not in caplog.text
