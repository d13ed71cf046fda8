"""When a lake is rid of files that no reader needs any more: at the end of an export, at most once a day.

Owns `_annolake/vacuum.json`, which has the time of the last one.
"""

from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from annolake.errors import LakeError
from annolake.load.lake import Lake
from annolake.load.place import OWN
from annolake.load.storage.files import Files, Location
from annolake.load.storage.scratch import Workspace

_EVERY = timedelta(days=1)


class _Mark(msgspec.Struct, frozen=True):
    at: datetime


def vacuum(lake: Lake, workspace: Workspace, *, now: datetime) -> int:
    """Remove old files where the last time is a day ago, or as long as they are kept; return how many.

    Of a lake of plain files nothing is left to be removed.
    """
    if lake.arrangement == "parquet":
        return 0
    mark = lake.root / OWN / "vacuum.json"
    last = _last(lake.files, mark)
    if last is not None and timedelta() <= now - last < min(_EVERY, timedelta(seconds=lake.keep_s)):
        return 0
    removed = sum(lake.table(name).vacuum(alone=lake.is_alone) for name in lake.formats)
    workspace.put(lake.files, mark, msgspec.json.encode(_Mark(now)) + b"\n", flush=False)
    return removed


def _last(files: Files, mark: Location) -> datetime | None:
    with suppress(LakeError, msgspec.DecodeError):
        at = msgspec.json.decode(files.read(mark), type=_Mark).at
        return at if at.tzinfo else None
    return None
