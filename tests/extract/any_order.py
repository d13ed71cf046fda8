"""Lanes of a model: requests wait until a reader waits for answers, and are answered in any sequence. No threads."""

import random
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any

from annolake.extract.cursor.lanes import Lanes, at_once

_EARLY = 0.3  # how often a request is answered that nobody waits for yet


class AnyOrder(Lanes):
    """So many lanes, of which one answers at a time, perhaps before anybody waits for it."""

    def __init__(self, many: int, rng: random.Random) -> None:
        super().__init__(many, self._keep, self._answer)
        self._rng = rng
        self._kept: dict[Future[Any], tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def _keep(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._kept[future] = call, arguments
        return future

    def _answer(self, futures: Collection[Future[Any]]) -> None:
        while self._kept and self._rng.random() < _EARLY:
            self._answer_one(self._rng.choice(list(self._kept)))
        if waiting := [one for one in futures if not one.done()]:
            self._answer_one(self._rng.choice(waiting))

    def _answer_one(self, future: Future[Any]) -> None:
        if not future.set_running_or_notify_cancel():
            del self._kept[future]
            return
        call, arguments = self._kept.pop(future)
        answer = at_once(call, *arguments)
        error = answer.exception()
        if error:
            future.set_exception(error)
        else:
            future.set_result(answer.result())
