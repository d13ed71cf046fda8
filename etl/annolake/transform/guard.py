"""What the settings leave out of the lake is taken out of rows and rejects here, before anything is hashed or written.

Owns what becomes of a typed row: columns emptied, ids of people replaced, the same ids and names in the row's other
texts too (docs/privacy.md). A row that comes again with other values in a column that is left out has the same hash.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from annolake.columns.found_names import Found
from annolake.columns.pseudonyms import Pseudonyms
from annolake.columns.rules import UNMAPPED, ColumnRules, TableRules
from annolake.contract import Column
from annolake.keys import KEY_BYTES
from annolake.transform.json_cut import members, split_object
from annolake.transform.json_text import joined
from annolake.transform.row_batch import Reject

_NULL = b"null"
_SOURCE = "feedback_source"
_EXTRA = "extra"
_TOLD = ("metadata", "invocation_params")
_MODEL_NAMES = {"model": ("ls_model_name", "model", "model_name"), "provider": ("ls_provider",)}


class Guard:
    """The rules of one table, for its rows in whatever form an endpoint sends them.

    `nulls` are columns that are null whatever was sent; those in `not_read` need not even be asked for.
    """

    def __init__(self, rules: TableRules) -> None:
        self.nulls = rules.nulls
        self._rules = rules
        columns = {column.name: column for column in rules.table.column}
        self._emptied = [(name, UNSET if columns[name].json else None) for name in sorted(rules.nulls - {UNMAPPED})]
        kept = [column for column in _MODEL_NAMES if column in columns and column not in rules.excluded]
        self._model_names = [name for column in kept for name in _MODEL_NAMES[column]]
        self._keeps_models = _EXTRA in rules.excluded and bool(kept)
        if self._keeps_models:
            self._emptied.remove((_EXTRA, UNSET))
        self.not_read = rules.nulls - ({_EXTRA} if self._keeps_models else set())

    @property
    def _pseudonyms(self) -> Pseudonyms:
        if self._rules.pseudonyms is None:
            raise RuntimeError("ids are to be pseudonymized, and there is no key")
        return self._rules.pseudonyms

    # --- rows

    def row(self, row: Any) -> None:
        """Take out of a typed row what is not to be kept, in place: the columns that it has."""
        found = Found()
        for name in self._rules.pseudonymized:
            if (value := getattr(row, name, None)) is not None:
                setattr(row, name, self._replaced(value, found))
        for name in self._rules.names:
            found.add_name(getattr(row, name, None))
        for name, nothing in self._emptied:
            if hasattr(row, name):
                setattr(row, name, nothing)
        if self._keeps_models and getattr(row, _EXTRA, UNSET) is not UNSET:
            row.extra = _model_names(bytes(row.extra), self._model_names)
        for name in self._rules.searched if found else ():
            value = getattr(row, name, None)
            if isinstance(value, str):
                setattr(row, name, found.replaced(value))
            elif value is not None and value is not UNSET:
                setattr(row, name, Raw(found.replaced_bytes(bytes(value))))

    def elements(self, elements: Iterable[Any]) -> Iterator[Any]:
        """Do the same with what decoding made of a list: rows with their unmapped fields, or rejects."""
        for element in elements:
            if isinstance(element, Reject):
                yield self.reject(element)
            else:
                self.row(element[0])
                yield element[0], None

    def _replaced(self, value: Any, found: Found) -> Any:
        """Return a column's value with pseudonyms: an id, a list of them, or of people."""
        if isinstance(value, str):
            pseudonym = self._pseudonyms.of(value)
            found.add_id(value, pseudonym)
            return pseudonym
        if isinstance(value, list):
            return [self._replaced(each, found) for each in value]
        if value is None:
            return None
        found.add_name(value.name)
        found.add_name(value.email)
        return type(value)(id=self._replaced(value.id, found))

    # --- rejects

    def reject(self, reject: Reject) -> Reject:
        """Return a reject without what is not to be kept, under another key where that stood for its content."""
        text = self.reject_text(reject.text)
        key = reject.key
        if reject.queue_run_id is None:
            key = _digest(text)
        return Reject(key, reject.queue_run_id, reject.path, reject.reason, text)

    def reject_text(self, text: str) -> str:
        """Return the text of a rejected row, of any endpoint, without what is not to be kept.

        Fields that the contract does not name go. Of what is no object nothing is left.
        """
        try:
            pairs = split_object(text.encode(errors="surrogateescape")).pairs
        except (ValueError, RecursionError):
            return "null"
        found = Found()
        kept = [(name, value) for name, raw in pairs if (value := self._member(name, bytes(raw), found)) is not None]
        return found.replaced_bytes(joined(kept)).decode(errors="backslashreplace")

    @staticmethod
    def renamed(name: str, text: str, masked: str) -> str:
        """Return what a reject is called once its text is masked: another name where it stood for the content."""
        return _digest(masked).hex() if name == _digest(text).hex() else name

    def _member(self, name: str, value: bytes, found: Found) -> bytes | None:
        """Return what is kept of a member: None where it goes with its name."""
        if name == _SOURCE and self._rules.table.name == "feedback":
            return self._source(value, found)
        columns = self._places.get(name)
        if columns is None:
            return None
        if self._rules.nulls.intersection(columns):
            if self._rules.names.intersection(columns):
                found.add_name(_read(value))
            return _NULL
        return self._people(value, found) if self._rules.pseudonymized.intersection(columns) else value

    def _source(self, value: bytes, found: Found) -> bytes:
        told = [(name, self._member(f"{_SOURCE}.{name}", each, found)) for name, each in _members(value).items()]
        return joined((name, each) for name, each in told if each is not None)

    def _people(self, value: bytes, found: Found) -> bytes:
        """Return the ids of a member as pseudonyms; null where it does not hold ids."""
        people = _read(value)
        if isinstance(people, str) or (isinstance(people, list) and all(isinstance(each, str) for each in people)):
            return json.dumps(self._replaced(people, found)).encode()
        return _NULL

    @cached_property
    def _places(self) -> Mapping[str, frozenset[str]]:
        """The columns that a member of an answer can be meant for, by its name, over any endpoint."""
        found: dict[str, set[str]] = {}
        for column in self._rules.table.column:
            for name in _names_in_answers(column):
                found.setdefault(name, set()).add(column.name)
        return {name: frozenset(columns) for name, columns in found.items()}


class Guards:
    """The guards of all tables that have rules."""

    def __init__(self, rules: ColumnRules) -> None:
        tables = rules.tables
        self.runs = Guard(tables["runs"]) if "runs" in tables else None
        self.queues = Guard(tables["queues"]) if "queues" in tables else None
        self.turns = Guard(tables["turns"]) if "turns" in tables else None
        self.feedback = Guard(tables["feedback"]) if "feedback" in tables else None
        are_hidden = "runs" in tables and "completed_by" in tables["runs"].pseudonymized
        self._reviewers = rules.pseudonyms if are_hidden else None

    def reviewer(self, person: str) -> str:
        """Return how a person stands among those who have completed a row: in `completed_by` of the table runs."""
        return self._reviewers.of(person) if self._reviewers else person

    def of(self, table: str) -> Guard | None:
        """Return the guard of a table, None where it has no rules."""
        guard: Guard | None = getattr(self, table)
        return guard


NO_GUARDS = Guards(ColumnRules())


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=KEY_BYTES).digest()


def _read(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return None


def _names_in_answers(column: Column) -> Iterator[str]:
    """Yield what a column is called in answers: `SELECT.place` and `run.SELECT.place` come back in the place."""
    yield column.name
    yield from filter(None, (column.runs, column.queue, column.feedback))
    for told in filter(None, (column.items, column.threads)):
        yield told.rpartition(".")[2]


def _model_names(extra: bytes, names: Iterable[str]) -> Any:
    """Return of a run's `extra` the names that stand in some of its fields; nothing where there are none."""
    told = []
    for part, value in sorted(_members(extra).items()):
        there = _members(value) if part in _TOLD else {}
        if kept := [(name, there[name]) for name in names if there.get(name, b"").startswith(b'"')]:
            told.append((part, joined(kept)))
    return Raw(joined(told)) if told else UNSET


def _members(text: bytes) -> Mapping[str, bytes]:
    """Return an object's members by name; none where it is no object."""
    try:
        return {name: bytes(value) for name, value in members(text).items()}
    except (ValueError, RecursionError):
        return {}


def not_read(guard: Guard | None) -> frozenset[str]:
    """Return the columns that need not be asked for."""
    return guard.not_read if guard else frozenset()


def nulls_of(guard: Guard | None) -> frozenset[str]:
    """Return the columns that are null whatever was sent."""
    return guard.nulls if guard else frozenset()
