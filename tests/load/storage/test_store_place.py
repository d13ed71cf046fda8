"""Opening a lake's place in an object store: by options, variables and profiles, and what is wrong with them."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from annolake.clock import Clock
from annolake.errors import ConfigError, LakeError
from annolake.load.storage.kinds import AZURE, GCS, S3, StoreKind
from annolake.load.storage.object_path import ObjectPath
from annolake.load.storage.store_options import access_to
from annolake.load.storage.store_place import StorePlace, open_store
from object_store import BUCKET, ObjectStore

TESTS = Path(__file__).parents[2]


def _put(place: StorePlace, folder: Path) -> bytes:
    """Write a file of the lake and read it back."""
    (folder / "source").write_bytes(b"content")
    place.files.put(folder / "source", place.root / "a" / "file")
    return place.files.read(place.root / "a" / "file")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide what the machine's own environment says of stores, and its home."""
    for name in [*os.environ]:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_an_address_and_variables_are_enough(object_store: ObjectStore, tmp_path: Path) -> None:
    """For the files, the locks and for Delta tables in the same place."""
    address = object_store.address()
    place = open_store(address, {}, object_store.environ(), clock=Clock())
    table = pa.table({"a": [1, 2]})

    write_deltalake(f"{place.root}/runs", table, storage_options=place.delta_options())
    with place.locks.hold(place.root / "lock", since=Clock().now()) as hold:
        hold.check()

    assert str(place.root) == address
    assert _put(place, tmp_path) == b"content"
    assert DeltaTable(f"{address}/runs", storage_options=place.delta_options()).to_pyarrow_table().equals(table)


def test_the_process_s_environment_is_enough(object_store: ObjectStore) -> None:
    """As it is in a container: five variables and nothing else, for both clients."""
    code = """
import os, sys
from annolake.clock import Clock
from annolake.load.storage.store_place import open_store
from deltalake import DeltaTable, write_deltalake
import pyarrow as pa
place = open_store(sys.argv[1], {}, os.environ, clock=Clock())
write_deltalake(f"{place.root}/runs", pa.table({"a": [1]}), storage_options=place.delta_options())
print(place.files.names(place.root), DeltaTable(f"{place.root}/runs").version())
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, object_store.address()],
        env=object_store.environ(),
        cwd=TESTS,
        check=True,
        capture_output=True,
        text=True,
    )

    assert ran.stdout == "['runs'] 0\n"


def test_options_stand_above_variables(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any of their spellings; so one machine can reach two stores."""
    environ = object_store.environ(endpoint="http://127.0.0.1:1") | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)  # the client reads them by itself too

    for option in ("endpoint", "AWS_ENDPOINT_URL", "aws_endpoint"):
        place = open_store(object_store.address(), {option: object_store.endpoint}, environ, clock=Clock())
        assert _put(place, tmp_path) == b"content"
        write_deltalake(f"{place.root}/runs", pa.table({"a": [1]}), storage_options=place.delta_options())


def test_a_profile_brings_keys_and_region(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ~/.aws, named by AWS_PROFILE or the default one; for Delta too."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = reader\naws_secret_access_key = readersecret\n"
        "[lakes]\naws_access_key_id = writer\naws_secret_access_key = writersecret\n"
    )
    (tmp_path / ".aws" / "config").write_text("[profile lakes]\nregion = eu-central-1\n")
    options = {"endpoint": object_store.endpoint, "allow_http": "true"}
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def place(environ: dict[str, str]) -> StorePlace:
        return open_store(object_store.address(), options, environ | {"HOME": str(tmp_path)}, clock=Clock())

    named = place({"AWS_PROFILE": "lakes"})
    assert _put(named, tmp_path) == b"content"
    write_deltalake(f"{named.root}/runs", pa.table({"a": [1]}), storage_options=named.delta_options())
    assert named.delta_options()["region"] == "eu-central-1"
    with pytest.raises(LakeError, match="not allowed to: grant s3:PutObject"):
        _put(place({}), tmp_path)
    with pytest.raises(ConfigError, match="AWS_PROFILE: there is no profile 'nobody' with credentials"):
        place({"AWS_PROFILE": "nobody"})


def test_a_profile_whose_credentials_end_is_told(object_store: ObjectStore, tmp_path: Path) -> None:
    """They come once and never again, as single sign-on's do; or not at all."""
    (tmp_path / ".aws").mkdir()
    keys = {"Version": 1, "AccessKeyId": "writer", "SecretAccessKey": "writersecret", "SessionToken": "x"}
    ends = (Clock().now() + timedelta(minutes=1)).isoformat()  # so soon that others are asked for
    (tmp_path / "keys").write_text(json.dumps(keys | {"Expiration": ends}))
    once = f'sh -c "cat {tmp_path}/keys && mv {tmp_path}/keys {tmp_path}/given"'
    (tmp_path / ".aws" / "config").write_text(f"[default]\ncredential_process = {once}\n")
    options = {"endpoint": object_store.endpoint, "allow_http": "true", "region": "us-east-1"}

    def place() -> StorePlace:
        return open_store(object_store.address(), options, {"HOME": str(tmp_path)}, clock=Clock())

    opened, said = place(), "the credentials of the AWS profile cannot be renewed: sign in again"
    with pytest.raises(LakeError, match=f"^cannot read {opened.root}/a: {said}"):
        opened.files.read(opened.root / "a")
    with pytest.raises(LakeError, match=f"^{said}"):
        opened.delta_options()
    with pytest.raises(LakeError, match=f"^{said}"):
        place()


def test_a_machine_without_credentials_is_told_which_to_set(object_store: ObjectStore) -> None:
    """Neither keys, nor a profile, nor a role: the machine's own service for those is not there."""
    options = {"endpoint": object_store.endpoint, "allow_http": "true", "metadata_endpoint": "http://127.0.0.1:1"}
    place = open_store(object_store.address(), options, {}, clock=Clock())

    with pytest.raises(LakeError, match="no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        place.locks.is_free(place.root / "lock")


def test_http_has_to_be_asked_for() -> None:
    """Rows and credentials' signatures would go out without encryption."""
    with pytest.raises(ConfigError, match=r"lake\.storage\.endpoint: http:// is not encrypted: use https://, or set"):
        open_store("s3://bucket/lake", {"endpoint": "http://store"}, {}, clock=Clock())


def test_an_unknown_option_is_told_by_name() -> None:
    """Without its value."""
    with pytest.raises(ConfigError, match=r"^lake\.storage\.endpiont: s3:// has no such option$"):
        open_store("s3://bucket/lake", {"endpiont": "https://store"}, {}, clock=Clock())
    with pytest.raises(ConfigError, match=r"^lake\.storage: .* cannot be opened with these options: connect_timeout"):
        open_store("s3://bucket/lake", {"connect_timeout": "soon"}, {}, clock=Clock())


@pytest.mark.parametrize(
    ("kind", "environ", "given", "options"),
    [
        (S3, {"AWS_DEFAULT_REGION": "a", "AWS_REGION": "b"}, {}, {"region": "b"}),
        (S3, {"AWS_REGION": "b", "AWS_SESSION_TOKEN": ""}, {"AWS_REGION": "c"}, {"region": "c"}),
        (GCS, {"AWS_REGION": "b"}, {"google_service_account_path": "x"}, {"service_account_path": "x"}),
        (
            AZURE,
            {"AZURE_STORAGE_ACCOUNT_NAME": "me", "AZURE_STORAGE_ACCOUNT_KEY": "k"},
            {"azure_storage_endpoint": "https://x", "account_name": "you"},
            {"account_name": "you", "account_key": "k", "endpoint": "https://x"},
        ),
    ],
)
def test_options_have_one_name_each(
    kind: StoreKind, environ: dict[str, str], given: dict[str, str], options: dict[str, str]
) -> None:
    """The settings' are above the environment's, however both are spelt."""
    assert dict(access_to(kind, given, environ).options) == options


def test_the_root_of_a_bucket_is_a_place_too(object_store: ObjectStore) -> None:
    """A bucket can be for one lake alone."""
    place = open_store(f"s3://{BUCKET}", {}, object_store.environ(), clock=Clock())

    assert place.root == ObjectPath(f"s3://{BUCKET}")
    assert "ready" in place.files.names(place.root)
    assert place.files.exists(place.root)
    assert place.files.exists(place.root / "ready")
