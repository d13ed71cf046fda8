"""What was said lately, as the listing of projects tells it: which feedback, on what, and when it was edited.

Owns what shows that this cannot be told: that the service ignores a parameter, or that there is too much of it.
"""

from datetime import datetime
from typing import NamedTuple

import msgspec

from annolake.keys import key_of
from annolake.transform.feedback import decode_feedback, owner_of
from annolake.transform.row_batch import Page


class IgnoredError(Exception):
    """The service answers as if it had not seen a parameter: nothing that was asked with it is known to be whole."""

    def __init__(self, parameter: str) -> None:
        super().__init__(parameter)
        self.parameter = parameter


class TooMuchError(Exception):
    """More was said in the projects of a queue than is worth reading to learn what concerns the queue."""


class Mention(NamedTuple):
    """A feedback that was met: the key of the run or thread it is on, and when it was last edited."""

    owner: bytes
    modified_at: datetime | None


class NewPage(Page):
    """An answer of which only the mentions are wanted."""

    mentions: dict[bytes, Mention] = msgspec.field(default_factory=dict)


class NewFeedback:
    """Decodes answers about new feedback; raises IgnoredError for one with older, TooMuchError for one too many."""

    def __init__(self, since: datetime, enough: float) -> None:
        self._since, self._left = since, enough

    def __call__(self, body: bytes) -> NewPage:
        """Decode one answer."""
        self._left -= 1
        if self._left < 0:
            raise TooMuchError
        page = decode_feedback(body, reviewers={})
        if any(row.row.created_at and row.row.created_at < self._since for row in page.rows):
            raise IgnoredError("min_created_at")
        mentions = {
            each.key: Mention(key_of(owner), each.row.modified_at)
            for each in page.rows
            if (owner := owner_of(each.row))
        }
        return NewPage(page.size, [], page.rejects, keys=page.keys, mentions=mentions)
