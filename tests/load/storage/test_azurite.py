"""Azure Blob Storage, as its own emulator has it; where that is not installed this is skipped.

To run it: `npm install -g azurite` brings `azurite-blob`.
"""

import base64
import hashlib
import hmac
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from annolake.clock import Clock
from annolake.errors import LakeError
from annolake.load.place import Place, open_place
from object_store import free_ports

AZURITE = shutil.which("azurite-blob")
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's, known to everybody."""

pytestmark = pytest.mark.skipif(AZURITE is None, reason="the emulator of Azure's blobs is not installed (azurite)")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the emulator, with the container "lakes"."""
    (port,) = free_ports(1)
    command = [str(AZURITE), "--blobPort", str(port), "--skipApiVersionCheck", "--inMemoryPersistence"]
    folder = tmp_path_factory.mktemp("azurite")
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            assert any("successfully listens" in line for line in server.stdout)
            endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
            _make_container(endpoint)
            yield endpoint
        finally:
            server.kill()


def _make_container(endpoint: str) -> None:
    """Ask for it, signed as Azure has it: the store's client cannot make one."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    signed = "\n".join(
        [
            *("PUT", *[""] * 11),
            *(f"{name}:{value}" for name, value in headers.items()),
            *(f"/{ACCOUNT}/{ACCOUNT}/lakes", "restype:container"),
        ]
    )
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
    request = urllib.request.Request(  # noqa: S310 - of this machine
        f"{endpoint}/lakes?restype=container",
        method="PUT",
        headers={**headers, "Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        assert answer.status == 201


def place_at(endpoint: str, *, key: str = KEY, container: str = "lakes") -> Place:
    """Return a place in the emulator."""
    environ = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": key}
    options = {"endpoint": endpoint, "allow_http": "true"}
    return open_place(f"az://{container}/lake", options, environ, clock=Clock())


def test_a_lake_in_azure_can_be_written_read_and_locked(endpoint: str, tmp_path: Path) -> None:
    """Files, leases, the probe, and a Delta table beside them."""
    place = place_at(endpoint)
    place.prove()
    (tmp_path / "source").write_bytes(b"content")
    place.files.put(tmp_path / "source", place.root / "runs" / "part")
    write_deltalake(f"{place.root}/table", pa.table({"a": [1]}), storage_options=dict(place.delta_options()))

    assert place.files.names(place.root) == ["runs", "table"]
    assert place.files.read(place.root / "runs" / "part") == b"content"
    assert DeltaTable(f"{place.root}/table", storage_options=dict(place.delta_options())).version() == 0
    with (
        place.locks.hold(place.root / "lock", since=Clock().now()) as ours,
        place_at(endpoint).locks.hold(place.root / "lock", since=Clock().now()) as theirs,
    ):
        ours.check()
        assert str(theirs.holder).startswith("pid ")
    with place.locks.hold(place.root / "lock", since=Clock().now()) as later:
        assert later.generation == ours.generation + 1
    place.files.remove(place.root)
    assert not place.files.exists(place.root)


def test_refusals_of_azure_are_told(endpoint: str) -> None:
    """In the words of all stores."""
    wrong = base64.b64encode(b"wrong").decode()
    for place, said in (
        (place_at(endpoint, key=wrong), "not allowed to: grant the role Storage Blob Data Contributor"),
        (place_at(endpoint, container="nowhere"), "there is no such container: make it, or correct lake.path"),
    ):
        with pytest.raises(LakeError, match=said):
            place.files.names(place.root)
