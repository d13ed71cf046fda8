"""Calls that may never end, and that nothing can end: made in a thread of their own, so that nobody need wait."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def in_background(call: Callable[[], T], name: str) -> Future[T]:
    """Return what will have the call's outcome; its thread, of that name, does not keep a process from ending."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the outcome is asked for
            outcome.set_exception(error)

    Thread(target=run, name=name, daemon=True).start()
    return outcome
