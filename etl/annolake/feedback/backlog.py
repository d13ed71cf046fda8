"""Runs whose feedback is still to be asked for: 21 bytes each, for rows are listed faster than feedback is read.

Owns that compact form. Reviewers are few, so each set of them is kept once.
"""

import struct
from collections.abc import Collection, Iterator
from uuid import UUID

import msgspec

from annolake.keys import KEY_BYTES

_RECORD = struct.Struct(f"<{KEY_BYTES}si?")
_UUID_CHARS = 36

Reviewing = frozenset[str] | None


def uuid_key(run_id: str) -> bytes:
    """Return the 16 bytes of a UUID, in upper or lower case; none of another text."""
    try:
        return UUID(run_id).bytes if len(run_id) == _UUID_CHARS else b""
    except ValueError:
        return b""


class Group(msgspec.Struct, frozen=True):
    """Runs that are asked for together, in lower case: who has completed their rows, and which of them were found."""

    reviewers: dict[str, Reviewing] = msgspec.field(default_factory=dict)
    found: set[str] = msgspec.field(default_factory=set)


class Backlog:
    """Runs in the order in which they came."""

    def __init__(self) -> None:
        self._records = bytearray()
        self._reviewing: list[Reviewing] = []
        self._places: dict[Reviewing, int] = {}

    def __len__(self) -> int:
        return len(self._records) // _RECORD.size

    def add(self, run_id: str, reviewers: Collection[str] | None, *, found: bool) -> bool:
        """Add a run; `found`: this export saw that the service has it. False for an id that is no UUID."""
        if key := uuid_key(run_id):
            reviewing = None if reviewers is None else frozenset(reviewers)
            place = self._places.setdefault(reviewing, len(self._reviewing))
            if place == len(self._reviewing):
                self._reviewing.append(reviewing)
            self._records += _RECORD.pack(key, place, found)
        return bool(key)

    def __iter__(self) -> Iterator[tuple[str, Reviewing, bool]]:
        """Yield the id, the reviewers and `found` of each run."""
        for key, place, found in _RECORD.iter_unpack(self._records):
            yield str(UUID(bytes=key)), self._reviewing[place], found

    def take(self, most: int) -> Group:
        """Take the first runs out, `most` of them at most; of a run that came twice the last one counts."""
        group, size = Group(), min(most, len(self)) * _RECORD.size
        for key, place, found in _RECORD.iter_unpack(self._records[:size]):
            run_id = str(UUID(bytes=key))
            group.reviewers[run_id] = self._reviewing[place]
            (group.found.add if found else group.found.discard)(run_id)
        del self._records[:size]
        return group
