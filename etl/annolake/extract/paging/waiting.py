"""How readers wait for answers: a function that is handed in, so that a test can answer in any order."""

from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

Wait = Callable[[Collection[Future[Any]]], object]
"""Return when at least one of the requests is answered."""


def wait_for_one(requests: Collection[Future[Any]]) -> None:
    """Wait until at least one of the requests is answered."""
    wait(requests, return_when=FIRST_COMPLETED)


def answered(value: T) -> Future[T]:
    """Return a request that is answered already."""
    future: Future[T] = Future()
    future.set_result(value)
    return future
