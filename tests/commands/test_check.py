"""`annolake check` asks what `annolake run` would ask: it fails where that would, with its code, and nowhere else."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from annolake.report import Report
from annolake.sandbox import Faults, Population, Rules, Sandbox
from annolake.sandbox.answers import Answer, Asked
from exporting import Ran, annolake, export_once, one_queue, write_config
from hostile import Hostile, Wire
from load.storage.buckets import bucket_of
from object_store import BUCKET, ObjectStore

ITEMS = {"source.endpoint": "items"}
RUNS = {"source.endpoint": "runs"}
ACTIVE = {"source.include_archived": False}
GONE: dict[str, Any] = {"retire_runs_after": 1}
GONE_404: dict[str, Any] = {"retire_runs_after": 1, "retired_status": 404}
NO_QUERIES: dict[str, Any] = {"faults": Faults(rate=1.0, kinds=("501",), endpoints=("query",))}
NO_ITEMS = "the service has the queue, but no /api/v1/platform/annotation-queues/"

# What the service is like, the settings, and the exit code.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "all in order": ({}, {}, 0),
    "over items": ({}, ITEMS, 0),
    "no platform": ({"platform": False}, {}, 0),
    "no platform, items": ({"platform": False}, ITEMS, 4),
    "410": (GONE, {}, 0),
    "410, items": (GONE, ITEMS, 0),
    "410, runs": (GONE, RUNS, 4),
    "410, a status": (GONE, {"source.status": "completed"}, 4),
    "404": (GONE_404, {}, 0),
    "404, items": (GONE_404, ITEMS, 0),
    "404, runs": (GONE_404, RUNS, 4),
    "404, record refused": ({**GONE_404, "forbid": ["queue"]}, {}, 4),
    "410, record refused": ({**GONE, "forbid": ["queue"]}, {}, 0),
    "410, items refused": ({**GONE, "forbid": ["items"]}, {}, 4),
    "410, runs refused": ({**GONE, "forbid": ["query"]}, {}, 4),
    "runs refused": ({"forbid": ["runs"]}, {}, 4),
    "runs refused, items": ({"forbid": ["runs"]}, ITEMS, 0),
    "items refused": ({"forbid": ["items"]}, {}, 0),
    "items refused, items": ({"forbid": ["items"]}, ITEMS, 4),
    "archived refused": ({"forbid": ["archived"]}, {}, 4),
    "archived refused, items": ({"forbid": ["archived"]}, ITEMS, 4),
    "archived refused, active only": ({"forbid": ["archived"]}, ACTIVE, 0),
    "archived refused, active items only": ({"forbid": ["archived"]}, {**ACTIVE, **ITEMS}, 0),
    "payloads refused": ({"forbid": ["query"]}, ITEMS, 4),
    "payloads refused, few rows": ({"forbid": ["query"], "rows": 1, "threads": 30}, ITEMS, 4),
    "payloads refused, threads": ({"forbid": ["query"], "rows": 0, "threads": 30}, ITEMS, 0),
    "payloads refused, empty": ({"forbid": ["query"], "rows": 0}, ITEMS, 0),
    "no payloads": (NO_QUERIES, ITEMS, 4),
    "record unavailable": ({"faults": Faults(rate=1.0, kinds=("500",), endpoints=("queue",))}, {}, 4),
    "sizes refused": ({"forbid": ["size", "total_size", "total_archived", "count"]}, {}, 0),
}
HASTY = {"retry.max_attempts": 1, "retry.max_wait_s": 0}


def both(sandbox: Sandbox, folder: Path, settings: dict[str, Any]) -> tuple[Ran, Report]:
    """Return what check says, in a folder of its own, and what an export then meets."""
    (folder / "checked").mkdir()
    (folder / "exported").mkdir()
    write_config(folder / "checked", sandbox, {**HASTY, **settings})
    checked = annolake("check", key=sandbox.api_key, cwd=folder / "checked")
    return checked, export_once(sandbox, folder / "exported", {**HASTY, **settings})


@pytest.mark.parametrize("case", CASES)
def test_check_earns_the_exit_code_of_a_run(case: str, tmp_path: Path) -> None:
    """And says of a queue what a run would say."""
    service, settings, exit_code = CASES[case]
    options = dict(service)
    faults = options.pop("faults", None)
    population = Population(rows=options.pop("rows", 30), threads=options.pop("threads", 0), odd=False, days=2)
    with Sandbox(population, seed=2, faults=faults, rules=Rules(**options)) as sandbox:
        checked, report = both(sandbox, tmp_path, settings)

    queue = one_queue(report)
    assert (checked.exit_code, report.exit_code) == (exit_code, exit_code), checked.out + checked.err
    assert (f"queue {queue.queue_id}: {queue.error}" if exit_code else f"read over {queue.endpoint}") in checked.out
    assert not (tmp_path / "checked/lake").exists()


def test_a_queue_that_the_lake_refuses_is_told_as_a_run_tells_it(tmp_path: Path) -> None:
    """An id that could lead out of the lake, from a service that lists it."""
    with Sandbox(Population(rows=3, days=2), seed=2) as sandbox:
        sandbox.profile(sandbox.queue_ids[0])["id"] = "../a b"
        checked, report = both(sandbox, tmp_path, {"source.queues": "all"})

    assert checked.exit_code == report.exit_code != 0
    assert (one_queue(report).error or "nothing") in checked.out


# What the service is like, the settings, and what is said of the endpoints.
ENDPOINTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "both": (
        {},
        {},
        "read over runs, which the service has announced to remove after 31 January 2027; items answers too",
    ),
    "both, items": ({}, ITEMS, "read over items; runs answers too"),
    "retired": (GONE, {}, "read over items; runs would not do: "),
    "no platform": ({"platform": False}, {}, "; items would not do: "),
    "no queries": (NO_QUERIES, {}, "; items would not do: 127.0.0.1:"),
}


@pytest.mark.parametrize("case", ENDPOINTS)
def test_check_names_the_endpoint_and_what_the_other_answers(case: str, tmp_path: Path) -> None:
    """The announced end of the runs endpoint too; that the other one would not do is no error."""
    service, settings, said = ENDPOINTS[case]
    options = dict(service)
    with Sandbox(
        Population(rows=30, odd=False, days=2), seed=2, faults=options.pop("faults", None), rules=Rules(**options)
    ) as sandbox:
        write_config(tmp_path, sandbox, {**HASTY, **settings})
        checked = annolake("check", key=sandbox.api_key, cwd=tmp_path)

    assert checked.exit_code == 0
    assert said in checked.out


@pytest.mark.parametrize(
    ("service", "said"), [({"platform": False}, NO_ITEMS), (NO_QUERIES, "does not serve /api/v2/runs/query (501)")]
)
def test_a_service_that_is_too_old_for_items_is_told_in_a_sentence(
    service: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """What is missing, and what to do; it is asked once."""
    options = dict(service)
    faults = options.pop("faults", None)
    with Sandbox(Population(rows=30, odd=False, days=2), seed=2, faults=faults, rules=Rules(**options)) as sandbox:
        checked, report = both(sandbox, tmp_path, ITEMS)

    error = one_queue(report).error or ""
    assert said in error
    assert 'set source.endpoint to "runs" while it has that' in error
    assert error in checked.out
    assert one_queue(report).retries == 0


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_check_asks_little(endpoint: str, tmp_path: Path) -> None:
    """A row of each list is enough, however long they are; over items a run's payload is asked for once."""
    with Sandbox(Population(rows=900, odd=False, days=2), seed=2) as sandbox:
        write_config(tmp_path, sandbox, {"source.endpoint": endpoint})
        ran = annolake("check", key=sandbox.api_key, cwd=tmp_path)
        asked = [(record.endpoint, record.rows) for record in sandbox.requests]

    runs, items = [("runs", 1)] * 2, [("items", 1)] * 3 + [("query", 1)]
    rows = runs + items if endpoint == "runs" else items + runs
    assert ran.exit_code == 0, ran.err
    assert asked == [*rows, ("queue", 0), ("total_size", 0), ("total_archived", 0)]


@pytest.mark.parametrize(
    ("user", "exit_code", "said"),
    [("writer", 0, "can be written"), ("reader", 5, "these credentials are not allowed to: grant s3:PutObject")],
)
def test_an_object_store_is_tried_and_left_as_it_was(
    object_store: ObjectStore, tmp_path: Path, user: str, exit_code: int, said: str
) -> None:
    """No lake is made; what an export could not do there is told with the grant."""
    address = object_store.address()
    with Sandbox(Population(rows=1)) as sandbox:
        file = write_config(tmp_path, sandbox, {"lake.path": address})
        ran = annolake("check", "--config", file, key=sandbox.api_key, cwd=tmp_path, environ=object_store.environ(user))

    assert ran.exit_code == exit_code
    assert ran.out.startswith("lake: ")
    assert address in ran.out.splitlines()[0]
    assert said in ran.out.splitlines()[0]
    assert bucket_of(object_store).below(address.removeprefix(f"s3://{BUCKET}/")) == []


# --- a first try that fails, and why


def closed_port() -> int:
    """Return a port of this machine at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def checked(folder: Path, sandbox: Sandbox, base_url: str, *options: str, **environ: str) -> Ran:
    """Check another address than a sandbox's, with nothing of the settings hurried."""
    write_config(folder, sandbox, {"source.base_url": base_url})
    return annolake("check", *options, key=sandbox.api_key, cwd=folder, environ=environ)


UNREACHED: dict[str, tuple[str, dict[str, str], str]] = {
    "no such name": ("http://annolake.invalid", {}, "the name of the service cannot be resolved): try again later"),
    "refused": ("http://127.0.0.1:{closed}", {}, "the service refused the connection: nothing listens there)"),
    "no TLS there": ("https://127.0.0.1:{port}", {}, "TLS failed: the service does not speak it at this port"),
    "no such proxy": (
        "http://service.example",
        {"HTTP_PROXY": "http://proxy.invalid:3128"},
        "the name of the proxy cannot be resolved): check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY",
    ),
    "proxy refused": (
        "https://service.example",
        {"HTTPS_PROXY": "http://127.0.0.1:{closed}"},
        "the proxy refused the connection: nothing listens there): check HTTPS_PROXY",
    ),
    "proxy denies": (
        "https://service.example",
        {"HTTPS_PROXY": "http://127.0.0.1:{port}"},
        "the proxy did not let it through): check HTTPS_PROXY",
    ),
}


@pytest.mark.parametrize("case", UNREACHED)
def test_what_keeps_the_service_away_is_told_apart(case: str, tmp_path: Path) -> None:
    """By one request for all queues; the others are not asked for, no lake is made, and no retry is waited for."""
    base_url, environ, said = UNREACHED[case]
    with Sandbox(Population(rows=3, queues=3, days=2), seed=2) as sandbox:
        ports = {"port": sandbox.url.rpartition(":")[2], "closed": closed_port()}
        proxies = {name: value.format(**ports) for name, value in environ.items()}
        ran = checked(tmp_path, sandbox, base_url.format(**ports), **proxies)

    lines = [line for line in ran.out.splitlines() if line.startswith("queue ")]
    assert ran.exit_code == 4, ran.err
    assert "in 1 attempt (the last: " + said in lines[0]
    assert [line.partition(": ")[2] for line in lines[1:]] == ["not asked for: the service did not answer"] * 2
    assert ran.err == ""
    assert not (tmp_path / "lake").exists()


def test_an_untrusted_certificate_is_no_matter_of_connections(tmp_path: Path) -> None:
    """The service is there, and speaks TLS: what is missing is its issuer."""
    with Hostile(Sandbox(Population(rows=3, days=2), seed=2), tls=True) as service:
        write_config(tmp_path, service)
        ran = annolake("check", key=service.api_key, cwd=tmp_path)

    assert ran.exit_code == 4
    assert "has a certificate that cannot be verified (self-signed certificate): set SSL_CERT_FILE" in ran.out


@pytest.mark.parametrize(("host", "is_told"), [("eu.api.smith.langchain.com", True), ("service.example", False)])
def test_a_refused_key_may_be_one_of_another_region(host: str, is_told: bool, tmp_path: Path) -> None:
    """Where the service has regions, the others are named; the key is sent to none of them."""
    sandbox = Sandbox(Population(rows=3, days=2), seed=2)
    with Hostile(sandbox) as proxy:  # which is asked for the host's address as a whole
        write_config(tmp_path, proxy, {"source.base_url": f"http://{host}"})
        ran = annolake("check", key="one-of-elsewhere", cwd=tmp_path, environ={"HTTP_PROXY": proxy.url})

    told = (
        "a key of another region (api.smith.langchain.com, apac.api.smith.langchain.com, aws.api.smith.langchain.com)"
    )
    assert ran.exit_code == 4
    assert f"{host} refused the key (401)" in ran.out
    assert (told in ran.out) == is_told
    assert {asked.headers["host"] for asked in proxy.asked} == {host}


def test_a_proxy_that_wants_a_password_is_told(tmp_path: Path) -> None:
    """407 is the proxy's, not the service's."""

    def refuses(_wire: Wire, _asked: Asked, _answer: Answer) -> Answer:
        return Answer(407, b"")

    with Hostile(Sandbox(Population(rows=3, days=2), seed=2), refuses) as proxy:
        write_config(tmp_path, proxy, {"source.base_url": "http://service.example"})
        ran = annolake("check", key=proxy.api_key, cwd=tmp_path, environ={"HTTP_PROXY": proxy.url})

    assert ran.exit_code == 4
    assert "the proxy before service.example wants a name and a password (407): check HTTPS_PROXY" in ran.out


@pytest.mark.parametrize("end", ["/api/v1", "/api/v1/", "/"])
def test_an_address_with_the_path_of_the_interface_is_taken(end: str, tmp_path: Path) -> None:
    """As the service's own tools write it."""
    with Sandbox(Population(rows=3, odd=False, days=2), seed=2) as sandbox:
        ran = checked(tmp_path, sandbox, sandbox.url + end)

    assert ran.exit_code == 0, ran.out
    assert f"the service is {sandbox.url}\n" in ran.out


def test_check_waits_for_one_attempt_at_most(tmp_path: Path) -> None:
    """Of a service that is busy with other things: the settings would ask 8 times."""
    with Sandbox(Population(rows=3, days=2), seed=2, faults=Faults(rate=1.0, kinds=("503",))) as sandbox:
        ran = checked(tmp_path, sandbox, sandbox.url)
        asked = len(sandbox.requests)

    assert (ran.exit_code, asked) == (4, 1)
    assert "in 1 attempt (the last: status 503)" in ran.out


def test_check_says_the_same_as_json(tmp_path: Path) -> None:
    """One line, with sizes as numbers; what is wrong with one queue is in its entry, and a missing key is told too."""
    unknown = "00000000-0000-4000-8000-000000000000"
    with Sandbox(Population(rows=30, odd=False, days=2), seed=2) as sandbox:
        write_config(tmp_path, sandbox, {"source.queues": [*sandbox.queue_ids, unknown]})
        ran = annolake("check", "--json", key=sandbox.api_key, cwd=tmp_path)
        keyless = annolake("check", "--json", key="", cwd=tmp_path)
        name = sandbox.queue().name
        archived = len(sandbox.queue().rows("archived"))

    found = json.loads(ran.out)
    first, second = found["queues"]
    assert (ran.exit_code, found["exit_code"], found["base_url"]) == (4, 4, sandbox.url)
    assert (found["lake"], found["lake_error"]) == (str(tmp_path / "lake"), None)
    assert (first["name"], first["archived"], first["endpoint"], first["error"]) == (name, archived, "runs", None)
    assert (second["queue_id"], second["exit_code"], second["name"]) == (unknown, 4, None)
    assert "(404)" in second["error"]
    assert (keyless.exit_code, json.loads(keyless.out)["exit_code"]) == (2, 2)


@pytest.mark.parametrize(("there", "exit_code"), [(False, 0), (True, 0), ("a file", 5)])
def test_a_lake_on_a_disk_is_tried_and_not_made(there: bool | str, exit_code: int, tmp_path: Path) -> None:
    """Neither the folder nor those above it, nor anything in one that is there."""
    above = tmp_path / "lakes"
    if there:
        (above / "mine").mkdir(parents=True) if there is True else above.write_text(str(there))
    with Sandbox(Population(rows=3, odd=False, days=2), seed=2) as sandbox:
        write_config(tmp_path, sandbox, {"lake.path": str(above / "mine")})
        ran = annolake("check", key=sandbox.api_key, cwd=tmp_path)

    assert ran.exit_code == exit_code, ran.out
    assert ran.out.startswith("lake: cannot make the folder" if exit_code else f"lake: {above / 'mine'} can be written")
    assert [path.name for path in tmp_path.rglob("*") if path.is_dir()] == (["lakes", "mine"] if there is True else [])
