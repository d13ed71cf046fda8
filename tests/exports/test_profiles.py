"""A Delta lake in an object store for which the credentials are those of a profile in ~/.aws."""

import json
import shlex
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from annolake.clock import Clock
from annolake.load.storage.aws_profile import open_profile
from annolake.sandbox import Population, Sandbox
from exporting import annolake, write_config
from load.model_queue import changed, export, lake_of, rows
from object_store import ObjectStore


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home with nothing in it, on a machine that has no role and whose variables say nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".aws").mkdir(parents=True)
    return tmp_path / "home"


def test_a_profile_is_enough_for_a_delta_lake(object_store: ObjectStore, tmp_path: Path, home: Path) -> None:
    """Named by AWS_PROFILE: every command reaches files, locks and tables with it, and no key is told."""
    (home / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = nobodysecret\n"
        "[lakes]\naws_access_key_id = writer\naws_secret_access_key = writersecret\n"
    )
    (home / ".aws" / "config").write_text("[profile lakes]\nregion = us-east-1\n")
    address = object_store.address()
    settings = {
        "lake.path": address,
        "lake.scratch": str(tmp_path / "scratch"),
        "lake.storage.endpoint": object_store.endpoint,
        "lake.storage.allow_http": "true",
    }
    with Sandbox(Population(rows=30, odd=False), seed=5) as sandbox:
        config = write_config(tmp_path, sandbox, settings)
        said = [
            annolake(*command, "--config", config, key=sandbox.api_key, cwd=tmp_path, environ={"AWS_PROFILE": "lakes"})
            for command in (["check"], ["run", "--quiet"], ["run", "--quiet"], ["verify"], ["status"])
        ]
        other = annolake("run", "--quiet", "--config", config, key=sandbox.api_key, cwd=tmp_path)

    assert [ran.exit_code for ran in said] == [0] * 5, [ran.err for ran in said]
    assert other.exit_code == 5
    assert not any(f"{user}secret" in ran.out + ran.err for ran in [*said, other] for user in ("writer", "nobody"))
    frame = pl.scan_delta(f"{address}/runs", storage_options=object_store.environ()).collect()
    assert len(frame) == 30


def test_a_commit_is_made_with_the_credentials_of_its_moment(
    object_store: ObjectStore, tmp_path: Path, home: Path
) -> None:
    """Temporary ones last for an hour, and an export can last longer than those it read the table with."""
    told = tmp_path / "keys"

    def hand_out(user: str) -> None:
        keys = {"Version": 1, "AccessKeyId": user, "SecretAccessKey": f"{user}secret"}
        ends = (Clock().now() + timedelta(minutes=1)).isoformat()  # so soon that they are asked for each time
        told.write_text(json.dumps(keys | {"Expiration": ends}))

    (home / ".aws" / "config").write_text(f"[default]\ncredential_process = cat {shlex.quote(str(told))}\n")
    reached = object_store.environ()
    environ = {name: reached[name] for name in reached if "KEY" not in name} | {"HOME": str(home)}
    address, queue = object_store.address(), rows(6)
    hand_out("writer")
    export(lake_of(address, environ, scratch=tmp_path / "scratch"), queue)

    hand_out("reader")
    lake = lake_of(address, environ, scratch=tmp_path / "scratch")
    lake.arrangement = "delta"  # so that nothing but the log is read
    assert lake.table("runs").queue_ids()
    hand_out("writer")
    export(lake, [changed(row) for row in queue], number=2)

    frame = pl.scan_delta(f"{address}/runs", storage_options=reached).select("status").collect()
    assert set(frame["status"]) == {"version 1"}


def test_keys_are_not_used_for_longer_than_they_last(home: Path) -> None:
    """What boto3 hands out can end ten minutes later: the store's client has to ask again by then."""
    (home / ".aws" / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    provider = open_profile(None)
    assert provider is not None

    keys = provider()

    assert keys["expires_at"] - Clock().now() <= timedelta(minutes=10)
