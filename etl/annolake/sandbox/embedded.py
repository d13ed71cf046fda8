"""`Sandbox`: the stand-in as tests, demo and command hold it.

Owns its options and its life from start to stop.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from annolake.clock import Clock
from annolake.sandbox.changes import Changes
from annolake.sandbox.faults import Faults
from annolake.sandbox.gate import Gate
from annolake.sandbox.population import UNTIL, Population, populate
from annolake.sandbox.query import Existence
from annolake.sandbox.queue import Queue
from annolake.sandbox.server import Server
from annolake.sandbox.service import Record, Rules, Service
from annolake.sandbox.showing import Showing
from annolake.sandbox.threads import ThreadBook
from annolake.sandbox.timeline import Timeline

Before = Callable[["Sandbox", int], None]


class Sandbox:
    """A stand-in for the service on loopback, with data: the same for the same `seed` and options.

    `population` is its data, `rules` how it answers where the contract leaves that open, `faults` what goes wrong and
    `changes` what happens meanwhile. `before_request(sandbox, n)` is called before the n-th request is answered and may
    change the queues. `feedback` and `threads` hold all feedback and all turns, for tests to
    see and to change.

    It holds no socket until it is entered, and can be entered again after it was left: a service that was
    away. Entering raises OSError when the port is taken.
    """

    def __init__(
        self,
        population: Population | None = None,
        *,
        seed: int = 1,
        rules: Rules | None = None,
        faults: Faults | None = None,
        changes: Changes | None = None,
        before_request: Before | None = None,
        api_key: str | None = None,
        tenant_id: str | None = None,
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        population, rules = population or Population(), rules or Rules()
        faults = faults or Faults()
        digest = hashlib.sha256(f"{seed}:identity".encode()).hexdigest()
        self.api_key = api_key or f"sandbox-key-{digest[:32]}"
        self.tenant_id = tenant_id or f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"
        timeline = Timeline(UNTIL)
        self._queues, self.feedback = populate(population, seed, self.tenant_id, timeline)
        self.threads = ThreadBook(self._queues, timeline, seed, odd=population.odd)
        self._existence = Existence(seed, rules.runs_gone, rules.runs_late)
        self._service = Service(
            list(self._queues.values()),
            timeline,
            Gate(self.api_key, self.tenant_id, frozenset(rules.forbid), rules.platform),
            rules,
            seed=seed,
            faults=faults,
            changes=changes or Changes(),
            clock=clock or Clock(),
            existence=self._existence,
            before_request=(lambda number: before_request(self, number)) if before_request else None,
            feedback_book=self.feedback,
            threads_book=self.threads,
        )
        self._listen = partial(Server, self._service, port, gzip=rules.gzip, redirect_to=faults.redirect_to)
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self._server = self._listen()
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()

    @property
    def url(self) -> str:
        """The address to put in the place of the service's; of the last life when it is stopped."""
        if self._server is None:
            raise RuntimeError("the sandbox has no address before it is entered: use it in a with statement")
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def queue_ids(self) -> list[str]:
        """The ids of the queues, in the order of the listing."""
        return list(self._queues)

    def queue(self, queue_id: str | None = None) -> Queue:
        """Return a queue's own state, the truth for tests; the first queue's by default."""
        return self._queues[queue_id or self.queue_ids[0]]

    def profile(self, queue_id: str | None = None) -> dict[str, Any]:
        """Return a queue's own record; what is set in it is answered from then on. The first queue's by default."""
        return self._service.profiles[queue_id or self.queue_ids[0]]

    @property
    def showing(self) -> Showing:
        """How much answers show of what is there; set it anew at any time."""
        return self._service.showing

    @showing.setter
    def showing(self, showing: Showing) -> None:
        self._service.showing = showing

    @property
    def requests(self) -> list[Record]:
        """The requests answered so far, in the order of their answers."""
        return self._service.records

    def is_gone(self, run_id: str) -> bool:
        """Tell whether the query of runs never finds a run."""
        return self._existence.is_gone(run_id)
