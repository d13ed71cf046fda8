"""The tables beside `runs`: feedback and turns, each with its key, its partitions and what its rows belong to."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from annolake.errors import LakeError
from annolake.load.audit import verify
from annolake.load.lake import Lake
from annolake.load.merge.decide import Counts
from annolake.load.table.counts import read_counts
from load import model_queue
from load.faults import Gate, Killed
from load.kinds import bury, copy_lake, for_examples
from load.model_queue import FIRST_EXPORT, QUEUE, START, counts_file, folder_of, lake_at, rows
from load.model_tables import (
    CONTRACTS,
    Feedback,
    Row,
    Turn,
    changed,
    expected,
    export,
    files,
    land,
    run_id,
    stored,
    uuid,
    with_polars,
)
from rounds import rounds

DAY = timedelta(days=1)
FEEDBACK = [
    Feedback(number, run=number % 12, created_at=None if number % 17 == 16 else START + number % 4 * DAY)
    for number in range(60)
]
TURNS = [Turn(number % 5, item=number // 5, added_at=START + number // 20 * DAY) for number in range(40)]
TABLES: list[Sequence[Row]] = [FEEDBACK, TURNS]


@pytest.fixture(params=TABLES, ids=lambda some: some[0].table)
def some(request: pytest.FixtureRequest) -> Sequence[Row]:
    """Return rows of one of the tables."""
    found: Sequence[Row] = request.param
    return found


def test_a_first_export_stores_every_row_once_under_its_date(tmp_path: Path, some: Sequence[Row]) -> None:
    """Each row is in the partition of its table's own column; turns of two items may be one trace."""
    lake, table = lake_at(tmp_path), some[0].table

    done = export(lake, table, some)

    assert stored(lake, table) == {row.ids: expected(row, exported=1) for row in some}
    assert (done.counts, done.unchanged) == (Counts(inserted=len(some)), 0)
    assert list(verify(lake)) == []


def test_an_unchanged_table_changes_no_file(tmp_path: Path, some: Sequence[Row]) -> None:
    """Whatever order its rows are read in."""
    lake, table = lake_at(tmp_path), some[0].table
    export(lake, table, some)
    before = files(tmp_path, table)

    done = export(lake, table, reversed(some), number=2)

    assert files(tmp_path, table) == before
    assert (done.counts, done.unchanged, done.partitions) == (Counts(), len(some), 0)


def test_a_changed_row_rewrites_its_own_partition_alone(tmp_path: Path, some: Sequence[Row]) -> None:
    """A row that changes its date leaves the old one."""
    lake, table = lake_at(tmp_path), some[0].table
    export(lake, table, some)
    before = files(tmp_path, table)
    time = CONTRACTS[table].time
    after = [changed(some[0]), changed(some[1], **{time: START + 9 * DAY}), *some[2:]]

    done = export(lake, table, after, number=2)

    now = stored(lake, table)
    assert now == {row.ids: expected(row, exported=2 if place < 2 else 1) for place, row in enumerate(after)}
    assert done.counts == Counts(updated=2)
    assert sum(path not in files(tmp_path, table) for path in before) <= 2
    assert list(verify(lake)) == []


def test_both_engines_read_a_table_with_its_partitions_typed(tmp_path: Path) -> None:
    """`created_date` is a date; feedback without created_at has none."""
    lake = lake_at(tmp_path)
    export(lake, "feedback", FEEDBACK)

    frame = with_polars(lake, "feedback")
    with duckdb.connect() as connection:
        source = f"read_parquet('{tmp_path}/feedback/**/*.parquet', hive_partitioning = true)"
        days = connection.execute(f"select created_date, count(*) from {source} group by all order by all").fetchall()

    assert frame["created_date"].null_count() == 3
    assert frame.schema["created_date"] == pl.Date
    assert sum(count for _, count in days) == len(FEEDBACK)
    assert {day for day, _ in days} == {None, *(date(2026, 11, number) for number in range(1, 5))}


def test_rows_of_a_file_are_sorted_by_time_and_key(tmp_path: Path, some: Sequence[Row]) -> None:
    """And say so in the footer, for readers that make use of it."""
    lake, contract = lake_at(tmp_path), CONTRACTS[some[0].table]
    export(lake, contract.name, some, budget=1)

    for path in folder_of(lake, contract.name).glob("*/*"):
        with pq.ParquetFile(path) as file:
            ordered = [
                tuple(row[name] or START for name in (contract.time, *contract.key)) for row in file.read().to_pylist()
            ]
            order = [column.column_index for column in file.metadata.row_group(0).sorting_columns]
            names = [file.metadata.schema.column(place).path for place in order]
        assert ordered == sorted(ordered)
        assert names == [contract.time, *contract.key]


@pytest.mark.usefixtures("arrangement")
def test_a_row_goes_when_what_it_belongs_to_was_read_without_it(tmp_path: Path, some: Sequence[Row]) -> None:
    """Rows of what was not read stay as they are, and are no rows that were read."""
    lake, table = lake_at(tmp_path), some[0].table
    export(lake, table, some)
    owners = set().union(*(row.owners for row in some[:3]))
    mine = [row for row in some if row.owners & owners]

    done = export(lake, table, mine[1:], number=2, owners=owners)

    gone = mine[0].ids
    assert stored(lake, table) == {
        row.ids: expected(row, exported=2, removed=2) if row.ids == gone else expected(row, exported=1) for row in some
    }
    assert (done.counts, done.unchanged, done.missing) == (Counts(removed=1), len(mine) - 1, 1)


def test_what_missing_rows_belong_to_is_told_to_be_read_once_more(tmp_path: Path) -> None:
    """By the columns that name it, runs and threads apart; a removed row is not missed again."""
    lake = lake_at(tmp_path)
    on_thread = Feedback(100, run=None, thread_id="a thread, of any text")
    both = Feedback(101, run=3, thread_id="another")
    every = [*FEEDBACK, on_thread, both]
    export(lake, "feedback", every)
    left = [row for row in every if row.run not in {3, None} and row.number != 5]

    done = export(lake, "feedback", left, number=2)
    again = export(lake, "feedback", left, number=3)

    assert done.owners == {"run_id": sorted([run_id(3), run_id(5)]), "thread_id": ["a thread, of any text", "another"]}
    assert done.missing == done.counts.removed == len(every) - len(left)
    assert (again.owners, again.counts) == ({"run_id": [], "thread_id": []}, Counts())


@pytest.mark.usefixtures("arrangement")
def test_a_row_belongs_to_its_run_and_to_its_thread(tmp_path: Path) -> None:
    """It goes when either was read without it; one that belongs to nothing never goes by that."""
    lake = lake_at(tmp_path)
    every = [Feedback(1, run=1, thread_id="t"), Feedback(2, run=2), Feedback(3, run=None), Feedback(4, run=1)]
    export(lake, "feedback", every)

    by_thread = export(lake, "feedback", [], number=2, owners={"t"})
    nothing = export(lake, "feedback", [], number=3, owners=set())
    by_run = export(lake, "feedback", [], number=4, owners={run_id(1)})

    assert (by_thread.counts.removed, nothing.counts.removed, by_run.counts.removed) == (1, 0, 1)
    assert {row["id"] for row in stored(lake, "feedback").values() if row["removed_at"] is None} == {
        every[1].ids[0],
        every[2].ids[0],
    }


def test_a_table_without_rows_has_a_file_until_the_first_comes(tmp_path: Path, some: Sequence[Row]) -> None:
    """So that a scan of a new lake answers, with the table's columns and a typed date."""
    lake, contract = lake_at(tmp_path), CONTRACTS[some[0].table]

    export(lake, contract.name, [])
    frame = with_polars(lake, contract.name)
    again = export(lake, contract.name, [], number=2)
    export(lake, contract.name, some, number=3)

    assert (len(frame), again.partitions) == (0, 0)
    assert frame.columns == [*contract.schema.names, "queue_id", contract.partition]
    assert frame.schema[contract.partition] == pl.Date
    assert not (folder_of(lake, contract.name) / f"{contract.partition}=1970-01-01").exists()


def test_tables_of_a_queue_land_side_by_side(tmp_path: Path) -> None:
    """Their upserts are open at once, in one workspace, and each keeps the counts of its own files."""
    lake, queue = lake_at(tmp_path), rows(40)
    lake.prepare()
    with ExitStack() as closing:
        workspace = closing.enter_context(lake.workspace("one", since=FIRST_EXPORT))
        closing.enter_context(lake.lock(QUEUE, since=FIRST_EXPORT))
        runs, feedback, turns = (
            closing.enter_context(lake.upsert(QUEUE, workspace, now=FIRST_EXPORT, table=table, budget=1))
            for table in ("runs", "feedback", "turns")
        )
        model_queue.take(runs, queue[:20])
        land(feedback, FEEDBACK, owners=None)
        model_queue.take(runs, queue[20:])
        land(turns, TURNS, owners=None)
        list(runs.publish(remove_gone=True))

    assert (len(model_queue.stored(lake)), len(stored(lake, "feedback")), len(stored(lake, "turns"))) == (40, 60, 40)
    for table in ("runs", "feedback", "turns"):
        counts = read_counts(lake.files, counts_file(lake, table))
        assert set(counts) == {path.name for path in folder_of(lake, table).glob("*/*")}
        assert sum(number for number, _ in counts.values()) == (60 if table == "feedback" else 40)
    assert list(verify(lake)) == []


def test_a_lake_from_before_these_tables_is_read_as_it_is(tmp_path: Path) -> None:
    """It lacks their folders; the next export brings them, and touches no file of `runs`."""
    lake = lake_at(tmp_path)
    model_queue.export(lake, rows(20))
    before = files(tmp_path, "runs")

    assert not (tmp_path / "feedback").exists()
    assert (lake.queues(), list(verify(lake)), list(lake.rejected(QUEUE))) == ([QUEUE], [], [])
    export(lake, "feedback", FEEDBACK, number=2)
    assert len(stored(lake, "feedback")) == len(FEEDBACK)
    assert files(tmp_path, "runs") == before


def test_rejects_of_two_tables_with_one_name_do_not_meet(tmp_path: Path) -> None:
    """A feedback's id can be that of a row."""
    lake, name = lake_at(tmp_path), uuid("any")
    lake.prepare()
    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        kept = {table: lake.rejects(QUEUE, workspace, table) for table in ("runs", "feedback", "turns")}
        for table, rejects in kept.items():
            rejects.put(name, {"table": table})
        kept["turns"].remove(name)
        for rejects in kept.values():
            rejects.commit()
        found = list(lake.rejected(QUEUE))
        again = lake.rejects(QUEUE, workspace, "feedback")

    assert [(each.table, each.name, each.record) for each in found] == [
        ("runs", name, {"table": "runs"}),
        ("feedback", name, {"table": "feedback"}),
    ]
    assert (lake.rejects_known(QUEUE), lake.rejected_queues(), again.names) == (2, [QUEUE], [name])


def _in_a_folder_of_runs(lake: Lake) -> str:
    folder = folder_of(lake, "feedback")
    (folder / "created_date=2026-11-01").rename(folder / "added_date=2026-11-01")
    return "only created_date=... belongs there"


def _under_another_date(lake: Lake) -> str:
    folder = folder_of(lake, "feedback")
    (folder / "created_date=2026-11-01").rename(folder / "created_date=2026-12-01")
    return "it has a row of another date"


def _cut_off(lake: Lake) -> str:
    path = next(folder_of(lake, "feedback").glob("*/*"))
    path.write_bytes(path.read_bytes()[:-1])
    return "it is damaged"


def _wrong_count(lake: Lake) -> str:
    path = counts_file(lake, "feedback")
    path.write_text(path.read_text().replace("[1", "[9", 1))
    return "it is wrong about part-"


def _foreign(lake: Lake) -> str:
    (folder_of(lake, "feedback") / "created_date=2026-11-01" / "notes.txt").touch()
    return "only part-*.parquet belongs there"


@pytest.mark.parametrize("harm", [_in_a_folder_of_runs, _under_another_date, _cut_off, _wrong_count, _foreign])
def test_verify_looks_at_each_table(tmp_path: Path, harm: Callable[[Lake], str]) -> None:
    """With the table's own partition column, and its own counts."""
    lake = lake_at(tmp_path)
    export(lake, "feedback", FEEDBACK)

    what = harm(lake)

    assert any(what in finding.what for finding in verify(lake))


def test_any_kill_is_healed_by_the_next_export(tmp_path: Path, arrangement: str) -> None:
    """At each step of an export of feedback: no row is ever missing, and nothing is left behind."""
    before = FEEDBACK[:20]
    after = [changed(before[0]), changed(before[1], created_at=START + 9 * DAY), *before[3:], Feedback(99, run=2)]
    export(lake_at(tmp_path / "before"), "feedback", before)
    copy_lake(tmp_path / "before", tmp_path / "count")
    gate = Gate()
    export(lake_at(tmp_path / "count", gate=gate), "feedback", after, number=2)

    for step in range(0, len(gate.steps), rounds({"disk-parquet": 2, "disk-delta": 7}.get(arrangement, 40), many=1)):
        root = tmp_path / str(step)
        copy_lake(tmp_path / "before", root)
        with suppress(LakeError, Killed):
            export(lake_at(root, gate=Gate("kill", step)), "feedback", after, number=2)
        bury(lake_at(root), QUEUE)
        between = set(with_polars(lake_at(root), "feedback")["id"])
        export(lake_at(root), "feedback", after, number=3)

        now = stored(lake_at(root), "feedback")
        assert between >= {row.ids[0] for row in before}, step
        assert {key: row["comment"] for key, row in now.items() if row["removed_at"] is None} == {
            row.ids: row.values()["comment"] for row in after
        }, step
        assert now[before[2].ids]["removed_at"] is not None, step
        assert list(verify(lake_at(root))) == [], step


STEPS = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 12), st.integers(0, 2), max_size=10),  # the feedback that is there
        st.sets(st.integers(0, 3)),  # the runs that are read
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.usefixtures("arrangement")
def test_after_any_exports_the_lake_has_what_a_dictionary_would(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each export reads some runs whole: their rows come, change and go, all others stay as they were."""

    def check(steps: list[tuple[dict[int, int], set[int]]]) -> None:
        lake = lake_at(tmp_path_factory.mktemp("lake"))
        told: dict[int, tuple[Feedback, bool]] = {}
        for number, (there, runs) in enumerate(steps, 1):
            read = [
                Feedback(each, run=each % 4, created_at=START + (each + version) % 3 * DAY, version=version)
                for each, version in there.items()
                if each % 4 in runs
            ]
            export(lake, "feedback", read, number=number, owners=[run_id(run) for run in runs])
            told |= {each: (row, True) for each, (row, _) in told.items() if each % 4 in runs}
            told |= {row.number: (row, False) for row in read}

        now = stored(lake, "feedback")
        assert {key: (row["comment"], row["removed_at"] is not None) for key, row in now.items()} == {
            row.ids: (row.values()["comment"], removed) for row, removed in told.values()
        }

    for_examples(STEPS, check, few=30)
