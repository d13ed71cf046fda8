"""A queue's own record: its name for the report, and its row of the table `queues`."""

from datetime import datetime
from functools import cached_property, partial

import pyarrow as pa

from annolake import contract
from annolake.errors import ServiceError, UnavailableError
from annolake.extract.endpoints.queues import read_queue
from annolake.observers.protocols import Log
from annolake.sources.source import Access
from annolake.transform.flatten import flatten
from annolake.transform.guard import nulls_of
from annolake.transform.queue_row import decode_queue
from annolake.transform.row_batch import DecodedRow


class QueueRecord:
    """A queue's own record, asked for in a lane beside the first rows."""

    def __init__(self, access: Access, log: Log) -> None:
        self._queue_id, self._log = access.queue_id, log
        self._guard = access.guards.queues
        decode = partial(decode_queue, guard=self._guard)
        self._answer = access.lanes.submit(read_queue, access.client, access.queue_id, decode, access.caller)

    @cached_property
    def row(self) -> DecodedRow | None:
        """The record; None where the key may not read it. Raises UnavailableError."""
        try:
            return self._answer.result()
        except UnavailableError:
            raise
        except ServiceError as error:
            self._log.warning("queue_record_refused", queue_id=self._queue_id, status=error.status)
            return None

    @property
    def name_if_known(self) -> str | None:
        """The queue's name, where the record is answered by now."""
        answered = self._answer.done() and not self._answer.cancelled() and not self._answer.exception()
        name: str | None = self._answer.result().row.name if answered else None
        return name

    @property
    def rubric_keys(self) -> frozenset[str] | None:
        """The feedback keys that the queue asks for; None where its record or its rubric is not known."""
        items = self.row.row.rubric_items if self.row else None
        return None if items is None else frozenset(item.feedback_key for item in items if item.feedback_key)

    def table(self, now: datetime) -> pa.Table | None:
        """Return the record as the queue's row of the table `queues`."""
        if self.row is None:
            return None
        return pa.Table.from_batches(
            [flatten(contract.QUEUES, [self.row], exported_at=now, nulls=nulls_of(self._guard))]
        )
