"""`annolake check` asks what `annolake run` would ask: it fails where that would, with its code, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest

from annolake.report import Report
from annolake.sandbox import Faults, Population, Rules, Sandbox
from exporting import Ran, annolake, export_once, one_queue, write_config
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
HASTY = {"retry.max_attempts": 2, "retry.max_wait_s": 0}


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
    assert not list((tmp_path / "checked/lake").rglob("*.parquet"))


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
