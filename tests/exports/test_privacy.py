"""What [columns] leaves out is nowhere: not in the lake, not in scratch, a reject, a report or a log."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from annolake import contract
from annolake.sandbox import Population, Sandbox
from annolake.sandbox.answers import Answer, Asked
from exporting import KEY_VARIABLE, Ran, annolake, export_once, export_rows, files_of, write_config
from hostile import Hostile, Wire
from privacy import EXCLUDED, GHOST, KEY_ENV, MARK, PRIVATE, everything_below, marked, met_in, people_of, spilling


@dataclass
class Private:
    """A lake that was exported twice under [columns], and all that was seen of it."""

    lake: Path
    first: Ran
    again: Ran
    files: Any
    files_again: Any
    told: str
    spilt: list[str]
    people: set[str]

    def table(self, name: str) -> pl.DataFrame:
        """Return a table as polars reads it."""
        return pl.read_parquet(self.lake / name / "**/*.parquet", hive_partitioning=True)


@pytest.fixture(scope="module", params=["runs", "items"])
def private(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    """Export marked rows over an endpoint, with rejects, and an unchanged queue once more."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patching:
        sandbox = Sandbox(Population(rows=80, threads=6, days=3), seed=9)
        queue = sandbox.queue()
        for row, broken in zip(queue.rows("active")[:2], ({"name": 7}, {"tags": 7}), strict=True):
            queue.set_text(row.id, json.dumps({**json.loads(row.text), **broken}).encode())
        said = next(said for said in sandbox.feedback.of_queue(queue) if b"user_name" in said.text)
        sandbox.feedback.edit(said, score="much")
        people = people_of(sandbox)
        with Hostile(sandbox, marked) as service:
            settings = {**PRIVATE, "source.endpoint": request.param, "lake.scratch": str(folder / "scratch")}
            path = write_config(folder, service, settings)
            environ = {**KEY_ENV, KEY_VARIABLE: service.api_key}
            with spilling(patching, folder) as spilt:
                first = annolake("run", "--json", "--config", path, cwd=folder, environ=environ)
            files = files_of(folder / "lake")
            again = annolake("run", "--json", "--config", path, cwd=folder, environ=environ)
            told = everything_below(folder) + first.out + first.err + again.out + again.err
            told += annolake("rejects", "--json", "--config", path, cwd=folder, environ=environ).out
        yield Private(folder / "lake", first, again, files, files_of(folder / "lake"), told, spilt, people)


def test_what_is_left_out_is_nowhere(private: Private) -> None:
    """Every byte and every cell below the folder, logs and reports: neither a mark nor a person."""
    config = (private.lake.parent / "annolake.toml").read_text()
    assert private.first.exit_code == 3, private.first.err
    assert private.first.report["queues"][0]["rejected_new"] == 2
    assert len(private.people) > 12
    assert met_in(config, [MARK, *private.people]) == []
    assert met_in(private.told, [MARK, *private.people]) == []


def test_nothing_of_it_is_spilt(private: Private) -> None:
    """Columns are emptied before rows are put on disk, in whatever is unfinished there."""
    spilt = "\n".join(private.spilt)
    assert "pn_" in spilt
    assert len(spilt) > 50_000
    assert "spill.arrow" in spilt
    assert met_in(spilt, [MARK, *private.people]) == []


def test_a_column_left_out_is_null_and_what_repeats_it(private: Private) -> None:
    """Previews, messages, plain values and unmapped fields go with it; model and count stay."""
    runs, feedback = private.table("runs"), private.table("feedback")
    gone = [name for name in EXCLUDED if "." not in name] + [
        "inputs_preview",
        "outputs_preview",
        "messages",
        "unmapped",
    ]
    assert runs.select(gone).null_count().row(0) == (len(runs),) * len(gone)
    assert feedback.select("comment", "value", "value_text", "user_name", "unmapped").drop_nulls().is_empty()
    assert (runs["model"] == "gpt-4.1").sum() > 40
    assert runs["completed_count"].min() == 1
    assert feedback["score"].drop_nulls().len() > 10
    assert private.table("queues")["description"].to_list() == [None]
    turns = private.table("turns") if (private.lake / "turns").exists() else None
    assert turns is None or (len(turns) > 6 and turns["inputs"].is_null().all() and turns["total_tokens"].sum() > 0)


def test_pseudonyms_join_across_tables(private: Private) -> None:
    """The same id has the same pseudonym in rows, feedback and the queue; who reviewed is still known."""
    runs, feedback, queues = (private.table(name) for name in ("runs", "feedback", "queues"))
    completed = set(runs["completed_by"].explode().drop_nulls())
    authors = set(feedback["user_id"].drop_nulls()) | set(feedback["ls_user_id"].drop_nulls())
    reviewers = {person["id"] for person in queues["assigned_reviewers"].explode().drop_nulls()}
    assert all(one.startswith("pn_") for one in completed | authors | reviewers)
    assert len(completed & authors) > 1
    assert len(completed & reviewers) > 1
    assert {person["name"] for person in queues["assigned_reviewers"].explode()} == {None}
    known = feedback.join(runs.select("id", "completed_by"), left_on="run_id", right_on="id")
    for row in known.filter(pl.col("by_reviewer")).to_dicts():
        assert {row["user_id"], row["ls_user_id"]} & set(row["completed_by"])
    assert known["by_reviewer"].sum() > 5


def test_values_that_are_left_out_change_no_row(private: Private) -> None:
    """An export of an unchanged queue writes nothing; settings that did not change are not told."""
    queue = private.again.report["queues"][0]
    assert (queue["updated"], queue["inserted"], queue["feedback"]["updated"], queue["turns"]["updated"]) == (0,) * 4
    assert private.files_again == private.files
    assert "columns_changed" not in private.first.err + private.again.err


def test_rejects_keep_what_may_be_kept(private: Private) -> None:
    """A reject still tells which row it is of, and what did not fit."""
    texts = [json.loads(path.read_text()) for path in (private.lake / "_annolake/rejected").rglob("*.json")]
    assert {record["table"] for record in texts} == {"runs", "feedback"}
    assert all(record["row"].startswith("{") for record in texts)
    assert GHOST not in json.dumps(texts)
    (feedback,) = (json.loads(record["row"]) for record in texts if record["table"] == "feedback")
    assert feedback["score"] == "much"
    assert feedback["feedback_source"]["user_id"] is None or feedback["feedback_source"]["user_id"].startswith("pn_")


def test_values_that_stay_as_they_are_stored_are_left_out_too(tmp_path: Path) -> None:
    """Over items, columns that only the runs endpoint sends keep their stored values, but for those left out."""
    with Sandbox(Population(rows=30, days=2), seed=9) as sandbox:
        export_rows(sandbox, tmp_path, {"source.endpoint": "runs"})
        stored = pl.read_parquet(tmp_path / "lake/runs/**/*.parquet", hive_partitioning=True)
        alone = [c.name for c in contract.RUNS.columns_of("field") if c.runs and not c.items]
        there = [name for name in alone if stored[name].null_count() < stored.height]
        gone, stays = there[::2], there[1::2]
        export_rows(sandbox, tmp_path, {"source.endpoint": "items", "columns.exclude": gone})
    after = pl.read_parquet(tmp_path / "lake/runs/**/*.parquet", hive_partitioning=True)
    assert min(len(gone), len(stays)) > 1
    assert [name for name in gone if after[name].null_count() < after.height] == []
    assert [name for name in stays if after[name].null_count() == after.height] == []


def test_what_is_left_out_is_not_asked_for_over_items(tmp_path: Path) -> None:
    """Neither of runs nor of turns; of `extra` only where its model is left out too."""
    asked: set[str] = set()

    def listen(_wire: Wire, question: Asked, answer: Answer) -> Answer:
        sent = json.loads(question.body) if question.path.endswith("/query") else question.query
        asked.update(f"{question.path[-6:]} {name}" for name in sent.get("selects", ()))
        return answer

    with Hostile(Sandbox(Population(rows=12, threads=2, days=2), seed=9), listen) as service:
        for extra in (["extra"], ["extra", "model", "provider"]):
            asked.clear()
            left_out = ["inputs", "feedback_stats", "turns.outputs", *extra]
            settings = {"source.endpoint": "items", "columns.exclude": left_out, "source.feedback": False}
            export_once(service, tmp_path, settings)
            assert {"/query OUTPUTS", "/query ID", "traces INPUTS"} < asked
            assert ("/query EXTRA" in asked) is (extra == ["extra"])
            gone = {"/query INPUTS", "/query INPUTS_PREVIEW", "/query FEEDBACK_STATS", "traces OUTPUTS"}
            assert gone.isdisjoint(asked)
