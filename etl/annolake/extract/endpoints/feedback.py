"""The feedback endpoint: a slice of what was said on some runs, on a thread, or in some projects since a time.

Owns the endpoint's path and parameters (docs/service.md#feedback). How an answer is known to be whole is paging's.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from annolake.errors import RefusedError, ServiceError
from annolake.extract.endpoints.query_limits import NOT_ACCEPTED
from annolake.extract.http.client import Caller, Client

T = TypeVar("T")

Parameter = str | int | bool | Sequence[str]

ENDPOINT = "/api/v1/feedback"

MOST_ROWS = 100
"""The most rows of an answer by the service's documents."""
MOST_RUNS = 50
"""The most runs (or projects) that are asked for at once: so the URL stays below 4 kB."""


class Question(msgspec.Struct, frozen=True):
    """Which feedback is meant: that on these runs, in these projects, on this thread, created since then."""

    runs: Sequence[str] = ()
    sessions: Sequence[str] = ()
    thread: str | None = None
    since: datetime | None = None

    def parameters(self) -> dict[str, Parameter]:
        """Return them as the endpoint wants them."""
        ids = {"run": self.runs, "session": self.sessions}
        told: dict[str, Parameter] = {name: list(each) for name, each in ids.items() if each}
        if self.thread is not None:
            told["feedback_thread_id"] = self.thread
        if self.since is not None:
            told["min_created_at"] = self.since.isoformat().replace("+00:00", "Z")
        return told


class FeedbackListing(msgspec.Struct):
    """The feedback that a key can see; `names` is False once the service was found to refuse to name the authors."""

    client: Client
    caller: Caller
    names: bool = True

    def read(
        self, question: Question, offset: int, limit: int, decode: Callable[[bytes], T], *, alone: bool = True
    ) -> T:
        """Return one slice of the answer to a question, decoded.

        `alone`: less could not be asked for, so that a large answer is waited for. Raises ServiceError. A ValueError of
        `decode` makes the client ask again.
        """
        parameters = {**question.parameters(), "limit": limit, "offset": offset}

        def ask(parameters: Mapping[str, Parameter]) -> T:
            return self.client.get(
                ENDPOINT, parameters, decode, caller=self.caller, patient=alone, divisible=not alone, optional=True
            )

        if not self.names:
            return ask(parameters)
        try:
            return ask({**parameters, "include_user_names": True})
        except RefusedError as refusal:
            if refusal.status not in NOT_ACCEPTED:
                raise
            try:
                answer = ask(parameters)
            except ServiceError:
                raise refusal from None
        self.names = False
        return answer
