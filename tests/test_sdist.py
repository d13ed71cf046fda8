"""Whoever has the source archive has all that the tests and the Makefile need."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MADE = [*(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()), "PKG-INFO"]
"""Patterns of what tools make, which no archive has to carry."""


def project_files() -> set[str]:
    """Return the files that the repository tracks; in an unpacked archive, those that it came with."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        return {name for name in listed.stdout.split("\0") if (ROOT / name).is_file()}
    return set(files_under(ROOT))


def files_under(folder: Path) -> Iterator[str]:
    """Yield the files of a folder, but for what tools make there."""
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_made(name)]
        yield from ((Path(where) / name).relative_to(folder).as_posix() for name in files if not is_made(name))


def is_made(name: str) -> bool:
    """Tell whether a tool made what has that name."""
    return any(fnmatch(name, pattern) for pattern in MADE)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a freshly built source archive's contents."""
    folder = tmp_path_factory.mktemp("sdist")
    build = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder / "unpacked", filter="data")
    (root,) = (folder / "unpacked").iterdir()
    return root


def test_the_archive_has_every_file_of_the_project(unpacked: Path) -> None:
    """Tests, pages, benchmarks, contracts, pinned versions and the script of CI: nothing is left behind."""
    assert project_files() - set(files_under(unpacked)) == set()


def test_the_makefile_finds_what_it_needs(unpacked: Path) -> None:
    """`make test` knows how to make everything that it depends on."""
    done = subprocess.run(["make", "-n", "test"], cwd=unpacked, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "pytest" in done.stdout


def test_tests_pass_in_the_unpacked_archive(unpacked: Path) -> None:
    """Those that read the project's own files: contracts, pages, settings."""
    environ = {**os.environ, "PYTHONPATH": str(unpacked / "etl")}
    chosen = ["tests/test_contract.py", "tests/test_docs.py"]
    pytest_there = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *chosen]
    done = subprocess.run(pytest_there, cwd=unpacked, env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
