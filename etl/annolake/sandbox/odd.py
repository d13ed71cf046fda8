"""Odd rows: as odd as real ones, and all of them allowed by the contract.

Owns which oddity a row has: fields null or left out wherever that is allowed, every way to write a time or a
cost, open enumerations, fields nobody knows, payloads of 1 to 500 kB or offloaded behind signed URLs,
some of them relative.
"""

import json
import random
from typing import Any

from annolake.sandbox.cast import Cast, Stage, uuid
from annolake.sandbox.oddities import (
    COMPLETION_KEYS,
    FIELDS,
    FINE_FORMS,
    FORMS,
    KEYS,
    NUMBERS,
    RUN_TYPES,
    STATUSES,
    TIERS,
    Values,
)
from annolake.sandbox.ordinary import HOUR, SECOND
from annolake.sandbox.rows import SIGNATURE, Row

_AMAZON = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=SANDBOX%2F20261120%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20261120T180000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature="
)
_RELATIVE, _ON_AMAZON = (
    0.3,
    0.8,
)  # shares of the URLs: relative ones as self-hosted services have them, the rest on Google
_GOOGLE = "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Expires=3600&X-Goog-SignedHeaders=host&X-Goog-Signature="


class OddRows:
    """Writes the odd rows of one queue; `payload_kb` adds that much text to each row's inputs."""

    def __init__(self, cast: Cast, payload_kb: float | None) -> None:
        self._cast = cast
        self._payload = int((payload_kb or 0) * 1000)

    def make(self, rng: random.Random, row_id: str, added: int, stage: Stage) -> Row:
        """Return the row that came to the queue at `added`, or a little earlier as its text has it."""
        draft = _Draft(rng, self._cast, added, stage)
        draft.required(row_id)
        draft.tree()
        draft.times()
        draft.reviews()
        draft.payloads(self._payload)
        draft.numbers()
        draft.rest()
        draft.unknown()
        text = draft.text()
        mine = stage == "mine" or self._cast.caller.id in draft.completed_by
        return Row(row_id, draft.added, (text,), draft.run_id, done=draft.done, mine=mine, signed=SIGNATURE in text)


class _Draft:
    """One row in the making: each method adds some fields' JSON texts."""

    def __init__(self, rng: random.Random, cast: Cast, added: int, stage: Stage) -> None:
        self.rng = rng
        self.cast = cast
        self.stage = stage
        self.run_id = uuid(rng)
        self.added = added
        self.done = 0
        self.completed_by: list[str] = []
        self.values = Values(rng)
        self._fields: dict[str, str] = {}
        self._project = rng.choice(cast.projects)

    def text(self) -> bytes:
        """Return the row's JSON text, its fields in the service's order, seldom in any."""
        names = list(self._fields)
        if self.values.chance(0.05):
            self.rng.shuffle(names)
        else:
            names.sort(key=lambda name: FIELDS.index(name) if name in FIELDS else len(FIELDS))
        return self.values.object({name: self._fields[name] for name in names}).encode()

    # The parts of a row

    def required(self, row_id: str) -> None:
        """Add what every row has."""
        self._put("name", self.values.words(6))
        self._put("run_type", self.rng.choice(RUN_TYPES))
        self._put("status", self.rng.choice(STATUSES))
        self._put("id", self.run_id)
        self._put("session_id", self._project)
        self._put("queue_run_id", row_id)
        project, run = self._project, self.run_id
        self._put("app_path", f"/o/{self.cast.tenant_id}/projects/p/{project}/r/{run}?peek=1#ü")

    def tree(self) -> None:
        """Add the run's place in its trace: a root, or a child whose last parent is `parent_run_id`."""
        depth = self.rng.choice((0, 0, 0, 1, 3))
        parents = [uuid(self.rng) for _ in range(depth)]
        path = [*parents, self.run_id]
        self._put("trace_id", path[0])
        self._put("dotted_order", ".".join(f"20261101T0930{i:02d}000001Z{run}" for i, run in enumerate(path)))
        if parents:
            self._put("parent_run_id", parents[-1])
            self._put("parent_run_ids", parents)
        else:
            self._maybe_null("parent_run_id")
            self._maybe("parent_run_ids", [])
        for name in ("child_run_ids", "direct_child_run_ids"):
            self._maybe(name, [uuid(self.rng) for _ in range(self.rng.choice((0, 1, 4)))])

    def times(self) -> None:
        """Add every time but the review's, each in a form of its own."""
        start = self.added - self.rng.randrange(5 * SECOND, 3 * HOUR)
        end = start + int(self.rng.lognormvariate(0.6, 1.5) * SECOND)
        if not self.values.chance(0.03):
            self._fields["start_time"] = self.values.time(start)
        for name, at in (
            ("end_time", end),
            ("first_token_time", start + (end - start) // 3),
            ("last_queued_at", self.added),
            ("trace_min_start_time", start),
            ("trace_max_start_time", end),
            ("trace_first_received_at", start + SECOND),
        ):
            self._maybe(name, self.values.time(at), literal=True)
        form = self.rng.choice(FORMS)
        self.added -= self.added % form[1]
        if self.values.chance(0.04):
            self._maybe_null("added_at")
            self._maybe_null("effective_added_at")
            return
        self._fields["added_at"] = self.values.time(self.added, form)
        self._maybe("effective_added_at", self.values.time(self.added, self.rng.choice(FINE_FORMS)), literal=True)

    def reviews(self) -> None:
        """Add who holds the row and who has completed it, and when."""
        people = [person.id for person in self.cast.reviewers]
        match self.stage:
            case "mine":
                self.completed_by = people[:1]
            case "theirs":
                self.completed_by = [self.rng.choice(people[1:])]
            case "archived":
                self.completed_by = self.rng.sample(people, self.rng.randint(1, 3))
        if self.completed_by:
            self.done = self.added + int(self.rng.lognormvariate(1.2, 0.9) * HOUR)
            self._put("completed_by", self.completed_by)
            self._maybe("last_reviewed_time", self.values.time(self.done), literal=True)
        else:
            self._maybe_null("last_reviewed_time")
            self._unless_left_out("completed_by", [])
        self._unless_left_out("reserved_by", self.rng.choice(([], [], people[1:2], people[2:4])))
        self._maybe("feedback_stats", self.values.feedback())

    def payloads(self, more: int) -> None:
        """Add inputs and outputs, inline or offloaded, and `more` bytes of text to the inputs."""
        size = self.values.payload_size()
        for name, share in (("inputs", 0.7), ("outputs", 0.3)):
            if self.values.chance(0.06) and not more:
                self._fields[name] = self.rng.choice(("null", "{}"))
                self._put(f"{name}_s3_urls", {"ROOT": {"presigned_url": self._url(name), "size": size}})
            else:
                extra = more if name == "inputs" else 0
                self._maybe(name, self.values.payload(int(size * share) + extra), literal=True, always=bool(extra))
                self._maybe(f"{name}_s3_urls", {})
            self._maybe(f"{name}_preview", self.values.words(12))
        attachments = {"attachment.scan ü.pdf": {"presigned_url": self._url("scan.pdf")}}
        self._maybe("s3_urls", attachments if self.values.chance(0.1) else {})

    def numbers(self) -> None:
        """Add tokens, costs and the maps of both."""
        rng = self.rng
        for name in ("total_tokens", "prompt_tokens", "completion_tokens"):
            self._unless_left_out(name, rng.choice((0, 1, 4096, rng.randrange(100_000), 2**31 + 5)))
        for name in ("total_cost", "prompt_cost", "completion_cost"):
            self._maybe(name, self.values.cost())
        for side, keys in (("prompt", KEYS), ("completion", COMPLETION_KEYS)):
            chosen = rng.sample(keys, rng.choice((0, 1, 2, 3)))
            self._maybe(f"{side}_token_details", {key: rng.choice((0, 7, 512, 2**53 + 1)) for key in chosen})
            self._maybe(f"{side}_cost_details", {key: self.values.cost() for key in chosen})
        self._unless_left_out("execution_order", rng.randint(1, 40))
        self._maybe("ttl_seconds", rng.choice((0, 123, 34_560_000, 2**40)))

    def rest(self) -> None:
        """Add the remaining fields of the contract."""
        rng = self.rng
        for name in (
            *("manifest_id", "manifest_s3_id", "reference_example_id", "reference_dataset_id"),
            *("price_model_id", "source_proposed_example_id"),
        ):
            self._maybe(name, uuid(rng))
        self._maybe("share_token", uuid(rng), value_share=0.1)
        if (token := json.loads(self._fields.get("share_token", "null"))) is not None:
            self._put("share_url", f"https://smith.example.com/public/{token}/r")
        self._maybe("error", f"Traceback (most recent call last):\n  {self.values.words(8)}", value_share=0.2)
        self._maybe("thread_id", rng.choice((uuid(rng), self.values.words(2))))
        self._maybe("in_dataset", self.values.chance(0.5))
        self._unless_left_out("trace_upgrade", self.values.chance(0.5))
        self._maybe("trace_tier", rng.choice(TIERS))
        self._maybe("tags", [self.values.words(1) for _ in range(rng.choice((0, 1, 3)))])
        self._maybe("extra", self.values.extra())
        self._maybe("serialized", rng.choice(({}, {"lc": 1, "id": ["langchain", self.values.words(1)], "kwargs": {}})))
        event = {"name": "new_token", "time": "2026-11-01T09:30:00.123", "kwargs": {"token": self.values.words(1)}}
        self._maybe("events", [event] * rng.choice((0, 1, 3)))
        self._maybe("messages", rng.choice(([], [{}], [{"role": "user", "content": self.values.words(5)}])))

    def unknown(self) -> None:
        """Add fields that no contract names, to some rows."""
        if self.values.chance(0.1):
            self._put("reviewer_notes", {"de": self.values.words(3), "score": None, "nested": {"list": [1, [], {}]}})
        if self.values.chance(0.05):
            self._fields["x_weights"] = NUMBERS
        if self.values.chance(0.05):
            self._put("priority", self.rng.choice((None, 3, "high", True)))

    # The values

    def _put(self, name: str, value: Any) -> None:
        self._fields[name] = self.values.dumps(value)

    def _maybe_null(self, name: str) -> None:
        if self.values.chance(0.5):
            self._fields[name] = "null"

    def _maybe(
        self, name: str, value: Any, *, literal: bool = False, value_share: float = 0.72, always: bool = False
    ) -> None:
        """Add a field that may be null or left out."""
        if always or self.values.chance(value_share):
            self._fields[name] = value if literal else self.values.dumps(value)
        else:
            self._maybe_null(name)

    def _unless_left_out(self, name: str, value: Any) -> None:
        """Add a field that may be left out, but not be null."""
        if not self.values.chance(0.15):
            self._put(name, value)

    def _url(self, name: str) -> str:
        drawn = self.rng.random()
        if drawn < _RELATIVE:
            return f"/api/v1/public/download?jwt=sandbox&Signature={SIGNATURE.decode()}"
        query = _AMAZON if drawn < _ON_AMAZON else _GOOGLE
        return f"https://payloads.example.com/{self._project}/{self.run_id}/{name}?{query}{SIGNATURE.decode()}"
