"""A sandbox that refuses feedback of some runs, and serves that of others."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from annolake.sandbox import FeedbackRules
from annolake.sandbox.answers import Refusal


def refusing(monkeypatch: pytest.MonkeyPatch, status: int, when: Callable[[Sequence[str]], bool]) -> None:
    """Have every sandbox refuse questions on such runs."""
    admit = FeedbackRules.admit

    def stricter(self: FeedbackRules, url: str, query: Any) -> Any:
        if when(query.get("run", ())):
            raise Refusal(status, "no")
        return admit(self, url, query)

    monkeypatch.setattr(FeedbackRules, "admit", stricter)
