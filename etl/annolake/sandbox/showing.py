"""What answers show of what is in a list: a service may cap an answer by bytes, or leave rows out of it.

Owns which rows of a window are shown, and the sizes that are told instead of the true ones. Owns no list and no form.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_HasId)


@dataclass(frozen=True)
class Showing:
    """How much of a window an answer shows.

    `bytes_cap` bounds the text of the rows in one answer, of which there is always one; `empty_over_cap`: a window
    that holds more shows nothing, unless it is a single row. Rows of `hidden` (their ids) are left out of answers after
    the window was cut; `ends_when_short`: the cursor of a page from which rows are left out is null. `nothing` answers
    every listing with no row at all. `size`, given the true one, returns what is told in its place, None refuses to.
    `text`, given the JSON text of a row, an item or a queried run, returns what is sent in its place.
    """

    bytes_cap: int | None = None
    empty_over_cap: bool = False
    hidden: Collection[str] = frozenset()
    ends_when_short: bool = False
    nothing: bool = False
    size: Callable[[int], int | None] = int
    text: Callable[[bytes], bytes] = bytes

    def window(self, rows: Sequence[T], text: Callable[[T], bytes]) -> tuple[list[T], int]:
        """Return the rows that a window shows, and how many of its rows the answer goes as far as."""
        if self.nothing:
            return [], len(rows)
        if self.bytes_cap is None:
            return [row for row in rows if row.id not in self.hidden], len(rows)
        visible = [(place, row, len(text(row))) for place, row in enumerate(rows) if row.id not in self.hidden]
        if self.empty_over_cap and len(rows) > 1 and sum(size for *_, size in visible) > self.bytes_cap:
            return [], len(rows)
        shown: list[T] = []
        left = self.bytes_cap
        for place, row, size in visible:
            left -= size
            if shown and left < 0:
                return shown, place
            shown.append(row)
        return shown, len(rows)
