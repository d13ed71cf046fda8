"""Blocks of docs/lake.md and docs/operating.md do what they say: opening lakes, credentials, lines for cron."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from annolake.help_texts import EXIT_CODES
from annolake.sandbox import Population, Sandbox
from exporting import KEY_VARIABLE, annolake, with_polars, write_config
from object_store import ObjectStore

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CLI = str(Path(sys.executable).with_name("annolake"))

BUCKET_LAKE = "s3://bucket/lake"
"""The address in docs/lake.md."""

OPENED = [("polars", "parquet"), ("polars", "delta"), ("pyarrow", "parquet"), ("pyarrow", "delta")]
"""What opens which format, in the order of the section's blocks; the last block puts pyarrow's before DuckDB."""


def blocks(page: str, language: str, under: str) -> list[str]:
    """Return a page's code blocks in one language, those of the section under a heading."""
    text = (DOCS / page).read_text()
    level = "#" * (len(under) - len(under.lstrip("#")))
    section = text.partition(f"\n{under}\n")[2].partition(f"\n{level} ")[0]
    return [block for kind, block in BLOCK.findall(section) if kind == language]


def run_program(text: str, folder: Path, key: str) -> subprocess.CompletedProcess[str]:
    """Run a program from a file of its own in a folder."""
    (folder / "program.py").write_text(text)
    command = [sys.executable, str(folder / "program.py")]
    environ = {**os.environ, KEY_VARIABLE: key}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120)


def test_a_program_settles_its_process_as_the_page_says(tmp_path: Path) -> None:
    """By the lines alone, as the first ones of a program."""
    (block,) = (each for each in blocks("operating.md", "python", "## Python") if "settle" in each)
    done = run_program(f"{block}\nprint(os.environ['ARROW_DEFAULT_MEMORY_POOL'])", tmp_path, "")

    assert (done.stdout, done.stderr) == ("system\n", "")


@pytest.mark.parametrize("guarded", [True, False])
def test_processes_of_a_program_begin_no_export_of_their_own(guarded: bool, tmp_path: Path) -> None:
    """The page's program exports; without its guard, each process says what is missing, and the lake has one report."""
    (block,) = blocks("operating.md", "python", "## Executors")
    if not guarded:
        block = block.replace('if __name__ == "__main__":', "if True:")
    with Sandbox(Population(rows=1, odd=False, days=2)) as sandbox:
        write_config(tmp_path, sandbox)
        done = run_program(f"{block}    print(report.exit_code)\n", tmp_path, sandbox.api_key)

    assert done.stdout == ("0\n" if guarded else "4\n"), done.stderr
    assert ('have the export begin behind if __name__ == "__main__":' in done.stderr) is not guarded
    assert len(list((tmp_path / "lake/_annolake/reports").iterdir())) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for lakes on the disk."""
    return tmp_path_factory.mktemp("places")


@pytest.fixture(scope="module")
def places(folder: Path, object_store: ObjectStore) -> dict[tuple[str, str], str]:
    """Return where lakes of one queue are, by place and format: two in the folder, two in the store."""
    found = {("disk", "parquet"): "lake", ("disk", "delta"): "lake-delta"}
    found |= {("s3", kind): object_store.address() for kind in ("parquet", "delta")}
    with Sandbox(Population(rows=60, odd=False), seed=12) as sandbox:
        for (_, kind), address in found.items():
            settings = {"source.queues": "all", "lake.path": address, "lake.format": kind}
            config = write_config(folder, sandbox, settings)
            ran = annolake(
                "run", "--config", config, "--quiet", key=sandbox.api_key, cwd=folder, environ=object_store.environ()
            )
            assert ran.exit_code == 0, ran.err
    return found


@pytest.fixture
def reachable(folder: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the process where the lakes on the disk are, with credentials for the store in its environment."""
    monkeypatch.chdir(folder)
    for name, value in object_store.environ().items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("place", ["disk", "s3"])
@pytest.mark.parametrize("opened", OPENED, ids="-".join)
@pytest.mark.usefixtures("reachable")
def test_every_way_to_open_a_lake_shows_the_same_rows(
    places: dict[tuple[str, str], str], opened: tuple[str, str], place: str
) -> None:
    """Each of the page's calls opens each lake of its format, and their costs are the same, to the last decimal."""
    engine, kind = opened
    *opening, over_duckdb = blocks("lake.md", "python", "### Opening a table")
    block = opening[OPENED.index(opened)].replace(BUCKET_LAKE, places[place, kind])
    names: dict[str, Any] = {}
    exec(compile(ast.parse(block), "lake.md", "exec"), names)  # noqa: S102 - the page is ours
    if engine == "polars":
        found = names["runs"].select("queue_run_id", "total_cost").collect().rows()
    else:
        exec(compile(ast.parse(over_duckdb), "lake.md", "exec"), names)  # noqa: S102 - the page is ours
        found = duckdb.execute("SELECT queue_run_id, total_cost FROM runs").fetchall()
        duckdb.execute("DROP VIEW runs")
    wanted = pl.scan_parquet("lake/runs/").select("queue_run_id", "total_cost").collect().rows()

    assert sorted(found, key=str) == sorted(wanted, key=str)
    assert len(found) == 60


def test_an_address_and_credentials_are_enough(object_store: ObjectStore, tmp_path: Path) -> None:
    """The page's lines make a Delta lake, with the credentials, key and queue filled in."""
    address, variables = object_store.address(), object_store.environ()
    lines = (
        blocks("lake.md", "sh", "### Options")[0]
        .replace(BUCKET_LAKE, address)
        .replace("eu-central-1", variables["AWS_REGION"])
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        lines = lines.replace(f"{name}=...", f"{name}={variables[name]}")
    with Sandbox(Population(rows=30), seed=2) as sandbox:
        environ = {
            "PATH": f"{Path(CLI).parent}:{os.environ['PATH']}",
            KEY_VARIABLE: sandbox.api_key,
            "ANNOLAKE_SOURCE__BASE_URL": sandbox.url,
            "AWS_ENDPOINT_URL": variables["AWS_ENDPOINT_URL"],
            "AWS_ALLOW_HTTP": variables["AWS_ALLOW_HTTP"],
        }
        done = subprocess.run(
            ["bash", "-ec", lines], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stderr
    options = {name.lower(): value for name, value in variables.items()}
    assert pl.scan_delta(f"{address}/runs", storage_options=options).collect().height == 30


def cron_command(number: int, place: Path) -> str:
    """Return what cron hands to the shell: all behind the five fields of time, up to the first percent sign."""
    (line,) = blocks("operating.md", "cron", "## From cron")[number].splitlines()
    command = line.split(None, 5)[5].partition("%")[0]
    return command.replace("/srv/annolake/.venv/bin/annolake", CLI).replace("/srv/annolake", str(place))


def test_the_cron_lines_run_as_cron_runs_them(tmp_path: Path) -> None:
    """With their paths filled in, and nothing but cron's own surroundings: an export, quietly, and a young status."""
    home, place = tmp_path / "home", tmp_path / "srv"
    home.mkdir()
    place.mkdir()
    surroundings = ["PATH=/usr/bin:/bin", f"HOME={home}", "SHELL=/bin/sh", "LOGNAME=somebody"]
    with Sandbox(Population(rows=10), seed=2) as sandbox:
        write_config(place, sandbox)
        (place / "key").touch(mode=0o600)
        (place / "key").write_text(sandbox.api_key + "\n")
        done, told = (
            subprocess.run(
                ["env", "-i", *surroundings, "/bin/sh", "-c", cron_command(number, place)],
                cwd=home,
                capture_output=True,
                text=True,
                check=False,
            )
            for number in range(2)
        )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines()[-1] == "queues without a good export younger than 26 hours: 0 of 1"
    assert len(with_polars(place / "lake")) == 10
    assert list(home.iterdir()) == []


def test_the_exit_codes_are_those_of_the_help() -> None:
    """The page says of each code that `annolake --help` has what to do, and of no other."""
    in_help = {
        code for line in re.findall(r"^  (\d[\d, ]*) ", EXIT_CODES, re.MULTILINE) for code in re.findall(r"\d+", line)
    }
    section = (DOCS / "operating.md").read_text().partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d[\d, ]*) \|", section, re.MULTILINE)

    assert {code for row in rows for code in re.findall(r"\d+", row)} == in_help > {"0", "3", "130"}
