"""Which numbers the body of a refusal is read for."""

import json
from typing import Any

import pytest

from annolake.extract.http.named_numbers import numbers_in

PROBLEM = {"type": "https://example.com/errors/400", "title": "Bad Request", "status": 400, "instance": "/runs/7"}


RUN_ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        (PROBLEM | {"detail": "Limit exceeds maximum allowed value of 250"}, (250,)),
        ({"detail": "Limit exceeds maximum allowed value of 1,000."}, (1000,)),
        ({"detail": [{"loc": ["body", "ids", 7], "msg": "at most 25 items, not 100", "type": "too_long"}]}, (100, 25)),
        ({"detail": [{"msg": "too long", "ctx": {"max_length": 25, "is_max": True}, "input": [1, 2]}]}, (25,)),
        ({"detail": f"no run {RUN_ID} (v2.5, -3, x9, 1e7)"}, ()),
        ({"detail": "9" * 5000}, ()),
        ({"error": "max 40", "code": 1001}, (40,)),
        ("at most 9", (9,)),
        (None, ()),
    ],
)
def test_numbers_of_a_refusal(body: Any, numbers: tuple[int, ...]) -> None:
    """Whole numbers that stand by themselves, in any sentence of the body; no status, index, id or fraction."""
    assert numbers_in(json.dumps(body).encode()) == numbers


@pytest.mark.parametrize("body", [b"", b"<html>at most 25", b"[" * 50_000, b'"25' + b" " * 64_000 + b'"', b'"\xff 25"'])
def test_a_body_of_another_kind_names_nothing(body: bytes) -> None:
    """A page of a proxy, a body without end or one that is no text is not looked into."""
    assert numbers_in(body) == ()
