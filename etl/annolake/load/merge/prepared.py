"""Partitions that are merged ahead of their publishing, while an export waits for its last answers.

Owns what was merged so, and that nothing of it is left once another row comes. Publishes nothing.
"""

from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor

from annolake.errors import LakeError
from annolake.load.merge.partition_merge import Merged
from annolake.load.table.part_file import Part

MOST_BYTES = 64 << 20
"""Of new files that lie beside the old ones. Published one by one, each would take the place of its old one first."""


class Prepared:
    """Merges the partitions of days with `merge`, some at a time; `discard` removes a new file that was not published.

    That is tried once: the rows of a queue that does not stand still would be merged again and again.
    """

    def __init__(self, merge: Callable[[int], Merged], discard: Callable[[int, Part], None]) -> None:
        self._merge, self._discard = merge, discard
        self._waiting: list[int] | None = None
        self._done: dict[int, Merged] = {}

    def go_on(self, days: Callable[[], Collection[int]], *, at_once: int) -> bool:
        """Merge the next partitions, `at_once` side by side; tell whether more are to be. `days` is asked once."""
        if self._waiting is None:
            self._waiting = sorted(days(), reverse=True)
        some = [self._waiting.pop() for _ in range(min(at_once, len(self._waiting)))]
        try:
            if len(some) > 1:
                with ThreadPoolExecutor(at_once, "merge") as mergers:
                    list(mergers.map(self._keep, some))
            else:
                list(map(self._keep, some))
        except LakeError:  # whoever publishes meets it again and tells; on a full disk there may be room by then
            self.void()
        if sum(merged.size for merged in self._done.values()) >= MOST_BYTES:
            self._waiting.clear()
        return bool(self._waiting)

    def _keep(self, day: int) -> None:
        self._done[day] = self._merge(day)

    def void(self) -> None:
        """Remove what was merged. Raises LakeError where it can't be: it would come into the lake with other rows."""
        if self._waiting is not None:
            self._waiting.clear()
        while self._done:
            day, merged = self._done.popitem()
            if merged.part:
                self._discard(day, merged.part)

    def take(self, *, but: AbstractSet[int]) -> list[tuple[int, Merged]]:
        """Hand out what was merged, by day, `but` the days that are to be merged otherwise."""
        done = sorted((day, merged) for day, merged in self._done.items() if day not in but)
        for day, _ in done:
            del self._done[day]
        self.void()
        return done
