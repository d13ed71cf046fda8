"""The query of runs by id: payloads of RUN items, in the second version's words.

Owns the selectable fields and their renaming. Every run of the queues can be asked for, whether its row is
still in a queue or not.
"""

import base64
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from annolake.sandbox.answers import Answer, bounded, identifier, invalid, moment
from annolake.sandbox.items import within
from annolake.sandbox.query_rules import SUBTREE_USAGE, QueryRules
from annolake.sandbox.queue import Queue
from annolake.sandbox.rows import Row, instant, join, members, utc, utc_text
from annolake.sandbox.showing import Showing
from annolake.sandbox.usage import Members, own

_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_PARAMETERS = (
    *("project_ids", "ids", "min_start_time", "max_start_time", "selects", "page_size", "cursor"),
    SUBTREE_USAGE,
)

Field = Callable[[Members], bytes | None]


@dataclass(frozen=True)
class Existence:
    """Which runs are not found: a share of `gone` never, one of `late` not by the first query that asks for them."""

    seed: int
    gone: float
    late: float
    _missed: set[str] = field(default_factory=set)

    def is_gone(self, run_id: str) -> bool:
        """Tell whether the run was deleted although its row is in a queue."""
        return self.gone > 0 and random.Random(f"{self.seed}:gone:{run_id}").random() < self.gone

    def comes_late(self, run_id: str) -> bool:
        """Tell whether the run is left out of this answer, which is the first that it could be in."""
        if not self.late or run_id in self._missed or random.Random(f"{self.seed}:late:{run_id}").random() >= self.late:
            return False
        self._missed.add(run_id)
        return True


def read(body: bytes) -> dict[str, Any]:
    """Return the body's parameters; Refusal 422 for what is no object or holds an unknown one."""
    try:
        value = json.loads(body)
    except ValueError:
        raise invalid(("body",), "JSON decode error", "json_invalid") from None
    if not isinstance(value, dict):
        raise invalid(("body",), "Input should be a valid object", "model_type")
    for name in value:
        if name not in _PARAMETERS:
            raise invalid(("body", name), "The sandbox does not serve this parameter", "extra_forbidden")
    return value


def page(
    queues: Iterable[Queue],
    body: Mapping[str, Any],
    *,
    existence: Existence,
    now: int,
    page_cap: int | None,
    rules: QueryRules,
    showing: Showing,
) -> Answer:
    """Answer a page of the runs asked for, newest first: `items`, and `next_cursor` or null."""
    rules.check_parameters(body)
    projects = set(_identifiers(body, "project_ids"))
    if not projects:
        raise invalid(("body", "project_ids"), "Field required", "missing")
    selects = _selects(body)
    low, high = _time(body, "min_start_time"), _time(body, "max_start_time")
    low = low or utc(now) - timedelta(days=1)
    size = bounded(("body", "page_size"), _number(body, "page_size", 100), low=1, high=1000)
    offset = _offset(body.get("cursor"))
    asked = list(dict.fromkeys(_identifiers(body, "ids"))) if body.get("ids") else None
    rules.check_ids(asked)
    told = _all_usage if _boolean(body, SUBTREE_USAGE) else own
    known = {json.dumps(project).encode() for project in projects}
    found = [
        (there.get("start_time", b"null"), row.id, told(there))
        for row in _candidates(queues, asked, existence)
        if (project := (there := row.members()).get("session_id", b"null")) in known or json.loads(project) in projects
        if within(there.get("start_time"), low, high, unknown=True)
    ]
    found.sort(key=lambda one: (utc_text(one[0]), one[1]), reverse=True)
    page = found[offset : offset + min(size, page_cap or size)]
    last = offset + len(page)
    cursor = base64.urlsafe_b64encode(str(last).encode()).decode() if last < len(found) else None
    fields = [SELECTS[name] for name in selects]
    texts = [showing.text(_selected(there, fields)) for _, _, there in page]
    body_text = b'{"items":[' + b",".join(texts) + b'],"next_cursor":' + json.dumps(cursor).encode() + b"}"
    return rules.weigh(Answer(200, body_text, rows=len(page)))


def _candidates(queues: Iterable[Queue], asked: list[str] | None, existence: Existence) -> Iterable[Row]:
    for queue in queues:
        for run_id in queue.run_ids() if asked is None else asked:
            row = queue.run(run_id)
            if row is None or existence.is_gone(run_id) or existence.comes_late(run_id):
                continue
            yield row


def _identifiers(body: Mapping[str, Any], name: str) -> list[str]:
    values = body.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise invalid(("body", name), "Input should be a valid list of UUIDs", "list_type")
    return [identifier(value, ("body", name, index)) for index, value in enumerate(values)]


def _selects(body: Mapping[str, Any]) -> list[str]:
    names = body.get("selects") or ["ID"]
    for index, name in enumerate(names):
        if name not in SELECTS:
            raise invalid(("body", "selects", index), "Input should be a known field", "enum")
    return list(names)


def _time(body: Mapping[str, Any], name: str) -> datetime | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(("body", name), "Input should be a valid datetime", "datetime_parsing")
    return moment(value, ("body", name))


def _number(body: Mapping[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(("body", name), "Input should be a valid integer", "int_type")
    return value


def _boolean(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name) or False
    if not isinstance(value, bool):
        raise invalid(("body", name), "Input should be a valid boolean", "bool_type")
    return value


def _all_usage(there: Members) -> Members:
    return there


def _offset(cursor: object) -> int:
    if not cursor:
        return 0
    try:
        return int(base64.urlsafe_b64decode(str(cursor)))
    except ValueError:
        raise invalid(("body", "cursor"), "Invalid cursor", "value_error") from None


def _selected(there: Members, fields: Iterable[tuple[str, Field]]) -> bytes:
    return join({key: value for key, field in fields if (value := field(there)) is not None})


# How each field is told


def _same(name: str) -> Field:
    return lambda there: there.get(name)


def _time_of(name: str) -> Field:
    return lambda there: utc_text(there[name]) if name in there else None


def _upper(name: str) -> Field:
    return lambda there: there[name].upper() if name in there else None


def _cost(name: str) -> Field:
    return lambda there: _literal(there[name]) if name in there else None


def _raw(name: str, value: Callable[[bytes], bytes] = bytes) -> Field:
    @lru_cache(maxsize=10_000)  # most runs have one of a few
    def told(text: bytes) -> bytes:
        return b'{"raw":' + join({key: value(member) for key, member in members(text).items()}) + b"}"

    def field(there: Members) -> bytes | None:
        text = there.get(name)
        return text if text is None or text == b"null" else told(text)

    return field


@lru_cache(maxsize=100_000)  # the same rows are asked for again and again
def _literal(text: bytes) -> bytes:
    """Return the JSON number of a decimal string, digit for digit; null and what is no decimal stay."""
    value = json.loads(text)
    if not isinstance(value, str):
        return text
    if _JSON_NUMBER.fullmatch(value):
        return value.encode()
    try:
        return str(Decimal(value)).encode()
    except InvalidOperation:
        return text


def _parents(there: Members) -> bytes | None:
    parents, parent = there.get("parent_run_ids"), there.get("parent_run_id", b"null")
    if parents in (None, b"null") and parent != b"null":
        return b"[" + parent + b"]"
    return parents


def _is_root(there: Members) -> bytes:
    return b"true" if there.get("parent_run_id", b"null") == b"null" else b"false"


def _latency(there: Members) -> bytes | None:
    start, end = (instant(json.loads(there.get(name, b"null"))) for name in ("start_time", "end_time"))
    return None if start is None or end is None else str((end - start).total_seconds()).encode()


def _metadata(there: Members) -> bytes | None:
    return members(there.get("extra", b"null")).get("metadata")


def _share_url(there: Members) -> bytes | None:
    token = json.loads(there.get("share_token", b"null"))
    return json.dumps(f"https://smith.example.com/public/{token}/r").encode() if token else None


def _attachments(there: Members) -> bytes:
    urls = {
        name.removeprefix("attachment."): members(text).get("presigned_url", b"null")
        for name, text in members(there.get("s3_urls", b"null")).items()
        if name.startswith("attachment.")
    }
    return join(urls)


def _preview(there: Members) -> bytes | None:
    error = json.loads(there.get("error", b"null"))
    return json.dumps(error[:100]).encode() if isinstance(error, str) else None


def _unrecorded(_: Members) -> None:
    return None


_UNCHANGED = (
    *("id", "name", "error", "extra", "events", "inputs", "inputs_preview", "outputs", "outputs_preview"),
    *("tags", "trace_id", "thread_id", "dotted_order", "app_path", "reference_example_id", "feedback_stats"),
    *("reference_dataset_id", "total_tokens", "prompt_tokens", "completion_tokens", "price_model_id"),
)
SELECTS: dict[str, tuple[str, Field]] = {
    **{name.upper(): (name, _same(name)) for name in _UNCHANGED},
    **{
        name.upper(): (name, _time_of(name))
        for name in ("start_time", "end_time", "first_token_time", "last_queued_at")
    },
    **{name.upper(): (name, _upper(name)) for name in ("run_type", "status")},
    **{name.upper(): (name, _cost(name)) for name in ("total_cost", "prompt_cost", "completion_cost")},
    **{name.upper(): (name, _raw(name)) for name in ("prompt_token_details", "completion_token_details")},
    **{name.upper(): (name, _raw(name, _literal)) for name in ("prompt_cost_details", "completion_cost_details")},
    "MANIFEST": ("manifest", _same("serialized")),
    "PROJECT_ID": ("project_id", _same("session_id")),
    "IS_IN_DATASET": ("is_in_dataset", _same("in_dataset")),
    "PARENT_RUN_IDS": ("parent_run_ids", _parents),
    "IS_ROOT": ("is_root", _is_root),
    "LATENCY_SECONDS": ("latency_seconds", _latency),
    "METADATA": ("metadata", _metadata),
    "SHARE_URL": ("share_url", _share_url),
    "ATTACHMENTS": ("attachments", _attachments),
    "ERROR_PREVIEW": ("error_preview", _preview),
    "THREAD_EVALUATION_TIME": ("thread_evaluation_time", _unrecorded),
    "LS_USER_ID": ("ls_user_id", _unrecorded),
}
"""Each select's name, the key it comes back under, and how its text is made of a row's fields."""
