"""Queues on the workers of a Dask cluster (docs/operating.md#many-machines).

Owns what Dask is asked for. A task whose worker dies is run again by Dask, on another one. What a worker tells travels
as events of a topic, which is named by the export's id, and so is the event by which it is stopped.
"""

import importlib
import logging
import math
import os
import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from threading import Event as ThreadEvent
from threading import Lock, Thread
from typing import Any, TypeVar

import msgspec
from distributed import Client, Event, Worker, get_client, get_worker, secede
from distributed.versions import VersionMismatchWarning

from annolake.background import in_background
from annolake.clock import Clock
from annolake.config import Config
from annolake.errors import AnnolakeError, ConfigError, InterruptedExport, WorkerError
from annolake.interruption import HEED_S, Interruption
from annolake.observers.events import LiveQueue, ProgressEvent, ToldQueue
from annolake.observers.protocols import Log, Progress
from annolake.queue_task import ENDING_S, QUEUES_AT_ONCE, PackedTask, QueueTask, foreign_disk, work
from annolake.report import QueueReport
from annolake.shared import shared
from annolake.wiring import is_on_disk

T = TypeVar("T")

CONNECT_S = 10
STOP_EVERY_S = 0.5
_ANSWER_S = 5.0  # of the scheduler to a question; then it is done without
_LOAD_S = 20.0  # a worker that has not loaded annolake by then, from a slow disk perhaps, is not waited for
_BEGINNING_S = 2.0  # a task that runs has told of itself by then
_LOOK_EVERY_S = 0.9 * STOP_EVERY_S  # of all tasks together: one alone looks each time
_TELL_EVERY_S = 0.5
_LOOK_AT_WORKERS_EVERY_S = 0.5
_WHERE = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}")


@contextmanager
def connected(where: str, interruption: Interruption) -> Iterator["DaskWorkers"]:
    """Be connected to the scheduler at "host:8786".

    Raises ConfigError where that is no address, WorkerError where no scheduler answers, InterruptedExport.
    """
    if not _is_address(where):
        raise ConfigError(f"--on: expected dask:// and a host and port, such as dask://host:8786, got {where!r}")
    for name in ("distributed", "distributed.client"):  # what is wrong is said in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", VersionMismatchWarning)  # of Python and Dask; annolake's own is looked at
    client = _connect(where, interruption)
    try:
        yield DaskWorkers(client, interruption=interruption)
    finally:
        with suppress(OSError):
            client.close(timeout=_ANSWER_S)


def _is_address(where: str) -> bool:
    """Tell whether it is a host and port, of a name that can be looked up."""
    try:
        return bool(_WHERE.fullmatch(where) and where.rpartition(":")[0].encode("idna"))
    except UnicodeError:
        return False


def _connect(where: str, interruption: Interruption) -> Client:
    """Return a connection. Dask itself waits for ever for one who takes the connection, and says nothing."""
    try:
        return _within(
            CONNECT_S, lambda: _Client(f"tcp://{where}", timeout=CONNECT_S, set_as_default=False), interruption
        )
    except AnnolakeError:
        raise
    except Exception:  # noqa: BLE001 - refused, unknown or silent; or it speaks something else, be it a worker
        raise WorkerError(
            f"no Dask scheduler answers at {where}: start one with `dask scheduler`, or correct --on"
        ) from None


class _Client(Client):  # type: ignore[misc]  # Dask has no types
    """A connection that is closed by who opened it."""

    def __del__(self) -> None:
        """Do nothing: Dask would wait 20 seconds for a scheduler that was never there."""


def _within(seconds: float, call: Callable[[], T], interruption: Interruption | None = None) -> T:
    """Return what a call returns that may never end: it is made in a thread that nobody waits for longer.

    Raises TimeoutError, which is an OSError; InterruptedExport.
    """
    answer, clock = in_background(call, "dask"), Clock()
    until = clock.monotonic() + seconds
    while not answer.done() and (left := until - clock.monotonic()) > 0:
        wait([answer], min(left, HEED_S))
        if interruption is not None and interruption.signal_number is not None:
            raise InterruptedExport(interruption.signal_number)
    return answer.result(0)


class DaskWorkers:
    """The workers of the cluster that `client` is connected to; `host` is this machine's name."""

    def __init__(self, client: Client, host: str | None = None, interruption: Interruption | None = None) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._host = host or socket.gethostname()
        self._interruption = interruption
        self._topic, self._is_stopped, self._gave_up = "", False, False
        self._begun = set[str]()
        self._clock = Clock()
        self._there, self._there_until = list[str](), -math.inf

    def at_once(self, queues: int) -> int:
        """Return as many for each worker as a process exports at once, for they wait more than they compute.

        It is up to half as many more where the last round would leave most workers idle.
        """
        usual = QUEUES_AT_ONCE * max(1, len(self._workers()))
        rounds = max(1, round(queues / usual))
        return max(1, min(queues, max(usual, math.ceil(queues / rounds))))

    def sharing(self, at_once: int) -> int:
        """Return how many queues a worker has when they are spread evenly."""
        return math.ceil(at_once / max(1, len(self._workers())))

    def _workers(self) -> list[str]:
        """Return the workers, as they were just now.

        Each look is a round trip, which takes the longer the more the scheduler has to do: 20 queues would be handed
        out in a tenth of a second and more, 40 looks. Where the scheduler does not answer they are as they were.
        """
        if self._clock.monotonic() >= self._there_until:
            with suppress(OSError):
                self._there = [*self._asked(self._client.nthreads)]
            self._there_until = self._clock.monotonic() + _LOOK_AT_WORKERS_EVERY_S
        return self._there

    @contextmanager
    def serving(self, config: Config, export_id: str, log: Log, progress: Progress) -> Iterator[None]:
        """Hear what workers tell as long as the block runs."""
        if not self._workers():
            raise WorkerError("the Dask scheduler has no worker: start some with `dask worker`, and run it again")
        self._look_at_each(config)
        self._topic, self._is_stopped, self._gave_up = f"annolake-{export_id}", False, False
        self._begun = set()
        self._client.subscribe_topic(self._topic, _hearing(log, progress, self._begun))
        try:
            yield
        finally:
            self._client.unsubscribe_topic(self._topic)
            # where a queue was given up it stays, for the worker that comes back to it; else the scheduler forgets it
            if self._is_stopped and not self._gave_up:
                with suppress(OSError):
                    self._asked(Event(self._topic, self._client).clear)

    def _look_at_each(self, config: Config) -> None:
        """Raise ConfigError where a worker lacks annolake, or is on a host that may not have the lake's folder."""
        loaded: dict[str, Any] = {}
        with suppress(OSError):  # one that does not answer is Dask's to replace, and the others export
            # a task that cannot be loaded, since it is annolake's, would end the worker's process
            loaded = self._of_each(_LOAD_S, importlib.import_module, __name__, on_error="return")
        for worker, found in loaded.items():
            if isinstance(found, ImportError):
                raise ConfigError(
                    f"the Dask worker at {worker} cannot load annolake ({type(found).__name__}): install it there, in "
                    "the same version and with the extra `dask`"
                )
        if not is_on_disk(config) or config.lake.shared:
            return
        try:
            hosts = self._of_each(CONNECT_S, socket.gethostname)
        except OSError:
            raise WorkerError(
                f"the Dask cluster does not answer within {CONNECT_S} s: look at its scheduler and workers"
            ) from None
        if {*hosts.values()} - {self._host}:
            raise ConfigError(foreign_disk(config, self._host))

    def _asked(self, call: Callable[[], T]) -> T:
        """Return what the scheduler answers. Raises OSError where it has ended, or says nothing."""
        if self._client.status != "running":
            raise ConnectionError
        return _within(_ANSWER_S, call)

    def _of_each(self, seconds: float, call: Callable[..., Any], *args: Any, **options: Any) -> dict[str, Any]:
        """Return what each worker answers. Raises OSError, InterruptedExport."""
        return dict(_within(seconds, lambda: self._client.run(call, *args, **options), self._interruption))

    def submit(self, task: QueueTask) -> Future[QueueReport]:
        """Have a queue exported. Dask hands it to a worker that has few, and to another one when that dies.

        It is bound to none: where the last worker of a cluster dies, Dask would keep it for that one's address.
        """
        export: Future[QueueReport] = self._executor.submit(export_on_worker, task.pack(), self._topic)
        return export

    def stop(self) -> None:
        """Set the event that all tasks of the export look at."""
        self._is_stopped = True
        with suppress(OSError):  # the cluster has gone, and its tasks with it
            self._asked(Event(self._topic, self._client).set)

    def gives_up(self, queue_id: str, seconds: float) -> bool:
        """Give up one that has not begun, and one of which nothing comes back: its worker has gone, or the cluster."""
        gives_up = seconds >= (ENDING_S if queue_id in self._begun else _BEGINNING_S)
        self._gave_up = self._gave_up or gives_up
        return gives_up


def export_on_worker(packed: PackedTask, topic: str) -> QueueReport:
    """Export a queue on this Dask worker, and tell of it under the topic.

    It gives the worker's thread back, so that several run at once, as in a process of annolake's own.
    """
    worker = get_worker()
    _stop_profiler(worker, sys.version_info[:2])

    def made() -> _Line:
        return _Line(worker, topic, Event(topic, get_client()))

    with shared((topic, worker.address), made, _Line.end) as line, line.teller() as teller:
        secede()
        return work(packed, environ=os.environ, log=teller, progress=teller, stop=line.stop, stop_every_s=STOP_EVERY_S)


def _stop_profiler(worker: Worker, python: tuple[int, ...]) -> None:
    """Have Dask's profiler no longer look at the frames of threads, where that can hang the process.

    Before Python 3.12 a thread that starts at that moment and a collection of garbage wait for each other for ever
    (github.com/python/cpython/issues/106883); each export starts many threads.
    """
    profiler = worker.periodic_callbacks.get("profile")
    if profiler and python < (3, 12):
        worker.loop.add_callback(profiler.stop)


class _Stop:
    """The event of an export, which its tasks on a worker look at together: each look is 1 ms of CPU.

    It is a round trip, of 10 to 400 ms where the scheduler has much to do: no task waits for it to begin. A scheduler
    that does not answer has not set it.
    """

    def __init__(self, event: Event) -> None:
        self._event = event
        self._clock = Clock()
        self._lock = Lock()
        self._is_set, self._due = False, self._clock.monotonic() + _LOOK_EVERY_S

    def is_set(self) -> bool:
        """Tell whether the export shall stop, or should just before; while one task looks the others go on."""
        if not self._is_set and self._clock.monotonic() >= self._due and self._lock.acquire(blocking=False):
            try:
                with suppress(OSError):
                    self._is_set = bool(self._event.is_set())
                self._due = self._clock.monotonic() + _LOOK_EVERY_S
            finally:
                self._lock.release()
        return self._is_set


class _Line:
    """What the tasks of an export on one worker share towards its driver: its stop, and what they tell.

    They tell now and again together, and each at its end: a message costs worker, scheduler and driver 1 ms of CPU in
    all.
    """

    def __init__(self, worker: Worker, topic: str, event: Event) -> None:
        self.stop = _Stop(event)
        self._worker, self._topic = worker, topic
        self._tellers: list[_Teller] = []
        self._waiting: list[dict[str, Any]] = []
        self._lock = Lock()
        self._ended = ThreadEvent()
        self._sender = Thread(target=self._send_at_times, name="progress", daemon=True)
        self._sender.start()

    @contextmanager
    def teller(self) -> Iterator["_Teller"]:
        """Give the block what tells the driver of one task; all of it is on its way when the block ends."""
        teller = _Teller(self._note)
        self._tellers.append(teller)
        try:
            yield teller
        finally:
            self._tellers.remove(teller)
            teller.end()
            self._send()

    def end(self) -> None:
        """End the thread that sends."""
        self._ended.set()
        self._sender.join()

    def _send_at_times(self) -> None:
        while not self._ended.wait(_TELL_EVERY_S):
            for teller in [*self._tellers]:
                teller.note_figures()
            self._send()

    def _note(self, verb: str, what: Mapping[str, Any]) -> None:
        told = msgspec.to_builtins(what, enc_hook=str)
        with self._lock:
            self._waiting.append({"verb": verb, "told": told})

    def _send(self) -> None:
        with self._lock:  # it hands over to the loop of the worker, and does not wait
            told, self._waiting = self._waiting, []
            if told:
                self._worker.log_event(self._topic, told)


class _Teller:
    """Log and progress of a task, which `note` takes to its driver."""

    def __init__(self, note: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._note = note
        self._queue: LiveQueue | None = None
        self._told: ProgressEvent | None = None
        self._lock = Lock()

    def planned(self, queues: int) -> None:
        """Do nothing: the driver knows."""

    def entered(self, queue: LiveQueue) -> None:
        """Tell that a phase of the queue begins."""
        self._queue = queue
        self.note_figures()

    def note_figures(self) -> None:
        """Tell of the queue's figures, where they have changed."""
        with self._lock:  # of two looks the later one is told last
            event = self._queue.now() if self._queue else None
            if event and event != self._told:
                self._told = event
                self._note("progress", msgspec.to_builtins(event))

    def end(self) -> None:
        """Tell of no more figures: the report has them."""
        with self._lock:
            self._queue = None

    def finished(self, queue: QueueReport) -> None:
        """Do nothing: the report itself is on its way."""

    def deliver(self) -> None:
        """Do nothing: nothing is kept."""

    def debug(self, event: str, **facts: Any) -> None:
        """Do nothing: what only a developer wants to see stays here."""

    def info(self, event: str, **facts: Any) -> None:
        """Tell of a routine event."""
        self._note("info", {"event": event, "facts": facts})

    def warning(self, event: str, **facts: Any) -> None:
        """Tell what someone may want to look at."""
        self._note("warning", {"event": event, "facts": facts})

    def error(self, event: str, **facts: Any) -> None:
        """Tell what must be looked at."""
        self._note("error", {"event": event, "facts": facts})


def _hearing(log: Log, progress: Progress, begun: set[str]) -> Callable[[tuple[float, list[dict[str, Any]]]], None]:
    """Return what hands the events of workers to log and progress, and notes which queues have `begun`."""
    queues: dict[str, ToldQueue] = {}

    def hear(event: tuple[float, list[dict[str, Any]]]) -> None:
        for each in event[1]:
            take(each["verb"], each["told"])

    def take(verb: str, told: dict[str, Any]) -> None:
        match verb:
            case "progress":
                queue = ToldQueue(msgspec.convert(told, ProgressEvent))
                begun.add(queue.queue_id)
                known = queues.setdefault(queue.queue_id, queue)
                begins = known is queue or known.latest.phase != queue.latest.phase
                known.latest = queue.latest
                if begins:
                    progress.entered(known)
            case _:
                getattr(log, verb)(told["event"], **told["facts"])

    return hear
