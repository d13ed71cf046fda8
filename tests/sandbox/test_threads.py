"""The turns of a thread as the sandbox serves them: selected fields, oldest first, by cursor."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from annolake.sandbox import Population, Row, Rules, Sandbox
from annolake.sandbox.threads import SELECTS

Connect = Callable[[Sandbox], httpx.Client]


def threads_of(sandbox: Sandbox) -> list[Row]:
    """Return all THREAD items of the first queue."""
    return [*sandbox.queue().threads("active"), *sandbox.queue().threads("archived")]


def path_of(thread_id: str) -> str:
    """Return the path of a thread's turns."""
    return f"/api/v2/threads/{quote(thread_id, safe='')}/traces"


def read(client: httpx.Client, thread: Row, **params: Any) -> list[dict[str, Any]]:
    """Return all turns of a thread, page after page."""
    found: list[dict[str, Any]] = []
    there = thread.value()
    params = {"project_id": there["session_id"], **params}
    while True:
        page = client.get(path_of(there["thread_id"]), params=params).raise_for_status().json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


@pytest.mark.parametrize("size", [7, 20, 100])
def test_turns_come_oldest_first_by_cursor(connect: Connect, size: int) -> None:
    """Every thread's turns, numbered from 1, with all fields; ids with slashes and question marks included."""
    with Sandbox(Population(rows=0, threads=30)) as sandbox:
        client = connect(sandbox)
        lengths = set()
        for thread in threads_of(sandbox):
            found = read(client, thread, selects=sorted(SELECTS), page_size=size)
            turns = sandbox.threads.turns(thread.value()["thread_id"])
            assert [one["trace_id"] for one in found] == [turn.trace_id for turn in turns]
            assert [one["turn_number"] for one in found] == list(range(1, len(found) + 1))
            assert [one["start_time"] for one in found] == sorted(one["start_time"] for one in found)
            assert all({key.upper() for key in one} <= SELECTS for one in found)
            lengths.add(len(found))
        ids = [thread.value()["thread_id"] for thread in threads_of(sandbox)]

    assert max(lengths) > 100
    assert any("/" in thread_id and "?" in thread_id for thread_id in ids)


def test_only_selected_fields_come_back(connect: Connect) -> None:
    """`trace_id` always, anything else by its name; the default page has 20."""
    with Sandbox(Population(rows=0, threads=12, odd=False)) as sandbox:
        client = connect(sandbox)
        long = next(one for one in threads_of(sandbox) if len(read(client, one)) > 20)
        params = {"project_id": long.value()["session_id"]}
        path = path_of(long.value()["thread_id"])
        page = client.get(path, params=params).json()
        few = client.get(path, params={**params, "selects": ["START_TIME", "TURN_NUMBER"], "page_size": 1}).json()

    assert len(page["items"]) == 20
    assert all(set(one) == {"trace_id"} for one in page["items"])
    assert set(few["items"][0]) == {"trace_id", "start_time", "turn_number"}


def test_a_thread_grows_and_shrinks(connect: Connect) -> None:
    """New turns come last, an edited one keeps its place, a deleted one gives its number to the next."""
    with Sandbox(Population(rows=0, threads=8, odd=False)) as sandbox:
        client, thread = connect(sandbox), threads_of(sandbox)[0]
        thread_id = thread.value()["thread_id"]
        before = read(client, thread, selects=["NAME", "TURN_NUMBER"])
        new = sandbox.threads.add(thread_id)
        sandbox.threads.edit(sandbox.threads.turns(thread_id)[0], name="renamed", x_new=[1])
        grown = read(client, thread, selects=["NAME", "TURN_NUMBER"])
        sandbox.threads.delete(sandbox.threads.turns(thread_id)[0])
        shrunk = read(client, thread, selects=["NAME", "TURN_NUMBER"])

    assert [one["trace_id"] for one in grown] == [*(one["trace_id"] for one in before), new.trace_id]
    assert grown[0] == {**before[0], "name": "renamed", "x_new": [1]}
    assert [one["trace_id"] for one in shrunk] == [one["trace_id"] for one in grown[1:]]
    assert [one["turn_number"] for one in shrunk] == [one["turn_number"] for one in grown[:-1]]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"project_id": None}, 422),
        ({"project_id": "x"}, 422),
        ({"page_size": 101}, 422),
        ({"page_size": 0}, 422),
        ({"selects": ["EVERYTHING"]}, 422),
        ({"cursor": "abc"}, 422),
        ({"project_id": "00000000-0000-4000-8000-000000000000"}, 200),
    ],
)
def test_parameters_are_checked(connect: Connect, changed: dict[str, Any], status: int) -> None:
    """What the service refuses is refused; in another project the thread has no turns."""
    with Sandbox(Population(rows=0, threads=3)) as sandbox:
        there = threads_of(sandbox)[0].value()
        params = {"project_id": there["session_id"], **changed}
        params = {name: value for name, value in params.items() if value is not None}
        answer = connect(sandbox).get(path_of(there["thread_id"]), params=params)

    assert answer.status_code == status
    assert status != 200 or answer.json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        (Rules(threads_status=404), 404),
        (Rules(threads_status=501), 501),
        (Rules(platform=False), 404),
        (Rules(forbid=("traces",)), 403),
    ],
)
def test_some_servers_have_no_threads(connect: Connect, rules: Rules, status: int) -> None:
    """By rule, for want of a platform, or for this key."""
    with Sandbox(Population(rows=0, threads=1), rules=rules) as sandbox:
        there = threads_of(sandbox)[0].value()
        answer = connect(sandbox).get(path_of(there["thread_id"]), params={"project_id": there["session_id"]})

    assert answer.status_code == status


def test_a_forgotten_thread_is_unknown(connect: Connect) -> None:
    """One answers 404, the others as before."""
    with Sandbox(Population(rows=0, threads=2)) as sandbox:
        one, other = (row.value() for row in threads_of(sandbox))
        sandbox.threads.forget(one["thread_id"])
        statuses = [
            connect(sandbox).get(path_of(row["thread_id"]), params={"project_id": row["session_id"]}).status_code
            for row in (one, other)
        ]

    assert statuses == [404, 200]
