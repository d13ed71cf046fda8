"""Files under the tables' folders that are no files, or not what an export wrote: exit 5 and one sentence, at once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annolake.sandbox import Population, Sandbox
from exporting import annolake, export_once, write_config


def rewrite(path: Path, columns: dict[str, pa.DataType], footer: dict[str, str]) -> None:
    """Write a file again with columns of another type and another footer."""
    file = pq.ParquetFile(path)
    table, metadata = file.read(), dict(file.metadata.metadata)
    kept = {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"annolake.")}
    for name, kind in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, pa.field(name, kind), pa.nulls(table.num_rows, kind))
    with pq.ParquetWriter(path, table.schema, write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(kept | footer)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _other_type(path: Path) -> None:
    rewrite(path, {"unmapped": pa.int64()}, {})


def _other_type_of_a_key(path: Path) -> None:
    rewrite(path, {"row_hash": pa.string()}, {})


def _other_types_in_an_older_version(path: Path) -> None:
    rewrite(path, {"row_hash": pa.string()}, {"annolake.schema_version": "0"})


def _an_older_version_that_does_not_fit(path: Path) -> None:
    rewrite(path, {"metadata" if "queues" in path.parts else "tags": pa.binary(3)}, {"annolake.schema_version": "0"})


def _long_generation(path: Path) -> None:
    rewrite(path, {}, {"annolake.generation": "9" * 5_000})


def _no_digits(path: Path) -> None:
    rewrite(path, {}, {"annolake.generation": "\u00b2"})


SPOILT: dict[str, Callable[[Path], None]] = {
    "pipe": _pipe,
    "device": _device,
    "folder": _folder,
    "type": _other_type,
    "type of a key": _other_type_of_a_key,
    "types of an older version": _other_types_in_an_older_version,
    "older version that does not fit": _an_older_version_that_does_not_fit,
    "long generation": _long_generation,
    "generation in no digits": _no_digits,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake."""
    folder = tmp_path_factory.mktemp("exported")
    with Sandbox(Population(rows=40, odd=False, days=2), seed=2) as sandbox:
        export_once(sandbox, folder)
    return folder


@pytest.mark.parametrize("table", ["runs", "queues"])
@pytest.mark.parametrize("spoil", SPOILT)
def test_a_strange_file_is_told_in_one_sentence(spoil: str, table: str, exported: Path, tmp_path: Path) -> None:
    """Whichever command meets it: neither a traceback nor a wait."""
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    path = next((folder / "lake" / table).rglob("*.parquet"))
    SPOILT[spoil](path)
    with Sandbox(Population(rows=40, odd=False, days=2), seed=2) as sandbox:
        write_config(folder, sandbox)
        runs = [
            annolake("run", "--quiet", *more, key=sandbox.api_key, cwd=folder, environ={"ANNOLAKE_SOURCE__ENDPOINT": e})
            for more, e in (((), "runs"), (("--new-only",), "items"))
        ]
    verify, status = annolake("verify", cwd=folder), annolake("status", cwd=folder)

    assert [ran.exit_code for ran in runs] == [5, 5], runs
    assert all(str(path) in ran.err and len(ran.err.splitlines()) == 1 for ran in runs)
    assert (verify.exit_code, str(path.parent) in verify.out) == (5, True)
    assert status.exit_code in {0, 5}
    assert "Traceback" not in "".join(ran.err for ran in (*runs, verify, status))


@pytest.mark.parametrize("table", ["runs", "feedback"])
def test_a_stray_file_in_a_table_s_folder_stops_an_export(table: str, exported: Path, tmp_path: Path) -> None:
    """Polars refuses the whole folder for it; what readers pass over stops nothing."""
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    stray = folder / "lake" / table / "stray.csv"
    (folder / "lake" / table / "_SUCCESS").touch()
    with Sandbox(Population(rows=40, odd=False, days=2), seed=2) as sandbox:
        write_config(folder, sandbox)
        before = annolake("run", "--quiet", key=sandbox.api_key, cwd=folder)
        stray.write_text("a,b\n1,2\n")
        after = annolake("run", "--quiet", key=sandbox.api_key, cwd=folder)
    status = annolake("status", cwd=folder)

    assert (before.exit_code, after.exit_code, status.exit_code) == (0, 5, 5)
    assert after.err == f"annolake: cannot trust {stray}: only queue_id=... belongs there; move it away\n"
