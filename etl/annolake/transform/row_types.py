"""The typed form of a row, built from the contract, and the rules that bring its values into one form.

One form means: equal values have equal texts, so that the row's hash changes when the row does and not when
the service writes the same instant or amount another way. Owns no Arrow.
"""

import decimal
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from annolake.contract import Column, Table
from annolake.transform.json_cut import members
from annolake.transform.secrets import scrubbed

HASH_VERSION = 1

Key = Annotated[str, Meta(min_length=1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

Place = tuple[str, str]
"""Where a field stands that the contract does not name: the wrapped field that it is in ("": the row itself); its name.
"""


class Person(msgspec.Struct):
    """A reviewer in a queue's record."""

    id: str | None = None
    name: str | None = None
    email: str | None = None


JSON_TYPES: dict[str, Any] = {
    "string": str,
    "bool": bool,
    "int64": Int64,
    "double": float | bool,
    "timestamp[us, UTC]": datetime,
    "decimal128(38, 18)": Decimal,
    "list<string>": list[str],
    "list<struct<id: string, name: string, email: string>>": list[Person],
    "map<string, int64>": dict[str, Int64],
    "map<string, decimal128(38, 18)>": dict[str, Decimal],
}

# decimal128(38, 18): a value is exact in it or an error, never rounded.
_quantize = decimal.Context(prec=38, traps=[decimal.Inexact, decimal.InvalidOperation]).quantize
_SCALE = Decimal("1E-18")

_NOTHING = len(b"null")
_TEXT: Any = Raw | UnsetType

_hash_text = msgspec.json.Encoder(order="deterministic")


def json_type(column: Column) -> Any:
    """Return the type that msgspec decodes a column's JSON value into; JSON columns stay text."""
    if column.json:
        return _TEXT
    if column.required:
        return Key if not column.nullable else JSON_TYPES[column.type]
    return JSON_TYPES[column.type] | None


def struct_type(
    name: str, fields: Iterable[tuple[Any, ...]], rename: Mapping[str, str], extra: Collection[str] | None
) -> type[msgspec.Struct]:
    """Return a struct that keeps the text of `extra` fields and refuses others; with None it skips all others.

    The extra ones come last, so that rows of one endpoint have their columns in the same places, whatever was learned.
    """
    learned = extra_attributes(extra or ())
    return msgspec.defstruct(
        name,
        [*fields, *((attribute, Raw | UnsetType, UNSET) for attribute in learned)],
        kw_only=True,
        omit_defaults=True,
        gc=False,
        rename={**rename, **learned},
        forbid_unknown_fields=extra is not None,
    )


def extra_attributes(names: Collection[str]) -> dict[str, str]:
    """Return the attributes that hold a struct's extra fields, each with its field's name, sorted by that."""
    return {f"_extra_{number}": name for number, name in enumerate(sorted(names))}


class Rows:
    """How the rows of one endpoint are decoded: its struct types and the columns that are normalized.

    `fields` maps the name of a field in the endpoint's JSON to its column. The struct's attributes are named
    after the columns; fields that are `dropped` (by default the table's) are read, so that they are not unmapped,
    and forgotten. The values of `wrapped` fields come as `{"raw": value}`, those of `unread` ones stay text, as JSON
    columns do. `key` is the field that tells a reject's row from others.
    """

    def __init__(
        self,
        table: Table,
        fields: dict[str, Column],
        *,
        name: str,
        key: str = "queue_run_id",
        dropped: Iterable[str] | None = None,
        wrapped: Iterable[str] = (),
        unread: Iterable[str] = (),
    ) -> None:
        self.fields = fields
        self.texts = frozenset((*unread, *(field for field, column in fields.items() if column.json)))
        self.key = key
        self.dropped = tuple(table.dropped if dropped is None else dropped)
        self.wrapped = tuple(wrapped)
        columns = list(fields.values())
        self.times = tuple(c.name for c in columns if c.type.startswith("timestamp"))
        self.decimals = tuple(c.name for c in columns if c.type == "decimal128(38, 18)")
        self.decimal_maps = tuple(c.name for c in columns if c.type == "map<string, decimal128(38, 18)>")
        self.url_texts = tuple(c.name for c in columns if c.urls)
        self.url_fields = frozenset(field for field, column in fields.items() if column.urls)
        self._wrapped = tuple(fields[field].name for field in self.wrapped)
        self._read_times = reader(self.times)
        self._read_url_texts = reader(self.url_texts)
        steps: list[tuple[tuple[str, ...], Callable[[Sequence[Any]], None]]] = [
            (self.dropped, self._drop),
            (self._wrapped, self._unwrap),
            (self.url_texts, self._scrub_urls),
            (self.times, self._settle_times),
            (self.decimals, self._settle_decimals),
            (self.decimal_maps, self._settle_decimal_maps),
        ]
        self._steps = [step for names, step in steps if names]  # measured: what is not there costs 1 us a row
        self.names = frozenset((*fields, *self.dropped))
        self._name = name

    def struct(self, extra: Collection[Place] | None) -> type[msgspec.Struct]:
        """Return the type of a row that has no unknown fields but `extra`; with None it skips all that it meets."""
        types: list[tuple[Any, ...]] = []
        for field, column in self.fields.items():
            inside = None if extra is None else [name for wrapper, name in extra if wrapper == field]
            text = field in self.texts
            kind = _wrapper(column, inside) if field in self.wrapped else _TEXT if text else json_type(column)
            default = () if column.required else (UNSET if text else None,)
            types.append((column.name, kind, *default))
        types += [(field, Raw | UnsetType, UNSET) for field in self.dropped]
        rename = {column.name: field for field, column in self.fields.items()}
        return struct_type(self._name, types, rename, None if extra is None else [n for w, n in extra if not w])

    def beside(self, text: bytes) -> dict[str, bytes]:
        """Return what a wrapped field's text holds beside its column's value, by name."""
        return {name: each for name, each in members(text).items() if name != "raw"} if text.startswith(b"{") else {}

    def normalize(self, rows: Sequence[Any]) -> None:
        """Bring the values of decoded rows into their one form, in place.

        Raises `MisfitError` for the first value that does not fit its column's type.
        """
        for step in self._steps:  # over all rows: measured, a call for each row and step costs as much as the step
            step(rows)

    def _drop(self, rows: Sequence[Any]) -> None:
        for name in self.dropped:
            for row in rows:
                setattr(row, name, UNSET)

    def _unwrap(self, rows: Sequence[Any]) -> None:
        for name in self._wrapped:
            for row in rows:
                if (wrapper := getattr(row, name)) is not None:
                    setattr(row, name, wrapper.raw)

    def _scrub_urls(self, rows: Sequence[Any]) -> None:
        names, read = self.url_texts, self._read_url_texts
        for row in rows:
            for name, text in zip(names, read(row), strict=True):
                if text is UNSET or len(text) <= _NOTHING:
                    continue
                sent = bytes(text)
                if (kept := scrubbed(sent, urls=True)) is not sent:
                    setattr(row, name, Raw(kept))

    def _settle_times(self, rows: Sequence[Any]) -> None:
        names, read = self.times, self._read_times
        for row in rows:
            for value in read(row):
                if value is not None and value.tzinfo is not UTC:
                    break
            else:
                continue
            for name, value in zip(names, read(row), strict=True):
                if value is not None:
                    setattr(row, name, _utc(name, value))

    def _settle_decimals(self, rows: Sequence[Any]) -> None:
        for name in self.decimals:
            for row, amount in zip(rows, _exact(name, map(attrgetter(name), rows)), strict=True):
                setattr(row, name, amount)

    def _settle_decimal_maps(self, rows: Sequence[Any]) -> None:
        for name in self.decimal_maps:
            maps = [*filter(None, map(attrgetter(name), rows))]
            exact = iter(_exact(name, [amount for amounts in maps for amount in amounts.values()]))
            for amounts in maps:
                amounts.update(zip(amounts, exact, strict=False))  # takes as many as it has


def _wrapper(column: Column, extra: Collection[str] | None) -> Any:
    return struct_type("Wrapped", [("raw", JSON_TYPES[column.type] | None, None)], {}, extra) | None


def reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads those attributes of a row at once."""
    if not names:
        return lambda _: ()
    read = attrgetter(*names)  # measured: a third of the time that one getattr after another takes
    return read if len(names) > 1 else lambda row: (read(row),)


class MisfitError(ValueError):
    """A value that does not fit its column: the JSON path and a reason that quotes no content."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def _utc(name: str, value: datetime) -> datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise MisfitError(f"$.{name}", "the time lies outside the years 1 to 9999 in UTC") from None


def _exact(name: str, amounts: Iterable[Decimal | None]) -> list[Decimal | None]:
    """Return the amounts of a column; measured, half the time that a call for each of them takes."""
    try:
        exact = [None if amount is None else _quantize(amount, _SCALE) for amount in amounts]
        if all(amount is None or amount.is_finite() for amount in exact):
            return exact
    except decimal.DecimalException:
        pass
    raise MisfitError(f"$.{name}", "not an amount with at most 20 digits before the point and 18 decimals")


def hash_seed(*parts: bytes) -> int:
    """Return what `row_hash` takes of the other parts of what the service sent for a row."""
    return xxh3_64_intdigest(b"\0".join(parts))  # no part holds the byte that separates them: a flag, or JSON


def row_hash(row: msgspec.Struct, seed: int, buffer: bytearray | None = None) -> bytes:
    """Return 16 bytes over a normalized row and its seed (docs/lake.md#row-hash).

    They tell versions of one row apart, and are no defence against forgery. Measured, a row: XXH3 0.1 us and BLAKE2b
    2.5 us; a `buffer` that is kept saves 1 us.
    """
    text = bytearray() if buffer is None else buffer
    _hash_text.encode_into(row, text)
    return xxh3_128_digest(text, seed)
