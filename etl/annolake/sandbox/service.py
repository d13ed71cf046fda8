"""The service behind the socket: a request's way from the key to its endpoint, and the record of it.

Owns the order of things: what changes before a request, the one moment at which it is answered, what goes
wrong with the answer. It never touches a socket (server.py) and holds no endpoint's own rules (runs.py,
items.py, query.py).
"""

import hashlib
import json
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from annolake.clock import Clock
from annolake.sandbox import feedback, items, query, runs, threads
from annolake.sandbox.answers import Answer, Asked, Refusal, json_answer
from annolake.sandbox.changes import Changes, FeedbackHand, Hand
from annolake.sandbox.faults import Fault, Faults, Weather
from annolake.sandbox.feedback_book import FeedbackBook
from annolake.sandbox.feedback_rules import FeedbackRules
from annolake.sandbox.gate import Gate, Route
from annolake.sandbox.query_rules import QueryRules
from annolake.sandbox.queue import Queue
from annolake.sandbox.rows import rfc3339
from annolake.sandbox.showing import Showing
from annolake.sandbox.threads import ThreadBook
from annolake.sandbox.timeline import Timeline

_SECRET_HEADERS = frozenset({"x-api-key", "authorization", "cookie"})
_VERSION = {"version": "0.16.0"}
_GONE = 410

Query = Mapping[str, list[str]]


@dataclass(frozen=True)
class Rules:
    """How this service answers where the contract leaves it open.

    `page_cap`: rows a page at most, whatever is asked for; `unstable_ties`: rows of equal times change places from
    request to request; `forbid`: endpoints that answer 403, or "archived" for that list alone; `retire_runs_after`:
    the runs listing answers `retired_status` (410 or 404) from its n-th request on; `platform` False: a service without
    the items endpoints; `runs_gone`, `runs_late`: the share of runs that the query of runs never finds, or not when
    they are first asked for; `cursors`: what the items' cursors hold; `project_field`: what an item calls the project
    of its run; `item_filters`: what becomes of the items' filters; `query`: what the query of runs refuses;
    `feedback`: what becomes of requests for feedback; `threads_status`: what requests for a thread's turns are refused
    with; `gzip`: compress for clients that ask for it.
    """

    page_cap: int | None = None
    unstable_ties: bool = False
    forbid: Collection[str] = ()
    retire_runs_after: int | None = None
    retired_status: int = _GONE
    platform: bool = True
    runs_gone: float = 0.0
    runs_late: float = 0.0
    cursors: items.Cursors = "offset"
    project_field: items.ProjectField = "project_id"
    item_filters: items.ItemFilters = "kept"
    query: QueryRules = field(default_factory=QueryRules)
    feedback: FeedbackRules = field(default_factory=FeedbackRules)
    threads_status: int = 0
    gzip: bool = False


@dataclass(frozen=True)
class Record:
    """A request as it was answered: `number` is its place among all, `when` monotonic seconds."""

    number: int
    method: str
    path: str
    endpoint: str
    query: Mapping[str, str]
    body: Any
    status: int
    fault: Fault
    queue_id: str | None
    rows: int
    bytes: int
    when: float
    headers: Mapping[str, str]
    key_seen: bool


@dataclass(frozen=True)
class _Turn:
    """A request's one moment: its number, what it meant and met, and the answer as it was then."""

    number: int
    route: Route | None
    fault: Fault
    answer: Answer


class Service:
    """Answers requests. Every method may be called from any thread."""

    def __init__(
        self,
        queues: list[Queue],
        timeline: Timeline,
        gate: Gate,
        rules: Rules,
        *,
        seed: int,
        faults: Faults,
        changes: Changes,
        existence: query.Existence,
        clock: Clock,
        before_request: Callable[[int], None] | None,
        feedback_book: FeedbackBook,
        threads_book: ThreadBook,
    ) -> None:
        self.records: list[Record] = []
        self.showing = Showing()
        self._queues = {queue.id: queue for queue in queues}
        self._timeline = timeline
        self._gate = gate
        self._rules = rules
        self._seed = seed
        self._clock = clock
        self._latency_s = faults.latency_s
        self._weather = Weather(faults, seed, monotonic=clock.monotonic, now=clock.now)
        self._hand = Hand(changes, seed, clock.monotonic)
        self._feedback_hand = FeedbackHand(changes, seed, feedback_book)
        self._feedback = feedback_book
        self._threads = threads_book
        self._existence = existence
        self._before_request = before_request
        self._runs_asked = 0
        created = rfc3339(timeline.now)
        self.profiles = {queue.id: runs.record(queue, index, created) for index, queue in enumerate(queues)}

    def answer(self, asked: Asked, *, elsewhere: str) -> tuple[Answer, Fault]:
        """Return the answer to a request and the fault that the wire has to carry out.

        `elsewhere` is the address, without a path, that a redirect points at.
        """
        when = self._clock.monotonic()
        self._wait()
        turn = self._take_turn(asked)
        answer = self._weather.spoil(turn.fault, turn.answer, location=elsewhere + asked.path)
        self._wait()
        self._record(asked, turn, answer, when)
        return answer, turn.fault

    def _wait(self) -> None:
        if self._latency_s:
            self._clock.sleep(self._latency_s / 2)

    def _take_turn(self, asked: Asked) -> _Turn:
        limited = self._weather.over_the_limit(query=asked.path.endswith("/runs/query"))
        route: Route | None = None
        fault: Fault = "ok"
        with self._timeline.lock:
            number = self._timeline.requests + 1
            try:
                route = self._gate.admit(asked)
                self._change(route, number)
                if limited:
                    answer = self._weather.too_many()
                else:
                    fault = self._weather.next_fault(route.endpoint)
                    answer = self._answer(route, asked, fault, number)
            except Refusal as refusal:
                answer = refusal.answer()
            finally:
                self._timeline.requests = number
        return _Turn(number, route, fault, answer)

    def _change(self, route: Route, number: int) -> None:
        if self._before_request is not None:
            self._before_request(number)
        queue = self._queues.get(route.queue_id or "")
        if queue is not None:
            self._hand.before_request(queue)
        for one in [queue] if queue is not None else list(self._queues.values())[:1]:
            self._feedback_hand.before_request(one)

    def _answer(self, route: Route, asked: Asked, fault: Fault, number: int) -> Answer:
        asked_query = dict(asked.query)
        if fault == "repeat":
            asked_query.pop("offset", None)
            asked_query.pop("cursor", None)
        match route.endpoint:
            case "info":
                answer = json_answer(_VERSION)
            case "queues":
                answer = runs.queues(list(self._queues.values()), asked_query, self.profiles)
            case "query":
                answer = self._query(asked.body, from_start=fault == "repeat")
            case "feedback":
                answer = feedback.page(
                    self._feedback, asked_query, url=asked.url, rules=self._rules.feedback, showing=self.showing
                )
            case "traces":
                answer = self._traces(route.thread_id or "", asked_query)
            case _:
                answer = self._of_queue(route, asked_query, number)
        return answer

    def _of_queue(self, route: Route, asked_query: Query, number: int) -> Answer:
        queue = self._queues.get(route.queue_id or "")
        if queue is None:
            raise Refusal(404, "Annotation queue not found")
        match route.endpoint:
            case "runs":
                answer = self._runs(queue, asked_query, number)
            case "items":
                rules = self._rules
                answer = items.page(
                    queue,
                    asked_query,
                    page_cap=rules.page_cap,
                    cursors=rules.cursors,
                    project_field=rules.project_field,
                    filters=rules.item_filters,
                    showing=self.showing,
                )
            case "count":
                answer = items.count(queue, asked_query, self._rules.item_filters, self.showing)
            case "size":
                answer = runs.size(queue, asked_query, self.showing)
            case "total_size":
                answer = runs.total_size(queue)
            case "total_archived":
                answer = runs.total_archived(queue, asked_query, self.showing)
            case _:
                answer = json_answer(self.profiles[queue.id])
        return answer

    def _runs(self, queue: Queue, asked_query: Query, number: int) -> Answer:
        rules = self._rules
        self._runs_asked += 1
        if rules.retire_runs_after is not None and self._runs_asked >= rules.retire_runs_after:
            detail = "Gone" if rules.retired_status == _GONE else "Not Found"
            raise Refusal(rules.retired_status, detail)
        ties = random.Random(f"{self._seed}:ties:{number}") if rules.unstable_ties else None
        signature = hashlib.sha256(f"{self._seed}:{number}".encode()).hexdigest().encode()
        return runs.page(
            queue, asked_query, page_cap=rules.page_cap, ties=ties, signature=signature, showing=self.showing
        )

    def _traces(self, thread_id: str, asked_query: Query) -> Answer:
        if self._rules.threads_status:
            raise Refusal(self._rules.threads_status, "The sandbox serves no threads")
        return threads.page(self._threads, thread_id, asked_query, self.showing)

    def _query(self, body: bytes, *, from_start: bool) -> Answer:
        parameters = query.read(body)
        if from_start:
            parameters.pop("cursor", None)
        return query.page(
            list(self._queues.values()),
            parameters,
            existence=self._existence,
            now=self._timeline.now,
            page_cap=self._rules.page_cap,
            rules=self._rules.query,
            showing=self.showing,
        )

    def _record(self, asked: Asked, turn: _Turn, answer: Answer, when: float) -> None:
        record = Record(
            number=turn.number,
            method=asked.method,
            path=asked.path,
            endpoint=turn.route.endpoint if turn.route else "",
            query={name: values[-1] for name, values in asked.query.items()},
            body=_json_or_none(asked.body),
            status=answer.status,
            fault=turn.fault,
            queue_id=turn.route.queue_id if turn.route else None,
            rows=answer.rows,
            bytes=len(answer.body),
            when=when,
            headers={name: text for name, text in asked.headers.items() if name not in _SECRET_HEADERS},
            key_seen=any(self._gate.api_key in text for text in asked.headers.values()),
        )
        with self._timeline.lock:
            self.records.append(record)


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None
