"""Every wait for a service that hangs or drips ends: in bounded time by itself, and at once when a signal comes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from annolake.sandbox import Population, Sandbox
from annolake.sandbox.answers import Answer, Asked
from exporting import KEY_VARIABLE, annolake, write_config
from hostile import Behave, FullListener, Hostile, Wire, honest, lists

ENDPOINTS = ["runs", "items"]
IMPATIENT = {"source.request_timeout_s": 0.5, "retry.max_attempts": 2, "retry.max_wait_s": 0.1}
SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
END_WITHIN_S = 2.0


# --- bodies that drip


def drips(wire: Wire, asked: Asked, answer: Answer) -> Answer | None:
    """Send a list's rows byte by byte, for ever."""
    if not lists(asked):
        return answer
    wire.head({"Transfer-Encoding": "chunked"})
    wire.drip(b"1\r\n \r\n", every_s=0.02)
    return None


def drips_headers(wire: Wire, asked: Asked, answer: Answer) -> Answer | None:
    """Send a list's headers byte by byte, for ever."""
    if not lists(asked):
        return answer
    wire.drip(b"HTTP/1.1 200 OK\r\nX-More: ...", every_s=0.02)
    return None


def says_nothing(wire: Wire, asked: Asked, answer: Answer) -> Answer | None:
    """Take the request for rows and never answer."""
    if not lists(asked):
        return answer
    wire.hang()
    return None


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("behave", [drips, drips_headers, says_nothing])
def test_no_request_takes_longer_than_it_may(behave: Behave, endpoint: str, tmp_path: Path) -> None:
    """A body or head that comes byte by byte, or never, is asked for again, and then given up with one sentence."""
    with Hostile(Sandbox(Population(rows=30, odd=False, days=2), seed=2), behave) as service:
        path = write_config(tmp_path, service, {"source.endpoint": endpoint, **IMPATIENT})
        ran = annolake("run", "--config", path, "--quiet", key=service.api_key, cwd=tmp_path)
        asked = sum(map(lists, service.asked))

    assert (ran.exit_code, asked) == (4, 2)
    assert (
        "(the last: no complete answer within 0.5 s): try again later, or set source.request_timeout_s higher"
        in ran.err
    )
    assert "Traceback" not in ran.err


# --- signals


def busy(_wire: Wire, asked: Asked, answer: Answer) -> Answer:
    """Ask for a long wait before rows are asked for again."""
    return Answer(503, b"", headers={"Retry-After": "50"}) if lists(asked) else answer


WAITS: dict[str, tuple[Behave | None, dict[str, Any]]] = {
    "head": (says_nothing, {}),
    "body": (drips, {}),
    "connect": (None, {}),
    "retry": (busy, {}),
    "pace": (honest, {"source.max_requests_per_second": 0.1}),
}


@pytest.mark.parametrize(("endpoint", "number", "exit_code"), [("runs", *SIGNALS[0]), ("items", *SIGNALS[1])])
@pytest.mark.parametrize("wait", WAITS)
def test_a_signal_ends_every_wait(
    wait: str, endpoint: str, number: signal.Signals, exit_code: int, tmp_path: Path
) -> None:
    """In a connect, before a head, in a body, between attempts: within 2 s, with the signal's code and a report."""
    behave, settings = WAITS[wait]
    sandbox = Sandbox(Population(rows=300, odd=False, days=2), seed=2)
    with Hostile(sandbox, behave) if behave else FullListener(sandbox) as service:
        path = write_config(tmp_path, service, {"source.endpoint": endpoint, **settings})
        command = [sys.executable, "-m", "annolake", "run", "--json", "--config", str(path)]
        process = subprocess.Popen(
            command, env={KEY_VARIABLE: service.api_key}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            while "queue_started" not in process.stderr.readline():
                assert process.poll() is None
            patience = time.monotonic() + 20
            while not service.reached(lambda asked: wait == "pace" or lists(asked)):
                assert time.monotonic() < patience
            begun = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
            took = time.monotonic() - begun
        finally:
            process.kill()

    assert process.returncode == exit_code, err
    assert took < END_WITHIN_S
    report = json.loads(out.splitlines()[-1])
    assert (report["exit_code"], report["queues"][0]["status"]) == (exit_code, "failed")
    assert [json.loads(each.read_text()) for each in (tmp_path / "lake/_annolake/reports").iterdir()] == [report]
