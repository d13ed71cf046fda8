"""What earlier exports proved: how it adds up, and what becomes of a file that cannot be understood."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from annolake.load.proofs import (
    FullExport,
    NewExports,
    Proofs,
    RunsRead,
    TableTerms,
    Terms,
    proofs_of,
    read_proofs,
    write_proofs,
)
from annolake.load.records import PastExport
from annolake.load.storage.local import LocalFiles
from load.model_queue import workspace_in

NOW = datetime(2026, 12, 9, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FEEDBACK = TableTerms(archived=True, schema_version=1, rows=5)
TERMS = Terms(include_stats=True, subtree_usage=True, schema_version=2)


def past(hours_ago: int, **entry: Any) -> PastExport:
    """Return a complete full export that began so long ago, or one that differs."""
    facts = {
        "queue_id": "q",
        "mode": "full",
        "complete": True,
        "endpoint": "runs",
        "rows_seen": 5,
        "orders": {"active": "added_at asc"},
    }
    return PastExport({"export_id": f"e{hours_ago}"}, facts | entry, NOW - hours_ago * HOUR)


def full(hours_ago: int, **facts: Any) -> FullExport:
    """Return what is proved by such an export."""
    begun = NOW - hours_ago * HOUR
    orders = {"active": "added_at asc"}
    return FullExport(export_id=f"e{hours_ago}", started_at=begun, endpoint="runs", rows_seen=5, orders=orders, **facts)


def test_new_only_exports_add_to_the_last_full_one() -> None:
    """The latest start and the newest row of all of them; a full export begins anew."""
    new = [past(hours, mode="new", newest_added_at=(NOW - ago * HOUR).isoformat()) for hours, ago in ((4, 5), (6, 3))]
    other = past(2, queue_id="r", newest_added_at="2098-01-01T00:00:00Z")
    found = proofs_of([new[0], other, new[1], past(7, complete=False), past(9), past(10, mode="new")], now=NOW)
    one = found["q"]

    assert found["r"] == Proofs(full=full(2))
    assert one == Proofs(full=full(9), new=NewExports(started_at=NOW - 4 * HOUR, newest_added_at=NOW - 3 * HOUR))
    assert one.after(past(1), now=NOW) == Proofs(full=full(1))


@pytest.mark.parametrize(
    "entry",
    [
        {"complete": False},
        {"filtered": True},
        {"mode": "new", "complete": False},
        {"endpoint": None},
        {"rows_seen": "many"},
        {"size_excess": "some"},
    ],
)
def test_what_proves_nothing_changes_nothing(entry: dict[str, Any]) -> None:
    """An export that was not complete or was filtered, and a report that somebody has written in."""
    known = Proofs(full=full(9), runs=RunsRead(started_at=NOW, terms=TERMS))

    assert known.after(past(1, **entry), now=NOW) == known
    assert Proofs().after(past(1, mode="new"), now=NOW) == Proofs()


def test_what_began_later_than_now_is_not_used() -> None:
    """One wrong clock spoils no more than what it wrote itself."""
    ahead = RunsRead(started_at=NOW + HOUR, terms=TERMS)
    new = NewExports(started_at=NOW + HOUR)

    assert Proofs(full=full(-1), new=new, runs=ahead).until(NOW) == Proofs()
    assert Proofs(full=full(2), new=new, runs=ahead).until(NOW) == Proofs(full=full(2))


def test_runs_were_read_on_the_same_terms_or_not_at_all() -> None:
    """Each of them decides about values; a reading of all rows is one of the active ones, and not the reverse."""
    known = Proofs(runs=RunsRead(started_at=NOW, terms=TERMS))
    active = Proofs(runs=RunsRead(started_at=NOW, terms=TERMS, archived=False))
    others = [
        Terms(include_stats=False, subtree_usage=True, schema_version=2),
        Terms(include_stats=True, subtree_usage=False, schema_version=2),
        Terms(include_stats=True, subtree_usage=True, schema_version=3),
    ]

    assert [known.runs_read(terms, archived=True) for terms in (TERMS, *others)] == [NOW, None, None, None]
    assert [one.runs_read(TERMS, archived=False) for one in (known, active, Proofs())] == [NOW, NOW, None]
    assert active.runs_read(TERMS, archived=True) is None


def test_a_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Every field, times with their zone."""
    path, files = tmp_path / "proofs" / "q.json", LocalFiles()
    proofs = Proofs(
        full=full(3, size_excess=-1, newest_added_at=NOW),
        new=NewExports(started_at=NOW),
        runs=RunsRead(started_at=NOW, terms=TERMS),
    )

    write_proofs(files, path, proofs, workspace_in(tmp_path))

    assert read_proofs(files, path) == proofs
    assert [each.name for each in tmp_path.iterdir()] == ["proofs"]


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"proofs_version": 2}', b'{"proofs_version": "1"}'),
        *(b'{"full": {}}', b'{"runs": {"started_at": "2026-12-09T12:00:00"}}'),
    ],
)
def test_a_file_that_cannot_be_understood_is_none(text: bytes, tmp_path: Path) -> None:
    """Cut off, of another program, or of a newer annolake."""
    (tmp_path / "q.json").write_bytes(text)

    assert read_proofs(LocalFiles(), tmp_path / "q.json") is None
    assert read_proofs(LocalFiles(), tmp_path / "none.json") is None
    assert read_proofs(LocalFiles(), tmp_path) is None


def test_feedback_is_read_whole_and_then_since() -> None:
    """What was read since is looked for only where all was read once; a clock that was ahead proves neither."""
    never, read = (
        Proofs().with_feedback(NOW, whole=False, terms=FEEDBACK),
        Proofs().with_feedback(NOW - 2 * HOUR, whole=True, terms=FEEDBACK),
    )
    since = read.with_feedback(NOW - HOUR, whole=False, terms=FEEDBACK)

    assert (never.feedback_read_at, never.feedback_since) == (None, None)
    assert (read.feedback_read_at, read.feedback_since) == (NOW - 2 * HOUR, NOW - 2 * HOUR)
    assert (since.feedback_read_at, since.feedback_since) == (NOW - 2 * HOUR, NOW - HOUR)
    assert since.until(NOW) == since
    assert since.until(NOW - 1.5 * HOUR) == read
    assert since.until(NOW - 3 * HOUR) == Proofs()


@pytest.mark.parametrize(
    ("archived", "schema_version", "rows", "covered"),
    [(True, 1, 5, True), (False, 1, 6, True), (True, 2, 5, False), (True, 1, 4, False)],
)
def test_what_a_reading_covers(*, archived: bool, schema_version: int, rows: int, covered: bool) -> None:
    """Nothing once the lake has lost rows or has another schema version; archived rows only where it read them."""
    without = TableTerms(archived=False, schema_version=1, rows=5)

    assert FEEDBACK.cover(archived=archived, schema_version=schema_version, rows=rows) is covered
    assert not without.cover(archived=True, schema_version=1, rows=5)
    assert Proofs().with_feedback(NOW, whole=True, terms=FEEDBACK).without_feedback() == Proofs()


def test_other_proofs_stay_beside_those_of_feedback(tmp_path: Path) -> None:
    """In the file too, and a file from before there was feedback is read as it is."""
    files, path = LocalFiles(), tmp_path / "proofs" / "q.json"
    one = Proofs(full=full(3)).with_feedback(NOW - HOUR, whole=True, terms=FEEDBACK)

    write_proofs(files, path, one, workspace_in(tmp_path))
    kept = read_proofs(files, path)
    path.write_text('{"proofs_version": 1, "full": null}')

    assert kept == one
    assert one.after(past(1), now=NOW).feedback_read_at == NOW - HOUR
    assert read_proofs(files, path) == Proofs()
