"""The odd values that real rows hold, each of them allowed by the contract.

Owns the values and how they are drawn. Which field of which row holds one is odd.py's.
"""

import json
import random
from typing import Any, Literal

from annolake.sandbox.cast import chance, dollars, sentence
from annolake.sandbox.ordinary import SECOND
from annolake.sandbox.rows import utc

FileFormat = tuple[str, int]
"""How a time is written: its zone, and the microseconds of its smallest digit."""

TEXTS = (
    "",
    " leading, trailing and\ttabbed ",
    "two\nlines\r\nand a third",
    'quotes " and \\ backslashes / slashes',
    "a nul \x00 in the middle",
    "controls \x01 \x08 \x0c \x1f \x7f \x9f",
    "separators \u2028 and \u2029",
    "\ufeffa byte order mark first",
    "combined e\u0301 and not combined \u00e9",
    "right to left \u202e\u05e9\u05dc\u05d5\u05dd\u202c and \u0645\u0631\u062d\u0628\u0627",
    "astral \U0001f600 \U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001d49c",
    "訳文を確認してください",
    "zero width \u200b\u200d joiners",
    "not a character \uffff \ufdd0",
    "null",
    "NaN",
    "=SUM(A1:A9)",
    "<script>alert(1)</script>",
    "'; drop table runs; --",
    "%s %(name)s {braces} $HOME",
    "a very long one " * 300,
)

COSTS = (
    "0",
    "0.00",
    "0E-10",
    "-0.0125",
    "1.5E-7",
    "1e-18",
    "3e-2",
    "1E+3",
    "2.50E0",
    "0.000000000000000001",
    "0.123456789012345678",
    "12345678901234.123456789012345678",
)

NUMBERS = "[1.10, 1E-7, -0.0, 123456789012345678901234567890, 0.1000000000000000055511151231257827, 6.02e+23, 0]"
"""JSON numbers whose text a float would not give back."""

KEYS = ("cache_read", "cache_creation", "audio", "vendor_special", "", "schlüssel 鍵", "a.b", "with space")
COMPLETION_KEYS = ("reasoning", "audio", "accepted_prediction", "vendor_special", "", "denken 🧠")

RUN_TYPES = ("tool", "chain", "llm", "llm", "retriever", "embedding", "prompt", "parser", "agent")
"""The last one is not in the contract: enumerations are open."""

STATUSES = ("success", "success", "success", "error", "pending", "interrupted")
TIERS = ("longlived", "shortlived", "glacial")

FIELDS = (
    *("name", "inputs", "inputs_preview", "run_type", "start_time", "end_time", "extra", "error"),
    *("execution_order", "serialized", "outputs", "outputs_preview", "parent_run_id", "manifest_id"),
    *("manifest_s3_id", "events", "tags", "inputs_s3_urls", "outputs_s3_urls", "s3_urls", "trace_id"),
    *("dotted_order", "trace_min_start_time", "trace_max_start_time", "id", "status", "child_run_ids"),
    *("direct_child_run_ids", "parent_run_ids", "feedback_stats", "reference_example_id", "total_tokens"),
    *("prompt_tokens", "completion_tokens", "prompt_token_details", "completion_token_details", "total_cost"),
    *("prompt_cost", "completion_cost", "prompt_cost_details", "completion_cost_details", "price_model_id"),
    *("first_token_time", "messages", "session_id", "app_path", "last_queued_at", "in_dataset", "share_token"),
    *("trace_tier", "trace_first_received_at", "ttl_seconds", "trace_upgrade", "reference_dataset_id"),
    *("thread_id", "queue_run_id", "last_reviewed_time", "added_at", "effective_added_at", "reserved_by"),
    *("completed_by", "source_proposed_example_id"),
)
"""The fields of a row in the order in which the service sends them."""

_ZONES = {"+05:30": 19_800, "-08:00": -28_800, "+00:00": 0, "Z": 0, "": 0}
FORMS = tuple((zone, unit) for zone in _ZONES for unit in (1, 1000, SECOND))
FINE_FORMS = tuple((zone, 1) for zone in _ZONES)


class Values:
    """Draws the values of one row, all of its JSON in one style: escaped or not, spaced or not."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ascii = self.chance(0.3)
        self._separators = (", ", ": ") if self.chance(0.15) else (",", ":")

    def chance(self, share: float) -> bool:
        """Draw whether something happens that happens in that share of all cases."""
        return chance(self._rng, share)

    def dumps(self, value: Any) -> str:
        """Return a value's JSON text."""
        return json.dumps(value, ensure_ascii=self._ascii, separators=self._separators)

    def object(self, texts: dict[str, str]) -> str:
        """Return the JSON text of an object whose members are texts already."""
        comma, colon = self._separators
        return "{" + comma.join(f'"{name}"{colon}{text}' for name, text in texts.items()) + "}"

    def words(self, count: int) -> str:
        """Draw a text: odd, or that many words."""
        return self._rng.choice(TEXTS) if self.chance(0.35) else sentence(self._rng, count)

    def time(self, at: int, form: FileFormat | None = None) -> str:
        """Return a time's JSON text in a form, a drawn one by default."""
        zone, unit = form or self._rng.choice(FORMS)
        moment = utc(at - at % unit + _ZONES[zone] * SECOND).replace(tzinfo=None)
        precision: Literal["seconds", "milliseconds", "microseconds"] = (
            "seconds" if unit == SECOND else "milliseconds" if unit > 1 else "microseconds"
        )
        return f'"{moment.isoformat(timespec=precision)}{zone}"'

    def cost(self) -> str:
        """Draw an amount as the service might write it."""
        if self.chance(0.4):
            return self._rng.choice(COSTS)
        return dollars(self._rng.randrange(10**12))

    def payload_size(self) -> int:
        """Draw how many bytes of payload a row has."""
        sizes = ((300, 2_000), (2_000, 8_000), (10_000, 50_000), (60_000, 450_000), (450_000, 500_000))
        # Shares that keep 1,500 rows at about 15 MB.
        low, high = self._rng.choices(sizes, (650, 300, 40, 5, 5))[0]
        return self._rng.randrange(low, high)

    def payload(self, size: int) -> str:
        """Return the JSON text of a payload of about `size` bytes."""
        if self.chance(0.05):
            return "{}"
        content = sentence(self._rng, max(1, size // 5))[:size]
        value = {
            "messages": [{"role": "user", "content": content}, {"role": "tool", "content": self.words(4)}],
            self.words(1): self._nested(self._rng.choice((1, 3, 30))),
            "options": {"stop": None, "stream": False, "logit_bias": {}, "tools": []},
        }
        text = self.dumps(value)
        return f'{text[:-1]},"numbers":{NUMBERS}}}' if self.chance(0.2) else text

    def _nested(self, depth: int) -> Any:
        value: Any = self.words(2)
        for level in range(depth):
            value = {"inner": value} if level % 2 else [value, None]
        return value

    def feedback(self) -> dict[str, Any]:
        """Draw feedback statistics."""
        rng = self._rng
        number: dict[str, Any] = {"n": 3, "avg": rng.random(), "stdev": None, "values": {}, "errors": 0}
        number |= {"comments": [self.words(4)], "sources": ["app", {"type": "__ls_composite_feedback"}]}
        label = {"n": 2, "avg": None, "values": {self.words(1): 2}, "contains_thread_feedback": False}
        choices: tuple[dict[str, Any], ...] = (
            {},
            {"helpfulness": number},
            {"tone": label, "Qualität ✓": number},
            {"empty": {}},
        )
        return rng.choice(choices)

    def extra(self) -> dict[str, Any]:
        """Draw the `extra` of a run: the model is told in one of many ways, or not."""
        model, provider = self._rng.choice((("gpt-4.1", "openai"), ("modèle-é", "vendor of next year")))
        choices: tuple[dict[str, Any], ...] = (
            {},
            {"metadata": None, "invocation_params": None},
            {"metadata": {"ls_model_name": model, "ls_provider": provider, self.words(1): [None]}},
            {"metadata": {"ls_model_name": None}, "invocation_params": {"model": model}},
            {"metadata": {}, "invocation_params": {"model_name": model, "stop": []}, "runtime": {"sdk": "x"}},
            {"metadata": {"ls_model_name": 4, "ls_provider": ["openai"]}, "batch_size": 1},
        )
        return self._rng.choice(choices)
