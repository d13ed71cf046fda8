"""The terms on which the service answers queries about runs, learned from its refusals and kept for one export.

Owns how many runs one query may ask for, and whether usage with that of descendants may be. A number that the service
names holds for the rest of the export. After an answer that was too large half as many are asked for, and twice as
many again once that went well for a while: a service that was away for a moment looks the same.
"""

from collections.abc import Sequence
from threading import Lock

MOST = 1_000
"""The most runs of a query by the service's documents (docs/service.md#runs-query)."""

TOO_LARGE = frozenset({413, 414, 502, 504})
NOT_ACCEPTED = frozenset({400, 422})

ANSWER_BYTES = 4_000_000
"""What an answer should weigh: far below what gateways refuse, and so large that few queries suffice."""

FIRST = 20
"""Runs of the first query: one may be 1 kB or 500 kB."""

_FORGET = 0.8  # of an older answer's weight that still counts: one light answer does not undo a heavy one
_PATIENCE = 8  # queries of full size that are answered before twice as many runs are asked for


class QueryLimits:
    """What is known of the service; safe to share between lanes and queues. No query asks for more than `most` runs.

    `subtree_usage`: False once a query was answered that had been refused with that parameter.
    """

    def __init__(self, most: int = MOST) -> None:
        self.subtree_usage = True
        self._most = most
        self._lock = Lock()
        self._cap = most
        self._size = most
        self._answered = 0
        self._patience = _PATIENCE
        self._grown = False

    @property
    def most(self) -> int:
        """How many runs a query may ask for."""
        return min(self._size, self._cap)

    def answered(self, asked: int) -> None:
        """Note that a query of so many runs was answered."""
        with self._lock:
            if asked < self.most or self.most == self._cap:
                return
            self._answered += 1
            if self._answered >= self._patience:
                self._size, self._answered, self._grown = min(self._size * 2, self._most), 0, True

    def refused(self, asked: int, *, status: int | None, numbers: Sequence[int]) -> bool:
        """Note that a query of so many runs was not; tell whether `most` is now smaller, so that asking again helps."""
        with self._lock:
            if asked <= self.most:
                cap = max((number for number in numbers if 0 < number < asked), default=0)
                if status in NOT_ACCEPTED and cap:
                    self._cap = cap
                elif status in TOO_LARGE and asked > 1:
                    self._halve(asked)
            return asked > self.most and status in NOT_ACCEPTED | TOO_LARGE

    def too_many(self, asked: int) -> None:
        """Note that so many runs were asked for, and the answer was of no use."""
        with self._lock:
            if 1 < asked <= self.most:
                self._halve(asked)

    def _halve(self, asked: int) -> None:
        if self._grown:
            self._patience *= 2  # what is too large stays so: it is tried ever more seldom
        self._size, self._answered, self._grown = asked // 2, 0, False


class QuerySize:
    """How many runs of one queue a query asks for: as many as make an answer of `ANSWER_BYTES`, by what came so far.

    A first query is small (`first`); while it is under way the next ones wait to be as large as they may be. `budget`
    bounds the answers in memory, `largest` a single one, in bytes. Safe to share between threads.
    """

    def __init__(self, budget: int, largest: int, first: int = FIRST) -> None:
        self.answer = min(ANSWER_BYTES, largest // 2)  # rows differ
        self.at_once = max(1, budget // self.answer)
        self._lock = Lock()
        self._first = first
        self._asked = False
        self._weight = 0.0

    def __call__(self) -> int:
        """Return how many runs the next query should ask for, at least 1."""
        if self._weight:
            return max(1, min(MOST, int(self.answer / self._weight)))
        return MOST if self._asked else self._first

    @property
    def is_known(self) -> bool:
        """Whether runs were weighed."""
        return self._weight > 0

    def asks(self) -> None:
        """Note that a query is under way."""
        self._asked = True

    def saw(self, runs: int, size: int) -> None:
        """Note an answer with so many runs that weighed `size` bytes."""
        if runs:
            with self._lock:
                self._weight = max(size / runs, self._weight * _FORGET, 1.0)
