"""A queue's state: its two lists, every change that can happen to them, and the memory of what happened.

Owns order and membership, under one lock for all queues of a sandbox, so that a page is a contiguous slice of
one moment. It never decides when a change happens (changes.py) and never speaks HTTP.
"""

import hashlib
import random
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, Literal

from annolake.sandbox.cast import Cast, Stage
from annolake.sandbox.rows import ItemType, Row, instant, microseconds, rfc3339
from annolake.sandbox.timeline import Event, Happening, Timeline

Section = Literal["active", "archived"]
Order = Literal["oldest_first", "newest_first", "unsorted"]
ArchivedBy = Literal["added_at", "last_reviewed_time"]

REVIEW_STATES = ("needs_my_review", "needs_others_review", "completed")
_MOVES = frozenset({"requeue", "unarchive", "move"})


class Queue:
    """One annotation queue. Every method may be called from any thread, at any time.

    `make(index, added, stage)` writes the row that joins as the index-th of all.
    """

    def __init__(
        self,
        cast: Cast,
        *,
        make: Callable[[int, int, Stage], Row],
        timeline: Timeline,
        order: Order = "oldest_first",
        archived_by: ArchivedBy = "added_at",
    ) -> None:
        self.cast = cast
        self.id = cast.queue_id
        self.name = cast.name
        self.history: list[Event] = []
        self._make = make
        self._made = 0
        self._timeline = timeline
        self._order = order
        self._archived_by = archived_by
        self._lists: dict[Section, list[Row]] = {"active": [], "archived": []}
        self._where: dict[str, tuple[Section, Row]] = {}
        self._runs: dict[str, Row] = {}
        self._born: dict[str, Row] = {}
        self._thread_ids: set[str] = set()

    # What is there

    def rows(self, section: Section) -> list[Row]:
        """Return the RUN rows of a list, in its order, as they are now."""
        with self._timeline.lock:
            return [row for row in self._lists[section] if row.item_type == "RUN"]

    def threads(self, section: Section) -> list[Row]:
        """Return the THREAD items of a list, in its order, as they are now."""
        with self._timeline.lock:
            return [row for row in self._lists[section] if row.item_type == "THREAD"]

    def row(self, row_id: str) -> Row:
        """Return one row as it is now; KeyError when it is not in the queue."""
        with self._timeline.lock:
            return self._where[row_id][1]

    def run(self, run_id: str) -> Row | None:
        """Return the row of a run; a run outlives its place in the queue."""
        return self._runs.get(run_id)

    def born(self, run_id: str) -> Row | None:
        """Return the row of a run as it was when it came."""
        return self._born.get(run_id) or self._runs.get(run_id)

    def run_ids(self) -> list[str]:
        """Return the ids of every run that ever was in the queue."""
        return list(self._runs)

    def listing(self, section: Section, *, state: str | None = None, item_type: ItemType | None = None) -> list[Row]:
        """Return the rows of a list in order, filtered; under the lock, and not to be changed."""
        rows = self._lists[section]
        if item_type == "RUN" and not self._thread_ids:
            item_type = None
        if item_type is None and state is None:
            return rows
        return [
            row for row in rows if item_type in (None, row.item_type) and state in (None, review_state(section, row))
        ]

    def shuffled_ties(self, section: Section, rows: list[Row], rng: random.Random) -> list[Row]:
        """Return `rows` with those of equal sort keys in another order among each other."""
        result: list[Row] = []
        for _, group in groupby(rows, key=lambda row: self.sort_key(section, row)[0]):
            tied = list(group)
            rng.shuffle(tied)
            result += tied
        return result

    def throughout(self, first: int, last: int) -> set[str]:
        """Return the ids that were in the queue, in either list, from request `first` to request `last`."""
        with self._timeline.lock:
            ids = set(self._where)
            for event in reversed(self.history):
                if event.request > last:
                    (ids.discard if event.kind == "add" else ids.add)(event.id)
                elif event.request > first and event.kind in ("add", "delete"):
                    ids.discard(event.id)
            return ids - self._thread_ids

    def moved(self, first: int, last: int) -> set[str]:
        """Return the ids that moved within a list or came back to one after `first`, up to `last`."""
        with self._timeline.lock:
            return {e.id for e in self.history if first < e.request <= last and e.kind in _MOVES}

    def sort_key(self, section: Section, row: Row) -> tuple[int | str, str]:
        """Return what the row is sorted by in that list: total and repeatable."""
        if self._order == "unsorted":
            return hashlib.blake2b(row.id.encode(), digest_size=8).hexdigest(), row.id
        at = row.done if section == "archived" and self._archived_by == "last_reviewed_time" else row.key
        return (at if self._order == "oldest_first" else -at), row.id

    def assigned_to(self, row_id: str) -> list[str]:
        """Return the reviewers a row is assigned to; only the platform's items tell them."""
        number = zlib.crc32(row_id.encode())
        return [] if number % 8 else [self.cast.reviewers[number % len(self.cast.reviewers)].id]

    # What happens to it

    def load(self, rows: Iterable[tuple[Section, Row]]) -> None:
        """Fill the queue before anybody asks; no event is remembered."""
        with self._timeline.lock:
            for section, row in rows:
                self._lists[section].append(row)
                self._keep(section, row)
                self._made += 1
            for section, there in self._lists.items():
                there.sort(key=partial(self.sort_key, section))

    def add(
        self, count: int = 1, *, at: int | None = None, text: bytes | None = None, section: Section = "active"
    ) -> list[Row]:
        """Add new rows where new ones come, or before index `at`; `text` plants their JSON as it is."""
        with self._timeline.lock:
            return [self._add(section, None if at is None else at + i, text) for i in range(count)]

    def review(self, row_id: str, reviewer: int = 0) -> None:
        """Let one reviewer complete a row that stays active."""
        with self._timeline.lock:
            self._replace(row_id, self._reviewed(self.row(row_id), reviewer))
            self._remember(row_id, "review")

    def finish(self, row_id: str, reviewer: int = 1) -> None:
        """Let the last reviewer complete an active row: it passes to the archived list."""
        with self._timeline.lock:
            row = self._reviewed(self._take(row_id), reviewer)
            self._put("archived", row)
            self._remember(row_id, "finish")

    def delete(self, row_id: str) -> None:
        """Remove a row from whichever list it is in."""
        with self._timeline.lock:
            self._take(row_id)
            del self._where[row_id]
            self._remember(row_id, "delete")

    def requeue(self, row_id: str) -> None:
        """Send a row, active or archived, to where new rows come; its effective time is now."""
        with self._timeline.lock:
            row = self._take(row_id)
            at = self._timeline.tick()
            self._put("active", replace(row.with_fields({"effective_added_at": rfc3339(at)}), key=at))
            self._remember(row_id, "requeue")

    def unarchive(self, row_id: str) -> None:
        """Put an archived row back to its old place in the active list."""
        with self._timeline.lock:
            self._put("active", self._take(row_id))
            self._remember(row_id, "unarchive")

    def move(self, row_id: str, to: int) -> None:
        """Move a row to index `to` of its list."""
        with self._timeline.lock:
            section, index, row = self._find(row_id)
            del self._lists[section][index]
            self._lists[section].insert(to, row)
            self._remember(row_id, "move")

    def edit(self, row_id: str, **fields: Any) -> None:
        """Set fields of a row; one whose time of adding changes goes to its new place."""
        with self._timeline.lock:
            section, _, old = self._find(row_id)
            new = self._refreshed(old.with_fields(fields))
            self._replace(row_id, new)
            if new.key != old.key:
                self._put(section, self._take(row_id))
                self._remember(row_id, "move")
            self._remember(row_id, "edit")

    def edit_run(self, run_id: str, **fields: Any) -> None:
        """Set fields of a run whose row is in the queue; a planted text that is no object stays as it is."""
        with self._timeline.lock:
            row = self._runs.get(run_id)
            if row is not None and row.id in self._where and row.members():
                self.edit(row.id, **fields)

    def set_text(self, row_id: str, text: bytes) -> None:
        """Plant any bytes as a row's text, broken ones included; the row keeps its handle and its place."""
        with self._timeline.lock:
            self._replace(row_id, self.row(row_id).with_text(text))
            self._remember(row_id, "edit")

    # The steps of it

    def _find(self, row_id: str) -> tuple[Section, int, Row]:
        section, row = self._where[row_id]
        return section, self._lists[section].index(row), row

    def _replace(self, row_id: str, row: Row) -> None:
        section, index, _ = self._find(row_id)
        self._lists[section][index] = row
        self._keep(section, row)

    def _keep(self, section: Section, row: Row) -> None:
        self._where[row.id] = (section, row)
        if row.run_id is not None:
            if row.run_id in self._runs:
                self._born.setdefault(row.run_id, self._runs[row.run_id])
            self._runs[row.run_id] = row
        if row.item_type == "THREAD":
            self._thread_ids.add(row.id)

    def _take(self, row_id: str) -> Row:
        section, index, _ = self._find(row_id)
        return self._lists[section].pop(index)

    def _put(self, section: Section, row: Row) -> None:
        there = self._lists[section]
        index = bisect_left(there, self.sort_key(section, row), key=partial(self.sort_key, section))
        there.insert(index, row)
        self._keep(section, row)

    def _add(self, section: Section, at: int | None, text: bytes | None) -> Row:
        there = self._lists[section]
        added = self._timeline.tick()
        if at is not None and there:
            # A row that joins in the middle has a time that keeps the list in its order.
            added = there[min(at, len(there) - 1)].key
        row = self._make(self._made, added, "waiting" if section == "active" else "archived")
        self._made += 1
        if text is not None:
            row = self._refreshed(row.with_text(text))
        if at is None:
            self._put(section, row)
        else:
            there.insert(at, row)
            self._keep(section, row)
        self._remember(row.id, "add")
        return row

    def _reviewed(self, row: Row, reviewer: int) -> Row:
        at = self._timeline.tick()
        if not row.members():
            return row
        there = row.value().get("completed_by")
        people = [*(there if isinstance(there, list) else []), self.cast.reviewers[reviewer].id]
        return self._refreshed(row.with_fields({"last_reviewed_time": rfc3339(at), "completed_by": people}))

    def _refreshed(self, row: Row) -> Row:
        """Return the row with its place and reviewers as its text now tells them."""
        there = row.value() if row.members() else {}
        added = _place(there.get("effective_added_at")) or _place(there.get("added_at"))
        done = _place(there.get("last_reviewed_time"))
        mine = self.cast.caller.id in (there.get("completed_by") or ())
        return replace(row, key=added or row.key, done=done or row.done, mine=mine)

    def _remember(self, row_id: str, kind: Happening) -> None:
        self.history.append(Event(self._timeline.requests + 1, row_id, kind))


def review_state(section: Section, row: Row) -> str:
    """Return where a row's review stands from the point of view of the key's owner."""
    if section == "archived":
        return "completed"
    return "needs_others_review" if row.mine else "needs_my_review"


def _place(value: object) -> int | None:
    at = instant(value)
    return None if at is None else microseconds(at)
