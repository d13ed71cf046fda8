"""The sandbox as a process of its own."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import httpx
import pytest


@contextmanager
def _started(*options: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    command = [sys.executable, "-m", "annolake.sandbox", "--rows", "40", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted(number: signal.Signals) -> None:
    """With --json one line tells where it is; a signal ends it cleanly, with code 0 and nothing on stderr."""
    with _started("--json", "--queues", "2", "--ordinary") as (process, stdout):
        there = json.loads(stdout.readline())
        path = f"/api/v1/annotation-queues/{there['queue_ids'][1]}/runs"
        answer = httpx.get(there["url"] + path, headers={"X-API-Key": there["api_key"]})
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)

    assert len(answer.json()) == 28
    assert set(there) == {"url", "api_key", "tenant_id", "queue_ids"}
    assert (process.returncode, errors) == (0, "")


def test_it_prints_what_to_paste() -> None:
    """For people it prints url, key and queues, and three lines that export them."""
    with _started("--port", "0") as (process, stdout):
        lines = [stdout.readline().rstrip("\n") for _ in range(9)]
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
    url, key, queue = (line.split()[1] for line in lines[:3])

    assert lines[2].endswith("Support answers: 28 active, 12 archived")
    assert lines[-3:] == [
        f"export LANGSMITH_API_KEY={key}",
        f"export ANNOLAKE_SOURCE__BASE_URL={url} ANNOLAKE_LAKE__PATH=./sandbox-lake",
        f"annolake run --queue {queue}",
    ]


def test_options_reach_the_service() -> None:
    """Faults, changes and limits asked for on the command line happen."""
    options = ("--errors", "503", "--error-rate", "1", "--changes", "delete", "--change-rate", "2")
    with _started("--json", *options) as (_, stdout):
        there = json.loads(stdout.readline())
        path = f"{there['url']}/api/v1/annotation-queues/{there['queue_ids'][0]}/runs"
        status = httpx.get(path, headers={"X-API-Key": there["api_key"]}).status_code

    assert status == 503


def test_feedback_is_as_the_options_have_it() -> None:
    """So much of it on each run, and so many changes before each request."""
    with _started("--json", "--feedback", "8", "--feedback-change-rate", "3") as (_, stdout):
        there = json.loads(stdout.readline())
        headers = {"X-API-Key": there["api_key"]}
        pages = [
            httpx.get(f"{there['url']}/api/v1/feedback", headers=headers, params={"offset": offset}).json()
            for offset in (0, 100, 200)
        ]

    assert [len(page) for page in pages] == [100] * 3
    assert any("2026-11-20T18:00:0" in one.get("modified_at", "") for page in pages for one in page)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rows", "-1"), "must be 0 or more, not -1"),
        (("--queues", "0"), "must be 1 or more, not 0"),
        (("--errors", "boom"), "unknown fault 'boom'"),
        (("--changes", "boom"), "unknown kind of change 'boom'"),
        (("--port", "70000"), "argument --port: must be 65535 or less, not"),
    ],
)
def test_wrong_options_are_code_2_and_no_traceback(options: tuple[str, ...], words: str) -> None:
    """An option that won't do is told in a sentence."""
    with _started(*options) as (process, _):
        _, errors = process.communicate(timeout=10)

    assert process.returncode == 2
    assert words in errors
    assert "Traceback" not in errors


def test_a_taken_port_is_code_2_and_no_traceback() -> None:
    """A port that somebody else listens on is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with _started("--port", str(port)) as (process, _):
            _, errors = process.communicate(timeout=10)

    assert process.returncode == 2
    reason = os.strerror(errno.EADDRINUSE)
    assert errors == f"annolake sandbox: port {port} cannot be opened ({reason}), choose another --port\n"
