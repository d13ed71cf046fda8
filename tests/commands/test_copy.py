"""`annolake copy`: the values of the lake in a flat file, exact, whole or not there."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from annolake import contract
from annolake.commands import copy
from annolake.config import load_lake_config
from annolake.flat_rows import flat_schema, write_rows
from annolake.load.table.part_file import PartReader
from annolake.sandbox import Population, Sandbox
from annolake.wiring import open_lake
from exporting import ROWS_ALONE, annolake, export_once

TABLES = {"runs": "queue_run_id", "feedback": "id", "turns": "trace_id", "queues": "name"}
FORMULAS = ("=1+1", "+cmd", "-2+3", "@SUM(A1)", " =1", "\t=1", "\uff1d1", "'=1", "-1.5", "a=1", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a lake of odd rows, one of which has left its queue."""
    where = tmp_path_factory.mktemp("copy")
    with Sandbox(Population(rows=150, threads=8, days=6.0), seed=8) as sandbox:
        export_once(sandbox, where, {"source.endpoint": "items"})
        sandbox.queue().delete(sandbox.queue().rows("archived")[0].id)
        assert export_once(sandbox, where, {"source.endpoint": "items"}).queues[0].removed == 1
        yield where


def in_lake(folder: Path, table: str) -> list[dict[str, Any]]:
    """Return the live rows of a table in order, as polars reads them."""
    where = folder / "lake" / table
    lazy = pl.scan_delta(where) if (where / "_delta_log").exists() else pl.scan_parquet(where, hive_partitioning=True)
    frame = lazy.collect().sort(TABLES[table])
    return [row for row in frame.to_dicts() if row.get("removed_at") is None]


def as_copied(value: Any) -> Any:
    """Return a value of the lake as NDJSON is to have it, once what is JSON text in it was parsed."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: as_copied(each) for key, each in value.items()}
    return value if not isinstance(value, Decimal) else f"{value:f}".rstrip("0").rstrip(".")


@pytest.mark.parametrize("table", TABLES)
def test_all_three_formats_have_each_value_of_the_lake(folder: Path, table: str) -> None:
    """Lists, maps and objects as JSON text, decimals exact, times in UTC; all but hashes, and the queue's name."""
    declared = next(each for each in contract.TABLES if each.name == table)
    nested = {each.name for each in declared.column if each.type.startswith(("list", "map"))}
    hashes = {each.name for each in declared.column if each.type.startswith("fixed")}
    for kind in ("ndjson", "csv", "parquet"):
        ran = annolake("copy", table, "--out", f"{table}.{kind}", cwd=folder)
        assert (ran.exit_code, ran.out) == (0, ""), ran.err

    stored = in_lake(folder, table)
    (name,) = {row["name"] for row in in_lake(folder, "queues")}
    lines = (folder / f"{table}.ndjson").read_text().split("\n")[:-1]
    copied = sorted(map(json.loads, lines), key=lambda row: str(row[TABLES[table]]))
    assert len(copied) == len(stored) > 0
    for row, true in zip(copied, stored, strict=True):
        columns = true.keys() - hashes
        assert row.keys() == columns | (set() if table == "queues" else {"queue_name"})
        assert row.pop("queue_name", name) == name
        parsed = {key: json.loads(value) if key in nested and value else value for key, value in row.items()}
        empty = {key for key in nested if true[key] == [] and parsed[key] in ([], {})}
        assert {key: as_copied(true[key]) for key in columns - empty} == {key: parsed[key] for key in columns - empty}

    rows = [json.loads(line, parse_float=str, parse_int=str) for line in lines]
    text = (folder / f"{table}.csv").read_bytes().decode()
    told = list(csv.DictReader(io.StringIO(text, newline="")))
    assert told == [{key: as_cell(value) for key, value in row.items()} for row in rows]
    assert pl.read_csv(io.StringIO(text), infer_schema=False).null_count().row(0) == pl.DataFrame(
        rows, infer_schema_length=None
    ).null_count().row(0), "an empty text is not null"

    frame = pl.read_parquet(folder / f"{table}.parquet")
    assert [{key: as_copied(value) for key, value in row.items()} for row in frame.to_dicts()] == [
        *map(json.loads, lines)
    ]
    assert {kind for kind in frame.dtypes if kind.is_nested()} == set()
    assert "total_cost" not in frame or frame.schema["total_cost"] == pl.Decimal(38, 18)


def as_cell(value: Any) -> str:
    """Return a value of NDJSON as CSV has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def test_rows_that_left_are_left_out_and_counted_unless_all_are_asked_for(folder: Path) -> None:
    """What is copied is what the queue holds; the sentence goes to standard error, beside rows on standard output."""
    live = annolake("copy", "runs", "--format", "ndjson", "--out", "-", cwd=folder)
    whole = annolake("copy", "runs", "--format", "ndjson", "--out", "-", "--all", cwd=folder)

    rows = [json.loads(line) for line in whole.out.split("\n")[:-1]]
    assert [row for row in rows if row["removed_at"] is None] == [
        json.loads(line) for line in live.out.split("\n")[:-1]
    ]
    assert len([row for row in rows if row["removed_at"]]) == 1
    assert (
        live.err
        == f"runs: {len(rows) - 1} rows copied to standard output; 1 removed row left out (--all copies them too)\n"
    )
    assert whole.err == f"runs: {len(rows)} rows copied to standard output\n"


def test_one_queue_by_its_name(folder: Path) -> None:
    """`--queue` is what it is elsewhere, "all" included."""
    (queue,) = in_lake(folder, "queues")
    mine, whole = (
        annolake("copy", "queues", "--format", "csv", "--out", "-", "--queue", name, cwd=folder)
        for name in (queue["name"], "all")
    )

    assert len([*csv.reader(io.StringIO(mine.out))]) == 2
    assert whole.out == mine.out


@pytest.mark.parametrize("queue", ["00000000-0000-0000-0000-000000000000", "support"])
def test_a_queue_that_the_lake_has_not_replaces_no_copy(folder: Path, queue: str) -> None:
    """A mistyped id is refused as a mistyped name is, before anything is written."""
    (folder / "good.csv").write_text("good")
    ran = annolake("copy", "runs", "--out", "good.csv", "--force", "--queue", queue, cwd=folder)

    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.err.startswith("annolake: the lake has no")
    assert (folder / "good.csv").read_text() == "good"


def test_a_name_of_standard_output_is_no_file(folder: Path) -> None:
    """Where it is a pipe, which has no place: it is said how standard output is meant."""
    named = [sys.executable, "-m", "annolake", "copy", "runs", "--format", "csv", "--force", "--out", "/dev/stdout"]
    ran = subprocess.run(named, cwd=folder, capture_output=True, text=True, check=False)

    said = "annolake: /dev/stdout is not a file: name one, or write - for standard output\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", said)


WRONG = {
    "taken": (
        ["--out", "taken.csv"],
        2,
        "taken.csv is there already: name another file, or give --force to replace it",
    ),
    "a folder": (["--out", "dir.csv", "--force"], 2, "dir.csv is not a file: name one, or write - for standard output"),
    "in the lake": (["--out", "lake/runs/x.csv"], 2, "lake/runs/x.csv is in the lake"),
    "no folder": (["--out", "missing/x.csv"], 5, "cannot write missing/x.csv: No such file or directory"),
    "no format": (["--out", "x.xlsx"], 2, "the format of x.xlsx is not known: give --format csv, ndjson, parquet"),
    "no format of -": (["--out", "-"], 2, "the format of - is not known"),
    "not for it": (["--out", "x.parquet", "--spreadsheet"], 2, "--spreadsheet is for CSV, and the format is parquet"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_written_is_said_and_changes_nothing(folder: Path, case: str) -> None:
    """One sentence, the exit code, no file."""
    options, exit_code, said = WRONG[case]
    (folder / "taken.csv").write_text("mine")
    (folder / "dir.csv").mkdir(exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    ran = annolake("copy", "queues", *options, cwd=folder)

    assert (ran.exit_code, ran.out) == (exit_code, "")
    assert ran.err.startswith(f"annolake: {said}")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_copy_that_fails_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --force a file is replaced by a whole one, in one step, or not at all; a link stays a link."""
    there = folder / "kept.csv"
    there.write_text("old")
    (folder / "link.csv").symlink_to(there)
    opened: list[int] = []
    read = PartReader.row_group

    def broken(self: PartReader, number: int, names: Any = None) -> pa.Table:
        opened.append(number)
        if len(opened) == 4:
            raise KeyboardInterrupt
        return read(self, number, names)

    with monkeypatch.context() as patched:
        patched.setattr(PartReader, "row_group", broken)
        failed = annolake("copy", "runs", "--out", "kept.csv", "--force", cwd=folder)
    assert (failed.exit_code, there.read_text()) == (130, "old")
    assert not [*folder.glob(".kept*")]

    assert annolake("copy", "runs", "--out", "link.csv", "--force", cwd=folder).exit_code == 0
    assert (folder / "link.csv").is_symlink()
    assert there.read_text().startswith("queue_id,queue_name,queue_run_id")


def test_a_copy_of_a_delta_lake_is_of_one_version(tmp_path: Path) -> None:
    """An export that publishes the whole queue anew meanwhile changes nothing in what is being copied."""
    settings = {**ROWS_ALONE, "lake.format": "delta"}
    with Sandbox(Population(rows=60, days=4.0), seed=3) as sandbox:
        export_once(sandbox, tmp_path, settings)
        before = {row["queue_run_id"]: row["exported_at"] for row in in_lake(tmp_path, "runs")}
        readers = (
            open_lake(load_lake_config(tmp_path / "annolake.toml", {}), {}).table("runs").readers(sandbox.queue().id)
        )
        met = [next(readers)[1].row_group(0)]
        for row in sandbox.queue().rows("active"):
            sandbox.queue().edit(row.id, last_reviewed_time="2026-11-25T10:00:00Z")
        assert export_once(sandbox, tmp_path, settings).queues[0].updated > 30
        met += [reader.row_group(0) for _, reader in readers]

    rows = [row for table in met for row in table.to_pylist()]
    assert {row["queue_run_id"]: row["exported_at"] for row in rows} == before
    assert len(rows) == 60


def test_a_reader_that_goes_ends_the_copy(folder: Path) -> None:
    """`annolake copy ... --out - | head` is no error, and Parquet goes through a pipe."""
    line = f"{sys.executable} -m annolake copy runs --format ndjson --out - | head -n 1"
    first = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=folder, capture_output=True, text=True, check=False
    )
    piped = [sys.executable, "-m", "annolake", "copy", "runs", "--format", "parquet", "--out", "-"]
    whole = subprocess.run(piped, cwd=folder, capture_output=True, check=True)

    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["queue_name"]
    assert pl.read_parquet(io.BytesIO(whole.stdout)).height == len(in_lake(folder, "runs"))


def test_what_was_not_written_is_not_said_to_be_copied(folder: Path) -> None:
    """A disk that is full is one sentence."""
    line = f"{sys.executable} -m annolake copy queues --format csv --out - > /dev/full"
    full = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False)

    assert (full.returncode, full.stderr.count("\n")) == (5, 1)
    assert full.stderr.startswith("annolake: cannot write standard output: ")


@pytest.mark.parametrize("spreadsheet", [False, True])
def test_cells_that_a_spreadsheet_would_compute(spreadsheet: bool) -> None:
    """They are counted, and copied exactly; with --spreadsheet they begin with an apostrophe. Numbers never do."""
    table = pa.table(
        {"id": [*map(str, range(len(FORMULAS)))], "comment": FORMULAS, "cost": [Decimal(-1)] * len(FORMULAS)}
    )
    sink = io.BytesIO()
    written = write_rows([table], table.schema, sink, kind="csv", spreadsheet=spreadsheet)

    text = sink.getvalue().decode("utf-8-sig" if spreadsheet else "utf-8")
    found = [row["comment"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert written.formulas == 7
    assert found == [f"'{each}" if spreadsheet and place < 7 else each for place, each in enumerate(FORMULAS)]
    assert sink.getvalue().startswith("\ufeff".encode()) is spreadsheet


def test_in_memory_is_one_batch_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is written before more than a batch is read; hashes are not read at all."""
    events: list[str] = []
    read, wrote = PartReader.row_group, copy._Output.write

    def told(self: PartReader, number: int, names: Any = None) -> pa.Table:
        events.append("read")
        return read(self, number, names)

    def telling(self: Any, data: bytes) -> int:
        events.append("write")
        return wrote(self, data)

    monkeypatch.setattr(PartReader, "row_group", told)
    monkeypatch.setattr(copy._Output, "write", telling)
    monkeypatch.setattr(copy, "_BATCH_BYTES", 1)
    assert annolake("copy", "runs", "--format", "csv", "--out", "-", cwd=folder).exit_code == 0

    reads = [place for place, event in enumerate(events) if event == "read"]
    assert len(reads) > 5
    assert all(events[place + 1] == "write" for place in reads[1:-1])
    assert flat_schema(contract.RUNS.schema).names == [
        name for name in contract.RUNS.schema.names if name not in {"row_hash", "item_hash"}
    ]
