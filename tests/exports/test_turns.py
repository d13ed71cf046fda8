"""The turns of THREAD items, in the table `turns`: as the service has them, at an item's change, and told where not."""

import json
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from annolake.endpoint_export import EndpointExport
from annolake.errors import LakeError
from annolake.proof_keeper import ProofKeeper
from annolake.report import QueueReport
from annolake.sandbox import Faults, Population, Row, Rules, Sandbox, Turn
from annolake.sandbox.answers import Answer, Asked, json_answer
from annolake.sources.turns import MOST_TURNED_AWAY
from exporting import annolake, export_once, one_queue, with_polars, write_config
from hostile import Hostile, Wire
from load.faults import Killed

ITEMS: dict[str, Any] = {"source.endpoint": "items"}
POPULATION = Population(rows=30, days=4, threads=14)
JSON = ("inputs", "outputs", "unmapped")
DETAILS = ("prompt_token_details", "completion_token_details", "prompt_cost_details", "completion_cost_details")
SAME = (
    *("trace_id", "thread_id", "inputs", "outputs", "inputs_preview", "outputs_preview", "error"),
    *("total_tokens", "prompt_tokens", "completion_tokens", "total_cost", "prompt_cost", "completion_cost"),
)
BESIDE = {"op", "name", "latency", "first_token_time", "error_preview"}
"""What a turn of the sandbox has that is not asked for."""


@dataclass
class Exports:
    """A sandbox, and the exports of it into the lake of a folder."""

    sandbox: Sandbox
    folder: Path

    def export(self, **settings: Any) -> QueueReport:
        """Export over items."""
        named = {name.replace("__", "."): value for name, value in settings.items() if name != "mode"}
        return one_queue(export_once(self.sandbox, self.folder, ITEMS | named, mode=settings.get("mode", "full")))

    def run(self, *options: str) -> tuple[int, str, dict[str, Any]]:
        """Run the command over items; return its exit code, its messages, and the queue's part of the report."""
        config = write_config(self.folder, self.sandbox, ITEMS)
        done = annolake("run", "--config", config, "--json", *options, key=self.sandbox.api_key, cwd=self.folder)
        return done.exit_code, done.err, done.report["queues"][0]

    def asked(self, export: Callable[[], Any]) -> int:
        """Export, and return how many requests for turns that took."""
        before = len(self.sandbox.requests)
        export()
        return sum(record.endpoint == "traces" for record in self.sandbox.requests[before:])

    @property
    def threads(self) -> list[Row]:
        """The THREAD items, those with the most turns first."""
        queue = self.sandbox.queue()
        rows = [*queue.threads("active"), *queue.threads("archived")]
        return sorted(rows, key=lambda row: -len(self.turns(row)))

    def turns(self, row: Row) -> list[Turn]:
        """The turns of a THREAD item as the service has them."""
        return self.sandbox.threads.turns(row.value()["thread_id"])

    @property
    def stored(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The rows of the table by item and trace, the same as both engines read them."""
        path = self.folder / "lake" / "turns"
        rows = pl.scan_parquet(path, hive_partitioning=True).collect().to_dicts()
        with duckdb.connect() as connection:
            connection.execute(f"SELECT trace_id, turn_number FROM '{path}/**/*.parquet' ORDER BY ALL")
            again = connection.fetchall()
        assert sorted((row["trace_id"], row["turn_number"]) for row in rows) == again
        found = {(row["queue_run_id"], row["trace_id"]): row for row in rows}
        assert len(found) == len(rows), "a turn is there twice"
        return found

    @property
    def live(self) -> set[tuple[str, str]]:
        """The keys of the turns that are not marked removed."""
        return {key for key, row in self.stored.items() if row["removed_at"] is None}

    @property
    def held(self) -> dict[tuple[str, str], tuple[int, Row, Turn]]:
        """What the service has: each turn with its number and its item, by item and trace."""
        return {
            (row.id, turn.trace_id): (number, row, turn)
            for row in self.threads
            for number, turn in enumerate(self.turns(row), 1)
        }

    @property
    def files(self) -> dict[Path, tuple[int, int]]:
        """Inode and time of change of every file of the lake's tables."""
        lake = self.folder / "lake"
        paths = [path for path in lake.rglob("*.parquet") if "_annolake" not in path.parts]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}

    def assert_equal(self) -> None:
        """Check every field of every turn against what the service has."""
        stored, held = self.stored, self.held
        assert self.live == held.keys()
        for key, (number, row, turn) in held.items():
            assert_turn(stored[key], number, row, turn)


def assert_turn(stored: dict[str, Any], number: int, row: Row, turn: Turn) -> None:
    """Check one row of the lake against the turn as sent."""
    sent = turn.value()
    read = {name: None if stored[name] is None else json.loads(stored[name], parse_float=Decimal) for name in JSON}
    stored = stored | read
    amounts = ("total_cost", "prompt_cost", "completion_cost")
    assert {name: stored[name] for name in SAME} == {
        name: Decimal(sent[name]) if name in amounts and sent.get(name) is not None else sent.get(name) for name in SAME
    }
    for name in DETAILS:
        assert _as_dict(stored[name]) == (sent.get(name) or {}).get("raw")
    for name in ("start_time", "end_time"):
        assert stored[name] == (datetime.fromisoformat(sent[name]) if sent.get(name) else None)
    added = datetime.fromisoformat(row.value()["added_at"])
    assert (stored["turn_number"], stored["added_at"], stored["added_date"]) == (number, added, added.date())
    known = {*SAME, *DETAILS, *BESIDE, "start_time", "end_time", "turn_number"}
    assert (stored["unmapped"] or {}) == {name: value for name, value in sent.items() if name not in known}


def _as_dict(value: Any) -> dict[str, Any] | None:
    return value if value is None or isinstance(value, dict) else {one["key"]: one["value"] for one in value}


@contextmanager
def exports(folder: Path, population: Population = POPULATION, **options: Any) -> Iterator[Exports]:
    """Start a sandbox with a lake to export it into."""
    with Sandbox(population, **options) as sandbox:
        yield Exports(sandbox, folder)


# --- what arrives


def test_every_field_of_every_turn_arrives(tmp_path: Path) -> None:
    """Threads of 1 to more than 100 turns, ids with slashes and question marks, nulls and odd texts."""
    with exports(tmp_path) as there:
        there.sandbox.threads.edit(there.turns(there.threads[0])[3], x_new={"a": [1.10, None]}, total_cost=None)
        report = there.export()

        assert len(there.turns(there.threads[0])) > 100
        there.assert_equal()
    turns = report.turns
    assert (report.exit_code, turns.status, turns.complete) == (0, "ok", True)
    assert (turns.rows, turns.inserted, turns.updated, turns.unchanged) == (len(there.held), len(there.held), 0, 0)


def test_an_unchanged_queue_costs_no_request_and_no_file(tmp_path: Path) -> None:
    """Turns are read when their item is new or changed; until then the lake has them."""
    with exports(tmp_path) as there:
        there.export()
        before = there.files
        asked = there.asked(there.export)
        asked_new = there.asked(lambda: there.export(mode="new"))

        assert (asked, asked_new) == (0, 0)
        assert there.files == before


def test_one_request_reads_a_thread_of_a_page_and_two_readings_one_of_more(tmp_path: Path) -> None:
    """A page that is all of a thread shows one moment; over several, two readings must agree."""
    with exports(tmp_path, Population(rows=3, days=4, threads=30, odd=False)) as there:
        pages = [-(-len(there.turns(row)) // 100) for row in there.threads]
        asked = there.asked(lambda: there.export(source__concurrency=1))

    assert max(pages) == 2
    assert (
        sum(pages) <= asked <= sum(count if count == 1 else 2 * count for count in pages) + 6
    )  # the first page has 20


def test_a_thread_that_grows_is_read_at_its_item_s_change(tmp_path: Path) -> None:
    """New, edited and renumbered turns; the turns of other items stay as they were, and so do their files."""
    with exports(tmp_path) as there:
        there.export()
        row, other = there.threads[:2]
        new = there.sandbox.threads.add(row.value()["thread_id"])
        there.sandbox.threads.edit(there.turns(row)[0], inputs={"asked": "anew"})
        there.sandbox.threads.add(other.value()["thread_id"])
        there.sandbox.queue().review(row.id)
        before = there.stored
        report = there.export().turns
        after = there.stored

    assert (report.inserted, report.updated, report.unchanged) == (1, 1, len(there.turns(row)) - 2)
    assert (row.id, new.trace_id) in after
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {(row.id, there.turns(row)[0].trace_id)}
    assert all(key[0] == row.id for key in after.keys() - before.keys())


def test_a_refresh_reads_every_thread_again(tmp_path: Path) -> None:
    """What grew while its item stayed as it was is found then."""
    with exports(tmp_path) as there:
        there.run()
        there.sandbox.threads.add(there.threads[2].value()["thread_id"])
        there.run()
        between = len(there.live)
        exit_code, _, report = there.run("--refresh")

        assert between == len(there.held) - 1
        assert (exit_code, report["turns"]["inserted"]) == (0, 1)
        there.assert_equal()


def test_turns_move_with_their_item_to_another_day(tmp_path: Path) -> None:
    """A turn is in the partition of its item's `added_at`, once."""
    with exports(tmp_path) as there:
        there.export()
        there.sandbox.queue().edit(there.threads[0].id, added_at="2026-11-02T03:04:05Z")
        report = there.export()

        there.assert_equal()
    moved = {row["added_date"] for key, row in there.stored.items() if key[0] == there.threads[0].id}
    assert (report.exit_code, moved) == (0, {datetime(2026, 11, 2, tzinfo=UTC).date()})


def test_a_queue_of_runs_alone_has_no_table(tmp_path: Path) -> None:
    """Nothing is asked, nothing is written, and all is well; over runs threads are not shown at all."""
    with exports(tmp_path, Population(rows=10, days=4, odd=False)) as there:
        asked = there.asked(there.export)
        report = there.export()
        over_runs = one_queue(export_once(there.sandbox, tmp_path)).turns

    assert (asked, report.turns.status, report.turns.complete) == (0, "ok", True)
    assert over_runs.status == "unread"
    assert not (tmp_path / "lake" / "turns").exists()


def test_threads_can_be_left_out_and_asked_for_later(tmp_path: Path) -> None:
    """With source.threads = false none is asked for; once it is true those of all items are, changed or not."""
    with exports(tmp_path) as there:
        first = there.export()
        left_out = there.export(source__threads=False)
        there.sandbox.threads.add(there.threads[0].value()["thread_id"])
        asked = there.asked(lambda: there.export(source__threads=False))
        again = there.export()

        assert (first.turns.status, left_out.turns.status, asked) == ("ok", "off", 0)
        assert (left_out.exit_code, again.exit_code, again.turns.inserted) == (0, 0, 1)
        there.assert_equal()


# --- what is gone


def test_a_deleted_turn_is_marked_after_a_second_reading(tmp_path: Path) -> None:
    """Its thread was read whole again, twice, without it; those behind it have other numbers."""
    with exports(tmp_path) as there:
        there.export()
        row = there.threads[3]
        gone = there.turns(row)[1]
        there.sandbox.threads.delete(gone)
        there.sandbox.queue().review(row.id)
        asked = there.asked(there.export)
        report = there.export()

        there.assert_equal()
        assert there.stored[row.id, gone.trace_id]["removed_at"] is not None
    assert asked >= 2
    assert (report.exit_code, report.turns.removed) == (0, 0)


def test_a_turn_that_comes_back_is_there_again(tmp_path: Path) -> None:
    """`removed_at` is null once its thread shows it."""
    with exports(tmp_path) as there:
        there.export()
        row = there.threads[3]
        gone, rest = there.turns(row)[1], there.sandbox.threads
        rest.delete(gone)
        there.sandbox.queue().review(row.id)
        removed = there.export().turns.removed
        rest._turns[gone.thread_id].append(gone)
        there.sandbox.queue().review(row.id, 1)
        there.export()

        assert removed == 1
        there.assert_equal()


def test_the_turns_of_an_expired_thread_stay(tmp_path: Path) -> None:
    """A thread that shows nothing, or that the service does not know any more, says nothing of what the lake has."""
    with exports(tmp_path) as there:
        there.export()
        empty, unknown = there.threads[0], there.threads[1]
        before = there.live
        for turn in there.turns(empty):
            there.sandbox.threads.delete(turn)
        there.sandbox.threads.forget(unknown.value()["thread_id"])
        for row in (empty, unknown):
            there.sandbox.queue().review(row.id)
        report = there.export()

        assert there.live == before
    assert (report.exit_code, report.turns.status, report.turns.removed) == (0, "ok", 0)


def test_many_turns_at_once_are_marked_only_when_that_is_accepted(tmp_path: Path) -> None:
    """More than 20 and more than a fifth: exit code 3 and a sentence, until --accept-removals."""
    with exports(tmp_path, Population(rows=3, threads=3, odd=False), seed=4) as there:
        there.run()
        row = there.threads[0]
        for turn in there.turns(row)[1:]:
            there.sandbox.threads.delete(turn)
        there.sandbox.queue().review(row.id)
        before = there.live
        exit_code, messages, report = there.run()
        held_back = there.live
        accepted, _, report_accepted = there.run("--accept-removals")

        gone = len(before) - len(there.held)
        assert gone > 20
        assert (exit_code, report["turns"]["status"], report["turns"]["removed_unconfirmed"]) == (3, "partial", gone)
        assert "--accept-removals" in messages
        assert held_back == before
        assert (accepted, report_accepted["turns"]["removed"]) == (0, gone)
        there.assert_equal()


# --- what goes wrong


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        (Rules(threads_status=404), 404),
        (Rules(threads_status=501), 501),
        (Rules(threads_status=422), 422),
        (Rules(threads_status=401), 401),
        (Rules(threads_status=410), 410),
        (Rules(forbid=("traces",)), 403),
    ],
)
def test_a_server_without_threads_is_told_once_and_the_items_stay(rules: Rules, status: int, tmp_path: Path) -> None:
    """One warning, "refused" in the report, the exit code of the rows; an update of the server brings the turns."""
    with exports(tmp_path, Population(rows=30, days=4, threads=40), rules=rules) as there:
        exit_code, messages, report = there.run()
        items = {row.id for row in there.threads}
        asked = there.asked(there.export)
    with exports(tmp_path, Population(rows=30, days=4, threads=40)) as there:
        again = there.export()

        there.assert_equal()
    rows = with_polars(tmp_path / "lake")
    assert (exit_code, report["status"], report["complete"]) == (0, "ok", True)
    assert (report["turns"]["status"], report["turns"]["complete"]) == ("refused", False)
    assert messages.count("turns_refused") == 1
    assert f"({status})" in report["turns"]["because"][0]
    assert {key for key, row in rows.items() if row["item_type"] == "THREAD"} == items
    assert asked <= 30
    assert (again.exit_code, again.turns.status) == (0, "ok")


def export_refusing(there: Exports, status: int, places: Container[int]) -> tuple[QueueReport, list[str]]:
    """Export from a service that refuses threads by when they are first asked for; return all these paths as well."""
    paths: list[str] = []

    def behave(_wire: Wire, asked: Asked, answer: Answer) -> Answer:
        if not asked.path.endswith("/traces"):
            return answer
        paths.extend([asked.path] if asked.path not in paths else [])
        return json_answer({"detail": "no"}, status=status) if paths.index(asked.path) in places else answer

    with Hostile(there.sandbox, behave) as hostile:
        report = one_queue(export_once(hostile, there.folder, ITEMS | {"source.concurrency": 1}))
    return report, paths


@pytest.mark.parametrize(
    ("status", "place"), [(403, 0), (403, 1), (403, 13), (401, 0), (401, 5), (410, 0), (410, 5), (501, 0), (501, 5)]
)
def test_a_thread_that_is_refused_costs_its_own_turns_alone(status: int, place: int, tmp_path: Path) -> None:
    """Exit code 3, be it the first that is asked for or the last; the next export that can reads it."""
    with exports(tmp_path) as there:
        report, paths = export_refusing(there, status, {place})
        missing = {item for item, _ in there.held} - {item for item, _ in there.live}
        again = there.export()

        there.assert_equal()
        refused = {row.id for row in there.threads if f"/{row.value()['thread_id']}/" in paths[place]}
    assert (report.exit_code, report.turns.status, report.turns.complete) == (3, "partial", False)
    assert "1 thread could not be read, the last because: 127.0.0.1" in report.turns.because[0]
    assert missing == refused
    assert (again.exit_code, again.turns.status) == (0, "ok")


@pytest.mark.parametrize(("status", "answered", "told"), [(403, 2, 58), (404, 0, 39)])
def test_once_many_threads_were_turned_away_the_others_are_told_as_unread(
    status: int, answered: int, told: int, tmp_path: Path
) -> None:
    """20 more than were answered; threads that are not there say nothing where none was answered before them."""
    with exports(tmp_path, Population(rows=5, days=4, threads=60)) as there:
        away = range(answered, 60) if answered else range(MOST_TURNED_AWAY)
        report, paths = export_refusing(there, status, away)
    assert (report.exit_code, report.turns.status) == (3, "partial")
    assert f"{told} threads could not be read, the last because: 127.0.0.1" in report.turns.because[0]
    assert len(paths) <= 30


@pytest.mark.parametrize("kinds", [("500",), ("502",), ("html",), ("drop",)])
def test_threads_that_stay_away_are_partial_and_read_by_the_next_export(kinds: Any, tmp_path: Path) -> None:
    """Exit code 3 with a sentence, the rows are as ever; the next export reads them although no item has changed."""
    faults = Faults(rate=1, kinds=kinds, endpoints=("traces",))
    with exports(tmp_path, faults=faults) as there:
        report = there.export(retry__max_attempts=2)
    with exports(tmp_path) as there:
        again = there.export()

        there.assert_equal()
    assert (report.exit_code, report.status, report.complete) == (3, "partial", True)
    assert (report.turns.status, report.turns.rows) == ("partial", 0)
    assert "threads could not be read, the last because: 127.0.0.1" in report.turns.because[0]
    assert again.exit_code == 0


def test_faults_in_passing_lose_nothing(tmp_path: Path) -> None:
    """A third of the requests for turns fail in one way or another."""
    with exports(tmp_path, faults=Faults(rate=0.33, endpoints=("traces",))) as there:
        report = there.export()

        there.assert_equal()
    assert (report.exit_code, report.turns.status) == (0, "ok")


def test_a_turn_that_breaks_the_contract_is_set_aside(tmp_path: Path) -> None:
    """Its thread's other turns go through; exit code 3 once; accepted later, it leaves the rejects."""
    with exports(tmp_path, Population(rows=5, days=4, threads=8, odd=False)) as there:
        row = there.threads[1]
        broken = there.turns(row)[2]
        there.sandbox.threads.edit(broken, total_tokens="many")
        first, second = there.export(), there.export()
        asked = there.asked(there.export)
        without = there.live
        there.sandbox.threads.edit(broken, total_tokens=4)
        there.sandbox.queue().review(row.id)
        third = there.export()

        assert (first.exit_code, first.turns.rejected, first.turns.rejected_new, asked) == (3, 1, 1, 0)
        assert (second.exit_code, second.rejects_known) == (0, 1)
        assert without == there.held.keys() - {(row.id, broken.trace_id)}
        assert (third.exit_code, third.rejects_known, third.turns.inserted) == (0, 0, 1)
        there.assert_equal()


def test_a_rejected_turn_is_not_a_removed_one(tmp_path: Path) -> None:
    """A stored turn that the service sends broken stays as it was."""
    with exports(tmp_path, Population(rows=5, days=4, threads=8, odd=False)) as there:
        there.export()
        row = there.threads[1]
        before = there.stored
        there.sandbox.threads.edit(there.turns(row)[2], total_tokens="many")
        there.sandbox.queue().review(row.id)
        report = there.export()

        assert (report.turns.rejected, report.turns.removed) == (1, 0)
        assert there.stored == before


def test_heavy_turns_are_asked_for_in_smaller_pages(tmp_path: Path) -> None:
    """Twenty turns of 150 kB, and answers of at most 1 MB: all arrive."""
    with exports(tmp_path, Population(rows=3, days=4, threads=8, odd=False)) as there:
        row = there.threads[1]
        for turn in there.turns(row)[:20]:
            there.sandbox.threads.edit(turn, inputs={"text": "x" * 150_000})
        report = there.export(source__max_response_mb=1)

        there.assert_equal()
    assert (report.exit_code, report.turns.status) == (0, "ok")


def test_a_single_turn_that_is_too_heavy_is_told(tmp_path: Path) -> None:
    """Its thread is not read whole: partial, and the others are there."""
    with exports(tmp_path, Population(rows=3, days=4, threads=8, odd=False)) as there:
        row = there.threads[1]
        there.sandbox.threads.edit(there.turns(row)[0], inputs={"text": "x" * 1_500_000})
        report = there.export(source__max_response_mb=1)

        assert {key[0] for key in there.live} == {other.id for other in there.threads} - {row.id}
    assert (report.exit_code, report.turns.status) == (3, "partial")
    assert "1 thread could not be read" in report.turns.because[0]
    assert "source.max_response_mb" in report.turns.because[0]


# --- killed in between


def test_a_failure_before_the_rows_are_published_is_healed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The turns are there already; the items are new for the next export, which changes none of their turns' files."""

    def fail(*_: Any, **__: Any) -> None:
        raise LakeError("the disk is full")

    with exports(tmp_path) as there:
        with monkeypatch.context() as patched:
            patched.setattr(EndpointExport, "_publish", fail)
            failed = there.export()
        there.assert_equal()
        before = {path: facts for path, facts in there.files.items() if "turns" in path.parts}
        again = there.export()

        there.assert_equal()
        after = {path: facts for path, facts in there.files.items() if "turns" in path.parts}
    assert (failed.exit_code, again.exit_code) == (5, 0)
    assert after == before
    assert len(with_polars(tmp_path / "lake")) == 44


def test_turns_that_an_export_missed_before_it_was_killed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows published, turns not read, killed before that was noted last: it was noted first."""

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    with exports(tmp_path) as there:
        there.export()
        row = there.threads[0]
        there.sandbox.threads.add(row.value()["thread_id"])
        there.sandbox.queue().review(row.id)
        there.sandbox._service._rules = Rules(threads_status=501)
        with monkeypatch.context() as patched, suppress(Killed):
            patched.setattr(ProofKeeper, "settle", kill)
            there.export()
        there.sandbox._service._rules = Rules()
        there.export()

        there.assert_equal()


def test_a_lake_without_its_turns_reads_them_again(tmp_path: Path) -> None:
    """Whoever deletes the table gets it back with the next export."""
    with exports(tmp_path) as there:
        there.export()
        for path in sorted((tmp_path / "lake" / "turns").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        there.export()

        there.assert_equal()
