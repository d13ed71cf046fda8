"""Why a row does not fit: what msgspec raises, and what it does not say, as a place and a reason.

No reason quotes content.
"""

import json
from collections.abc import Mapping

import msgspec

from annolake.transform.json_cut import is_readable
from annolake.transform.row_types import MisfitError


def misfit_of(error: Exception) -> MisfitError | None:
    """Return why a row does not fit, None where looking at its members may show more."""
    if isinstance(error, MisfitError):
        return error
    return misfit_at(error) if isinstance(error, msgspec.ValidationError) and not _is_unknown(error) else None


def misfit_at(error: msgspec.ValidationError) -> MisfitError:
    """Return the misfit that msgspec found."""
    reason, _, path = str(error).partition(" - at `")
    if reason.startswith("Object missing required field `"):
        return MisfitError("$." + reason.split("`")[1], "missing, and required by the contract")
    return MisfitError(path.rstrip("`") or "$", reason)


def _is_unknown(error: msgspec.ValidationError) -> bool:
    return str(error).startswith("Object contains unknown field")


def surrogate_in(known: Mapping[str, bytes]) -> MisfitError:
    """Return the misfit of a row that is JSON, and that msgspec cannot read: where its lone surrogate escape is."""
    name = next((name for name, value in known.items() if not is_readable(value)), None)
    return MisfitError(f"$.{name}" if name else "$", "a lone surrogate escape, which no text can hold")


def check_json(name: str, value: bytes) -> None:
    """Raise MisfitError where a field's value is no JSON (NaN, cut words); lone surrogate escapes are."""
    if is_readable(value):
        return
    try:
        json.loads(value, parse_constant=_refuse_constant)
    except RecursionError:
        raise MisfitError(f"$.{_printable(name)}", "nested too deeply to be read") from None
    except ValueError:
        raise MisfitError(f"$.{_printable(name)}", "not JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _printable(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()[:100]
