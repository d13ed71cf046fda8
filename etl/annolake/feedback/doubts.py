"""Queues whose feedback was told complete before another queue showed that the service cuts answers short.

Owns what becomes of them: the report says partial, and the next export of them reads all feedback, with that in mind.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from annolake.errors import LakeError, LockedError
from annolake.export_context import ExportContext
from annolake.feedback.reader import IN_DOUBT
from annolake.load.proofs import Proofs
from annolake.report import QueueReport


def tell_doubts(context: ExportContext, queues: Iterable[QueueReport]) -> None:
    """Take back what was concluded from answers that may have been cut, once all queues have ended."""
    terms = context.feedback_terms
    doubted = [queue for queue in queues if queue.queue_id in terms.relying and queue.feedback.complete]
    for queue in doubted if terms.longest.cuts else []:
        told = queue.feedback
        told.status, told.complete = "partial", False
        told.because.append(IN_DOUBT)
        if queue.status in {"ok", "partial"}:
            queue.conclude()
        context.log.warning("feedback_partial", queue_id=queue.queue_id, why=IN_DOUBT)
        try:
            _forget(context, queue.queue_id)
        except (LakeError, LockedError) as error:
            told.because.append(f"{error}; read all feedback with `annolake run --refresh`")


def _forget(context: ExportContext, queue_id: str) -> None:
    """Have the next export of a queue read all its feedback."""
    lake = context.lake
    with lake.lock(queue_id, since=context.clock.now()):
        proofs = lake.proofs(queue_id) or Proofs()
        doubted = replace(proofs.without_feedback(), feedback_cut=True)
        lake.write_proofs(queue_id, doubted, context.workspace)
