"""The endpoints of the first version: the runs of a queue, queues, sizes.

Owns what they answer. Which of them a key may use, and what goes wrong on the way, is decided before.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from annolake.sandbox.answers import Answer, Refusal, boolean, choice, identifier, integer, json_answer, moment, text
from annolake.sandbox.queue import REVIEW_STATES, Queue, Section
from annolake.sandbox.rows import SIGNATURE, Row, microseconds
from annolake.sandbox.rubric import rubric_of
from annolake.sandbox.showing import Showing

Query = Mapping[str, list[str]]


def page(
    queue: Queue, query: Query, *, page_cap: int | None, ties: random.Random | None, signature: bytes, showing: Showing
) -> Answer:
    """Answer a page of the runs listing: a bare array, what is shown of one window of a list as it is now.

    `ties`, when given, orders rows of equal times anew. `signature` goes into presigned URLs.
    """
    offset = integer(query, "offset", 0, low=0)
    limit = integer(query, "limit", 100, low=1, high=100)
    section: Section = "archived" if boolean(query, "archived") else "active"
    stats = boolean(query, "include_stats")
    state = choice(query, "status", REVIEW_STATES)
    rows = queue.listing(section, state=state, item_type="RUN")
    if ties is not None:
        rows = queue.shuffled_ties(section, rows, ties)
    page, _ = showing.window(rows[offset : offset + min(limit, page_cap or limit)], lambda row: row.text)
    return Answer(200, _body(page, signature, showing, stats=stats is not False), rows=len(page))


def _body(page: Sequence[Row], signature: bytes, showing: Showing, *, stats: bool) -> bytes:
    texts = [showing.text(row.text if stats else _without_stats(row)) for row in page]
    body = b"[" + b",".join(texts) + b"]"
    return body.replace(SIGNATURE, signature) if any(row.signed for row in page) else body


def _without_stats(row: Row) -> bytes:
    if "feedback_stats" not in row.members():
        return row.text
    return row.with_fields({"feedback_stats": None}).text


def queues(there: Sequence[Queue], query: Query, profiles: Mapping[str, dict[str, object]]) -> Answer:
    """Answer a page of the queues that the key sees, filtered by ids, name and part of the name.

    `profiles` holds each queue's own record by its id, of which the listing leaves out the rubric.
    """
    offset = integer(query, "offset", 0, low=0)
    limit = integer(query, "limit", 100, low=1, high=100)
    ids = {identifier(value, ("query", "ids", i)) for i, value in enumerate(query.get("ids", []))}
    name, part = text(query, "name"), text(query, "name_contains")
    chosen = [
        {
            **{name: value for name, value in profiles[queue.id].items() if not name.startswith("rubric_")},
            "total_runs": len(queue.rows("active")) + len(queue.rows("archived")),
        }
        for queue in there
        if (not ids or queue.id in ids)
        and name in (None, queue.name)
        and (part is None or part.lower() in queue.name.lower())
    ]
    page = chosen[offset : offset + limit]
    return json_answer(page, rows=len(page))


def record(queue: Queue, index: int, created: str) -> dict[str, object]:
    """Return a queue's own record, as its endpoint sends it."""
    cast = queue.cast
    reviewers = [asdict(person) for person in cast.reviewers]
    if index % 2:
        reviewers[-1]["name"] = None
    return {
        "id": queue.id,
        "name": queue.name,
        "description": None if index % 2 else f"Answers of the model to review: {queue.name}",
        "queue_type": "single",
        "tenant_id": cast.tenant_id,
        "created_at": created,
        "updated_at": created,
        "default_dataset": cast.dataset_id,
        "num_reviewers_per_item": 1 + index % 2,
        "enable_reservations": True,
        "reservation_minutes": 30,
        "reviewer_access_mode": "any",
        "assigned_reviewers": reviewers,
        "run_rule_id": None,
        "source_rule_id": None,
        "metadata": {"team": "support", "weekly_goal": 250} if index % 2 == 0 else None,
        **rubric_of(cast, index, created),
    }


def size(queue: Queue, query: Query, showing: Showing) -> Answer:
    """Answer the number of active rows, of one review state when `status` is sent."""
    state = choice(query, "status", REVIEW_STATES)
    return told({"size": len(queue.listing("active", state=state, item_type="RUN"))}, showing)


def total_size(queue: Queue) -> Answer:
    """Answer the number of rows in both lists."""
    return json_answer({"size": len(queue.rows("active")) + len(queue.rows("archived"))})


def told(size: dict[str, int], showing: Showing) -> Answer:
    """Answer a size as this service tells it; Refusal 403 where it does not."""
    ((name, true),) = size.items()
    number = showing.size(true)
    if number is None:
        raise Refusal(403, "Forbidden")
    return json_answer({name: number})


def total_archived(queue: Queue, query: Query, showing: Showing) -> Answer:
    """Answer the number of archived rows, of those archived between `start_time` and `end_time` when sent."""
    after = moment(text(query, "start_time"), ("query", "start_time"))
    before = moment(text(query, "end_time"), ("query", "end_time"))
    return told({"size": len(archived_between(queue.rows("archived"), after, before))}, showing)


def archived_between(rows: Sequence[Row], after: datetime | None, before: datetime | None) -> list[Row]:
    """Return the rows whose last review was strictly after and strictly before those times."""
    low = microseconds(after) if after else None
    high = microseconds(before) if before else None
    return [row for row in rows if (low is None or row.done > low) and (high is None or row.done < high)]
