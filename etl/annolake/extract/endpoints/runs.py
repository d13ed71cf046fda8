"""The runs endpoint: one slice of one of a queue's two lists (docs/service.md#runs-endpoint).

Owns the endpoint's path and parameters. In which slices a list is read is paging's.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from annolake.extract.http.client import Caller, Client

T = TypeVar("T")


class RunsListing(msgspec.Struct, frozen=True):
    """The listing of one queue as an export asks for it; `status` empty asks for every row."""

    client: Client
    queue_id: str
    include_stats: bool
    status: str
    caller: Caller

    def read(self, offset: int, limit: int, *, archived: bool, decode: Callable[[bytes], T], patient: bool = True) -> T:
        """Return one slice of the active or the archived list, decoded.

        Raises ServiceError. A ValueError of `decode` makes the client ask again. `patient` is the client's.
        """
        parameters: dict[str, int | bool | str] = {
            "offset": offset,
            "limit": limit,
            "archived": archived,
            "include_stats": self.include_stats,
        }
        if self.status:
            parameters["status"] = self.status
        endpoint = f"/api/v1/annotation-queues/{self.queue_id}/runs"
        return self.client.get(endpoint, parameters, decode, caller=self.caller, patient=patient)
