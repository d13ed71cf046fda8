"""The turns of threads, and the endpoint that tells them: the root traces of one thread, oldest first.

Owns which turns there are, everything that happens to them, and the endpoint's paging.
"""

import base64
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from annolake.sandbox.answers import Answer, Refusal, identifier, integer, invalid, text
from annolake.sandbox.cast import chance, sentence, uuid
from annolake.sandbox.feedback_text import Subject
from annolake.sandbox.oddities import Values
from annolake.sandbox.ordinary import SECOND
from annolake.sandbox.queue import Queue
from annolake.sandbox.rows import join, members, rfc3339, with_members
from annolake.sandbox.showing import Showing
from annolake.sandbox.timeline import Timeline

Query = Mapping[str, list[str]]

SELECTS = frozenset(
    {
        *("THREAD_ID", "TRACE_ID", "OP", "PROMPT_TOKENS", "COMPLETION_TOKENS", "TOTAL_TOKENS", "START_TIME"),
        *("END_TIME", "LATENCY", "FIRST_TOKEN_TIME", "INPUTS_PREVIEW", "OUTPUTS_PREVIEW", "INPUTS", "OUTPUTS"),
        *("ERROR", "PROMPT_COST", "COMPLETION_COST", "TOTAL_COST", "PROMPT_TOKEN_DETAILS"),
        *("COMPLETION_TOKEN_DETAILS", "PROMPT_COST_DETAILS", "COMPLETION_COST_DETAILS", "NAME", "ERROR_PREVIEW"),
        "TURN_NUMBER",
    }
)
_LENGTHS = (1, 2, 3, 7, 20, 21, 45, 101)


@dataclass(frozen=True)
class Turn:
    """One turn of a thread: a root trace. `started` is in microseconds since 1970."""

    trace_id: str
    thread_id: str
    started: int
    text: bytes

    def value(self) -> Any:
        """Return the decoded text; numbers with a point or an exponent are exact decimals."""
        return json.loads(self.text, parse_float=Decimal)


class ThreadBook:
    """The turns of the THREAD items' threads. Every method may be called from any thread of the process."""

    def __init__(self, queues: dict[str, Queue], timeline: Timeline, seed: int, *, odd: bool) -> None:
        self._timeline = timeline
        self._seed = seed
        self._odd = odd
        self._projects: dict[str, str] = {}
        self._turns: dict[str, list[Turn]] = {}
        self._forgotten: set[str] = set()
        for queue in queues.values():
            for row in (*queue.threads("active"), *queue.threads("archived")):
                there = Subject.of_row(row)
                if there is not None:
                    self._projects[there.id] = there.session_id
                    self._turns[there.id] = self._drawn(there)

    def turns(self, thread_id: str, project: str | None = None) -> list[Turn]:
        """Return the turns of a thread (of a project) as they are now, oldest first; none of an unknown one."""
        if project not in (None, self._projects.get(thread_id)):
            return []
        with self._timeline.lock:
            return sorted(self._turns.get(thread_id, ()), key=lambda turn: (turn.started, turn.trace_id))

    def forget(self, thread_id: str) -> None:
        """Have the service answer 404 for a thread from now on."""
        self._forgotten.add(thread_id)

    def knows(self, thread_id: str) -> bool:
        """Tell whether the service answers for a thread."""
        return thread_id not in self._forgotten

    def add(self, thread_id: str, *, text: bytes | None = None) -> Turn:
        """Add a turn at a thread's end; `text` plants its JSON as it is."""
        with self._timeline.lock:
            rng = random.Random(f"{self._seed}:turn:{thread_id}:{self._timeline.now}")
            turn = self._turn(rng, thread_id, self._timeline.tick())
            turn = turn if text is None else Turn(turn.trace_id, thread_id, turn.started, text)
            self._turns[thread_id].append(turn)
            return turn

    def edit(self, turn: Turn, **fields: Any) -> None:
        """Set fields of a turn; it keeps its place."""
        with self._timeline.lock:
            there = self._turns[turn.thread_id]
            edited = Turn(turn.trace_id, turn.thread_id, turn.started, with_members(turn.text, fields))
            there[[one.trace_id for one in there].index(turn.trace_id)] = edited

    def delete(self, turn: Turn) -> None:
        """Delete a turn; those behind it get another number."""
        with self._timeline.lock:
            there = self._turns[turn.thread_id]
            del there[[one.trace_id for one in there].index(turn.trace_id)]

    def _drawn(self, thread: Subject) -> list[Turn]:
        rng = random.Random(f"{self._seed}:turns:{thread.id}")
        count = rng.choice(_LENGTHS)
        first = thread.added - 90 * SECOND
        return [self._turn(rng, thread.id, first - (count - number) * 60 * SECOND) for number in range(count)]

    def _turn(self, rng: random.Random, thread_id: str, started: int) -> Turn:
        trace_id = uuid(rng)
        values = Values(rng)
        words = values.words if self._odd else lambda count: sentence(rng, count)
        question, answer, failed = words(9), words(12), chance(rng, 0.05)
        fields: dict[str, Any] = {
            "thread_id": thread_id,
            "trace_id": trace_id,
            "op": rng.choice((0, 1, 2)),
            "name": "chat_turn",
            "start_time": rfc3339(started),
            "end_time": None if chance(rng, 0.05) else rfc3339(started + 7 * SECOND),
            "latency": 7.0,
            "first_token_time": rfc3339(started + SECOND),
            "inputs": {"messages": [{"role": "user", "content": question}]},
            "outputs": None if failed else {"messages": [{"role": "assistant", "content": answer}]},
            "inputs_preview": question[:50],
            "outputs_preview": None if failed else answer[:50],
            "error": "RateLimitError: the model is overloaded" if failed else None,
            "error_preview": "RateLimitError" if failed else None,
            **_usage(rng),
        }
        if self._odd and chance(rng, 0.2):
            fields = {name: value for name, value in fields.items() if value is not None}
        return Turn(trace_id, thread_id, started, msgspec.json.encode(fields))


def _usage(rng: random.Random) -> dict[str, Any]:
    prompt, completion = rng.randint(10, 6000), rng.randint(1, 900)
    cached = prompt // 2
    cost = {name: msgspec.Raw(str(Decimal(count) / 1_000_000).encode()) for name, count in (("a", prompt), ("b", 3))}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_cost": cost["a"],
        "completion_cost": cost["b"],
        "total_cost": msgspec.Raw(str(Decimal(prompt + 3) / 1_000_000).encode()),
        "prompt_token_details": {"raw": {"cache_read": cached}},
        "completion_token_details": {"raw": {}} if chance(rng, 0.5) else None,
        "prompt_cost_details": {"raw": {"cache_read": msgspec.Raw(b"1.5E-7")}},
        "completion_cost_details": None,
    }


def page(book: ThreadBook, thread_id: str, query: Query, showing: Showing) -> Answer:
    """Answer a page of a thread's turns: `items`, and `next_cursor` or null."""
    project = text(query, "project_id")
    if not book.knows(thread_id):
        raise Refusal(404, "Thread not found")
    if project is None:
        raise invalid(("query", "project_id"), "Field required", "missing")
    turns = book.turns(thread_id, identifier(project, ("query", "project_id")))
    size = integer(query, "page_size", 20, low=1, high=100)
    selects = query.get("selects", ["TRACE_ID"])
    for index, name in enumerate(selects):
        if name not in SELECTS:
            raise invalid(("query", "selects", index), "Input should be a known field", "enum")
    start = _offset(text(query, "cursor"), thread_id)
    shown = turns[start : start + size]
    texts = [showing.text(_selected(turn, start + place + 1, selects)) for place, turn in enumerate(shown)]
    end = start + len(shown)
    following = _cursor(thread_id, end) if end < len(turns) else None
    body = b'{"items":[' + b",".join(texts) + b'],"next_cursor":' + json.dumps(following).encode() + b"}"
    return Answer(200, body, rows=len(texts))


def _selected(turn: Turn, number: int, selects: list[str]) -> bytes:
    there = members(turn.text)
    if not there:  # planted, and no object
        return turn.text
    there = {"turn_number": str(number).encode(), **there}
    wanted = {name.lower() for name in (*selects, "TRACE_ID")}
    unknown = {name for name in there if name.upper() not in SELECTS}
    return join({name: value for name, value in there.items() if name in wanted | unknown})


def _cursor(thread_id: str, at: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([thread_id, at]).encode()).decode()


def _offset(cursor: str | None, thread_id: str) -> int:
    if cursor is None:
        return 0
    try:
        thread, at = json.loads(base64.urlsafe_b64decode(cursor))
        start = int(at) if thread == thread_id else -1
    except (ValueError, TypeError):
        start = -1
    if start < 0:
        raise invalid(("query", "cursor"), "Invalid cursor", "value_error")
    return start
