"""Settings that a program makes or changes itself: they are read as those of a file are, before anything is touched."""

import pickle
from collections import UserList, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import annolake
from annolake.config import Columns, Config, Lake, Source, checked
from annolake.sandbox import Population, Sandbox
from annolake.settings_text import example_toml
from exporting import KEY_VARIABLE, write_config

ONE = Population(rows=1, odd=False, days=2)
QUEUE = "0b1c2d3e-4f50-4a1b-8c2d-3e4f50617283"

LISTED = 'a list of queue ids, addresses of their pages or exact names, or "all"'
IN_CONFIG = "(in the argument config)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(
    source: dict[str, Any] | None = None, lake: dict[str, Any] | None = None, columns: dict[str, Any] | None = None
) -> Config:
    """Return settings as a program makes them, nothing of which is looked at when they are made."""
    return Config(
        source=Source(**{"queues": (QUEUE,), **(source or {})}),
        lake=Lake(**{"path": "lake", **(lake or {})}),
        columns=Columns(**(columns or {})),
    )


def test_all_that_has_a_default_may_be_left_out() -> None:
    """As in a file: queues and the place of the lake are enough."""
    config = Config(source=Source(queues=(QUEUE,)), lake=Lake(path=Path("/data/lake")))

    assert checked(config, {}) == annolake.load_config(
        None, {"ANNOLAKE_SOURCE__QUEUES": QUEUE, "ANNOLAKE_LAKE__PATH": "/data/lake"}
    )


WRONG: list[tuple[Any, str]] = [
    ("annolake.toml", "config: expected settings, got a value of type str: annolake.load_config returns them"),
    (None, "config: expected settings, got a value of type NoneType: annolake.load_config returns them"),
    (made({"concurrency": "8"}), f'source.concurrency: expected a whole number from 1 to 64, got "8" {IN_CONFIG}'),
    (made({"concurrency": 0}), f"source.concurrency: expected a whole number from 1 to 64, got 0 {IN_CONFIG}"),
    (made({"timeout_s": None}), "source.timeout_s: expected a number above 0, at most 3600, got a value that is not"),
    (made({"queues": ()}), f"source.queues: expected {LISTED}, got a list {IN_CONFIG}"),
    (made({"queues": (7,)}), f"source.queues: expected {LISTED}, got a list {IN_CONFIG}"),
    (made({"queues": frozenset({QUEUE})}), f"source.queues: expected {LISTED}, got a value that is not shown"),
    (made({"base_url": "api.smith"}), "source.base_url: expected an http or https address"),
    (made({"endpoint": "items", "status": "completed"}), "source.status: the items endpoint cannot filter by it"),
    (made({"api_key_env": "lsv2_pt_planted"}), "source.api_key_env: expected the name of an environment variable"),
    (made(lake={"path": 5}), "lake.path: expected a folder, or an address: s3://bucket/folder"),
    (made(lake={"path": Path("s3://bucket/lake")}), 'lake.path: expected a folder, or .*, got "s3:/bucket/lake"'),
    (made(lake={"format": "Delta"}), 'lake.format: expected one of .*, got "Delta" .*; did you mean "delta"?'),
    (made(lake={"keep_reports": 0}), "lake.keep_reports: expected a whole number from 1 to 1000000, got 0"),
    (made(lake={"scratch": 5}), "lake.scratch: expected a folder, got 5"),
    (made(lake={"storage": {"secret_access_key": "planted"}}), "lake.storage.secret_access_key: a secret does not"),
    (made(columns={"exclude": ("inptus",)}), f'columns.exclude: "inptus" is no column .* {IN_CONFIG}'),
    (made(columns={"pseudonymize": ("reserved_by",)}), "columns.pseudonym_key_env: required with columns.pseudonymize"),
    (replace(made(), retry=8), "retry: expected annolake.config.Retry, got a value of type int"),
]


@pytest.mark.parametrize(("config", "says"), WRONG, ids=[says[:40] for _, says in WRONG])
def test_what_is_wrong_is_told_as_of_a_file(config: Any, says: str, folder: Path) -> None:
    """Setting, what is allowed, what was given: by an export, and where the lake is read. No lake is made."""
    calls: list[Callable[[], object]] = [lambda: annolake.export(config, environ={})]
    if isinstance(config, Config):
        calls.append(lambda: annolake.scan(config))
    for call in calls:
        with pytest.raises(annolake.ConfigError, match=says.replace("(", r"\(").replace(")", r"\)")) as caught:
            call()
        assert "planted" not in str(caught.value)
        assert "\n" not in str(caught.value)

    assert list(folder.iterdir()) == []


def test_everything_wrong_is_told_at_once() -> None:
    """One line for each mistake, in the order of the settings."""
    with pytest.raises(annolake.ConfigError) as caught:
        checked(made({"concurrency": "8", "page_size": 0}, {"keep_reports": 0}), {})

    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "source.page_size",
        "source.concurrency",
        "lake.keep_reports",
    ]


def test_an_export_takes_what_a_file_may_have(folder: Path) -> None:
    """A path as text, ids in capitals, one alone or twice, an address with a slash at its end."""
    with Sandbox(ONE) as sandbox:
        (queue,) = sandbox.queue_ids
        environ = {KEY_VARIABLE: sandbox.api_key}
        reports = [
            annolake.export(made({"queues": queues, "base_url": f"{sandbox.url}/"}), environ=environ)
            for queues in (queue, [queue], (queue.upper(), queue), ("all",))
        ]
        scanned = annolake.scan(made({"queues": queue})).collect()

    assert [[each.queue_id for each in report.queues] for report in reports] == [[queue]] * 4
    assert [report.exit_code for report in reports] == [0] * 4
    assert [path.name for path in folder.iterdir()] == ["lake"]
    assert scanned.height == 1


@pytest.mark.parametrize("kind", [tuple, deque, UserList, set, dict.fromkeys, iter])
def test_queues_may_be_any_collection(kind: Callable[[list[str]], Iterable[str]], folder: Path) -> None:
    """A program has them from wherever it has them."""
    with Sandbox(ONE) as sandbox:
        config = annolake.load_config(write_config(folder, sandbox, {"source.queues": "all"}))
        report = annolake.export(config, queues=kind(sandbox.queue_ids), environ={KEY_VARIABLE: sandbox.api_key})

    assert [(queue.queue_id, queue.exit_code) for queue in report.queues] == [(sandbox.queue_ids[0], 0)]


def test_queues_of_an_export_replace_wrong_ones() -> None:
    """What another layer replaces is not judged."""
    assert checked(made({"queues": ()}), {}, [QUEUE]).source.queues == (QUEUE,)
    with pytest.raises(annolake.ConfigError, match=r"source.queues: .*, got 5 \(in the argument queues\)"):
        checked(made(), {}, 5)


def test_what_load_config_returns_stays_as_it_is(folder: Path) -> None:
    """In a process that it was sent to, too."""
    (folder / "annolake.toml").write_text(example_toml())
    environ = {
        "ANNOLAKE_SOURCE__API_KEY_FILE": "key",
        "ANNOLAKE_LAKE__STORAGE": "allow_http=true",
        "ANNOLAKE_LAKE__SCRATCH": "~/scratch",
        "ANNOLAKE_COLUMNS__EXCLUDE": "inputs,feedback.comment",
        "HOME": "/home/me",
    }
    config = annolake.load_config(environ=environ)

    assert checked(config, environ) == config
    assert checked(pickle.loads(pickle.dumps(config)), {}) == config  # noqa: S301 - of this process
    assert config.lake.scratch == Path("/home/me/scratch")


def test_relative_paths_do_not_follow_the_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may change its folder after it has loaded the settings, and while an export runs."""
    (folder / "other").mkdir()
    paths = {"lake.path": "lake", "lake.scratch": "scratch", "metrics.textfile": "a.prom"}

    def leave(_event: annolake.ProgressEvent) -> None:
        monkeypatch.chdir(folder / "other")

    with Sandbox(ONE) as sandbox:
        write_config(folder, sandbox, paths | {"source.api_key_file": "key"})
        (folder / "key").write_text(sandbox.api_key)
        (folder / "key").chmod(0o600)
        config = annolake.load_config("annolake.toml", {})
        in_code = replace(config, lake=replace(config.lake, path=Path("second")))
        reports = [annolake.export(in_code, on_progress=leave, environ={})]
        reports.append(annolake.export(config, environ={}))

    assert [report.exit_code for report in reports] == [0, 0]
    assert {path.name for path in folder.iterdir()} - {"scratch"} == {
        *("annolake.toml", "a.prom", "key", "lake", "other", "second")
    }
    assert list((folder / "other").iterdir()) == []
