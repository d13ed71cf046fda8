"""A sandbox that refuses feedback of some runs or threads, and serves that of others."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from annolake.sandbox import FeedbackRules
from annolake.sandbox.answers import Refusal


def refusing(
    monkeypatch: pytest.MonkeyPatch, status: int, when: Callable[[Sequence[str]], bool], parameter: str = "run"
) -> None:
    """Have every sandbox refuse questions with such values of a parameter: on such runs."""
    admit = FeedbackRules.admit

    def stricter(self: FeedbackRules, url: str, query: Any) -> Any:
        if when(query.get(parameter, ())):
            raise Refusal(status, "no")
        return admit(self, url, query)

    monkeypatch.setattr(FeedbackRules, "admit", stricter)
