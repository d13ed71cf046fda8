"""JSON as text: cutting it into its elements without parsing them.

What msgspec reads it reads faster and checks; this is for the page one of whose rows it cannot read (a lone
surrogate escape, a literal that is no JSON, text that is no UTF-8), so that the row's neighbours go through.
Never builds values.
"""

import re
from collections.abc import Iterator

# A string, or one of the characters that give JSON its shape. Possessive: a long string costs no stack.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},]', re.DOTALL)
_SPACE = b" \t\r\n"

# Every escape; the first group takes those that stand for a character: others, and pairs of surrogates.
_ESCAPE = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?![dD][89a-fA-F])|\\[^u])"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def split_array(text: bytes) -> list[bytes]:
    """Cut a JSON array into the texts of its elements.

    Raises ValueError where `text` is no complete array: cut off, or of another shape.
    """
    return list(_elements(text, b"[", b"]"))


def split_object(text: bytes) -> list[tuple[bytes, bytes]]:
    """Cut a JSON object into pairs of name and value text, names still quoted and escaped.

    Raises ValueError where `text` is no complete object.
    """
    pairs = []
    for member in _elements(text, b"{", b"}"):
        name = _TOKEN.match(member)
        rest = member[name.end() :].lstrip(_SPACE) if name else b""
        if name is None or not rest.startswith(b":"):
            raise ValueError("a member of an object has no name")
        pairs.append((name.group(), rest[1:].strip(_SPACE)))
    return pairs


def _elements(text: bytes, opening: bytes, closing: bytes) -> Iterator[bytes]:
    text = text.strip(_SPACE)
    if not (text.startswith(opening) and text.endswith(closing)) or len(text) < len(opening + closing):
        raise ValueError(f"expected {opening.decode()}...{closing.decode()}")
    depth, start = 0, 1
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
            if depth == 0 and token.end() != len(text):
                raise ValueError("text continues after its end")
        elif mark == b"," and depth == 1:
            yield text[start : token.start()].strip(_SPACE)
            start = token.end()
    if depth != 0:
        raise ValueError("brackets do not match")
    last = text[start:-1].strip(_SPACE)
    if last or start > 1:
        yield last


def without_lone_surrogates(text: bytes) -> bytes:
    """Return JSON text in which each lone surrogate escape is U+FFFD, so that any parser reads it."""
    return _ESCAPE.sub(lambda escape: escape[1] or rb"\ufffd", text)
