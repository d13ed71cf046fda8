"""All feedback of a sandbox: drawn when it is first asked for, and everything that happens to it afterwards.

Owns which feedback there is, and that the rows' `feedback_stats` follow it. It never decides when a change happens
(changes.py) and never speaks HTTP (feedback.py).
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from annolake.sandbox.cast import Cast, sentence, uuid
from annolake.sandbox.feedback_text import HORIZON, Feedback, Subject, Writer
from annolake.sandbox.opinions import Opinion, Panel, stats_of
from annolake.sandbox.ordinary import HOUR
from annolake.sandbox.queue import Queue
from annolake.sandbox.rows import Row, rfc3339
from annolake.sandbox.timeline import Timeline

_STRANGERS = 5
"""For so many rows of a queue, there is one run with feedback in its projects that is in no queue."""

_REMEMBERED = 20_000
"""Of so many subjects what was drawn is kept in memory: some 3 kB each."""

FeedbackHappening = Literal["add", "edit", "delete"]

Said = dict[str, tuple[Sequence[Row | None], Sequence[Feedback]]]
"""What was drawn of a run, and the rows that it was drawn for; sandboxes that begin alike share it."""


@dataclass(frozen=True)
class FeedbackEvent:
    """Something that happened to the feedback `id`: seen from request number `request` on."""

    request: int
    id: str
    kind: FeedbackHappening


@dataclass(frozen=True)
class Voices:
    """Who judges the runs of a queue, and how that is written down."""

    panel: Panel
    writer: Writer
    rows: int


class FeedbackBook:
    """The feedback of every run, thread and project. Every method may be called from any thread."""

    def __init__(self, queues: dict[str, Queue], voices: dict[str, Voices], timeline: Timeline, said: Said) -> None:
        self.history: list[FeedbackEvent] = []
        self._queues = queues
        self._voices = voices
        self._timeline = timeline
        self._until = timeline.now
        self._changed: dict[str, dict[str, Feedback]] = {}
        self._said = said
        self._memory: dict[tuple[int, int | None], list[Feedback]] = {}
        self._rng = random.Random(f"feedback by hand:{','.join(queues)}")

    # What is there

    def of(self, subject: str) -> list[Feedback]:
        """Return the feedback of a run, thread or project as it is now; none of one that nobody knows."""
        with self._timeline.lock:
            return list(self._of(subject))

    def of_queue(self, queue: Queue) -> list[Feedback]:
        """Return the feedback of the runs and threads that are in a queue, the truth for tests."""
        with self._timeline.lock:
            rows = [*queue.listing("active"), *queue.listing("archived")]
            return [one for row in rows if (there := _subject_id(row)) for one in self._of(there)]

    def of_projects(self, projects: Iterable[str] | None, since: int | None) -> list[Feedback]:
        """Return the feedback in these projects (None: in all), where `since` is given only what may be that young."""
        wanted = None if projects is None else set(projects)
        with self._timeline.lock:
            happened = len(self.history) + sum(len(queue.history) for queue in self._queues.values())
            if (happened, since) not in self._memory:
                subjects = dict.fromkeys([*self._subjects(since), *self._changed])
                # Every request for a page of it asks: it is remembered until something happens.
                self._memory = {(happened, since): [one for subject in subjects for one in self._of(subject)]}
            there = self._memory[happened, since]
        return [one for one in there if wanted is None or one.session_id in wanted]

    # What happens to it

    def add(self, subject: str, *, at: int | None = None, text: bytes | None = None, **fields: Any) -> Feedback:
        """Add feedback to a run, thread or project, now or `at` (us since 1970); `text` plants its JSON as it is."""
        with self._timeline.lock:
            there, voices = self._subject(subject)
            opinion = voices.panel.one(self._rng)
            made = voices.writer.write(self._rng, opinion, there, self._timeline.tick() if at is None else at)
            made = replace(made, text=text) if text is not None else made.with_fields(fields) if fields else made
            self._change(made, "add")
            return made

    def edit(self, feedback: Feedback, **fields: Any) -> Feedback:
        """Set fields of a feedback; its `modified_at` moves unless it is among them."""
        with self._timeline.lock:
            fields = {"modified_at": rfc3339(self._timeline.tick()), **fields}
            made = self._held(feedback).with_fields(fields)
            self._change(made, "edit")
            return made

    def delete(self, feedback: Feedback) -> None:
        """Delete a feedback; nothing tells of it afterwards."""
        with self._timeline.lock:
            self._change(self._held(feedback), "delete")

    def anything(self, queue: Queue, rng: random.Random) -> str | None:
        """Draw a run or thread of a queue; None of an empty one."""
        rows = queue.listing(rng.choice(("active", "archived"))) or queue.listing("active")
        return _subject_id(rng.choice(rows)) if rows else None

    # The steps of it

    def _held(self, feedback: Feedback) -> Feedback:
        return {one.id: one for one in self._of(feedback.subject)}[feedback.id]

    def _change(self, feedback: Feedback, kind: FeedbackHappening) -> None:
        there = {one.id: one for one in self._of(feedback.subject)}
        if kind == "delete":
            del there[feedback.id]
        else:
            there[feedback.id] = feedback
        self._changed[feedback.subject] = there
        self.history.append(FeedbackEvent(self._timeline.requests + 1, feedback.id, kind))
        if feedback.run_id is not None:
            stats = stats_of(one.opinion() for one in there.values())
            for queue in self._queues.values():
                queue.edit_run(feedback.run_id, feedback_stats=stats)

    def _of(self, subject: str) -> Sequence[Feedback]:
        if subject in self._changed:
            return list(self._changed[subject].values())
        # A run's first row in each queue decides what is drawn, and that row can come after the first question.
        born = [queue.born(subject) for queue in self._queues.values()]
        if not any(born):
            return self._draw(subject)
        known, there = self._said.get(subject, ([], []))
        if known != born:
            there = self._draw(subject)
            if len(self._said) >= _REMEMBERED:
                self._said.clear()
            self._said[subject] = born, there
        return there

    def _draw(self, subject: str) -> Sequence[Feedback]:
        try:
            there, voices = self._subject(subject)
        except KeyError:
            return []
        rng = voices.panel.rng(subject)
        opinions = self._opinions(there, voices, rng)
        return [voices.writer.write(rng, opinion, there) for opinion in opinions]

    def _opinions(self, there: Subject, voices: Voices, rng: random.Random) -> list[Opinion]:
        if there.run_id is None and there.thread_id is None:
            return [Opinion("weekly", "api", score=rng.random(), comment=sentence(rng, 5)) for _ in range(2)]
        return voices.panel.opinions(rng, there.id, there.completed_by)

    def _subject(self, subject: str) -> tuple[Subject, Voices]:
        """Return what an id stands for and whose queue it is of; KeyError for an id that stands for nothing."""
        for queue in self._queues.values():
            row = queue.born(subject)
            found = Subject.of_row(row) if row else None
            if found is not None:
                return found, self._voices[queue.id]
            if subject in queue.cast.projects:
                return Subject(subject, subject, added=self._until - HORIZON), self._voices[queue.id]
        return self._elsewhere[subject]

    def _subjects(self, since: int | None) -> Iterator[str]:
        oldest = None if since is None else since - HORIZON
        for queue in self._queues.values():
            for run_id in queue.run_ids():
                row = queue.born(run_id)
                if row is not None and (oldest is None or row.key >= oldest):
                    yield run_id
            yield from queue.cast.projects
        for subject, (there, _) in self._elsewhere.items():
            if oldest is None or there.added >= oldest:
                yield subject

    @cached_property
    def _elsewhere(self) -> dict[str, tuple[Subject, Voices]]:
        """The threads of the THREAD items, and runs of the same projects that are in no queue."""
        found = {}
        for queue in self._queues.values():
            voices = self._voices[queue.id]
            rows = [*queue.threads("active"), *queue.threads("archived")]
            threads = [there for row in rows if (there := Subject.of_row(row))]
            for there in (*threads, *_runs_elsewhere(queue.cast, voices.rows // _STRANGERS, self._until)):
                found[there.id] = (there, voices)
        return found


def _runs_elsewhere(cast: Cast, count: int, until: int) -> Iterator[Subject]:
    rng = random.Random(f"elsewhere:{cast.queue_id}")
    for _ in range(count):
        run_id, project = uuid(rng), rng.choice(cast.projects)
        added = until - rng.randrange(1, 20 * 24 * HOUR)
        yield Subject(run_id, project, run_id, trace_id=run_id, is_root=True, added=added)


def _subject_id(row: Row) -> str | None:
    there = Subject.of_row(row) if row.run_id is None else None
    return row.run_id or (there.id if there else None)
