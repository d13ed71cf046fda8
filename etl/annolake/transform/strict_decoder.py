"""Decoding in one call: rows that have no field but the contract's and those that were learned.

Owns what can be learned, and how the unmapped fields are taken out of a typed row again. A decoder never changes:
learning makes another one (docs/architecture.md#fields-that-the-contract-does-not-name).
"""

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET

from annolake.transform.json_text import member
from annolake.transform.row_types import Place, Rows, extra_attributes
from annolake.transform.secrets import scrubbed, suspect

MOST_LEARNED = 64
LONGEST_NAME = 100
_LOOKED_INTO_AT_ONCE = 1 << 20
_NOT_IN_A_STRUCT = frozenset('"\\') | {chr(code) for code in range(32)}  # msgspec has no field of such a name


class _Extra:
    """The learned fields of one object, by which their texts are taken out of its structs."""

    def __init__(self, names: Collection[str]) -> None:
        self._attributes = extra_attributes(names)

    def take(self, structs: Sequence[Any]) -> list[tuple[str, list[bytes]]]:
        """Return the fields that are there, sorted by name, and take them out of the structs.

        Each with its member (`"name":value`) in each of the structs, empty where one does not have it.
        """
        taken = []
        for attribute, name in self._attributes.items():
            texts = [*map(attrgetter(attribute), structs)]
            if any(text is not UNSET for text in texts):
                taken.append((name, [b"" if text is UNSET else member(name, text) for text in texts]))
                for struct in structs:
                    setattr(struct, attribute, UNSET)
        return taken


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

    def unmapped(self, rows: Sequence[Any]) -> list[bytes | None]:
        """Take the learned fields out of rows: of each the JSON object of its unmapped fields, None where it has none.

        All rows at once: measured, 1 us a row and field, and 3 row by row.
        """
        if not self.extra:
            return [None] * len(rows)
        taken = self._own.take(rows)
        for field, attribute, extra in self._beside:
            wrappers = [getattr(row, attribute) for row in rows]
            objects = iter(_objects(extra.take([each for each in wrappers if each is not None]), len(rows)))
            beside = [None if each is None else next(objects) for each in wrappers]
            taken.append((field, [b"" if text is None else member(field, text) for text in beside]))
        texts = _objects(sorted(taken), len(rows))
        there = [text for text in texts if text]
        if sum(map(len, there)) <= _LOOKED_INTO_AT_ONCE and not suspect(b"".join(there)):
            return texts
        return [text and scrubbed(text) for text in texts]

    def learning(self, places: Collection[Place], most: int) -> "StrictDecoder":
        """Return a decoder that knows those fields too, this one where it has learned enough or knows them."""
        new = sorted(place for place in set(places) - self.extra if _can_be_learned(place[1]))
        new = new[: max(0, most - len(self.extra))]
        return StrictDecoder(self._rows, self.extra.union(new)) if new else self


def _objects(fields: Sequence[tuple[str, list[bytes]]], count: int) -> list[bytes | None]:
    """Return `count` JSON objects, each of its members in the fields, None where it has none of them."""
    if not fields:
        return [None] * count
    every = [b",".join(filter(None, members)) for members in zip(*(members for _, members in fields), strict=True)]
    return [b"{" + members + b"}" if members else None for members in every]


def _can_be_learned(name: str) -> bool:
    if len(name) > LONGEST_NAME or not _NOT_IN_A_STRUCT.isdisjoint(name):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
