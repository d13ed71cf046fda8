"""Which columns the settings leave out of the lake or pseudonymize, by table (docs/privacy.md).

Owns which columns can be named there, why others cannot, and what goes with one that is named. Knows no values.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cached_property

import msgspec

from annolake.columns.pseudonyms import Pseudonyms
from annolake.contract import TABLES, Column, Table

PEOPLE = (
    "runs.reserved_by",
    "runs.completed_by",
    "runs.assigned_to",
    "feedback.user_id",
    "feedback.ls_user_id",
    "queues.assigned_reviewers",
)
"""The columns that hold ids of people."""

UNMAPPED = "unmapped"
"""The column of fields that the contract does not name: nobody knows what they hold."""

_TABLES = {table.name: table for table in TABLES}
_RUNS = "runs"
_AUTHOR = frozenset({"feedback.user_id", "feedback.ls_user_id"})
_NAMES = {"feedback": frozenset({"user_name"})}
"""Columns with the names of people, beside ids that are pseudonymized."""

_REPEATED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "runs": {"inputs": ("inputs_preview", "messages"), "outputs": ("outputs_preview", "messages")},
    "turns": {"inputs": ("inputs_preview",), "outputs": ("outputs_preview",)},
}
"""Columns that repeat what is in another one, be it in part."""

_KEPT_FROM = "extra"  # model and provider stay where it is left out: each can be named itself

_GOES_BY_TIME = "the partitions go by it"
_GOES_BY_REMOVAL = "it tells which rows have left"
_ASKED_BY = "the service is asked by it for runs, feedback and turns"
_SORTED_BY = "the service may sort its lists by it, and they are known to be whole by that"
_WHEN_DUE = "it tells when a run is to be asked for again"
_NEEDED = {
    "runs.added_at": _GOES_BY_TIME,
    "runs.removed_at": _GOES_BY_REMOVAL,
    "runs.run_found": _WHEN_DUE,
    "runs.item_hash": _WHEN_DUE,
    "runs.start_time": _WHEN_DUE,
    "runs.end_time": _WHEN_DUE,
    "runs.effective_added_at": _SORTED_BY,
    "runs.last_queued_at": _SORTED_BY,
    "runs.last_reviewed_time": _SORTED_BY,
    "runs.id": _ASKED_BY,
    "runs.trace_id": _ASKED_BY,
    "runs.session_id": _ASKED_BY,
    "runs.thread_id": _ASKED_BY,
    "feedback.run_id": "it tells what the feedback is on",
    "feedback.thread_id": "it tells what the feedback is on",
    "feedback.created_at": _GOES_BY_TIME,
    "feedback.modified_at": "it tells which feedback is new",
    "feedback.removed_at": _GOES_BY_REMOVAL,
    "turns.added_at": _GOES_BY_TIME,
    "turns.removed_at": _GOES_BY_REMOVAL,
    "queues.name": "queues are told apart by it",
}
_PARTITIONS = {"queue_id", *(table.partition for table in TABLES if table.partition)}


class ColumnNameError(ValueError):
    """A name that cannot stand there: `why` says it in the second half of a sentence."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name, self.why = name, why


def excludable(name: str) -> str:
    """Return a column that can be left out as `table.column`. Raises ColumnNameError for any other."""
    table, column = _found(name)
    full = f"{table.name}.{column.name}"
    if not column.nullable:
        raise ColumnNameError(name, f"cannot be left out: {_why_never_null(table, column)}")
    if full in _NEEDED:
        raise ColumnNameError(name, f"cannot be left out: {_NEEDED[full]}")
    return full


def pseudonymizable(name: str) -> str:
    """Return a column with ids of people as `table.column`. Raises ColumnNameError for any other."""
    table, column = _found(name)
    full = f"{table.name}.{column.name}"
    if full not in PEOPLE:
        raise ColumnNameError(name, f"holds no ids of people; those that do are {', '.join(PEOPLE)}")
    return full


def _why_never_null(table: Table, column: Column) -> str:
    if column.name in table.key:
        return "it is the key of the row"
    return "exports go by it" if column.kind == "export" else "it is never null"


def _found(name: str) -> tuple[Table, Column]:
    head, _, tail = name.strip().rpartition(".")
    table = _TABLES.get(head or _RUNS)
    if table is None:
        raise ColumnNameError(name, f"names no table of the lake; there are {', '.join(_TABLES)}")
    if tail in _PARTITIONS:
        raise ColumnNameError(name, "cannot be left out: it is the name of a folder")
    column = next((column for column in table.column if column.name == tail), None)
    if column is None:
        known = [_short(each, c.name) for each in _TABLES.values() for c in each.column]
        elsewhere = [name for name in known if name.endswith(f".{tail}")]
        near = elsewhere or difflib.get_close_matches(_short(table, tail), known, n=1)
        hint = f'did you mean "{near[0]}"?' if near else "`annolake schema` lists the columns"
        raise ColumnNameError(name, f"is no column of the table {table.name}; {hint}")
    return table, column


def _short(table: Table, column: str) -> str:
    return column if table.name == _RUNS else f"{table.name}.{column}"


class TableRules(msgspec.Struct, frozen=True, dict=True):
    """What is asked for in one table: columns that are null, and columns of ids that are pseudonymized.

    `excluded` has what goes with a column that is named, too; `names` the columns with names of people.
    """

    table: Table
    excluded: frozenset[str]
    pseudonymized: frozenset[str]
    names: frozenset[str]
    pseudonyms: Pseudonyms | None

    @property
    def nulls(self) -> frozenset[str]:
        """All columns that are null."""
        return self.excluded | self.names

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """The columns of free text, in which the ids and names of the same row are replaced."""
        if not self.pseudonymized:
            return ()
        fixed = {*self.table.key, *self.nulls, *self.pseudonymized, *self.table.owners}
        return tuple(
            column.name
            for column in self.table.column
            if column.type == "string"
            and column.nullable
            and column.name not in fixed
            and f"{self.table.name}.{column.name}" not in _NEEDED
        )


class ColumnRules(msgspec.Struct, frozen=True, dict=True):
    """The settings of [columns], each column as `table.column`; `pseudonyms` where ids are pseudonymized."""

    exclude: frozenset[str] = frozenset()
    pseudonymize: frozenset[str] = frozenset()
    pseudonyms: Pseudonyms | None = None

    @classmethod
    def of(
        cls, exclude: Iterable[str], pseudonymize: Iterable[str], pseudonyms: Pseudonyms | None = None
    ) -> "ColumnRules":
        """Return the rules of settings that were found to be in order. Raises ColumnNameError else."""
        people = {pseudonymizable(name) for name in pseudonymize}
        people |= _AUTHOR if people & _AUTHOR else set()  # one of both would give the other away
        return cls(frozenset(map(excludable, exclude)), frozenset(people), pseudonyms)

    def __bool__(self) -> bool:
        return bool(self.exclude or self.pseudonymize)

    @property
    def key_check(self) -> str | None:
        """What tells two keys apart; None where none is needed, or at hand."""
        return self.pseudonyms.check if self.pseudonyms and self.pseudonymize else None

    @property
    def mark(self) -> str:
        """What tells two settings apart: empty where nothing is asked for."""
        parts = [*(f"-{name}" for name in sorted(self.exclude)), *(f"~{name}" for name in sorted(self.pseudonymize))]
        return " ".join([*parts, *filter(None, [self.key_check])])

    @cached_property
    def tables(self) -> Mapping[str, TableRules]:
        """The rules of each table that has any."""
        found = {name: self._of(table) for name, table in _TABLES.items()}
        return {name: rules for name, rules in found.items() if rules.excluded or rules.pseudonymized}

    def _of(self, table: Table) -> TableRules:
        named = _columns_of(table, self.exclude)
        people = _columns_of(table, self.pseudonymize) - named
        excluded = named | _going_with(table, named)
        if excluded or people:
            excluded |= {UNMAPPED}
        names = _NAMES.get(table.name, frozenset()) if people else frozenset()
        return TableRules(table, excluded, people - excluded, names, self.pseudonyms)


NO_RULES = ColumnRules()


def _columns_of(table: Table, names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.partition(".")[2] for name in names if name.partition(".")[0] == table.name)


def _going_with(table: Table, named: frozenset[str]) -> frozenset[str]:
    """Return the columns that repeat what others hold, or are made from it."""
    repeated = {copy for name in named for copy in _REPEATED.get(table.name, {}).get(name, ())}
    made = {
        column.name
        for column in table.column
        if column.source and (named - {_KEPT_FROM}).intersection(re.findall(r"\w+", column.source))
    }
    return frozenset(repeated | made)
