"""Feedback as the endpoint sends it becomes rows of the table `feedback`."""

import json
from collections.abc import Collection
from typing import Any

import pytest

from annolake import contract
from annolake.keys import key_of
from annolake.transform.feedback import decode_feedback, feedback_rows, owner_of
from annolake.transform.flatten import flatten
from annolake.transform.row_batch import Page
from sources.reading import EXPORTED_AT

ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
SOURCE = {"type": "app", "user_id": "u-1", "ls_user_id": "ls-1", "user_name": "Ada", "metadata": {"a": [1]}}
FULL = {
    "id": ID,
    "created_at": "2026-11-20T10:00:00",
    "modified_at": "2026-11-20T12:00:00+02:00",
    "key": "correctness",
    "score": 0.5,
    "value": "good",
    "comment": "fine",
    "correction": {"answer": 42},
    "feedback_group_id": "g",
    "comparative_experiment_id": "c",
    "run_id": "R-1",
    "session_id": "s",
    "trace_id": "t",
    "start_time": "2026-11-19T10:00:00Z",
    "is_root": True,
    "feedback_thread_id": "th",
    "extra": {"x": 1},
    "feedback_source": SOURCE,
}


def decoded(*elements: Any, reviewers: Collection[str] | None = None) -> Page:
    """Decode an answer with these elements, on a run that these people have completed."""
    return decode_feedback(json.dumps(elements).encode(), reviewers={"r-1": reviewers})


def row_of(**fields: Any) -> Any:
    """Return the row of the table that a full feedback with other fields becomes."""
    page = decoded(FULL | fields)
    assert not page.rejects
    return _flat(page)[0]


def _flat(page: Page) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = flatten(contract.FEEDBACK, page.rows, exported_at=EXPORTED_AT).to_pylist()
    return rows


def test_every_field_arrives_in_its_column() -> None:
    """Every field arrives in its column."""
    row = row_of()
    wanted = {name: value for name, value in FULL.items() if name in row}
    wanted |= {"correction": '{"answer": 42}', "extra": '{"x": 1}', "value": '"good"', "value_text": "good"}
    wanted |= {"source_type": "app", "user_id": "u-1", "ls_user_id": "ls-1", "user_name": "Ada", "thread_id": "th"}
    wanted |= {"source_metadata": '{"a": [1]}', "unmapped": None, "removed_at": None}
    times = {"created_at": "2026-11-20T10:00:00", "modified_at": "2026-11-20T10:00:00"}
    assert {name: row[name] for name in wanted if name not in times} == {
        name: value for name, value in wanted.items() if name not in times
    }
    assert {name: row[name].isoformat() for name in times} == {name: at + "+00:00" for name, at in times.items()}
    assert row["run_start_time"].isoformat() == "2026-11-19T10:00:00+00:00"


def test_every_field_of_the_contract_is_read() -> None:
    """Every field of the contract is read."""
    names = {column.feedback.partition(".")[0] for column in contract.FEEDBACK.column if column.feedback}
    assert feedback_rows().names == names == set(FULL)


@pytest.mark.parametrize(
    ("score", "stored"), [(True, 1.0), (False, 0.0), (3, 3.0), (0.25, 0.25), (-1e300, -1e300), (None, None)]
)
def test_scores(score: Any, stored: float | None) -> None:
    """Scores."""
    assert row_of(score=score)["score"] == stored


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("good", "good"),
        ("", ""),
        ('say "x"\n', 'say "x"\n'),
        (1.5, "1.5"),
        (True, "true"),
        (None, None),
        ({"a": 1}, None),
        ([1], None),
        ("cut \ud800", "cut �"),
    ],
)
def test_value_text_is_there_where_the_value_is_plain(value: Any, text: str | None) -> None:
    """Value text is there where the value is plain."""
    row = row_of(value=value)
    assert row["value_text"] == text
    assert (row["value"] is None) == (value is None)
    assert value is None or json.loads(row["value"]) == value


@pytest.mark.parametrize("correction", ["better so", {"a": None}, [1], 3])
def test_a_correction_is_kept_as_sent(correction: Any) -> None:
    """A correction is kept as sent."""
    assert json.loads(row_of(correction=correction)["correction"]) == correction


@pytest.mark.parametrize("source", [None, {}])
def test_feedback_without_an_author(source: Any) -> None:
    """Feedback without an author."""
    row = row_of(feedback_source=source)
    assert (row["source_type"], row["user_id"], row["source_metadata"], row["by_reviewer"]) == (None,) * 4


def test_only_id_and_key_are_required() -> None:
    """Only id and key are required."""
    page = decoded({"id": ID, "key": ""}, {"id": ID}, {"key": "note"})
    assert [(row.key, row.row.key) for row in page.rows] == [(key_of(ID), "")]
    assert [(reject.queue_run_id, reject.path) for reject in page.rejects] == [(ID, "$.key"), (None, "$.id")]
    assert page.keys == [key_of(ID), *(reject.key for reject in page.rejects)]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"score": "high"}, "$.score"),
        ({"created_at": "yesterday"}, "$.created_at"),
        ({"comment": "cut \ud800"}, "$.comment"),
        ({"feedback_source": {"type": "app", "user_id": 7}}, "$.feedback_source.user_id"),
        ({"feedback_source": {"user_name": "\ud800"}}, "$.feedback_source.user_name"),
        ({"feedback_source": "app"}, "$.feedback_source"),
    ],
)
def test_a_row_that_does_not_fit_costs_its_neighbours_nothing(fields: dict[str, Any], path: str) -> None:
    """A row that does not fit costs its neighbours nothing."""
    page = decoded(FULL | fields, FULL | {"id": "other"})
    assert [(reject.queue_run_id, reject.path) for reject in page.rejects] == [(ID, path)]
    assert [row.row.id for row in page.rows] == ["other"]


def test_unknown_fields_are_kept_those_of_the_source_too() -> None:
    """Unknown fields are kept those of the source too."""
    odd = FULL | {"mood": {"a": 1}, "feedback_source": SOURCE | {"team": "x", "share_token": "secret", "b": None}}
    for _ in range(2):  # the second time they are learned
        row = _flat(decoded(odd))[0]
        assert json.loads(row["unmapped"]) == {
            "feedback_source": {"b": None, "share_token": None, "team": "x"},
            "mood": {"a": 1},
        }
        assert row["user_name"] == "Ada"


def test_metadata_that_no_text_can_hold_is_kept_as_sent() -> None:
    """Metadata that no text can hold is kept as sent."""
    page = decoded(FULL | {"feedback_source": {"user_id": "u", "metadata": {"a": "\ud800"}}})
    assert _flat(page)[0]["source_metadata"] == '{"a": "\\ud800"}'


@pytest.mark.parametrize(
    ("reviewers", "stored"), [({"u-1"}, True), ({"ls-1", "x"}, True), ({"x"}, False), ((), False), (None, None)]
)
def test_by_reviewer_in_either_identity_space(reviewers: Any, stored: bool | None) -> None:
    """By reviewer in either identity space."""
    assert _flat(decoded(FULL, reviewers=reviewers))[0]["by_reviewer"] is stored


def test_a_feedback_belongs_to_its_run_else_to_its_thread() -> None:
    """Ids of runs are UUIDs in either case; those of threads are any text."""
    rows = decoded(FULL, FULL | {"run_id": None, "feedback_thread_id": "Thread A"}, {"id": "i", "key": "k"}).rows
    assert [owner_of(row.row) for row in rows] == ["r-1", "Thread A", None]


@pytest.mark.parametrize("none", [None, ""])
def test_what_is_on_neither_is_rejected_where_that_is_asked_for(none: str | None) -> None:
    """It may be of a project; its neighbours go through."""
    body = json.dumps([FULL | {"run_id": none, "feedback_thread_id": none}, FULL | {"id": "other"}]).encode()
    page = decode_feedback(body, reviewers={}, owned=True)
    assert [row.row.id for row in page.rows] == ["other"]
    assert [(reject.queue_run_id, reject.path) for reject in page.rejects] == [(FULL["id"], "$.run_id")]
    assert len(decode_feedback(body, reviewers={}).rows) == 2


def test_by_reviewer_of_a_thread() -> None:
    """By reviewer of a thread."""
    page = decode_feedback(json.dumps([FULL | {"run_id": None}]).encode(), reviewers={"th": {"u-1"}})
    assert page.rows[0].row.by_reviewer is True


def test_the_hash_tells_what_the_reviewer_did_and_not_what_the_rubric_asks_for() -> None:
    """The hash tells what the reviewer did and not what the rubric asks for."""

    def hashes(*pages: Page) -> set[bytes]:
        return {row.hash for page in pages for row in page.rows}

    same = decoded(FULL | {"modified_at": "2026-11-20T10:00:00.000Z"}, reviewers=["u-1"])
    assert len(hashes(same, decoded(FULL, reviewers=["u-1"]))) == 1
    same.rows[0].row.in_rubric = True
    for other in (
        decoded(FULL),
        decoded(FULL, reviewers=["x"]),
        decoded(FULL | {"comment": "Fine"}, reviewers=["u-1"]),
        decoded(FULL | {"feedback_source": SOURCE | {"team": 1}}, reviewers=["u-1"]),
    ):
        assert len(hashes(same, other)) == 2
    flat = _flat(same)[0]
    assert flat["in_rubric"] is True
    assert flat["row_hash"] == decoded(FULL, reviewers=["u-1"]).rows[0].hash


def test_an_answer_of_another_shape_is_no_answer() -> None:
    """An answer of another shape is no answer."""
    for body in (b'{"detail": "x"}', b"[", b""):
        with pytest.raises(ValueError, match=r".+"):
            decode_feedback(body, reviewers={})
