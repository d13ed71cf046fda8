"""What the settings leave out is taken out of rows and rejects."""

import json
from typing import Any

import pyarrow as pa
import pytest

from annolake import contract
from annolake.columns.found_names import Found
from annolake.columns.pseudonyms import Pseudonyms
from annolake.columns.rules import ColumnRules
from annolake.load.table.mask import Mask
from annolake.transform.decode import runs_decoder
from annolake.transform.feedback import decode_feedback
from annolake.transform.flatten import flatten
from annolake.transform.guard import Guards
from annolake.transform.queue_row import decode_queue
from annolake.transform.row_batch import Page, Reject
from exporting import now

PSEUDONYMS = Pseudonyms(b"a key of sixteen characters")
ADA = "6067e92e-a828-4e98-aa9d-2d9258deb06b"


def guards_of(*exclude: str, people: tuple[str, ...] = ()) -> Guards:
    """Return the guards of settings."""
    return Guards(ColumnRules.of(exclude, people, PSEUDONYMS))


ROW: dict[str, Any] = {
    "queue_run_id": "q-1",
    "id": "6e8bc430-9c3a-11d9-9669-0800200c9a66",
    "app_path": "/o/1",
    "dotted_order": "1",
    "name": "x",
    "run_type": "llm",
    "status": "success",
    "start_time": "2026-11-20T08:00:00Z",
    "trace_id": "6e8bc430-9c3a-11d9-9669-0800200c9a66",
    "session_id": "6e8bc430-9c3a-11d9-9669-0800200c9a67",
    "added_at": "2026-11-20T09:00:00Z",
    "inputs": {"a": 1},
    "completed_by": [ADA],
    "reserved_by": [ADA, "p-2"],
}


def page_of(row: dict[str, Any], guards: Guards) -> Page:
    """Return a row of the runs endpoint, decoded."""
    return runs_decoder().decode(json.dumps([row]).encode(), archived=False, guard=guards.runs)


def flat(page: Page, guards: Guards) -> dict[str, Any]:
    """Return the only row of a page as it is stored."""
    nulls = guards.runs.nulls if guards.runs else ()
    batch = flatten(contract.RUNS, page.rows, exported_at=now(), endpoint="runs", nulls=nulls)
    (row,) = batch.to_pylist()
    return dict(row)


@pytest.mark.parametrize(
    "name", ["inputs", "extra", "reserved_by", "first_token_time", "prompt_token_details", "model"]
)
def test_a_change_of_what_is_left_out_is_none(name: str) -> None:
    """The hash of a row is the same whatever the column holds, be it nothing."""
    guards = guards_of(name)
    odd: dict[str, list[Any]] = {
        "reserved_by": [None, ["a"], []],
        "first_token_time": [None, "2026-11-20T08:00:01Z"],
        "prompt_token_details": [None, {"audio": 1}],
    }
    values = odd.get(name, [None, {"a": 2}, {}])
    rows = [{**ROW, name: value} for value in values] + [{**ROW, "later": 1}]
    hashes = {page_of(row, guards).rows[0].hash for row in rows}
    assert len(hashes) == 1
    assert page_of({**ROW, "tags": ["t"]}, guards).rows[0].hash not in hashes


@pytest.mark.parametrize(
    ("extra", "model", "provider"),
    [
        ({"metadata": {"ls_model_name": "m", "ls_provider": "p", "secret": 1}}, "m", "p"),
        ({"metadata": 3, "invocation_params": {"model": {"deep": 1}, "model_name": "m"}}, "m", None),
        ({"metadata": {"ls_provider": 3}}, None, None),
        ("text", None, None),
        (None, None, None),
    ],
)
def test_model_and_provider_stay_without_extra(extra: Any, model: str | None, provider: str | None) -> None:
    """They are columns of their own: the hash is over them, and over nothing else of it."""
    guards = guards_of("extra")
    page = page_of({**ROW, "extra": extra}, guards)
    stored = flat(page, guards)
    assert (stored["model"], stored["provider"], stored["extra"]) == (model, provider, None)
    named = guards_of("extra", "model", "provider")
    assert flat(page_of({**ROW, "extra": extra}, named), named)["model"] is None
    assert page_of({**ROW, "extra": extra}, named).rows[0].hash == page_of(ROW, named).rows[0].hash


def test_ids_and_names_are_replaced_in_other_texts_of_the_row() -> None:
    """Long ids and names of several words anywhere; short ones where they stand alone."""
    found = Found()
    for person in (ADA, "p-2", "a"):
        found.add_id(person, PSEUDONYMS.of(person))
    for name in ("Ada Moreau", "Björn Lindqvist", "Kim", "kim@example.com", None, ""):
        found.add_name(name)
    text = {
        "by": ADA,
        "short": "p-2",
        "other": "p-22",
        "said": f"ask Ada Moreau or {ADA}",
        "Kim": "Kim",
        "a": "a Kimono",
    }
    text["mail"], text["björn"] = "to kim@example.com", "Björn Lindqvist"
    for is_ascii in (True, False):
        told = json.loads(found.replaced_bytes(json.dumps(text, ensure_ascii=is_ascii).encode()))
        assert told["by"] == PSEUDONYMS.of(ADA)
        assert (told["short"], told["other"], told["a"]) == (PSEUDONYMS.of("p-2"), "p-22", "a Kimono")
        assert told["said"] == f"ask  or {PSEUDONYMS.of(ADA)}"
        assert (told["mail"], told["björn"]) == ("to ", "")
        assert "Kim" not in told
    assert found.replaced(f"Kim and Kimono, {ADA}, p-2") == f" and Kimono, {PSEUDONYMS.of(ADA)}, {PSEUDONYMS.of('p-2')}"


def test_a_reject_keeps_what_the_contract_names_and_the_settings_leave() -> None:
    """Of what is no object nothing is left, and its key is no hash of it."""
    guards = guards_of("inputs", people=("reserved_by", "completed_by"))
    broken = {**ROW, "tags": 7, "later": ADA, "error": f"by {ADA}", "reserved_by": {"odd": ADA}}
    page = page_of(broken, guards)
    (reject,) = page.rejects
    told = json.loads(reject.text)
    assert (reject.queue_run_id, told["inputs"], told["reserved_by"], "later" in told) == ("q-1", None, None, False)
    assert told["completed_by"] == [PSEUDONYMS.of(ADA)]
    assert told["error"] == f"by {PSEUDONYMS.of(ADA)}"
    assert page.keys == [reject.key]
    assert guards.runs is not None
    assert guards.runs.reject_text(reject.text) == reject.text
    lost = [guards.runs.reject(Reject(b"k" * 16, None, "$", "no object", text)) for text in ("[1]", "[2]", "cut {")]
    assert {(each.text, each.key) for each in lost} == {("null", lost[0].key)}


def test_by_reviewer_is_known_whatever_is_pseudonymized() -> None:
    """Reviewers are those of the table runs, pseudonyms or not; without them it is not known."""
    body = json.dumps([{"id": "f", "run_id": "r", "key": "k", "feedback_source": {"user_id": ADA}}]).encode()
    both, runs, feedback = (
        guards_of(people=("completed_by", "feedback.user_id")),
        guards_of(people=("completed_by",)),
        guards_of(people=("feedback.user_id",)),
    )
    hidden = PSEUDONYMS.of(ADA)
    for guards, reviewer, stored in ((both, hidden, hidden), (runs, hidden, ADA), (feedback, ADA, hidden)):
        (row,) = decode_feedback(body, reviewers={"r": [reviewer]}, guards=guards).rows
        assert (row.row.by_reviewer, row.row.user_id) == (True, stored)
    (row,) = decode_feedback(body, reviewers={"r": [hidden]}, guards=guards_of("feedback.by_reviewer")).rows
    assert row.row.by_reviewer is None


def test_stored_rows_become_what_rows_are_that_are_read() -> None:
    """A row that was stored before the settings changed is masked to the same values, without its hashes; once."""
    guards, open_guards = guards_of("inputs", "model", people=("reserved_by", "completed_by")), guards_of()
    rules = ColumnRules.of(["inputs", "model"], ["reserved_by", "completed_by"], PSEUDONYMS)
    row = {**ROW, "extra": {"by": ADA, "metadata": {"ls_model_name": "m"}}, "later": 1, "error": f"of {ADA}"}
    bare = {**ROW, "queue_run_id": "q-2", "inputs": None, "reserved_by": None, "completed_by": []}
    for sent, changes in ((row, True), (bare, False)):
        before = pa.Table.from_pylist([flat(page_of(sent, open_guards), open_guards)], contract.RUNS.schema)
        mask = Mask(rules.tables["runs"])
        after = mask(before)
        wanted = flat(page_of(sent, guards), guards)
        (stored,) = after.to_pylist()
        own = {"row_hash", "exported_at"}
        assert {k: v for k, v in stored.items() if k not in own} == {k: v for k, v in wanted.items() if k not in own}
        assert (after is before) is not changes
        assert stored["row_hash"] == (bytes(16) if changes else before["row_hash"][0].as_py())
        assert mask(after) is after
        assert mask(before.select(["removed_at", "completed_by"]))["completed_by"][0].as_py() == wanted["completed_by"]


def test_a_queue_s_reviewers_are_masked_alike() -> None:
    """Id, name and address: of the record that is read, and of the one that is stored."""
    body = json.dumps({"id": "q", "name": "n", "assigned_reviewers": [{"id": ADA, "name": "Ada", "email": "a@b"}]})
    guards, rules = (guards_of(people=("queues.assigned_reviewers",)), ["queues.assigned_reviewers"])
    tables = [
        pa.Table.from_batches([flatten(contract.QUEUES, [decode_queue(body.encode(), guard=guard)], exported_at=now())])
        for guard in (guards.queues, None)
    ]
    mask = Mask(ColumnRules.of([], rules, PSEUDONYMS).tables["queues"])
    people = [{"id": PSEUDONYMS.of(ADA), "name": None, "email": None}]
    assert tables[0]["assigned_reviewers"].to_pylist() == mask(tables[1])["assigned_reviewers"].to_pylist() == [people]
    assert mask(tables[0]) is tables[0]
