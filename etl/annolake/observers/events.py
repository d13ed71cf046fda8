"""How far the queues of an export are: the figures that progress bar, log lines and callers of `export` are shown.

Owns what the figures mean and how they are taken. A queue's own thread notes what happens, any other may look.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Literal, Protocol

import msgspec

from annolake.errors import BY_PROGRAM
from annolake.printable import counted, printable
from annolake.report import QueueReport

Phase = Literal["started", "reading", "feedback", "merging", "publishing", "ended"]

WINDOW_S = 30.0  # the speed is that of the last so many seconds
_SAMPLE_S = 0.5
_LEAST_S = 2.0  # no speed is told of less
_PERCENT, _SIXTY = 100, 60
_UNITS: dict[Phase, str] = {"reading": "row", "feedback": "run", "merging": "day"}


class ProgressEvent(msgspec.Struct, frozen=True, kw_only=True):
    """How far one queue is.

    `phase`: "started", then "reading" (of rows), "feedback" (what is left to read of it and of threads), "merging"
    (with the days that the lake has) and "publishing", then "ended", once, with the `report`. A queue starts again
    where its worker is replaced, and is read again where its endpoint was retired. `name` is None while it is unknown.

    `rows` were read so far, of `total` as the service reports; None where it does not, or where only new rows are read.
    `steps` of `steps_total` are done in this phase: rows of "reading", runs and threads of "feedback", days of
    "merging". `rows_per_s` is the speed of the last 30 seconds, 0 in other phases than "reading". `seconds_left` is
    what the phase still takes at its speed, None where that is not known. `requests` were sent, `throttled` answers
    were 429s.
    """

    queue_id: str
    name: str | None = None
    phase: Phase
    rows: int = 0
    total: int | None = None
    steps: int = 0
    steps_total: int | None = None
    rows_per_s: float = 0.0
    seconds_left: float | None = None
    requests: int = 0
    throttled: int = 0
    report: QueueReport | None = None

    @property
    def percent(self) -> float | None:
        """How much of the phase is done, 0 to 100; None where that is not known."""
        if self.phase == "ended":
            return float(_PERCENT)
        return _PERCENT * self.steps / self.steps_total if self.steps_total else None


class LiveQueue(Protocol):
    """A queue that is being exported."""

    @property
    def queue_id(self) -> str:
        """Its id."""

    def now(self) -> ProgressEvent:
        """Return how far it is; may be called from any thread."""


class Counted(Protocol):
    """What counts requests."""

    @property
    def requests(self) -> int:
        """Those that were sent."""

    @property
    def answers_429(self) -> int:
        """The 429s among the answers."""


class QueueProgress:
    """The figures of a queue that this process exports; `entered` is called whenever a phase begins.

    `name`, `rows` and `total` are set by the queue's own thread.
    """

    def __init__(
        self, queue_id: str, entered: Callable[["QueueProgress"], object], monotonic: Callable[[], float]
    ) -> None:
        self.queue_id = queue_id
        self.name: str | None = None
        self.rows = 0
        self.total: int | None = None
        self._callers: list[Counted] = []
        self._entered, self._monotonic = entered, monotonic
        self._phase: Phase = "started"
        self._steps: Callable[[], tuple[int, int]] | None = None
        self._lock = Lock()
        self._samples: deque[tuple[float, int]] = deque()

    def enter(self, phase: Phase, steps: Callable[[], tuple[int, int]] | None = None) -> None:
        """Begin a phase. `steps` tells how many are done, of how many; of reading rows they are the rows."""
        with self._lock:
            self._phase, self._steps = phase, steps
            if phase == "reading":
                self.rows, self.total = 0, None
            self._samples.clear()
            self._samples.append((self._monotonic(), self._counted()[0]))
        self._entered(self)

    def count_steps(self, steps: Callable[[], tuple[int, int]]) -> None:
        """Do as `enter` does within a phase, where what is to be done was not known at its beginning."""
        self._steps = steps

    def count(self, caller: Counted) -> None:
        """Have the requests of a caller counted too."""
        self._callers = [*self._callers, caller]

    def uncount(self, caller: Counted) -> None:
        """No longer count the requests of a caller, which another one has absorbed."""
        self._callers = [each for each in self._callers if each is not caller]

    def now(self) -> ProgressEvent:
        """Return how far the queue is; may be called from any thread."""
        with self._lock:
            steps, of = self._counted()
            speed = self._speed(steps)
            return ProgressEvent(
                queue_id=self.queue_id,
                name=self.name,
                phase=self._phase,
                rows=self.rows,
                total=None if self.total is None else max(self.total, self.rows),
                steps=steps,
                steps_total=of,
                rows_per_s=round(speed, 1) if self._phase == "reading" else 0.0,
                seconds_left=round((of - steps) / speed, 1) if speed and of is not None else None,
                requests=sum(caller.requests for caller in self._callers),
                throttled=sum(caller.answers_429 for caller in self._callers),
            )

    def _counted(self) -> tuple[int, int | None]:
        if self._phase == "reading":
            return self.rows, None if self.total is None else max(self.total, self.rows)
        return self._steps() if self._steps else (0, None)

    def _speed(self, steps: int) -> float:
        """Return how many steps are done in a second; 0 where that is not known yet."""
        now, samples = self._monotonic(), self._samples
        if not samples or now - samples[-1][0] >= _SAMPLE_S:
            samples.append((now, steps))
        while len(samples) > 1 and now - samples[1][0] >= WINDOW_S:
            samples.popleft()
        begun, done = samples[0]
        return max(0, steps - done) / (now - begun) if now - begun >= _LEAST_S else 0.0


class ToldQueue:
    """A queue that is exported elsewhere, as far as was heard: `latest`."""

    def __init__(self, latest: ProgressEvent) -> None:
        self.latest = latest

    @property
    def queue_id(self) -> str:
        """Its id."""
        return self.latest.queue_id

    def now(self) -> ProgressEvent:
        """Return what was heard last."""
        return self.latest


class ProgressRelay:
    """Hands progress to `receive`, in the thread that calls `deliver`: each phase that began, and figures that changed.

    Those of each queue come in order; none comes after its end.
    """

    def __init__(self, receive: Callable[[ProgressEvent], object]) -> None:
        self._receive = receive
        self._lock = Lock()
        self._live: dict[str, LiveQueue] = {}
        self._waiting: list[ProgressEvent] = []
        self._told: dict[str, ProgressEvent] = {}
        self._ended: set[str] = set()

    def planned(self, queues: int) -> None:
        """Do nothing: each event is of one queue."""

    def entered(self, queue: LiveQueue) -> None:
        """Note that a phase of a queue began."""
        with self._lock:
            if queue.queue_id not in self._ended:
                self._live[queue.queue_id] = queue
                self._waiting.append(queue.now())

    def finished(self, queue: QueueReport) -> None:
        """Note how a queue ended."""
        with self._lock:
            live = self._live.pop(queue.queue_id, None)
            self._ended.add(queue.queue_id)
            self._waiting.append(ended(queue, live.now() if live else None))

    def deliver(self) -> None:
        """Hand on what is new since the last time."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            live = [*self._live.values()]
        for event in waiting:
            self._tell(event)
        for queue in live:
            event, told = queue.now(), self._told.get(queue.queue_id)
            if told is None or _counts(event) != _counts(told):
                self._tell(event)

    def _tell(self, event: ProgressEvent) -> None:
        self._told[event.queue_id] = event
        try:
            self._receive(event)
        except Exception as error:
            error.add_note(BY_PROGRAM)
            raise


def in_words(event: ProgressEvent) -> str:
    """Return how far a queue is on one line, what is not known left out."""
    parts = [event.phase, percent_in_words(event), counts_in_words(event, " of ")]
    if event.rows_per_s:
        parts.append(f"{event.rows_per_s:,.0f} rows/s")
    if event.seconds_left:
        parts.append(f"{clock_in_words(event.seconds_left)} left")
    return f"{printable(event.name or event.queue_id)}: {', '.join(filter(None, parts))}"


def percent_in_words(event: ProgressEvent) -> str:
    """Return the percent that are done: 100 only of what is; empty where that is not known."""
    return "" if event.percent is None else f"{int(event.percent)}%"


def counts_in_words(event: ProgressEvent, of: str) -> str:
    """Return the steps of a phase: "12,400 of 20,312 rows"; empty where none are counted."""
    unit = _UNITS.get(event.phase)
    if unit is None or (event.steps_total is None and not event.steps):
        return ""
    if event.steps_total is None:
        return counted(event.steps, unit)
    return f"{event.steps:,}{of}{counted(event.steps_total, unit)}"


def clock_in_words(seconds: float) -> str:
    """Return a length of time as "12:34", or "1:02:03" from an hour on."""
    minutes, second = divmod(round(seconds), _SIXTY)
    hours, minute = divmod(minutes, _SIXTY)
    return f"{hours:,}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def ended(queue: QueueReport, last: ProgressEvent | None) -> ProgressEvent:
    """Return the last event of a queue."""
    return ProgressEvent(
        queue_id=queue.queue_id,
        name=queue.name or (last.name if last else None),
        phase="ended",
        rows=queue.rows_seen,
        total=last.total if last else None,
        requests=queue.requests,
        throttled=sum(kind.answers for kind in queue.throttled.values()),
        report=queue,
    )


def _counts(event: ProgressEvent) -> ProgressEvent:
    return msgspec.structs.replace(event, rows_per_s=0.0, seconds_left=None)
