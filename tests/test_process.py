"""What the command settles for its own process: memory that is bounded, an environment that is kept."""

import subprocess
import sys
from pathlib import Path

from annolake.sandbox import Population, Sandbox
from exporting import KEY_VARIABLE, with_polars, write_config

SETTLE = """
import os, gc
from annolake.process import settle_process
settle_process(os.environ)
import pyarrow
print(os.environ["OPENBLAS_NUM_THREADS"], pyarrow.default_memory_pool().backend_name)
"""

COMMAND = """
import gc, sys
from annolake.cli import main
sys.argv = ["annolake", "schema"]
assert main() == 0
assert gc.isenabled() and gc.get_freeze_count() > 10_000 > gc.get_count()[0]
"""


# The process tells its own peak: what the system tells of a child begins with its parent's.
RUN = """
import sys
from annolake.cli import main
assert main(["run", "--quiet", "--config", sys.argv[1]]) == 0
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
MOST_MB = 300  # measured: 241, and 353 where bodies stay with their responses

UNUSED = ("httpx._main", "rich", "tornado", "asyncio", "h2", "anyio", "pyarrow._s3fs")

# The command as its process runs it, what it has imported then, and each of the parts imported after all.
WITHOUT = f"""
import sys
from importlib import import_module
from annolake.cli import main
sys.argv = ["annolake", "run", "--quiet", "--config", sys.argv[1]]
assert main() == 0
print([name for name in {UNUSED} if name in sys.modules])
parts = [import_module(name) for name in {UNUSED}]
print(parts[0].main.name, import_module("tenacity.tornadoweb").TornadoRetrying.__name__)
print(import_module("httpcore._sync.http2").HTTP2Connection.__name__)
print(import_module("httpcore._backends.anyio").AnyIOBackend.__name__)
"""

# A program that has a use for one of them, runs the command, and imports it again.
BEFORE = """
import sys, tornado
from annolake.cli import main
sys.argv = ["annolake", "schema"]
assert main() == 0
assert sys.modules["tornado"] is tornado
"""

AS_A_LIBRARY = f"""
import sys, annolake
assert annolake.export(annolake.load_config(sys.argv[1])).exit_code == 0
print([name for name in {UNUSED} if name in sys.modules])
"""


def settled(**environ: str) -> str:
    """Return what a process with that environment comes to."""
    command = [sys.executable, "-c", SETTLE]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.strip()


def test_what_the_environment_says_stays() -> None:
    """Whoever set threads or a memory pool has a reason."""
    assert settled() == "1 system"
    assert settled(OPENBLAS_NUM_THREADS="3", ARROW_DEFAULT_MEMORY_POOL="mimalloc") == "3 mimalloc"


def test_what_is_imported_is_not_looked_at_for_cycles() -> None:
    """A command's own objects are, as ever."""
    subprocess.run([sys.executable, "-c", COMMAND], check=True, capture_output=True)


def imported(program: str, folder: Path) -> list[str]:
    """Return the lines that a program prints, which is given the settings of an export."""
    with Sandbox(Population(rows=20, odd=False, days=2), seed=2) as sandbox:
        command = [sys.executable, "-c", program, str(write_config(folder, sandbox))]
        ran = subprocess.run(command, env={KEY_VARIABLE: sandbox.api_key}, check=True, capture_output=True, text=True)
    return ran.stdout.splitlines()


def test_the_command_leaves_out_what_it_never_uses_of_libraries(tmp_path: Path) -> None:
    """Neither the parts are imported, nor what these would import; later on each of them can be, as Dask does."""
    without, *parts = imported(WITHOUT, tmp_path)

    assert without == "[]"
    assert parts == ["main TornadoRetrying", "HTTP2Connection", "AnyIOBackend"]


def test_what_was_imported_before_stays() -> None:
    """A program that starts the command keeps its modules."""
    subprocess.run([sys.executable, "-c", BEFORE], check=True, capture_output=True)


def test_a_program_keeps_all_parts_of_its_libraries(tmp_path: Path) -> None:
    """It may send requests of its own, over HTTP/2 or with coroutines."""
    assert imported(AS_A_LIBRARY, tmp_path) == [str([*UNUSED])]


def test_heavy_rows_pass_through_little_memory(tmp_path: Path) -> None:
    """Of 120 MB of rows of 300 kB few are held at a time: pages go as they are used, their bodies too."""
    with Sandbox(Population(rows=400, odd=False, payload_kb=300), seed=2) as sandbox:
        config = write_config(tmp_path, sandbox, {"source.max_inflight_mb": 16, "lake.row_group_mb": 8})
        command = [sys.executable, "-c", RUN, str(config)]
        ran = subprocess.run(command, env={KEY_VARIABLE: sandbox.api_key}, check=True, capture_output=True, text=True)

    assert len(with_polars(tmp_path / "lake")) == 400
    assert int(ran.stdout) < MOST_MB
