"""Where a slice meets what was read before it: the tail of a reading, and a slice held against it.

Owns the memory of the last rows read (`TAIL_ROWS` keys, about 0.4 MB) and the comparison. What follows from a
comparison is decided in `pages`; nothing here asks for anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

TAIL_ROWS = 2048


@dataclass(frozen=True, slots=True)
class Joint:
    """A slice held against the tail; indexes count the slice's rows, `first` and `last` are of its known rows."""

    anchors: tuple[tuple[int, int], ...] = ()  # (index in the slice, place in the tail) of every known row
    ordered: bool = True  # the known rows follow each other as they did, each once
    shift: int = 0  # how much further behind than expected the first known row is
    strangers: int = 0  # rows before the last known one that are not known
    missing: int = 0  # rows of the tail between the first and the last known one that are not there
    left: int = 0  # rows of the tail behind the last known one

    @property
    def first(self) -> int:
        """Index of the first known row, 0 if there is none."""
        return self.anchors[0][0] if self.anchors else 0

    @property
    def behind(self) -> int:
        """Index of the first row behind all known ones."""
        return self.anchors[-1][0] + 1 if self.anchors else 0

    @property
    def moved(self) -> bool:
        """Tell whether the list is seen to have changed since the tail was read."""
        return bool(self.shift or self.strangers or self.missing or not self.ordered)

    def holds(self, need: int) -> bool:
        """Tell whether `need` of the slice's first 2 x `need` rows are known, in the order they had."""
        head = [place for index, place in self.anchors if index < 2 * need]
        return len(head) >= need and _rising(head)


class Tail:
    """The last rows of a joined reading, in the list's order; `end` is the offset expected right behind them.

    `loose` has rows whose place is not known any more: a later slice of their part of the list did not hold them.
    They left, or were pushed back by inserted rows, or that slice was of an earlier moment. At most as many.
    """

    def __init__(self) -> None:
        self.end = 0
        self.loose: dict[bytes, None] = {}
        self._rows: list[bytes] = []
        self._place: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: bytes) -> bool:
        return key in self._place

    def compare(self, offset: int, keys: Sequence[bytes]) -> Joint:
        """Hold the slice at `offset` against the tail."""
        anchors = tuple((index, self._place[key]) for index, key in enumerate(keys) if key in self._place)
        if not anchors:
            return Joint(ordered=len(set(keys)) == len(keys))
        places = [place for _, place in anchors]
        index, place = anchors[0]
        return Joint(
            anchors=anchors,
            ordered=_rising(places) and len(set(keys)) == len(keys),
            shift=offset + index - (self.end - len(self._rows) + place),
            strangers=anchors[-1][0] + 1 - len(anchors),
            missing=max(places) - min(places) + 1 - len(set(places)),
            left=len(self._rows) - 1 - max(places),
        )

    def extend(self, offset: int, keys: Sequence[bytes], joint: Joint, *, ends: bool) -> None:
        """Take a slice that joins (or, with an empty tail, opens the reading); `ends`: it holds the list's end."""
        seen = dict.fromkeys(keys)
        places = [place for _, place in joint.anchors]
        low, high = (min(places), max(places)) if places else (0, len(self._rows) - 1)
        before = self._rows[:low] if offset else []
        after = [key for key in self._rows[high + 1 :] if key not in seen]
        between = [key for key in self._rows[low : high + 1] if key not in seen]
        rows = [key for key in before if key not in seen]
        # rows in front of the first known one may stand before or behind some of `before`
        rows += list(seen)[joint.first :] if rows else seen
        self.end = offset + len(keys)
        if joint.behind == len(keys) and not ends:
            rows += after  # nothing but known rows: those behind them are expected to follow still
            self.end += len(after)
            after = []
        self._rows = rows[-TAIL_ROWS:]
        self._place = {key: place for place, key in enumerate(self._rows)}
        self._loosen(*between, *after, *keys[: joint.first])

    def _loosen(self, *rows: bytes) -> None:
        self.loose.update(dict.fromkeys(rows))
        self.loose = {key: None for key in list(self.loose)[-TAIL_ROWS:] if key not in self._place}

    def clear(self) -> None:
        """Forget everything: the reading starts over."""
        self.end = 0
        self.loose.clear()
        self._rows.clear()
        self._place.clear()


def _rising(places: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(places))
