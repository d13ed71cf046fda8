"""Ordinary rows: LLM runs of about 2.5 kB as most queues hold them, fit for questions about cost and reviews.

Owns their content. Odd ones are odd.py's.
"""

import random
from dataclasses import dataclass
from typing import Any

import msgspec

from annolake.sandbox.cast import MODELS, Cast, Model, Stage, chance, dollars, dotted_order, sentence, uuid
from annolake.sandbox.opinions import Panel, stats_of
from annolake.sandbox.rows import Row, rfc3339

SECOND = 1_000_000
HOUR = 3600 * SECOND

_SYSTEM = "Answer politely, from the articles that you are given."
_NULLS = dict.fromkeys(
    (
        *("serialized", "parent_run_id", "manifest_id", "manifest_s3_id", "inputs_s3_urls", "outputs_s3_urls"),
        *("s3_urls", "trace_min_start_time", "trace_max_start_time", "child_run_ids", "direct_child_run_ids"),
        *("reference_example_id", "price_model_id", "messages", "share_token", "reference_dataset_id"),
        "source_proposed_example_id",
    )
)
_HERE = b"@payload@"
_BLOBS = 64


@dataclass(frozen=True)
class _Review:
    """Who reviewed a row, and when for the last time (0: nobody did)."""

    completed_by: list[str]
    at: int


@dataclass(frozen=True)
class _Usage:
    """Tokens and prices of a run, costs in picodollars."""

    model: Model
    prompt: int
    completion: int
    cached: int
    reasoning: int

    @property
    def cached_cost(self) -> int:
        return self.cached * self.model.prompt // 4

    @property
    def prompt_cost(self) -> int:
        return (self.prompt - self.cached) * self.model.prompt + self.cached_cost

    @property
    def completion_cost(self) -> int:
        return self.completion * self.model.completion


class OrdinaryRows:
    """Writes the ordinary rows of one queue; `payload_kb` adds that much text to each row's inputs."""

    def __init__(self, cast: Cast, seed: int, payload_kb: float | None, panel: Panel) -> None:
        self._cast = cast
        self._panel = panel
        self._blobs = _Blobs(seed, payload_kb) if payload_kb else None

    def make(self, rng: random.Random, row_id: str, added: int, stage: Stage) -> Row:
        """Return the row that came to the queue at `added` (microseconds since 1970)."""
        run_id = uuid(rng)
        review = self._review(rng, added, stage)
        fields = {
            **self._run(rng, run_id, added),
            "feedback_stats": stats_of(self._panel.opinions(self._panel.rng(run_id), run_id, review.completed_by)),
            "queue_run_id": row_id,
            "last_reviewed_time": rfc3339(review.at) if review.at else None,
            "added_at": rfc3339(added),
            "effective_added_at": rfc3339(added),
            "reserved_by": self._reserved(rng, stage),
            "completed_by": review.completed_by,
            **_NULLS,
        }
        parts = self._parts(rng, msgspec.json.encode(fields))
        return Row(row_id, added, parts, run_id, done=review.at, mine=self._cast.caller.id in review.completed_by)

    def _parts(self, rng: random.Random, text: bytes) -> tuple[bytes, ...]:
        head, _, tail = text.partition(_HERE)
        return (head + tail,) if self._blobs is None else (head, self._blobs.draw(rng), tail)

    def _reserved(self, rng: random.Random, stage: Stage) -> list[str]:
        if stage != "archived" and chance(rng, 0.1):
            return [rng.choice(self._cast.reviewers).id]
        return []

    def _review(self, rng: random.Random, added: int, stage: Stage) -> _Review:
        if stage == "waiting":
            return _Review([], 0)
        people = self._cast.reviewers
        if stage == "mine":
            chosen = [people[0].id]
        elif stage == "theirs":
            chosen = [rng.choice(people[1:]).id]
        else:
            chosen = [person.id for person in rng.sample(people, rng.choice((1, 2, 2)))]
        at = added + int(rng.lognormvariate(1.2, 0.9) * HOUR) + rng.randrange(SECOND)
        return _Review(chosen, at)

    def _run(self, rng: random.Random, run_id: str, added: int) -> dict[str, Any]:
        start = added - int(rng.expovariate(1 / 600) * SECOND) - 5 * SECOND
        latency = int(rng.lognormvariate(0.6, 0.7) * SECOND)
        question, answer = sentence(rng, rng.randint(8, 20)), sentence(rng, rng.randint(8, 28))
        usage = _usage(rng)
        failed = chance(rng, 0.03)
        project = rng.choice(self._cast.projects)
        return {
            "name": "ChatModel" if chance(rng, 0.7) else "answer_question",
            "inputs": {
                "messages": [
                    {"role": "system", "content": _SYSTEM},
                    {"role": "user", "content": question + _HERE.decode()},
                ]
            },
            "inputs_preview": question[:50],
            "run_type": "llm",
            "start_time": rfc3339(start),
            "end_time": rfc3339(start + latency),
            "extra": _extra(rng, usage.model),
            "error": "RateLimitError: the model is overloaded" if failed else None,
            "execution_order": 1,
            "outputs": None if failed else {"messages": [{"role": "assistant", "content": answer}]},
            "outputs_preview": None if failed else answer[:50],
            "events": [],
            "tags": rng.choice((["production"], ["production", "seq:step:1"], [])),
            "trace_id": run_id,
            "dotted_order": dotted_order(rfc3339(start), run_id),
            "id": run_id,
            "status": "error" if failed else "success",
            "parent_run_ids": [],
            **_cost_fields(usage),
            "first_token_time": rfc3339(start + latency // 3),
            "session_id": project,
            "app_path": f"/o/{self._cast.tenant_id}/projects/p/{project}/r/{run_id}",
            "last_queued_at": rfc3339(added),
            "in_dataset": chance(rng, 0.05),
            "trace_tier": "longlived",
            "trace_first_received_at": rfc3339(start + SECOND),
            "ttl_seconds": 34_560_000,
            "trace_upgrade": False,
            "thread_id": f"thread-{rng.randrange(10_000):04d}",
        }


def _usage(rng: random.Random) -> _Usage:
    prompt, completion = rng.randint(300, 6000), rng.randint(40, 900)
    cached = prompt * rng.choice((0, 0, 25, 60, 90)) // 100
    return _Usage(rng.choice(MODELS), prompt, completion, cached, rng.choice((0, 0, 0, completion // 2)))


def _cost_fields(usage: _Usage) -> dict[str, Any]:
    cached, reasoning = usage.cached, usage.reasoning
    return {
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "prompt_token_details": {"cache_read": cached} if cached else {},
        "completion_token_details": {"reasoning": reasoning} if reasoning else {},
        "total_cost": dollars(usage.prompt_cost + usage.completion_cost),
        "prompt_cost": dollars(usage.prompt_cost),
        "completion_cost": dollars(usage.completion_cost),
        "prompt_cost_details": {"cache_read": dollars(usage.cached_cost)} if cached else {},
        "completion_cost_details": ({"reasoning": dollars(reasoning * usage.model.completion)} if reasoning else {}),
    }


def _extra(rng: random.Random, model: Model) -> dict[str, Any]:
    runtime = {"sdk": "langsmith-py", "sdk_version": "0.4.31", "platform": "linux", "runtime": "python"}
    metadata: dict[str, Any] = {"environment": "production", "revision_id": f"{rng.getrandbits(28):07x}"}
    invocation = {"model": model.name, "temperature": 0.2, "max_tokens": 1024}
    if chance(rng, 0.7):
        metadata |= {"ls_provider": model.provider, "ls_model_name": model.name, "ls_model_type": "chat"}
        invocation.pop("model")
    return {"runtime": runtime, "metadata": metadata, "invocation_params": invocation}


class _Blobs:
    """Large texts, made when first drawn and shared between rows: a queue of gigabytes fits into memory."""

    def __init__(self, seed: int, kilobytes: float) -> None:
        self._seed = seed
        self._size = int(kilobytes * 1000)
        self._made: dict[int, bytes] = {}

    def draw(self, rng: random.Random) -> bytes:
        """Draw one of them."""
        index = rng.randrange(_BLOBS)
        if index not in self._made:
            text = " " + sentence(random.Random(f"{self._seed}:payload:{index}"), self._size // 4)
            self._made[index] = text.ljust(self._size)[: self._size].encode()
        return self._made[index]
