"""A short list of unknown order and size, read whole by proof: P19 in docs/paging.md#short-lists.

Owns when an answer is known to be whole, and the chain of overlapping answers where one does not do. Pure logic over a
function that asks: no HTTP, no threads. A list that moves too much is handed back unread: the caller asks for less of
it, or reads it as `queue_reader` reads lists.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, Protocol, TypeVar

from annolake.extract.paging.overlap import JOINING

_SHARED = (JOINING, 1)  # rows of which the next answer is to begin with known ones, at each try
_MOST_ANSWERS = 10_000  # a list of more has no end


class Answer(Protocol):
    """What one answer shows: the key of each element in the list's order, and its size in bytes."""

    @property
    def keys(self) -> Sequence[bytes]: ...  # noqa: D102

    @property
    def size(self) -> int: ...  # noqa: D102


A = TypeVar("A", bound=Answer)


class LongestAnswer:
    """The most rows and the most bytes that any answer of this server had. Safe to share between threads."""

    def __init__(self) -> None:
        self.rows = 0
        self.size = 0
        self._lock = Lock()

    def saw(self, answer: Answer) -> None:
        """Note an answer."""
        with self._lock:
            self.rows = max(self.rows, len(answer.keys))
            self.size = max(self.size, answer.size)

    def exceeds(self, answer: Answer) -> bool:
        """Tell whether an answer is too small to have been cut: under half of the longest, in rows and in bytes."""
        return 2 * len(answer.keys) < self.rows and 2 * answer.size < self.size


def read_whole(ask: Callable[[int], A], longest: LongestAnswer) -> list[A] | None:
    """Return the answers that together show the whole list, in its order; None where that cannot be shown.

    `ask` returns what is shown from an offset on. Answers overlap: an element can be in two of them. Raises what `ask`
    raises.
    """
    for shared in _SHARED:
        answers = _Chain(ask, longest, shared).read()
        if answers is not None:
            return answers
    return None


class _Chain(Generic[A]):
    """One reading: each answer begins with the last rows of those before it, until one is known to be whole."""

    def __init__(self, ask: Callable[[int], A], longest: LongestAnswer, shared: int) -> None:
        self._ask, self._longest, self._shared = ask, longest, shared
        self._keys: list[bytes] = []

    def read(self) -> list[A] | None:
        """Return the answers; None where one does not join those before it, or the end is not shown."""
        answers: list[A] = []
        while len(answers) < _MOST_ANSWERS:
            answer = self._answer(max(0, len(self._keys) - self._shared))
            new = self._new(answer)
            if new is None:
                return None
            answers.append(answer)
            self._keys += new
            if not self._keys or self._longest.exceeds(answer):
                return answers
            if not new:
                return answers if self._ends() else None
        return None

    def _answer(self, offset: int) -> A:
        answer = self._ask(offset)
        self._longest.saw(answer)
        return answer

    def _new(self, answer: Answer) -> Sequence[bytes] | None:
        """Return the keys behind the known ones, None where an answer does not begin with the last rows known."""
        keys = list(answer.keys)
        if not self._keys:
            return keys
        for shared in range(len(keys), 0, -1):
            if self._keys[-shared:] == keys[:shared]:
                return keys[shared:]
        return None

    def _ends(self) -> bool:
        """Tell whether the list ends here: nothing is shown behind, and before and after that it was the same."""
        behind = self._answer(len(self._keys))
        return not behind.keys and list(self._answer(0).keys) == self._keys
