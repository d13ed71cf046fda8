"""Queues on a Dask cluster: a real one, of worker processes on this machine."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import dask
import pytest
from distributed import Client, Event, LocalCluster, Worker

from annolake.config import load_config
from annolake.errors import ConfigError, InterruptedExport, WorkerError
from annolake.interruption import Interruption
from annolake.observers.events import LiveQueue, ProgressEvent, ToldQueue
from annolake.pipeline import export
from annolake.queue_task import QueueTask
from annolake.report import QueueReport, Report
from annolake.run_on import workers_at
from annolake.run_on.dask import DaskWorkers, _Line
from annolake.sandbox import Population, Sandbox
from annolake.wiring import open_lake
from exporting import KEY_VARIABLE, annolake, write_config
from lakes import rows_of, runs_in
from object_store import ObjectStore

KEY = "lsv2_pt_dask_0123456789abcdef"
"""Of all sandboxes here: the workers' environment has it, and nothing that is sent may."""

ANY_PORT = "127.0.0.1:0"
ONE = Population(rows=60, days=2)
SEVERAL = Population(rows=20, queues=4, days=2)


@pytest.fixture(scope="module")
def cluster(object_store: ObjectStore) -> Iterator[LocalCluster]:
    """Give a cluster of two workers, which have the key and the object store's credentials in their environment."""
    environ = {KEY_VARIABLE: KEY, **object_store.environ()}
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "30s"}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=ANY_PORT, env=environ, silence_logs=False
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    """Give a connection to the cluster, all workers of which are there."""
    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


def address_of(cluster: LocalCluster) -> str:
    """Return the cluster's address for --on."""
    return str(cluster.scheduler_address).replace("tcp://", "dask://")


def export_on(workers: DaskWorkers | None, sandbox: Sandbox, folder: Path, **asked: Any) -> Report:
    """Export a sandbox's queues into `folder/lake`; the driver has no key where the workers are to have it."""
    settings = asked.pop("settings", {})
    folder.mkdir(exist_ok=True)
    environ = {} if workers else {KEY_VARIABLE: KEY}
    config = load_config(write_config(folder, sandbox, settings), environ, {})
    return export(config, environ, workers=workers, **asked)


UNHURRIED = {"source.max_requests_per_second": 30}
"""Slow enough for queues to be in the middle when something happens to them."""


def killing(client: Client, at: int, afterwards: Callable[[], object] = lambda: None) -> Callable[[Sandbox, int], None]:
    """Return what kills a worker that has a queue, just before the sandbox answers that request."""

    def kill(_sandbox: Sandbox, number: int) -> None:
        if number == at:
            busy = [worker for worker, tasks in client.processing().items() if tasks]
            (victim,) = client.run(os.getpid, workers=busy[:1]).values()
            os.kill(victim, signal.SIGKILL)
            afterwards()

    return kill


class Heard:
    """A log and a progress that write down what they are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.queues: dict[str, list[LiveQueue]] = {}
        self.phases: dict[str, list[str]] = {}
        self.planned_queues = 0
        self.ended: list[str] = []

    def debug(self, event: str, **facts: Any) -> None:
        """Note an event."""
        self.told.append((event, facts))

    info = warning = error = debug

    def planned(self, queues: int) -> None:
        """Note how many queues there are."""
        self.planned_queues = queues

    def entered(self, queue: LiveQueue) -> None:
        """Note a queue, and which of its phases begins."""
        self.queues.setdefault(queue.queue_id, []).append(queue)
        self.phases.setdefault(queue.queue_id, []).append(queue.now().phase)

    def finished(self, queue: QueueReport) -> None:
        """Note that a queue ended."""
        self.ended.append(queue.queue_id)

    def deliver(self) -> None:
        """Do nothing."""


def test_the_command_exports_on_a_cluster(cluster: LocalCluster, client: Client, tmp_path: Path) -> None:
    """The lake is that of one process row for row; the report and the exit code are as ever; the key stays away."""
    del client  # the workers are there
    with Sandbox(SEVERAL, seed=5, api_key=KEY) as sandbox:
        alone = export_on(None, sandbox, tmp_path / "alone")
        on = address_of(cluster)
        config = write_config(tmp_path, sandbox)
        ran = annolake("run", "--config", config, "--json", "--on", on, cwd=tmp_path)
        again = annolake("run", "--config", config, "--json", "--on", on, "--new-only", cwd=tmp_path)

    assert (alone.exit_code, ran.exit_code, again.exit_code) == (0, 0, 0), ran.err
    assert rows_of(tmp_path / "lake") == rows_of(tmp_path / "alone/lake")
    assert [queue["inserted"] for queue in ran.report["queues"]] == [20] * 4
    assert {queue["mode"] for queue in again.report["queues"]} == {"new"}
    assert "event=queue_finished" in ran.err
    assert KEY not in ran.out + ran.err
    assert list((tmp_path / "lake/_annolake/tmp").iterdir()) == []


def test_no_profiler_can_hang_a_worker(client: Client, tmp_path: Path) -> None:
    """Before Python 3.12 Dask's profiler can, once a process starts as many threads as an export does."""

    def is_profiled(dask_worker: Worker) -> bool:
        return bool(dask_worker.periodic_callbacks["profile"].is_running())

    with Sandbox(SEVERAL, api_key=KEY) as sandbox:
        export_on(DaskWorkers(client), sandbox, tmp_path)

    assert {*client.run(is_profiled).values()} == {sys.version_info >= (3, 12)}


def test_progress_and_log_come_back_and_the_key_does_not(client: Client, tmp_path: Path) -> None:
    """Each queue starts, and its rows are told; neither event, task nor log of scheduler and workers has the key."""
    heard = Heard()
    with Sandbox(SEVERAL, seed=5, api_key=KEY) as sandbox:
        report = export_on(DaskWorkers(client), sandbox, tmp_path, log=heard, progress=heard)

    assert report.exit_code == 0
    assert heard.planned_queues == 4
    assert sorted(heard.ended) == sorted(heard.queues) == sorted(sandbox.queue_ids)
    assert all(phases[0] == "started" and "merging" in phases for phases in heard.phases.values())
    last = {queue_id: queues[-1].now() for queue_id, queues in heard.queues.items()}
    assert {(event.rows, event.total) for event in last.values()} == {(20, 20)}
    assert all(event.requests > 5 and event.name for event in last.values())
    assert all(len({*map(id, queues)}) == 1 for queues in heard.queues.values())
    assert [event for event, _ in heard.told].count("queue_finished") == 4
    known = str([client.get_events(), client.get_scheduler_logs(), client.get_worker_logs(), heard.told])
    assert f"annolake-{report.export_id}" in known
    assert KEY not in known


def test_tasks_on_one_worker_tell_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message has what all of them told so far, in order; after its end a task tells no more figures."""
    monkeypatch.setattr("annolake.run_on.dask._TELL_EVERY_S", 60)
    worker, queue = HeardWorker(), ToldQueue(ProgressEvent(queue_id="b", phase="reading"))
    line = _Line(cast("Worker", worker), "topic", cast("Event", threading.Event()))
    try:
        with line.teller() as one:
            with line.teller() as other:
                one.info("begun", queue_id="a")
                other.entered(queue)
                one.warning("odd", queue_id="a", status=Path("b"))
            assert len(worker.messages) == 1
            queue.latest = ProgressEvent(queue_id="b", phase="reading", rows=9)
            other.note_figures()
            one.error("failed", queue_id="a")
    finally:
        line.end()

    assert [topic for topic, _ in worker.messages] == ["topic", "topic"]
    verbs = [[each["verb"] for each in told] for _, told in worker.messages]
    assert verbs == [["info", "progress", "warning"], ["error"]]
    assert worker.messages[0][1][2]["told"] == {"event": "odd", "facts": {"queue_id": "a", "status": "b"}}
    assert not any(thread.name == "progress" for thread in threading.enumerate())


class HeardWorker:
    """A worker that keeps what is logged as events."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, list[dict[str, Any]]]] = []

    def log_event(self, topic: str, message: list[dict[str, Any]]) -> None:
        """Keep a message."""
        self.messages.append((topic, message))


def test_a_worker_that_is_killed_is_replaced(client: Client, tmp_path: Path) -> None:
    """Dask runs its queue again on another worker, which takes over; the lake is whole and nothing is left over."""
    with Sandbox(SEVERAL, seed=5, api_key=KEY) as sandbox:
        alone = export_on(None, sandbox, tmp_path / "alone")
    with Sandbox(SEVERAL, seed=5, api_key=KEY, before_request=killing(client, at=9)) as sandbox:
        before = {*client.run(os.getpid).values()}
        report = export_on(DaskWorkers(client), sandbox, tmp_path, settings=UNHURRIED)

    assert (report.exit_code, alone.exit_code) == (0, 0), [queue.error for queue in report.queues]
    assert rows_of(tmp_path / "lake") == rows_of(tmp_path / "alone/lake")
    assert list((tmp_path / "lake/_annolake/tmp").iterdir()) == []
    client.wait_for_workers(2, timeout=60)
    assert len(before & {*client.run(os.getpid).values()}) == 1


def test_the_last_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    """The new one has another address than the tasks were handed to, and takes them all the same."""
    with Sandbox(SEVERAL, seed=5, api_key=KEY) as sandbox:
        alone = export_on(None, sandbox, tmp_path / "alone")
    interruption = Interruption()
    too_long = threading.Timer(120, interruption.interrupt, [signal.SIGTERM])  # else a failure would hang
    too_long.start()
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=ANY_PORT, env={KEY_VARIABLE: KEY}) as one,
        Client(one, set_as_default=False) as client,
        Sandbox(SEVERAL, seed=5, api_key=KEY, before_request=killing(client, at=24)) as sandbox,
    ):
        slow = {"source.max_requests_per_second": 8}  # the tasks are there for some seconds when it dies
        report = export_on(DaskWorkers(client), sandbox, tmp_path, settings=slow, interruption=interruption)
    too_long.cancel()

    assert (report.exit_code, alone.exit_code) == (0, 0), [queue.error for queue in report.queues]
    assert rows_of(tmp_path / "lake") == rows_of(tmp_path / "alone/lake")


def test_a_lake_in_an_object_store_needs_no_disk(
    object_store: ObjectStore, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is not let go by a worker that is killed: the next attempt waits for it, and then brings all rows."""
    for name, value in object_store.environ().items():
        monkeypatch.setenv(name, value)
    with Sandbox(ONE, seed=5, api_key=KEY) as sandbox:
        alone = export_on(None, sandbox, tmp_path)
    settings: dict[str, Any] = {"lake.path": object_store.address(), "source.max_requests_per_second": 10}

    def unlock() -> None:  # as its ttl, a minute, would
        open_lake(config, os.environ).unlock(sandbox.queue_ids[0])

    with Sandbox(ONE, seed=5, api_key=KEY, before_request=killing(client, 6, unlock)) as sandbox:
        config = load_config(write_config(tmp_path, sandbox, settings), {}, {})
        report = export(config, os.environ, workers=DaskWorkers(client))

    assert (report.exit_code, alone.exit_code) == (0, 0), report.queues[0].error
    here = {row["queue_run_id"]: row for row in rows_of(tmp_path / "lake")["runs"]}
    assert runs_in(settings["lake.path"], object_store.environ()) == here
    client.wait_for_workers(2, timeout=60)


def test_a_worker_that_dies_each_time_fails_its_queues_alone(
    cluster: LocalCluster, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask gives a task up whose workers die again and again, here once; the other queues are exported."""
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    with Sandbox(SEVERAL, seed=5, api_key=KEY, before_request=killing(client, at=9)) as sandbox:
        report = export_on(DaskWorkers(client), sandbox, tmp_path, settings=UNHURRIED)

    failed = [queue for queue in report.queues if queue.status == "failed"]
    assert (report.exit_code, len(failed)) in {(4, 1), (4, 2)}
    assert {queue.error for queue in failed} == {
        "a worker was lost while it exported the queue (KilledWorker): look at its log, and run it again"
    }
    assert {queue.inserted for queue in report.queues if queue.status == "ok"} == {20}
    client.wait_for_workers(2, timeout=60)


def test_an_interruption_ends_the_queues_in_good_order(client: Client, tmp_path: Path) -> None:
    """Ctrl-C reaches the workers: their queues end as interrupted, and the next export brings the rest."""
    interruption = Interruption()

    def interrupt_at(_sandbox: Sandbox, number: int) -> None:
        if number == 8:
            interruption.interrupt(signal.SIGTERM)

    slow = {"source.max_requests_per_second": 8}
    with Sandbox(SEVERAL, seed=5, api_key=KEY, before_request=interrupt_at) as sandbox:
        workers = DaskWorkers(client)
        ended = export_on(workers, sandbox, tmp_path, settings=slow, interruption=interruption)
        again = export_on(workers, sandbox, tmp_path)

    assert ended.exit_code == 143
    assert {queue.status for queue in ended.queues} <= {"ok", "failed"}
    assert {queue.exit_code for queue in ended.queues} <= {0, 143}
    assert all("interrupted" in str(queue.error) for queue in ended.queues if queue.status == "failed")
    assert (again.exit_code, {queue.rows_seen for queue in again.queues}) == (0, {20})
    assert list((tmp_path / "lake/_annolake/tmp").iterdir()) == []


def test_queues_that_wait_for_a_worker_end_at_once(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers are busy with what others want of them: what has not begun is given up."""
    monkeypatch.setattr("annolake.run_on.dask._BEGINNING_S", 0.1)
    interruption, release = Interruption(), Event("release", client)

    class Stopped(DaskWorkers):
        def submit(self, task: QueueTask) -> Future[QueueReport]:
            export = super().submit(task)
            interruption.interrupt(signal.SIGTERM)
            return export

    blocked = [
        client.submit(Event.wait, release, 120, workers=[worker], pure=False)
        for worker in client.scheduler_info()["workers"]
    ]
    try:
        with Sandbox(SEVERAL, seed=5, api_key=KEY) as sandbox:
            report = export_on(Stopped(client), sandbox, tmp_path, interruption=interruption)
            requests = len(sandbox.requests)
        assert not any(each.done() for each in blocked)
        assert Event(f"annolake-{report.export_id}", client).is_set()  # for a worker that comes to them all the same
    finally:
        release.set()
        client.gather(blocked)

    assert (requests, report.exit_code) == (0, 143)
    assert {queue.error for queue in report.queues} == {
        "interrupted by signal 15: run it again; what was published stays"
    }


def test_a_silent_scheduler_makes_nobody_wait(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be asked stays as it was, and an export that is to end is not held up."""
    workers, never = DaskWorkers(client), threading.Event()
    assert workers.sharing(8) == 4
    monkeypatch.setattr("annolake.run_on.dask._ANSWER_S", 0.05)
    monkeypatch.setattr("annolake.run_on.dask._LOOK_AT_WORKERS_EVERY_S", 0)
    monkeypatch.setattr(client, "nthreads", never.wait)
    monkeypatch.setattr(client, "sync", lambda *_args, **_options: never.wait())

    assert workers.sharing(8) == 4
    workers.stop()
    never.set()


def test_a_worker_that_cannot_load_annolake_is_named(tmp_path: Path) -> None:
    """Before it is sent a task: that would end its process."""

    def hide() -> None:
        sys.modules["annolake.run_on.dask"] = cast("Any", None)

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=ANY_PORT) as one,
        Client(one, set_as_default=False) as client,
        Sandbox(SEVERAL, api_key=KEY) as sandbox,
    ):
        client.run(hide)
        (address,) = client.scheduler_info()["workers"]
        with pytest.raises(ConfigError, match=f"^the Dask worker at {address} cannot load annolake .*Error.: install"):
            export_on(DaskWorkers(client), sandbox, tmp_path)
        assert sandbox.requests == []


def test_a_worker_without_the_key_says_so(client: Client, tmp_path: Path) -> None:
    """The variable that the settings name is the worker's, not the driver's."""
    with Sandbox(SEVERAL, seed=5, api_key=KEY) as sandbox:
        config = load_config(write_config(tmp_path, sandbox, {"source.api_key_env": "DRIVERS_KEY"}), {}, {})
        report = export(config, {"DRIVERS_KEY": KEY}, workers=DaskWorkers(client))

        assert sandbox.requests == []
    assert report.exit_code == 2
    assert all("DRIVERS_KEY is not set" in str(queue.error) for queue in report.queues)
    assert all(str(queue.error).startswith("on the worker of process ") for queue in report.queues)


def test_a_folder_of_another_host_is_refused_before_anything_runs(client: Client, tmp_path: Path) -> None:
    """Unless it is said to be shared; then the workers are believed to have it."""
    with Sandbox(Population(rows=5, odd=False, days=2), api_key=KEY) as sandbox:
        workers = DaskWorkers(client, host="elsewhere")
        with pytest.raises(ConfigError, match=r"lake.* on host elsewhere.* lake.shared = true"):
            export_on(workers, sandbox, tmp_path)
        assert sandbox.requests == []
        report = export_on(workers, sandbox, tmp_path, settings={"lake.shared": True})

    assert (report.exit_code, report.queues[0].inserted) == (0, 5)


def test_two_drivers_at_once_export_each_queue_once(cluster: LocalCluster, tmp_path: Path) -> None:
    """Where one has a queue the other leaves it to it, with exit code 6; the lake is right and none is doubled."""
    both = threading.Barrier(2, timeout=60)

    def drive(_number: int) -> Report:
        with Client(cluster, set_as_default=False) as client:
            both.wait()
            return export(config, {}, workers=DaskWorkers(client))

    with Sandbox(SEVERAL, seed=5, api_key=KEY) as sandbox, ThreadPoolExecutor(2) as drivers:
        config = load_config(write_config(tmp_path, sandbox), {}, {})
        reports = [*drivers.map(drive, range(2))]
        alone = export_on(None, sandbox, tmp_path / "alone")

    assert alone.exit_code == 0
    assert rows_of(tmp_path / "lake") == rows_of(tmp_path / "alone/lake")
    ended = [{report.queues[place].status for report in reports} for place in range(4)]
    assert all("ok" in states and states <= {"ok", "skipped"} for states in ended)
    # less than all where Dask ran a task a second time: rows that its first attempt published count for neither
    assert sum(queue.inserted for report in reports for queue in report.queues) <= 80


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://host:8786", "--on: expected the address of a Dask scheduler, .* got 'ray://host:8786'"),
        ("host:8786", "--on: expected the address of a Dask scheduler"),
        ("dask://host", "--on: expected dask:// and a host and port"),
        ("dask://user:secret@host:8786", "--on: expected dask:// and a host and port"),
        ("dask://a..b:8786", "--on: expected dask:// and a host and port"),
        (f"dask://{'a' * 64}.b:8786", "--on: expected dask:// and a host and port"),
    ],
)
def test_an_address_that_is_none_is_refused(address: str, message: str) -> None:
    """Before anything is asked of a network."""
    with pytest.raises(ConfigError, match=message), workers_at(address, Interruption()):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", f"{'a' * 63}.invalid", f"invalid.{'a' * 63}"])
def test_a_scheduler_that_is_not_there_is_told(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do about it, and the exit code of a service that stays away."""
    monkeypatch.setattr("annolake.run_on.dask.CONNECT_S", 1)
    with (
        pytest.raises(WorkerError, match=f"no Dask scheduler answers at {host}:9: start one"),
        workers_at(f"dask://{host}:9", Interruption()),
    ):
        pass


def test_who_listens_and_says_nothing_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port of something else, perhaps; a signal ends that wait too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"dask://127.0.0.1:{silent.getsockname()[1]}"
        interruption = Interruption()
        interruption.interrupt(signal.SIGTERM)
        with pytest.raises(InterruptedExport), workers_at(address, interruption):
            pass
        monkeypatch.setattr("annolake.run_on.dask.CONNECT_S", 0.5)
        with pytest.raises(WorkerError, match="no Dask scheduler answers at 127"), workers_at(address, Interruption()):
            pass


def test_who_speaks_something_else_is_no_scheduler(client: Client) -> None:
    """A worker, whose port was taken for the scheduler's; or a program of another kind."""

    def greet() -> None:
        with suppress(OSError):
            while True:
                connection, _ = other.accept()
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    (one, *_) = client.scheduler_info()["workers"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=greet, daemon=True).start()
        for address in (one.removeprefix("tcp://"), f"127.0.0.1:{other.getsockname()[1]}"):
            with (
                pytest.raises(WorkerError, match=f"no Dask scheduler answers at {address}: start one"),
                workers_at(f"dask://{address}", Interruption()),
            ):
                pass


def test_a_cluster_without_workers_is_told(tmp_path: Path) -> None:
    """An export that would wait for ever is refused."""
    with (
        LocalCluster(n_workers=0, dashboard_address=ANY_PORT) as empty,
        Client(empty, set_as_default=False) as client,
        Sandbox(SEVERAL, api_key=KEY) as sandbox,
        pytest.raises(WorkerError, match="the Dask scheduler has no worker: start some with `dask worker`"),
    ):
        export_on(DaskWorkers(client), sandbox, tmp_path)


def test_queues_are_spread_over_the_workers_some_on_each(client: Client) -> None:
    """As many on each as a process exports at once, fewer where there are few, more to spare a round; never none."""
    workers = DaskWorkers(client)

    assert [workers.at_once(queues) for queues in (0, 1, 5, 11, 12, 20, 40)] == [1, 1, 5, 11, 8, 10, 8]
    assert [workers.sharing(at_once) for at_once in (1, 5, 8, 11)] == [1, 3, 4, 6]


def test_workers_are_not_asked_for_with_each_queue(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the many questions of a hand-out one goes to the scheduler."""
    looks, nthreads = list[Any](), client.nthreads

    def look() -> Any:
        looks.append(nthreads())
        return looks[-1]

    monkeypatch.setattr(client, "nthreads", look)
    monkeypatch.setattr("annolake.run_on.dask._LOOK_AT_WORKERS_EVERY_S", 60)
    workers = DaskWorkers(client)

    assert {workers.sharing(workers.at_once(20)) for _ in range(20)} == {5}
    assert len(looks) == 1
