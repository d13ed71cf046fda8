"""`annolake rewrite` applies [columns] to what is in a lake of any kind; what is left out no more comes back."""

import json
from collections.abc import Iterator

import pytest

from annolake.sandbox import Population, Sandbox
from hostile import Hostile
from kept import KINDS, Kept, everything_in, lakes_of
from object_store import ObjectStore
from privacy import EXCLUDED, KEY, MARK, PEOPLE, marked, met_in, people_of

COLUMNS = {
    "ANNOLAKE_COLUMNS__EXCLUDE": ",".join(EXCLUDED),
    "ANNOLAKE_COLUMNS__PSEUDONYMIZE": ",".join(PEOPLE),
    "ANNOLAKE_COLUMNS__PSEUDONYM_KEY_ENV": "PSEUDONYM_KEY",
    "PSEUDONYM_KEY": KEY,
}
OTHER_KEY = {**COLUMNS, "PSEUDONYM_KEY": "another key of pseudonyms"}

PEOPLE_THERE: set[str] = set()

LEFT_OUT = "columns: [columns] leaves out feedback.comment, feedback.value, queues.description, runs.error, runs.events"
APPLIES = "and rows in the lake may still hold these values: `annolake rewrite` removes them"


@pytest.fixture(scope="module")
def service() -> Iterator[Hostile]:
    """A queue with marks, people, a thread and two rejects; one row leaves between two exports."""
    sandbox = Sandbox(Population(rows=40, threads=3, days=2), seed=9)
    queue = sandbox.queue()
    row = queue.rows("active")[0]
    queue.set_text(row.id, json.dumps({**json.loads(row.text), "name": 7}).encode())
    with Hostile(sandbox, marked) as service:
        PEOPLE_THERE.update(people_of(sandbox))
        yield service


def settle_and_lift(kept: Kept, secrets: list[str]) -> None:
    """Export a lake that was rewritten, with the settings and then without them."""
    row_count, files = kept.table("runs").height, kept.files()
    settled = [json.loads(kept.ran("run", "--json", "--quiet", **COLUMNS).out.splitlines()[-1]) for _ in range(2)]
    queues = [report["queues"][0] for report in settled]
    assert [queue["exit_code"] for queue in queues] == [0, 0]
    assert [queue["inserted"] + queue["removed"] for queue in queues] == [0, 0]
    assert (queues[0]["updated"], queues[1]["updated"]) == (row_count, 0)
    assert met_in(everything_in(kept), secrets) == []
    assert files != kept.files()

    dry = kept.ran("run", "--dry-run", "--new-only").out
    assert "columns: [columns] no longer leaves out" in dry
    assert "would be read whole (the settings of [columns] have changed)" in dry
    lifted = kept.ran("run", "--json", "--quiet", "--new-only")
    assert "[columns] no longer leaves out feedback.comment" in lifted.err
    assert lifted.report["queues"][0]["mode_reason"] == "the settings of [columns] have changed"
    runs, feedback = kept.table("runs"), kept.table("feedback")
    assert runs["inputs"].str.contains(MARK).sum() > 30
    assert runs["completed_by"].explode().drop_nulls().str.starts_with("pn_").any() is False
    assert feedback["comment"].str.contains(MARK).sum() > 10
    assert kept.table("turns")["outputs"].str.contains(MARK).any()
    assert "columns_changed" not in kept.ran("run", "--quiet").err


@pytest.mark.parametrize("kind", KINDS)
def test_a_lake_is_rewritten(
    kind: str, service: Hostile, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Told before, nowhere afterwards, told no more; the next exports settle, and without settings values return."""
    kept = lakes_of(service, object_store, tmp_path_factory.mktemp(kind))[kind]
    secrets = [MARK, *PEOPLE_THERE]
    first = kept.exported()
    assert first["rejected_new"] == 1
    assert MARK in met_in(everything_in(kept), secrets)

    before = kept.ran("status", **COLUMNS).out
    assert before.startswith(LEFT_OUT)
    assert APPLIES in before
    rewritten = kept.ran("rewrite", **COLUMNS)
    assert rewritten.exit_code == 0, rewritten.err
    assert "rows changed, 1 reject changed" in rewritten.out
    assert ("readers of older versions" in rewritten.out) is (kept.format == "delta")
    assert met_in(everything_in(kept) + rewritten.out, secrets) == []
    assert kept.ran("verify").exit_code == 0
    assert "columns:" not in kept.ran("status", **COLUMNS).out
    assert "nothing to do" in kept.ran("rewrite", **COLUMNS).out
    if kind == "disk-parquet":  # what exports read does not depend on where the lake is
        settle_and_lift(kept, secrets)


def test_another_key_is_told_and_its_pseudonyms_are_replaced(
    service: Hostile, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Old pseudonyms become others by the new key; without a key, status is silent about it, and run refuses."""
    kept = lakes_of(service, object_store, tmp_path_factory.mktemp("key"))["disk-parquet"]
    kept.ran("run", "--quiet", **COLUMNS)
    first = set(kept.table("runs")["completed_by"].explode().drop_nulls())
    assert "the key of pseudonyms is another one" in kept.ran("check", **OTHER_KEY).out
    assert json.loads(kept.ran("check", "--json", **OTHER_KEY).out)["columns"].startswith("the key of pseudonyms")
    assert kept.ran("rewrite", **OTHER_KEY).exit_code == 0
    second = set(kept.table("runs")["completed_by"].explode().drop_nulls())
    assert len(first) == len(second)
    assert not first & second
    assert json.loads(kept.ran("status", "--json", **OTHER_KEY).out)["columns"] is None
    without = {name: value for name, value in COLUMNS.items() if name != "PSEUDONYM_KEY"}
    assert json.loads(kept.ran("status", "--json", **without).out)["columns"] is None
    refused = kept.ran("run", "--quiet", **without)
    assert (refused.exit_code, refused.err.count("\n")) == (2, 1), refused.err
    assert "PSEUDONYM_KEY is not set" in refused.err
    assert kept.ran("rewrite", **without).exit_code == 2
