"""A short list of unknown order and size, read whole by proof: P19 in docs/paging.md#short-lists.

Owns when an answer is known to be whole, and what is asked where one does not do: a chain of overlapping answers, or
the list twice where the server cuts answers short. Pure logic over a function that asks: no HTTP, no threads. A list
that moves too much is handed back unread: the caller asks for less of it, or reads it as `queue_reader` reads lists.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, Protocol, TypeVar

import msgspec

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
    """How much any answer of this server had at most, of `asked` rows at most. Safe to share between threads.

    `cuts`: an answer with fewer rows had others behind it. How few one can have is then not known.
    """

    def __init__(self, asked: int) -> None:
        self.rows = 0
        self.size = 0
        self.cuts = False
        self._asked = asked
        self._lock = Lock()

    def saw(self, answer: Answer) -> None:
        """Note an answer."""
        with self._lock:
            self.rows = max(self.rows, len(answer.keys))
            self.size = max(self.size, answer.size)

    def exceeds(self, answer: Answer) -> bool:
        """Tell whether an answer is too small to have been cut: under half of the longest, in rows and in bytes."""
        return not self.cuts and 2 * len(answer.keys) < self.rows and 2 * answer.size < self.size

    def is_short(self, answer: Answer) -> bool:
        """Tell whether an answer has fewer rows than the server shows if it counts nothing but rows."""
        return len(answer.keys) < max(self._asked, self.rows)


class Whole(msgspec.Struct, Generic[A], frozen=True):
    """The answers that together show a whole list, in its order. An element can be in two of them.

    `by_size`: the last one was taken for uncut since it was small. That is in doubt once the server is known to cut.
    """

    answers: list[A]
    by_size: bool


def read_whole(ask: Callable[[int], A], longest: LongestAnswer) -> Whole[A] | None:
    """Return the whole list; None where that cannot be shown.

    `ask` returns what is shown from an offset on. Raises what `ask` raises.
    """
    for shared in _SHARED:
        whole = None if longest.cuts else _Chain(ask, longest, shared).read()
        if whole is not None:
            return whole
    return _read_twice(ask) if longest.cuts else None


def measure(ask: Callable[[int], A], longest: LongestAnswer) -> None:
    """Note how long an answer is, and whether it was cut short."""
    answer = ask(0)
    longest.saw(answer)
    if answer.keys and longest.is_short(answer):
        _look_for_a_cut(ask, longest, 0, answer, ask(len(answer.keys)).keys)


def _look_for_a_cut(
    ask: Callable[[int], A], longest: LongestAnswer, offset: int, answer: A, behind: Sequence[bytes]
) -> None:
    """Note whether an answer was cut short, given the rows behind it; where they came meanwhile it shows them now."""
    if behind and longest.is_short(answer) and behind[0] not in ask(offset).keys:
        longest.cuts = True


def _read_twice(ask: Callable[[int], A]) -> Whole[A] | None:
    """Read a list to where nothing is shown, then again: all that is shown twice was there when it ended."""
    answers: list[A] = []
    keys: set[bytes] = set()
    while (answer := ask(len(keys))).keys:
        if len(answers) == _MOST_ANSWERS or len(keys.union(answer.keys)) < len(keys) + len(answer.keys):
            return None  # it has no end, or moved
        answers.append(answer)
        keys.update(answer.keys)
    again: list[bytes] = []
    while len(again) < len(keys) and (shown := ask(len(again)).keys):
        again += shown
    return Whole(answers, by_size=False) if keys.issubset(again) else None


class _Chain(Generic[A]):
    """One reading: each answer begins with the last rows of those before it, until one is known to be whole."""

    def __init__(self, ask: Callable[[int], A], longest: LongestAnswer, shared: int) -> None:
        self._ask, self._longest, self._shared = ask, longest, shared
        self._keys: list[bytes] = []

    def read(self) -> Whole[A] | None:
        """Return the answers; None where one does not join those before it, the end is not shown, or one was cut."""
        answers: list[A] = []
        offset = 0
        while len(answers) < _MOST_ANSWERS:
            before, offset = offset, max(0, len(self._keys) - self._shared)
            answer = self._answer(offset)
            new = self._new(answer)
            if new is None or (answers and self._is_cut(before, answers[-1], new)):
                return None
            answers.append(answer)
            self._keys += new
            if not self._keys:
                return Whole(answers, by_size=False)
            if self._longest.exceeds(answer):
                return Whole(answers, by_size=True)
            if not new:
                return Whole(answers, by_size=False) if self._ends(offset, answer) else None
        return None

    def _is_cut(self, offset: int, answer: A, behind: Sequence[bytes]) -> bool:
        _look_for_a_cut(self._answer, self._longest, offset, answer, behind)
        return self._longest.cuts

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

    def _ends(self, offset: int, answer: A) -> bool:
        """Tell whether the list ends here: nothing is shown behind, and before and after that it was the same."""
        behind = self._answer(len(self._keys)).keys
        if behind:
            self._is_cut(offset, answer, behind)
            return False
        return list(self._answer(0).keys) == self._keys
