"""One feedback as the service holds it, and how an opinion becomes one: ordinary, or as odd as the contract allows.

Owns the text of a feedback and its times. Which opinions there are is opinions.py's.
"""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache, cached_property
from typing import Any

from annolake.sandbox.cast import Reviewer, chance, uuid
from annolake.sandbox.oddities import NUMBERS, Values
from annolake.sandbox.opinions import Opinion
from annolake.sandbox.ordinary import HOUR, SECOND
from annolake.sandbox.rows import Row, join, members, rfc3339, with_members

HORIZON = 5 * 24 * HOUR
"""How long after its run came to the queue a feedback is created at the latest."""

_NULLABLE = (
    *("score", "value", "comment", "correction", "feedback_group_id", "comparative_experiment_id", "trace_id"),
    *("start_time", "is_root", "feedback_thread_id", "extra", "modified_at", "created_at", "feedback_source"),
)
_SCORES = ("1.10", "1E-7", "-0.0", "-3", "0.1000000000000000055511151231257827", "true", "false", "1e3")
_VALUES = ("true", "false", "0", "-1.50", "1E+2", '""', '"null"', "{}", f'{{"numbers": {NUMBERS}, "nested": [{{}}]}}')
_CORRECTIONS = ('"a string"', '{"answer": null, "é": [1.10, {}]}', "{}", '""')
_KEYS = ("Qualität ✓", "a.b", "with space", "note", "", "訳文", "'; drop table feedback; --")
_SWAPPED = "012"


@dataclass(frozen=True, eq=False)
class Feedback:
    """A feedback: its `subject` is the id of its run, else its thread, else its project. Times in us since 1970."""

    id: str
    subject: str
    session_id: str
    run_id: str | None
    thread_id: str | None
    created: int
    text: bytes

    @cached_property
    def rank(self) -> bytes:
        """What feedback is listed by: always the same order, and no order that anybody could expect."""
        return hashlib.blake2b(self.id.encode(), digest_size=8).digest()

    def value(self) -> Any:
        """Return the decoded text; numbers with a point or an exponent are exact decimals."""
        return json.loads(self.text, parse_float=Decimal)

    def with_fields(self, fields: Mapping[str, Any]) -> "Feedback":
        """Return this feedback with `fields` set (bytes are JSON text as it is)."""
        return replace(self, text=with_members(self.text, fields))

    def opinion(self) -> Opinion:
        """Return what the feedback says; of a text that is no object, nothing."""
        there = self.value() if members(self.text) else {}
        source = there.get("feedback_source") or {}
        known = {name: there.get(name) for name in ("score", "value", "comment", "correction")}
        return Opinion(str(there.get("key")), str(source.get("type")), source.get("user_id"), **known)

    def people(self) -> set[str]:
        """Return the ids of whoever said it, in both identity spaces."""
        source = (self.value() if members(self.text) else {}).get("feedback_source") or {}
        return {person for name in ("user_id", "ls_user_id") if isinstance(person := source.get(name), str)}

    def shown(self, *, names: bool) -> bytes:
        """Return the text as it is sent; without `names` nobody's name is told."""
        return self.text if names else self._nameless

    @cached_property
    def _nameless(self) -> bytes:
        source = members(members(self.text).get("feedback_source", b"null"))
        if "user_name" not in source:
            return self.text
        del source["user_name"]
        return with_members(self.text, {"feedback_source": join(source)})


@dataclass(frozen=True, slots=True)
class Subject:
    """What feedback is about: a run, a thread or a whole project, and when it came and was reviewed."""

    id: str
    session_id: str
    run_id: str | None = None
    thread_id: str | None = None
    trace_id: str | None = None
    start_time: str | None = None
    is_root: bool | None = None
    completed_by: tuple[str, ...] = ()
    added: int = 0
    done: int = 0

    @classmethod
    def of_row(cls, row: Row) -> "Subject | None":
        """Return the subject that a row's run or thread is, None for a planted row that tells no project."""
        there = row.value() if row.members() else {}
        session, trace = there.get("session_id"), there.get("trace_id")
        if not isinstance(session, str):
            return None
        people = tuple(person for person in there.get("completed_by") or () if isinstance(person, str))
        about = cls(row.run_id or str(there.get("thread_id")), session, None, completed_by=people)
        about = replace(about, added=row.key, done=row.done)
        if row.run_id is None:
            return replace(about, thread_id=about.id)
        root = there.get("parent_run_id") is None
        start = there.get("start_time")
        return replace(about, run_id=row.run_id, trace_id=trace or row.run_id, start_time=start, is_root=root)


@cache
def other_identity(person: str) -> str:
    """Return the id of the same person in the service's other identity space."""
    return uuid(random.Random(f"other identity:{person}"))


class Writer:
    """Writes opinions down. `until` is when the newest row of the data came: no feedback of theirs is younger."""

    def __init__(self, reviewers: tuple[Reviewer, ...], until: int, *, odd: bool) -> None:
        self._names = {reviewer.id: reviewer.name for reviewer in reviewers}
        self._until = until
        self._odd = odd

    def write(self, rng: random.Random, opinion: Opinion, subject: Subject, at: int | None = None) -> Feedback:
        """Return the feedback that `opinion` becomes, created at a time after its subject came, or `at`."""
        feedback_id = uuid(rng)
        created = self._created(rng, opinion, subject) if at is None else at
        later = rng.randrange(1, 2 * HOUR) if chance(rng, 0.1) else 0
        modified = created if at is not None else max(created, min(created + later, self._until))
        fields = {
            "id": feedback_id,
            "created_at": rfc3339(created),
            "modified_at": rfc3339(modified),
            "key": opinion.key,
            "score": opinion.score,
            "value": opinion.value,
            "comment": opinion.comment,
            "correction": opinion.correction,
            "feedback_group_id": uuid(rng) if chance(rng, 0.03) else None,
            "comparative_experiment_id": uuid(rng) if chance(rng, 0.02) else None,
            "run_id": subject.run_id,
            "session_id": subject.session_id,
            "trace_id": subject.trace_id,
            "start_time": subject.start_time,
            "is_root": subject.is_root,
            "feedback_thread_id": subject.thread_id,
            "extra": {"weight": 0.5} if chance(rng, 0.05) else None,
            "feedback_source": self._source(rng, opinion, subject),
        }
        text = _odd_text(rng, fields, created, modified) if self._odd else json.dumps(fields).encode()
        there = (subject.id, subject.session_id, subject.run_id, subject.thread_id)
        return Feedback(feedback_id, *there, created, text)

    def _created(self, rng: random.Random, opinion: Opinion, subject: Subject) -> int:
        if opinion.person in subject.completed_by:
            span = max(subject.done - subject.added, HOUR) // len(subject.completed_by)
            after = span * (subject.completed_by.index(opinion.person) + 1) - rng.randrange(5 * 60 * SECOND)
        else:
            after = rng.randrange(120 * SECOND if opinion.source in {"model", "auto_eval"} else 24 * HOUR)
        latest = min(HORIZON, max(self._until - subject.added, 2)) - 1
        return subject.added + max(1, min(after, latest))

    def _source(self, rng: random.Random, opinion: Opinion, subject: Subject) -> dict[str, Any]:
        source: dict[str, Any] = {"type": opinion.source, "metadata": None}
        if opinion.source == "model":
            source["metadata"] = {"__run": {"run_id": uuid(rng)}, "judge": "gpt-4.1"}
        if opinion.person is None:
            return {**source, "user_id": None, "ls_user_id": None, "user_name": None}
        one, other = opinion.person, other_identity(opinion.person)
        if subject.id[0] in _SWAPPED:
            # Of these, the row's `completed_by` holds what the feedback calls `ls_user_id`.
            one, other = other, one
        return {**source, "user_id": one, "ls_user_id": other, "user_name": self._names.get(opinion.person)}


def _odd_text(rng: random.Random, fields: dict[str, Any], created: int, modified: int) -> bytes:
    values = Values(rng)
    texts = {name: values.dumps(value) for name, value in fields.items()}
    texts["created_at"], texts["modified_at"] = values.time(created), values.time(modified)
    for name, odd in (("score", _SCORES), ("value", _VALUES), ("correction", _CORRECTIONS)):
        if chance(rng, 0.12):
            texts[name] = rng.choice(odd)
    if chance(rng, 0.15):
        texts["comment"] = values.dumps(values.words(8))
    if chance(rng, 0.1):
        texts["key"] = values.dumps(rng.choice(_KEYS))
    if chance(rng, 0.08):
        texts["reviewer_mood"] = values.dumps(rng.choice((None, "tired", {"level": [1, {}]})))
    for name in _NULLABLE:
        if chance(rng, 0.05 if texts[name] == "null" else 0.01):
            texts.pop(name) if chance(rng, 0.5) else texts.update({name: "null"})
    if fields["run_id"] is None:  # what names no owner is no odd spelling: nobody can tell whose it is
        texts["feedback_thread_id"] = json.dumps(fields["feedback_thread_id"])
    return values.object(texts).encode()
