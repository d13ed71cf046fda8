"""Reviewers at work: the changes that meet a queue between two requests, the same ones for the same seed.

Owns when a change happens and to which row. What a change does is the queue's.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from annolake.sandbox.cast import chance, sentence
from annolake.sandbox.feedback_book import FeedbackBook, FeedbackHappening
from annolake.sandbox.queue import Queue, Section

Kind = Literal[
    "finish",  # the last reviewer completes a row: active to archived
    "review",  # one of several reviewers completes a row: it stays active
    "delete",
    "add",  # a row comes where new ones come
    "insert",  # a row comes anywhere in the active list
    "insert_front",
    "burst_finish",  # `burst` neighbours at once: at the front, in the middle, at the tail by turns
    "burst_delete",
    "requeue",  # an active or archived row goes to where new rows come
    "unarchive",  # an archived row comes back to its old place
    "move",  # a row changes its place within its list
]
KINDS: tuple[Kind, ...] = (
    *("finish", "review", "delete", "add", "insert", "insert_front", "burst_finish", "burst_delete"),
    *("requeue", "unarchive", "move"),
)
FEEDBACK_KINDS: tuple[FeedbackHappening, ...] = ("add", "edit", "delete")


@dataclass(frozen=True)
class Changes:
    """How much changes, and how.

    `rate` is the number of changes before each request to a queue (fractions add up); with `per_request`
    false it is the number a second, made up for when the next request comes. `kinds` take turns. A burst is
    one change. After `limit` changes the queue is quiet. No row is requeued or unarchived twice.

    `feedback_rate` is the number of changes of feedback before each request of any kind, on runs and threads of the
    queue that is asked for (of the first one, where none is); `feedback_kinds` take turns, `feedback_limit` ends them.
    """

    rate: float = 0.0
    kinds: tuple[Kind, ...] = ("finish",)
    burst: int = 60
    per_request: bool = True
    limit: int | None = None
    feedback_rate: float = 0.0
    feedback_kinds: tuple[FeedbackHappening, ...] = FEEDBACK_KINDS
    feedback_limit: int | None = None

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise ValueError(f"unknown kind of change {kind!r}, choose from {', '.join(KINDS)}")
        for happening in self.feedback_kinds:
            if happening not in FEEDBACK_KINDS:
                raise ValueError(f"unknown change of feedback {happening!r}, choose from {', '.join(FEEDBACK_KINDS)}")


class Hand:
    """Makes the changes of one sandbox. Called under the lock of its queues."""

    def __init__(self, changes: Changes, seed: int, monotonic: Callable[[], float]) -> None:
        self._changes = changes
        self._rng = random.Random(f"{seed}:changes")
        self._monotonic = monotonic
        self._last = monotonic()
        self._due = 0.0
        self._made = 0
        self._bursts = 0
        self._back: set[str] = set()

    def before_request(self, queue: Queue) -> None:
        """Change `queue` as much as is due."""
        now = self._monotonic()
        self._due += self._changes.rate * (1.0 if self._changes.per_request else now - self._last)
        self._last = now
        limit = self._changes.limit
        while self._due >= 1.0 and (limit is None or self._made < limit):
            self._due -= 1.0
            self._change(queue, self._changes.kinds[self._made % len(self._changes.kinds)])
            self._made += 1

    def _change(self, queue: Queue, kind: Kind) -> None:
        active = len(queue.listing("active"))
        match kind:
            case "add":
                queue.add()
            case "insert":
                queue.add(at=self._rng.randrange(active + 1))
            case "insert_front":
                queue.add(at=0)
            case "burst_finish" | "burst_delete":
                self._burst(queue, queue.finish if kind == "burst_finish" else queue.delete)
            case "requeue" | "unarchive":
                self._bring_back(queue, kind)
            case _:
                self._touch_one(queue, kind)

    def _touch_one(self, queue: Queue, kind: Kind) -> None:
        row_id = self._pick(queue, "active")
        if row_id is None:
            return
        if kind == "finish":
            queue.finish(row_id)
        elif kind == "review":
            queue.review(row_id, reviewer=self._rng.randrange(2))
        elif kind == "delete":
            queue.delete(row_id)
        else:
            queue.move(row_id, self._rng.randrange(len(queue.listing("active"))))

    def _burst(self, queue: Queue, act: Callable[[str], None]) -> None:
        rows = queue.listing("active")
        size = min(self._changes.burst, len(rows))
        start = (0, (len(rows) - size) // 2, len(rows) - size)[self._bursts % 3]
        self._bursts += 1
        for row in rows[start : start + size]:
            act(row.id)

    def _bring_back(self, queue: Queue, kind: Kind) -> None:
        section: Section = "archived" if kind == "unarchive" or chance(self._rng, 0.5) else "active"
        row_id = self._pick(queue, section)
        if row_id is None or row_id in self._back:
            return
        self._back.add(row_id)
        (queue.requeue if kind == "requeue" else queue.unarchive)(row_id)

    def _pick(self, queue: Queue, section: Section) -> str | None:
        rows = queue.listing(section)
        return self._rng.choice(rows).id if rows else None


class FeedbackHand:
    """Makes the changes of the feedback. Called under the lock of its queues."""

    def __init__(self, changes: Changes, seed: int, book: FeedbackBook) -> None:
        self._changes = changes
        self._rng = random.Random(f"{seed}:changes of feedback")
        self._book = book
        self._due = 0.0
        self._made = 0

    def before_request(self, queue: Queue) -> None:
        """Change the feedback of `queue` as much as is due."""
        changes = self._changes
        self._due += changes.feedback_rate
        while self._due >= 1.0 and (changes.feedback_limit is None or self._made < changes.feedback_limit):
            self._due -= 1.0
            self._change(queue, changes.feedback_kinds[self._made % len(changes.feedback_kinds)])
            self._made += 1

    def _change(self, queue: Queue, kind: FeedbackHappening) -> None:
        subject = self._book.anything(queue, self._rng)
        there = self._book.of(subject) if subject else []
        if subject and (kind == "add" or not there):
            self._book.add(subject)
        elif there and kind == "edit":
            self._book.edit(self._rng.choice(there), score=self._rng.random(), comment=sentence(self._rng, 4))
        elif there:
            self._book.delete(self._rng.choice(there))
