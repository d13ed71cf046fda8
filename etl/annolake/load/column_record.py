"""Which settings of [columns] every row of a lake obeys, as recorded in `_annolake/columns.json` (docs/privacy.md).

Owns that file, and what is said where the settings of now are others. The record is no more than what is true of all
rows: an export that obeys less takes away from it, and only a rewriting of all rows adds to it.
"""

from collections.abc import Collection

import msgspec

from annolake.columns.rules import ColumnRules
from annolake.errors import LakeError
from annolake.load.lake import Lake
from annolake.load.place import OWN
from annolake.load.storage.files import Location, MissingError
from annolake.load.storage.scratch import Workspace

_VERSION = 1
_SEVERAL = "several"


class ColumnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What every row obeys: columns as `table.column`. `key_check` tells the key of pseudonyms from others."""

    record_version: int = _VERSION
    exclude: tuple[str, ...] = ()
    pseudonymize: tuple[str, ...] = ()
    key_check: str | None = None

    @classmethod
    def of(cls, rules: ColumnRules) -> "ColumnRecord":
        """Return what rows obey that are written by these rules."""
        return cls(
            exclude=tuple(sorted(rules.exclude)),
            pseudonymize=tuple(sorted(rules.pseudonymize)),
            key_check=rules.key_check,
        )

    def beside(self, rules: ColumnRules) -> "ColumnRecord":
        """Return what rows of this record and rows that are written by the rules obey together."""
        both = tuple(sorted(rules.pseudonymize.intersection(self.pseudonymize)))
        key = self.key_check if self.key_check == rules.key_check else _SEVERAL
        return ColumnRecord(
            exclude=tuple(sorted(rules.exclude.intersection(self.exclude))),
            pseudonymize=both,
            key_check=key if both else None,
        )


def difference(lake: Lake, rules: ColumnRules) -> str | None:
    """Say, in a sentence, what rows of the lake obey otherwise than the rules want; None where they do not differ.

    Of the key nothing is said where it is not at hand. Raises LakeError where the record can't be read.
    """
    record = read_record(lake)
    if (not rules and record is None) or not lake.queues_named():
        return None
    return _difference(record or ColumnRecord(), rules)


def _difference(record: ColumnRecord, rules: ColumnRules) -> str | None:
    more, fewer = rules.exclude.difference(record.exclude), set(record.exclude) - rules.exclude
    hidden, shown = rules.pseudonymize.difference(record.pseudonymize), set(record.pseudonymize) - rules.pseudonymize
    known = rules.key_check is not None and record.key_check is not None
    other_key = known and rules.key_check != record.key_check and rules.pseudonymize.intersection(record.pseudonymize)
    told = []
    if more or hidden:
        wanted = " and ".join(filter(None, [_said("leaves out", more), _said("pseudonymizes", hidden)]))
        told.append(
            f"[columns] {wanted}, and rows in the lake may still hold these values: `annolake rewrite` removes them"
        )
    if other_key:
        told.append(
            "the key of pseudonyms is another one than that of rows in the lake, so that one person has several: set "
            "the key of before, or have `annolake rewrite` replace the old ones"
        )
    if fewer or shown:
        lifted = " and ".join(filter(None, [_said("leaves out", fewer), _said("pseudonymizes", shown)]))
        told.append(f"[columns] no longer {lifted}: the values come with each row that is read again")
    return "; ".join(told) or None


def _said(verb: str, columns: Collection[str]) -> str | None:
    return f"{verb} {', '.join(sorted(columns))}" if columns else None


def begin(lake: Lake, workspace: Workspace, rules: ColumnRules) -> str | None:
    """Have the record be true of rows that are written by the rules from now on; return what `difference` says."""
    record = read_record(lake)
    if not rules and record is None:
        return None
    if not lake.queues_named():
        write_record(lake, workspace, ColumnRecord.of(rules))
        return None
    record = record or ColumnRecord()
    if (together := record.beside(rules)) != record:
        write_record(lake, workspace, together)
    return _difference(record, rules)


def read_record(lake: Lake) -> ColumnRecord | None:
    """Return the record; None where there is none. Raises LakeError where it can't be read."""
    path = _path(lake)
    try:
        record = msgspec.json.decode(lake.files.read(path), type=ColumnRecord)
    except MissingError:
        return None
    except (msgspec.DecodeError, RecursionError):
        raise LakeError(
            f"cannot read {path}: it is no record of columns; remove it, then run annolake rewrite"
        ) from None
    if record.record_version > _VERSION:
        raise LakeError(f"cannot read {path}: a newer annolake wrote it; upgrade, then run again")
    return record


def write_record(lake: Lake, workspace: Workspace, record: ColumnRecord) -> None:
    """Put the record in the place of what was. Raises LakeError."""
    if record != read_record(lake):
        workspace.put(lake.files, _path(lake), msgspec.json.encode(record) + b"\n")


def _path(lake: Lake) -> Location:
    return lake.root / OWN / "columns.json"
