"""A queue's rubric: what reviewers are asked, as columns of the table `queues`.

Owns the form of a rubric item. The record it is in is decode.py's.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from annolake.transform.json_cut import members, split_array
from annolake.transform.json_text import without_lone_surrogates

T = TypeVar("T")

RUBRIC = ("rubric_instructions", "rubric_items")
"""The fields of a queue's record that hold it: kept as text until they are read here."""

_NULL = b"null"


class RubricItem(msgspec.Struct):
    """One question to reviewers; what is open-ended stays JSON text."""

    feedback_key: str | None
    description: str | None
    is_required: bool | None
    is_assertion: bool | None
    value_descriptions: str | None
    score_descriptions: str | None
    feedback_config_id: str | None
    feedback_config: str | None
    regex_validator: str | None
    required_if: str | None
    visible_if: str | None


_OPEN = ("value_descriptions", "score_descriptions", "feedback_config", "required_if", "visible_if")
_FLAGS = ("is_required", "is_assertion")


def read_rubric(record: Any) -> dict[str, bytes]:
    """Put typed values into a decoded record's rubric, where its texts are.

    Returns the texts that hold more than the columns do, by field: a value of another type, an unknown member.
    """
    more: dict[str, bytes] = {}
    for field, read in (("rubric_instructions", _text), ("rubric_items", _items)):
        sent = getattr(record, field)
        text = _NULL if sent is UNSET else bytes(sent)
        value, whole = read(text)
        setattr(record, field, value)
        if not whole:
            more[field] = text
    return more


def _items(text: bytes) -> tuple[list[RubricItem] | None, bool]:
    try:
        read = [_item(element) for element in split_array(text)]
    except ValueError:
        return None, text.strip() == _NULL
    return [item for item, _ in read if item is not None], all(whole for _, whole in read)


def _item(text: bytes) -> tuple[RubricItem | None, bool]:
    try:
        there: Mapping[str, bytes] = members(text)
    except ValueError:
        return None, False
    values: dict[str, Any] = {}
    whole = set(RubricItem.__struct_fields__).issuperset(there)
    for name in RubricItem.__struct_fields__:
        sent = bytes(there.get(name, _NULL))
        if name in _OPEN:
            values[name] = None if sent == _NULL else sent.decode()
            continue
        values[name], fits = _flag(sent) if name in _FLAGS else _text(sent)
        whole &= fits
    return RubricItem(**values), whole


def _text(text: bytes) -> tuple[str | None, bool]:
    value, whole = _read(text, str)
    if whole or b"\\u" not in text:
        return value, whole
    return _read(without_lone_surrogates(text), str)[0], False


def _flag(text: bytes) -> tuple[bool | None, bool]:
    return _read(text, bool)


def _read(text: bytes, kind: type[T]) -> tuple[T | None, bool]:
    """Decode a value or null; a value of another kind is None, and not whole."""
    try:
        return msgspec.json.decode(text, type=kind | None), True
    except (ValueError, RecursionError):
        return None, False
