"""The public SDK, pointed at the sandbox, reads the same rows: no private idea of the service."""

import importlib
import warnings
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from annolake.sandbox import Population, Sandbox

langsmith = pytest.importorskip("langsmith", reason="the public SDK is not installed")


@pytest.fixture(autouse=True)
def _the_sdk_s_own_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _sdk(sandbox: Sandbox) -> Any:
    return importlib.import_module("langsmith._client").Langsmith(
        api_key=sandbox.api_key, base_url=sandbox.url, max_retries=0
    )


def _read_items(client: Any, sandbox: Sandbox) -> list[Any]:
    return [
        item
        for status in ("needs_my_review", "needs_others_review", "archived")
        for item in client.annotation_queues.items.list(sandbox.queue_ids[0], status=status, page_size=50)
    ]


def test_the_sdk_lists_and_counts_the_same_items() -> None:
    """`items.list` and `items.retrieve_count` give every RUN and THREAD item once, times as they are."""
    with Sandbox(Population(rows=400, threads=15)) as sandbox, _sdk(sandbox) as client:
        items = _read_items(client, sandbox)
        counts = client.annotation_queues.items.retrieve_count(sandbox.queue_ids[0], status="all").count
        queue = sandbox.queue()
        ids = [row.id for row in (*queue.listing("active"), *queue.listing("archived"))]

    assert sorted(item.id for item in items) == sorted(ids)
    assert counts == len(ids) == 415
    assert sum(item.item_type == "THREAD" for item in items) == 15


def test_the_sdk_queries_the_same_runs() -> None:
    """`runs.query_v2` follows the cursor and reads each run with the values that its row has."""
    with Sandbox(Population(rows=300)) as sandbox, _sdk(sandbox) as client:
        projects: dict[str, list[str]] = defaultdict(list)
        for item in _read_items(client, sandbox):
            projects[item.project_id].append(item.run_id)
        selects = ["ID", "NAME", "RUN_TYPE", "TOTAL_COST", "PROMPT_TOKEN_DETAILS", "INPUTS", "START_TIME"]
        runs = {
            run.id: run
            for project, ids in projects.items()
            for run in client.runs.query_v2(
                project_ids=[project],
                ids=ids,
                min_start_time="2020-01-01T00:00:00Z",
                selects=selects,
                page_size=40,
                include_subtree_usage=True,
            )
        }
        queue = sandbox.queue()
        values = [row.value() for row in queue.rows("active") + queue.rows("archived")]

    assert len(runs) == len(values) == 300
    for value in values:
        run = runs[value["id"]]
        assert (run.name, run.run_type) == (value["name"], value["run_type"].upper())
        cost = value.get("total_cost")
        assert run.total_cost == (None if cost is None else float(Decimal(cost)))
        details = run.prompt_token_details
        assert (details and details.raw) == value.get("prompt_token_details")
        assert (run.inputs is None) == (value.get("inputs") is None)
        assert (run.start_time is None) == ("start_time" not in value)


def test_the_sdk_pages_the_old_listing() -> None:
    """The runs listing, the record, the sizes and the classic client's offset pager work as they are."""
    with Sandbox(Population(rows=340, queues=2)) as sandbox, _sdk(sandbox) as client:
        queue_id, queue = sandbox.queue_ids[0], sandbox.queue()
        page = client.annotation_queues.runs.list(queue_id, limit=100, offset=200, archived=False)
        sizes = [
            getattr(client.annotation_queues, name)(queue_id).size
            for name in ("retrieve_total_size", "retrieve_total_archived")
        ]
        classic = langsmith.Client(api_url=sandbox.url, api_key=sandbox.api_key, auto_batch_tracing=False)
        paged = list(classic._get_paginated_list(f"/annotation-queues/{queue_id}/runs"))
        names = [one.name for one in classic.list_annotation_queues()]
        record = client.annotation_queues.retrieve(queue_id)

    active = [row.id for row in queue.rows("active")]
    assert [run.queue_run_id for run in page] == active[200:]
    assert [run["queue_run_id"] for run in paged] == active
    assert sizes == [340, 102]
    assert names == ["Support answers", "Checkout agent"]
    assert (record.name, len(record.assigned_reviewers)) == (queue.name, 6)


def test_the_sdk_reads_feedback_rubrics_and_turns() -> None:
    """The classic client's feedback, a thread's traces and the queue's rubric are those that the sandbox holds."""
    with Sandbox(Population(rows=60, threads=4, odd=False)) as sandbox, _sdk(sandbox) as client:
        runs = [str(row.run_id) for row in sandbox.queue().rows("active")]
        classic = langsmith.Client(api_url=sandbox.url, api_key=sandbox.api_key, auto_batch_tracing=False)
        feedback = list(classic.list_feedback(run_ids=runs))
        thread = sandbox.queue().threads("active")[0].value()
        traces = list(
            client.threads.list_traces(
                thread["thread_id"], project_id=thread["session_id"], selects=["TURN_NUMBER", "TOTAL_COST"], page_size=3
            )
        )
        record = client.annotation_queues.retrieve(sandbox.queue_ids[0])

    there = {one.id: one.value() for run_id in runs for one in sandbox.feedback.of(run_id)}
    turns = [turn.value() for turn in sandbox.threads.turns(thread["thread_id"])]
    assert {str(one.id): one.comment for one in feedback} == {key: one.get("comment") for key, one in there.items()}
    assert len(feedback) == len(there) > 100
    assert [(trace.trace_id, trace.turn_number) for trace in traces] == [
        (turn["trace_id"], number) for number, turn in enumerate(turns, 1)
    ]
    assert [trace.total_cost for trace in traces] == [float(turn["total_cost"]) for turn in turns]
    assert [item.feedback_key for item in record.rubric_items] == ["helpfulness", "correct", "tone", "summary"]
