"""Where a reader's requests are made, so that they need not wait for each other. Starts no thread."""

from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, Protocol

from annolake.extract.paging.waiting import Wait, wait_for_one


class Submit(Protocol):
    """Has a lane call the function."""

    def __call__(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Return what will have the result."""


def at_once(call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
    """Call the function here and now: what `Submit` is where there are no lanes."""
    future: Future[Any] = Future()
    try:
        future.set_result(call(*arguments))
    except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
        future.set_exception(error)
    return future


class Lanes:
    """Where requests are made: so `many` at once, by `submit`; a reader that waits for answers does it by `wait`."""

    def __init__(self, many: int = 1, submit: Submit = at_once, wait: Wait = wait_for_one) -> None:
        self.many = many
        self.submit = submit
        self.wait = wait

    def each(self, call: Callable[..., Any], arguments: Collection[Any]) -> list[Any]:
        """Call the function once for each argument, side by side; return the results."""
        futures = [self.submit(call, argument) for argument in arguments]
        self.wait_for_all(futures)
        return [future.result() for future in futures]

    def wait_for_all(self, futures: Collection[Future[Any]]) -> None:
        """Wait until all are answered."""
        while waited := [future for future in futures if not future.done()]:
            self.wait(waited)
