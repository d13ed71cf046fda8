"""The command line as a process: exit codes, streams, messages, signals."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

import annolake as package
from annolake import __version__, contract
from annolake.sandbox import Faults, Population, Sandbox
from exporting import KEY_VARIABLE, Ran, annolake, annolake_process, export_once, files_of, with_polars, write_config

NOWHERE = "http://127.0.0.1:9"


def test_run_exports_and_prints_the_report_last(tmp_path: Path) -> None:
    """With --json the last line of standard output is the report of the design, and the same is in the lake."""
    with Sandbox(Population(rows=120, days=2), seed=2) as sandbox:
        ran = annolake_process(
            "run", "--config", write_config(tmp_path, sandbox), "--json", key=sandbox.api_key, cwd=tmp_path
        )

    assert ran.exit_code == 0, ran.err
    queue = ran.report["queues"][0]
    assert (ran.report["report_version"], ran.report["exit_code"]) == (1, 0)
    assert (queue["mode"], queue["complete"], queue["inserted"]) == ("full", True, 120)
    assert set(queue) >= {
        *("queue_id", "name", "endpoint", "mode", "mode_reason", "status", "error", "complete", "rows_seen"),
        *("inserted", "updated", "unchanged", "removed", "rejected", "rejected_new", "payloads_missing"),
        *("partitions_written", "bytes_written", "requests", "retries", "bytes_read", "repairs"),
        *("newest_added_at", "seconds"),
    }
    (kept,) = (tmp_path / "lake/_annolake/reports").glob("*.json")
    assert json.loads(kept.read_text()) == ran.report
    assert len(with_polars(tmp_path / "lake")) == 120


def test_run_takes_its_options(tmp_path: Path) -> None:
    """--queue exports that queue alone, and --new-only reads what came since the last complete export."""
    with Sandbox(Population(rows=400, queues=2, odd=False, days=2), seed=2) as sandbox:
        first, second = sandbox.queue_ids
        command = ("run", "--config", write_config(tmp_path, sandbox, {"source.queues": "all"}), "--json")
        one = annolake(*command, "--queue", second, key=sandbox.api_key, cwd=tmp_path)
        both = annolake(*command, key=sandbox.api_key, cwd=tmp_path)
        sandbox.queue(first).add(3)
        new = annolake(*command, "--new-only", key=sandbox.api_key, cwd=tmp_path)

    assert [queue["queue_id"] for queue in one.report["queues"]] == [second]
    assert {queue["queue_id"]: queue["inserted"] for queue in both.report["queues"]} == {first: 400, second: 0}
    assert [queue["mode"] for queue in new.report["queues"]] == ["new", "new"]
    assert {queue["queue_id"]: queue["inserted"] for queue in new.report["queues"]} == {first: 3, second: 0}


def test_messages_and_logs_go_to_standard_error(tmp_path: Path) -> None:
    """Standard output stays empty without --json; logs are key=value, and nothing is said when quiet."""
    with Sandbox(Population(rows=20, days=2), seed=2) as sandbox:
        path = write_config(tmp_path, sandbox)
        plain = annolake_process("run", "--config", path, key=sandbox.api_key, cwd=tmp_path)
        quiet = annolake_process("run", "--config", path, "--quiet", key=sandbox.api_key, cwd=tmp_path)

    assert (plain.out, quiet.out, quiet.err) == ("", "", "")
    assert "event=queue_finished" in plain.err
    assert "20 inserted" in plain.err
    assert "\x1b" not in plain.err


def test_json_logs_are_json_on_every_line(tmp_path: Path) -> None:
    """With log_format = "json" an orchestrator can parse whatever comes on standard error."""
    with Sandbox(Population(rows=20, days=2), seed=2) as sandbox:
        path = write_config(tmp_path, sandbox, {"log.log_format": "json"})
        good = annolake("run", "--config", path, key=sandbox.api_key, cwd=tmp_path)
        bad = annolake("run", "--config", path, key="wrong", cwd=tmp_path)

    for ran in (good, bad):
        lines = [json.loads(line) for line in ran.err.splitlines()]
        assert lines
        assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)


JSON_LOGS = {"ANNOLAKE_LOG__LOG_FORMAT": "json"}

WRONG: dict[str, tuple[str | None, dict[str, str], list[str], str]] = {
    "a setting": ('[log]\nlog_format = "json"\n[source]\npage_size = 0', {}, [], "source.page_size"),
    "a file that is no TOML": ("[source]\nqueues = \"all\n[log]\nlog_format = 'json'", {}, [], "is not TOML"),
    "no file, and a variable": (None, JSON_LOGS, [], "no such file"),
    "a variable": ("[lake]\npath = ''", JSON_LOGS, [], "lake.path"),
    "the command line": ('log = {log_format = "json"}', {}, ["--quite"], "unrecognized arguments: --quite"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_settings_that_are_wrong_are_told_in_json_too(wrong: str, tmp_path: Path) -> None:
    """One line of JSON, as far as it can be known that logs are to be JSON; with --json the report is there as well."""
    text, environ, options, named = WRONG[wrong]
    file = tmp_path / "mine.toml"
    if text is not None:
        file.write_text(text)
    ran = annolake("run", "--json", *options, "--config", file, cwd=tmp_path, environ=environ, key="")
    told = json.loads(ran.err)

    assert ran.exit_code == ran.report["exit_code"] == told["exit_code"] == 2
    assert (told["event"], told["level"]) == ("message", "error")
    assert named in told["text"]
    assert told.keys() == {"event", "level", "text", "exit_code", "timestamp"}


@pytest.mark.parametrize("log_format", ["text", "jsn", None])
def test_settings_that_are_wrong_are_told_in_text_else(log_format: str | None, tmp_path: Path) -> None:
    """Where the format is text, is no format, or is commented out; a variable outweighs the file."""
    (tmp_path / "annolake.toml").write_text(
        "# log_format = 'json'\n" if log_format is None else "log.log_format = 'json'"
    )
    environ = {} if log_format is None else {"ANNOLAKE_LOG__LOG_FORMAT": log_format}
    ran = annolake("run", cwd=tmp_path, environ=environ)

    assert ran.exit_code == 2
    assert ran.err.startswith(("annolake: source.queues: required", "annolake: log.log_format: expected"))


def test_no_command_writes_past_the_console() -> None:
    """So that all of it honours log_format; the last line of defence does so too, and prompts are for a person."""
    package, past = Path(__file__).parents[1] / "etl/annolake", re.compile(r"file=(streams\.|sys\.std)?err\b")
    writing = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if past.search(path.read_text())}

    assert writing == {"cli.py", "commands/erase.py", "commands/init.py"}


def test_a_bug_is_a_line_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its traceback in a field; commands that read no settings tell theirs in text."""

    def break_down(*_what: object, **_more: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("annolake.commands.status.tell_status", break_down)
    monkeypatch.setattr("annolake.contract.as_markdown", break_down)
    for command in ("status", "schema"):
        ran = annolake(command, cwd=tmp_path, environ=JSON_LOGS | {"ANNOLAKE_LAKE__PATH": "lake"})
        assert ran.exit_code == 1
        if command == "status":
            told = json.loads(ran.err)
            assert (told["event"], told["kind"]) == ("bug", "RuntimeError")
            assert "in break_down" in told["traceback"]
        else:
            assert "please report it" in ran.err.splitlines()[-1]


BAD: dict[str, tuple[dict[str, Any], str | None, int, str]] = {
    "misspelt setting": ({"source.page_sise": 50}, None, 2, "source.page_sise"),
    "out of range": ({"source.page_size": 101}, None, 2, "source.page_size"),
    "wrong key": ({}, "wrong-key-4711", 4, "401"),
    "no key": ({}, "", 2, KEY_VARIABLE),
    "unknown queue": ({"source.queues": ["00000000-0000-4000-8000-000000000000"]}, None, 4, "404"),
    "dead service": ({"source.base_url": NOWHERE, "retry.max_attempts": 1}, None, 4, "127.0.0.1:9"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_goes_wrong_is_one_sentence_and_leaves_the_lake_alone(case: str, tmp_path: Path) -> None:
    """The right exit code, what and where, no traceback, no secret, and not a file of the lake touched."""
    settings, key, exit_code, named = BAD[case]
    with Sandbox(Population(rows=30, odd=False, days=2), seed=2) as sandbox:
        export_once(sandbox, tmp_path)
        before = files_of(tmp_path / "lake")
        path = write_config(tmp_path, sandbox, settings)
        used = sandbox.api_key if key is None else key
        ran = annolake("run", "--config", path, "--quiet", key=used, cwd=tmp_path)

    assert ran.exit_code == exit_code, ran.err
    assert named in ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) <= 2
    assert not used or used not in ran.err + ran.out
    assert files_of(tmp_path / "lake") == before


def test_a_lake_that_is_a_file_is_exit_5(tmp_path: Path) -> None:
    """The path that cannot be written is named."""
    (tmp_path / "lake").write_text("not a folder")
    with Sandbox(Population(rows=3, days=2)) as sandbox:
        ran = annolake("run", "--config", write_config(tmp_path, sandbox), key=sandbox.api_key, cwd=tmp_path)

    assert ran.exit_code == 5
    assert str(tmp_path / "lake") in ran.err
    assert "Traceback" not in ran.err


def test_what_is_not_utf8_is_one_sentence(tmp_path: Path) -> None:
    """A lake's path, or a folder above it, from `check` on; a database's name; an id of a run to erase."""
    latin = os.fsdecode("läke".encode("latin-1"))
    (tmp_path / latin).mkdir()
    with Sandbox(Population(rows=9, odd=False, days=2), seed=2) as sandbox:
        export_once(sandbox, tmp_path)
        inside = write_config(tmp_path / latin, sandbox, {"lake.path": "lake"})
        there = write_config(tmp_path, sandbox)
        for command in ("check", "run", "status", "views"):
            for file, variables in ((there, {"ANNOLAKE_LAKE__PATH": latin}), (inside, {})):
                ran = annolake(command, "--config", file, key=sandbox.api_key, cwd=tmp_path, environ=variables)
                assert (ran.exit_code, ran.out) == (2, "")
                assert re.fullmatch(r"annolake: lake.path: \S+ is not UTF-8, which .*: name another\n", ran.err)
        database = annolake("views", "--out", f"{latin}.db", "--config", there, cwd=tmp_path)
        erased = annolake("erase", "--yes", "--run", latin, "--config", there, cwd=tmp_path)

    said = r"annolake: --out: l\udce4ke.db is not UTF-8, as DuckDB needs it: name another file"
    assert database == Ran(2, "", f"{said}\n")
    said = r"annolake: --run: 'l\udce4ke' is no id of a run, and nothing in the lake has it; correct it"
    assert erased == Ran(2, "", f"{said}\n")
    assert [*(tmp_path / latin).iterdir()] == [inside]


def test_check_looks_at_everything_and_exports_nothing(tmp_path: Path) -> None:
    """Settings, key, each queue's name and size and the lake are told; no row is written."""
    with Sandbox(Population(rows=30, queues=2, days=2), seed=2) as sandbox:
        ran = annolake("check", "--config", write_config(tmp_path, sandbox), key=sandbox.api_key, cwd=tmp_path)
        names = [sandbox.queue(queue_id).name for queue_id in sandbox.queue_ids]
        listing = [record for record in sandbox.requests if record.path.endswith("/runs")]

    assert ran.exit_code == 0, ran.err
    assert all(name in ran.out for name in names)
    assert "30" in ran.out
    assert not list((tmp_path / "lake").rglob("*.parquet"))
    assert len(listing) == 4  # two lists of two queues


@pytest.mark.parametrize(("key", "queues", "exit_code"), [("wrong", None, 4), (None, ["0" * 8 + "-0" * 4], 4)])
def test_check_tells_what_a_run_would_meet(
    key: str | None, queues: list[str] | None, exit_code: int, tmp_path: Path
) -> None:
    """A wrong key and an unknown queue are found without an export, with the exit code a run would have."""
    queues = ["00000000-0000-4000-8000-000000000000"] if queues else None
    with Sandbox(Population(rows=3, days=2)) as sandbox:
        path = write_config(tmp_path, sandbox, {"source.queues": queues} if queues else None)
        ran = annolake("check", "--config", path, key=key or sandbox.api_key, cwd=tmp_path)

    assert ran.exit_code == exit_code
    assert "Traceback" not in ran.err


def test_schema_prints_both_forms(tmp_path: Path) -> None:
    """Markdown for people, JSON for programs, from the same contract."""
    markdown = annolake("schema", cwd=tmp_path)
    document = annolake("schema", "--format", "json", cwd=tmp_path)

    assert (markdown.exit_code, document.exit_code) == (0, 0)
    assert "| `total_cost` | `decimal128(38, 18)` |" in markdown.out
    tables = json.loads(document.out)["tables"]
    assert [table["table"] for table in tables] == ["runs", "queues", "feedback", "turns"]
    assert [column["name"] for column in tables[0]["columns"]] == contract.RUNS.schema.names


def test_the_demo_answers_with_both_engines_and_says_nothing_else(tmp_path: Path) -> None:
    """A newcomer sees two answers, which are the same, and no word on standard error, of foreign libraries neither."""
    ran = annolake_process("demo", cwd=tmp_path)

    assert (ran.exit_code, ran.err) == (0, "")
    polars, sql = ran.out.split("asked with polars:\n\n")[1].split("\n\n")[0], ran.out.splitlines()
    (query,) = (line for line in sql if line.startswith("SELECT"))
    with contextlib.chdir(tmp_path):
        frame = eval(f"({polars.removeprefix('import annolake')})", {"annolake": package})  # noqa: S307 - our own demo
        with duckdb.connect("demo-lake.duckdb", read_only=True) as connection:
            rows = connection.sql(query).fetchall()
    assert frame.rows() == rows
    assert str(frame) in ran.out
    assert len(rows) == 5
    assert (tmp_path / "demo-lake.html").as_uri() in ran.out
    assert "Support answers" in (tmp_path / "demo-lake.html").read_text()


def test_the_sandbox_takes_its_own_options(tmp_path: Path) -> None:
    """It serves as it was told to until it is interrupted; what it does not know is an error of its own."""
    command = [sys.executable, "-m", "annolake", "sandbox", "--rows", "7", "--seed", "3", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as serving:
        assert serving.stdout is not None
        there = json.loads(serving.stdout.readline())
        serving.send_signal(signal.SIGINT)
    wrong = annolake("sandbox", "--row-count", "7", cwd=tmp_path)

    assert (serving.returncode, len(there["queue_ids"])) == (0, 1)
    assert (wrong.exit_code, "annolake sandbox: error: unrecognized arguments" in wrong.err) == (2, True)
    assert "--change-rate" in annolake("sandbox", "--help", cwd=tmp_path).out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "99999"], "annolake sandbox: error: argument --port: must be 65535 or less, not 99999"),
        (["--rows", "-1"], "annolake sandbox: error: argument --rows: must be 0 or more, not -1"),
        (["--errors", "nope"], "annolake: unknown fault 'nope', choose from ok, 429"),
    ],
)
def test_a_wrong_option_of_the_sandbox_is_one_sentence(options: list[str], sentence: str, tmp_path: Path) -> None:
    """With what was given and what is allowed."""
    ran = annolake("sandbox", *options, cwd=tmp_path)

    assert (ran.exit_code, ran.err.splitlines()[-1][: len(sentence)]) == (2, sentence)


def test_an_option_that_a_command_does_not_have_is_an_error(tmp_path: Path) -> None:
    """Only the sandbox reads options that the parser does not know."""
    ran = annolake("status", "--rows", "7", cwd=tmp_path)

    assert (ran.exit_code, ran.err.splitlines()[-1]) == (2, "annolake: error: unrecognized arguments: --rows 7")


def test_help_and_version(tmp_path: Path) -> None:
    """Every command is in the help, with the exit codes."""
    told = annolake_process("--help", cwd=tmp_path)
    version = annolake_process("--version", cwd=tmp_path)

    assert version.out.strip() == f"annolake {__version__}"
    assert all(command in told.out for command in ("run", "check", "schema", "sandbox", "demo", "exit codes"))
    assert annolake_process("rum", cwd=tmp_path).exit_code == 2


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_export_in_good_order(number: signal.Signals, exit_code: int, tmp_path: Path) -> None:
    """The exit code says which signal, the message what to do; nothing half-written stays behind."""
    with Sandbox(Population(rows=3000, odd=False, days=2), seed=2, faults=Faults(latency_s=0.3)) as sandbox:
        command = [sys.executable, "-m", "annolake", "run", "--json", "--config", str(write_config(tmp_path, sandbox))]
        process = subprocess.Popen(
            command, env={KEY_VARIABLE: sandbox.api_key}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        while "queue_started" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        out, err = process.communicate(timeout=60)

    assert process.returncode == exit_code, err
    assert "Traceback" not in err
    assert json.loads(out.splitlines()[-1])["exit_code"] == exit_code
    assert list((tmp_path / "lake/_annolake/tmp").iterdir()) == []


# Exports one time after the other in one process, and interrupts each a moment after its queue began.
INTERRUPT = """
import os, random, signal, sys, threading
from pathlib import Path
from annolake.cli import main

class Interrupting:
    def write(self, text):
        if "queue_started" in text:
            threading.Timer(moments.uniform(0, 0.02), os.kill, (os.getpid(), signal.SIGINT)).start()
    def flush(self): pass
    def isatty(self): return False

sys.stderr, moments = Interrupting(), random.Random(3)
for number in range(int(sys.argv[1])):
    os.environ["ANNOLAKE_LAKE__PATH"] = f"lake-{number}"
    print(main(["run"]))
"""


def test_a_signal_is_heeded_whenever_it_comes(tmp_path: Path) -> None:
    """Also when it comes just before the main thread begins to wait; that one in twenty-five used to be lost."""
    with Sandbox(Population(rows=2000, odd=False, days=2), seed=2, faults=Faults(latency_s=0.15)) as sandbox:
        write_config(tmp_path, sandbox)
        environ = {KEY_VARIABLE: sandbox.api_key}
        command = [sys.executable, "-c", INTERRUPT, "40"]
        ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    assert ran.stdout.split() == ["130"] * 40, ran.stderr


def test_two_exports_of_one_queue(tmp_path: Path) -> None:
    """The second one skips the queue, names who holds it and exits with 6; the first is not disturbed."""
    with Sandbox(Population(rows=3000, odd=False, days=2), seed=2, faults=Faults(latency_s=0.2)) as sandbox:
        path = write_config(tmp_path, sandbox)
        command = [sys.executable, "-m", "annolake", "run", "--config", str(path)]
        first = subprocess.Popen(command, env={KEY_VARIABLE: sandbox.api_key}, stderr=subprocess.PIPE, text=True)
        assert first.stderr is not None
        while "queue_started" not in first.stderr.readline():
            assert first.poll() is None
        while not list((tmp_path / "lake/_annolake/locks").glob(sandbox.queue_ids[0])):
            assert first.poll() is None
        second = annolake_process("run", "--config", path, "--json", key=sandbox.api_key, cwd=tmp_path)
        first.communicate(timeout=60)

    assert (first.returncode, second.exit_code) == (0, 6)
    assert second.report["queues"][0]["status"] == "skipped"
    assert str(first.pid) in second.err


@pytest.mark.parametrize("order", ["before", "after", "both", "joined"])
def test_the_settings_file_is_named_before_the_command_or_after_it(order: str, tmp_path: Path) -> None:
    """Where both are given, the one after it counts."""
    file = tmp_path / "mine.toml"
    file.write_text("[nonsense]\n")
    before: dict[str, list[object]] = {
        "before": ["--config", file],
        "both": ["--config", "other.toml"],
        "joined": [f"--config={file}"],
    }
    after: list[object] = ["--config", file] if order in {"after", "both"} else []
    ran = annolake(*before.get(order, []), "run", *after, "--json", cwd=tmp_path)

    assert (ran.exit_code, ran.report["exit_code"], ran.report["queues"]) == (2, 2, [])
    assert f"nonsense: no such section (in {file})" in ran.err


def test_a_settings_file_that_nobody_reads_is_an_error(tmp_path: Path) -> None:
    """Some commands have no settings."""
    ran = annolake("--config", "mine.toml", "schema", cwd=tmp_path)

    assert (ran.exit_code, ran.err.splitlines()[-1]) == (
        2,
        "annolake: error: argument --config: schema reads no settings",
    )
