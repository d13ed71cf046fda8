"""A real S3 server for the tests: SeaweedFS, out of its package, on this machine.

One for each pytest worker, started by the first test that asks (1.2 s, 115 MB) and killed with its data at the end.
Signatures and grants are checked. A test has an address of its own in the one bucket.
"""

import ctypes
import json
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

BUCKET = "lakes"
GRANTS = {
    "owner": ["Admin"],
    "writer": ["Read", "Write", "List"],
    "reader": ["Read", "List"],
    "getter": ["Read"],
    "putter": ["Write", "List"],
    "blind": ["Read", "Write"],
}
"""The users, by what they may; their secret is their name and "secret"."""

_PORTS = ["master", "volume", "filer", "s3"]
_START_S = 60


class ObjectStore(NamedTuple):
    """The server's `endpoint`; credentials for it; addresses in its bucket."""

    endpoint: str

    def environ(self, user: str = "writer", *, endpoint: str | None = None) -> dict[str, str]:
        """Return the environment that makes a lake of this store reachable to that user, and nothing else."""
        return {
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": f"{user}secret",
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def address(self) -> str:
        """Return an address in which nothing is yet."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}/lake"


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Give the worker's server."""
    with serving(tmp_path_factory.mktemp("seaweedfs")) as store:
        yield store


@contextmanager
def serving(folder: Path) -> Iterator[ObjectStore]:
    """Run a server whose data are in `folder`."""
    identities = [
        {"name": user, "credentials": [{"accessKey": user, "secretKey": f"{user}secret"}], "actions": actions}
        for user, actions in GRANTS.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    http, grpc = free_ports(len(_PORTS) + 1), free_ports(len(_PORTS))
    ports = [f"-{name}.port={port}" for name, port in zip([*_PORTS, "admin"], http, strict=True)]
    ports += [f"-{name}.port.grpc={port}" for name, port in zip(_PORTS, grpc, strict=True)]
    ports += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-s3.config={folder}/s3.json"]
    less = ["-admin.ui=false", "-webdav=false", "-master.telemetry=false"]
    weed = Path(sys.executable).with_name("weed")
    with ExitStack() as closing:
        log = closing.enter_context((folder / "log").open("wb"))
        server = subprocess.Popen(
            [weed, "mini", *here, *ports, *less],
            stdout=log,
            stderr=log,
            cwd=folder,
            env={"HOME": str(folder)},
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing is locked in there
        )
        closing.callback(server.wait)
        closing.callback(server.kill)  # what it holds is thrown away; its own way of ending takes 2 s
        store = ObjectStore(f"http://127.0.0.1:{http[_PORTS.index('s3')]}")
        _wait_for(store, server, folder / "log")
        yield store


_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Have the kernel end the server where the worker is killed (Linux); else it would stay."""
    if _PRCTL:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for(store: ObjectStore, server: subprocess.Popen[bytes], log: Path) -> None:
    """Write until it is done: the server makes the bucket of whoever owns all."""
    owner = store.environ("owner")
    bucket = S3Store(
        BUCKET,
        endpoint=store.endpoint,
        access_key_id=owner["AWS_ACCESS_KEY_ID"],
        secret_access_key=owner["AWS_SECRET_ACCESS_KEY"],
        region=owner["AWS_REGION"],
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    until = time.monotonic() + _START_S
    while True:
        try:
            bucket.put("ready", b"")
        except (BaseError, OSError):
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"SeaweedFS did not start:\n{log.read_text()[-2000:]}")
        else:
            return


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
