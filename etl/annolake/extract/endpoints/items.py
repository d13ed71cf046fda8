"""The items endpoint: a page of a section of a queue, and how many items there are (docs/service.md#items-endpoint).

Owns the endpoints' paths and parameters. In which pages a section is read is paging's.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from annolake.errors import ServiceError
from annolake.extract.endpoints.cursors import require_short
from annolake.extract.http.client import Caller, Client

T = TypeVar("T")

SECTIONS = ("needs_my_review", "needs_others_review", "archived")
"""The sections, in the order of a row's life."""


class _Count(msgspec.Struct):
    count: int


_decode_count = msgspec.json.Decoder(_Count).decode


class Filters(msgspec.Struct, frozen=True):
    """Which items of a section are meant: those of a type, and those that began within bounds, these included.

    With a bound the service leaves items without a start out.
    """

    item_type: str | None = None
    low: datetime | None = None
    high: datetime | None = None

    def parameters(self) -> dict[str, str]:
        """Return them as the endpoint wants them."""
        bounds = {"min_start_time": self.low, "max_start_time": self.high}
        times = {name: at.isoformat().replace("+00:00", "Z") for name, at in bounds.items() if at}
        return times | ({"item_type": self.item_type} if self.item_type else {})


ALL = Filters()


class ItemsListing(msgspec.Struct, frozen=True):
    """The items of one queue, RUN and THREAD ones."""

    client: Client
    queue_id: str
    caller: Caller

    def read(
        self, section: str, cursor: str | None, limit: int, decode: Callable[[bytes], T], filters: Filters = ALL
    ) -> T:
        """Return the page of a section that begins at `cursor` (None: at the section's start), decoded.

        Raises ServiceError. A ValueError of `decode` makes the client ask again.
        """
        parameters: dict[str, str | int | bool] = {"status": section, "page_size": limit, **filters.parameters()}
        require_short(cursor, title=f"the section {section}", endpoint=self._endpoint)
        if cursor is not None:
            parameters["cursor"] = cursor
        return self.client.get(self._endpoint, parameters, decode, caller=self.caller)

    def count(self, section: str, filters: Filters = ALL) -> int | None:
        """Return the number of items of a section, None where it is refused: a hint, never a truth."""
        endpoint = f"{self._endpoint}/count"
        try:
            answer = self.client.get(
                endpoint, {"status": section, **filters.parameters()}, _decode_count, caller=self.caller
            )
        except ServiceError:
            return None
        return answer.count

    @property
    def _endpoint(self) -> str:
        return f"/api/v1/platform/annotation-queues/{self.queue_id}/items"
