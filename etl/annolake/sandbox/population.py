"""Fills a sandbox's queues: how many rows, when they came, which of them are archived.

Owns the numbers; a row's content is ordinary.py's and odd.py's.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from annolake.sandbox.cast import Cast, Stage, cast_of, reviewers_of, uuid
from annolake.sandbox.feedback_book import FeedbackBook, Said, Voices
from annolake.sandbox.feedback_text import Writer
from annolake.sandbox.odd import OddRows
from annolake.sandbox.opinions import Panel
from annolake.sandbox.ordinary import HOUR, SECOND, OrdinaryRows
from annolake.sandbox.queue import ArchivedBy, Order, Queue, Section
from annolake.sandbox.rows import Row, rfc3339
from annolake.sandbox.timeline import Timeline

UNTIL = datetime(2026, 11, 20, 18, tzinfo=UTC)
"""When the newest row of every sandbox came: fixed, so that a seed always means the same data."""

_QUEUE_NAMES = ("Support answers", "Checkout agent", "Summaries", "Search answers", "Réponses longues", "訳文")
_BATCHES = 0.03
_SMALL = 2_000  # rows of all queues


class _Writer(Protocol):
    def make(self, rng: random.Random, row_id: str, added: int, stage: Stage) -> Row: ...


@dataclass(frozen=True)
class Population:
    """What a sandbox holds: `rows` RUN rows and `threads` THREAD items in each of `queues` queues.

    `feedback` is how many a run has on average (0: none); one run of each queue has `crowd` of them.
    """

    rows: int = 1500
    queues: int = 1
    threads: int = 0
    odd: bool = True
    payload_kb: float | None = None
    archived_share: float = 0.3
    days: float = 20.0
    order: Order = "oldest_first"
    archived_by: ArchivedBy = "added_at"
    feedback: float = 2.6
    crowd: int = 130


@dataclass(frozen=True)
class _Drawn:
    """A queue before anything happened to it; `make` writes the row that joins as the index-th of all."""

    cast: Cast
    voices: Voices
    make: Callable[[int, int, Stage], Row]
    rows: Sequence[tuple[Section, Row]]


def populate(
    population: Population, seed: int, tenant_id: str, timeline: Timeline
) -> tuple[dict[str, Queue], FeedbackBook]:
    """Return the queues by id, filled, and the feedback of their runs; the same for the same arguments."""
    small = population.rows * population.queues <= _SMALL and not population.payload_kb
    drawn, said = (_remembered if small else _draw)(population, seed, tenant_id, timeline.now)
    queues = {one.cast.queue_id: _queue(population, one, timeline) for one in drawn}
    return queues, FeedbackBook(queues, {one.cast.queue_id: one.voices for one in drawn}, timeline, said)


def _draw(population: Population, seed: int, tenant_id: str, until: int) -> tuple[Sequence[_Drawn], Said]:
    rng = random.Random(f"{seed}:cast")
    reviewers = reviewers_of(rng)
    casts = [cast_of(rng, tenant_id, reviewers, _name(index)) for index in range(population.queues)]
    return [_draw_queue(population, cast, seed, until) for cast in casts], {}


_remembered = lru_cache(maxsize=8)(_draw)
"""Sandboxes of one process that are small and alike begin with the same rows, which never change."""


def _name(index: int) -> str:
    name = _QUEUE_NAMES[index % len(_QUEUE_NAMES)]
    return name if index < len(_QUEUE_NAMES) else f"{name} {index // len(_QUEUE_NAMES) + 1}"


def _voices(population: Population, cast: Cast, seed: int, until: int) -> Voices:
    crowded = _rng(seed, cast, population.rows // 2)
    uuid(crowded)  # the row's own id; the next one drawn is that of its run
    people = [reviewer.id for reviewer in cast.reviewers]
    panel = Panel(seed, people, mean=population.feedback, crowd=population.crowd, crowded=uuid(crowded))
    return Voices(panel, Writer(cast.reviewers, until, odd=population.odd), population.rows)


def _rng(seed: int, cast: Cast, index: int) -> random.Random:
    return random.Random(f"{seed}:{cast.queue_id}:{index}")


def _draw_queue(population: Population, cast: Cast, seed: int, until: int) -> _Drawn:
    voices = _voices(population, cast, seed, until)
    payload = population.payload_kb
    writer: _Writer = OddRows(cast, payload) if population.odd else OrdinaryRows(cast, seed, payload, voices.panel)

    def make(index: int, added: int, stage: Stage) -> Row:
        rng = _rng(seed, cast, index)
        return writer.make(rng, uuid(rng), added, stage)

    rng = random.Random(f"{seed}:{cast.queue_id}")
    rows = [*_runs(population, rng, make, until), *_threads(population, rng, cast, until)]
    return _Drawn(cast, voices, make, rows)


def _queue(population: Population, drawn: _Drawn, timeline: Timeline) -> Queue:
    order, archived_by = population.order, population.archived_by
    queue = Queue(drawn.cast, make=drawn.make, timeline=timeline, order=order, archived_by=archived_by)
    queue.load(drawn.rows)
    return queue


def _runs(
    population: Population, rng: random.Random, make: Callable[[int, int, Stage], Row], until: int
) -> Iterator[tuple[Section, Row]]:
    rows = population.rows
    archived = set(rng.sample(range(rows), round(rows * population.archived_share)))
    for index, added in enumerate(_times(population, rng, until)):
        if index in archived:
            yield "archived", make(index, added, "archived")
        else:
            stages: tuple[Stage, ...] = ("waiting", "mine", "theirs")
            yield "active", make(index, added, rng.choices(stages, (70, 15, 15))[0])


def _times(population: Population, rng: random.Random, until: int) -> Iterator[int]:
    """Yield when each row came, oldest first; some came together and have one time."""
    rows = population.rows
    step = int(population.days * 24 * HOUR) // max(rows, 1)
    together, added = 0, 0
    for index in range(rows):
        if together:
            together -= 1
        else:
            added = until - (rows - index) * step + rng.randrange(max(step, 1))
            together = rng.randint(1, 11) if rng.random() < _BATCHES else 0
        yield added


def _thread_id(rng: random.Random, index: int, *, odd: bool) -> str:
    if index % 2 == 0:
        return uuid(rng)
    return f"thread/№ {index}?a=b&c#%2F" if odd and index % 3 == 0 else f"thread-{index:04d}"


def _threads(population: Population, rng: random.Random, cast: Cast, until: int) -> Iterator[tuple[Section, Row]]:
    for index in range(population.threads):
        row_id = uuid(rng)
        added = until - rng.randrange(1, int(population.days * 24 * HOUR))
        archived = rng.random() < population.archived_share
        done = added + rng.randrange(1, 8) * HOUR if archived else 0
        fields = {
            "queue_run_id": row_id,
            "thread_id": _thread_id(rng, index, odd=population.odd),
            "session_id": rng.choice(cast.projects),
            "start_time": rfc3339(added - 90 * SECOND) if index % 5 else None,
            "added_at": rfc3339(added),
            "effective_added_at": rfc3339(added),
            "last_reviewed_time": rfc3339(done) if done else None,
            "reserved_by": [],
            "completed_by": [cast.reviewers[1].id] if archived else [],
            "source_proposed_example_id": None,
        }
        row = Row(row_id, added, (json.dumps(fields).encode(),), item_type="THREAD", done=done)
        yield ("archived" if archived else "active"), row
