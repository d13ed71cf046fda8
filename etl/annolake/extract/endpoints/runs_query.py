"""The runs of items: asked for in batches, and once more where runs did not come back.

Owns which items are asked for together, the bounds of a query, and the pages of its answer. A query is bounded by the
earliest and the latest start of its items, a little widened: without bounds it searches the last day alone
(docs/service.md#runs-query). Items whose start is not known are asked for apart.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol

import msgspec

from annolake.errors import RefusedError, ServiceError, TooLargeError, UnavailableError
from annolake.extract.endpoints.query_limits import NOT_ACCEPTED, QueryLimits
from annolake.extract.http.client import Caller, Client

FEW = 20
"""Rows of which an answer larger than most waits until no other of its size is held; of more, half are asked for."""

_ENDPOINT = "/api/v2/runs/query"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MARGIN = timedelta(seconds=1)  # for times that are cut to seconds or milliseconds on one side
_WIDE = timedelta(days=1)  # for a run that did not come back
_PAGES = 3  # for each run asked for: an answer of more pages never ends

Decode = Callable[[bytes], Any]
"""Decodes a page of a query: it has `runs` by their id, the `cursor` of the next page (None: the end), its `size`."""


class Subject(Protocol):
    """What must be known of an item: its run, the run's project, and when the run began; None: not known."""

    @property
    def run_id(self) -> str | None: ...  # noqa: D102

    @property
    def project_id(self) -> str | None: ...  # noqa: D102

    @property
    def start_time(self) -> datetime | None: ...  # noqa: D102


class Batch(msgspec.Struct, frozen=True, dict=True):
    """Items in reading order whose runs are asked for together; some may have none."""

    items: Sequence[Any]

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The items to ask for, by run."""
        return {item.run_id: item for item in self.items if item.run_id and item.project_id}

    def missing(self, payloads: "Payloads") -> list[Any]:
        """Return the items to ask for whose run is not among those found."""
        return [item for run_id, item in self.asked.items() if run_id not in payloads.runs]

    def cut(self, size: int) -> tuple["Batch", "Batch"]:
        """Return the first `size` items, and the others."""
        return Batch(self.items[:size]), Batch(self.items[size:])


class Batches:
    """Items on their way into batches of `size()` of them, in reading order; those of unknown start apart.

    Projects share a batch: what bounds a query are times, and neighbours in a list are near in time.
    """

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._dated: list[Subject] = []
        self._undated: list[Subject] = []

    def add(self, items: Iterable[Subject]) -> None:
        """Take items in."""
        for item in items:
            waiting = self._undated if item.run_id and item.start_time is None else self._dated
            waiting.append(item)

    def full(self) -> Iterator[Batch]:
        """Yield the batches that are full."""
        for waiting in (self._dated, self._undated):
            while len(waiting) >= self._size():
                yield self._cut(waiting)

    def rest(self) -> Iterator[Batch]:
        """Yield what waits."""
        for waiting in (self._dated, self._undated):
            while waiting:
                yield self._cut(waiting)

    def _cut(self, waiting: list[Subject]) -> Batch:
        size = self._size()
        batch = Batch(waiting[:size])
        del waiting[:size]
        return batch


class Payloads(msgspec.Struct):
    """The runs of a batch that were found, by their id, and the bytes that were read.

    `own` are the runs whose tokens and costs are their own alone, since the service refuses to include descendants.
    """

    runs: dict[str, Any] = msgspec.field(default_factory=dict)
    own: set[str] = msgspec.field(default_factory=set)
    size: int = 0


class RunsQuery(msgspec.Struct, frozen=True):
    """The query as an export asks it: `selects` are the names of the fields that come back, ID among them.

    `subtree_usage`: tokens and costs of a run are to include its descendants'.
    """

    client: Client
    selects: Sequence[str]
    caller: Caller
    query_limits: QueryLimits = msgspec.field(default_factory=QueryLimits)
    subtree_usage: bool = True

    def read(self, batch: Batch, decode: Decode, *, enough: float = math.inf) -> tuple[Payloads, Batch]:
        """Return the runs of a batch; those that did not come back are asked for again as long as that finds some.

        Never one by one: the service limits queries most, and many runs of an old queue are gone. When `enough` bytes
        came, the items that were not asked for yet are left, as the second value. Raises ServiceError;
        UnavailableError also where the pages of an answer never end. A ValueError of `decode` makes the client ask
        again.
        """
        payloads = Payloads()
        left = {item.run_id for item in self._ask(list(batch.asked.values()), _MARGIN, decode, payloads, enough)}
        done = next((place for place, item in enumerate(batch.items) if item.run_id in left), len(batch.items))
        batch, rest = batch.cut(done)
        before = -1
        while len(payloads.runs) > before and (missing := batch.missing(payloads)):
            before = len(payloads.runs)
            self._ask(missing, _WIDE, decode, payloads, math.inf)
        return payloads, rest

    def _ask(
        self, items: Sequence[Subject], margin: timedelta, decode: Decode, payloads: Payloads, enough: float
    ) -> list[Subject]:
        """Ask for items in queries of as many as the service serves at once, which is learned on the way.

        Returns those that were not asked for, since `enough` bytes had come.
        """
        waiting = [items] if items else []
        while waiting and payloads.size < enough:
            some, most = waiting.pop(), self.query_limits.most
            if len(some) > most:
                waiting += [some[start : start + most] for start in range(0, len(some), most)][::-1]
                continue
            try:
                self._query(some, margin, decode, payloads)
                self.query_limits.answered(len(some))
            except TooLargeError:
                if len(some) == 1:
                    raise
                left = [item for item in some if item.run_id not in payloads.runs]
                half = max(1, len(left) // 2)
                waiting += [left[half:], left[:half]]
            except ServiceError as error:
                numbers = error.numbers if isinstance(error, RefusedError) else ()
                if not self.query_limits.refused(len(some), status=error.status, numbers=numbers):
                    raise
                waiting.append([item for item in some if item.run_id not in payloads.runs])
        return [item for some in reversed(waiting) for item in some]

    def _query(self, items: Sequence[Subject], margin: timedelta, decode: Decode, payloads: Payloads) -> None:
        ids = [item.run_id for item in items if item.run_id]
        body: dict[str, object] = {
            "ids": ids,
            "project_ids": sorted({item.project_id for item in items if item.project_id}),
            "selects": self.selects,
            "page_size": len(ids),
            **_bounds(items, margin),
        }
        for _ in range(_PAGES * len(ids)):
            answer, own = self._page(body, decode, several=len(ids))
            payloads.size += answer.size
            found = {run_id: answer.runs[run_id] for run_id in ids if run_id in answer.runs}
            payloads.runs.update(found)
            payloads.own = payloads.own | found.keys() if own else payloads.own - found.keys()
            if answer.cursor is None or all(run_id in payloads.runs for run_id in ids):
                return
            body["cursor"] = answer.cursor
        raise UnavailableError(
            f"the answer to a query of {len(ids)} runs never ends: run again later",
            status=200,
            endpoint=_ENDPOINT,
            attempts=_PAGES * len(ids),
        )

    def _page(self, body: Mapping[str, object], decode: Decode, *, several: int) -> tuple[Any, bool]:
        """Return a page of a query, and whether usage with descendants was wanted and refused."""

        def ask(body: Mapping[str, object]) -> Any:
            return self.client.post(
                _ENDPOINT, body, decode, caller=self.caller, patient=several <= FEW, divisible=several > 1
            )

        if not self.subtree_usage or not self.query_limits.subtree_usage:
            return ask(body), self.subtree_usage
        try:
            return ask({**body, "include_subtree_usage": True}), False
        except RefusedError as refusal:
            if refusal.status not in NOT_ACCEPTED:
                raise
            answer = ask(body)
        self.query_limits.subtree_usage = False
        return answer, True


def _bounds(items: Iterable[Subject], margin: timedelta) -> dict[str, str]:
    """Return the bounds of a query; where a start is not known there is none but the beginning of time."""
    starts = [item.start_time for item in items]
    known = [start for start in starts if start is not None]
    if len(known) < len(starts):
        return {"min_start_time": _text(_LONG_AGO)}
    return {
        "min_start_time": _text(_shifted(min(known), -margin)),
        "max_start_time": _text(_shifted(max(known), margin)),
    }


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:  # at the ends of the calendar
        return moment


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
