"""How long a reading goes on that brings nothing new, how often it begins again, and the error where it is given up.

No reading goes on without end: docs/paging.md#overlaps, P5.
"""

from collections.abc import Callable

from annolake.errors import UnavailableError

STALLED = 100  # answers in a row without a row that is new to the reading


class Patience:
    """The patience of one reading: `answers` in a row without progress, `restarts` from the start of the list.

    `title` names the list in an error ("the active list"), `endpoint` is its name, `requests` counts those made.
    """

    def __init__(
        self, title: str, endpoint: str, requests: Callable[[], int], *, restarts: int, answers: int = STALLED
    ) -> None:
        self._title = title
        self._endpoint = endpoint
        self._requests = requests
        self._answers = answers
        self._most_restarts = restarts
        self._idle = 0
        self._restarts = 0.0

    def renew(self) -> None:
        """Forget the answers that brought nothing."""
        self._idle = 0

    def is_out(self, *, progress: bool, weight: int = 1) -> bool:
        """Note an answer, or `weight` of them; tell whether too many in a row brought nothing."""
        self._idle = 0 if progress else self._idle + weight
        return self._idle > self._answers

    def restart(self, weight: float = 1) -> bool:
        """Note that the reading begins again; tell whether it did so too often."""
        self._restarts += weight
        return self._restarts > self._most_restarts

    def stalled(self) -> UnavailableError:
        """Return the error for too many answers that brought nothing."""
        return self.error("repeats itself, or changes faster than it can be read")

    def error(self, how: str) -> UnavailableError:
        """Return the error of a reading that is given up."""
        requests = self._requests()
        return UnavailableError(
            f"{self._title} {how}: {requests} pages were asked for; run again later",
            status=200,
            endpoint=self._endpoint,
            attempts=requests,
        )
