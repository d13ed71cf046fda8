"""What is installed is what was tested: the built wheel carries its contracts and passes whole exports."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a freshly built wheel's contents."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def from_wheel(unpacked: Path, *command: str) -> str:
    """Run Python with the wheel's contents before everything else."""
    environ = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_carries_what_was_tested_and_nothing_foreign(unpacked: Path) -> None:
    """Every file of the package and its contracts, byte for byte; no `schemas`, `etl` or `tests` beside it."""
    package = {path.relative_to(ROOT / "etl"): path for path in (ROOT / "etl/annolake").rglob("*.py")}
    package |= {Path("annolake") / path.relative_to(ROOT): path for path in (ROOT / "schemas").rglob("*.toml")}
    carried = {path.relative_to(unpacked) for path in (unpacked / "annolake").rglob("*") if path.is_file()}

    assert len(package) > 100
    assert package.keys() <= carried
    assert all((unpacked / name).read_bytes() == path.read_bytes() for name, path in package.items())
    assert {path.name for path in unpacked.iterdir()} - {"annolake"} == {
        path.name for path in unpacked.glob("annolake-*.dist-info")
    }


PROGRAM = """
import concurrent.futures
import threading

import annolake


def show(event: annolake.ProgressEvent) -> None:
    done: annolake.QueueReport | None = event.report
    print(event.queue_id, event.phase, event.rows, done.status if done else None)


config: annolake.Config = annolake.load_config("annolake.toml")
mode: annolake.Mode = "new"
stop: annolake.Stop = threading.Event()
try:
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        report: annolake.Report = annolake.export(
            config, mode=mode, queues=["one"], executor=executor, on_progress=show, stop=stop
        )
except annolake.ServiceError as error:
    status: int | None = error.status
except annolake.AnnolakeError as error:
    code: int = error.exit_code
else:
    feedback: annolake.TableReport = report.queues[0].feedback
    print(report.as_json(), feedback.inserted)
"""

WRONG = """
import annolake

annolake.export("annolake.toml", mode="newest")
annolake.exprot(annolake.load_config())
"""


def test_a_typed_program_is_checked_against_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    """Under --strict, mypy takes the types from the installed package, and finds what is wrong in a program."""
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    for part in unpacked.iterdir():
        shutil.copytree(part, site / part.name)
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    (tmp_path / "good.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(tmp_path / "venv/bin/python")]

    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache"), "good.py", "wrong.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    errors = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in errors] == [
        "wrong.py",
        "wrong.py",
        "wrong.py",
        "Found 3 errors in 1 file (checked 2 source files)",
    ]
    assert 'expected "Config"' in errors[0]
    assert 'has no attribute "exprot"' in errors[2]


def test_the_tests_pass_against_the_wheel(unpacked: Path) -> None:
    """Contracts are found, and a whole export behaves as in the checkout."""
    where = from_wheel(unpacked, "-c", "import annolake.contract as c; print(c.__file__, c.schemas_folder())")
    assert where.split() == [str(unpacked / "annolake/contract.py"), str(unpacked / "annolake/schemas")]

    chosen = ["tests/test_contract.py", "tests/test_pipeline.py::test_a_changed_row_rewrites_its_own_day_and_no_other"]
    told = from_wheel(unpacked, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *chosen)
    assert " passed" in told
