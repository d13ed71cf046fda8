"""What may be read out of a refusal's body: numbers, and nothing else, for its words may quote a row or a key.

Owns where in the body a number can be one that the service names, such as the most that it allows.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_NUMBER = re.compile(r"(?<![\w.,-])\d{1,3}(?:,\d{3})+(?![\w-]|[.,]\d)|(?<![\w.,-])\d{1,9}(?![\w-]|[.,]\d)")
_READABLE = 64_000  # bytes: an answer that names a number is short
_ELSEWHERE = frozenset({"status", "code", "type", "instance", "loc", "input", "url"})
"""Members that hold a number of another meaning, or what was sent."""


def numbers_in(body: bytes) -> tuple[int, ...]:
    """Return the whole numbers that a refusal in JSON names, the largest first; none of any other body."""
    if len(body) > _READABLE:
        return ()
    try:
        refusal = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return ()
    return tuple(sorted(set(_numbers(refusal)), reverse=True))


def _numbers(value: Any) -> Iterator[int]:
    match value:
        case bool():
            return
        case int():
            yield value
        case str():
            yield from (int(found.replace(",", "")) for found in _NUMBER.findall(value))
        case list():
            for element in value:
                yield from _numbers(element)
        case dict():
            for name, member in value.items():
                if name not in _ELSEWHERE:
                    yield from _numbers(member)
