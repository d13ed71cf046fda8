"""Nothing secret gets anywhere: not into the lake, not into a message, a log or a report."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from annolake.sandbox import Faults, Population, Sandbox
from annolake.sandbox.answers import Answer, Asked
from exporting import annolake, export_once, files_of, one_queue, with_polars, write_config
from hostile import Hostile, Wire

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
    with Sandbox(Population(rows=400, days=2), seed=9, faults=faults) as sandbox:
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
    with Sandbox(Population(rows=40, queues=2, odd=False, days=2), seed=9) as sandbox:
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
    with Sandbox(Population(rows=3, days=2), seed=9) as sandbox:
        key = tmp_path / "key"
        key.write_text(sandbox.api_key)
        key.chmod(0o644)
        settings = {"source.api_key_file": str(key), "log.log_format": "json"}
        ran = annolake("run", "--config", write_config(tmp_path, sandbox, settings), "--quiet", cwd=tmp_path)

    (line,) = ran.err.splitlines()
    assert json.loads(line)["event"] == "key_file_exposed"


SPELLINGS = [
    f'"/api/v1/public/download?jwt={SIGNATURE}"',
    f'"//bucket.example/x?{SIGNATURE}"',
    rf'"https:\u002f\u002fbucket.example\u002fx?X-Amz-Signature={SIGNATURE}"',
    rf'"https\u003a//bucket.example/x\u003fX-Amz-Signature={SIGNATURE}"',
    rf'"https:\/\/bucket.example\/x?X-Amz-Signature={SIGNATURE}"',
    f'"https://user:{SIGNATURE}@bucket.example/x"',
    f'"https://bucket.example/x#sig={SIGNATURE}"',
    f'"https://bucket.example/x;sig={SIGNATURE}"',
    f'{{"/api/v1/public/download?jwt={SIGNATURE}": 1.10}}',
    f'{{"share_token": ["{SHARE_TOKEN}", {{"a": "{SHARE_TOKEN}"}}]}}',
    rf'{{"share\u005ftoken": {{"a": ["{SHARE_TOKEN}"]}}}}',
    f'[{{"share_url": "https://smith.example/public/{SHARE_TOKEN}/r"}}]',
]
SPELT = "{" + ",".join(f'"{number}": {text}' for number, text in enumerate(SPELLINGS)) + "}"
SHARE_URL = f'"https://smith.example/public/{SHARE_TOKEN}/r"'


def with_secrets(row: bytes, *, urls: bool) -> bytes:
    """Return a JSON object with each spelling in a field nobody knows, and in a column of URLs if told so."""
    more = f', "leftover": {SPELT}, "share_url": {SHARE_URL}, "share_token": null'
    if urls:
        more += f', "s3_urls": {SPELT}'
    return row.rstrip()[:-1] + more.encode() + b"}"


def without(row: bytes, *names: str) -> bytes:
    """Return a JSON object without some of its fields."""
    return json.dumps({name: value for name, value in json.loads(row).items() if name not in names}).encode()


def with_secrets_everywhere(_wire: Wire, asked: Asked, answer: Answer) -> Answer:
    """Plant every spelling in every row that any endpoint tells, in good ones and in every fifth that is broken."""
    listed = asked.path.endswith(("/runs", "/items", "/runs/query"))
    if not listed or answer.status != 200:
        return answer
    told = json.loads(answer.body)
    rows = told if isinstance(told, list) else told["items"]
    texts = []
    for row in rows:
        text = without(json.dumps(row).encode(), "s3_urls", "share_token", "share_url")
        text = with_secrets(text, urls=asked.path.endswith("/runs"))
        if int(row["id"][:2], 16) % 5 == 0 and not asked.path.endswith("/query"):
            text = text[:-1] + b', "added_at": "yesterday, see https://h/p?sig=' + SIGNATURE.encode() + b'"}'
        texts.append(text)
    body = b"[" + b",".join(texts) + b"]"
    if isinstance(told, dict):
        body = b'{"items":' + body + b',"next_cursor":' + json.dumps(told["next_cursor"]).encode() + b"}"
    return Answer(200, body)


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_no_spelling_of_a_secret_gets_through(endpoint: str, tmp_path: Path) -> None:
    """Relative, escaped, behind # and ;, in keys and in lists: not in a table, a reject, a log or a report."""
    with Hostile(Sandbox(Population(rows=120, days=2), seed=9), with_secrets_everywhere) as service:
        path = write_config(tmp_path, service, {"source.endpoint": endpoint})
        ran = annolake("run", "--config", path, "--json", key=service.api_key, cwd=tmp_path)

    queue = ran.report["queues"][0]
    assert (ran.exit_code, queue["complete"]) == (3, True), ran.err
    assert queue["inserted"] > 60
    assert queue["rejected_new"] > 10
    told = everything_in(tmp_path / "lake") + ran.out + ran.err
    assert [secret for secret in (SHARE_TOKEN, SIGNATURE, service.api_key) if secret in told] == []
    row = next(iter(with_polars(tmp_path / "lake").values()))
    unmapped = json.loads(row["unmapped"])["leftover"]
    assert unmapped["0"] == "/api/v1/public/download"
    assert unmapped["8"] == {"/api/v1/public/download": 1.1}
    assert "share_url" not in json.loads(row["unmapped"])
    assert '{"/api/v1/public/download": 1.10}' in row["unmapped"]


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_fresh_signatures_of_any_form_change_no_file(endpoint: str, tmp_path: Path) -> None:
    """What changes at every listing is no change: an unchanged queue is not rewritten."""
    signatures = itertools.count(10**9)

    def sign(wire: Wire, asked: Asked, answer: Answer) -> Answer:
        answer = with_secrets_everywhere(wire, asked, answer)
        fresh = str(next(signatures)).encode()
        body = answer.body.replace(SIGNATURE.encode(), fresh).replace(SHARE_TOKEN.encode(), fresh)
        return replace(answer, body=body)

    with Hostile(Sandbox(Population(rows=60, days=2), seed=9), sign) as service:
        settings = {"source.endpoint": endpoint}
        first = one_queue(export_once(service, tmp_path, settings))
        before = files_of(tmp_path / "lake")
        rejects = everything_in(tmp_path / "lake/_annolake/rejected")
        second = one_queue(export_once(service, tmp_path, settings))

    assert (first.exit_code, second.exit_code, second.updated, second.rejected_new) == (3, 0, 0, 0)
    assert files_of(tmp_path / "lake") == before
    assert everything_in(tmp_path / "lake/_annolake/rejected") == rejects


@pytest.mark.parametrize("column", ["inputs_s3_urls", "outputs_s3_urls", "s3_urls"])
def test_relative_urls_lose_their_token_in_columns_of_urls(column: str, tmp_path: Path) -> None:
    """The path of a self-hosted service's URL stays, its token goes; URLs inside inputs stay as they were sent."""
    link = {"ROOT": {"presigned_url": f"/api/v1/public/download?jwt={SIGNATURE}", "size": 3}}
    with Sandbox(Population(rows=30, odd=False, days=2), seed=9) as sandbox:
        row = sandbox.queue().rows("active")[0]
        sandbox.queue().edit(row.id, inputs={"see": f"https://h/p?mine={SIGNATURE}"}, **{column: link})
        export_once(sandbox, tmp_path)

    stored = with_polars(tmp_path / "lake")[row.id]
    assert json.loads(stored[column]) == {"ROOT": {"presigned_url": "/api/v1/public/download", "size": 3}}
    assert json.loads(stored["inputs"]) == {"see": f"https://h/p?mine={SIGNATURE}"}
