"""The publishing of one table of a queue: the same for its rows and for what is beside them."""

from collections.abc import Callable
from contextlib import closing
from threading import Event

from annolake.extract.http.client import Cancelled
from annolake.load.merge.upsert import Upsert
from annolake.report import QueueReport, TableReport


def publish(
    upsert: Upsert,
    report: QueueReport | TableReport,
    stop: Event,
    *,
    remove_gone: bool,
    at_once: int,
    merged: Callable[[], None] = lambda: None,
) -> None:
    """Merge and publish each partition concerned, and count in the report; once `stop` is set, raise Cancelled.

    `merged` is called when only the last step is left, which in a Delta lake publishes all of them.
    """
    try:
        with closing(upsert.publish(remove_gone=remove_gone, at_once=at_once)) as outcomes:
            for _ in outcomes:
                if stop.is_set():
                    raise Cancelled
                done, of = upsert.merges
                if done == of:
                    merged()
    finally:
        report.inserted, report.updated = upsert.counts.inserted, upsert.counts.updated
        report.removed = upsert.counts.removed
    report.unchanged = upsert.unchanged
