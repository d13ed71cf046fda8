"""Cutting JSON text into its elements or members, without looking at their values.

What msgspec reads is cut by it, and so are the elements around a few that it cannot read. So is what it reads once a
few things that it refuses are written over in the same length (a lone surrogate escape, NaN, control characters); a
loop over brackets cuts whatever else has the shape of JSON. All give the same texts, so that the neighbours of an
unreadable row go through. Never builds values.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Raw

from annolake.transform.json_text import joined, name_of, without_lone_surrogates

View = bytes | memoryview
"""A text, or a view of one: a memoryview, or msgspec's `Raw`, which counts as bytes for type checkers."""

_SPACE = b" \t\r\n"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'  # possessive: a long one costs no stack
_CLOSED_STRINGS = re.compile(rb'(?:[^"]++|' + _STRING + rb")*+", re.DOTALL)
_PIECE = rb'[^"\[\]{}]++|' + _STRING
_FLAT = rb"[\[{](?:" + _PIECE + rb")*+[\]}]"  # an array or object with none in it, and below: with flat ones in it
_SHALLOW = rb"[\[{](?:" + _PIECE + rb"|" + _FLAT + rb")*+[\]}]"
# Up to the next sign that counts: a bracket of something deeper, or the end of what we are in; at its top, a comma too.
_TO_BRACKET = re.compile(rb"(?:" + _PIECE + rb"|" + _SHALLOW + rb")*+([\[\]{}])", re.DOTALL)
_TO_COMMA = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb"|" + _SHALLOW + rb")*+([\[\]{},])", re.DOTALL)
_NAME = re.compile(rb"(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL)
_TO_ARRAY = re.compile(rb"[ \t\r\n]*+{[ \t\r\n]*+(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+\[", re.DOTALL)
_BEHIND_ARRAY = re.compile(rb'\][ \t\r\n]*+(?:,(?=[ \t\r\n]*+")|(?=}))')
_BEFORE_ELEMENT = re.compile(rb"[ \t\r\n]*+[\[,][ \t\r\n]*+")
_BEFORE_VALUE = re.compile(rb"[ \t\r\n]*+[{,][ \t\r\n]*+(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL)

_CONTROLS = bytes([*b" " * 32, *range(32, 256)])
_COPIED = 1 << 23  # bytes of a text that may be there again with other values

_FEW = 8  # measured: to cut so many of 70 rows by brackets takes as long as to write all of them over
_TRAILING = "JSON is malformed: trailing characters (byte "  # what msgspec says, and then which one, counted from 1

_any = msgspec.json.Decoder(Raw)
_array = msgspec.json.Decoder(list[Raw])
_object = msgspec.json.Decoder(dict[str, Raw])


def is_readable(text: bytes) -> bool:
    """Tell whether msgspec can read all of a value."""
    try:
        _any.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def split_array(text: bytes) -> list[bytes]:
    """Cut a JSON array into the texts of its elements.

    Raises ValueError where `text` is no complete array: cut off, or of another shape.
    """
    return [bytes(element) for element in cut_array(text)]


def cut_array(text: bytes) -> Sequence[View]:
    """Cut a JSON array into its elements as `split_array` does, which mostly are views: a page may have 100 MB."""
    try:
        return _array.decode(text)
    except (ValueError, RecursionError):
        pass
    text = bytes(text).strip(_SPACE)
    if not (text.startswith(b"[") and text.endswith(b"]")):
        raise ValueError("expected [...]")
    try:
        elements, end = _cut_around(text, len(b"["))
        if end == len(text) - 1:
            return elements
    except ValueError:
        pass
    try:
        readable = _readable(text)
        return [element for _, element in _measured(text, readable, _array.decode(readable), _BEFORE_ELEMENT)]
    except (ValueError, RecursionError):
        return [*_elements(text, b"[", b"]")]


def cut_answer(text: bytes, name: str) -> tuple[Sequence[View], Mapping[str, bytes]]:
    """Cut a JSON object with an array in the member `name` into the array's elements and the other members.

    Raises ValueError where `text` is no complete object with an array there; null is an empty one.
    """
    plain = _plain_members(text)
    if plain is None:
        try:
            return _cut_answer_around(text, name)
        except (ValueError, RecursionError):
            pass
    others = dict(plain or split_object(text).there)
    array = others.pop(name, b"")
    is_null = len(array) == len(b"null") and bytes(array) == b"null"
    return [] if is_null else cut_array(array), others


def _cut_answer_around(text: bytes, name: str) -> tuple[Sequence[View], Mapping[str, bytes]]:
    """Do the same where the array comes first, few of its elements are unreadable, and all other members are readable.

    Raises ValueError or RecursionError for any other object.
    """
    head = _TO_ARRAY.match(text)
    if head is None or name_of(head[1]) != name:
        raise ValueError("it does not begin with the array")
    elements, end = _cut_around(text, head.end())
    behind = _BEHIND_ARRAY.match(text, end)
    others = _object.decode(b"{" + text[behind.end() :]) if behind else {}
    if behind is None or name in others:
        raise ValueError("the array is not all that is called so")
    return elements, others


class Members(NamedTuple):
    """The members of an object as they were sent, those of a name that comes twice too; `there`: the last of each name.

    `plain`: msgspec can read all of it. Then the texts are its views (`Raw`), which can be joined and decoded.
    `compact`: they are all that the text has, so that to join them would give it again.
    """

    pairs: Collection[tuple[str, bytes]]
    there: Mapping[str, bytes]
    plain: bool
    compact: bool = False


def split_object(text: bytes) -> Members:
    """Cut a JSON object into pairs of name and value text.

    Raises ValueError where `text` is no complete object.
    """
    text = text.strip(_SPACE)
    plain = _plain_members(text)
    if plain is not None:
        if _is_compact(text, plain):
            return Members(plain.items(), plain, plain=True, compact=True)
        if joined(plain.items(), b", ", b" ") == text:  # the other way in which many write, and no name comes twice
            return Members(plain.items(), plain, plain=True)
    try:
        readable = _readable(text) if plain is None else text
        same = _object.decode(readable) if plain is None else plain
        if plain is None and _is_compact(readable, same):
            pairs = [*_cut_compact(text, same)]
            return Members(pairs, dict(pairs), plain=False, compact=True)
        pairs = [(name_of(name), value) for name, value in _measured(text, readable, same.values(), _BEFORE_VALUE)]
    except (ValueError, RecursionError):
        pairs = [_member(each) for each in _elements(text, b"{", b"}")]
    return Members(pairs, dict(pairs), plain=plain is not None)


def _plain_members(text: bytes) -> dict[str, Raw] | None:
    """Return the members that msgspec reads, the last one of each name; None where it cannot read all."""
    try:
        return _object.decode(text)
    except (ValueError, RecursionError):
        return None


def _is_compact(text: bytes, there: Mapping[str, Raw]) -> bool:
    """Tell whether an object's text holds these members and nothing else: no white space, no name twice, no escape.

    Each of those makes it longer than its members are (a name that is not ASCII looks so, too). Measured: a quarter of
    the time that joining them takes.
    """
    least = sum(map(len, there)) + sum(map(len, there.values())) + len(b'"":,') * len(there)
    return len(text) == least + len(b"{}") - len(b",") * bool(there)


def members(text: bytes) -> Mapping[str, bytes]:
    """Return the value texts of an object's members, the last one of each name; ValueError as `split_object`.

    Where msgspec can read all of it, they are its views (`Raw`).
    """
    plain = _plain_members(text)
    return split_object(text).there if plain is None else plain


def _readable(text: bytes) -> bytes:
    """Return text of the same length in which msgspec can read more; ValueError for one too large to be copied."""
    if len(text) > _COPIED:
        raise ValueError("too large to be copied")
    if b"\\u" in text:
        text = without_lone_surrogates(text)
    return text.translate(_CONTROLS).replace(b"NaN", b"0.0").replace(b"Infinity", b"10000000")


def _measured(
    text: bytes, readable: bytes, values: Iterable[bytes], before: re.Pattern[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """Cut `text` where the values of `readable` begin and end, into pairs of name (if it has any) and value.

    Raises ValueError where they do not follow each other to the end: a name comes twice.
    """
    at = 0
    for value in values:
        head = before.match(text, at)
        if head is None or not readable.startswith(value, at := head.end()):
            raise ValueError("not the next value")
        start, at = at, at + len(value)
        yield head[head.lastindex or 0], text[start:at]
    if text[at:].strip(_SPACE) not in (b"]", b"}"):
        raise ValueError("there are more values")


def _cut_around(text: bytes, start: int) -> tuple[list[View], int]:
    """Cut an array of which few elements are unreadable, by brackets those alone; its elements begin at `start`.

    Returns them, and the place of the bracket that closes it. Raises ValueError where more of them are unreadable.
    """
    elements, unreadable, view = list[View](), 0, memoryview(text)
    while True:
        end = _end_of_readable(view[start:])
        if end is None:
            unreadable += 1
            if unreadable > _FEW + len(elements) // _FEW:
                raise ValueError("many elements are unreadable")
            end = _end_of_shape(text, start) - start
        elements.append(_stripped(view[start : start + end]))
        start += end + len(b",")
        if text.startswith(b"]", start - 1):
            return elements, start - 1
        if not text.startswith(b",", start - 1):
            raise ValueError("no element ends here")


def _stripped(text: memoryview) -> memoryview:
    start, end = 0, len(text)
    while start < end and text[start] in _SPACE:
        start += 1
    while start < end and text[end - 1] in _SPACE:
        end -= 1
    return text[start:end]


def _end_of_readable(text: memoryview) -> int | None:
    """Return where the value at the beginning of a text ends, with the space behind it; None where none can be read.

    It is where msgspec meets what it did not expect any more; Python's own decoder would build the value.
    """
    try:
        _any.decode(text)
    except ValueError as error:
        message = str(error)
        return int(message[len(_TRAILING) : -1]) - 1 if message.startswith(_TRAILING) else None
    except RecursionError:
        pass
    return None


def _cut_compact(text: bytes, same: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Cut a compact object into the pairs that it has where one of the same length, compact too, has these members."""
    at = len(b"{")
    for name, value in same.items():
        colon = at + len(name) + len(b'""')
        end = colon + len(b":") + len(value)
        yield name_of(text[at:colon]), text[colon + 1 : end]
        at = end + len(b",")


def _elements(text: bytes, opening: bytes, closing: bytes) -> Iterator[bytes]:
    if not (text.startswith(opening) and text.endswith(closing)) or len(text) < len(opening + closing):
        raise ValueError(f"expected {opening.decode()}...{closing.decode()}")
    closed = _CLOSED_STRINGS.match(text).end()  # type: ignore[union-attr]  # it matches nothing at all, too
    shape = text[:closed] + text[closed:].replace(b'"', b" ")  # behind a string without an end there is none
    start = len(opening)
    while (end := _end_of_shape(shape, start)) < len(text) - 1:
        if shape[end : end + 1] != b",":
            raise ValueError("text continues after its end")
        yield text[start:end].strip(_SPACE)
        start = end + 1
    last = text[start:-1].strip(_SPACE)
    if last or start > len(opening):
        yield last


def _end_of_shape(shape: bytes, at: int) -> int:
    """Return where what begins there ends: at a comma, or at the bracket that closes what it stands in."""
    depth = 1
    while token := (_TO_COMMA if depth == 1 else _TO_BRACKET).match(shape, at):
        mark, at = token[1], token.end()
        depth += (mark in b"[{") - (mark in b"]}")
        if depth == 0 or mark == b",":
            return at - 1
    raise ValueError("brackets do not match")


def _member(text: bytes) -> tuple[str, bytes]:
    name = _NAME.match(text)
    if name is None:
        raise ValueError("a member of an object has no name")
    return name_of(name[1]), text[name.end() :].strip(_SPACE)
