"""Of runs that several rows show, the reviewers of all of them count, whatever the order."""

from itertools import permutations

from annolake.feedback.news import RowFacts
from annolake.feedback.sharing import Sharing

RUN, OTHER = "00000000-0000-4000-8000-00000000ab00", "00000000-0000-4000-8000-000000000001"


def row(row_id: str, run_id: str | None, completed_by: list[str] | None) -> RowFacts:
    """Return a row that shows a run."""
    return RowFacts(row_id, "RUN", run_id, None, None, completed_by)


def test_a_run_in_several_rows_has_the_reviewers_of_all() -> None:
    """In whatever order they came; those of a row that is not known add nothing."""
    rows = [row("1", RUN, ["a"]), row("2", RUN.upper(), ["b"]), row("3", RUN, None)]
    for order in permutations(rows):
        sharing = Sharing()
        for each in [row("9", OTHER, []), *order, row("8", None, ["x"]), row("7", "no uuid", ["x"])]:
            sharing.note(each, found=each.queue_run_id == "1")
        assert sharing.to_ask_again(None) == [(RUN, frozenset("ab"), True)]


def test_a_run_whose_last_row_has_all_reviewers_is_not_asked_for_again() -> None:
    """What is read last counts."""
    sharing = Sharing()
    for completed_by in (["a"], ["a", "b"]):
        sharing.note(row(str(completed_by), RUN, completed_by), found=True)
    assert sharing.to_ask_again(None) == []
    assert Sharing().to_ask_again(None) == []


def test_a_row_that_leaves_takes_its_reviewers_along() -> None:
    """Where others show its run, and whether or not it was asked for itself."""
    for asked in (True, False):
        sharing, stays, left = Sharing(), row("1", RUN, ["a"]), row("2", RUN, ["b"])
        for each in (stays, left) if asked else (stays,):
            sharing.note(each, found=True)
        sharing.note_left(left)
        sharing.note_left(row("3", OTHER, ["c"]))
        assert sharing.to_ask_again(None) == [(RUN, frozenset("a"), True)]


def test_a_row_that_is_read_again_has_its_last_reviewers() -> None:
    """It changed while the queue was read."""
    sharing = Sharing()
    for completed_by in (["a"], ["b"]):
        sharing.note(row("1", RUN, completed_by), found=True)
    assert sharing.to_ask_again(None) == []
