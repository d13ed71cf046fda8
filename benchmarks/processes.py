"""Processes for the benchmarks: the service beside them, and contenders run to their end and measured.

Owns what is measured and how. It imports nothing heavy, for a child's peak of memory begins with its parent's.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

HERE = Path(__file__).parent

LAKES = {
    "delta": ("{out}", "delta"),
    "s3-delta": ("s3://lakes{out}", "delta"),
    "s3-parquet": ("s3://lakes{out}", "parquet"),
}
"""Kinds of lakes by the name of their contender: where they lie, and in which format."""


@dataclass(frozen=True)
class Run:
    """A finished process: seconds of wall and CPU (user and system, its children's too), peak memory in MB.

    `told` is the last line that it wrote, read as JSON.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    exit_code: int
    told: dict[str, Any]


def measured(command: Sequence[str], environ: Mapping[str, str], cwd: Path, *, may_exit: Sequence[int] = (0,)) -> Run:
    """Run a command to its end. Raises RuntimeError, with what it said, when it exits with another code."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begun = perf_counter()
        process = subprocess.Popen(command, env={**_inherited(), **environ}, cwd=cwd, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in may_exit:
            err.seek(0)
            raise RuntimeError(f"{' '.join(command)} exited with {process.returncode}: {err.read()[-2000:]}")
        out.seek(0)
        told = json.loads(out.read().splitlines()[-1])
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode, told)


def _inherited() -> dict[str, str]:
    """Return the environment without settings, and without what would have modules compiled at every start."""
    ours = ("ANNOLAKE", "LANGSMITH", "LANGCHAIN", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class Service:
    """The sandbox in its own process (`service.py`)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        there = self._line()
        self.url: str = there["url"]
        self.api_key: str = there["api_key"]
        self.queue_ids: list[str] = there["queue_ids"]
        self.queue_id = self.queue_ids[0]

    def tell(self, do: str, **order: Any) -> dict[str, Any]:
        """Have the service do something, and return what it answers."""
        assert self._process.stdin  # noqa: S101 - it was started with a pipe
        self._process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101 - it was started with a pipe
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def service(**options: object) -> Iterator[Service]:
    """Run the sandbox with the options of `service.py`."""
    command = [sys.executable, str(HERE / "service.py")]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Service(process)
        process.stdin.close()  # type: ignore[union-attr]  # it was started with a pipe


def contender(
    name: str, there: Service, out: Path, *, lanes: int, endpoint: str = "auto", feedback: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of a contender that exports the queue into `out`.

    `annolake`, and `without` (the same), is run as its users do, and so are those of `LAKES`, into a lake of that kind;
    the others are scripts beside this file. None of these reads feedback: annolake does with `feedback`.
    """
    environ = {"LANGSMITH_API_KEY": there.api_key, "NO_COLOR": "1"}
    if name in {"annolake", "without", *LAKES}:
        path, lake_format = LAKES.get(name, ("{out}", "parquet"))
        environ |= {
            "ANNOLAKE_SOURCE__BASE_URL": there.url,
            "ANNOLAKE_SOURCE__QUEUES": there.queue_id,
            "ANNOLAKE_SOURCE__CONCURRENCY": str(lanes),
            "ANNOLAKE_SOURCE__ENDPOINT": endpoint,
            "ANNOLAKE_SOURCE__FEEDBACK": str(feedback).lower(),
            "ANNOLAKE_LAKE__PATH": path.format(out=out),
            "ANNOLAKE_LAKE__FORMAT": lake_format,
        }
        return [sys.executable, "-m", "annolake", "run", "--json", "--quiet"], environ
    script = "floor_items" if name == "floor" and endpoint == "items" else name
    command = [sys.executable, str(HERE / f"{script}.py"), "--url", there.url, "--queue", there.queue_id]
    command += ["--out", str(out)]
    return command + (["--lanes", str(lanes)] if name == "floor" else []), environ
