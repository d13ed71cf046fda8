"""Reports and rejects: what is kept, under which name, and what a report proves."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from annolake.errors import LakeError
from annolake.load.lake import Lake
from annolake.load.storage.local import straight
from annolake.load.storage.scratch import Workspace
from load.faults import Gate, Killed
from load.model_queue import FIRST_EXPORT, QUEUE, lake_at
from rounds import rounds

OTHER = QUEUE.replace("1", "a")
LATER = FIRST_EXPORT + timedelta(days=1)
ANYWHERE = pytest.mark.parametrize("arrangement", ["disk-parquet", "s3-delta"], indirect=True)
"""How tables are arranged is nothing to the lake's own small files."""


def report(number: int, *queues: dict[str, Any]) -> dict[str, Any]:
    """Return the `number`th report, as far as the lake looks into it."""
    return {"export_id": f"e{number}", "started_at": f"2026-12-01T00:{number:02}:00Z", "queues": list(queues)}


def full(queue_id: str = QUEUE, *, complete: bool = True, filtered: bool = False) -> dict[str, Any]:
    """Return a queue's entry after a full export."""
    return {"queue_id": queue_id, "mode": "full", "complete": complete, "filtered": filtered}


def new(queue_id: str = QUEUE) -> dict[str, Any]:
    """Return a queue's entry after an export of new rows."""
    return {"queue_id": queue_id, "mode": "new", "complete": True}


def write(lake: Lake, *reports: dict[str, Any]) -> None:
    """Write reports, one after the other."""
    lake.prepare()
    with lake.workspace("reporting", since=FIRST_EXPORT) as workspace:
        for one in reports:
            lake.reports.write(one, workspace)


def kept(lake: Lake) -> list[str]:
    """Return the ids of the exports whose report is there, the newest first."""
    return [one["export_id"] for one in lake.reports.read()]


@ANYWHERE
@pytest.mark.usefixtures("arrangement")
def test_reports_are_kept_up_to_a_number(tmp_path: Path) -> None:
    """The oldest go first, the names are in order of time."""
    lake = lake_at(tmp_path, keep_reports=3)

    write(lake, *(report(number, new()) for number in range(1, 6)))

    assert kept(lake) == ["e5", "e4", "e3"]
    names = lake.files.names(lake.root / "_annolake" / "reports")
    assert names == [f"20261201T000{number}00Z-e{number}.json" for number in (3, 4, 5)]


@ANYWHERE
@pytest.mark.usefixtures("arrangement")
def test_the_last_complete_full_export_of_each_queue_is_always_kept(tmp_path: Path) -> None:
    """Of each queue its own, and no older one; what was filtered or incomplete proves nothing."""
    lake = lake_at(tmp_path, keep_reports=2)

    write(
        lake,
        report(1, full(), full(OTHER)),
        report(2, full()),
        report(3, full(complete=False), full(OTHER, filtered=True)),
        *(report(number, new()) for number in range(4, 7)),
    )

    assert kept(lake) == ["e6", "e5", "e2", "e1"]


@ANYWHERE
@pytest.mark.usefixtures("arrangement")
def test_the_last_good_export_of_each_queue_is_always_kept(tmp_path: Path) -> None:
    """Of any mode, however many attempts failed since; what was partial is not good."""
    lake = lake_at(tmp_path, keep_reports=2)
    good, failed = {"status": "ok"}, {"status": "failed", "complete": False}

    write(
        lake,
        report(1, new() | good, new(OTHER) | good),
        report(2, new() | good, new(OTHER) | {"status": "partial"}),
        *(report(number, new() | failed) for number in range(3, 7)),
    )

    assert kept(lake) == ["e6", "e5", "e2", "e1"]


@ANYWHERE
@pytest.mark.usefixtures("arrangement")
def test_a_report_of_a_running_export_replaces_its_own_and_pushes_none_out(tmp_path: Path) -> None:
    """It is written many times; which reports are too many is seen to when the export has finished."""
    lake = lake_at(tmp_path, keep_reports=2)

    write(lake, report(1), report(2), *(report(3) | {"state": "running", "n": number} for number in range(3)))
    running = list(lake.reports.read())
    write(lake, report(3) | {"state": "finished"})

    assert [(one["export_id"], one.get("n")) for one in running] == [("e3", 2), ("e2", None), ("e1", None)]
    assert kept(lake) == ["e3", "e2"]


@ANYWHERE
@pytest.mark.usefixtures("arrangement")
def test_the_past_of_a_queue_is_told_newest_first(tmp_path: Path) -> None:
    """Each entry comes with its report's head and with what it proves."""
    lake = lake_at(tmp_path)
    write(lake, report(1, full()), report(2, full(OTHER)), report(3, new()), report(4, full(filtered=True)))

    past = list(lake.reports.of(QUEUE, now=LATER))

    assert [(one.report["export_id"], one.proves_full, one.proves_complete) for one in past] == [
        ("e4", False, False),
        ("e3", False, True),
        ("e1", True, True),
    ]


def ahead(number: int, *queues: dict[str, Any]) -> dict[str, Any]:
    """Return the report of an export whose clock was 72 years ahead."""
    return report(number, *queues) | {"started_at": f"2098-12-01T00:{number:02}:00Z"}


def test_an_export_of_a_time_to_come_is_no_past(tmp_path: Path) -> None:
    """Its clock was wrong: it proves nothing, and the last one that had a right clock is the last."""
    lake = lake_at(tmp_path)
    write(lake, report(1, full()), ahead(2, full()), report(3, new()))

    past = list(lake.reports.of(QUEUE, now=LATER))

    assert [one.report["export_id"] for one in past] == ["e3", "e1"]


@ANYWHERE
@pytest.mark.usefixtures("arrangement")
def test_reports_of_a_time_to_come_keep_no_other_out(tmp_path: Path) -> None:
    """They are the first to go, but for the only proof of a queue: the clock may be wrong today instead."""
    lake = lake_at(tmp_path, keep_reports=2)

    write(lake, report(1, full()), ahead(2, full(), full(OTHER)), report(3, new()), report(4, new()))
    with_proof = kept(lake)
    write(lake, report(5, full(OTHER)))

    assert with_proof == ["e2", "e4", "e3", "e1"]
    assert kept(lake) == ["e5", "e4", "e1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"queues": 3}', '{"queues": [4]}', "\udcff"])
def test_a_report_that_cannot_be_understood_is_as_if_it_were_not_there(tmp_path: Path, text: str) -> None:
    """It costs a full sweep at the most, never an error."""
    lake = lake_at(tmp_path, keep_reports=1)
    write(lake, report(1, full()))
    path = tmp_path / "_annolake" / "reports" / "20261201T000200Z-odd.json"
    path.write_bytes(text.encode(errors="surrogateescape"))

    write(lake, report(3, new()))

    assert [one.report["export_id"] for one in lake.reports.of(QUEUE, now=LATER)] == ["e3", "e1"]


def rejected_files(root: Path) -> list[str]:
    """Return the names of the files of rejects that are in place."""
    return sorted(path.name for path in (root / "_annolake" / "rejected").rglob("*.json"))


def test_a_reject_is_one_file_and_goes_when_its_row_is_accepted(tmp_path: Path) -> None:
    """The next export knows it by its name."""
    lake = lake_at(tmp_path)
    lake.prepare()
    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        rejects = lake.rejects(QUEUE, workspace)
        rejects.put("id-1", {"reason": "a \ud800 and a \u00e9"})
        rejects.commit()

    with lake.workspace("two", since=FIRST_EXPORT) as workspace:
        rejects = lake.rejects(QUEUE, workspace)
        (path,) = (tmp_path / "_annolake" / "rejected").rglob("*.json")
        known, text = rejects.names, json.loads(path.read_bytes())
        rejects.remove("id-1")
        rejects.remove("id-2")
        rejects.commit()

    assert path.relative_to(tmp_path) == Path("_annolake", "rejected", f"queue_id={QUEUE}", "id-1.json")
    assert (known, text) == (["id-1"], {"reason": "a \ud800 and a \u00e9"})
    assert not path.exists()


@pytest.mark.parametrize("key", ["../../../outside", "a/b", "", ".hidden", "x" * 300, "\ud800", "nul\0l", "CON .."])
def test_a_reject_of_any_id_has_a_safe_name(tmp_path: Path, key: str) -> None:
    """No id of a broken row leads out of the queue's folder or to a name the system refuses."""
    lake = lake_at(tmp_path / "lake")
    lake.prepare()

    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        rejects = lake.rejects(QUEUE, workspace)
        rejects.put(key, {})
        staged = rejects.get(key)
        rejects.commit()

        assert (staged, rejects.get(key)) == ({}, {})
    (path,) = (tmp_path / "lake" / "_annolake" / "rejected" / f"queue_id={QUEUE}").iterdir()
    assert path.suffix == ".json"
    assert [found.name for found in tmp_path.iterdir()] == ["lake"]


def test_what_is_staged_is_known_from_the_commit_on(tmp_path: Path) -> None:
    """New, changed, removed, taken back and kept rejects: in place nothing changes before, all of it after."""
    lake = lake_at(tmp_path)
    lake.prepare()
    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        rejects = lake.rejects(QUEUE, workspace)
        for key in ("changed", "removed", "kept"):
            rejects.put(key, {"version": 1})
        rejects.commit()

        rejects.put("changed", {"version": 2})
        for key in ("removed", "kept"):
            rejects.remove(key)
        rejects.keep("kept")
        for key in ("new", "taken-back"):
            rejects.put(key, {"version": 2})
        rejects.remove("taken-back")
        names, before = rejects.names, rejected_files(tmp_path)
        versions = {kept.name: kept.record for kept in lake.rejected(QUEUE)}
        rejects.commit()

    assert before == ["changed.json", "kept.json", "removed.json"]
    assert versions == {key: {"version": 1} for key in ("changed", "kept", "removed")}
    assert names == ["changed", "kept", "new"]
    after = {kept.name: kept.record for kept in lake.rejected(QUEUE)}
    assert after == {"changed": {"version": 2}, "kept": {"version": 1}, "new": {"version": 2}}
    assert lake.rejects_known(QUEUE) == 3


def test_a_second_reading_starts_with_nothing_staged(tmp_path: Path) -> None:
    """What was rejected over another endpoint, in the same export, is forgotten."""
    lake = lake_at(tmp_path)
    lake.prepare()
    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        lake.rejects(QUEUE, workspace).put("over-runs", {})
        rejects = lake.rejects(QUEUE, workspace)
        names = rejects.names
        rejects.put("over-items", {})
        rejects.commit()

    assert names == []
    assert rejected_files(tmp_path) == ["over-items.json"]


@ANYWHERE
@pytest.mark.usefixtures("arrangement")
def test_many_rejects_are_read_and_changed_meanwhile(tmp_path: Path) -> None:
    """Each is met once, as it is then."""
    lake = lake_at(tmp_path)
    names = [f"id-{number:03d}" for number in range(40)]
    lake.prepare()
    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        rejects = lake.rejects(QUEUE, workspace)
        for name in names:
            rejects.put(name, {"version": name})
        rejects.commit()

        met = {}
        for name, record in zip(names, rejects.all(rejects.names), strict=True):
            met[name] = record
            if name == names[0]:
                rejects.put(names[1], {"version": "changed"})
                rejects.put("id-new", {})
                rejects.remove(names[2])
        rejects.commit()

    assert met == {name: {"version": "changed" if name == names[1] else name} for name in names}
    after = {kept.name: kept.record for kept in lake.rejected(QUEUE)}
    assert after == {name: record for name, record in met.items() if name != names[2]} | {"id-new": {}}


def test_a_known_reject_that_cannot_be_looked_into_is_told(tmp_path: Path) -> None:
    """It is no reject that is not there: to write it again would hide what is wrong."""
    write_rejects(tmp_path, sound="{}")
    (tmp_path / "_annolake" / "rejected" / f"queue_id={QUEUE}" / "folder.json").mkdir()
    lake = lake_at(tmp_path)
    lake.prepare()
    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        rejects = lake.rejects(QUEUE, workspace)

        assert list(rejects.all(["sound", "gone"])) == [{}, None]
        with pytest.raises(LakeError, match=r"folder\.json: it is not a regular file"):
            list(rejects.all(["sound", "folder"]))


@pytest.mark.parametrize("arrangement", ["s3-delta"], indirect=True)
@pytest.mark.usefixtures("arrangement")
def test_rejects_in_a_store_are_put_read_and_removed_together(tmp_path: Path) -> None:
    """Two at a time pass a gate that opens for two alone."""
    pair, watched = Barrier(2), set[str]()

    def gate(verb: str, path: Any, call: Callable[[], Any]) -> Any:
        if verb in watched and "/rejected/" in f"{path}" and f"{path}".endswith(".json"):
            pair.wait(30)
        return call()

    lake = lake_at(tmp_path, gate=gate)
    lake.prepare()
    with lake.workspace("one", since=FIRST_EXPORT) as workspace:
        rejects = lake.rejects(QUEUE, workspace)
        watched |= {"write", "read", "remove"}
        for number in range(8):
            rejects.put(f"id-{number}", {})
        rejects.commit()
        read = list(rejects.all(rejects.names)), [kept.record for kept in lake.rejected(QUEUE)]
        for name in rejects.names:
            rejects.remove(name)
        rejects.commit()

    assert read == ([{}] * 8, [{}] * 8)
    assert lake.rejects_known(QUEUE) == 0


@ANYWHERE
@pytest.mark.parametrize("mode", ["before", "after", "kill"])
def test_a_commit_that_breaks_leaves_each_reject_whole(tmp_path: Path, mode: str, arrangement: str) -> None:
    """Whichever step breaks, each file is the old one or the new one, and a rerun makes it good."""
    keys = [f"id-{number}" for number in range(4)]

    def reject(root: Path, version: int, unwanted: str, gate: Callable[..., Any] = straight) -> None:
        lake = lake_at(root, gate=gate)
        lake.prepare()
        with lake.workspace(f"export-{version}", since=FIRST_EXPORT) as workspace:
            rejects = lake.rejects(QUEUE, workspace)
            for key in keys:
                if key == unwanted:
                    rejects.remove(key)
                else:
                    rejects.put(key, {"version": version})
            rejects.commit()

    gate = Gate()
    reject(tmp_path / "counted", 1, "", gate)
    for step in range(0, len(gate.steps) + 2, rounds(1 if arrangement == "disk-parquet" else 9, many=1)):
        root = tmp_path / f"step-{step}"
        reject(root, 1, "id-3")
        with suppress(LakeError, Killed):
            reject(root, 2, "id-0", Gate(mode, step))
        between = [kept.record for kept in lake_at(root).rejected(QUEUE)]
        reject(root, 3, "id-0")

        assert all(record in ({"version": 1}, {"version": 2}) for record in between), step
        lake = lake_at(root)
        assert lake.files.names(lake.root / "_annolake" / "rejected" / f"queue_id={QUEUE}") == [
            f"{key}.json" for key in keys[1:]
        ], step
        assert not lake.litter(), step


def test_rejects_are_read_beside_an_export_that_removes_some(tmp_path: Path) -> None:
    """A file that went between listing and opening is passed over."""
    write_rejects(tmp_path, **{"id-1": "{}", "id-2": "{}"})

    def gate(verb: str, path: Path, call: Callable[[], Any]) -> Any:
        done = call()
        if verb == "list":
            (path / "id-1.json").unlink()
        return done

    assert [kept.name for kept in lake_at(tmp_path, gate=gate).rejected(QUEUE)] == ["id-2"]


def write_rejects(root: Path, **texts: str) -> None:
    """Put files among the rejects of the queue."""
    folder = root / "_annolake" / "rejected" / f"queue_id={QUEUE}"
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.json").write_bytes(text.encode(errors="surrogateescape"))


def test_what_is_no_reject_is_counted_and_costs_no_other(tmp_path: Path) -> None:
    """Cut off, empty, of another shape, nested without end, a folder, a pipe."""
    odd = {"cut": '{"path": "$', "empty": "", "list": "[]", "deep": "[" * 100_000, "bytes": "\udcff"}
    write_rejects(tmp_path, good='{"path": "$"}', **odd)
    folder = tmp_path / "_annolake" / "rejected" / f"queue_id={QUEUE}"
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / "notes.txt").touch()
    (folder.parent / "queue_id=no id").mkdir()
    (folder.parent / "notes").mkdir()
    lake = lake_at(tmp_path)

    read = {kept.name: kept.record for kept in lake.rejected(QUEUE)}

    assert read == {"good": {"path": "$"}} | dict.fromkeys([*odd, "folder", "pipe"])
    assert lake.rejects_known(QUEUE) == len(read)
    assert lake.rejected_queues() == [QUEUE]


def test_a_queue_without_a_folder_has_no_rejects(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    lake = lake_at(tmp_path / "lake")

    assert (lake.rejects_known(QUEUE), list(lake.rejected(QUEUE)), lake.rejected_queues()) == (0, [], [])
    assert lake.queue_name(QUEUE) is None
    assert not list(tmp_path.iterdir())


def test_a_workspace_is_gone_whatever_happens_in_it(tmp_path: Path) -> None:
    """Its files go with it, after an error too."""
    lake = lake_at(tmp_path)
    lake.prepare()

    def fail(workspace: Workspace) -> None:
        (workspace.folder / "begun").write_text("half")
        raise ValueError("on the way")

    with pytest.raises(ValueError, match="on the way"), lake.workspace("one", since=FIRST_EXPORT) as workspace:
        fail(workspace)

    assert not list((tmp_path / "_annolake" / "tmp").iterdir())
