"""What a request asks and what an answer holds, free of sockets; the refusals in the service's shapes.

Owns the validation of query parameters. It never knows an endpoint.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})
_FALSE = frozenset({"false", "0", "no", "off", "f", "n"})


@dataclass(frozen=True)
class Asked:
    """A request as it arrived: `query` maps each parameter to its values, `headers` has lower-case names.

    `url` is path and query as they were sent.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""
    url: str = ""


@dataclass(frozen=True)
class Answer:
    """An answer before it meets the wire; `rows` counts what it lists."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0


class Refusal(Exception):  # noqa: N818 - an answer of the service on its way out, never met by a user
    """Stops a request with a status and the service's `detail`."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail

    def answer(self) -> Answer:
        """Return the refusal as an answer."""
        return json_answer({"detail": self.detail}, status=self.status)


class Problem(Refusal):
    """A refusal as RFC 7807 has it, which is the second version's form."""

    def answer(self) -> Answer:
        """Return the refusal as an answer."""
        title = HTTPStatus(self.status).phrase
        problem = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return replace(json_answer(problem, status=self.status), content_type="application/problem+json")


def json_answer(value: Any, *, status: int = 200, rows: int = 0) -> Answer:
    """Return an answer that holds `value` as JSON."""
    return Answer(status, json.dumps(value).encode(), rows=rows)


def invalid(where: Iterable[str | int], message: str, kind: str) -> Refusal:
    """Return a 422 in the shape of the contract's HTTPValidationError."""
    return Refusal(422, [{"loc": list(where), "msg": message, "type": kind}])


def text(query: Mapping[str, list[str]], name: str) -> str | None:
    """Return the last value of a parameter, None when it was not sent."""
    values = query.get(name)
    return values[-1] if values else None


def integer(query: Mapping[str, list[str]], name: str, default: int, *, low: int, high: int | None = None) -> int:
    """Return an integer parameter within its bounds; Refusal 422 otherwise."""
    value = text(query, name)
    if value is None:
        return default
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        raise invalid(("query", name), "Input should be a valid integer", "int_parsing")
    return bounded(("query", name), int(value), low=low, high=high)


def bounded(where: Iterable[str | int], number: int, *, low: int, high: int | None) -> int:
    """Return `number` when it lies within its bounds; Refusal 422 otherwise."""
    if number < low:
        raise invalid(where, f"Input should be greater than or equal to {low}", "greater_than_equal")
    if high is not None and number > high:
        raise invalid(where, f"Input should be less than or equal to {high}", "less_than_equal")
    return number


def boolean(query: Mapping[str, list[str]], name: str) -> bool | None:
    """Return a boolean parameter, None when it was not sent; Refusal 422 for anything else."""
    value = text(query, name)
    if value is None:
        return None
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise invalid(("query", name), "Input should be a valid boolean", "bool_parsing")


def choice(query: Mapping[str, list[str]], name: str, allowed: Iterable[str]) -> str | None:
    """Return a parameter that is one of `allowed`, None when it was not sent; Refusal 422 otherwise."""
    value = text(query, name)
    if value is None or value in allowed:
        return value
    raise invalid(("query", name), f"Input should be {', '.join(allowed)}", "enum")


def required(query: Mapping[str, list[str]], name: str, allowed: Iterable[str]) -> str:
    """Return a parameter that must be sent and is one of `allowed`; Refusal 422 otherwise."""
    value = choice(query, name, allowed)
    if value is None:
        raise invalid(("query", name), "Field required", "missing")
    return value


def identifier(value: str, where: Iterable[str | int]) -> str:
    """Return a UUID in lower case; Refusal 422 for anything else."""
    if not _UUID.fullmatch(value):
        raise invalid(where, "Input should be a valid UUID", "uuid_parsing")
    return value.lower()


def moment(value: str | None, where: Iterable[str | int]) -> datetime | None:
    """Return a time (UTC when it names no zone), None when it was not sent; Refusal 422 for anything else."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise invalid(where, "Input should be a valid datetime", "datetime_parsing") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
