"""What the lake keeps of each attempt to export: from its first second on, and however it ends."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from annolake.clock import Clock
from annolake.config import load_config
from annolake.endpoint_export import EndpointExport
from annolake.load.lake import Lake
from annolake.sandbox import Faults, Population, Sandbox
from annolake.wiring import open_lake
from exporting import KEY_VARIABLE, annolake, annolake_process, export_once, write_config
from test_rejects import lake_with

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def reports(folder: Path) -> list[dict[str, Any]]:
    """Return the reports in the lake, the oldest first."""
    return [json.loads(path.read_text()) for path in sorted((folder / "lake/_annolake/reports").glob("*.json"))]


def small(queues: int = 1, **options: Any) -> Sandbox:
    """Return a sandbox of ordinary rows."""
    return Sandbox(Population(rows=30, queues=queues, odd=False, days=2), seed=2, **options)


@pytest.mark.parametrize("queues", [None, "all"])
def test_a_report_is_there_before_the_first_request(queues: str | None, tmp_path: Path) -> None:
    """It says that the export runs, and of which queues where the settings name them; no exit code is claimed."""
    seen: list[dict[str, Any]] = []

    def look(_sandbox: Sandbox, number: int) -> None:
        if number == 1:
            seen.extend(reports(tmp_path))

    with small(2, before_request=look) as sandbox:
        ids = sandbox.queue_ids
        report = export_once(sandbox, tmp_path, {"source.queues": queues} if queues else {})

    (begun,) = seen
    assert (begun["state"], begun["finished_at"], begun["exit_code"]) == ("running", None, None)
    assert [queue["queue_id"] for queue in begun["queues"]] == ([] if queues else ids)
    assert all((queue["status"], queue["complete"]) == ("running", False) for queue in begun["queues"])
    (ended,) = reports(tmp_path)
    assert (ended["export_id"], ended["state"], ended["exit_code"]) == (begun["export_id"], "finished", 0)
    assert ended == report.as_record()
    assert all(queue["finished_at"] <= ended["finished_at"] for queue in ended["queues"])


def test_a_refused_key_leaves_a_report_although_no_queue_is_known(tmp_path: Path) -> None:
    """The error is on top, where there is no queue to have it."""
    with small() as sandbox:
        path = write_config(tmp_path, sandbox, {"source.queues": "all"})
        ran = annolake("run", "--json", "--config", path, key="wrong-key-4711", cwd=tmp_path)

    (kept,) = reports(tmp_path)
    assert (kept["state"], kept["exit_code"], kept["queues"]) == ("finished", 4, [])
    assert "401" in kept["error"]
    assert ran.report == kept


def test_a_missing_key_leaves_a_report_of_the_queues_that_were_asked_for(tmp_path: Path) -> None:
    """Each of them failed, by what ended the export."""
    with small(2) as sandbox:
        path = write_config(tmp_path, sandbox)
        ran = annolake("run", "--json", "--quiet", "--config", path, cwd=tmp_path)

    (kept,) = reports(tmp_path)
    assert (kept["exit_code"], [queue["status"] for queue in kept["queues"]]) == (2, ["failed", "failed"])
    assert {queue["error"] for queue in kept["queues"]} == {kept["error"]}
    assert len(ran.err.splitlines()) == 1
    assert ran.report == kept


def test_a_killed_export_leaves_a_running_report_with_the_queues_that_had_ended(tmp_path: Path) -> None:
    """What was exported before the kill is a proof for the next export; what was not is none."""
    with small(6, faults=Faults(latency_s=0.1)) as sandbox:
        command = [sys.executable, "-m", "annolake", "run", "--config", str(write_config(tmp_path, sandbox))]
        process = subprocess.Popen(command, env={KEY_VARIABLE: sandbox.api_key}, stderr=subprocess.DEVNULL)
        ended: list[dict[str, Any]] = []
        while not ended:
            assert process.poll() is None
            ended = [queue for each in reports(tmp_path) for queue in each["queues"] if queue["status"] == "ok"]
        process.kill()
        process.wait()
        (killed,) = reports(tmp_path)
        proofs = list((tmp_path / "lake/_annolake/proofs").iterdir())
        again = export_once(sandbox, tmp_path, mode="new")

    assert (killed["state"], len(killed["queues"])) == ("running", 6)
    proven = {queue["queue_id"] for queue in killed["queues"] if queue["complete"]}
    assert {queue["status"] for queue in killed["queues"] if queue["queue_id"] not in proven} == {"running"}
    new = {queue.queue_id for queue in again.queues if queue.mode == "new"}
    assert proven <= new == {path.stem for path in proofs}  # a queue proves it before the report says so
    assert len(new) < 6


def test_a_report_that_cannot_be_written_at_the_end_is_on_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 5, what became of the queues is told all the same, and the lake has the first report."""
    times = iter(range(9))

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        if verb == "write" and path.parent.name == "reports" and next(times):
            raise OSError(ENOSPC, "full", str(path))
        return call()

    with small() as sandbox:
        lake_with(monkeypatch, gate)
        path = write_config(tmp_path, sandbox)
        ran = annolake("run", "--json", "--quiet", "--config", path, key=sandbox.api_key, cwd=tmp_path)

    assert (ran.exit_code, ran.report["exit_code"], ran.report["state"]) == (5, 5, "finished")
    assert ran.report["queues"][0]["inserted"] == 30
    assert ran.err.count("No space left on device; free some space and run again") == 1
    assert [each["state"] for each in reports(tmp_path)] == ["running"]


# --- one line of JSON, on every exit code


def _bug(*_: object, **__: object) -> None:
    raise KeyError("a row's text")


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


WRONG: dict[str, tuple[list[str], dict[str, Any], int]] = {
    "usage": (["--bogus"], {}, 2),
    "setting": ([], {"source.page_size": 101}, 2),
    "dead service": ([], {"source.base_url": "http://127.0.0.1:9", "retry.max_attempts": 1}, 4),
    "lake": ([], {"lake.path": "/dev/null/lake"}, 5),
}


@pytest.mark.parametrize("case", WRONG)
def test_run_ends_with_one_line_of_json_whatever_is_wrong(case: str, tmp_path: Path) -> None:
    """It is a report with the error and the exit code of the process, and nothing else is on standard output."""
    options, settings, exit_code = WRONG[case]
    with small() as sandbox:
        path = write_config(tmp_path, sandbox, settings)
        ran = annolake("run", "--json", "--config", path, *options, key=sandbox.api_key, cwd=tmp_path)

    assert ran.out.count("\n") == 1
    assert (ran.exit_code, ran.report["exit_code"], ran.report["state"]) == (exit_code, exit_code, "finished")
    assert ran.report["error"] or ran.report["queues"][0]["error"]
    assert ran.report["export_id"]


@pytest.mark.parametrize(("failure", "exit_code"), [(_bug, 1), (_interrupt, 130)])
def test_a_bug_and_an_early_interrupt_end_with_a_line_too(
    failure: Any, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a bug only its kind is in the line: its message may quote a row."""
    monkeypatch.setattr("annolake.pipeline.list_queues", failure)
    with small() as sandbox:
        path = write_config(tmp_path, sandbox, {"source.queues": "all"})
        ran = annolake("run", "--json", "--config", path, key=sandbox.api_key, cwd=tmp_path)

    assert ran.out.count("\n") == 1
    assert (ran.exit_code, ran.report["exit_code"]) == (exit_code, exit_code)
    assert "a row's text" not in ran.out
    assert reports(tmp_path) == [ran.report]


class PanicException(BaseException):
    """What deltalake raises where its own code is wrong."""


def test_a_panic_of_a_library_is_a_bug_of_its_queue_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no Exception, and would be told as an interruption of the whole export."""
    run, quoted = EndpointExport.run, "a row's text"

    def panics(export: EndpointExport) -> Any:
        if export._report.queue_id == sandbox.queue_ids[0]:
            raise PanicException(quoted)
        return run(export)

    monkeypatch.setattr(EndpointExport, "run", panics)
    with Sandbox(Population(rows=20, queues=3, odd=False)) as sandbox:
        ran = annolake("run", "--json", "--config", write_config(tmp_path, sandbox), key=sandbox.api_key, cwd=tmp_path)

    assert [queue["status"] for queue in ran.report["queues"]] == ["failed", "ok", "ok"]
    assert ran.report["queues"][0]["error"] == "a bug (PanicException): report it with the traceback"
    assert (ran.exit_code, ran.report["exit_code"]) == (1, 1)
    assert quoted not in ran.out + ran.err


@pytest.mark.parametrize("command", ["status", "verify"])
def test_other_commands_end_with_one_line_of_json_too(command: str, tmp_path: Path) -> None:
    """With the error and the exit code, where they could not do their work."""
    for options, environ in ((["--bogus"], {}), ([], {"ANNOLAKE_LAKE__PATH": "/dev/null/lake"}), ([], {})):
        ran = annolake(command, "--json", *options, cwd=tmp_path, environ=environ)
        told = json.loads(ran.out)

        assert ran.out.count("\n") == 1
        assert told["exit_code"] == ran.exit_code != 0
        assert told["error"]


def test_a_lost_lock_and_a_partial_export_end_with_one_line(tmp_path: Path) -> None:
    """Exit codes 6 and 3."""
    with small() as sandbox:
        command = ("run", "--json", "--config", write_config(tmp_path, sandbox))
        annolake(*command, key=sandbox.api_key, cwd=tmp_path)
        with _lake(tmp_path).lock(sandbox.queue_ids[0], since=Clock().now()):
            locked = annolake_process(*command, key=sandbox.api_key, cwd=tmp_path)
        row = sandbox.queue().rows("active")[4]
        sandbox.queue().set_text(row.id, b'{"queue_run_id": "x"}')
        partial = annolake(*command, key=sandbox.api_key, cwd=tmp_path)

    for ran, exit_code in ((locked, 6), (partial, 3)):
        assert ran.out.count("\n") == 1
        assert (ran.exit_code, ran.report["exit_code"]) == (exit_code, exit_code)


def _lake(folder: Path) -> Lake:
    return open_lake(load_config(folder / "annolake.toml", {}), {})


@pytest.mark.parametrize("command", ["run", "status", "verify", "rejects"])
def test_a_signal_before_a_command_has_begun_ends_with_a_line(command: str, tmp_path: Path) -> None:
    """SIGTERM while it still imports what it needs."""
    program = (
        "import os, signal, sys; from annolake import cli\n"
        "cli.import_module = lambda _: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.argv[1:] = ['{command}', '--json']\n"
        "sys.exit(cli.main())"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ran.returncode == 143, ran.stderr
    assert ran.stdout.count("\n") == 1
    assert json.loads(ran.stdout)["exit_code"] == 143


# An export that notes the first signal and does not end.
STUBBORN = """
import sys, threading
from annolake import cli
from annolake.commands import run

def export(*_, interruption, **options):
    print("ready", file=sys.stderr, flush=True)
    interruption.event().wait()
    print("interrupted", file=sys.stderr, flush=True)
    threading.Event().wait()

run.export = export
sys.exit(cli.main(["run", "--json", "--config", sys.argv[1]]))
"""


@pytest.mark.parametrize(("number", "exit_code"), SIGNALS)
def test_a_second_signal_ends_at_once(number: signal.Signals, exit_code: int, tmp_path: Path) -> None:
    """Whoever does not want to wait for good order sends another one, of either kind; the line is printed still."""
    with small() as sandbox:
        path = write_config(tmp_path, sandbox)
    for first, _ in SIGNALS:
        command = [sys.executable, "-c", STUBBORN, str(path)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env={KEY_VARIABLE: "k"}, **pipes) as process:
            assert process.stderr is not None
            for line, signals in (("ready\n", first), ("interrupted\n", number)):
                assert process.stderr.readline() == line
                process.send_signal(signals)
            out, _ = process.communicate(timeout=20)

        assert process.returncode == exit_code
        assert out.count("\n") == 1
        assert json.loads(out)["exit_code"] == exit_code
