"""What each view must show of a sandbox, worked out in plain Python from the service's own data.

Shares no code with the views. `Truth` holds the rows as the service last had them; only when a row left, and when the
lake was last written, is taken from the lake.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import combinations
from typing import Any

import oracle
from annolake.sandbox import Sandbox

Rows = list[tuple[Any, ...]]
Answer = str | float


@dataclass
class Held:
    """A row of a queue: its columns as the document has them, and when it left (None: it is there)."""

    queue_id: str
    queue_name: str
    key: str
    archived: bool
    columns: dict[str, Any]
    removed_at: datetime | None = None

    @property
    def day(self) -> date | None:
        """The UTC day on which it was added."""
        return utc_day(self.columns["added_at"])

    @property
    def where(self) -> tuple[str, str]:
        """Its queue."""
        return self.queue_id, self.queue_name


@dataclass
class Truth:
    """A sandbox's rows, those that left included, and when the lake was last written."""

    sandbox: Sandbox
    written_at: datetime
    rows: list[Held] = field(default_factory=list)

    @property
    def here(self) -> list[Held]:
        """The rows that have not left."""
        return [row for row in self.rows if row.removed_at is None]

    def said(self) -> list[tuple[str, dict[str, Any]]]:
        """Return each feedback that was not deleted, as sent, with each queue that it is in.

        What was said on a run that has left its queue is still there. Threads of two projects can have one name.
        """
        found = []
        for row in self.rows:
            told = row.columns
            for one in self.sandbox.feedback.of(told["id"] or told["thread_id"]):
                sent = one.value()
                if told["id"] or sent["session_id"] == told["session_id"]:
                    found.append((row.queue_id, sent))
        return found


def rows_of(sandbox: Sandbox) -> Iterator[Held]:
    """Yield the rows that the queues have now."""
    for queue_id in sandbox.queue_ids:
        queue = sandbox.queue(queue_id)
        for section in ("active", "archived"):
            for row in queue.listing(section):
                sent = json.loads(row.text, parse_float=Decimal)
                yield Held(queue_id, queue.name, row.id, section == "archived", oracle.expected(sent))


def utc_day(at: datetime | None) -> date | None:
    """Return the UTC day of a time."""
    return at and at.astimezone(UTC).date()


def _sum(values: list[Any]) -> Any:
    known = [value for value in values if value is not None]
    with localcontext(prec=60):
        return sum(known) if known else None


def _listed(truth: Truth) -> Iterator[tuple[str, dict[str, Any]]]:
    for queue_id in truth.sandbox.queue_ids:
        people: Any = truth.sandbox.profile(queue_id)["assigned_reviewers"]
        yield from ((queue_id, person) for person in people)


def reviewers(truth: Truth) -> Rows:
    """One row per id: listed by a queue, or met on a row."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for queue_id, person in _listed(truth):
        found[person["id"]]["queues"].add(queue_id)
        for name in ("name", "email"):
            found[person["id"]][name] |= {person[name]} - {None}
    for row in truth.rows:
        for met in [*(row.columns["completed_by"] or []), *(row.columns["reserved_by"] or [])]:
            found[met]
    called: dict[str, set[str]] = defaultdict(set)
    for _, sent in truth.said():
        source = sent.get("feedback_source") or {}
        for space in ("user_id", "ls_user_id"):
            if source.get("type") == "app" and source.get(space) and source.get("user_name"):
                called[source[space]].add(source["user_name"])
    rows = []
    for one, told in found.items():
        listed, mails = told["name"] or called[one], told["email"]
        rows.append((one, max(listed, default=None), max(mails, default=None), sorted(told["queues"])))
    return rows


def _names(truth: Truth) -> dict[str, str | None]:
    return {person: name for person, name, *_ in reviewers(truth)}


def reviews(truth: Truth) -> Rows:
    """Row x reviewer x state."""
    names, found = _names(truth), []
    for row in truth.here:
        told = row.columns
        for state, column in (("completed", "completed_by"), ("reserved", "reserved_by")):
            for person in {*(told[column] or [])}:
                head = (*row.where, row.key, told["id"], person, names[person], state)
                found.append((*head, told["added_at"], told["last_reviewed_time"], row.day))
    return found


def reviewer_throughput(truth: Truth) -> Rows:
    """Finished rows by day of the last review and reviewer."""
    done = [row for row in reviews(truth) if row[6] == "completed"]
    return [(*key, n) for key, n in Counter((utc_day(row[8]), row[4], row[5]) for row in done).items()]


def review_latency(truth: Truth) -> Rows:
    """Finished rows with the hours they took."""
    found = []
    for row in truth.here:
        added, done, people = (row.columns[name] for name in ("added_at", "last_reviewed_time", "completed_by"))
        if people and added and done:
            hours = (done - added) // timedelta(microseconds=1) / 3.6e9
            found.append((*row.where, row.key, row.columns["id"], len(people), added, done, row.day, hours))
    return found


def feedback_stats(truth: Truth) -> Rows:
    """The service's own figures by row and key."""
    found = []
    for row in truth.here:
        for key, stats in (row.columns["feedback_stats"] or {}).items():
            figures = [stats.get(name) for name in ("avg", "stdev", "min", "max")]
            numbers = [None if figure is None else float(figure) for figure in figures]
            found.append((*row.where, row.key, row.columns["id"], row.day, key, stats.get("n"), *numbers))
    return found


def daily_cost(truth: Truth) -> Rows:
    """Runs, tokens and costs by day, queue and model."""
    groups: dict[tuple[Any, ...], list[Held]] = defaultdict(list)
    for row in truth.here:
        extra = row.columns["extra"] or {}
        metadata, invocation = extra.get("metadata") or {}, extra.get("invocation_params") or {}
        told = (metadata.get("ls_model_name"), invocation.get("model"), invocation.get("model_name"))
        model = next((name for name in told if isinstance(name, str)), None)
        groups[row.day, *row.where, model].append(row)
    return [
        (*group, len(rows), *(_sum([row.columns[name] for row in rows]) for name in ("total_tokens", "total_cost")))
        for group, rows in groups.items()
    ]


def queue_backlog(truth: Truth) -> Rows:
    """Rows that wait at the end of each day, counted day by day."""
    found, last = [], utc_day(truth.written_at)
    for where in {row.where for row in truth.rows}:
        rows = [(row.day, row) for row in truth.rows if row.where == where]
        dated = [(day, row) for day, row in rows if day]
        day = min((day for day, _ in dated), default=date.max)
        while last and day <= last:
            waiting = [row for added, row in dated if added <= day and not _gone_by(row, day)]
            found.append((day, *where, len(waiting)))
            day += timedelta(days=1)
    return found


def _gone_by(row: Held, day: date) -> bool:
    left, done = utc_day(row.removed_at), utc_day(row.columns["last_reviewed_time"])
    return bool((left and left <= day) or (row.archived and (done is None or done <= day)))


def agreement(truth: Truth) -> Rows:
    """Percent and Cohen's kappa for each pair and key, by their definitions."""
    by_run: dict[tuple[str, str], dict[str, tuple[Any, Answer]]] = defaultdict(dict)
    for sent in {sent["id"]: sent for _, sent in truth.said()}.values():
        source, value = sent.get("feedback_source") or {}, sent.get("value")
        author = source.get("user_id") or source.get("ls_user_id")
        answer: Answer | None = _text(value) if isinstance(value, str | int | Decimal) else None
        if answer is None and sent.get("score") is not None:
            answer = float(sent["score"])
        if source.get("type") != "app" or not author or not sent.get("run_id") or answer is None:
            continue
        at = sent.get("created_at") and oracle.moment(sent["created_at"])
        when = (at is not None, at, sent["id"])
        answers = by_run[sent["run_id"], sent["key"]]
        if author not in answers or answers[author][0] < when:
            answers[author] = when, answer
    pairs: dict[tuple[str, str, str], list[tuple[Answer, Answer]]] = defaultdict(list)
    for (_, key), by_person in by_run.items():
        for a, b in combinations(sorted(by_person), 2):
            pairs[key, a, b].append((by_person[a][1], by_person[b][1]))
    return [(*pair, *_kappa(both)) for pair, both in pairs.items()]


def _text(value: str | int | Decimal) -> str:
    return json.dumps(value) if isinstance(value, int) else str(value)


def _kappa(both: list[tuple[Answer, Answer]]) -> tuple[int, float, float | None]:
    of_a, of_b = (Counter(answers) for answers in zip(*both, strict=True))
    same = Fraction(sum(a == b for a, b in both), len(both))
    chance = Fraction(sum(n * of_b[answer] for answer, n in of_a.items()), len(both) ** 2)
    return len(both), float(same * 100), None if chance == 1 else float((same - chance) / (1 - chance))


COUNTED: dict[str, Callable[[Truth], Rows]] = {
    each.__name__: each
    for each in (
        *(reviewers, reviews, reviewer_throughput, review_latency),
        *(feedback_stats, daily_cost, queue_backlog, agreement),
    )
}
"""The views that are worked out, by name."""
