"""The metrics file: the report's own figures, there while an export runs and however it ends."""

import os
import re
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from annolake.clock import Clock
from annolake.config import load_config
from annolake.metrics import HELP, as_prometheus
from annolake.pipeline import export
from annolake.report import QueueReport, Report, new_report
from annolake.sandbox import Faults, Population, Sandbox
from exporting import annolake, export_once, write_config

_LINE = re.compile(r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (?P<value>\S+)')


def samples(text: str) -> dict[str, float]:
    """Return the samples of a file by name and labels, apart from the queue's; checks the format line by line."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            parts = _LINE.fullmatch(line)
            assert parts, line
            labels = re.sub(r'(export|queue_id|name)="(?:[^"\\]|\\.)*",?', "", parts["labels"] or "")
            key = f"{parts['name']}{{{labels}}}" if labels else parts["name"]
            assert key not in found, "there is a queue too many for this test"
            found[key] = float(parts["value"])
    return found


def metrics(folder: Path) -> dict[str, float]:
    """Return the samples of the file that an export wrote."""
    return samples((folder / "metrics/annolake.prom").read_text())


TEXTFILE = {"metrics.textfile": "metrics/annolake.prom"}


def test_metrics_are_the_figures_of_the_report(tmp_path: Path) -> None:
    """Rows by result, rejects, requests and times; of several exports the last one's."""
    with Sandbox(Population(rows=60, days=2), seed=2) as sandbox:
        row = sandbox.queue().rows("active")[0]
        sandbox.queue().set_text(row.id, re.sub(rb'"total_tokens":[^,}]+', b'"total_tokens":"many"', row.text))
        export_once(sandbox, tmp_path, TEXTFILE)
        sandbox.queue().add(3)
        report = export_once(sandbox, tmp_path, TEXTFILE)

    found, queue = metrics(tmp_path), report.queues[0]
    assert queue.finished_at
    assert queue.newest_added_at
    assert queue.inserted == 3
    for result in ("inserted", "updated", "unchanged", "removed"):
        assert found[f'annolake_queue_rows{{table="runs",result="{result}"}}'] == getattr(queue, result)
        assert found[f'annolake_queue_rows{{table="feedback",result="{result}"}}'] == getattr(queue.feedback, result)
    assert found['annolake_queue_rows{table="runs",result="erased"}'] == queue.erased == 0
    assert queue.rejected > 0
    assert found['annolake_queue_rejects{table="runs",state="met"}'] == queue.rejected
    assert found['annolake_queue_rejects{table="runs",state="new"}'] == queue.rejected_new == 0
    assert found["annolake_queue_rejects_known"] == queue.rejects_known
    assert found['annolake_queue_requests{kind="query"}'] == queue.queries
    assert found['annolake_queue_requests{kind="listing"}'] == queue.requests - queue.queries > 0
    assert found["annolake_queue_payloads_missing"] == queue.payloads_missing
    assert found["annolake_queue_complete"] == queue.complete
    assert found["annolake_queue_seconds"] == queue.seconds
    assert found["annolake_queue_newest_added_at_timestamp_seconds"] == queue.newest_added_at.timestamp()
    assert found["annolake_queue_last_success_timestamp_seconds"] == queue.finished_at.timestamp()
    assert (found["annolake_export_running"], found["annolake_export_exit_code"]) == (0, report.exit_code)
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["annolake.prom"]
    assert 'annolake_export_running{export="annolake"} 0' in (tmp_path / "metrics/annolake.prom").read_text()


def test_a_failed_export_keeps_the_last_success(tmp_path: Path) -> None:
    """The command with a wrong key: its exit code is there, and when the last good export ended."""
    with Sandbox(Population(rows=9, odd=False, days=2), seed=2) as sandbox:
        file = write_config(tmp_path, sandbox, TEXTFILE)
        good = annolake("run", "--quiet", "--config", file, key=sandbox.api_key, cwd=tmp_path)
        first = metrics(tmp_path)
        bad = annolake("run", "--quiet", "--config", file, key="wrong", cwd=tmp_path)
        second = metrics(tmp_path)
        keyless = annolake("run", "--quiet", "--config", file, key="", cwd=tmp_path)

    success = "annolake_queue_last_success_timestamp_seconds"
    assert (good.exit_code, bad.exit_code, keyless.exit_code) == (0, 4, 2)
    assert [each["annolake_export_exit_code"] for each in (first, second, metrics(tmp_path))] == [0, 4, 2]
    assert first[success] == second[success] == metrics(tmp_path)[success]
    assert (first["annolake_queue_complete"], second["annolake_queue_complete"]) == (1, 0)


def test_metrics_are_written_every_30_seconds(tmp_path: Path) -> None:
    """By a clock that goes 20 seconds on at each look: while the queue is read, its rows so far are there."""
    seen: list[dict[str, float]] = []
    now = [0.0]

    class Watching:
        """A progress bar that looks at the file after each delivery."""

        def _ignore(self, *_what: object) -> None:
            """Do nothing."""

        planned = entered = finished = _ignore

        def deliver(self) -> None:
            """Read the file, if there is one, and let time go by."""
            now[0] += 20
            if (tmp_path / "metrics/annolake.prom").exists():
                seen.append(metrics(tmp_path))

    with Sandbox(Population(rows=300, odd=False, days=2), seed=2, faults=Faults(latency_s=0.1)) as sandbox:
        file = write_config(tmp_path, sandbox, TEXTFILE | {"source.request_timeout_s": 86_400})
        config = load_config(file, {})
        clock = replace(Clock(), monotonic=lambda: now[0])
        export(config, {"LANGSMITH_API_KEY": sandbox.api_key}, clock=clock, progress=Watching())

    running = [each for each in seen if each["annolake_export_running"]]
    assert len(seen) == now[0] / 20 - 2, "not in the first 30 seconds, and then at once"
    assert running
    assert all("annolake_export_exit_code" not in each for each in running)
    assert all("annolake_queue_rows_read" in each for each in running)
    assert metrics(tmp_path)["annolake_queue_rows_read"] == 300


def test_a_file_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    """The export is as good as any; nothing half-written is left."""
    (tmp_path / "below").write_text("no folder")
    with Sandbox(Population(rows=9, odd=False, days=2), seed=2) as sandbox:
        file = write_config(tmp_path, sandbox, {"metrics.textfile": "below/annolake.prom"})
        ran = annolake("run", "--quiet", "--config", file, key=sandbox.api_key, cwd=tmp_path)

    assert ran.exit_code == 0
    assert "event=metrics_not_written" in ran.err
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path) -> None:
    """A pipe and a folder, as /dev/null would be: a warning says why, and they are what they were."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with Sandbox(Population(rows=9, odd=False, days=2), seed=2) as sandbox:
        for name in ("pipe", "folder"):
            file = write_config(tmp_path, sandbox, {"metrics.textfile": name})
            ran = annolake("run", "--quiet", "--config", file, key=sandbox.api_key, cwd=tmp_path)

            assert ran.exit_code == 0
            assert "event=metrics_not_written" in ran.err
            assert 'error="not a regular file"' in ran.err
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "folder").is_dir()


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The file that it names has the figures, in a folder that may be missing yet; the link is still one."""
    link, named = tmp_path / "annolake.prom", tmp_path / "collector/export.prom"
    link.symlink_to(named)
    with Sandbox(Population(rows=9, odd=False, days=2), seed=2) as sandbox:
        export_once(sandbox, tmp_path, {"metrics.textfile": str(link)})

    assert link.readlink() == named
    assert not named.is_symlink()
    assert samples(named.read_text())["annolake_export_exit_code"] == 0
    assert [path.name for path in named.parent.iterdir()] == [named.name]


_SELECTOR = re.compile(r"\b(annolake_[a-z_]+)(?:\{([^}]*)\})?")
_BY = re.compile(r"\bon \(([a-z_, ]+)\)")


def test_the_alerts_of_the_docs_ask_for_metrics_that_there_are() -> None:
    """Each rule is whole; names, label values and the labels that are joined on or shown are those of a real file."""
    text = (Path(__file__).parents[1] / "docs/operating.md").read_text()
    (block,) = re.findall(r"```yaml\n(groups:.*?)```", text, re.DOTALL)
    (group,) = yaml.safe_load(block)["groups"]
    report = new_report(Clock().now())
    report.queues = [QueueReport(queue_id="q", name="n")]
    report.finish(Clock().now())
    written = as_prometheus(report, {"q": Clock().now()}, {}, export="e", now=Clock().now())
    lines = [line for line in written.splitlines() if not line.startswith("#")]

    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"]) > 5
    for rule in group["rules"]:
        selected = _SELECTOR.findall(rule["expr"])
        assert selected, rule
        for name, labels in selected:
            found = [line for line in lines if re.match(rf"{name}[{{ ]", line) and labels in line]
            assert found, (name, labels)
        shown = re.findall(r"\$labels\.([a-z_]+)", rule["annotations"]["summary"])
        joined = [label for by in _BY.findall(rule["expr"]) for label in by.split(", ")]
        assert all(f'{label}="' in found[0] for label in (*shown, *joined)), rule


def test_every_metric_is_explained() -> None:
    """docs/operating.md names each, and none that is not there."""
    text = (Path(__file__).parents[1] / "docs/operating.md").read_text()

    assert set(re.findall(r"\bannolake_(?:export|queue)_[a-z_]+", text)) == set(HELP)


@pytest.mark.parametrize("name", ['a "b" \\ c', "two\nlines", "\ud800", None])
def test_names_are_escaped(name: str | None) -> None:
    """A queue's name is somebody's text."""
    report: Report = new_report(Clock().now())
    report.queues = [QueueReport(queue_id="q", name=name)]
    text = as_prometheus(report, {}, {}, export="nightly", now=Clock().now())

    assert samples(text)["annolake_queue_exit_code"] == 0
    assert 'annolake_queue_exit_code{export="nightly",queue_id="q",name="' in text
