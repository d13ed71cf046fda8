"""Decoding in one call: rows that have no field but the contract's and those that were learned.

Owns what can be learned, and how the unmapped fields are taken out of a typed row again. A decoder never changes:
learning makes another one (docs/architecture.md#fields-that-the-contract-does-not-name).
"""

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import UNSET

from annolake.transform.json_text import joined
from annolake.transform.row_types import Place, Rows, extra_attributes, reader
from annolake.transform.secrets import scrubbed

MOST_LEARNED = 64
LONGEST_NAME = 100
_NOT_IN_A_STRUCT = frozenset('"\\') | {chr(code) for code in range(32)}  # msgspec has no field of such a name


class _Extra:
    """The learned fields of one object: their names, sorted, and how they are read from its struct."""

    def __init__(self, names: Collection[str]) -> None:
        fields = extra_attributes(names)
        self._attributes, self._names = tuple(fields), tuple(fields.values())
        self._read = reader(self._attributes)

    def take(self, struct: Any) -> list[tuple[str, bytes]]:
        """Return name and text of those that are there, sorted by name, and take them out of the struct."""
        texts = self._read(struct)
        there = [(name, text) for name, text in zip(self._names, texts, strict=True) if text is not UNSET]
        for attribute in self._attributes if there else ():
            setattr(struct, attribute, UNSET)
        return there


class StrictDecoder:
    """Decodes rows that hold nothing but the contract's fields and `extra`. Safe to share between threads."""

    def __init__(self, rows: Rows, extra: frozenset[Place] = frozenset()) -> None:
        struct = rows.struct(extra)
        self.extra = extra
        page = list[struct]  # type: ignore[valid-type]  # made at run time
        self.page = msgspec.json.Decoder(page)
        answer: list[tuple[Any, ...]] = [("items", page | None), ("next_cursor", str | None, None)]
        self.answer: msgspec.json.Decoder[Any] = msgspec.json.Decoder(msgspec.defstruct("Answer", answer, gc=False))
        self.row = msgspec.json.Decoder(struct)
        self._rows = rows
        self._own = _Extra([name for wrapper, name in extra if not wrapper])
        self._beside = [
            (field, rows.fields[field].name, _Extra([name for wrapper, name in extra if wrapper == field]))
            for field in {wrapper for wrapper, _ in extra if wrapper}
        ]

    def unmapped(self, row: Any) -> bytes | None:
        """Take the learned fields out of a row, as the JSON object of its unmapped fields; None where it has none."""
        if not self.extra:
            return None
        there = self._own.take(row)
        for field, attribute, extra in self._beside:
            wrapper = getattr(row, attribute)
            if wrapper is not None and (beside := extra.take(wrapper)):
                there.append((field, joined(beside)))
        if self._beside:
            there.sort()
        return scrubbed(joined(there)) if there else None

    def learning(self, places: Collection[Place], most: int) -> "StrictDecoder":
        """Return a decoder that knows those fields too, this one where it has learned enough or knows them."""
        new = sorted(place for place in set(places) - self.extra if _can_be_learned(place[1]))
        new = new[: max(0, most - len(self.extra))]
        return StrictDecoder(self._rows, self.extra.union(new)) if new else self


def _can_be_learned(name: str) -> bool:
    if len(name) > LONGEST_NAME or not _NOT_IN_A_STRUCT.isdisjoint(name):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
