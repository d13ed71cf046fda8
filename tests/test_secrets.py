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
