"""Stored rows as the settings want them now, whatever they were when they were written (docs/privacy.md).

Owns what becomes of rows in Arrow's form: the same as `transform.guard` makes of rows that are read. Doing it twice
changes nothing. A row that is changed loses its hashes, for they were made of what it held: the next export that reads
it writes it anew.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annolake import arrow_compute as pc
from annolake.columns.found_names import Found
from annolake.columns.pseudonyms import Pseudonyms
from annolake.columns.rules import TableRules

_HASH, _ITEM_HASH = "row_hash", "item_hash"
_NO_HASH = bytes(16)

Bools = npt.NDArray[np.bool_]


class Mask:
    """The rules of one table, for stored rows; called with any of its columns."""

    def __init__(self, rules: TableRules) -> None:
        self._rules = rules
        self._json = {column.name for column in rules.table.column if column.json}

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the rows as they may be stored now; the table itself where they are so already."""
        changed = np.zeros(table.num_rows, np.bool_)
        found: dict[int, Found] = {}
        masked = self._pseudonymized(table, found)
        masked = self._emptied(masked, changed, found)
        changed[list(found)] = True
        if not changed.any():
            return table
        masked = self._searched(masked, found)
        if _HASH in masked.column_names:
            masked = _replaced(masked, _HASH, pc.if_else(pa.array(changed), _no_hash(masked), masked.column(_HASH)))
        if _ITEM_HASH in masked.column_names:
            kept = pc.if_else(pa.array(changed), pa.scalar(None, pa.binary(16)), masked.column(_ITEM_HASH))
            masked = _replaced(masked, _ITEM_HASH, kept)
        return masked

    def _emptied(self, table: pa.Table, changed: Bools, found: dict[int, Found]) -> pa.Table:
        for name in self._rules.nulls.intersection(table.column_names):
            column = table.column(name)
            if column.null_count == len(column):
                continue
            changed |= np.asarray(column.is_valid())
            for row, names in found.items() if name in self._rules.names else ():
                names.add_name(column[row].as_py())
            table = _replaced(table, name, pa.nulls(len(column), column.type))
        return table

    def _pseudonymized(self, table: pa.Table, found: dict[int, Found]) -> pa.Table:
        pseudonyms = self._rules.pseudonyms
        for name in self._rules.pseudonymized.intersection(table.column_names):
            column = table.column(name)
            if pseudonyms is None or _is_settled(column, pseudonyms):
                continue
            values = column.to_pylist()
            for row, value in enumerate(values):
                words = Found()
                values[row] = _with_pseudonyms(value, pseudonyms, words)
                if words or values[row] != value:
                    found.setdefault(row, Found()).add_all(words)
            table = _replaced(table, name, pa.array(values, column.type))
        return table

    def _searched(self, table: pa.Table, found: dict[int, Found]) -> pa.Table:
        """Replace the ids and names of a row in its other texts."""
        for name in self._rules.searched if found else ():
            if name not in table.column_names:
                continue
            values = table.column(name).to_pylist()
            before = list(values)
            for row, words in found.items():
                if (text := values[row]) is not None:
                    values[row] = (
                        words.replaced_bytes(text.encode()).decode() if name in self._json else words.replaced(text)
                    )
            if values != before:
                table = _replaced(table, name, pa.array(values, pa.string()))
        return table


def _is_settled(column: pa.ChunkedArray, pseudonyms: Pseudonyms) -> bool:
    """Tell whether a column has pseudonyms alone, and no name."""
    kind = column.type
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        people = [person for people in column.to_pylist() for person in people or () if person]
        return all(
            person["name"] is None and person["email"] is None and _settled(person["id"], pseudonyms)
            for person in people
        )
    ids = pc.list_flatten(column) if pa.types.is_list(kind) else column
    return all(_settled(one, pseudonyms) for one in pc.unique(ids).to_pylist())


def _settled(person: str | None, pseudonyms: Pseudonyms) -> bool:
    return person is None or pseudonyms.of(person) == person


def _with_pseudonyms(value: Any, pseudonyms: Pseudonyms, words: Found) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        pseudonym = pseudonyms.of(value)
        words.add_id(value, pseudonym)
        return pseudonym
    if isinstance(value, list):
        return [_with_pseudonyms(each, pseudonyms, words) for each in value]
    words.add_name(value["name"])
    words.add_name(value["email"])
    return {"id": _with_pseudonyms(value["id"], pseudonyms, words), "name": None, "email": None}


def _no_hash(table: pa.Table) -> pa.Scalar:
    return pa.scalar(_NO_HASH, table.schema.field(_HASH).type)


def _replaced(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), column)
