"""The handle on one Delta table: opened once, moved on, written to. The only module that imports deltalake.

Owns the translation of what deltalake reports, and that on a disk the log is flushed, which deltalake never does.
`history()` and `is_deltatable()` of deltalake hold Python's lock during a request: never used. Knows no queue.
"""

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from annolake.errors import LakeError
from annolake.load.storage.files import Files, Location

T = TypeVar("T")

LOG = "_delta_log"
_LAST_CHECKPOINT = "_last_checkpoint"
_SYSTEM_ERROR = re.compile(r"(?:os error|code:) ([0-9]+)")
_OF_A_DISK = re.compile(r"LocalFileSystem|local directory|Local path")
_READER_VERSION = 1  # with later ones a file can hold rows or columns that the table has not
_UPGRADED = "another program gave the table features that annolake does not know; export to a new lake"
_ATTEMPTS = 3
_MAKE = "make the table"
_REPEATABLE = {"read", "list", _MAKE}  # a table that is there already is no error
_CUT_OFF = re.compile(r"error reading a body|response body")
_REFUSED_VERSION = "Invalid table version"  # so it is told of a store that answers 409, as S3 may beside another
_CONFLICTS = "others write to it each time: run again"
_NO_FOLDER = "Invalid table location"
_DAMAGED = "is damaged or of a kind that annolake does not write; restore it or move the table away, then run again"


class OvertakenError(Exception):
    """Another version of the table came first: nothing was written."""


class UncertainError(Exception):
    """An `error` came, of a write that may have been done."""

    def __init__(self, error: LakeError) -> None:
        super().__init__(str(error))
        self.error = error


class _NoTableError(Exception):
    """There is no table."""


class Entry(msgspec.Struct, frozen=True):
    """A file as an action of the log names it: `path` below the table's folder, `size` in bytes.

    `values` are those of the partition columns as text; `statistics` (JSON) is needed to add a file only.
    """

    path: str
    size: int
    values: Mapping[str, str | None]
    statistics: str = ""


class DeltaHandle:
    """The Delta table in the folder `folder`, for one thread at a time.

    `address` and `options` are what deltalake is given; it is opened anew where the options change, for credentials can
    end before an export. `flush` makes a file or folder last, None where the store does. `table_schema` has the
    partition columns too. Every method raises LakeError where it fails.
    """

    def __init__(
        self,
        files: Files,
        folder: Location,
        *,
        address: str,
        options: Callable[[], Mapping[str, str]],
        table_schema: pa.Schema,
        partition_by: Sequence[str],
        flush: Callable[[Location], None] | None,
    ) -> None:
        self.folder = folder
        self._files, self._address, self._flush = files, address, flush
        self._find_options = options
        self._options: dict[str, str] = {}
        self._schema, self._partition_by = table_schema, list(partition_by)
        self._table: DeltaTable | None = None
        self._flushed = -1

    def refresh(self) -> bool:
        """Move on to the newest version; False where there is no table."""
        options = dict(self._find_options())
        if self._table is not None and options == self._options:
            self._step("read", self._table.update_incremental)
        else:
            self._options = options
            try:
                self._table = self._step("read", lambda: DeltaTable(self._address, storage_options=self._options))
            except _NoTableError:
                return False
            self._flushed = self._table.version()
        if self._table.protocol().min_reader_version > _READER_VERSION:
            raise LakeError(f"cannot read {self.folder}: {_UPGRADED}")
        return True

    def create(self, configuration: Mapping[str, str]) -> None:
        """Make the table, unless another export was first."""
        for attempt in range(_ATTEMPTS):
            try:
                self._step(_MAKE, lambda: self._create(configuration))
                break
            except (LakeError, OvertakenError) as exc:  # an error can come after the deed, of this export or another
                if self.refresh():
                    break
                if isinstance(exc, LakeError):
                    raise
                if attempt == _ATTEMPTS - 1:
                    raise LakeError(f"cannot make the table {self.folder}: {_CONFLICTS}") from exc
        self.flush()

    def _create(self, configuration: Mapping[str, str]) -> None:
        self._table = DeltaTable.create(
            self._address,
            Schema.from_arrow(self._schema),
            mode="ignore",
            partition_by=self._partition_by,
            configuration=dict(configuration),
            storage_options=self._options,
        )

    @property
    def _opened(self) -> DeltaTable:
        if self._table is None:
            raise RuntimeError(f"{self.folder} was not opened")
        return self._table

    @property
    def version(self) -> int:
        """The version of the table that was read last."""
        return self._opened.version()

    def actions(self) -> pa.Table:
        """Return a row for each live file, with its statistics, as deltalake flattens them."""
        return self._step("read", lambda: pa.table(self._opened.get_add_actions(flatten=True)))

    def transaction(self, app: str) -> int | None:
        """Return the version that the last transaction of an application named, None where there was none."""
        return self._step("read", lambda: self._opened.transaction_version(app))

    def write(
        self, adds: Sequence[Entry], removes: Sequence[Entry], *, app: str, number: int, moment_ms: int, note: str
    ) -> None:
        """Add and remove files in one version, by the transaction `number` of an application.

        Raises `OvertakenError` where another version came first, `UncertainError` where only the log can tell.
        """
        actions: list[AddAction | RemoveAction] = []
        actions += [AddAction(e.path, e.size, dict(e.values), moment_ms, True, e.statistics) for e in adds]
        actions += [RemoveAction(e.path, True, moment_ms, e.size, dict(e.values)) for e in removes]
        properties = CommitProperties(
            custom_metadata={"userMetadata": note},
            app_transactions=[Transaction(app, number, moment_ms)],
            max_commit_retries=0,
        )
        schema = Schema.from_arrow(self._schema)
        try:
            self._step(
                "commit to",
                lambda: self._opened.create_write_transaction(
                    actions, "append", schema, self._partition_by, commit_properties=properties
                ),
            )
        except LakeError as exc:
            raise UncertainError(exc) from exc

    def grow(self) -> None:
        """Add the columns that a later schema version brought; the files without them read as null there."""
        there = {field.name: field for field in self._opened.schema().fields}
        wanted = Schema.from_arrow(self._schema).fields
        for field in wanted:
            if field.name in there and there[field.name].type != field.type:
                what = f"its column {field.name} has another type than this annolake gives it"
                raise LakeError(f"cannot commit to {self.folder}: {what}; export to a new lake")
        missing: list[Field] = [field for field in wanted if field.name not in there]
        if missing:
            self._step("add columns to", lambda: self._opened.alter.add_columns(missing))

    def configure(self, wanted: Mapping[str, str]) -> None:
        """Give the table properties that it does not have yet."""
        there = self._opened.metadata().configuration
        missing = {name: value for name, value in wanted.items() if there.get(name) != value}
        if missing:
            self._step("commit to", lambda: self._opened.alter.set_table_properties(missing))

    def unreferenced(self, *, uploads: bool) -> list[str]:
        """Return the files, below the folder, that no version needs that is as old as the table's properties say.

        With `uploads` also those that no version ever had and that are at least as old.
        """
        return self._step("list", lambda: self._opened.vacuum(dry_run=True, full=uploads))

    def flush(self) -> None:
        """Make the versions of the log since it was opened or flushed, with their checkpoints, outlast a power cut."""
        if self._flush is None:
            return
        log = self.folder / LOG
        versions = range(self._flushed + 1, self.version + 1)
        names = [f"{version:020}{kind}" for version in versions for kind in (".json", ".checkpoint.parquet")]
        for name in (*names, _LAST_CHECKPOINT):
            if self._files.exists(log / name):
                self._flush(log / name)
        self._flush(log)
        self._flush(self.folder)
        self._flushed = self.version

    def _step(self, verb: str, call: Callable[[], T]) -> T:
        """Do one thing with the table; what changes nothing is done again where its answer was cut off."""
        wanted = partial(_patiently, call) if verb in _REPEATABLE else call
        return self._files.step(verb, self.folder, lambda: self._translated(verb, wanted))

    def _translated(self, verb: str, call: Callable[[], T]) -> T:
        """Do the call; what deltalake raises becomes an error that `Files` translate, or one of ours.

        Nothing of the foreign text gets out: it can hold addresses, answers and parts of the log.
        """
        try:
            return call()
        except CommitFailedError as exc:
            raise OvertakenError from exc
        except (DeltaError, OSError) as exc:
            if _REFUSED_VERSION in str(exc) and verb == _MAKE:
                raise OvertakenError from exc
            number = _system_error(str(exc))
            if isinstance(exc, TableNotFoundError) and number in (None, errno.ENOENT):
                raise _NoTableError from None
            if number is not None:
                raise OSError(number, os.strerror(number)) from None
            if isinstance(exc, OSError):
                raise
            raise LakeError(f"cannot {verb} {self.folder}: its log, {self.folder / LOG}, {_DAMAGED}") from None


def _patiently(call: Callable[[], T]) -> T:
    """Do again what was cut off while its answer was read, which the client leaves to its callers."""
    for _ in range(_ATTEMPTS):
        try:
            return call()
        except (DeltaError, OSError) as exc:
            if not _CUT_OFF.search(str(exc)):
                raise
    return call()


def _system_error(text: str) -> int | None:
    """Return the number of the system's error where a disk is what failed."""
    if _NO_FOLDER in text:
        return errno.ENOTDIR
    found = _SYSTEM_ERROR.search(text) if _OF_A_DISK.search(text) else None
    return int(found[1]) if found else None
