"""What is asked for to learn what was said on a row that was rejected: its run, or its thread.

Owns where that stands in the text of a reject. The row is in no batch, and what it holds beside is not to be relied on.
"""

from collections.abc import Iterable, Iterator

from annolake.feedback.backlog import uuid_key
from annolake.feedback.news import RowFacts
from annolake.printable import counted
from annolake.report import TableReport
from annolake.transform.reject_value import OF_RUN, RejectedRow
from annolake.transform.row_batch import Reject

_NULL = "null"


class RejectedRows:
    """The rejects of rows that one export met."""

    def __init__(self, *, over_items: bool) -> None:
        self._over_items = over_items
        self._readable: dict[bytes, bool] = {}

    def met(self, rejects: Iterable[Reject]) -> Iterator[RowFacts]:
        """Yield what is to be known of each that was not met before, where that is readable."""
        for reject in rejects:
            if reject.key not in self._readable:
                facts = facts_of(reject, over_items=self._over_items)
                self._readable[reject.key] = facts is not None
                if facts:
                    yield facts

    def tell(self, report: TableReport) -> None:
        """Have the report say what no export can ask for. It changes no exit code: that is for new rejects."""
        if unknown := list(self._readable.values()).count(False):
            rows = counted(unknown, "rejected row")
            report.complete = False
            report.because.append(f"what was said on {rows} is not known: the id of the run cannot be read")


def facts_of(reject: Reject, *, over_items: bool) -> RowFacts | None:
    """Return what is to be known of a rejected row to read its feedback; None where its run or thread is not readable.

    An item can have none: then there is nothing to ask for. Who has completed the row is not told.
    """
    row = RejectedRow(reject.text)
    is_item = over_items and not OF_RUN.match(reject.path)
    is_thread = is_item and row.text_of("item_type") == "THREAD"
    name = "thread_id" if is_thread else "run_id" if is_item else "id"
    subject = row.text_of(name)
    if not (subject and (is_thread or uuid_key(subject))) and (not is_item or row.shown(f"$.{name}") != _NULL):
        return None
    return RowFacts(
        queue_run_id=reject.queue_run_id or "",
        item_type="THREAD" if is_thread else "RUN",
        id=None if is_thread else subject,
        thread_id=subject if is_thread else None,
        session_id=row.text_of("project_id") or row.text_of("session_id"),
        completed_by=None,
    )
