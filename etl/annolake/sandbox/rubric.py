"""What a queue asks its reviewers: its instructions, and a rubric item for each key.

Owns the keys that reviewers answer and how a queue's record tells them.
"""

import random
from typing import Any

from annolake.sandbox.cast import Cast, uuid

HELPFULNESS, CORRECT, TONE = "helpfulness", "correct", "tone"
NOTE = "note"
"""The key of a reviewer's free note; no rubric asks for it."""
TONES = ("friendly", "neutral", "curt")

_INSTRUCTIONS = "Read the question first.\n\n1. Is the answer *helpful*?\n2. Is it correct? If not, correct it."


def rubric_of(cast: Cast, index: int, created: str) -> dict[str, Any]:
    """Return the members of the index-th queue's record that hold its rubric; odd queues leave out what they may."""
    rng = random.Random(f"{cast.queue_id}:rubric")
    items = [
        _item(cast, rng, created, HELPFULNESS, {"type": "continuous", "min": 0, "max": 1, "categories": None})
        | {"is_required": True, "score_descriptions": {"0": "of no use", "0.5": "half of it", "1": "all of it"}},
        _item(cast, rng, created, CORRECT, {"type": "categorical", "categories": _categories("wrong", "right")})
        | {"is_required": True, "is_assertion": True},
        _item(cast, rng, created, TONE, {"type": "categorical", "categories": _categories(*TONES)})
        | {"value_descriptions": {tone: f"sounds {tone}" for tone in TONES}, "visible_if": _rule()},
        {"feedback_key": "summary", "description": None, "regex_validator": "^.{3,}$", "required_if": _rule()},
    ]
    if index % 2:
        return {"rubric_instructions": None, "rubric_items": [{"feedback_key": HELPFULNESS}, *items[1:3]]}
    return {"rubric_instructions": _INSTRUCTIONS, "rubric_items": items}


def _item(cast: Cast, rng: random.Random, created: str, key: str, config: dict[str, Any]) -> dict[str, Any]:
    config_id = uuid(rng)
    return {
        "feedback_key": key,
        "description": f"How is the answer: {key}?",
        "value_descriptions": None,
        "score_descriptions": None,
        "is_required": False,
        "is_assertion": False,
        "feedback_config_id": config_id,
        "feedback_config": {
            "id": config_id,
            "feedback_key": key,
            "feedback_config": config,
            "modified_at": created,
            "tenant_id": cast.tenant_id,
            "is_lower_score_better": False,
        },
        "regex_validator": None,
        "required_if": None,
        "visible_if": None,
    }


def _categories(*labels: str) -> list[dict[str, Any]]:
    return [{"value": value, "label": label} for value, label in enumerate(labels)]


def _rule() -> dict[str, Any]:
    return {"join": "all", "rules": [{"key": CORRECT, "op": "is_one_of", "values": [1]}]}
