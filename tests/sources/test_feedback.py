"""What was said on runs is read whole from a server that cuts, refuses or changes, or it is told as unread."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from annolake.clock import Clock
from annolake.errors import NotFoundError, RefusedError, ServiceError, UnavailableError
from annolake.keys import key_of
from annolake.sandbox import Changes, FeedbackRules, Population, Rules, Sandbox
from annolake.sandbox.answers import Refusal
from annolake.sources.feedback import FeedbackSource, FeedbackTerms, Said
from annolake.sources.new_feedback import IgnoredError, TooMuchError
from annolake.sources.refusals import MOST_REFUSED
from feedback_refusals import refusing
from sources.reading import access_to

ROWS = 120
POPULATION = Population(rows=ROWS, feedback=4.0, threads=4)


@contextmanager
def sources(
    rules: FeedbackRules | None = None, *, changes: Changes | None = None, population: Population = POPULATION
) -> Iterator[tuple[Sandbox, FeedbackSource]]:
    """Start a sandbox, and open its feedback as an export does."""
    with (
        Sandbox(population, rules=Rules(feedback=rules or FeedbackRules()), changes=changes) as sandbox,
        access_to(sandbox) as access,
    ):
        yield sandbox, FeedbackSource(access, FeedbackTerms())


def runs_of(sandbox: Sandbox) -> list[str]:
    """Return the runs of the sandbox's queue."""
    rows = [row for section in ("active", "archived") for row in sandbox.queue().rows(section)]
    return [row.run_id for row in rows if row.run_id]


def ids(said: Said) -> list[str]:
    """Return the ids of what was read, in order."""
    return sorted(row.row.id for row in said.rows)


def held(sandbox: Sandbox, runs: list[str]) -> list[str]:
    """Return the ids of what there is on runs, in order."""
    return sorted(one.id for run in runs for one in sandbox.feedback.of(run))


def asked(sandbox: Sandbox) -> int:
    """Return how many requests for feedback there were."""
    return sum(record.endpoint == "feedback" for record in sandbox.requests)


@pytest.mark.parametrize(
    "rules",
    [
        FeedbackRules(),
        FeedbackRules(page_cap=37),
        FeedbackRules(bytes_cap=9_000),
        FeedbackRules(most_url=700),
        FeedbackRules(most_runs=20),
        FeedbackRules(most_runs=3, most_runs_status=400),
    ],
)
def test_every_server_is_read_whole(rules: FeedbackRules) -> None:
    """All of what was said on each run is there, with the run of more feedback than a page."""
    with sources(rules) as (sandbox, source):
        runs = runs_of(sandbox)
        said = source.on_runs(dict.fromkeys(runs))
        assert sorted(said.whole) == sorted(runs)
        assert ids(said) == held(sandbox, runs)


@pytest.mark.parametrize("rules", [FeedbackRules(page_cap=5), FeedbackRules(page_cap=1), FeedbackRules(bytes_cap=10)])
def test_a_server_of_tiny_answers_is_read_whole(rules: FeedbackRules) -> None:
    """Answers of one row alone join no other: such lists are read twice."""
    with sources(rules, population=Population(rows=12, feedback=2.0, crowd=9)) as (sandbox, source):
        runs = runs_of(sandbox)
        said = source.on_runs(dict.fromkeys(runs))
        assert sorted(said.whole) == sorted(runs)
        assert ids(said) == held(sandbox, runs)


def test_groups_are_as_large_as_the_server_takes_them() -> None:
    """What a refusal taught holds for the groups that follow."""
    with sources(FeedbackRules(most_runs=20)) as (sandbox, source):
        runs = runs_of(sandbox)
        source.on_runs(dict.fromkeys(runs[:40]))
        before = asked(sandbox)
        source.on_runs(dict.fromkeys(runs[40:80]))
        assert asked(sandbox) - before <= 4


def test_a_group_of_fifty_runs_costs_few_requests() -> None:
    """Two or three answers for 200 feedbacks, once it is known how long an answer can be."""
    with sources(population=Population(rows=ROWS, feedback=4.0, crowd=0)) as (sandbox, source):
        runs = runs_of(sandbox)[:50]
        session = next(one.session_id for run in runs for one in sandbox.feedback.of(run))
        source.measure(session)
        assert ids(source.on_runs(dict.fromkeys(runs))) == held(sandbox, runs)
        assert asked(sandbox) <= 1 + 1 + len(held(sandbox, runs)) // 97 + 1


@pytest.mark.parametrize(
    ("rules", "crowd", "cuts"), [({}, 0, False), ({}, 250, False), ({"bytes_cap": 9_000}, 0, True)]
)
def test_a_project_tells_whether_answers_are_cut(rules: dict[str, Any], crowd: int, cuts: bool) -> None:
    """In two requests at most where they are not; then nothing is whole by its size."""
    population = Population(rows=60, feedback=2.0, crowd=crowd)
    with sources(FeedbackRules(**rules), population=population) as (sandbox, source):
        runs = runs_of(sandbox)
        projects = Counter(one.session_id for run in runs for one in sandbox.feedback.of(run))
        source.measure(projects.most_common(1)[0][0])
        assert cuts or asked(sandbox) <= 2
        sparse = next([run] for run in runs if len(sandbox.feedback.of(run)) == 1)
        said = source.on_runs(dict.fromkeys(sparse))
        assert (ids(said), said.whole) == (held(sandbox, sparse), sparse)
        assert said.by_size == (set() if cuts else set(sparse))


def test_a_server_that_ignores_the_runs_is_found_out() -> None:
    """Rows of another run show it: nothing is known to be whole then."""
    with sources(FeedbackRules(ignores=("run",))) as (sandbox, source), pytest.raises(IgnoredError, match="^run$"):
        source.on_runs(dict.fromkeys(runs_of(sandbox)[:50]))


@pytest.mark.parametrize(("status", "requests"), [(401, 3), (403, 3), (404, 3), (405, 1), (410, 1), (501, 1)])
def test_a_refusal_of_all_is_final(status: int, requests: int) -> None:
    """It costs a look at two single runs at most, and does not make groups smaller."""
    with sources(FeedbackRules(status=status)) as (sandbox, source):
        runs = runs_of(sandbox)
        for _ in range(2):
            with pytest.raises(ServiceError) as told:
                source.on_runs(dict.fromkeys(runs[:50]))
            assert told.value.status == status
        assert asked(sandbox) == requests + 1
        assert not source.has_answered


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500, 503])
@pytest.mark.parametrize("place", [0, 7, 49, 77])
def test_one_run_that_is_refused_costs_its_own_feedback_alone(
    monkeypatch: pytest.MonkeyPatch, status: int, place: int
) -> None:
    """Groups with it are halved until it stands alone; it is told with the status."""
    with sources() as (sandbox, source):
        runs = runs_of(sandbox)
        refusing(monkeypatch, status, lambda some: runs[place] in some)
        said = source.on_runs(dict.fromkeys(runs))
        assert (said.refused, said.unread, said.error) == ({runs[place]: status}, [], None)
        assert sorted(said.whole) == sorted({*runs} - {runs[place]})
        assert ids(said) == held(sandbox, said.whole)
        before = asked(sandbox)
        source.on_runs(dict.fromkeys(runs[:50] if place >= 50 else runs[50:100]))
        assert asked(sandbox) - before <= 6  # groups did not become smaller for it


@pytest.mark.parametrize("status", [400, 422, 500])
def test_groups_that_are_too_large_without_a_number_are_halved(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """A single run shows that the service answers, and later groups are small from the start."""
    with sources() as (sandbox, source):
        runs = runs_of(sandbox)
        refusing(monkeypatch, status, lambda some: len(some) > 7)
        said = source.on_runs(dict.fromkeys(runs[:30]))
        assert (sorted(said.whole), ids(said)) == (sorted(runs[:30]), held(sandbox, runs[:30]))
        before = len(sandbox.requests)
        source.on_runs(dict.fromkeys(runs[30:42]))
        assert all(record.status == 200 for record in sandbox.requests[before:])


def test_what_was_answered_before_a_refusal_of_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key was revoked meanwhile."""
    with sources() as (sandbox, source):
        runs, groups = runs_of(sandbox), [0]

        def second(some: Sequence[str]) -> bool:
            groups[0] += len(some) > 1 and runs[0] not in some
            return groups[0] > 0

        refusing(monkeypatch, 403, second)
        said = source.on_runs(dict.fromkeys(runs))
        assert isinstance(said.error, RefusedError)
        assert (sorted(said.whole), ids(said)) == (sorted(runs[:50]), held(sandbox, runs[:50]))
        assert source.has_answered


def test_refusals_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that has almost no run is not asked for each of them."""
    with sources() as (sandbox, source):
        runs = runs_of(sandbox)
        refusing(monkeypatch, 404, lambda some: set(some) != {runs[0]})
        said = source.on_runs(dict.fromkeys(runs))
        assert (said.whole, type(said.error)) == ([runs[0]], NotFoundError)
        assert asked(sandbox) <= 2 * MOST_REFUSED + 10


def test_a_server_that_fails_is_asked_as_often_as_any() -> None:
    """A 500 is repeated, then told."""
    with sources(FeedbackRules(status=500)) as (sandbox, source), pytest.raises(UnavailableError):
        source.on_runs(dict.fromkeys(runs_of(sandbox)[:1]))


def test_feedback_that_comes_and_goes_meanwhile_costs_nothing_that_stays() -> None:
    """Every feedback that is there throughout is read, of each run that is told as whole."""
    with sources(FeedbackRules(page_cap=37), changes=Changes(feedback_rate=3.0)) as (sandbox, source):
        runs = runs_of(sandbox)
        before = set(held(sandbox, runs))
        said = source.on_runs(dict.fromkeys(runs))
        stayers = before - {event.id for event in sandbox.feedback.history if event.kind == "delete"}
        of_whole = set(held(sandbox, said.whole))
        assert len(said.whole) > ROWS - 10
        assert stayers & of_whole <= set(ids(said))


def test_names_are_done_without_where_they_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that knows no include_user_names still tells the rest."""
    admit = FeedbackRules.admit

    def stricter(self: FeedbackRules, url: str, query: Any) -> Any:
        if "include_user_names" in query:
            raise Refusal(422, "extra fields not permitted")
        return admit(self, url, query)

    monkeypatch.setattr(FeedbackRules, "admit", stricter)
    with sources() as (sandbox, source):
        runs = runs_of(sandbox)[:50]
        assert ids(source.on_runs(dict.fromkeys(runs))) == held(sandbox, runs)
        first = asked(sandbox)
        source.on_runs(dict.fromkeys(runs[:1]))
        assert asked(sandbox) - first <= 2


def threads_of(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the THREAD items of the sandbox's queue."""
    rows = [row for section in ("active", "archived") for row in sandbox.queue().threads(section)]
    return [json.loads(row.text) for row in rows]


def test_what_was_said_on_a_thread_is_read_by_the_thread() -> None:
    """Whatever characters its id has."""
    with sources(population=Population(rows=5, threads=8, odd=True)) as (sandbox, source):
        for thread in threads_of(sandbox):
            said = source.on_thread(thread["thread_id"], thread["session_id"], {})
            assert ids(said) == held(sandbox, [thread["thread_id"]])
            assert said.whole == [thread["thread_id"]]


def test_a_server_that_knows_no_threads_is_found_out() -> None:
    """It answers with feedback of other threads, or of runs."""
    with (
        sources(FeedbackRules(ignores=("feedback_thread_id",))) as (sandbox, source),
        pytest.raises(IgnoredError, match="^feedback_thread_id$"),
    ):
        source.on_thread(threads_of(sandbox)[0]["thread_id"], None, {})


@pytest.mark.parametrize(("rules", "knows"), [({}, True), ({"ignores": ("feedback_thread_id",)}, False)])
def test_a_thread_that_does_not_exist_shows_whether_a_server_knows_threads(rules: dict[str, Any], knows: bool) -> None:
    """Nothing is said on it, unless all that was said in its project comes."""
    with sources(FeedbackRules(**rules)) as (sandbox, source):
        assert source.knows_threads(threads_of(sandbox)[0]["session_id"]) is knows


def test_new_feedback_tells_its_runs() -> None:
    """From a time on; runs that are in no queue are among them."""
    with sources(FeedbackRules(page_cap=37)) as (sandbox, source):
        runs, since = runs_of(sandbox), Clock().now() - timedelta(days=400)
        sessions = sorted({one.session_id for run in runs for one in sandbox.feedback.of(run)})
        found = source.new_since(sessions, since, enough=99)
        assert {key_of(run) for run in runs if sandbox.feedback.of(run)} <= {each.owner for each in found.values()}
        assert not source.new_since(sessions, Clock().now() + timedelta(days=1), enough=1)


def test_looking_for_new_feedback_is_given_up_where_there_is_too_much() -> None:
    """Projects can hold far more than what concerns the queue."""
    with sources(FeedbackRules(page_cap=37)) as (sandbox, source):
        session = sandbox.feedback.of(runs_of(sandbox)[3])[0].session_id
        with pytest.raises(TooMuchError):
            source.new_since([session], Clock().now() - timedelta(days=400), enough=3)
        assert asked(sandbox) == 4


def test_a_server_that_ignores_the_time_is_found_out() -> None:
    """It shows feedback that is older than what was asked for."""
    with sources(FeedbackRules(ignores=("min_created_at",))) as (sandbox, source):
        session = sandbox.feedback.of(runs_of(sandbox)[3])[0].session_id
        with pytest.raises(IgnoredError, match="^min_created_at$"):
            source.new_since([session], Clock().now(), enough=99)
