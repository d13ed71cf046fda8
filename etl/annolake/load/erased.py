"""What was erased from a lake, remembered in `_annolake/erased.json` so that no export brings it back.

Owns that file. Ids are there as hashes with a key of the lake's own: nobody reads an id from it, but who knows an id
can tell whether it was erased. Rows erased by age are remembered by a date for each queue. Nothing is ever taken out.
"""

import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import msgspec

from annolake.errors import LakeError
from annolake.load.lake import Lake
from annolake.load.place import OWN
from annolake.load.storage.files import Location, MissingError
from annolake.load.storage.scratch import Workspace

_VERSION = 1
_HASH_BYTES = 16
_KEY_BYTES = 32


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says: `runs` and `queues` are hashes, `added_before` has times by the id of a queue.

    `unfinished` has, by a name for each erasure, the queues from which it has not taken out yet what it remembers.
    """

    record_version: int = _VERSION
    key: str
    runs: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    added_before: Mapping[str, datetime] = {}
    unfinished: Mapping[str, tuple[str, ...]] = {}


class Erased:
    """What is remembered, to be asked for single ids, which are compared in lower case."""

    def __init__(self, record: _Record | None) -> None:
        self._record = record or _Record(key="")
        self._key = bytes.fromhex(self._record.key)
        self._runs, self._queues = frozenset(self._record.runs), frozenset(self._record.queues)

    def has_run(self, *ids: str | None) -> bool:
        """Tell whether any of the ids is that of a run, or of a row, that was erased."""
        return bool(self._runs) and any(self._hash(each) in self._runs for each in ids if each)

    def has_queue(self, queue_id: str) -> bool:
        """Tell whether a queue was erased."""
        return bool(self._queues) and self._hash(queue_id) in self._queues

    def is_unfinished(self, queue_id: str) -> bool:
        """Tell whether a queue may still have rows that are remembered: an erasure was cut short, or runs."""
        return any(queue_id in queues for queues in self._record.unfinished.values())

    def beginning(self, erasure: str, queues: Iterable[str]) -> "Erased":
        """Return the same with the queues from which an erasure takes out what is remembered now."""
        unfinished = {**self._record.unfinished, erasure: tuple(queues)}
        return Erased(msgspec.structs.replace(self._record, unfinished=unfinished))

    def finishing(self, queues: Collection[str], erasure: str | None = None) -> "Erased":
        """Return the same once it was taken out of these queues, by one erasure, or by an export for all of them."""
        left = {
            name: tuple(each for each in those if each not in queues) if erasure in {name, None} else those
            for name, those in self._record.unfinished.items()
        }
        return Erased(msgspec.structs.replace(self._record, unfinished={n: q for n, q in left.items() if q}))

    def added_before(self, queue_id: str) -> datetime | None:
        """Return the time before which rows of a queue were added that were erased by age."""
        return self._record.added_before.get(queue_id)

    def has_row(self, queue_id: str, *, queue_run_id: str, id: str | None, added_at: datetime | None) -> bool:  # noqa: A002
        """Tell whether a row of `runs` was erased, by an id or by its age."""
        before = self.added_before(queue_id)
        is_old = before is not None and added_at is not None and added_at < before
        return is_old or self.has_run(queue_run_id, id)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever erased."""
        return not self._key

    def _hash(self, text: str) -> str:
        return hashlib.blake2b(
            text.lower().encode(errors="surrogatepass"), key=self._key, digest_size=_HASH_BYTES
        ).hexdigest()

    def with_more(
        self,
        *,
        runs: Iterable[str] = (),
        queues: Iterable[str] = (),
        added_before: Mapping[str, datetime] | None = None,
    ) -> "Erased":
        """Return the same with more ids, and with later times."""
        if not self._key:
            return Erased(_Record(key=secrets.token_hex(_KEY_BYTES))).with_more(
                runs=runs, queues=queues, added_before=added_before
            )
        record, times = self._record, dict(self._record.added_before)
        for queue_id, time in (added_before or {}).items():
            times[queue_id] = max(time, times.get(queue_id, time))
        return Erased(
            msgspec.structs.replace(
                record,
                runs=self._joined(record.runs, runs),
                queues=self._joined(record.queues, queues),
                added_before=times,
            )
        )

    def _joined(self, hashes: Collection[str], ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted({*hashes, *map(self._hash, ids)}))

    def write(self, lake: Lake, workspace: Workspace) -> None:
        """Put it in the place of what was remembered; under `lake.lock_erasures`. Raises LakeError."""
        workspace.put(lake.files, _path(lake), msgspec.json.encode(self._record) + b"\n")


def read_erased(lake: Lake) -> Erased:
    """Return what is remembered. Raises LakeError where that can't be read: rows would come back."""
    path = _path(lake)
    try:
        record = msgspec.json.decode(lake.files.read(path), type=_Record)
        known = record.record_version <= _VERSION
        return Erased(record) if known else _refuse(path)
    except MissingError:
        return Erased(None)
    except (msgspec.DecodeError, ValueError, RecursionError):
        what = "it is not what was erased, and without it erased rows would come back; restore it"
        raise LakeError(f"cannot read {path}: {what}") from None


def _refuse(path: Location) -> Erased:
    raise LakeError(f"cannot read {path}: a newer annolake wrote it; upgrade, then run again")


def _path(lake: Lake) -> Location:
    return lake.root / OWN / "erased.json"
