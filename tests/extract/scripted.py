"""A state machine whose rules plan what happens before which answer; a reader that waits carries the plan out."""

from collections import deque
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

PLACES = st.integers(0, 10_000)


class Scripted(RuleBasedStateMachine):
    """Changes of a model, each before an answer to come."""

    def __init__(self) -> None:
        super().__init__()
        self._changes: list[Callable[[], object]] = []  # before the answer that is planned for
        self._script: deque[tuple[list[Callable[[], object]], int]] = deque()

    def plan(self, change: Callable[[], object]) -> None:
        """Have a change happen before the answer that is planned for."""
        self._changes.append(change)

    def plan_nothing(self) -> None:
        """Have nothing happen before the answer that is planned for."""
        self._script.append(([], 0))

    @rule(which=PLACES)
    def the_next_answer(self, which: int) -> None:
        """Plan which request is answered, and for the answer behind that."""
        self._script.append((self._changes, which))
        self._changes = []

    def carry_out(self) -> int:
        """Have happen what is planned before the next answer; return which request is answered."""
        if self._script:
            changes, which = self._script.popleft()
        else:
            changes, which, self._changes = self._changes, 0, []
        for change in changes:
            change()
        return which
