"""The deployment kit: each piece is parsed and checked, and run as far as that takes no container and no cluster."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import codecs
from packaging.requirements import Requirement

from annolake.arguments import build_parser
from annolake.config import load_config
from annolake.report import _URGENCY
from annolake.sandbox import Population, Sandbox
from annolake.settings import SETTINGS
from exporting import annolake

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
EVERY = DEPLOY / "every.sh"

CODES = {*_URGENCY} - {0}
"""The exit codes of a command that did not go well."""

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)\}")


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, in order, without comments."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in text.splitlines()) if name]


def of_last_stage(name: str) -> list[str]:
    """Return what follows an instruction in the stage that becomes the image."""
    every = instructions()
    last = max(place for place, (each, _) in enumerate(every) if each == "FROM")
    return [rest for each, rest in every[last:] if each == name]


def in_brackets(text: str) -> list[str]:
    """Return a command in its exec form."""
    return [str(word) for word in json.loads(text[text.index("[") :])]


def health_check() -> list[str]:
    """Return the image's health check."""
    (check,) = of_last_stage("HEALTHCHECK")
    return in_brackets(check)


def compose() -> dict[str, Any]:
    """Return the one service of compose.yaml."""
    (service,) = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values()
    return dict(service)


def unit(name: str) -> RawConfigParser:
    """Return a unit of systemd; of a key that is there several times, the last."""
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.read(DEPLOY / "systemd" / name)
    return parser


def manifests() -> dict[str, dict[str, Any]]:
    """Return what kubernetes.yaml has, by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def job() -> dict[str, Any]:
    """Return the specification of the CronJob's jobs."""
    return dict(manifests()["CronJob"]["spec"]["jobTemplate"]["spec"])


def test_the_image_is_slim_and_has_no_rights() -> None:
    """It runs as a numbered user, so that a cluster can see that it is not root, and carries no sources."""
    (user,) = of_last_stage("USER")
    added = [line for line in of_last_stage("RUN") if "useradd" in line]
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]

    assert {*bases} == {"python:${PYTHON}"}
    assert ("ARG", "PYTHON=3.13-slim") in instructions()
    assert (int(user) > 0, [f"--uid {user} " in line for line in added]) == (True, [True])
    assert [line.split()[-1] for line in of_last_stage("COPY")] == ["/opt/annolake", "/opt/annolake/bin/every"]
    assert of_last_stage("WORKDIR") == ["/etc/annolake"]


def test_the_image_is_built_from_what_is_copied(tmp_path: Path) -> None:
    """The wheel builds from these files alone, each of which is let into the context."""
    copied = [source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]]
    sources = [source for source in copied if not source.startswith(("--", "/"))]
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for source in sources:
        assert f"!{source}" in let_in
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (tmp_path / source).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / source, tmp_path / source)

    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(tmp_path)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [*(tmp_path / "dist").glob("annolake-*.whl")]


def test_the_image_has_the_versions_that_were_tested(tmp_path: Path) -> None:
    """The Dockerfile's own command makes constraints of the lock file: every package, without its hashes."""
    (command,) = (
        rest for name, rest in instructions() if name == "RUN" and "constraints.txt" in rest and "sed" in rest
    )
    lock = shutil.copy(ROOT / "requirements.lock", tmp_path)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)

    constraints = [Requirement(line) for line in (tmp_path / "constraints.txt").read_text().splitlines()]
    pinned = re.findall(r"^([a-z0-9].*?)==", Path(lock).read_text(), re.MULTILINE)
    assert [each.name for each in constraints] == pinned
    assert all(str(each.specifier).startswith("==") for each in constraints)
    (installed,) = (rest for name, rest in instructions() if name == "RUN" and "pip install" in rest)
    assert "--constraint constraints.txt" in installed
    extras = next(rest for name, rest in instructions() if rest.startswith("EXTRAS="))
    assert {*extras.removeprefix("EXTRAS=").split(",")} <= {*_optional_dependencies()}


def _optional_dependencies() -> list[str]:
    text = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    return re.findall(r"^(\w+) = \[", text, re.MULTILINE)


def test_the_containers_commands_export_and_tell_their_health(tmp_path: Path) -> None:
    """With the environment that compose.yaml gives: the container is healthy once the first export has ended."""
    service = compose()
    with Sandbox(Population(rows=40, queues=2, days=2, odd=False), seed=3) as sandbox:
        given = {"LANGSMITH_API_KEY": sandbox.api_key}
        environ = {
            name: _VARIABLE.sub(lambda match: given.get(match[1], match[2] or ""), str(value))
            for name, value in service["environment"].items()
        }
        (volume,) = service["volumes"]
        assert environ["ANNOLAKE_LAKE__PATH"] == volume.partition(":")[2] == "/lake"
        environ |= {"ANNOLAKE_LAKE__PATH": str(tmp_path / "lake"), "ANNOLAKE_SOURCE__BASE_URL": sandbox.url}
        (by_default,) = of_last_stage("CMD")
        assert in_brackets(of_last_stage("ENTRYPOINT")[0]) + in_brackets(by_default) == service["command"]

        before = annolake(*health_check()[1:], cwd=tmp_path, environ=environ)
        ran = annolake(*service["command"][1:], cwd=tmp_path, environ=environ)
        after = annolake(*health_check()[1:], cwd=tmp_path, environ=environ)

    assert (before.exit_code, ran.exit_code, after.exit_code) == (3, 0, 0), ran.err
    assert "queues without a good export younger than 26 hours: 0 of 2" in after.out
    assert all(json.loads(line) for line in ran.err.splitlines())
    assert service["entrypoint"][0] == Path(of_last_stage("COPY")[-1].split()[-1]).name


def every(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start what compose.yaml starts."""
    command = ["sh", str(EVERY), *arguments]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_loop_goes_on_after_a_failure_and_passes_a_signal_on(tmp_path: Path) -> None:
    """The third run is told to end, and ends in its own time and with its own exit code."""
    run = (
        'echo run >> runs; [ "$(wc -l < runs)" -lt 3 ] && exit 4; '
        "trap 'echo ended; exit 143' TERM; echo ready; while :; do sleep 0.1 & wait; done"
    )
    with every("0.01", "sh", "-c", run, cwd=tmp_path) as loop:
        assert loop.stdout
        assert loop.stderr
        assert loop.stdout.readline() == "ready\n"
        loop.send_signal(signal.SIGTERM)
        assert loop.stdout.readline() == "ended\n"
        assert loop.wait() == 143
        assert loop.stderr.read().splitlines() == ["every: exit code 4, and again in 0.01"] * 2


def test_the_loop_ends_in_its_pause(tmp_path: Path) -> None:
    """Nothing is waited for, then."""
    with every("6h", "true", cwd=tmp_path) as loop:
        assert loop.stderr
        assert loop.stderr.readline() == "every: exit code 0, and again in 6h\n"
        loop.send_signal(signal.SIGTERM)
        assert loop.wait() == 143


def test_the_units_are_valid(tmp_path: Path) -> None:
    """As far as systemd can tell where they are not installed, and with a command that is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    installed = str(Path(sys.executable).with_name("annolake"))
    for source in (DEPLOY / "systemd").iterdir():
        text = source.read_text().replace("/opt/annolake/bin/annolake", installed)
        (tmp_path / source.name).write_text(text)
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_tries_again_what_may_cure_itself() -> None:
    """Each exit code is a success, final, or tried again; the command and what it is given are annolake's."""
    service = unit("annolake.service")["Service"]
    final = {int(code) for code in service["RestartPreventExitStatus"].split()}
    success = {int(code) for code in service["SuccessExitStatus"].split()}

    assert (success, CODES - final - success) == ({6, 130, 143}, {4})
    program, *arguments = shlex.split(service["ExecStart"])
    given = build_parser().parse_args(arguments)
    assert (program, given.command, given.config) == (
        "/opt/annolake/bin/annolake",
        "run",
        Path("/etc/annolake/annolake.toml"),
    )
    variable, _, value = service["Environment"].partition("=")
    assert variable == SETTINGS["source.api_key_file"].variable
    assert value.removeprefix("%d/") == service["LoadCredential"].partition(":")[0]
    assert unit("annolake.timer")["Install"]["WantedBy"] == "timers.target"


def test_the_manifests_are_of_kubernetes_own_kinds() -> None:
    """Every name is known there, every value has its type: what is not would be lost on the way."""
    text = (DEPLOY / "kubernetes.yaml").read_text()

    resources: list[Any] = codecs.load_all_yaml(text)
    assert [each.to_dict() for each in resources] == [*yaml.safe_load_all(text)]
    assert manifests()["CronJob"]["spec"]["concurrencyPolicy"] == "Forbid"
    assert "Secret" not in manifests()


def test_a_job_heeds_every_exit_code() -> None:
    """Each is in one rule: another attempt for 4 and what was ended, and 6 is no attempt at all."""
    by_action = {
        rule["action"]: {*rule["onExitCodes"]["values"]}
        for rule in job()["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    }

    assert by_action == {"FailJob": {1, 2, 3, 5}, "Ignore": {6}, "Count": {4, 130, 143}}
    assert sum(map(len, by_action.values())) == len(CODES)
    assert job()["podFailurePolicy"]["rules"][0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert job()["template"]["spec"]["restartPolicy"] == "Never"  # else the policy is refused


def test_a_pod_has_settings_that_annolake_reads(tmp_path: Path) -> None:
    """Where the image looks for them, as the image's user, with the key from the Secret alone."""
    (name, text), *more = manifests()["ConfigMap"]["data"].items()
    (tmp_path / name).write_text(text)
    config = load_config(tmp_path / name, {}, {})
    pod = job()["template"]["spec"]
    (container,) = pod["containers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}

    assert (name, more, config.source.queues) == ("annolake.toml", [], "all")
    assert mounted[of_last_stage("WORKDIR")[0]] == "settings"
    assert str(config.lake.scratch) in mounted
    assert pod["securityContext"]["runAsUser"] == int(of_last_stage("USER")[0])
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["envFrom"] == [{"secretRef": {"name": "annolake"}}]
    assert build_parser().parse_args(container["args"]).command == "run"
    assert {rule["onExitCodes"]["containerName"] for rule in job()["podFailurePolicy"]["rules"][1:]} == {
        container["name"]
    }


def test_the_page_s_commands_set_up_what_the_service_runs(tmp_path: Path) -> None:
    """With other folders: the settings are written and checked, and the service's own command then fills the lake."""
    section = (ROOT / "docs/operating.md").read_text().partition("\n## Deploying\n")[2].partition("\n## ")[0]
    (block,) = (text for _, text in _FENCED.findall(section) if "systemctl" in text)

    def here(text: str) -> list[str]:
        """Return the words behind the command's name."""
        moved = text.replace("/etc/annolake", str(tmp_path)).replace("/var/lib/annolake", str(tmp_path))
        return shlex.split(moved.partition("annolake ")[2])

    with Sandbox(Population(rows=40, days=2, odd=False), seed=3) as sandbox:
        (tmp_path / "api_key").write_text(sandbox.api_key)
        (tmp_path / "api_key").chmod(0o600)
        environ = {"ANNOLAKE_SOURCE__BASE_URL": sandbox.url, "ANNOLAKE_SOURCE__API_KEY_FILE": str(tmp_path / "api_key")}
        (command,) = (line for line in block.splitlines() if line.startswith("/opt/annolake/bin/annolake "))
        written = annolake(*here(command), cwd=tmp_path, environ=environ)
        ran = annolake(*here(unit("annolake.service")["Service"]["ExecStart"]), cwd=tmp_path, environ=environ)

    assert (written.exit_code, ran.exit_code, ran.err) == (0, 0, ""), written.err + ran.err
    assert [*(tmp_path / "lake/runs").iterdir()]
    assert {*re.findall(r"deploy/[\w./]*\w", section)} <= {
        path.relative_to(ROOT).as_posix() for path in DEPLOY.rglob("*") if path.is_file()
    }
