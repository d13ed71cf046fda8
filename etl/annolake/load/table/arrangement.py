"""How the tables of a lake are arranged, plain folders or Delta tables: fixed when the lake is made, and recorded.

Owns `_annolake/lake.json`. Where that is missing, what lies in the lake tells.
"""

from typing import Literal

import msgspec

from annolake.errors import ConfigError, LakeError
from annolake.load.storage.files import Files, Location, MissingError

Arrangement = Literal["parquet", "delta"]

_LAYOUT = 1
_LOG = "_delta_log"


class LakeRecord(msgspec.Struct, frozen=True):
    """What `lake.json` says: `layout` is the version of how a lake is laid out."""

    format: Arrangement
    layout: int = _LAYOUT

    def as_json(self) -> bytes:
        """Return the file's content."""
        return msgspec.json.encode(self) + b"\n"


def arrangement_of(
    files: Files, root: Location, record: Location, *, wanted: Arrangement | None, usual: Arrangement
) -> Arrangement:
    """Return how the lake in `root` is arranged; a new one as `wanted`, else as is `usual` in such a place.

    Raises ConfigError where it is not as `wanted`, LakeError where the record can't be read or trusted.
    """
    there = recorded(files, record) or _found(files, root)
    if there is None:
        return wanted or usual
    if wanted not in (None, there):
        raise ConfigError(
            f'lake.format: the lake {root} is "{there}", not "{wanted}", and stays so: '
            "leave the setting empty, or export to another path"
        )
    return there


def recorded(files: Files, record: Location) -> Arrangement | None:
    """Return what the record says, None where there is none. Raises LakeError where it can't be read or trusted."""
    try:
        found = msgspec.json.decode(files.read(record), type=LakeRecord)
    except MissingError:
        return None
    except (msgspec.DecodeError, RecursionError):
        raise LakeError(f"cannot read {record}: it is no record of a lake; remove it, then run again") from None
    if found.layout > _LAYOUT:
        raise LakeError(f"cannot read {record.parent.parent}: a newer annolake made this lake; upgrade, then run again")
    return found.format


def _found(files: Files, root: Location) -> Arrangement | None:
    names = files.names(root / "runs")
    if _LOG in names:
        return "delta"
    return "parquet" if names else None
