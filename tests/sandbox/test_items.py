"""The successor endpoints: items, counts and the query of runs tell the same rows as the runs listing."""

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from annolake.sandbox import Population, QueryRules, Row, Rules, Sandbox
from annolake.sandbox.query import SELECTS

Connect = Callable[[Sandbox], httpx.Client]

SECTIONS = ("needs_my_review", "needs_others_review", "archived")
LONG_AGO = "2020-01-01T00:00:00Z"


def _items_path(sandbox: Sandbox) -> str:
    return f"/api/v1/platform/annotation-queues/{sandbox.queue_ids[0]}/items"


def _read_items(client: httpx.Client, path: str, **params: str | int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = client.get(path, params=params).raise_for_status().json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


def _query(client: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        answer = client.post("/api/v2/runs/query", json=body).raise_for_status()
        page = json.loads(answer.content, parse_float=Literal)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        body["cursor"] = page["next_cursor"]


class Literal(str):
    """A JSON number with a point or an exponent, by its text."""

    __slots__ = ()


def _by_project(rows: list[Row]) -> dict[str, list[str]]:
    projects: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        projects[row.value()["session_id"]].append(str(row.run_id))
    return projects


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@pytest.mark.parametrize("cursors", ["offset", "keyset"])
@pytest.mark.parametrize("order", ["oldest_first", "newest_first", "unsorted"])
def test_the_sections_hold_every_item_once_in_order(connect: Connect, cursors: Any, order: Any) -> None:
    """Followed by cursor, the three sections are the two lists, RUN and THREAD items together."""
    with Sandbox(Population(rows=250, threads=20, order=order), rules=Rules(cursors=cursors)) as sandbox:
        client, queue = connect(sandbox), sandbox.queue()
        found = {status: _read_items(client, _items_path(sandbox), status=status, page_size=40) for status in SECTIONS}
        archived = [row.id for row in queue.listing("archived")]
        active = [row.id for row in queue.listing("active")]

    assert [item["id"] for item in found["archived"]] == archived
    mine, others = ([item["id"] for item in found[status]] for status in SECTIONS[:2])
    assert sorted(mine + others) == sorted(active)
    assert mine == [row_id for row_id in active if row_id in set(mine)]
    assert sum(item["item_type"] == "THREAD" for items in found.values() for item in items) == 20


def test_an_item_has_the_row_s_metadata_and_no_payload(connect: Connect) -> None:
    """Ids, reviewers and times of an item are the row's; what the row leaves out is left out or null."""
    with Sandbox(Population(rows=300)) as sandbox:
        items = {
            item["id"]: item
            for status in SECTIONS
            for item in _read_items(connect(sandbox), _items_path(sandbox), status=status)
        }
        queue = sandbox.queue()
        values = [row.value() for row in queue.rows("active") + queue.rows("archived")]

    assert len(items) == len(values) == 300
    for value in values:
        item = items[value["queue_run_id"]]
        assert (item["run_id"], item["project_id"]) == (value["id"], value["session_id"])
        assert (item["queue_id"], item["item_type"]) == (queue.id, "RUN")
        for name in ("thread_id", "reserved_by", "completed_by", "source_proposed_example_id"):
            assert (name in item, item.get(name)) == (name in value, value.get(name))
        for name in ("start_time", "added_at", "effective_added_at", "last_reviewed_time"):
            assert _instant(item.get(name)) == _instant(value.get(name))
        assert set(item) <= {
            *("id", "queue_id", "item_type", "run_id", "project_id", "thread_id", "start_time", "added_at"),
            *("effective_added_at", "last_reviewed_time", "reserved_by", "completed_by", "assigned_to"),
            "source_proposed_example_id",
        }
    assert any(item["assigned_to"] for item in items.values())
    assert all("last_reviewed_time" in item for item in items.values())


def test_an_item_of_before_august_2026_says_session_id(connect: Connect) -> None:
    """With the option the project goes by its former name, and only by that."""
    with Sandbox(Population(rows=10, threads=2, archived_share=1), rules=Rules(project_field="session_id")) as sandbox:
        items = _read_items(connect(sandbox), _items_path(sandbox), status="archived")

    assert len(items) == 12
    assert all(item["session_id"] and "project_id" not in item for item in items)


def test_thread_items_have_no_run(connect: Connect) -> None:
    """A THREAD item has a thread and a project; the runs listing does not know it."""
    with Sandbox(Population(rows=10, threads=6, archived_share=0)) as sandbox:
        client = connect(sandbox)
        threads = _read_items(client, _items_path(sandbox), status="needs_my_review", item_type="THREAD")
        runs = client.get(f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}/runs").json()

    assert len(threads) == 6
    assert all(item["run_id"] is None and item["thread_id"] and item["project_id"] for item in threads)
    assert any(item.get("start_time") is None for item in threads)
    assert len(runs) == 10


@pytest.mark.parametrize("cursors", ["offset", "keyset"])
def test_backward_returns_what_is_before_the_cursor(connect: Connect, cursors: Any) -> None:
    """From the cursor behind the second page, backward pages lead to the start and end there."""
    with Sandbox(Population(rows=50, archived_share=0, odd=False), rules=Rules(cursors=cursors)) as sandbox:
        client, path = connect(sandbox), _items_path(sandbox)
        pages = []
        params: dict[str, Any] = {"status": "needs_my_review", "page_size": 10}
        for _ in range(2):
            pages.append(client.get(path, params=params).json())
            params["cursor"] = pages[-1]["next_cursor"]
        back = [client.get(path, params=params | {"direction": "backward"}).json()]
        params["cursor"] = back[0]["next_cursor"]
        back.append(client.get(path, params=params | {"direction": "backward"}).json())

    assert [page["items"] for page in back] == [pages[1]["items"], pages[0]["items"]]
    assert back[1]["next_cursor"] is None


def test_offset_cursors_shift_with_the_list_and_keyset_cursors_do_not(connect: Connect) -> None:
    """When rows before the cursor leave, an offset cursor skips as many rows, a keyset cursor none."""
    missed = {}
    kinds: tuple[Any, Any] = ("offset", "keyset")
    for cursors in kinds:
        with Sandbox(Population(rows=40, archived_share=0, odd=False), rules=Rules(cursors=cursors)) as sandbox:
            client, queue = connect(sandbox), sandbox.queue()
            params: dict[str, Any] = {"status": "needs_my_review", "page_size": 10}
            page = client.get(_items_path(sandbox), params=params).json()
            for item in page["items"][:3]:
                queue.finish(item["id"])
            rest = _read_items(client, _items_path(sandbox), cursor=page["next_cursor"], **params)
            there = {row.id for row in queue.listing("active", state="needs_my_review")}
            missed[cursors] = len(there - {item["id"] for item in page["items"] + rest})

    assert missed == {"offset": 3, "keyset": 0}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "status"),
        ({"status": "completed"}, "status"),
        ({"status": "archived", "page_size": "101"}, "page_size"),
        ({"status": "archived", "item_type": "run"}, "item_type"),
        ({"status": "archived", "direction": "backward"}, "cursor"),
        ({"status": "archived", "cursor": "rubbish"}, "cursor"),
        ({"status": "archived", "min_start_time": "noon"}, "min_start_time"),
    ],
)
def test_bad_parameters_of_items_are_refused(connect: Connect, params: dict[str, str], field: str) -> None:
    """`status` is required, everything else is checked, a foreign cursor is no cursor."""
    with Sandbox(Population(rows=3)) as sandbox:
        answer = connect(sandbox).get(_items_path(sandbox), params=params)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", field]


def test_a_cursor_belongs_to_its_section(connect: Connect) -> None:
    """A cursor of one section is refused for another."""
    with Sandbox(Population(rows=40)) as sandbox:
        client, path = connect(sandbox), _items_path(sandbox)
        cursor = client.get(path, params={"status": "archived", "page_size": 2}).json()["next_cursor"]
        answer = client.get(path, params={"status": "needs_my_review", "cursor": cursor})

    assert answer.status_code == 422


def test_items_are_bounded_by_start_time(connect: Connect) -> None:
    """Both bounds are inclusive, the zero time is none, and items without a start are left out."""
    with Sandbox(Population(rows=60, threads=5, archived_share=1, odd=False)) as sandbox:
        client = connect(sandbox)
        every = _read_items(client, _items_path(sandbox), status="archived")
        starts = sorted(item["start_time"] for item in every if item["start_time"])
        low, high = starts[10], starts[40]
        bounded = _read_items(client, _items_path(sandbox), status="archived", min_start_time=low, max_start_time=high)
        zero = "0001-01-01T00:00:00Z"
        unbounded = _read_items(
            client, _items_path(sandbox), status="archived", min_start_time=zero, max_start_time=zero
        )

    assert sorted(item["start_time"] for item in bounded) == starts[10:41]
    assert unbounded == every
    assert len(every) > len(starts)


def test_counts_follow_the_sections(connect: Connect) -> None:
    """`all` is the sum of the three sections; archived ones can be counted by when they were archived."""
    with Sandbox(Population(rows=100, threads=10, odd=False)) as sandbox:
        client = connect(sandbox)

        def count(status: str, **params: str) -> int:
            path = f"{_items_path(sandbox)}/count"
            number = client.get(path, params={"status": status, **params}).raise_for_status().json()["count"]
            return int(number)

        counts = {status: count(status) for status in SECTIONS}
        lengths = {s: len(_read_items(client, _items_path(sandbox), status=s)) for s in SECTIONS}
        done = sorted(str(row.value()["last_reviewed_time"]) for row in sandbox.queue().rows("archived"))

        assert counts == lengths
        assert count("all") == sum(counts.values()) == 110
        assert count("archived", start_time=done[-1]) == 0
        assert count("archived", end_time=done[0]) <= 10
        assert client.get(f"{_items_path(sandbox)}/count", params={"status": "none"}).status_code == 422


def test_the_query_tells_the_same_runs_in_its_own_words(connect: Connect) -> None:
    """Every field comes back renamed, upper case, wrapped or literal as documented, equal in meaning."""
    with Sandbox(Population(rows=400, archived_share=0)) as sandbox:
        client, rows = connect(sandbox), sandbox.queue().rows("active")
        found = [
            run
            for project, ids in _by_project(rows).items()
            for run in _query(
                client,
                project_ids=[project],
                ids=ids,
                min_start_time=LONG_AGO,
                selects=list(SELECTS),
                page_size=1000,
                include_subtree_usage=True,
            )
        ]

    assert len(found) == 400
    runs = {run["id"]: run for run in found}
    for row in rows:
        _same_run(row.value(), runs[str(row.run_id)])


def _same_run(row: dict[str, Any], run: dict[str, Any]) -> None:
    for name in ("name", "error", "tags", "trace_id", "dotted_order", "app_path", "total_tokens", "thread_id"):
        assert (name in run, run.get(name)) == (name in row, row.get(name))
    for name in ("inputs", "outputs", "extra", "events", "feedback_stats"):
        assert (name in run) == (name in row)
        assert _decimal(run.get(name)) == row.get(name)
    for name in ("run_type", "status"):
        assert run[name] == row[name].upper()
    for name, new in (("session_id", "project_id"), ("in_dataset", "is_in_dataset"), ("serialized", "manifest")):
        assert (new in run, run.get(new)) == (name in row, row.get(name))
    for name in ("start_time", "end_time", "first_token_time", "last_queued_at"):
        assert _instant(run.get(name)) == _instant(row.get(name))
        assert (run.get(name) or "Z").endswith("Z")
    for name in ("total_cost", "prompt_cost", "completion_cost"):
        _same_cost(row.get(name), run.get(name))
    for side in ("prompt", "completion"):
        tokens, costs = row.get(f"{side}_token_details"), row.get(f"{side}_cost_details")
        assert (run.get(f"{side}_token_details") or {"raw": None})["raw"] == tokens
        raw = (run.get(f"{side}_cost_details") or {"raw": None})["raw"]
        assert (raw is None) == (costs is None)
        for key, cost in (costs or {}).items():
            _same_cost(cost, raw[key])
    assert (run.get("parent_run_ids") or [None])[-1] == row.get("parent_run_id")
    assert run["is_root"] is (row.get("parent_run_id") is None)
    assert "inputs_s3_urls" not in run
    assert "share_token" not in run


def _same_cost(text: str | None, number: int | Literal | None) -> None:
    """Assert that a cost is a JSON number (not a string) of exactly the same digits."""
    assert (number is None) == (text is None)
    assert isinstance(number, int | Literal | None)
    assert text is None or str(number).lower() == text.lower()


def _decimal(value: Any) -> Any:
    if isinstance(value, Literal):
        return Decimal(value)
    if isinstance(value, dict):
        return {name: _decimal(member) for name, member in value.items()}
    return [_decimal(member) for member in value] if isinstance(value, list) else value


def test_without_selects_only_the_id_comes_back(connect: Connect) -> None:
    """A query that selects nothing gets ids, one that selects a name gets names and no id."""
    with Sandbox(Population(rows=5, archived_share=0, odd=False)) as sandbox:
        client, rows = connect(sandbox), sandbox.queue().rows("active")
        project, ids = next(iter(_by_project(rows).items()))
        bare = _query(client, project_ids=[project], ids=ids, min_start_time=LONG_AGO)
        named = _query(client, project_ids=[project], ids=ids, min_start_time=LONG_AGO, selects=["NAME"])

    assert sorted(run["id"] for run in bare) == sorted(ids)
    assert {tuple(run) for run in bare} == {("id",)}
    assert {tuple(run) for run in named} == {("name",)}


def test_without_a_start_only_the_last_day_is_searched(connect: Connect) -> None:
    """Runs of days ago are found only if `min_start_time` reaches back; `max_start_time` bounds too."""
    with Sandbox(Population(rows=200, archived_share=0, odd=False)) as sandbox:
        client, rows = connect(sandbox), sandbox.queue().rows("active")
        projects = _by_project(rows)
        ids = [row.run_id for row in rows]
        starts = sorted(str(row.value()["start_time"]) for row in rows)

        def found(**bounds: str) -> int:
            return len(_query(client, project_ids=list(projects), ids=ids, **bounds))

        assert found() == sum(start >= "2026-11-19T18:00:00Z" for start in starts) > 0
        assert found(min_start_time=LONG_AGO) == 200
        assert found(min_start_time=starts[50], max_start_time=starts[149]) == 100


def test_a_query_is_paged_and_bounded_to_its_projects(connect: Connect) -> None:
    """`page_size` cuts a batch into pages with cursors; runs of another project are not found."""
    with Sandbox(Population(rows=90, archived_share=0, odd=False)) as sandbox:
        client, rows = connect(sandbox), sandbox.queue().rows("active")
        ids = [row.run_id for row in rows]
        projects = _by_project(rows)
        paged = _query(client, project_ids=list(projects), ids=ids, min_start_time=LONG_AGO, page_size=20)
        requests = len(sandbox.requests)
        project, own = next(iter(projects.items()))
        one_project = _query(client, project_ids=[project], ids=ids, min_start_time=LONG_AGO)

    assert sorted(run["id"] for run in paged) == sorted(str(run_id) for run_id in ids)
    assert requests == 5
    assert sorted(run["id"] for run in one_project) == sorted(own)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "project_ids"),
        ({"project_ids": ["nine"]}, "project_ids"),
        ({"project_ids": "all"}, "project_ids"),
        ({"page_size": 1001}, "page_size"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": "many"}, "page_size"),
        ({"selects": ["INPUT"]}, "selects"),
        ({"min_start_time": "noon"}, "min_start_time"),
        ({"max_start_time": 7}, "max_start_time"),
        ({"ids": ["nine"]}, "ids"),
        ({"cursor": "?"}, "cursor"),
        ({"include_subtree_usage": "yes"}, "include_subtree_usage"),
        ({"filter": "eq(status, 'error')"}, "filter"),
    ],
)
def test_bad_queries_are_refused(connect: Connect, body: dict[str, Any], field: str) -> None:
    """The body is checked parameter by parameter; what the sandbox doesn't serve is refused, not ignored."""
    with Sandbox(Population(rows=3)) as sandbox:
        full = {"project_ids": [sandbox.queue().cast.projects[0]], **body} if body else body
        answer = connect(sandbox).post("/api/v2/runs/query", json=full)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", field]


def test_some_runs_are_gone_and_some_come_late(connect: Connect) -> None:
    """Gone runs are never found; late ones are left out of the first answer that they could be in."""
    with Sandbox(
        Population(rows=200, archived_share=0, odd=False), rules=Rules(runs_gone=0.1, runs_late=0.1)
    ) as sandbox:
        client, rows = connect(sandbox), sandbox.queue().rows("active")
        projects = list(_by_project(rows))
        ids = {str(row.run_id) for row in rows}
        first, second = (
            {run["id"] for run in _query(client, project_ids=projects, ids=list(ids), min_start_time=LONG_AGO)}
            for _ in range(2)
        )

    gone = {run_id for run_id in ids if sandbox.is_gone(run_id)}
    assert first < second == ids - gone
    assert min(len(gone), len(second - first)) > 5


USAGE = [name for name in SELECTS if name.endswith(("_TOKENS", "_COST", "_DETAILS", "FIRST_TOKEN_TIME"))]


def _usage(client: httpx.Client, rows: list[Row], **body: Any) -> dict[str, dict[str, Any]]:
    ids = [row.run_id for row in rows]
    projects = list(_by_project(rows))
    selects = ["ID", *USAGE]
    found = _query(client, ids=ids, project_ids=projects, min_start_time=LONG_AGO, selects=selects, **body)
    return {run["id"]: run for run in found}


def test_without_asking_for_more_a_run_s_usage_is_its_own(connect: Connect) -> None:
    """Roots and runs with children then tell less than the runs listing, other runs the same."""
    with Sandbox(Population(rows=90, archived_share=0)) as sandbox:
        client, rows = connect(sandbox), sandbox.queue().rows("active")
        whole, own = (_usage(client, rows, include_subtree_usage=flag) for flag in (True, False))
        silent = _usage(client, rows)

    assert silent == own
    smaller = {run_id for run_id in whole if own[run_id] != whole[run_id]}
    for row in rows:
        value, run_id = row.value(), str(row.run_id)
        assert own[run_id].keys() == whole[run_id].keys()
        tokens, mine = value.get("total_tokens") or 0, own[run_id].get("total_tokens") or 0
        if value.get("parent_run_id") and not value.get("child_run_ids") and not value.get("direct_child_run_ids"):
            assert run_id not in smaller
        elif tokens:
            assert 0 <= mine < tokens
        cost, own_cost = whole[run_id].get("total_cost") or 0, own[run_id].get("total_cost") or 0
        assert abs(Decimal(own_cost)) <= abs(Decimal(cost))
    assert 20 < len(smaller) < 90


@pytest.mark.parametrize("status", [400, 422])
def test_subtree_usage_can_be_refused(connect: Connect, status: Any) -> None:
    """A service that does not know the parameter refuses a query that has it, and answers the same one without."""
    with Sandbox(
        Population(rows=5, archived_share=0), rules=Rules(query=QueryRules(refuse_subtree_usage=status))
    ) as sandbox:
        client = connect(sandbox)
        body = {"project_ids": list(sandbox.queue().cast.projects)}
        answers = [
            client.post("/api/v2/runs/query", json={**body, **more}) for more in ({}, {"include_subtree_usage": True})
        ]

    assert [answer.status_code for answer in answers] == [200, status]
    told = answers[1].json()
    assert told["status"] == 400 if status == 400 else told["detail"][0]["loc"] == ["body", "include_subtree_usage"]


@pytest.mark.parametrize("status", [400, 422])
def test_more_ids_than_are_served_are_refused_by_number(connect: Connect, status: Any) -> None:
    """A problem of RFC 7807, or the list of the first version: either names the most ids of a query."""
    with Sandbox(
        Population(rows=20, archived_share=0, odd=False),
        rules=Rules(query=QueryRules(most_ids=7, most_ids_status=status)),
    ) as sandbox:
        client, rows = connect(sandbox), sandbox.queue().rows("active")
        body = {"project_ids": list(sandbox.queue().cast.projects), "min_start_time": LONG_AGO}
        answers = [
            client.post("/api/v2/runs/query", json={**body, "ids": [row.run_id for row in rows[:some]]})
            for some in (7, 8)
        ]

    assert [answer.status_code for answer in answers] == [200, status]
    told = answers[1].json()["detail"]
    assert (told[0]["msg"] if status == 422 else told).count("7") == 1
    assert status == 422 or answers[1].headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("status", [413, 502, 504])
def test_answers_above_a_size_are_not_carried(connect: Connect, status: Any) -> None:
    """A query whose answer is too long meets that status, a smaller one is answered."""
    rules = QueryRules(most_bytes=1000, too_large=status)
    with Sandbox(Population(rows=20, archived_share=0, odd=False), rules=Rules(query=rules)) as sandbox:
        client, rows = connect(sandbox), sandbox.queue().rows("active")
        body = {"project_ids": list(sandbox.queue().cast.projects), "min_start_time": LONG_AGO}
        statuses = [
            client.post(
                "/api/v2/runs/query", json={**body, "ids": [row.run_id for row in rows], "selects": selects}
            ).status_code
            for selects in (["NAME"], ["INPUTS"])
        ]

    assert statuses == [200, status]


def test_a_planted_row_costs_its_neighbours_nothing(connect: Connect) -> None:
    """Items and runs of rows with broken times, surrogates or no object at all are answered all the same."""
    with Sandbox(Population(rows=20, archived_share=0, odd=False)) as sandbox:
        client, queue = connect(sandbox), sandbox.queue()
        rows = queue.rows("active")
        queue.edit(rows[0].id, start_time="noon", end_time=4)
        queue.set_text(rows[1].id, rows[1].text.replace(b'"name":"', b'"name":"\\ud800'))
        queue.set_text(rows[2].id, b"17")
        items = [item for status in SECTIONS for item in _read_items(client, _items_path(sandbox), status=status)]
        runs = _query(
            client,
            project_ids=list(queue.cast.projects),
            ids=[row.run_id for row in rows],
            min_start_time=LONG_AGO,
            selects=list(SELECTS),
        )

    assert {item["id"] for item in items} == {row.id for row in rows}
    assert {run["id"] for run in runs} == {row.run_id for row in rows} - {rows[2].run_id}


def test_a_self_hosted_service_has_no_successor(connect: Connect) -> None:
    """Without the platform its endpoints are unknown paths, while the runs listing answers."""
    with Sandbox(Population(rows=3), rules=Rules(platform=False)) as sandbox:
        client = connect(sandbox)
        statuses = [
            client.get(_items_path(sandbox), params={"status": "archived"}).status_code,
            client.get(f"{_items_path(sandbox)}/count", params={"status": "all"}).status_code,
            client.post("/api/v2/runs/query", json={}).status_code,
            client.get(f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}/runs").status_code,
        ]

    assert statuses == [404, 404, 404, 200]


def test_filters_are_those_of_the_listing_and_of_the_count(connect: Connect) -> None:
    """A type, and bounds of start time that are inclusive; with one of them, items without a start are left out."""
    with Sandbox(Population(rows=40, threads=10, odd=False, archived_share=0.0, days=2), seed=1) as sandbox:
        queue = sandbox.queue()
        queue.edit(queue.rows("active")[3].id, start_time=None)
        client, path = connect(sandbox), _items_path(sandbox)
        everything = _read_items(client, path, status="needs_my_review")
        runs = [each for each in everything if each["item_type"] == "RUN"]
        starts = sorted(each["start_time"] for each in runs if each["start_time"])
        low, high = starts[5], starts[20]
        wanted = {each["id"] for each in runs if each["start_time"] and low <= each["start_time"] <= high}
        filters = {"item_type": "RUN", "min_start_time": low, "max_start_time": high}
        found = _read_items(client, path, status="needs_my_review", page_size=7, **filters)
        told = client.get(f"{path}/count", params={"status": "needs_my_review", **filters}).json()

    assert {each["id"] for each in found} == wanted
    assert told == {"count": len(wanted)}


@pytest.mark.parametrize("where", ["", "/count"])
@pytest.mark.parametrize(
    ("filters", "listing", "count"),
    [
        ("refused", 422, 422),
        ("ignored", 40, 40),
        ("listing ignores", 40, 0),
        ("count ignores", 0, 40),
        ("count refused", 0, 422),
    ],
)
def test_a_service_may_do_without_filters(connect: Connect, where: str, filters: Any, listing: int, count: int) -> None:
    """They are refused, or have no effect, in the listing, in the count or in both."""
    population = Population(rows=40, odd=False, archived_share=1.0, days=2)
    with Sandbox(population, seed=1, rules=Rules(item_filters=filters)) as sandbox:
        params = {"status": "archived", "max_start_time": LONG_AGO}
        answer = connect(sandbox).get(_items_path(sandbox) + where, params=params)

    shown = answer.json().get("count", len(answer.json().get("items", ()))) if answer.is_success else answer.status_code
    assert shown == (count if where else listing)
