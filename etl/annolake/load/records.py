"""The lake's small JSON files: reports of exports, and rows set aside.

Owns their names, their retention and what a report proves. What a report or a reject says is its maker's
business.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

from annolake.errors import LakeError
from annolake.load.storage.files import Files, Location, MissingError
from annolake.load.storage.scratch import Workspace

_JSON = ".json"
_NEVER = "99991231T235959"
_PLAIN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")


class PastExport(msgspec.Struct, frozen=True):
    """One queue's entry in the report of an earlier export, and that report's own head."""

    report: Mapping[str, Any]
    entry: Mapping[str, Any]
    started_at: datetime

    @property
    def newest_added_at(self) -> datetime | None:
        """The latest added_at that the export met, None where there was none."""
        return time_from(self.entry.get("newest_added_at"))

    @property
    def proves_full(self) -> bool:
        """Whether this was a complete full export of both lists, unfiltered: the ground of `--new-only`."""
        return self.entry.get("mode") == "full" and self.proves_complete

    @property
    def proves_complete(self) -> bool:
        """Whether the export showed what its mode promises, of the queue's unfiltered lists (docs/lake.md#reports)."""
        return self.entry.get("complete") is True and not self.entry.get("filtered", False)

    @property
    def is_good(self) -> bool:
        """Whether the export was complete and published, and nothing was newly missing: known rejects may be."""
        return self.entry.get("complete") is True and self.entry.get("status") == "ok"


class Reports:
    """The reports under `_annolake/reports`: `keep` of them, and each queue's last proof and last good export."""

    def __init__(self, files: Files, folder: Location, *, keep: int) -> None:
        self._files, self._folder, self._keep = files, folder, keep

    def write(self, report: Mapping[str, Any], workspace: Workspace) -> Location:
        """Write a report, by way of the workspace, in the place of its last form; return where it is.

        When the export has finished, the reports that are too many are forgotten.
        """
        started = re.sub("[^0-9A-Za-z]", "", str(report["started_at"]))
        name = f"{started}-{report['export_id']}{_JSON}"
        workspace.put(self._files, self._folder / name, _text(report))
        if report.get("state") != "running":
            self._forget(time_from(report.get("finished_at")) or time_from(report["started_at"]))
        return self._folder / name

    def forget(self, queue_id: str, workspace: Workspace) -> None:
        """Take what reports say of a queue out of them. Raises LakeError."""
        for name in self._names():
            report = _get(self._files, self._folder / name) or {}
            entries = report.get("queues")
            if any(past.entry.get("queue_id") == queue_id for past in _pasts(report)) and isinstance(entries, list):
                others = [
                    entry for entry in entries if not isinstance(entry, dict) or entry.get("queue_id") != queue_id
                ]
                workspace.put(self._files, self._folder / name, _text({**report, "queues": others}))

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the reports, the newest first; what can't be understood is as if it were not there."""
        for name in self._names():
            report = _get(self._files, self._folder / name)
            if report is not None:
                yield report

    def pasts(self, *, now: datetime) -> Iterator[PastExport]:
        """Yield what earlier exports reported of their queues, the newest first.

        An export that began later than `now` had a clock that was wrong: it is passed over.
        """
        for report in self.read():
            yield from (past for past in _pasts(report) if past.started_at <= now)

    def of(self, queue_id: str, *, now: datetime) -> Iterator[PastExport]:
        """Yield the same of one queue."""
        return (past for past in self.pasts(now=now) if past.entry.get("queue_id") == queue_id)

    def tells(self, export_id: str, queue_id: str) -> bool:
        """Tell whether an export reported how a queue ended; one whose report was forgotten counts as if it had."""
        for name in self._names():
            if name.endswith(f"-{export_id}{_JSON}"):
                pasts = _pasts(_get(self._files, self._folder / name) or {})
                mine = [past.entry.get("status") for past in pasts if past.entry.get("queue_id") == queue_id]
                return bool(mine) and "running" not in mine
        return True

    def _names(self) -> list[str]:
        return [name for name in reversed(self._files.names(self._folder)) if name.endswith(_JSON)]

    def _forget(self, now: datetime | None) -> None:
        """Remove what is too much; a report of a time to come counts as older than any other."""
        present = f"{now.astimezone(UTC):%Y%m%dT%H%M%S}" if now else _NEVER
        names = sorted(self._names(), key=lambda name: name[: len(present)] > present)
        for place in range(self._keep, len(names)):
            needed = self._needed(names[place])
            for newer in names[:place] if needed else ():
                needed -= self._needed(newer)
                if not needed:
                    break
            if not needed:
                with suppress(LakeError):
                    self._files.remove(self._folder / names[place])

    def _needed(self, name: str) -> set[tuple[str, str]]:
        """Return what a report is kept for: the queues that it proves a full export of, and those it is good for."""
        pasts = _pasts(_get(self._files, self._folder / name) or {})
        return {(str(past.entry.get("queue_id")), "full") for past in pasts if past.proves_full} | {
            (str(past.entry.get("queue_id")), "good") for past in pasts if past.is_good
        }


class Rejects:
    """The rows of one queue in one table that were set aside, one file each, named by row or content.

    What an export changes is staged in the workspace; `commit` puts it in place (docs/lake.md#rejects).
    """

    def __init__(self, files: Files, folder: Location, aside: Workspace) -> None:
        self._files, self._folder, self._local, self._aside = files, folder, aside.local, aside.folder
        self._local.remove(self._aside)  # where it was read over another endpoint before
        self._known = set(reject_files(files, folder))
        self._staged: set[str] = set()
        self._unwanted: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The names of the rejects as they will be after `commit`: a row's id, or what stands for the content."""
        return sorted(name.removesuffix(_JSON) for name in (self._known - self._unwanted) | self._staged)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the reject of that key, staged or known, None where there is none that can be read.

        One that is to be removed counts as known until it is.
        """
        return next(self.all([key]))

    def all(self, keys: Iterable[str]) -> Iterator[dict[str, Any] | None]:
        """Yield the same of many keys, each as it is when it is yielded."""
        names = [_file_name(key) for key in keys]
        for name, known in zip(names, self._files.map(self._known_one, names), strict=True):
            yield _get(self._local, self._aside / name) if name in self._staged else known

    def _known_one(self, name: str) -> dict[str, Any] | None:
        return _get(self._files, self._folder / name) if name in self._known else None

    def put(self, key: str, reject: Mapping[str, Any]) -> None:
        """Set a row aside, in the place of an earlier reject of that key."""
        name = _file_name(key)
        if not self._staged:
            self._local.make_folder(self._aside)
        self._local.write(self._aside / name, _text(reject))
        self._staged.add(name)
        self._unwanted.discard(name)

    def keep(self, key: str) -> None:
        """Leave a reject as it is: its row was met again, and rejected for the same reason."""
        self._unwanted.discard(_file_name(key))

    def remove(self, key: str) -> None:
        """Forget a reject, of a row that was accepted since."""
        name = _file_name(key)
        if name in self._staged:
            self._local.remove(self._aside / name)
            self._staged.discard(name)
        if name in self._known:
            self._unwanted.add(name)

    def commit(self) -> None:
        """Put what was staged in place, and remove what is to be removed: from now on the lake knows it."""
        if self._staged:
            self._files.prepare(self._folder)
        list(self._files.map(self._put_in_place, sorted(self._staged)))
        list(self._files.map(lambda name: self._files.remove(self._folder / name), sorted(self._unwanted)))
        self._known = (self._known - self._unwanted) | self._staged
        self._staged, self._unwanted = set(), set()

    def _put_in_place(self, name: str) -> None:
        self._files.put(self._aside / name, self._folder / name, flush=False)


class KeptReject(msgspec.Struct, frozen=True):
    """A reject of a table as the lake has it: its file, and what that says, None where it cannot be read."""

    table: str
    file: Location
    record: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """What the file is named by: the id of the row, or a digest."""
        return self.file.name.removesuffix(_JSON)


def reject_files(files: Files, folder: Location) -> list[str]:
    """Return the names of the rejects' files in a queue's folder; none where there is no folder."""
    return [name for name in files.names(folder) if name.endswith(_JSON)]


def read_rejects(files: Files, folder: Location, table: str) -> Iterator[KeptReject]:
    """Yield the rejects of a queue's folder, needing no lock: one that is removed meanwhile is passed over."""

    def read(name: str) -> KeptReject | None:
        try:
            record = _parsed(files.read(folder / name))
        except MissingError:
            return None
        except LakeError:  # a pipe, a folder, a file of another user
            record = None
        return KeptReject(table, folder / name, record)

    yield from filter(None, files.map(read, reject_files(files, folder)))


def _pasts(report: Mapping[str, Any]) -> list[PastExport]:
    queues, started = report.get("queues"), time_from(report.get("started_at"))
    if not isinstance(queues, list) or started is None:
        return []
    return [PastExport(report, entry, started) for entry in queues if isinstance(entry, dict)]


def _file_name(key: str) -> str:
    """Return a name that is safe in any folder: an id of another form is hashed, it may hold anything."""
    plain = key if _PLAIN.fullmatch(key) else blake2b(key.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return plain + _JSON


def time_from(text: object) -> datetime | None:
    """Return a time of a report, None where it can't be understood."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(record: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair
        return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode(errors="backslashreplace")


def _get(files: Files, path: Location) -> dict[str, Any] | None:
    try:
        return _parsed(files.read(path))
    except MissingError:
        return None


def _parsed(text: bytes) -> dict[str, Any] | None:
    """Return the object that a file holds, None where it holds none: cut off, empty, or written by another program."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
