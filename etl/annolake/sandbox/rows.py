"""One row of a queue as the service holds it: immutable, and its JSON text is the truth.

Owns the text of a row and its members' texts. It never decides what a row contains (ordinary, odd) nor where
it stands (queue).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

import msgspec

SIGNATURE = b"0" * 64
"""Stands in a row's text where a listing puts the signature of this request into a presigned URL."""

ItemType = Literal["RUN", "THREAD"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A RUN (or THREAD) item of a queue.

    `key` is the time the row is sorted by (microseconds since 1970, the effective `added_at`), `done` that of
    its last review (0: none), `mine` whether the key's owner has completed it. `parts` joined are the row's
    JSON text; rows of a benchmark share their large payloads that way.
    """

    id: str
    key: int
    parts: tuple[bytes, ...]
    run_id: str | None = None
    item_type: ItemType = "RUN"
    done: int = 0
    mine: bool = False
    signed: bool = False

    @property
    def text(self) -> bytes:
        """The JSON text as the listing sends it, `SIGNATURE` standing for what changes at every listing."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    def value(self) -> Any:
        """Return the decoded text; numbers with a point or an exponent are exact decimals."""
        return json.loads(self.text, parse_float=Decimal)

    def members(self) -> dict[str, bytes]:
        """Return each field's JSON text by name; a text that is no object has none."""
        return members(self.text)

    def with_text(self, text: bytes) -> "Row":
        """Return this row with another text, under the same id and at the same place."""
        return replace(self, parts=(text,), signed=SIGNATURE in text)

    def with_fields(self, fields: Mapping[str, Any]) -> "Row":
        """Return this row with `fields` set (Decimals become numbers, bytes are JSON text as it is)."""
        return self.with_text(with_members(self.text, fields))


def members(text: bytes) -> dict[str, bytes]:
    """Split a JSON object into its fields' texts, verbatim where the text is strict JSON."""
    try:
        return {name: bytes(raw) for name, raw in _MEMBERS.decode(text).items()}
    except ValueError:  # planted rows hold lone surrogates and worse: the standard library reads more
        return _lenient_members(text)


def _lenient_members(text: bytes) -> dict[str, bytes]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: json.dumps(member).encode() for name, member in value.items()}


def with_members(text: bytes, fields: Mapping[str, Any]) -> bytes:
    """Return a JSON object's text with `fields` set (Decimals become numbers, bytes are JSON text as it is)."""
    there = members(text)
    there.update((name, _text_of(value)) for name, value in fields.items())
    return join(there)


def join(texts: Mapping[str, bytes]) -> bytes:
    """Put fields' JSON texts together to an object."""
    return b"{" + b",".join([_head(name) + text for name, text in texts.items()]) + b"}"


@lru_cache(maxsize=1000)  # names come again with every row
def _head(name: str) -> bytes:
    return json.dumps(name).encode() + b":"


def _text_of(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, Decimal):
        return str(value).encode()
    return json.dumps(value).encode()


def utc(microseconds: int) -> datetime:
    """Return the aware UTC time that many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds(moment: datetime) -> int:
    """Return the microseconds from 1970 to `moment` (aware)."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def rfc3339(at: int) -> str:
    """Write a time (microseconds since 1970) the way the service mostly does: with Z."""
    return utc(at).isoformat().replace("+00:00", "Z")


def instant(value: object) -> datetime | None:
    """Return the aware time that a value stands for, UTC when it names no zone; None if it is no time."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@lru_cache(maxsize=100_000)  # the same rows are asked for again and again
def utc_text(text: bytes) -> bytes:
    """Return a time's JSON text in UTC with Z, as the successor endpoints send it; anything else as it is."""
    at = instant(json.loads(text))
    return text if at is None else b'"' + rfc3339(microseconds(at)).encode() + b'"'
