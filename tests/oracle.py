"""What the table must hold for a row of the service, worked out from the OpenAPI document alone.

An independent second opinion: it shares no code with annolake and does not read schemas/runs.toml. Values are
what polars' and DuckDB's Python rows show.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

DOCUMENT = Path(__file__).parents[1] / "schemas/api/get-runs-from-annotation-queue.openapi.yaml"
ROW = yaml.safe_load(DOCUMENT.read_text())["components"]["schemas"]["RunSchemaWithAnnotationQueueInfo"]
FIELDS: dict[str, Any] = ROW["properties"]
REQUIRED = frozenset(ROW["required"])
COSTS = frozenset(name for name in FIELDS if name.endswith(("_cost", "_cost_details")))
URL_FIELDS = ("inputs_s3_urls", "outputs_s3_urls", "s3_urls")
NOT_KEPT = ("share_token", "share_url")  # the second is none of the document's, and would be kept as such


def shape(name: str) -> dict[str, Any]:
    """Return a field's type in the document, null left out."""
    declared: dict[str, Any] = FIELDS[name]
    choices = [choice for choice in declared.get("anyOf", [declared]) if choice.get("type") != "null"]
    return dict(choices[0])


def is_json(name: str) -> bool:
    """Whether a field is open-ended JSON: an object or a list of objects without a declared inside."""
    declared = shape(name)
    inside = declared.get("items", declared) if declared.get("type") == "array" else declared
    extra = inside.get("additionalProperties")
    return inside.get("type") == "object" and (extra is True or (extra or {}).get("type") == "object")


def moment(text: str) -> datetime:
    """Read a time; one without a zone is UTC."""
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def expected(row: dict[str, Any]) -> dict[str, Any]:
    """Return the field columns of a row as the service sent it (parsed JSON); JSON columns parsed."""
    return {name: _value(name, row.get(name)) for name in FIELDS if name != "share_token"}


def flattened(row: dict[str, Any]) -> dict[str, Any]:
    """Return the flattened and the derived columns of a row."""
    values = expected(row)
    wanted: dict[str, Any] = {}
    for side, kinds in (("prompt", ("cache_read", "cache_creation", "audio")), ("completion", ("reasoning", "audio"))):
        for kind in kinds:
            wanted[f"{side}_{kind}_tokens"] = (values[f"{side}_token_details"] or {}).get(kind)
            wanted[f"{side}_{kind}_cost"] = (values[f"{side}_cost_details"] or {}).get(kind)
    for column, source in (("reserved_count", "reserved_by"), ("completed_count", "completed_by")):
        wanted[column] = None if values[source] is None else len(values[source])
    for column, end in (("latency_s", "end_time"), ("first_token_s", "first_token_time")):
        begun, ended = values["start_time"], values[end]
        wanted[column] = (ended - begun) // timedelta(microseconds=1) / 1e6 if begun and ended else None
    extra = values["extra"] or {}
    wanted["model"] = _text(extra, "metadata", "ls_model_name") or _text(extra, "invocation_params", "model")
    wanted["model"] = wanted["model"] or _text(extra, "invocation_params", "model_name")
    wanted["provider"] = _text(extra, "metadata", "ls_provider")
    return wanted


def unknown(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the fields of a row that the document does not name and that are kept."""
    return {name: value for name, value in row.items() if name not in FIELDS and name not in NOT_KEPT} or None


def parsed(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the table with its JSON columns parsed, as `expected` gives them."""
    columns = {name for name in FIELDS if name != "share_token" and is_json(name)} | {"unmapped"}
    return {
        name: json.loads(value, parse_float=Decimal) if name in columns and value is not None else value
        for name, value in stored.items()
    }


def _text(extra: Any, place: str, name: str) -> str | None:
    inside = extra.get(place) if isinstance(extra, dict) else None
    value = inside.get(name) if isinstance(inside, dict) else None
    return value if isinstance(value, str) else None


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in URL_FIELDS:
        return without_queries(value)
    if name in COSTS:
        return {key: Decimal(v) for key, v in value.items()} if isinstance(value, dict) else Decimal(value)
    if shape(name).get("format") == "date-time":
        return moment(value)
    return value


def without_queries(value: Any) -> Any:
    """Return a JSON value in which every URL has lost its query, relative ones with a token as well."""
    if isinstance(value, dict):
        return {key: without_queries(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [without_queries(inside) for inside in value]
    signed = isinstance(value, str) and ("://" in value or value.startswith("/api/"))
    return value.partition("?")[0] if signed else value
