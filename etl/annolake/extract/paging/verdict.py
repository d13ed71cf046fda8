"""What is concluded from the readings of a queue: the signs of movement, and whether all rows were met."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from annolake.extract.paging.sort_order import Order


@dataclass
class Signs:
    """What was seen of movement, over all readings of a queue; see `Reading` for most of them."""

    breaks: int = 0
    shifts: int = 0
    disorders: int = 0
    again: int = 0
    skipped: int = 0
    finished: int = 0  # rows met in the active list, then in the archived one
    requeued: int = 0  # the other way round
    resized: int = 0  # the service told other sizes after than before
    rereadings: int = 0

    @property
    def repairs(self) -> int:
        """How often something was read again."""
        return self.breaks + self.rereadings


class Verdict(Protocol):
    """What is known once a source was read: see `extract.lists.QueueReader`."""

    complete: bool
    reasons: list[str]
    signs: Signs
    rows: int
    swept: list[str]

    @property
    def size_excess(self) -> int | None:
        """Return by how much the told sizes exceed the rows met, None where they are not told."""

    @property
    def not_shown(self) -> int:
        """Return how many rows the service tells of and did not show."""

    @property
    def orders(self) -> Mapping[str, Order | None]:
        """Return the measured order of each list."""


def total_excess(excesses: Iterable[int | None]) -> int | None:
    """Return by how much told sizes exceed the rows met, of all lists together; None where one is not known."""
    there = list(excesses)
    known = [excess for excess in there if excess is not None]
    return sum(known) if len(known) == len(there) else None


def rows_not_shown(excesses: Iterable[int | None]) -> int:
    """Return how many rows are told and were not shown, of the lists of which that is known."""
    return sum(max(0, excess or 0) for excess in excesses)
