"""The lake's views as SQL for DuckDB.

Owns how DuckDB opens a table. Every view names its columns, of the contract's types, and finds the files when it is
asked: it stays true when later exports bring files.
"""

import glob
from collections.abc import Iterator, Mapping
from functools import cached_property
from urllib.parse import urlsplit

import msgspec

from annolake.contract import ARROW_TYPES, TABLES, Table
from annolake.errors import ConfigError
from annolake.read.catalogue import VIEWS, duckdb_type
from annolake.read.definitions import DEFINITIONS
from annolake.read.tables import LakeTables
from annolake.web_address import APP_PATH

_EMPTY_GLOBS = (2,)  # the version of DuckDB that reads a pattern that no file fits yet


class LakeViews(msgspec.Struct, frozen=True, dict=True):
    """The views of a lake as statements of SQL; `web` is the address of the service's web application, if known.

    `version` is the version of DuckDB that they are for.
    """

    tables: LakeTables
    web: str | None
    version: tuple[int, ...] = (2,)

    @property
    def extensions(self) -> list[str]:
        """The extensions of DuckDB that the views need. Raises ConfigError where DuckDB cannot open the place."""
        delta = ["delta"] if self.tables.arrangement == "delta" else []
        if self.tables.is_on_disk:
            return delta
        address = str(self.tables.root)
        if not address.startswith("s3://"):
            raise ConfigError(f"{address}: views are made of lakes on a disk or in S3; annolake.scan reads this one")
        return ["httpfs", "aws", *delta]

    @property
    def secret(self) -> str | None:
        """What gives a session of DuckDB access to the lake's store, by the machine's credentials; None on a disk."""
        if self.tables.is_on_disk:
            return None
        options = self.tables.place.options()
        terms = ["TYPE s3", "PROVIDER credential_chain", f"SCOPE {text(str(self.tables.root))}"]
        return f"CREATE OR REPLACE SECRET annolake ({', '.join([*terms, *_terms(options)])})"

    @cached_property
    def missing(self) -> list[str]:
        """The tables that are not there yet, and cannot be found later: their views stay empty."""
        names = (table.name for table in TABLES)
        if self.tables.arrangement == "delta":
            return [name for name in names if not self.tables.has_log(name)]
        return [] if self.version >= _EMPTY_GLOBS else self._without_files

    @cached_property
    def _without_files(self) -> list[str]:
        return [table.name for table in TABLES if not self.tables.files(table.name)]

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
                unit = f" Unit: {column.unit}." if column.unit else ""
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
        """Return DuckDB's call that reads a table; None of one that is missing."""
        folder = str(self.tables.folder(name))
        if name in self.missing:
            return None
        if self.tables.arrangement == "delta":
            return f"delta_scan({text(folder)})"
        pattern = f"{glob.escape(folder)}/**/part-*.parquet"
        types = ", ".join(f"{column}: {type_}" for column, type_ in partitions.items())
        options = f"hive_partitioning = true, hive_types = {{{types}}}, union_by_name = true"
        if name in self._without_files:
            options += ", allow_empty = true"
        return f"read_parquet({text(pattern)}, {options})"


def text(value: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def _name(name: str) -> str:
    return f'"{name}"'


def _terms(options: Mapping[str, str]) -> Iterator[str]:
    """Yield the terms of a secret that tell where a store is: never what gives access to it."""
    if "region" in options:
        yield f"REGION {text(options['region'])}"
    if "endpoint" in options:
        parts = urlsplit(options["endpoint"])
        yield f"ENDPOINT {text(parts.netloc + parts.path.rstrip('/'))}"
        yield f"USE_SSL {str(parts.scheme != 'http').lower()}"
        hosted = options.get("virtual_hosted_style_request", "").lower() in {"true", "1"}
        yield f"URL_STYLE '{'vhost' if hosted else 'path'}'"
