"""The figures of an export: of one queue, of all together, as events, and as lines of the log."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from annolake.config import load_config
from annolake.observers.events import LiveQueue, ProgressEvent, ProgressRelay, QueueProgress, ToldQueue, in_words
from annolake.observers.lines import ProgressLines
from annolake.observers.overview import Overview
from annolake.pipeline import export
from annolake.report import Mode, QueueReport, Throttled
from annolake.sandbox import Faults, Population, Sandbox
from exporting import KEY_VARIABLE, FakeClock, write_config


class Time:
    """A clock's monotonic counter, which stands still."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


class Asked:
    """A caller that sent some requests."""

    def __init__(self, requests: int, answers_429: int) -> None:
        self.requests, self.answers_429 = requests, answers_429


class Logged:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **facts: Any) -> None:
        """Note an event."""
        self.events.append((event, facts))

    debug = warning = error = info


def told(queue_id: str, **figures: Any) -> ToldQueue:
    """Return a queue with these figures."""
    return ToldQueue(ProgressEvent(queue_id=queue_id, **figures))


def test_the_figures_of_a_queue_are_those_of_its_phase() -> None:
    """Rows while it is read, then steps; the speed is that of the last 30 seconds, and tells what the phase takes."""
    time, begun = Time(), []
    queue = QueueProgress("q", lambda queue: begun.append(queue.now().phase), time)
    first, second = Asked(3, 1), Asked(2, 0)
    queue.count(first)
    queue.count(second)
    queue.enter("reading")
    queue.rows, queue.total = 100, 10_000
    early = queue.now()
    time.seconds += 50
    queue.rows = 1100
    queue.now()
    time.seconds += 40
    queue.rows = 5100
    late = queue.now()
    queue.enter("merging", lambda: (3, 12))
    queue.uncount(second)
    time.seconds += 1
    merging = queue.now()

    assert (early.rows, early.total, early.percent, early.rows_per_s, early.seconds_left) == (100, 10_000, 1, 0, None)
    assert (late.rows_per_s, late.seconds_left, late.percent) == (100, 49, 51)
    assert (early.requests, early.throttled) == (5, 1)
    assert (merging.phase, merging.steps, merging.steps_total, merging.percent) == ("merging", 3, 12, 25)
    assert (merging.rows, merging.rows_per_s, merging.seconds_left, merging.requests) == (5100, 0, None, 3)
    assert begun == ["reading", "merging"]


def test_more_rows_than_were_reported_are_not_more_than_all() -> None:
    """A queue grows while it is read; one that is read again, over another endpoint, begins at 0."""
    queue = QueueProgress("q", lambda _: None, Time())
    queue.enter("reading")
    queue.rows, queue.total = 120, 100
    grown = queue.now()
    queue.enter("reading")

    assert (grown.total, grown.percent) == (120, 100)
    assert (queue.now().rows, queue.now().total) == (0, None)


def test_an_event_in_words_leaves_out_what_is_not_known() -> None:
    """One line, for logs of orchestrators: names are somebody's text."""
    known = {"rows_per_s": 820.4, "seconds_left": 3725.2, "steps": 12_400, "steps_total": 20_312}

    assert in_words(told("q", phase="started").now()) == "q: started"
    assert in_words(told("q", name="a\x1b[2J", phase="merging", steps=1, steps_total=1).now()) == (
        r"a\x1b[2J: merging, 100%, 1 of 1 day"
    )
    assert in_words(told("q", phase="reading", **known).now()) == (
        "q: reading, 61%, 12,400 of 20,312 rows, 820 rows/s, 1:02:05 left"
    )


def test_events_come_in_order_and_none_after_the_end() -> None:
    """Each phase that began, then figures that changed; of a queue that began again on another worker, too."""
    events: list[ProgressEvent] = []
    relay = ProgressRelay(events.append)
    queue = told("q", phase="started")
    relay.entered(queue)
    queue.latest = ProgressEvent(queue_id="q", phase="reading", rows=5)
    relay.entered(queue)
    relay.deliver()
    relay.deliver()
    queue.latest = ProgressEvent(queue_id="q", phase="reading", rows=5, rows_per_s=3.0)
    relay.deliver()
    queue.latest = ProgressEvent(queue_id="q", phase="reading", rows=9, name="mine")
    relay.deliver()
    report = QueueReport(queue_id="q", rows_seen=9, requests=4, throttled={"query": Throttled(2, 1.0)})
    relay.finished(report)
    relay.entered(queue)
    relay.deliver()

    assert [(event.phase, event.rows) for event in events] == [
        ("started", 0),
        ("reading", 5),
        ("reading", 9),
        ("ended", 9),
    ]
    end = events[-1]
    assert (end.report, end.name, end.requests, end.throttled, end.percent) == (report, "mine", 4, 2, 100)


def test_the_whole_is_the_sum_of_its_queues() -> None:
    """Ended ones by their reports, running ones by their figures; the rows to come while each queue's are known."""
    time = Time()
    overview = Overview(time)
    overview.planned(4)
    queues: list[LiveQueue] = [
        told("a", phase="reading", rows=50, total=100, steps=50, steps_total=100, rows_per_s=5.0, requests=7),
        told("b", phase="publishing", rows=30, total=30, requests=2, throttled=1),
    ]
    for queue in queues:
        overview.entered(queue)
    overview.finished(QueueReport(queue_id="c", rows_seen=20, requests=1, status="failed"))
    overview.entered(told("c", phase="reading"))
    time.seconds += 60
    now = overview.now()
    overview.planned(3)

    assert (now.queues, now.ended, [queue.queue_id for queue in now.at_work]) == (4, 1, ["a", "b"])
    assert (now.rows, now.rows_total, now.rows_per_s, now.requests, now.throttled) == (100, None, 5.0, 10, 1)
    assert now.outcomes == {"failed": 1}
    assert now.seconds == 60
    assert now.seconds_left == round(60 * (4 - 1 - 0.25 - 0.99) / (1 + 0.25 + 0.99), 1)
    assert overview.now().rows_total == 150


def test_a_line_of_the_log_every_30_seconds() -> None:
    """Of one queue with its phase, of several with how many are in which; what is not known is left out."""
    time, log = Time(), Logged()
    lines = ProgressLines(log, time)
    lines.planned(1)
    reading = told("q", phase="reading", name="mine", rows=1200, total=2000, steps=1200, steps_total=2000, requests=9)
    lines.entered(reading)
    for seconds in (29.9, 0.1, 29.9):
        time.seconds += seconds
        lines.deliver()
    one = [*log.events]
    lines.planned(40)
    lines.entered(told("r", phase="feedback", rows=10, steps=1, steps_total=4))
    time.seconds += 0.1
    lines.deliver()

    common = {"requests": 9, "throttled": 0, "rows_per_s": 0.0}
    assert one == [
        (
            "progress",
            common
            | {"queue_id": "q", "name": "mine", "phase": "reading", "percent": 60.0}
            | {"rows": 1200, "rows_total": 2000, "seconds": 30.0},
        )
    ]
    assert log.events[1][1] | {"seconds_left": None} == common | {
        "queues_ended": 0,
        "queues": 40,
        "queues_reading": 1,
        "queues_feedback": 1,
        "rows": 1210,
        "seconds": 60.0,
        "seconds_left": None,
    }


class Watched:
    """A progress that remembers the queue at work, to be looked at at each request."""

    def __init__(self) -> None:
        self.queue: LiveQueue | None = None
        self.seen: list[ProgressEvent] = []
        self._lock = Lock()

    def planned(self, queues: int) -> None:
        """Do nothing."""

    def entered(self, queue: LiveQueue) -> None:
        """Remember the queue."""
        self.queue = queue
        self.look()

    def finished(self, queue: QueueReport) -> None:
        """Do nothing."""

    def deliver(self) -> None:
        """Do nothing."""

    def look(self) -> None:
        """Note how far the queue is."""
        with self._lock:  # several requests come at once
            if self.queue:
                self.seen.append(self.queue.now())


def test_the_figures_of_a_real_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen at each request: the total is the reported size, steps are done one after the other, 429s are counted."""
    watched, counted = Watched(), list[Callable[[], tuple[int, int]]]()
    count = QueueProgress.count_steps

    def counting(queue: QueueProgress, steps: Callable[[], tuple[int, int]]) -> None:
        counted.append(steps)
        count(queue, steps)

    monkeypatch.setattr(QueueProgress, "count_steps", counting)

    def look(_sandbox: Sandbox, _number: int) -> None:
        watched.look()

    faults = Faults(script=("429",))
    with Sandbox(Population(rows=900, odd=False, days=3), seed=2, before_request=look, faults=faults) as sandbox:
        config = load_config(write_config(tmp_path, sandbox, {"source.endpoint": "items"}), {})
        modes: tuple[Mode, ...] = ("full", "new")
        seen, reports = [], []
        for mode in modes:
            watched.seen = []
            reports.append(
                export(config, {KEY_VARIABLE: sandbox.api_key}, mode=mode, clock=FakeClock().clock, progress=watched)
            )
            seen.append(watched.seen)

    phases = [list(dict.fromkeys(event.phase for event in each)) for each in seen]
    assert phases[0] == ["started", "reading", "feedback", "merging", "publishing"]
    assert phases[1][:4] == ["started", "reading", "feedback", "merging"]
    assert {event.total for event in seen[0]} == {None, 900}
    assert seen[0][-1].total == 900
    assert {event.total for event in seen[1]} == {None}
    for each, report in zip(seen, reports, strict=True):
        assert all(one.requests <= two.requests and one.throttled <= two.throttled for one, two in pairwise(each))
        assert each[-1].requests == report.queues[0].requests
        assert each[-1].throttled == sum(kind.answers for kind in report.queues[0].throttled.values())
    assert seen[0][-1].throttled > 0
    asked, of = counted[0]()
    assert asked == of >= 900
    feedback = [event.steps for event in seen[0] if event.phase == "feedback"]
    assert feedback == sorted(feedback)
