"""Hypothesis strategies for rows, made from the types of the OpenAPI document."""

import json
from typing import Any

from hypothesis import strategies as st

import oracle

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | FLOATS | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(), JSON_VALUES, max_size=3)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


@st.composite
def amounts(draw: st.DrawFn) -> str:
    """Draw a decimal of at most 20 digits before the point and 18 behind, in one of its notations."""
    whole, part = draw(st.integers(0, 10**20 - 1)), draw(st.integers(0, 10**18 - 1))
    sign = draw(st.sampled_from(["", "-"]))
    if draw(st.booleans()):
        return f"{sign}{whole}.{part:018d}"
    return f"{sign}{whole * 10**18 + part}{draw(st.sampled_from(['e-18', 'E-18', 'E-00018']))}"


@st.composite
def moments(draw: st.DrawFn) -> str:
    """Draw a time as RFC 3339 or the tracing docs write it: with Z, an offset, or no zone at all."""
    stamp = draw(st.datetimes(min_value=oracle.moment("0002-01-01").replace(tzinfo=None)))
    zone = draw(st.sampled_from(["", "Z", "+00:00", "+05:30", "-11:00"]))
    digits = draw(st.sampled_from(["auto", "microseconds", "milliseconds"]))
    text = stamp.replace(year=min(stamp.year, 9998)).isoformat(timespec=digits)
    return text + zone


def of_shape(declared: dict[str, Any], *, cost: bool) -> st.SearchStrategy[Any]:
    """Return values of one type of the document."""
    kind = declared.get("type")
    if "$ref" in declared:
        return st.sampled_from(["llm", "chain", "longlived", "next-year"])
    if kind == "object":
        inside: Any = declared.get("additionalProperties")
        if inside is True:
            return OBJECTS
        return st.dictionaries(st.text(), of_shape(inside, cost=cost), max_size=3)
    if kind == "array":
        return st.lists(of_shape(declared["items"], cost=cost), max_size=3)
    if kind == "string":
        formats = {"uuid": st.uuids().map(str), "date-time": moments()}
        return formats.get(declared.get("format", ""), amounts() if cost else st.text())
    return {"integer": INTEGERS, "boolean": st.booleans()}[str(kind)]


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a row: required fields, any of the others (null or a value), and now and then an unknown one."""
    row: dict[str, Any] = {}
    for name in oracle.FIELDS:
        optional = name not in oracle.REQUIRED
        if optional and draw(st.booleans()):
            continue
        values = of_shape(oracle.shape(name), cost=name in oracle.COSTS)
        row[name] = draw(st.none() | values if optional else values)
    if draw(st.integers(0, 3)) == 0:
        row[draw(st.text().filter(lambda name: name not in oracle.FIELDS))] = draw(JSON_VALUES)
    return row


def as_text(row: dict[str, Any]) -> bytes:
    """Return the row as a service would write it."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")
