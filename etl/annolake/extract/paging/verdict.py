"""What is concluded from the readings of a queue's lists: the signs of movement, and whether all rows were met.

One `Verdict` for both ways of paging; the queue readers add the reasons that only they know. What makes an export
incomplete: docs/paging.md#both-lists-of-a-queue and docs/paging.md#sections-of-a-queue.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future

import msgspec

from annolake.extract.paging.readings import Reading
from annolake.extract.paging.sort_order import Order, OrderMeasure


class Signs(msgspec.Struct):
    """What was seen of movement, over all readings of a queue; see `Reading` for most of them."""

    breaks: int = 0
    shifts: int = 0
    disorders: int = 0
    again: int = 0
    skipped: int = 0
    finished: int = 0  # rows met in the active list, then in the archived one
    requeued: int = 0  # the other way round
    resized: int = 0  # the service reported other sizes after than before
    rereadings: int = 0

    @property
    def repairs(self) -> int:
        """How often something was read again."""
        return self.breaks + self.rereadings

    def count(self, reading: Reading) -> None:
        """Add what one reading saw."""
        self.breaks += reading.breaks
        self.shifts += reading.shifts
        self.disorders += reading.disorders
        self.again += reading.again
        self.skipped += reading.skipped
        self.requeued += reading.back
        self.finished += reading.crossed - reading.back


class ListState(msgspec.Struct, kw_only=True):
    """What is known of one list of a queue. `title` names it in a sentence ("the active list").

    `last` is the last reading that counts, `latest` the same or a look at the list's end after it. `sizes` are the
    reported ones, asked for before the first reading and after. `seen` is the number of rows met in the last reading.
    """

    title: str
    whole: bool  # it is read whole, not from a watermark on
    partly: bool = False  # the reported size counts rows that are not listed
    measure: OrderMeasure = msgspec.field(default_factory=OrderMeasure)
    last: Reading | None = None
    latest: Reading | None = None
    seen: int | None = None
    sizes: dict[int, "Future[int | None]"] = msgspec.field(default_factory=dict)

    def reported(self, time: int) -> int | None:
        """Return the size asked for before (0) or after (1), as reported; None where it is not, or not yet."""
        size = self.sizes.get(time)
        return size.result() if size and size.done() else None

    def size(self, time: int) -> int | None:
        """Return the same where it can be the number of rows listed."""
        size = self.reported(time)
        return None if size is None or size < 0 or self.partly else size

    @property
    def excess(self) -> int | None:
        """By how much the reported size exceeds the rows met, less what movement may explain; None: not known."""
        told = [size for size in (self.size(0), self.size(1)) if size is not None]
        return min(told) - self.seen if told and self.whole and self.seen is not None else None

    def reasons(self) -> list[str]:
        """Return why the list could not be verified complete, as far as its last readings tell."""
        if self.last and not self.last.joined:
            return [f"the pages of {self.title} do not join: its order does not repeat"]
        if self.latest and self.latest.restless:
            return [f"rows of {self.title} kept changing their order"]
        return []


class Verdict:
    """What is known of a queue once it was read.

    `complete` and `reasons` (empty where it is), `signs`, `rows` (keys met), `swept` (the lists that were to be read
    from a watermark on, and were read whole).
    """

    def __init__(self, lists: Mapping[str, ListState]) -> None:
        self.complete = False
        self.reasons: list[str] = []
        self.signs = Signs()
        self.rows = 0
        self.swept: list[str] = []
        self._lists = lists

    @property
    def orders(self) -> Mapping[str, Order | None]:
        """The measured order of each list; None: unsorted, too few rows to tell, or not read whole."""
        return {name: one.measure.order for name, one in self._lists.items()}

    @property
    def size_excess(self) -> int | None:
        """By how much the reported sizes exceed the rows met, of all lists together; None where one is not known."""
        known = [excess for excess in self._excesses() if excess is not None]
        return sum(known) if len(known) == len(self._lists) else None

    @property
    def not_shown(self) -> int:
        """How many rows the service reports and did not show, of the lists of which that is known."""
        return sum(max(0, excess or 0) for excess in self._excesses())

    def _excesses(self) -> Iterable[int | None]:
        return (one.excess for one in self._lists.values())

    @property
    def reported(self) -> int:
        """How many rows the service reports in all, as far as it has answered."""
        return sum(max(0, one.reported(0) or 0) for one in self._lists.values())

    @property
    def sizes(self) -> int | None:
        """How many rows the lists have, as reported; None where one is not known, or not yet, or read in part."""
        sizes = [one.size(0) if one.whole else None for one in self._lists.values()]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def is_resized(self) -> bool:
        """Note and tell whether the service reported other sizes after than before."""
        resized = any(
            one.reported(1) is not None and one.reported(1) != one.reported(0) for one in self._lists.values()
        )
        self.signs.resized += resized
        return resized

    def sweep(self, name: str) -> None:
        """Note that a list is read whole after all."""
        self._lists[name].whole = True
        self.swept.append(name)

    def conclude(self, came_back: str | None, *, mirrored: bool) -> None:
        """Decide whether the queue was read completely.

        `came_back`: the reason, where rows kept coming back. `mirrored`: lists showed each other's rows.
        """
        self.reasons = [reason for one in self._lists.values() for reason in one.reasons()]
        if came_back:
            self.reasons.append(f"rows kept coming back {came_back}, with others never met before")
        if mirrored:
            self.reasons.append("the service shows the same rows in more than one list")
        self.complete = not self.reasons
