"""The lake in DuckDB: views as SQL, and a database file that has them.

Owns how DuckDB opens a table, in SQL. Every view names its columns and their types come from the contract, so that a
view stays true when later exports bring files.
"""

import glob
from collections.abc import Iterator
from dataclasses import dataclass

from annolake.contract import ARROW_TYPES, TABLES, Table
from annolake.read.catalogue import VIEWS, duckdb_type
from annolake.read.definitions import DEFINITIONS
from annolake.read.tables import LakeTables
from annolake.web_address import APP_PATH


@dataclass(frozen=True)
class LakeViews:
    """The views of a lake as statements of SQL; `web` is the address of the service's web application, if known."""

    tables: LakeTables
    web: str | None

    def statements(self) -> Iterator[str]:
        """Yield what makes each view, with its comment and those of its columns."""
        relations = {table.name: self._relation(table) for table in TABLES}
        for name, definition in DEFINITIONS.items():
            view = VIEWS[name]
            sql = definition.sql.format(**relations, run_url=self._run_url())
            names = ", ".join(map(_name, view.names))
            yield f"CREATE OR REPLACE VIEW {_name(name)} AS\nSELECT {names}\nFROM (\n{sql}\n)"
            yield f"COMMENT ON VIEW {_name(name)} IS {text(view.description)}"
            for column in view.columns:
                unit = f" ({column.unit})" if column.unit else ""
                yield f"COMMENT ON COLUMN {_name(name)}.{_name(column.name)} IS {text(column.description + unit)}"

    def _run_url(self) -> str:
        if self.web is None:
            return "CAST(NULL AS VARCHAR)"
        return f"{text(self.web)} || nullif(regexp_extract(t.app_path, {text(APP_PATH)}, 1), '')"

    def _relation(self, table: Table) -> str:
        """Return what stands for a table: its columns in order, those that no file has included."""
        schema = {column.name: duckdb_type(ARROW_TYPES[column.type]) for column in table.column}
        partitions = {"queue_id": "VARCHAR"} | ({table.partition: "DATE"} if table.partition else {})
        columns = schema | partitions
        none = ", ".join(f"CAST(NULL AS {type_}) AS {_name(name)}" for name, type_ in columns.items())
        there = self._scan(table.name, partitions)
        union = f" UNION ALL BY NAME SELECT * FROM {there}" if there else ""
        names = ", ".join(map(_name, columns))
        return f"(SELECT {names} FROM (SELECT {none} WHERE false{union}))"

    def _scan(self, name: str, partitions: dict[str, str]) -> str | None:
        """Return DuckDB's call that reads a table; None of a Delta table that there is not yet."""
        folder = str(self.tables.folder(name))
        if self.tables.arrangement == "delta":
            return f"delta_scan({text(folder)})" if self.tables.has_log(name) else None
        pattern = f"{glob.escape(folder)}/**/part-*.parquet"
        types = ", ".join(f"{column}: {type_}" for column, type_ in partitions.items())
        options = f"hive_partitioning = true, hive_types = {{{types}}}, union_by_name = true"
        if not self.tables.files(name):
            options += ", allow_empty = true"
        return f"read_parquet({text(pattern)}, {options})"


def text(value: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def _name(name: str) -> str:
    return f'"{name}"'
