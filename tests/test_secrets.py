"""Nothing secret gets anywhere: not into the lake, not into a message, a log or a report."""

import json
from pathlib import Path

import polars as pl
import pytest

from annolake.sandbox import Faults, Sandbox
from exporting import annolake, write_config

SHARE_TOKEN = "5ec4e700-0000-4000-8000-00000000beef"
SIGNATURE = "5ignatur3"


def everything_in(lake: Path) -> str:
    """Return all that the lake holds: every cell of every file, every other file and every name."""
    told = [str(path) for path in lake.rglob("*")]
    for path in lake.rglob("*"):
        if path.suffix == ".parquet":
            told.append(str(pl.read_parquet(path).to_dicts()))
        if path.is_file():
            told.append(path.read_bytes().decode("latin-1"))
    return "\n".join(told)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_anywhere(log_format: str, tmp_path: Path) -> None:
    """Key, signatures and share tokens are in the data and the requests, and nowhere else afterwards."""
    faults = Faults(script=["ok", "503", "html", "truncated", "429_seconds", "reset"], retry_after_s=0)
    with Sandbox(rows=400, seed=9, faults=faults) as sandbox:
        queue = sandbox.queue()
        link = {"ROOT": {"presigned_url": f"https://bucket.example/x?X-Amz-Signature={SIGNATURE}"}}
        fields = {"share_token": SHARE_TOKEN, "inputs_s3_urls": link, "attachments_s3_urls": link}
        rows = queue.rows("active")
        queue.edit(rows[0].id, **fields)
        queue.set_text(rows[1].id, json.dumps({**json.loads(rows[1].text), **fields, "total_tokens": "x"}).encode())
        queue.set_text(rows[2].id, json.dumps([fields]).encode())
        path = write_config(tmp_path, sandbox, {"log.log_format": log_format, "retry.max_wait_s": 0.01})
        ran = annolake("run", "--config", path, "--json", key=sandbox.api_key, cwd=tmp_path)
        secrets = {sandbox.api_key, SHARE_TOKEN, SIGNATURE, "X-Amz-Signature"}
        sent = b"".join(row.text for section in ("active", "archived") for row in queue.rows(section))

    assert ran.exit_code == 3, ran.err
    assert b"share_token" in sent
    told = everything_in(tmp_path / "lake") + ran.out + ran.err
    assert [secret for secret in secrets if secret in told] == []


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_key_file_that_others_may_read_is_told_once(command: str, mode: int, *, warned: bool, tmp_path: Path) -> None:
    """One warning line on standard error, with neither what the file holds nor its name; the export goes on."""
    with Sandbox(rows=40, queues=2, seed=9, odd=False) as sandbox:
        key = tmp_path / "s3cret-name"
        key.write_text(sandbox.api_key)
        key.chmod(mode)
        path = write_config(tmp_path, sandbox, {"source.api_key_file": str(key)})
        ran = annolake(*(["run", "--quiet"] if command == "run" else ["check"]), "--config", path, cwd=tmp_path)

    assert ran.exit_code == 0, ran.err
    assert ["event=key_file_exposed" in line for line in ran.err.splitlines()] == [True] * warned
    assert sandbox.api_key not in ran.err + ran.out
    assert key.name not in ran.err + ran.out


def test_a_key_file_that_others_may_read_is_told_as_json(tmp_path: Path) -> None:
    """With log_format = "json" the warning is a line of JSON."""
    with Sandbox(rows=3, seed=9) as sandbox:
        key = tmp_path / "key"
        key.write_text(sandbox.api_key)
        key.chmod(0o644)
        settings = {"source.api_key_file": str(key), "log.log_format": "json"}
        ran = annolake("run", "--config", write_config(tmp_path, sandbox, settings), "--quiet", cwd=tmp_path)

    (line,) = ran.err.splitlines()
    assert json.loads(line)["event"] == "key_file_exposed"
