"""JSON as text: putting it together, and what any parser reads of it. Never builds values."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=str | bytes)
V = TypeVar("V")

# Every escape; the first group takes those that stand for a character: others, and pairs of surrogates.
_ESCAPE = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u(?![dD][89a-fA-F])|[^u])"
    rb"|u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


class _Remembered(dict[K, V]):
    """The values of a function of names, which come again with every row; the first thousand that are not long."""

    def __init__(self, function: Callable[[K], V]) -> None:
        self._function = function

    def __missing__(self, name: K) -> V:
        value = self._function(name)
        if len(name) <= 100 and len(self) < 1000:  # noqa: PLR2004 - the service chooses names, and it may choose many
            self[name] = value
        return value


_heads = _Remembered[str, bytes](lambda name: json.dumps(name).encode() + b":")  # what stands before a member's value
_names = _Remembered[bytes, str](json.loads)


def name_of(text: bytes) -> str:
    """Return the name that a member's text begins with, read: JSON in quotes. Raises ValueError where it is none."""
    return _names[text]


def joined(pairs: Iterable[tuple[str, bytes]], comma: bytes = b",", space: bytes = b"") -> bytes:
    """Return the JSON object of names and their values' texts; `space` stands before each value."""
    return b"{" + comma.join([_heads[name] + space + text for name, text in pairs]) + b"}"


def member(name: str, text: bytes) -> bytes:
    """Return a member of a JSON object."""
    return _heads[name] + text


def as_object(values: Mapping[str, bytes]) -> bytes | None:
    """Return the JSON object of members whose values are texts, sorted by name; None where there is none."""
    return joined(sorted(values.items())) if values else None


def without_lone_surrogates(text: bytes) -> bytes:
    """Return JSON text in which each lone surrogate escape is U+FFFD, so that any parser reads it."""
    return _ESCAPE.sub(lambda escape: escape[0] if escape[1] else rb"\ufffd", text)
