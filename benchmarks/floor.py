"""The floor: fetch every page, decode it, write one Parquet file; nothing else.

No retries, no joints, no hashes, no partitions, no report, and no row is compared with anything. It knows that the
queue is still and believes the sizes it is told. What annolake takes beyond this is the price of what it promises.
"""

import argparse
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from operator import attrgetter
from typing import Any

import httpx
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from annolake.contract import RUNS, Column
from annolake.transform.row_types import json_type

PAGE = 100
ROWS_AT_ONCE = 1_000
BYTES_AT_ONCE = 8_000_000
ROW_GROUP_BYTES = 32_000_000

COLUMNS = RUNS.columns_of("field")
SCHEMA = pa.schema([column.arrow_field for column in COLUMNS])


def main() -> None:
    """Copy one queue into one file and tell how many rows there were."""
    args = arguments()
    headers = {"X-API-Key": os.environ["LANGSMITH_API_KEY"]}
    with (
        httpx.Client(base_url=f"{args.url}/api/v1/annotation-queues/{args.queue}", headers=headers) as client,
        ThreadPoolExecutor(args.lanes) as lanes,
    ):
        rows = write(_batches(client, lanes, 2 * args.lanes), args.out, SCHEMA)
    print(json.dumps({"rows": rows}))


def write(batches: Iterable[pa.RecordBatch], path: str, schema: pa.Schema) -> int:
    """Write rows as one file, and return how many there were."""
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            rows += batch.num_rows
            waiting.append(batch)
            if sum(each.nbytes for each in waiting) >= ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting = []
        writer.write_table(pa.Table.from_batches(waiting, schema))
    return rows


def arguments() -> argparse.Namespace:
    """Return what both floors are told."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--url", "--queue", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--lanes", type=int, default=8)
    return parser.parse_args()


def _batches(client: httpx.Client, lanes: ThreadPoolExecutor, ahead: int) -> Iterator[pa.RecordBatch]:
    rows: list[Any] = []
    weight = 0
    for page, size in _pages(client, lanes, ahead):
        rows += page
        weight += size
        if len(rows) >= ROWS_AT_ONCE or weight >= BYTES_AT_ONCE:
            yield _batch(rows)
            rows, weight = [], 0
    if rows:
        yield _batch(rows)


def _pages(client: httpx.Client, lanes: ThreadPoolExecutor, ahead: int) -> Iterator[tuple[list[Any], int]]:
    """Yield the pages of both lists in order with their bytes, at most `ahead` of them asked for and not yet taken."""
    decoder = msgspec.json.Decoder(list[_struct()])  # type: ignore[misc]  # made at run time

    def fetch(archived: bool, offset: int) -> tuple[list[Any], int]:
        query = {"offset": offset, "limit": PAGE, "archived": archived, "include_stats": True}
        body = client.get("runs", params=query).raise_for_status().content
        return decoder.decode(body), len(body)

    flying: deque[Future[tuple[list[Any], int]]] = deque()
    for archived, size in ((False, "size"), (True, "total_archived")):
        for offset in range(0, client.get(size).raise_for_status().json()["size"], PAGE):
            flying.append(lanes.submit(fetch, archived, offset))
            if len(flying) == ahead:
                yield flying.popleft().result()
    while flying:
        yield flying.popleft().result()


def _struct() -> type[msgspec.Struct]:
    members = [(column.name, json_type(column), *_default(column)) for column in COLUMNS]
    rename = {column.name: column.runs for column in COLUMNS if column.runs}
    return msgspec.defstruct("Run", members, kw_only=True, gc=False, rename=rename)


def _default(column: Column) -> tuple[Any, ...]:
    return () if column.required else (msgspec.UNSET if column.json else None,)


def _batch(rows: list[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([_array(column, rows) for column in COLUMNS], schema=SCHEMA)


def _array(column: Column, rows: list[Any]) -> pa.Array:
    values = map(attrgetter(column.name), rows)
    if not column.json:
        return pa.array(list(values), column.arrow_field.type)
    texts = [None if value is msgspec.UNSET or bytes(value) == b"null" else bytes(value) for value in values]
    return pa.array(texts, pa.binary()).cast(pa.string())


if __name__ == "__main__":
    main()
