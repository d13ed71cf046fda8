"""Whether the rows that a complete full export did not meet have left the queue: the last doubt before they are marked.

Owns that decision, from counts alone. A wrong one marks rows removed that are all still there.
"""

import msgspec

MANY = 20
"""More rows than these, and more than a fifth of those that the lake holds, are marked only on stronger evidence."""

_SHARE = 5


class Absence(msgspec.Struct, frozen=True):
    """What is known of the rows that were not met.

    `missing` is their number, `live` that of all rows the lake holds as present. `excess` is by how much the reported
    sizes exceed the rows met, and `usual` the same at the last complete full export; None: not reported.
    """

    missing: int
    live: int
    excess: int | None
    usual: int | None

    @property
    def is_large(self) -> bool:
        """Tell whether so many rows are missing that the queue must be read again before they are marked."""
        return self.missing > MANY and self.missing * _SHARE > self.live

    def doubt(self, *, missing_before: int) -> str | None:
        """Return why the rows are not marked removed, None where they are.

        `missing_before` is how many were missing before the queue was read again.
        """
        excess, usual = self.excess, self.usual or 0
        if self.is_large and self.missing != missing_before:
            return "the queue was read again and showed some of them"
        if self.is_large and excess is None:
            return "the service does not report the queue's size"
        if excess is not None and excess > (0 if self.is_large else usual):
            return f"the service still counts {excess:,} more rows than it shows"
        return None
