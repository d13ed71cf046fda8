"""`annolake run --dry-run` says what would be read, and reads and writes none of it."""

import json
from pathlib import Path

from annolake.sandbox import Population, Sandbox
from exporting import annolake, files_of, write_config


def test_a_dry_run_says_what_would_be_read(tmp_path: Path) -> None:
    """As the export does that follows: all, then new ones; no lake is made, no file changes, no row is asked for."""
    with Sandbox(Population(rows=1_200, odd=False, days=2), seed=2) as sandbox:
        run = ("run", "--config", write_config(tmp_path, sandbox))
        queue_id, name = sandbox.queue_ids[0], sandbox.queue().name
        before = annolake(*run, "--new-only", "--dry-run", key=sandbox.api_key, cwd=tmp_path)
        rows = sum(record.rows for record in sandbox.requests)
        was_made = (tmp_path / "lake").exists()
        first = annolake(*run, "--new-only", "--json", "--quiet", key=sandbox.api_key, cwd=tmp_path)
        files, reports = files_of(tmp_path / "lake"), list((tmp_path / "lake/_annolake/reports").iterdir())
        full = annolake(*run, "--dry-run", key=sandbox.api_key, cwd=tmp_path)
        new = annolake(*run, "--dry-run", "--new-only", "--json", key=sandbox.api_key, cwd=tmp_path)
        second = annolake(*run, "--new-only", "--json", "--quiet", key=sandbox.api_key, cwd=tmp_path)

    reason = first.report["queues"][0]["mode_reason"]
    assert (before.exit_code, before.err, was_made) == (0, "", False)
    assert rows < 10
    assert before.out == (
        f"queue {queue_id}: {name}: 1,200 rows, as reported by the service; would be read whole ({reason}) over runs; "
        "the lake holds 0 rows of it\n"
    )
    assert full.out.endswith("; would be read whole over runs; the lake holds 1,200 rows of it\n")
    (told,) = json.loads(new.out)["queues"]
    assert (told["mode"], told["mode_reason"], told["held"]) == ("new", None, 1_200)
    assert (second.report["queues"][0]["mode"], second.report["queues"][0]["mode_reason"]) == ("new", None)
    assert files_of(tmp_path / "lake") == files
    assert len(reports) == 1


def test_a_dry_run_ends_as_check_does(tmp_path: Path) -> None:
    """With a key that is refused, without one, and as JSON."""
    with Sandbox(Population(rows=3, odd=False, days=2), seed=2) as sandbox:
        run = ("run", "--dry-run", "--config", write_config(tmp_path, sandbox))
        refused = annolake(*run, key="wrong", cwd=tmp_path)
        keyless = annolake(*run, "--json", key="", cwd=tmp_path)

    assert (refused.exit_code, keyless.exit_code) == (4, 2)
    assert "refused the key (401)" in refused.out
    assert json.loads(keyless.out)["exit_code"] == 2
    assert not (tmp_path / "lake").exists()
