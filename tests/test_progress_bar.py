"""The progress bar of the command."""

import io

from annolake.progress_bar import ProgressBar


def test_a_queue_that_begins_again_keeps_its_line() -> None:
    """A worker was replaced, or an endpoint retired: the bar starts anew where it was."""
    with ProgressBar(io.StringIO()) as bar:
        bar.started("queue", "mine", 100)
        bar.read("queue", 40)
        bar.started("queue", "mine", 50)
        bar.read("queue", 10)
        (line,) = bar._progress.tasks

    assert (line.description, line.completed, line.total) == ("mine", 10, 50)
