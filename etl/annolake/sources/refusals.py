"""Whether a refused question is about what it asked for, or about all of them: known from another one that is answered.

Owns how many refusals there may be. What is asked for instead is the source's.
"""

from collections.abc import Callable, Sequence
from threading import Lock

from annolake.errors import ServiceError
from annolake.extract.endpoints.query_limits import NOT_ACCEPTED, TOO_LARGE

MOST_REFUSED = 20
"""So many more questions may be refused than were answered: then no more is asked."""

_NOT_OF_ALL = frozenset({401, 403, 404, 500, 503}) | NOT_ACCEPTED | TOO_LARGE
"""What a service may say of some ids, while it answers for others."""


class Refusals:
    """The refusals of one queue's questions; safe to share between lanes. `answering`: an id that was answered for."""

    def __init__(self) -> None:
        self.answering: str | None = None
        self._answered = 0
        self._refused = 0
        self._is_over = False
        self._lock = Lock()

    def answered(self, one: str) -> None:
        """Note that a question was answered that asked for this id, and perhaps for others."""
        with self._lock:
            self.answering = one
            self._answered += 1

    def concern(self, ids: Sequence[str], error: ServiceError, answers: Callable[[str], bool]) -> bool:
        """Note that a question on these ids was refused; tell whether it is because of them, or because they are many.

        `answers` asks for a single id: one that was answered for before, else the first and the last of several.
        """
        if error.status not in _NOT_OF_ALL:
            return False
        with self._lock:
            self._refused += 1
            if self._is_over or self._refused > self._answered + MOST_REFUSED:
                return False
            others = [self.answering] if self.answering else [ids[0], ids[-1]] if len(ids) > 1 else []
            found = next(filter(answers, others), None)
            self.answering, self._is_over = found or self.answering, found is None
            return not self._is_over
