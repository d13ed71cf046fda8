"""Whether a refused question is about what it asked for, or about all of them: known from another one that is answered.

Owns how many refusals there may be. What is asked for instead is the source's.
"""

from collections.abc import Callable, Sequence
from threading import Lock

from annolake.errors import ServiceError
from annolake.extract.endpoints.feedback import Question
from annolake.extract.endpoints.query_limits import NOT_ACCEPTED, TOO_LARGE

MOST_REFUSED = 20
"""So many more questions may be refused than were answered: then no more is asked."""

_NOT_OF_ALL = frozenset({401, 403, 404, 500, 503}) | NOT_ACCEPTED | TOO_LARGE
"""What a service may say of some ids, while it answers for others."""


class Refusals:
    """The refusals of one queue's questions; safe to share between lanes. `answering`: a small one that is answered."""

    def __init__(self) -> None:
        self.answering: Question | None = None
        self._answered = 0
        self._refused = 0
        self._is_over = False
        self._lock = Lock()

    def answered(self, question: Question) -> None:
        """Note that a question was answered, of which this is all or a part."""
        with self._lock:
            self.answering = question
            self._answered += 1

    def concern(self, others: Sequence[Question], error: ServiceError, answers: Callable[[Question], bool]) -> bool:
        """Note that a question was refused; tell whether it is because of its ids, or because they are many.

        `answers` asks another one: one that was answered before, else those that may be answered all the same.
        """
        if error.status not in _NOT_OF_ALL:
            return False
        with self._lock:
            self._refused += 1
            if self._is_over or self._refused > self._answered + MOST_REFUSED:
                return False
            found = next(filter(answers, [self.answering] if self.answering else others), None)
            self.answering, self._is_over = found or self.answering, found is None
            return not self._is_over
