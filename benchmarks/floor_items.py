"""The floor over items: follow each section's cursor, query the runs, write one Parquet file; nothing else.

Sections are read one after the other, page after page, as a plain client does; queries of 1,000 runs are made beside
that. No retries, no hashes, no partitions, no report, and no row is compared with anything.
"""

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from operator import attrgetter
from typing import Any, Generic, TypeVar

import httpx
import msgspec
import pyarrow as pa
from floor import arguments, write

from annolake.contract import RUNS, Column
from annolake.transform.items import LAST_PARENT, RUN_PLACES, selects
from annolake.transform.row_types import JSON_TYPES

PAGE = 100
RUNS_AT_ONCE = 1_000
SECTIONS = ("needs_my_review", "needs_others_review", "archived")
LONG_AGO = "1970-01-01T00:00:00Z"

COLUMNS = [column for column in RUNS.columns_of("field") if column.items]
SCHEMA = pa.schema([column.arrow_field for column in COLUMNS])
OF_ITEM = {column.name: column.items.removeprefix("item.") for column in COLUMNS if column.items.startswith("item.")}  # type: ignore[union-attr]  # chosen by it
OF_RUN = {name: place for name, (_, place) in RUN_PLACES.items() if name not in OF_ITEM and place != LAST_PARENT}

T = TypeVar("T")


class Wrapped(msgspec.Struct, Generic[T], gc=False):
    """A map, as the query has it."""

    raw: T | None = None


def main() -> None:
    """Copy one queue into one file and tell how many rows there were."""
    args = arguments()
    headers = {"X-API-Key": os.environ["LANGSMITH_API_KEY"]}
    with (
        httpx.Client(base_url=args.url, headers=headers, timeout=60) as client,
        ThreadPoolExecutor(args.lanes) as lanes,
    ):
        rows = write(_batches(client, lanes, args.queue, 2 * args.lanes), args.out, SCHEMA)
    print(json.dumps({"rows": rows}))


def _batches(client: httpx.Client, lanes: ThreadPoolExecutor, queue: str, ahead: int) -> Iterator[pa.RecordBatch]:
    runs = msgspec.json.Decoder(_answer(_struct("Run", OF_RUN, wrapped=True)))

    def joined(items: list[Any]) -> pa.RecordBatch:
        body = {
            "ids": [item.id for item in items if item.id],
            "project_ids": sorted({item.session_id for item in items if item.session_id}),
            "selects": selects(),
            "min_start_time": LONG_AGO,
            "page_size": RUNS_AT_ONCE,
            "include_subtree_usage": True,
        }
        answer = client.post("/api/v2/runs/query", json=body)
        while answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            time.sleep(float(answer.headers["Retry-After"]))  # noqa: TID251 - a script of its own
            answer = client.post("/api/v2/runs/query", json=body)
        by_id = {run.id: run for run in runs.decode(answer.raise_for_status().content).items}
        return _batch(items, [by_id.get(item.id) for item in items])

    flying: deque[Future[pa.RecordBatch]] = deque()
    items: list[Any] = []
    for page in _pages(client, queue):
        items += page
        if len(items) >= RUNS_AT_ONCE:
            flying.append(lanes.submit(joined, items))
            items = []
        if len(flying) == ahead:
            yield flying.popleft().result()
    if items:
        flying.append(lanes.submit(joined, items))
    while flying:
        yield flying.popleft().result()


def _pages(client: httpx.Client, queue: str) -> Iterator[list[Any]]:
    decoder = msgspec.json.Decoder(_answer(_struct("Item", OF_ITEM, wrapped=False)))
    for section in SECTIONS:
        query: dict[str, str | int] = {"status": section, "page_size": PAGE}
        while True:
            path = f"/api/v1/platform/annotation-queues/{queue}/items"
            answer = decoder.decode(client.get(path, params=query).raise_for_status().content)
            yield answer.items
            if answer.next_cursor is None:
                break
            query["cursor"] = answer.next_cursor


def _answer(struct: type[msgspec.Struct]) -> Any:
    members = [("items", list[struct]), ("next_cursor", str | None, None)]  # type: ignore[valid-type]  # made at run time
    return msgspec.defstruct("Answer", members, gc=False)


def _struct(name: str, places: dict[str, str], *, wrapped: bool) -> type[msgspec.Struct]:
    columns = {column.name: column for column in COLUMNS}
    members = [(each, _type(columns[each], wrapped=wrapped), *_default(columns[each])) for each in places]
    if wrapped and "id" not in places:
        members.append(("id", str | None, None))
    return msgspec.defstruct(name, members, kw_only=True, gc=False, rename=dict(places))


def _type(column: Column, *, wrapped: bool) -> Any:
    if column.json:
        return msgspec.Raw | msgspec.UnsetType
    kind = JSON_TYPES[column.type]
    return (Wrapped[kind] if wrapped and column.type.startswith("map<") else kind) | None  # type: ignore[valid-type]  # made at run time


def _default(column: Column) -> tuple[Any, ...]:
    return (msgspec.UNSET if column.json else None,)


def _batch(items: list[Any], runs: list[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([_array(column, items, runs) for column in COLUMNS], schema=SCHEMA)


def _array(column: Column, items: list[Any], runs: list[Any]) -> pa.Array:
    of_item = column.name in OF_ITEM
    if not of_item and column.name not in OF_RUN:  # the last parent
        return pa.nulls(len(items), column.arrow_field.type)
    read = attrgetter(column.name)
    values = [None if each is None else read(each) for each in (items if of_item else runs)]
    if column.json:
        texts = [
            None if value in (None, msgspec.UNSET) or bytes(value) == b"null" else bytes(value) for value in values
        ]
        return pa.array(texts, pa.binary()).cast(pa.string())
    plain = [value.raw if isinstance(value, Wrapped) else value for value in values]
    return pa.array(plain, column.arrow_field.type)


if __name__ == "__main__":
    main()
