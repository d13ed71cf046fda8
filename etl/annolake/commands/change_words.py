"""What `annolake rewrite` and `annolake erase` say of a queue."""

from annolake.printable import counted
from annolake.revising.changes import QueueChanges

OLD_VERSIONS = "readers of older versions of its Delta tables fail from now on"


def in_words(queue: QueueChanges) -> str:
    """Return what was done to a queue in a line."""
    title = f"{queue.name or 'queue'} ({queue.queue_id})"
    if queue.error:
        return f"{title}: {queue.error}"
    done = [
        f"{counted(number, thing)} {verb}"
        for number, thing, verb in (
            (queue.rows_changed, "row", "changed"),
            (queue.rows_gone, "row", "of all tables erased"),
            (queue.rejects, "reject", "erased" if queue.rows_gone else "changed"),
        )
        if number
    ]
    if not (done or queue.files or queue.old_files):
        return f"{title}: nothing to do"
    done.append(f"{counted(queue.files, 'file')} written anew")
    line = f"{title}: {', '.join(done)}"
    return f"{line}; {counted(queue.old_files, 'old file')} removed: {OLD_VERSIONS}" if queue.old_files else line
