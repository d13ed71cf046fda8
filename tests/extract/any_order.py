"""Lanes of a model: requests wait until a reader waits for answers, and are answered in any sequence. No threads."""

import random
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any

from annolake.extract.cursor.windows import Lanes, at_once


class AnyOrder(Lanes):
    """So many lanes, of which one answers at a time."""

    def __init__(self, many: int, rng: random.Random) -> None:
        super().__init__(many, self._keep, self._answer)
        self._rng = rng
        self._kept: dict[Future[Any], tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def _keep(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._kept[future] = call, arguments
        return future

    def _answer(self, futures: Collection[Future[Any]]) -> None:
        future = self._rng.choice([one for one in futures if not one.done()])
        call, arguments = self._kept.pop(future)
        answer = at_once(call, *arguments)
        error = answer.exception()
        if error:
            future.set_exception(error)
        else:
            future.set_result(answer.result())
