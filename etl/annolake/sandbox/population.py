"""Fills a sandbox's queues: how many rows, when they came, which of them are archived.

Owns the numbers; a row's content is ordinary.py's and odd.py's.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from annolake.sandbox.cast import Cast, Stage, cast_of, reviewers_of, uuid
from annolake.sandbox.odd import OddRows
from annolake.sandbox.ordinary import HOUR, SECOND, OrdinaryRows
from annolake.sandbox.queue import ArchivedBy, Order, Queue, Section
from annolake.sandbox.rows import Row, rfc3339
from annolake.sandbox.timeline import Timeline

UNTIL = datetime(2026, 11, 20, 18, tzinfo=UTC)
"""When the newest row of every sandbox came: fixed, so that a seed always means the same data."""

_QUEUE_NAMES = ("Support answers", "Checkout agent", "Summaries", "Search answers", "Réponses longues", "訳文")
_BATCHES = 0.03


class _Writer(Protocol):
    def make(self, rng: random.Random, row_id: str, added: int, stage: Stage) -> Row: ...


@dataclass(frozen=True)
class Population:
    """What a sandbox holds: `rows` RUN rows and `threads` THREAD items in each of `queues` queues."""

    rows: int = 1500
    queues: int = 1
    threads: int = 0
    odd: bool = True
    payload_kb: float | None = None
    archived_share: float = 0.3
    days: float = 20.0
    order: Order = "oldest_first"
    archived_by: ArchivedBy = "added_at"


def populate(population: Population, seed: int, tenant_id: str, timeline: Timeline) -> list[Queue]:
    """Return the queues, filled; the same for the same arguments."""
    rng = random.Random(f"{seed}:cast")
    reviewers = reviewers_of(rng)
    return [
        _queue(population, cast_of(rng, tenant_id, reviewers, _name(index)), seed, timeline)
        for index in range(population.queues)
    ]


def _name(index: int) -> str:
    name = _QUEUE_NAMES[index % len(_QUEUE_NAMES)]
    return name if index < len(_QUEUE_NAMES) else f"{name} {index // len(_QUEUE_NAMES) + 1}"


def _queue(population: Population, cast: Cast, seed: int, timeline: Timeline) -> Queue:
    writer: _Writer = (OddRows if population.odd else OrdinaryRows)(cast, seed, population.payload_kb)

    def make(index: int, added: int, stage: Stage) -> Row:
        rng = random.Random(f"{seed}:{cast.queue_id}:{index}")
        return writer.make(rng, uuid(rng), added, stage)

    queue = Queue(cast, make=make, timeline=timeline, order=population.order, archived_by=population.archived_by)
    rng = random.Random(f"{seed}:{cast.queue_id}")
    queue.load(_runs(population, rng, make, timeline.now))
    queue.load(_threads(population, rng, cast, timeline.now))
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


def _threads(population: Population, rng: random.Random, cast: Cast, until: int) -> Iterator[tuple[Section, Row]]:
    for index in range(population.threads):
        row_id = uuid(rng)
        added = until - rng.randrange(1, int(population.days * 24 * HOUR))
        archived = rng.random() < population.archived_share
        done = added + rng.randrange(1, 8) * HOUR if archived else 0
        fields = {
            "queue_run_id": row_id,
            "thread_id": f"thread-{index:04d}" if index % 2 else uuid(rng),
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
