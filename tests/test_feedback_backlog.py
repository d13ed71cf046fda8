"""Runs wait in few bytes, and come out as they went in."""

from uuid import UUID

import pytest

from annolake.feedback.backlog import Backlog

RUNS = [str(UUID(int=number << 64 | number)) for number in range(200)]


def test_groups_come_in_order_with_all_that_is_known() -> None:
    """Who has completed the row, and whether the run was found."""
    backlog = Backlog()
    for place, run_id in enumerate(RUNS):
        assert backlog.add(run_id, [None, [], ["a"], ["a", "b"]][place % 4], found=place % 3 == 0)

    groups = [backlog.take(60) for _ in range(4)]

    assert len(backlog) == 0
    assert [list(group.reviewers) for group in groups] == [RUNS[at : at + 60] for at in range(0, 200, 60)]
    assert list(groups[0].reviewers.values())[:4] == [None, frozenset(), {"a"}, {"a", "b"}]
    assert set().union(*(group.found for group in groups)) == set(RUNS[::3])


def test_of_a_run_that_came_twice_the_last_one_counts() -> None:
    """The row was read again meanwhile."""
    backlog = Backlog()
    backlog.add(RUNS[1], ["a"], found=True)
    backlog.add(RUNS[1], ["b"], found=False)

    group = backlog.take(5)

    assert group.reviewers == {RUNS[1]: frozenset("b")}
    assert not group.found


@pytest.mark.parametrize("run_id", ["", "run-1", RUNS[0][:-1], "{" + RUNS[0][:-2] + "}", RUNS[0].replace("-", "")])
def test_what_is_no_uuid_cannot_wait(run_id: str) -> None:
    """The service would refuse the whole group for it."""
    backlog = Backlog()

    assert not backlog.add(run_id, None, found=True)
    assert len(backlog) == 0


def test_ids_are_asked_for_in_lower_case() -> None:
    """One spelling for one run."""
    backlog = Backlog()
    backlog.add("ABCDEF00-0000-4000-8000-00000000000A", None, found=True)

    assert list(backlog.take(1).reviewers) == ["abcdef00-0000-4000-8000-00000000000a"]


def test_a_hundred_thousand_runs_take_little_room() -> None:
    """21 bytes each, however many different reviewers there are of few."""
    backlog = Backlog()
    for number in range(100_000):
        backlog.add(str(UUID(int=number)), ["a", str(number % 7)], found=True)

    assert len(backlog._records) == 2_100_000
    assert len(backlog._reviewing) == 7
