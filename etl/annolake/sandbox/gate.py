"""The way in: which endpoint a request means, and whether its key may use it.

Owns the routes and the check of the key. It answers nothing itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from annolake.sandbox.answers import Asked, Refusal, boolean, identifier, text

Endpoint = Literal[
    "runs",
    "queues",
    "queue",
    "size",
    "total_size",
    "total_archived",
    "items",
    "count",
    "query",
    "info",
    "feedback",
    "traces",
]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
ARCHIVED = "archived"
"""Stands in `forbid` for the archived list alone: of the runs listing, and as a section of the items."""

_QUEUES = "/api/v1/annotation-queues"
_PLATFORM = "/api/v1/platform/annotation-queues"
_ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", f"{_QUEUES}/(?P<queue>[^/]+)/runs", "runs"),
    ("GET", f"{_QUEUES}/(?P<queue>[^/]+)/size", "size"),
    ("GET", f"{_QUEUES}/(?P<queue>[^/]+)/total_size", "total_size"),
    ("GET", f"{_QUEUES}/(?P<queue>[^/]+)/total_archived", "total_archived"),
    ("GET", f"{_QUEUES}/(?P<queue>[^/]+)", "queue"),
    ("GET", _QUEUES, "queues"),
    ("GET", f"{_PLATFORM}/(?P<queue>[^/]+)/items", "items"),
    ("GET", f"{_PLATFORM}/(?P<queue>[^/]+)/items/count", "count"),
    ("POST", "/api/v2/runs/query", "query"),
    ("GET", "/api/v2/threads/(?P<thread>.+)/traces", "traces"),
    ("GET", "/api/v1/feedback", "feedback"),
    ("GET", "/api/v1/info", "info"),
)
_PATTERNS = tuple((method, re.compile(path, re.DOTALL), endpoint) for method, path, endpoint in _ROUTES)
_SUCCESSORS = frozenset({"items", "count", "query", "traces"})


@dataclass(frozen=True)
class Route:
    """What a request means: its endpoint, and the queue or thread its path names."""

    endpoint: Endpoint
    queue_id: str | None
    thread_id: str | None = None


@dataclass(frozen=True)
class Gate:
    """Lets requests with the key in, to the endpoints that there are and that it may use."""

    api_key: str
    tenant_id: str
    forbid: frozenset[str]
    platform: bool

    def __post_init__(self) -> None:
        for name in self.forbid:
            if name not in (*ENDPOINTS, ARCHIVED):
                raise ValueError(f"unknown endpoint {name!r}, choose from {', '.join((*ENDPOINTS, ARCHIVED))}")

    def admit(self, asked: Asked) -> Route:
        """Return the route of a request; Refusal 401, 403, 404, 405 or 422 when it may not pass."""
        path = asked.path
        if path.startswith(("/annotation-queues", "/feedback", "/info")):
            path = "/api/v1" + path  # the service answers its first version without the prefix as well
        for method, pattern, endpoint in _PATTERNS:
            found = pattern.fullmatch(path)
            if found and (self.platform or endpoint not in _SUCCESSORS):
                if method != asked.method:
                    raise Refusal(405, "Method Not Allowed")
                return self._admit(endpoint, found.groupdict(), asked)
        raise Refusal(404, "Not Found")

    def _admit(self, endpoint: Endpoint, named: dict[str, str], asked: Asked) -> Route:
        if endpoint != "info":
            self._check_key(asked.headers)
        if endpoint in self.forbid or (ARCHIVED in self.forbid and _is_archived(endpoint, asked.query)):
            raise Refusal(403, "Forbidden")
        queue_id = named.get("queue")
        if queue_id is not None:
            queue_id = identifier(queue_id, ("path", "queue_id"))
        return Route(endpoint, queue_id, named.get("thread"))

    def _check_key(self, headers: Mapping[str, str]) -> None:
        tenant = headers.get("x-tenant-id")
        if "x-api-key" in headers:
            known = headers["x-api-key"] == self.api_key
        else:
            known = headers.get("authorization") == f"Bearer {self.api_key}" and tenant is not None
        if not known:
            raise Refusal(401, "Invalid token")
        if tenant is not None and tenant != self.tenant_id:
            raise Refusal(403, "Forbidden")


def _is_archived(endpoint: Endpoint, query: Mapping[str, list[str]]) -> bool:
    return (endpoint == "runs" and boolean(query, ARCHIVED) is True) or (
        endpoint == "items" and text(query, "status") == ARCHIVED
    )
