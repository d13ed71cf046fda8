"""The lanes of an export: the threads of this process that make its requests.

Owns that queues of one export share them, also where these are tasks that know nothing of one another.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from annolake.shared import shared


class Lanes(NamedTuple):
    """Threads for listings and what belongs to them, and threads for queries of runs, which can take long."""

    listing: ThreadPoolExecutor
    query: ThreadPoolExecutor


@contextmanager
def lanes_of(export_id: str, count: int) -> Iterator[Lanes]:
    """Give an export its lanes, `count` of each kind; they end with the last block that uses them."""

    def made() -> Lanes:
        return Lanes(ThreadPoolExecutor(count, "lane"), ThreadPoolExecutor(count, "query"))

    with shared(("lanes", export_id), made, _end) as lanes:
        yield lanes


def _end(lanes: Lanes) -> None:
    for pool in lanes:
        pool.shutdown()
