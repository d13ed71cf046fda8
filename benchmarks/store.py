"""An S3 server for the benchmarks: SeaweedFS, out of its package."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_PORTS = ("master", "volume", "filer", "s3")
_START_S = 60


@contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server with the bucket "bench"; yield the environment that leads to it. Raises TimeoutError."""
    folder.mkdir()
    credentials = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "benchsecret", "AWS_REGION": "us-east-1"}
    http, grpc = _free_ports(len(_PORTS) + 1), _free_ports(len(_PORTS))
    ports = [f"-{name}.port={port}" for name, port in zip([*_PORTS, "admin"], http, strict=True)]
    ports += [f"-{name}.port.grpc={port}" for name, port in zip(_PORTS, grpc, strict=True)]
    more = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-webdav=false", "-bucket=bench"]
    where = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}"]
    command = [Path(sys.executable).with_name("weed"), "mini", *where, *ports, *more]
    with ExitStack() as closing:
        log = closing.enter_context((folder / "log").open("wb"))
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={"HOME": str(folder), **credentials})
        closing.callback(server.wait)
        closing.callback(server.kill)
        endpoint = f"http://127.0.0.1:{http[_PORTS.index('s3')]}"
        _wait_for(endpoint)
        yield {**credentials, "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}


def _wait_for(endpoint: str) -> None:
    """Wait until the server refuses a request without a signature."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(endpoint, timeout=1)  # noqa: S310 - an address of this machine
        except urllib.error.HTTPError:
            return
        except OSError:
            continue
    raise TimeoutError("the object store did not start")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
