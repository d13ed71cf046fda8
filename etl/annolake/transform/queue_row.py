"""A queue's own record, decoded into a row of the table `queues`. What becomes of its rubric is `rubric`'s."""

from annolake import contract
from annolake.transform.decode import PageDecoder, with_more
from annolake.transform.guard import Guard
from annolake.transform.row_batch import DecodedRow
from annolake.transform.row_types import Rows, hash_seed, row_hash
from annolake.transform.rubric import RUBRIC, read_rubric

_queue_fields = {column.queue: column for column in contract.QUEUES.column if column.queue}
_queue_record = PageDecoder(Rows(contract.QUEUES, _queue_fields, name="QueueRecord", unread=RUBRIC))


def decode_queue(body: bytes, *, guard: Guard | None = None) -> DecodedRow:
    """Decode a queue's own record, as a row of the table `queues`, from which the guard takes what is not to be kept.

    Raises MisfitError, a ValueError, where the body is no such record.
    """
    row, unmapped = _queue_record.decode_row(body)
    if more := read_rubric(row):
        unmapped = with_more(unmapped, more)
    if guard:
        guard.row(row)
        unmapped = None
    return DecodedRow(b"", row, row_hash(row, hash_seed(unmapped or b"")), unmapped, archived=False)
