"""What a run used by itself, of what it used together with its descendants.

Owns which runs have descendants and how much of the usage is theirs. The rows of a queue tell both together, as the
runs listing does; the query of runs tells a run's own alone, unless it is asked for all.
"""

import decimal
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from annolake.sandbox.rows import join, members

USAGE = (
    *("total_tokens", "prompt_tokens", "completion_tokens", "prompt_token_details", "completion_token_details"),
    *("total_cost", "prompt_cost", "completion_cost", "prompt_cost_details", "completion_cost_details"),
)
_SHARE = 4  # a run's own part of the whole is a quarter
_exact = decimal.Context(prec=60, rounding=decimal.ROUND_DOWN)

Members = Mapping[str, bytes]


def own(there: Members) -> Members:
    """Return a run's members with its own usage alone: smaller for roots and for runs with children.

    The first token, too, is of a descendant.
    """
    if not _has_descendants(there):
        return there
    alone = {name: _part(there[name]) for name in USAGE if name in there}
    return {**there, **alone, **({"first_token_time": b"null"} if "first_token_time" in there else {})}


def _has_descendants(there: Members) -> bool:
    children = ("child_run_ids", "direct_child_run_ids")
    return _value(there, "parent_run_id") is None or any(_value(there, name) for name in children)


def _value(there: Members, name: str) -> Any:
    return json.loads(there.get(name, b"null"))


def _part(text: bytes) -> bytes:
    value = json.loads(text, parse_float=Decimal)
    if isinstance(value, dict):
        return join({name: _part(member) for name, member in members(text).items()})
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value // _SHARE).encode()
    try:
        quarter = str(_quarter(Decimal(value)))
    except (decimal.InvalidOperation, TypeError, ValueError):  # a planted row's
        return text
    return (json.dumps(quarter) if isinstance(value, str) else quarter).encode()


def _quarter(amount: Decimal) -> Decimal:
    """Return a part of an amount, with as many digits behind the point."""
    return _exact.quantize(_exact.divide(amount, Decimal(_SHARE)), amount)
