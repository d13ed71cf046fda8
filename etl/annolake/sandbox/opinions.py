"""What people, models and programs think of a run: drawn by seed, before it is written down as feedback.

Owns who says what, and the statistics that a run shows of it. The feedback's own form is feedback_text.py's.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from annolake.sandbox.cast import chance, sentence
from annolake.sandbox.rubric import CORRECT, HELPFULNESS, NOTE, TONE, TONES

SOURCES = ("api", "model", "app", "auto_eval")

_USUAL = 2.6
"""How many opinions a run has on average when none is left out and none is added."""

_SAMPLE = 1
"""How many comments the statistics of a key hold at most."""

_NUMBER = (int, float, Decimal)


@dataclass(frozen=True, slots=True)
class Opinion:
    """One answer to one key. `person` is a reviewer's id, None where no person said it."""

    key: str
    source: str
    person: str | None = None
    score: Any = None
    value: Any = None
    comment: str | None = None
    correction: Any = None


class Panel:
    """Whoever judges the runs of a queue: `mean` opinions a run on average, `crowd` of them on the run `crowded`."""

    def __init__(self, seed: int, people: Sequence[str], *, mean: float, crowd: int, crowded: str) -> None:
        self._seed = seed
        self._people = people
        self._mean = mean
        self._crowd = crowd if mean else 0
        self._crowded = crowded

    def rng(self, subject: str) -> random.Random:
        """Return what everything about a run (or thread, or project) is drawn from, from its start."""
        return random.Random(f"{self._seed}:feedback:{subject}")

    def opinions(self, rng: random.Random, run_id: str, completed_by: Sequence[str]) -> list[Opinion]:
        """Return what is thought of a run that these people have completed, the same for the same `rng`."""
        if not self._mean:
            return []
        drawn = [*_of_people(rng, completed_by, self._people), *_of_machines(rng)]
        if self._mean < _USUAL:
            drawn = [opinion for opinion in drawn if chance(rng, self._mean / _USUAL)]
        more = max(0.0, self._mean - _USUAL)
        extra = int(more) + chance(rng, more % 1)
        if run_id == self._crowded:
            extra = max(0, self._crowd - len(drawn))
        return [*drawn, *(_of_a_user(rng) for _ in range(extra))]

    def one(self, rng: random.Random) -> Opinion:
        """Return a reviewer's answer to one key."""
        return rng.choice(_of_person(rng, rng.choice(self._people)))


def _of_people(rng: random.Random, completed_by: Sequence[str], people: Sequence[str]) -> list[Opinion]:
    said = [opinion for person in completed_by for opinion in _of_person(rng, person)]
    if chance(rng, 0.08):  # a reviewer who answered and did not complete, or answered once more
        said.append(Opinion(HELPFULNESS, "app", rng.choice(people), score=rng.choice((0, 1))))
    return said


def _of_person(rng: random.Random, person: str) -> list[Opinion]:
    comment = sentence(rng, 6) if chance(rng, 0.2) else None
    said = [Opinion(HELPFULNESS, "app", person, score=rng.choice((0, 0.5, 1, 1)), comment=comment)]
    if chance(rng, 0.5):
        right = chance(rng, 0.8)
        said.append(Opinion(CORRECT, "app", person, score=right, correction=None if right else _correction(rng)))
    if chance(rng, 0.6):
        said.append(Opinion(TONE, "app", person, value=rng.choice(TONES)))
    if chance(rng, 0.1):
        said.append(Opinion(NOTE, "app", person, comment=sentence(rng, 9)))
    return said


def _correction(rng: random.Random) -> Any:
    text = sentence(rng, 5)
    return text if chance(rng, 0.5) else {"answer": text, "refund": chance(rng, 0.5)}


def _of_machines(rng: random.Random) -> list[Opinion]:
    said = []
    if chance(rng, 0.6):
        said.append(Opinion(HELPFULNESS, "model", score=round(rng.random(), 2), comment=_reason(rng)))
    if chance(rng, 0.1):
        said.append(Opinion("toxic", "auto_eval", score=0, value=False))
    if chance(rng, 0.3):
        said.append(_of_a_user(rng))
    return said


def _reason(rng: random.Random) -> str | None:
    return sentence(rng, 8) if chance(rng, 0.4) else None


def _of_a_user(rng: random.Random) -> Opinion:
    up = chance(rng, 0.7)
    return Opinion("user_score", "api", score=int(up), value={"thumb": "up" if up else "down"})


def stats_of(opinions: Iterable[Opinion]) -> dict[str, Any] | None:
    """Return a run's `feedback_stats`: per key count, average and sample of comments; None without any opinion."""
    by_key: dict[str, list[Opinion]] = {}
    for opinion in opinions:
        by_key.setdefault(opinion.key, []).append(opinion)
    return {key: _stats(there) for key, there in by_key.items()} or None


def _stats(there: Sequence[Opinion]) -> dict[str, Any]:
    scores: list[float] = []
    values: dict[str, int] = {}
    comments: list[str] = []
    sources: set[str] = set()
    for opinion in there:
        sources.add(opinion.source)
        if isinstance(opinion.score, _NUMBER):
            scores.append(float(opinion.score))
        if isinstance(opinion.value, str):
            values[opinion.value] = values.get(opinion.value, 0) + 1
        if opinion.comment is not None and len(comments) < _SAMPLE:
            comments.append(opinion.comment)
    rest = {"values": values, "comments": comments, "sources": sorted(sources)}
    if not scores:
        return {"n": len(there), "avg": None, **rest}
    average = sum(scores) / len(scores)
    spread = {"avg": average, "stdev": _stdev(scores, average), "min": min(scores), "max": max(scores)}
    return {"n": len(there), **spread, "errors": 0, **rest}


def _stdev(scores: Sequence[float], average: float) -> float | None:
    if len(scores) == 1:
        return None
    return math.sqrt(math.fsum((score - average) ** 2 for score in scores) / (len(scores) - 1))
