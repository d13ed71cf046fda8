"""What it takes to decode a page in which rows break the contract: a ratio to the page unchanged, over each endpoint.

Decoding alone, in this process, of rows as the sandbox sends them. The pages take turns; medians of CPU time are
printed. Run it with nothing else running.
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import httpx
import msgspec
from msgspec import Raw

from annolake.process import settle_process
from annolake.sandbox import Population, Sandbox
from annolake.transform.decode import runs_decoder
from annolake.transform.items import decode_items

Row = dict[str, bytes]

CHANGES: Mapping[str, Row] = {
    "a cost that is a number": {"total_cost": b"0.25"},
    "a required value null": {"id": b"null"},
    "a required field absent": {"id": b""},
    "a value of another type": {"added_at": b"[]"},
    "a time before the year 1": {"added_at": b'"0001-01-01T00:00:00+05:00"'},
    "NaN in a payload": {"outputs": b'{"score":NaN}'},
    "a lone surrogate escape in a payload": {"outputs": b'{"text":"\\ud83d"}'},
    "a lone surrogate escape in a text": {"name": b'"\\ud83d"'},
    "half a word": {"outputs": b"tru"},
}
"""What is written over in a row, by title; with nothing, the member is left out. The first change breaks no row."""

SHARES: Mapping[str, Callable[[int, int], bool]] = {
    "one row": lambda at, rows: at == rows // 2,
    "each tenth": lambda at, _: at % 10 == 5,
    "all": lambda *_: True,
}
"""Which rows of a page are changed."""


def main() -> None:
    """Print a Markdown table for each endpoint."""
    args = _arguments()
    settle_process(os.environ)
    for endpoint, rows in _rows(args.rows).items():
        _compare(endpoint, rows, args.repeat)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=70, help="of a page (default: 70)")
    parser.add_argument("--repeat", type=int, default=31, help="turns (default: 31)")
    return parser.parse_args()


def _rows(count: int) -> dict[str, list[Row]]:
    """Return rows of the sandbox by endpoint, each of its members as text."""
    with Sandbox(Population(rows=4 * count, odd=False)) as sandbox:
        queue = sandbox.queue_ids[0]
        with httpx.Client(base_url=f"{sandbox.url}/api/v1", headers={"X-API-Key": sandbox.api_key}) as client:
            runs = client.get(f"annotation-queues/{queue}/runs", params={"limit": count}).raise_for_status()
            parameters = {"status": "archived", "page_size": count}
            items = client.get(f"platform/annotation-queues/{queue}/items", params=parameters).raise_for_status()
    lists = {"runs": runs.content, "items": msgspec.json.decode(items.content, type=dict[str, Raw])["items"]}
    texts = {endpoint: msgspec.json.decode(each, type=list[dict[str, Raw]]) for endpoint, each in lists.items()}
    return {name: [{n: bytes(t) for n, t in row.items()} for row in rows] for name, rows in texts.items()}


def _compare(endpoint: str, rows: list[Row], repeat: int) -> None:
    decode = _runs if endpoint == "runs" else _items
    pages = {("none", ""): _page(rows)}
    for title, members in CHANGES.items():
        changed = [{name: text for name, text in {**row, **members}.items() if text} for row in rows]
        for which, is_changed in SHARES.items():
            chosen = [changed[at] if is_changed(at, len(rows)) else row for at, row in enumerate(rows)]
            pages[title, which] = _page(chosen)
    seconds: dict[tuple[str, str], list[float]] = {title: [] for title in pages}
    for _ in range(repeat):
        for key, page in pages.items():
            decode(page)  # the page before it does not count
            begun = time.process_time()
            decode(page)
            seconds[key].append(time.process_time() - begun)
    fitting = median(seconds["none", ""])
    size, microseconds = len(pages["none", ""]) / len(rows), fitting / len(rows) * 1e6
    print(f"\n{len(rows)} rows over {endpoint}, of {size:,.0f} bytes; unchanged {microseconds:.1f} us a row\n")
    print(f"| changed | {' | '.join(SHARES)} |\n|---{'|--:' * len(SHARES)}|")
    for title in CHANGES:
        ratios = [f"{median(seconds[title, which]) / fitting:.2f}" for which in SHARES]
        print(f"| {title} | {' | '.join(ratios)} |")


def _page(rows: list[Row]) -> bytes:
    objects = [b",".join([b'"%b":%b' % (name.encode(), text) for name, text in row.items()]) for row in rows]
    return b"[{" + b"},{".join(objects) + b"}]"


def _runs(page: bytes) -> Any:
    return runs_decoder().decode(page, archived=False)


def _items(page: bytes) -> Any:
    return decode_items(b'{"items":' + page + b',"next_cursor":null}', archived=False)


if __name__ == "__main__":
    main()
