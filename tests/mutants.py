"""`make mutants`: change operators and constants of the core, one at a time, and tell which changes no test notices.

Each module is tested by the tests that mirror it, in a copy of the project under build/. Names of modules as
arguments (`make mutants MODULES="decide flatten"`) choose some of them.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build/mutants"

CORE = {
    "load/merge/decide": ["load/merge/test_upsert.py"],
    "load/table/folders": [],
    "transform/decode": [],
    "transform/flatten": [],
    "extract/paging/overlap": ["extract/offset/test_list_reader.py"],
    "extract/offset/list_reader": ["extract/offset/test_list_end.py", "extract/offset/test_queue_reader.py"],
    "extract/offset/taker": [
        *(f"extract/offset/test_{each}.py" for each in ("list_reader", "list_end", "seek", "queue_reader"))
    ],
    "extract/offset/queue_reader": ["extract/offset/test_list_end.py", "extract/offset/test_seek.py"],
    "extract/cursor/queue_reader": ["extract/offset/test_list_end.py"],
}
"""The modules that are changed, and the tests of each besides those that have its name."""

OPERATORS = {
    "operator_number",
    "operator_name",
    "operator_keywords",
    "operator_swap_op",
    "operator_remove_unary_ops",
    "operator_augmented_assignment",
    "operator_if_exp",
}
"""What mutmut changes here. What it can do to texts and arguments besides says little of the rules of a module."""

NOTICED = {"killed", "timeout", "segfault", "suspicious"}

CONFIGURATION = """\
[tool.pytest.ini_options]
addopts = ["-q", "-x", "--import-mode=importlib", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
pythonpath = ["tests"]

[tool.mutmut]
source_paths = ["src/"]
also_copy = ["schemas/", "tests/"]
only_mutate = ["src/annolake/{module}.py"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
"""


@dataclass(frozen=True)
class Found:
    """What became of one module's mutants: how many there were, and those that no test noticed, as diffs."""

    module: str
    mutants: int
    survivors: list[str]

    def __str__(self) -> str:
        noticed = self.mutants - len(self.survivors)
        return f"{self.module}: {noticed} of {self.mutants} noticed ({noticed / (self.mutants or 1):.0%})"


def main(chosen: list[str]) -> None:
    """Change the chosen modules, all of them by default, and print what was noticed."""
    found = []
    for module in CORE:
        if not chosen or module in chosen or Path(module).name in chosen:
            found.append(mutated(module))
            print(found[-1], *found[-1].survivors, sep="\n", flush=True)
    print(Found("all", sum(each.mutants for each in found), [one for each in found for one in each.survivors]))


def mutated(module: str) -> Found:
    """Change one module in a fresh copy of the project."""
    shutil.rmtree(COPY, ignore_errors=True)
    for folder, name in {"etl": "src", "tests": "tests", "schemas": "schemas"}.items():
        shutil.copytree(ROOT / folder, COPY / name, ignore=shutil.ignore_patterns("__pycache__"))
    path, name = Path("tests", module).parent, Path(module).name
    mirrored = sorted(str(path / test.name) for test in (ROOT / path).glob(f"test_{name}*.py"))
    tests = [*mirrored, *(f"tests/{test}" for test in CORE[module])]
    (COPY / "pyproject.toml").write_text(CONFIGURATION.format(module=module, tests=json.dumps(tests)))
    # mutmut keeps its settings for the length of a process
    done = subprocess.run([sys.executable, __file__, "--one", module], cwd=COPY, stdout=subprocess.PIPE, check=True)
    return Found(**json.loads(done.stdout.splitlines()[-1]))


def one(module: str) -> None:
    """Run mutmut in the copy, and print what was found as JSON."""
    from mutmut.__main__ import cli  # noqa: PLC0415 - installed for this program alone
    from mutmut.mutation import mutators  # noqa: PLC0415
    from mutmut.mutation.diff_apply import get_diff_for_mutant  # noqa: PLC0415
    from mutmut.stats import status_by_exit_code  # noqa: PLC0415

    mutators.mutation_operators[:] = [each for each in mutators.mutation_operators if each[1].__name__ in OPERATORS]
    cli(["run", "--max-children", str(os.cpu_count())], standalone_mode=False)
    path = Path(f"src/annolake/{module}.py")
    codes = json.loads(Path("mutants", f"{path}.meta").read_text())["exit_code_by_key"]
    survivors = [name for name, code in codes.items() if status_by_exit_code[code] not in NOTICED]
    diffs = [_changed_lines(get_diff_for_mutant(name, path=path)) for name in survivors]
    meaningful = [diff for diff in diffs if not _is_about_strict(diff)]
    mutants = len(codes) - len(diffs) + len(meaningful)
    print("\n" + json.dumps({"module": module, "mutants": mutants, "survivors": meaningful}))


def _changed_lines(diff: str) -> str:
    lines = [line for line in diff.splitlines() if line.startswith(("-", "+")) and not line.startswith(("---", "+++"))]
    return "\n".join(["", *lines])


def _is_about_strict(diff: str) -> bool:
    """Tell whether all that changed is that zip no longer checks lengths, which are equal where the code is right."""
    _, before, *after = diff.split("\n")
    return [before[1:].replace("strict=True", "strict=False")] == [line[1:] for line in after]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2])
    else:
        main(sys.argv[1:])
