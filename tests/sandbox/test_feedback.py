"""Feedback as the sandbox serves it: by every parameter, in pages, and as the runs' statistics have it."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from annolake.sandbox import Changes, Feedback, FeedbackRules, Population, Row, Rules, Sandbox

Connect = Callable[[Sandbox], httpx.Client]

PATH = "/api/v1/feedback"
UNTIL = datetime(2026, 11, 20, 18, tzinfo=UTC)


def read(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    """Return all feedback that is found, page after page until one is empty."""
    found: list[dict[str, Any]] = []
    while page := client.get(PATH, params={**params, "offset": len(found)}).raise_for_status().json():
        found += page
    return found


def ids_of(rows: list[dict[str, Any]]) -> list[str]:
    """Return the ids, each of them once."""
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids)
    return ids


def rows_of(sandbox: Sandbox) -> list[Row]:
    """Return all rows of the first queue."""
    return [*sandbox.queue().rows("active"), *sandbox.queue().rows("archived")]


def created(one: Feedback) -> datetime:
    """Return when a feedback was created, as it is sent."""
    at = datetime.fromisoformat(one.value()["created_at"])
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def ordinary() -> Sandbox:
    """Return ordinary rows and some threads."""
    return Sandbox(Population(rows=300, threads=6, odd=False))


def test_the_feedback_of_runs_comes_back_by_their_ids(connect: Connect, ordinary: Sandbox) -> None:
    """Asked for in groups, each run's feedback is there once, names told only when asked for."""
    with ordinary as sandbox:
        client = connect(sandbox)
        runs = [row.run_id for row in rows_of(sandbox)]
        found = [one for at in range(0, len(runs), 50) for one in read(client, run=runs[at : at + 50])]
        named = read(client, run=runs[:50], include_user_names=True)

    there = [one for run_id in runs for one in sandbox.feedback.of(str(run_id))]
    assert sorted(ids_of(found)) == sorted(one.id for one in there)
    assert all("user_name" not in one["feedback_source"] for one in found)
    assert {one["id"]: one for one in named} == {
        one.id: json.loads(one.text) for run_id in runs[:50] for one in sandbox.feedback.of(str(run_id))
    }


def test_the_order_says_nothing_and_stays(connect: Connect, ordinary: Sandbox) -> None:
    """Neither by time nor by id nor by run; the same at every request."""
    with ordinary as sandbox:
        runs = [row.run_id for row in rows_of(sandbox)[:50]]
        found, again = (read(connect(sandbox), run=runs, limit=limit) for limit in (100, 7))

    assert found == again
    for name in ("created_at", "id", "run_id"):
        values = [one[name] for one in found]
        assert values not in (sorted(values), sorted(values, reverse=True))


def test_statistics_of_ordinary_rows_are_those_of_their_feedback(ordinary: Sandbox) -> None:
    """Count, average, spread, values, sources of each key; the comments are a sample."""
    for row in rows_of(ordinary):
        by_key: dict[str, list[dict[str, Any]]] = {}
        for one in ordinary.feedback.of(str(row.run_id)):
            by_key.setdefault(one.value()["key"], []).append(one.value())
        stats = row.value()["feedback_stats"] or {}

        assert stats.keys() == by_key.keys()
        for key, there in by_key.items():
            scores = [float(one["score"]) for one in there if one["score"] is not None]
            comments = [one["comment"] for one in there if one["comment"]]
            average = None if stats[key]["avg"] is None else float(stats[key]["avg"])
            assert stats[key]["n"] == len(there)
            assert average == (pytest.approx(sum(scores) / len(scores)) if scores else None)
            assert stats[key]["sources"] == sorted({one["feedback_source"]["type"] for one in there})
            assert stats[key]["values"] == Counter(one["value"] for one in there if isinstance(one["value"], str))
            assert stats[key]["comments"] == comments[:1]


def test_feedback_comes_after_its_run_and_within_the_data(ordinary: Sandbox) -> None:
    """Created after `added_at` and before the data ends, modified then or later, few on the last day."""
    there = [one for row in rows_of(ordinary) for one in ordinary.feedback.of(str(row.run_id))]
    added = {row.run_id: datetime.fromisoformat(row.value()["added_at"]) for row in rows_of(ordinary)}

    assert all(added[one.run_id] < created(one) <= UNTIL for one in there)
    assert all(datetime.fromisoformat(one.value()["modified_at"]) >= created(one) for one in there)
    assert any(one.value()["modified_at"] > one.value()["created_at"] for one in there)
    young = sum(created(one) > UNTIL - timedelta(days=1) for one in there)
    assert 0 < young / len(there) < 0.2


def test_who_completed_a_row_answered_the_rubric_in_either_identity(ordinary: Sandbox) -> None:
    """Most rows' `completed_by` hold `user_id`, some `ls_user_id`; the two differ for everybody."""
    matched: Counter[str] = Counter()
    for row in rows_of(ordinary):
        people = [one.value() for one in ordinary.feedback.of(str(row.run_id)) if one.opinion().source == "app"]
        for person in row.value()["completed_by"]:
            names = {
                name
                for one in people
                for name in ("user_id", "ls_user_id")
                if one["feedback_source"][name] == person and one["key"] == "helpfulness"
            }
            assert len(names) == 1
            matched.update(names)
    keys = {item["feedback_key"] for item in ordinary.profile()["rubric_items"]}
    required = {item["feedback_key"] for item in ordinary.profile()["rubric_items"] if item.get("is_required")}

    assert matched["user_id"] > matched["ls_user_id"] > 5
    assert {"helpfulness", "correct", "tone"} <= keys
    assert {"helpfulness", "correct"} == required


def test_odd_feedback_is_odd(connect: Connect) -> None:
    """1,500 rows with four each: every type of score, value, correction; all sources; two reviewers on one key."""
    with Sandbox(Population(rows=1500, threads=5, feedback=4, crowd=730)) as sandbox:
        there = [one.value() for one in sandbox.feedback.of_queue(sandbox.queue())]
        per_run = Counter(one["run_id"] for one in there if one.get("run_id"))
        ((crowded, most), (_, second)) = per_run.most_common(2)
        found = read(connect(sandbox), run=[crowded])

    assert 5_500 < len(there) < 9_000
    assert (most, len(ids_of(found))) == (730, 730)
    assert second < 30
    for name, kinds in (("score", 4), ("value", 6), ("correction", 3), ("comment", 2)):
        assert len({type(one.get(name)) for one in there}) >= kinds, name
    assert {(one.get("feedback_source") or {}).get("type") for one in there} >= {"app", "api", "model", "auto_eval"}
    assert any("reviewer_mood" in one for one in there)
    assert any(one.get("run_id") is None and one["feedback_thread_id"] for one in there)
    assert {len(one.get("created_at") or "") for one in there} >= {0, 19, 20, 25, 27, 32}
    notes = [one for one in there if one["key"] == "note" and one.get("comment") and one.get("value") is None]
    assert len(notes) > 100
    pairs = Counter(
        (one["run_id"], one["key"]) for one in there if (one.get("feedback_source") or {}).get("type") == "app"
    )
    assert sum(count > 1 for count in pairs.values()) > 100


def test_the_same_seed_gives_the_same_feedback_and_none_is_possible() -> None:
    """Texts are equal, whichever is asked for first; with a mean of 0 nobody says anything."""
    one, other = (Sandbox(Population(rows=60, threads=3)) for _ in range(2))
    other.feedback.of_projects(None, None)
    none = Sandbox(Population(rows=60, threads=3, odd=False, feedback=0))

    texts = [sorted(there.text for there in book.feedback.of_queue(book.queue())) for book in (one, other)]
    assert texts[0] == texts[1] != []
    assert none.feedback.of_queue(none.queue()) == []
    assert all(row.value()["feedback_stats"] is None for row in rows_of(none))


def test_projects_hold_more_than_the_queue_s_runs(connect: Connect, ordinary: Sandbox) -> None:
    """By session: the queue's feedback, that of runs in no queue, and that of the project itself."""
    with ordinary as sandbox:
        client, projects = connect(sandbox), list(sandbox.queue().cast.projects)
        found = read(client, session=projects)
        one = read(client, session=projects[0])
        at_session = read(client, session=projects, level="session")
        everything = read(client)

    in_queue = {there.id for there in sandbox.feedback.of_queue(sandbox.queue())}
    runs = {row.run_id for row in rows_of(sandbox)}
    assert in_queue < set(ids_of(found))
    assert len({there["run_id"] for there in found if there["run_id"]} - runs) > 20
    assert {there["session_id"] for there in one} == {projects[0]}
    assert {there["key"] for there in at_session} >= {"weekly"}
    assert all(there["run_id"] is None for there in at_session)
    assert ids_of(everything) == ids_of(found)


def test_filters_leave_what_they_name(connect: Connect, ordinary: Sandbox) -> None:
    """Key, user, source, comment, score and level, each against all that is there."""
    with ordinary as sandbox:
        client = connect(sandbox)
        every = read(client)
        user = next(one["feedback_source"]["user_id"] for one in every if one["feedback_source"]["user_id"])
        cases: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
            ({"key": ["tone", "note"]}, lambda one: one["key"] in {"tone", "note"}),
            ({"user": user}, lambda one: user in one["feedback_source"].values()),
            ({"source": "model"}, lambda one: one["feedback_source"]["type"] == "model"),
            ({"has_comment": True}, lambda one: one["comment"] is not None),
            ({"has_score": False}, lambda one: one["score"] is None),
            ({"level": "run"}, lambda one: one["run_id"] is not None),
        ]
        for params, keep in cases:
            wanted = [one["id"] for one in every if keep(one)]
            assert 0 < len(wanted) < len(every)
            assert ids_of(read(client, **params)) == wanted


@pytest.mark.parametrize("odd", [True, False])
def test_times_of_creation_bound_what_is_found(connect: Connect, *, odd: bool) -> None:
    """Both bounds are inclusive; the last day is few, what a test adds now is found from now on."""
    with Sandbox(Population(rows=300, odd=odd)) as sandbox:
        client = connect(sandbox)
        every = sandbox.feedback.of_projects(None, None)
        low, high = sorted(one.created for one in every)[100:202:101]
        found = read(
            client, min_created_at=_text(low), max_created_at=_text(high), session=sandbox.queue().cast.projects
        )
        newest = sandbox.feedback.of_projects(None, max(one.created for one in every))
        assert read(client, min_created_at="2026-11-20T18:00:00.5Z") == []
        new = sandbox.feedback.add(str(rows_of(sandbox)[0].run_id))
        late = sandbox.feedback.add(str(rows_of(sandbox)[1].run_id), at=new.created + 10**9)
        younger = read(client, min_created_at="2026-11-20T18:00:00.5Z")
        latest = read(client, min_created_at=_text(late.created))

    assert 0 < len(newest) < len(every)
    assert len(found) == 102
    assert set(ids_of(younger)) == {new.id, late.id}
    assert ids_of(latest) == [late.id]


def test_a_run_that_comes_after_it_was_asked_for_has_its_feedback() -> None:
    """Whoever asked too early finds what is found in a sandbox where nobody did."""
    small = Population(rows=10, feedback=9)
    with Sandbox(small) as one, Sandbox(small) as other:
        run_id = str(one.queue().add()[0].run_id)
        assert other.feedback.of(run_id) == []
        other.queue().add()
        texts = [[feedback.text for feedback in sandbox.feedback.of(run_id)] for sandbox in (one, other)]

    assert len(texts[0]) > 5
    assert texts[0] == texts[1]


def _text(at: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).isoformat()


def test_feedback_of_a_thread_is_found_by_the_thread(connect: Connect, ordinary: Sandbox) -> None:
    """A THREAD item's feedback has no run, and its thread's id."""
    with ordinary as sandbox:
        client = connect(sandbox)
        for row in (*sandbox.queue().threads("active"), *sandbox.queue().threads("archived")):
            thread = row.value()["thread_id"]
            found = read(client, feedback_thread_id=thread)
            assert sorted(ids_of(found)) == sorted(one.id for one in sandbox.feedback.of(thread))
            assert {(one["run_id"], one["feedback_thread_id"]) for one in found} <= {(None, thread)}


def test_what_happens_to_feedback_shows_in_the_row(connect: Connect) -> None:
    """Added, edited, deleted: the answer and `feedback_stats` follow; an edit moves `modified_at`, a delete nothing."""
    with Sandbox(Population(rows=20, odd=False)) as sandbox:
        client, row = connect(sandbox), sandbox.queue().rows("active")[3]
        run_id = str(row.run_id)

        def told(key: str) -> tuple[list[dict[str, Any]], Any]:
            stats = sandbox.queue().row(row.id).value()["feedback_stats"] or {}
            return read(client, run=run_id, key=key), stats.get(key)

        one = sandbox.feedback.add(run_id, key="fresh", score=0.5, comment="so so")
        added, stats_added = told("fresh")
        sandbox.feedback.edit(one, score=1)
        edited, stats_edited = told("fresh")
        sandbox.feedback.delete(one)
        deleted, stats_deleted = told("fresh")

    assert (added[0]["id"], added[0]["score"]) == (one.id, 0.5)
    assert (float(stats_added["avg"]), stats_added["comments"]) == (0.5, ["so so"])
    assert (edited[0]["score"], edited[0]["created_at"]) == (1, added[0]["created_at"])
    assert edited[0]["modified_at"] > added[0]["modified_at"]
    assert float(stats_edited["avg"]) == 1
    assert (deleted, stats_deleted) == ([], None)
    assert [event.kind for event in sandbox.feedback.history] == ["add", "edit", "delete"]


def test_feedback_can_be_planted_and_outlives_its_row(connect: Connect) -> None:
    """Any text is sent as it is; what a review or a deletion does to the row leaves its feedback as it was."""
    with Sandbox(Population(rows=20)) as sandbox:
        client, queue = connect(sandbox), sandbox.queue()
        row = queue.rows("active")[0]
        before = read(client, run=row.run_id)
        queue.review(row.id)
        queue.requeue(row.id)
        queue.finish(row.id)
        assert read(client, run=row.run_id) == before
        sandbox.feedback.add(str(row.run_id), text=b'{"id": 7, "key": null}')
        queue.delete(row.id)

        assert {"id": 7, "key": None} in read(client, run=row.run_id)
        assert len(read(client, run=row.run_id)) == len(before) + 1
        assert not {row.run_id} & {one.run_id for one in sandbox.feedback.of_queue(queue)}


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"limit": 101}, 422),
        ({"limit": 0}, 422),
        ({"offset": -1}, 422),
        ({"run": "x"}, 422),
        ({"source": "people"}, 422),
        ({"level": "thread"}, 422),
        ({"has_score": "perhaps"}, 422),
        ({"min_created_at": "yesterday"}, 422),
        ({"run": "00000000-0000-4000-8000-000000000000"}, 200),
    ],
)
def test_parameters_are_checked(connect: Connect, ordinary: Sandbox, params: dict[str, Any], status: int) -> None:
    """What the service refuses is refused; a run that nobody knows has no feedback."""
    with ordinary as sandbox:
        answer = connect(sandbox).get(PATH, params=params)

    assert answer.status_code == status
    assert status != 200 or answer.json() == []


def test_servers_differ(connect: Connect) -> None:
    """Pages capped by rows and by bytes, parameters ignored, too long URLs and too many runs refused, none at all."""

    def answer(rules: FeedbackRules, **params: Any) -> httpx.Response:
        with Sandbox(Population(rows=200), rules=Rules(feedback=rules)) as sandbox:
            runs = [row.run_id for row in rows_of(sandbox)]
            asked = {"run": runs[: params.pop("runs", 50)], **params}
            return connect(sandbox).get(PATH, params=asked)

    whole = answer(FeedbackRules()).json()
    assert len(answer(FeedbackRules(page_cap=37)).json()) == 37
    short = answer(FeedbackRules(bytes_cap=9_000))
    assert (short.json(), len(short.content) < 9_200) == (whole[: len(short.json())], True)
    assert len(answer(FeedbackRules(bytes_cap=10)).json()) == 1
    assert len({one["run_id"] for one in answer(FeedbackRules(ignores=("run",))).json()}) > 50
    assert answer(FeedbackRules(most_url=2_000)).status_code == 414
    assert answer(FeedbackRules(most_url=2_000), runs=20).status_code == 200
    assert answer(FeedbackRules(most_runs=20)).status_code == 422
    assert answer(FeedbackRules(most_runs=20, most_runs_status=400)).status_code == 400
    for status in (401, 403, 404, 500, 501):
        assert answer(FeedbackRules(status=status)).status_code == status


def test_feedback_changes_between_requests_by_seed(connect: Connect) -> None:
    """Before every request one is added, edited or deleted by turns; rows follow; the limit ends it."""
    histories = []
    for _ in range(2):
        changes = Changes(feedback_rate=1, feedback_limit=12)
        with Sandbox(Population(rows=40, odd=False), changes=changes) as sandbox:
            client, before = connect(sandbox), {row.id: row.text for row in rows_of(sandbox)}
            for _ in range(20):
                client.get(PATH, params={"limit": 1})
            histories.append([(event.request, event.id, event.kind) for event in sandbox.feedback.history])
            changed = [row for row in rows_of(sandbox) if before[row.id] != row.text]

    assert histories[0] == histories[1]
    assert [request for request, _, _ in histories[0]] == list(range(1, 13))
    assert {kind for _, _, kind in histories[0]} == {"add", "edit", "delete"}
    assert len(changed) >= 5


def test_unknown_changes_of_feedback_are_told() -> None:
    """A misspelt kind does not pass silently."""
    kinds: Any = ("remove",)
    with pytest.raises(ValueError, match="unknown change of feedback 'remove', choose from add, edit, delete"):
        Changes(feedback_kinds=kinds)


def test_a_queue_s_own_record_has_its_rubric(connect: Connect) -> None:
    """Instructions and items, descriptions and configuration as the service has them; a test can change them."""
    with Sandbox(Population(rows=5, queues=2)) as sandbox:
        client = connect(sandbox)
        first, second = (client.get(f"/api/v1/annotation-queues/{one}").json() for one in sandbox.queue_ids)
        sandbox.profile()["rubric_instructions"] = "another"
        again = client.get(f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}").json()

    items = {item["feedback_key"]: item for item in first["rubric_items"]}
    assert first["rubric_instructions"].startswith("Read the question")
    assert items["helpfulness"]["is_required"]
    assert items["helpfulness"]["feedback_config"]["feedback_config"]["type"] == "continuous"
    assert set(items["tone"]["value_descriptions"]) == {"friendly", "neutral", "curt"}
    assert not items["tone"]["is_required"]
    assert (second["rubric_instructions"], second["rubric_items"][0]) == (None, {"feedback_key": "helpfulness"})
    assert again == {**first, "rubric_instructions": "another"}


def test_json_texts_come_as_they_are(connect: Connect) -> None:
    """Numbers in a value keep their digits."""
    with Sandbox(Population(rows=400)) as sandbox:
        runs = [row.run_id for row in rows_of(sandbox)][:250]
        bodies = [connect(sandbox).get(PATH, params={"run": runs[at : at + 50]}).content for at in range(0, 250, 50)]

    assert b"123456789012345678901234567890" in b"".join(bodies)
    assert all(json.loads(body) for body in bodies)
