"""Items and runs of the successor endpoint become the rows that the runs listing gave."""

import json
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest

from annolake import contract
from annolake.keys import key_of
from annolake.sandbox import Population, Sandbox
from annolake.sandbox.query import SELECTS
from annolake.transform.decode import runs_decoder
from annolake.transform.flatten import flatten
from annolake.transform.items import decode_items, decode_runs, selects
from annolake.transform.join import join
from annolake.transform.row_batch import Page, RowBatch
from sources.reading import EXPORTED_AT, read_items

KEY = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
ITEM = {"id": KEY, "queue_id": "q", "item_type": "RUN", "run_id": "r", "project_id": "p", "thread_id": None}
OWN = {"endpoint", "row_hash", "item_hash", "exported_at", "run_found"}


def item(**fields: Any) -> bytes:
    """Return an item's JSON text with these fields."""
    return json.dumps(ITEM | fields).encode()


def run(**fields: Any) -> bytes:
    """Return a run's JSON text with these fields."""
    return json.dumps({"id": "r"} | fields).encode()


def answer(*elements: bytes, cursor: str | None = None) -> bytes:
    """Return the body of an answer."""
    return b'{"items": [' + b",".join(elements) + b'], "next_cursor": ' + json.dumps(cursor).encode() + b"}"


def joined(one: bytes, *runs: bytes, archived: bool = False, include_stats: bool = True) -> RowBatch:
    """Join one item with its run, if there is one."""
    items = decode_items(answer(one), archived=archived).items
    return join(items, decode_runs(answer(*runs)).runs, include_stats=include_stats)


def row_of(*runs: bytes, **fields: Any) -> Any:
    """Return the row of an item with these fields and its run."""
    return joined(item(**fields), *runs).rows[0].row


# --- one meaning, two endpoints


def _listed(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """Return the table's rows as the runs listing gives them."""
    path, decoder = f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}/runs", runs_decoder()
    rows: dict[str, dict[str, Any]] = {}
    with httpx.Client(base_url=sandbox.url, headers={"X-API-Key": sandbox.api_key}) as client:
        for archived in (False, True):
            offset, page = 0, Page()
            while offset == 0 or page.rows:
                asked = {"offset": offset, "archived": archived}
                page = decoder.decode(client.get(path, params=asked).content, archived=archived)
                offset += len(page.keys)
                rows |= {row["queue_run_id"]: row for row in _flat(page).to_pylist()}
    return rows


def _flat(page: Page) -> pa.RecordBatch:
    return flatten(contract.RUNS, page.rows, exported_at=EXPORTED_AT)


def test_every_column_is_equal_or_keeps_its_stored_value() -> None:
    """Of odd rows, over either endpoint each column has the same value, or is told as one that can't be known."""
    with Sandbox(Population(rows=500)) as sandbox:
        listed, read = _listed(sandbox), read_items(sandbox)
    told = {row["queue_run_id"]: row for row in read.table.to_pylist()}

    assert told.keys() == listed.keys()
    for key, one in read.rows.items():
        compared = listed[key].keys() - one.unavailable - OWN - {"assigned_to"}
        assert {name: told[key][name] for name in compared} == {name: listed[key][name] for name in compared}
        lost = {name for name in listed[key] if listed[key][name] is not None and told[key][name] is None}
        assert lost <= one.unavailable
    assert any(row["unmapped"] for row in listed.values())


def test_reading_again_gives_the_same_hashes() -> None:
    """Nothing changed at the service is nothing changed in a row's hash."""
    with Sandbox(Population(rows=200, threads=20)) as sandbox:
        hashes = [{key: one.hash for key, one in read_items(sandbox).rows.items()} for _ in range(2)]

    assert len(hashes[0]) == 220
    assert hashes[0] == hashes[1]


def test_amounts_are_exact_to_the_literal() -> None:
    """A JSON number is never a float on its way, in a column or in a map."""
    text = b'{"id": "r", "total_cost": 12345678901234567890.123456789012345678, "prompt_cost": 1E-18'
    text += b', "completion_cost": "0.10", "prompt_cost_details": {"raw": {"audio": 0.1234567890123456789E1, "b": 3}}}'
    row = row_of(text)

    assert row.total_cost == Decimal("12345678901234567890.123456789012345678")
    assert (row.prompt_cost, row.completion_cost) == (Decimal("1E-18"), Decimal("0.10"))
    assert row.prompt_cost_details == {"audio": Decimal("1.234567890123456789"), "b": Decimal(3)}


def test_renamed_and_wrapped_fields_land_in_their_columns() -> None:
    """Upper case becomes lower, also of words nobody knows; wrappers open; the last parent is the parent."""
    row = row_of(
        run(
            run_type="LLM",
            status="INTERRUPTED",
            is_in_dataset=True,
            manifest={"lc": 1},
            parent_run_ids=["a", "b"],
            prompt_token_details={"raw": {"cache_read": 2**53 + 1}},
            completion_token_details={"raw": None},
        )
    )

    assert (row.run_type, row.status, row.in_dataset) == ("llm", "interrupted", True)
    assert bytes(row.serialized) == b'{"lc": 1}'
    assert (row.parent_run_ids, row.parent_run_id) == (["a", "b"], "b")
    assert (row.prompt_token_details, row.completion_token_details) == ({"cache_read": 2**53 + 1}, None)
    assert (row.id, row.session_id, row.queue_run_id, row.item_type) == ("r", "p", KEY, "RUN")


@pytest.mark.parametrize("parents", [None, []])
def test_a_root_has_no_parent(parents: list[str] | None) -> None:
    """No parents, or none told, is no parent."""
    assert row_of(run(parent_run_ids=parents)).parent_run_id is None


def test_a_second_place_stands_in_for_the_first() -> None:
    """The start is the run's, else the item's; the thread the item's, else the run's."""
    early, late = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    both = row_of(run(start_time=late, thread_id="of the run"), start_time=early, thread_id="of the item")
    other = row_of(run(thread_id="of the run"), start_time=early)
    alone = row_of(start_time=early)

    assert (both.start_time.day, both.thread_id) == (2, "of the item")
    assert (other.start_time.day, other.thread_id) == (1, "of the run")
    assert alone.start_time.day == 1


def test_every_select_is_one_that_the_service_knows() -> None:
    """What the contract has from the run is selected by its documented name, the id first; statistics on demand."""
    assert set(selects()) <= SELECTS.keys()
    assert selects()[0] == "ID"
    assert set(selects()) - set(selects(include_stats=False)) == {"FEEDBACK_STATS"}
    places = [column.items.split(".") for column in contract.RUNS.column if column.items]
    told = {place[1] for place in places if place[0] == "run"}
    assert told < set(selects())


FORMER = {name: value for name, value in ITEM.items() if name != "project_id"}


@pytest.mark.parametrize(
    "former",
    [
        FORMER | {"session_id": "p"},
        FORMER | {"session_id": "old", "project_id": "p"},
        FORMER | {"session_id": "p", "project_id": None},
        FORMER | {"session_id": None, "project_id": "p"},
    ],
)
def test_the_former_name_of_the_project_is_read_too(former: dict[str, Any]) -> None:
    """`session_id` stands in for `project_id`, is no unknown field, and does not make another hash."""
    one, other = joined(json.dumps(former).encode(), run()), joined(item(), run())

    assert (one.rows[0].row.session_id, one.rows[0].unmapped, one.rejects) == ("p", None, [])
    assert one.rows[0].hash == other.rows[0].hash
    assert one.rows[0].row == other.rows[0].row


# --- what the contract does not name


def test_unknown_fields_are_kept() -> None:
    """Those of the item, those of the run, and what stands beside `raw`, as they were sent."""
    one = joined(item(zeta=[1], shared=1), run(beta={"x": None}, shared=2, prompt_cost_details={"raw": {}, "by": [3]}))

    assert json.loads(one.rows[0].unmapped or b"") == {
        "zeta": [1],
        "item.shared": 1,
        "beta": {"x": None},
        "shared": 2,
        "prompt_cost_details": {"by": [3]},
    }
    assert not one.rejects
    assert "unmapped" not in one.rows[0].unavailable


def test_what_is_known_and_not_kept_is_not_unknown() -> None:
    """The queue is the partition, a query's own facts are not the run's, and what grants access is dropped."""
    one = joined(item(), run(query_metadata={"score": 1}, share_url="https://h/public/secret/r", share_token="secret"))

    assert one.rows[0].unmapped is None


# --- what cannot be decoded

BROKEN_ITEMS = [
    (item(id=None), "$.id", None),
    (item(item_type=3), "$.item_type", KEY),
    (item(added_at="yesterday"), "$.added_at", KEY),
    (item(thread_id="\ud800"), "$.thread_id", KEY),
    (b'{"id": "%s"}' % KEY.encode(), "$.item_type", KEY),
    (b"7", "$", None),
]


@pytest.mark.parametrize(("broken", "path", "queue_run_id"), BROKEN_ITEMS)
def test_a_broken_item_is_set_aside_alone(broken: bytes, path: str, queue_run_id: str | None) -> None:
    """Its neighbours go through, it keeps its place for paging, and the cursor is read all the same."""
    page = decode_items(answer(item(id="a"), broken, item(id="b"), cursor="next"), archived=False)

    assert [one.row.queue_run_id for one in page.items] == ["a", "b"]
    (reject,) = page.rejects
    assert (reject.path, reject.queue_run_id) == (path, queue_run_id)
    assert page.keys == [key_of("a"), reject.key, key_of("b")]
    assert page.cursor == "next"


BROKEN_RUNS = [
    (run(name="\ud800"), "$.run.name"),
    (run(total_tokens=2**70), "$.run.total_tokens"),
    (run(total_cost="free"), "$.run.total_cost"),
    (run(prompt_cost_details={"raw": {"a": 1e-19}}), "$.run.prompt_cost_details"),
    (run(prompt_token_details={"raw": {"a": "x"}}), "$.run.prompt_token_details.raw[...]"),
    (run(prompt_token_details=[1]), "$.run.prompt_token_details"),
    (run(inputs={"x": float("nan")}), "$.run.inputs"),
]


@pytest.mark.parametrize(("broken", "path"), BROKEN_RUNS)
def test_a_broken_run_rejects_its_row_alone(broken: bytes, path: str) -> None:
    """The reject is the row's, says where and why without quoting the value, and holds no secret."""
    broken = broken[:-1] + b', "share_url": "https://h/secret"}'
    items = decode_items(answer(item(), item(id="b", run_id="s")), archived=False).items
    one = join(items, decode_runs(answer(broken, run(id="s"))).runs)

    assert [each.row.queue_run_id for each in one.rows] == ["b"]
    (reject,) = one.rejects
    assert (reject.queue_run_id, reject.key, reject.path) == (KEY, key_of(KEY), path)
    assert json.loads(reject.text)["id"] == "r"
    assert "secret" not in reject.text


def test_a_run_without_a_readable_id_is_nobody_s() -> None:
    """It is left out, so that its id is asked for again."""
    assert list(decode_runs(answer(b'{"name": "x"}', b"3", run())).runs) == ["r"]


def test_a_lone_surrogate_in_a_json_column_is_kept_as_text() -> None:
    """A payload that msgspec cannot read costs neither its row nor its neighbours."""
    page = decode_runs(answer(run(inputs={"x": "\ud800"}), run(id="s")))

    assert list(page.runs) == ["r", "s"]
    assert bytes(joined(item(), run(inputs={"x": "\ud800"})).rows[0].row.inputs) == b'{"x": "\\ud800"}'


@pytest.mark.parametrize("decode", [lambda body: decode_items(body, archived=False), decode_runs])
def test_an_answer_of_another_shape_is_none(decode: Any) -> None:
    """Cut off at any place, a list, a page of HTML, an object without items: the client is to ask again."""
    body = answer(item(), cursor="c")
    for other in (
        b"",
        b"[]",
        b"<html>",
        b"{}",
        b'{"items": 3}',
        b'{"items": [], "next_cursor": 3}',
        b'{"detail": "x"}',
    ):
        with pytest.raises(ValueError, match="."):
            decode(other)
    for whole in (body, answer(item(note=float("nan")), b"nul", cursor="c")):
        for end in range(1, len(whole)):
            with pytest.raises(ValueError, match="."):
                decode(whole[:end])


def test_no_items_and_no_cursor_are_an_end() -> None:
    """A null list is an empty one, and an empty or absent cursor none."""
    for body in (b'{"items": null, "next_cursor": null}', b'{"items": []}', b'{"items": [], "next_cursor": ""}'):
        page = decode_items(body, archived=True)
        assert (page.keys, page.cursor, page.size) == ([], None, len(body))


# --- what could not be known


def test_columns_without_an_equivalent_stay() -> None:
    """Whatever the contract has from the runs listing alone could not be known, and nothing else of a found run."""
    only_listed = {c.name for c in contract.RUNS.columns_of("field") if not c.items}

    assert joined(item(), run()).rows[0].unavailable == only_listed | {"unmapped"}
    without = joined(item(), run(), include_stats=False).rows[0]
    assert without.unavailable == only_listed | {"unmapped", "feedback_stats"}


def test_a_run_that_is_not_to_be_had_keeps_what_is_stored() -> None:
    """Its columns and what is computed from them stay; what the item has is known."""
    one = joined(item(start_time="2026-01-01T00:00:00Z", reserved_by=["a"]))
    unknown, row = one.rows[0].unavailable, one.rows[0].row

    assert one.rows[0].run_found is False
    assert unknown > {"name", "inputs", "total_cost", "model", "provider", "latency_s", "prompt_cache_read_tokens"}
    assert unknown.isdisjoint({"id", "session_id", "reserved_by", "reserved_count", "start_time", "row_hash"})
    assert "thread_id" in unknown
    assert (row.id, row.name, row.reserved_by) == ("r", None, ["a"])
    assert "start_time" in joined(item()).rows[0].unavailable


def test_own_usage_that_was_not_wanted_keeps_what_is_stored() -> None:
    """Tokens, costs and what is flattened from them stay, the row has the run's own for where nothing is stored."""
    items = decode_items(answer(item()), archived=False).items
    runs = decode_runs(answer(run(total_tokens=3, prompt_token_details={"raw": {"audio": 1}}))).runs
    whole, own = join(items, runs), join(items, runs, own={"r"})

    added = own.rows[0].unavailable - whole.rows[0].unavailable
    assert added > {"total_tokens", "prompt_cost_details", "completion_cost", "prompt_audio_tokens", "first_token_s"}
    assert added.isdisjoint({"price_model_id", "latency_s", "start_time", "model"})
    assert own.rows[0].row.total_tokens == 3
    assert own.rows[0].hash != whole.rows[0].hash
    assert join(items, runs, own={"another"}).rows[0].hash == whole.rows[0].hash


def test_an_item_without_a_run_lacks_nothing() -> None:
    """Of a THREAD, or of a RUN made from a proposed example, the run's columns are known to be null."""
    for fields in ({"item_type": "THREAD", "thread_id": "t"}, {"source_proposed_example_id": "e"}):
        one = joined(item(run_id=None, **fields), run())

        assert one.rows[0].run_found is None
        assert one.rows[0].unavailable == joined(item(), run()).rows[0].unavailable
        assert (one.rows[0].row.id, one.rows[0].row.name) == (None, None)


# --- hashes


SAME = [
    ((item(added_at="2026-01-01T00:00:00Z"), run()), (item(added_at="2026-01-01T01:00:00+01:00"), run())),
    ((item(), run(total_cost=1.10)), (item(), run(total_cost="1.1"))),
    ((item(), run(query_metadata=None)), (item(), run(share_url="https://h/1"))),
    ((item(last_reviewed_time=None), run(error=None)), (item(), run())),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_row_written_another_way_has_the_same_hash(one: Any, other: Any) -> None:
    """Instants, amounts, absent and null fields, and what is dropped do not make a row look changed."""
    assert joined(*one).rows[0].hash == joined(*other).rows[0].hash


def test_every_change_of_item_or_run_changes_the_hash() -> None:
    """Also a field that the contract does not name, the section, and whether the run could be had."""
    versions = [
        joined(item(), run()),
        joined(item(), run(), archived=True),
        joined(item()),
        joined(item(reserved_by=["a"]), run()),
        joined(item(assigned_to=["a"]), run()),
        joined(item(item_type="THREAD"), run()),
        joined(item(new=1), run()),
        joined(item(), run(newer=1)),
        joined(item(), run(name="n")),
        joined(item(), run(inputs={"a": 1})),
        joined(item(), run(inputs={"a": 1.0})),
        joined(item(), run(prompt_cost_details={"raw": {"a": 1}})),
    ]

    assert len({one.rows[0].hash for one in versions}) == len(versions)


def item_hash(one: bytes, *, archived: bool = False) -> bytes:
    """Return the hash of an item."""
    return decode_items(answer(one), archived=archived).items[0].hash


def test_an_items_hash_is_over_all_that_the_item_says() -> None:
    """Each of its fields, one that the contract does not name, and its section; not over how a value is written."""
    usual = item_hash(item(reserved_by=["a"], start_time="2026-01-01T00:00:00Z"))
    others = [
        item(reserved_by=["b"], start_time="2026-01-01T00:00:00Z"),
        item(reserved_by=["a"], start_time="2026-01-01T00:00:01Z"),
        item(reserved_by=["a"], start_time="2026-01-01T00:00:00Z", next_year=1),
    ]

    assert usual == item_hash(item(start_time="2026-01-01T01:00:00+01:00", reserved_by=["a"], queue_id="another"))
    assert usual == item_hash(
        item(project_id=None, session_id="p", reserved_by=["a"], start_time="2026-01-01T00:00:00Z")
    )
    assert len({usual, *map(item_hash, others), item_hash(item(reserved_by=["a"]), archived=True)}) == 5


def test_a_row_changes_with_its_item_even_where_no_column_shows_it() -> None:
    """Else the lake would keep the item's old hash, and its run would be asked for each time."""
    one, other = (
        joined(item(start_time=f"2026-01-0{day}T00:00:00Z"), run(start_time="2025-01-01T00:00:00Z")) for day in (1, 2)
    )

    assert one.rows[0].row == other.rows[0].row
    assert (one.rows[0].hash != other.rows[0].hash, one.rows[0].item_hash != other.rows[0].item_hash) == (True, True)
