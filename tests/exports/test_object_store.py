"""Exports into a lake in an object store, by a process that has an address and credentials, and nothing else."""

import json
from pathlib import Path

import pytest

from annolake.clock import Clock
from annolake.config import load_config
from annolake.sandbox import Population, Sandbox
from annolake.wiring import open_lake
from exporting import Ran, annolake, annolake_process
from load.storage.buckets import bucket_of
from losing_proxy import Fault, losing_proxy
from object_store import BUCKET, ObjectStore

ROWS = 40


def variables(sandbox: Sandbox, address: str) -> dict[str, str]:
    """Return what a scheduler sets."""
    return {"ANNOLAKE_SOURCE__BASE_URL": sandbox.url, "ANNOLAKE_SOURCE__QUEUES": "all", "ANNOLAKE_LAKE__PATH": address}


def test_an_address_and_credentials_make_a_lake(object_store: ObjectStore, tmp_path: Path) -> None:
    """The second export writes no table; who may only read sees what there is; nothing stays on the machine."""
    address = object_store.address()
    bucket, folder = bucket_of(object_store), address.removeprefix(f"s3://{BUCKET}/")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with Sandbox(Population(rows=ROWS)) as sandbox:
        given = variables(sandbox, address) | {"ANNOLAKE_LAKE__SCRATCH": str(scratch)}

        def ran(*arguments: str, user: str = "writer") -> Ran:
            environ = object_store.environ(user) | given
            return annolake_process(*arguments, key=sandbox.api_key, cwd=tmp_path, environ=environ)

        first = ran("run", "--json")
        tables = {key for key in bucket.below(folder) if "/_annolake/" not in key}
        second = ran("run", "--json")
        status, verify = ran("status", "--json", user="reader"), ran("verify", user="reader")

    one, two = (json.loads(each.out.splitlines()[-1])["queues"][0] for each in (first, second))
    assert (first.exit_code, one["inserted"], one["complete"]) == (0, ROWS, True)
    assert (second.exit_code, two["unchanged"], two["partitions_written"]) == (0, ROWS, 0)
    assert {key for key in bucket.below(folder) if "/_annolake/" not in key} == tables
    assert [queue["rows"] for queue in json.loads(status.out)["queues"]] == [ROWS]
    assert (status.exit_code, verify.exit_code, verify.out.count("\n")) == (0, 0, 1)
    assert not [path for path in scratch.rglob("*") if path.is_file()]


def test_a_store_that_refuses_ends_the_export_with_its_reason(object_store: ObjectStore, tmp_path: Path) -> None:
    """Exit code 5 and one sentence; no secret and nothing of the store's own words."""
    with Sandbox(Population(rows=1)) as sandbox:
        environ = object_store.environ("reader") | variables(sandbox, object_store.address())
        ran = annolake("run", "--quiet", key=sandbox.api_key, cwd=tmp_path, environ=environ)

    assert ran.exit_code == 5
    assert "these credentials are not allowed to: grant s3:PutObject" in ran.err
    for foreign in ("readersecret", "AccessDenied", "RequestId", "Debug", object_store.endpoint):
        assert foreign not in ran.err + ran.out


def test_an_export_beside_another_is_refused_and_names_it(object_store: ObjectStore, tmp_path: Path) -> None:
    """Two machines have nothing but the store in common."""
    with Sandbox(Population(rows=1)) as sandbox:
        environ = object_store.environ() | variables(sandbox, object_store.address())
        lake = open_lake(load_config(None, environ), environ)
        with lake.lock(sandbox.queue_ids[0], since=Clock().now()):
            ran = annolake("run", "--quiet", key=sandbox.api_key, cwd=tmp_path, environ=environ)
        again = annolake("run", "--quiet", key=sandbox.api_key, cwd=tmp_path, environ=environ)
        with lake.lock(sandbox.queue_ids[0], since=Clock().now()):
            known = annolake("run", "--quiet", key=sandbox.api_key, cwd=tmp_path, environ=environ)
        name = sandbox.queue().name

    assert (ran.exit_code, again.exit_code, known.exit_code) == (6, 0, 6)
    assert "is held by pid" in ran.err
    assert known.err.startswith(f"annolake: {name} (")


@pytest.mark.parametrize("fault", [Fault.LOSE_AS_500, Fault.CUT, Fault.REFUSE_503], ids=lambda fault: fault.name)
def test_a_store_that_fails_in_passing_costs_nothing(object_store: ObjectStore, tmp_path: Path, fault: Fault) -> None:
    """Every tenth request fails, writes and conditional writes too: the export is as it would be without."""
    with Sandbox(Population(rows=ROWS)) as sandbox, losing_proxy(object_store.endpoint) as proxy:
        proxy.on(lambda _: len(proxy.requests) % 10 == 0, fault, times=1000)
        environ = object_store.environ(endpoint=proxy.endpoint) | variables(sandbox, object_store.address())
        ran = annolake("run", "--json", "--quiet", key=sandbox.api_key, cwd=tmp_path, environ=environ)
        report = json.loads(ran.out.splitlines()[-1])
        met = len(proxy.requests)
        proxy.clear()
        verify = annolake("verify", cwd=tmp_path, environ=environ)

    assert met > 50
    assert (ran.exit_code, report["queues"][0]["inserted"]) == (0, ROWS)
    assert verify.exit_code == 0
