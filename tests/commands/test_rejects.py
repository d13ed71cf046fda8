"""`annolake rejects` on lakes that real exports made, and on files that no export wrote."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from annolake.sandbox import Population, Queue, Sandbox
from exporting import Ran, annolake, export_once, write_config

SHARE_TOKEN = "5ec4e700-0000-4000-8000-00000000beef"
SIGNATURE = "5ignatur3"
SIGNED = f"https://bucket.example/x?X-Amz-Signature={SIGNATURE}"
HOSTILE = "a\x1b[31m\x1b]0;owned\x07b\rc\nannolake: forged\x9b2Jd\u202egnp.exe\u2028e\x7f"
QUEUES = ["11111111-2222-4333-8444-555555555555", "22222222-2222-4333-8444-555555555555"]
KEYS = ["table", "path", "reason", "rejects", "queues", "oldest_first_seen", "newest_first_seen", "examples"]


def break_rows(queue: Queue, count: int, **fields: Any) -> list[str]:
    """Give some of a queue's rows fields that do not fit, and return their ids."""
    rows = [row for row in queue.rows("active") if b'"broken"' not in row.text][:count]
    for row in rows:
        queue.set_text(row.id, json.dumps({**json.loads(row.text), "broken": True, **fields}).encode())
    return [row.id for row in rows]


def told(cwd: Path, *arguments: str) -> dict[str, Any]:
    """Return what `annolake rejects --json` prints, which is one line and nothing else."""
    ran = annolake("rejects", "--json", *arguments, cwd=cwd)

    assert (ran.exit_code, ran.err, ran.out.count("\n")) == (0, "", 1)
    record: dict[str, Any] = json.loads(ran.out)
    assert record["exit_code"] == 0
    return record


def in_words(cwd: Path, *arguments: str) -> str:
    """Return what `annolake rejects` prints."""
    ran = annolake("rejects", *arguments, cwd=cwd)

    assert (ran.exit_code, ran.err) == (0, "")
    return ran.out


def files(lake: Path) -> dict[str, int]:
    """Return the number of rejects' files of each queue that has any."""
    folders = sorted((lake / "_annolake/rejected").iterdir())
    return {folder.name.removeprefix("queue_id="): len(list(folder.iterdir())) for folder in folders}


def by_path(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the groups by their path."""
    return {group["path"]: group for group in record["groups"]}


def hand_made(folder: Path, rejects: dict[str, Any], queue_id: str = QUEUES[0], base_url: str = "") -> Path:
    """Write a lake of rejects, by name: an object, or the text of a file."""
    queue = folder / "lake/_annolake/rejected" / f"queue_id={queue_id}"
    queue.mkdir(parents=True, exist_ok=True)
    for name, reject in rejects.items():
        text = reject if isinstance(reject, str) else json.dumps(reject)
        (queue / f"{name}.json").write_text(text)
    base_url = base_url or "https://api.smith.langchain.com"
    (folder / "annolake.toml").write_text(f'source.base_url = "{base_url}"\nlake.path = "lake"\n')
    return folder


def reject(path: str, row: Any, **facts: Any) -> dict[str, Any]:
    """Return a reject as an export writes it."""
    text = row if isinstance(row, str) else json.dumps(row)
    usual = {"table": "runs", "queue_id": QUEUES[0], "path": path, "reason": "why"}
    return {**usual, "first_seen": "2026-11-20T08:00:00Z", "row": text, **facts}


def test_groups_by_path_and_reason(tmp_path: Path) -> None:
    """The most frequent first, with the value that does not fit, the run's page, and the queues concerned."""
    with Sandbox(Population(rows=60, queues=2, odd=False, days=2), seed=8) as sandbox:
        one, other = (sandbox.queue(queue_id) for queue_id in sandbox.queue_ids)
        (name,) = break_rows(one, 1, name=5)
        totals = break_rows(one, 2, total_tokens="many") + break_rows(other, 3, total_tokens="many")
        apps = {row.id: json.loads(row.text)["app_path"] for queue in (one, other) for row in queue.rows("active")}
        ids = {queue.id: queue.name for queue in (one, other)}
        export_once(sandbox, tmp_path)

    record, words = told(tmp_path), in_words(tmp_path)
    totals_group, names_group = record["groups"]
    assert (record["rejects"], totals_group["rejects"], names_group["rejects"]) == (6, 5, 1)
    assert list(totals_group) == KEYS
    assert (totals_group["table"], totals_group["path"]) == ("runs", "$.total_tokens")
    assert totals_group["queues"] == sorted(ids)
    assert {example["queue_run_id"] for example in totals_group["examples"]} == set(totals)
    for group, value in ((totals_group, '"many"'), (names_group, "5")):
        for example in group["examples"]:
            assert example["value"] == value
            assert example["url"] == sandbox.url + apps[example["queue_run_id"]].partition("?")[0]
            assert (tmp_path / "lake" / example["file"]).is_file()
            assert group["oldest_first_seen"] <= example["first_seen"] <= group["newest_first_seen"]
    assert [(queue["queue_id"], queue["name"]) for queue in record["queues"]] == sorted(ids.items())
    assert words.startswith("6 rejects in 2 queues")
    assert words.index("5 x runs $.total_tokens") < words.index("1 x runs $.name")
    assert sum(example in words for example in totals) == 3, "three examples of five"
    assert all(f"{called} ({queue_id})" in words for queue_id, called in ids.items())
    assert f"{name}  5  {sandbox.url}{apps[name].partition('?')[0]}" in words


def test_rejects_of_feedback_are_told_apart_from_those_of_rows(tmp_path: Path) -> None:
    """Also where path, reason and name are the same: in groups of their own, by the feedback's id, in their folder."""
    name = "0c1b3a52-0000-4000-8000-000000000001"
    digest = "0" * 32
    rejected = reject("$.score", {"queue_run_id": "r", "id": "f", "score": "high"})
    lake = hand_made(tmp_path, {name: rejected})
    of_feedback = rejected | {"table": "feedback"}
    hand_made(tmp_path, {name: of_feedback, digest: of_feedback}, f"{QUEUES[0]}/feedback")

    record, words = told(lake), in_words(lake)
    feedback, runs = record["groups"]
    last, first = feedback["examples"]

    assert (record["rejects"], [(each["table"], each["rejects"]) for each in (feedback, runs)]) == (
        3,
        [("feedback", 2), ("runs", 1)],
    )
    assert (runs["examples"][0]["id"], runs["examples"][0]["queue_run_id"]) == (name, name)
    assert [(each["id"], each["queue_run_id"], each["value"]) for each in (last, first)] == [
        (name, None, '"high"'),
        ("f", None, '"high"'),
    ]
    assert all((tmp_path / "lake" / each["file"]).is_file() for each in (last, first, *runs["examples"]))
    assert "2 x feedback $.score: why" in words
    assert "1 x runs $.score: why" in words


def test_the_same_numbers_over_forty_queues(tmp_path: Path) -> None:
    """The command's, the report's and the folders' are equal, in words and in JSON; one queue at a time too."""
    with Sandbox(Population(rows=12, queues=40, odd=False, days=1), seed=8) as sandbox:
        for number, queue_id in enumerate(sandbox.queue_ids):
            break_rows(sandbox.queue(queue_id), number % 4, total_tokens="many")
            break_rows(sandbox.queue(queue_id), number % 3, name=5)
        report = export_once(sandbox, tmp_path)

    record = told(tmp_path)
    counts = {queue["queue_id"]: queue["rejects"] for queue in record["queues"]}
    reported = {queue.queue_id: queue.rejected for queue in report.queues if queue.rejected}
    assert len(counts) > 30
    assert counts == files(tmp_path / "lake") == reported
    assert record["rejects"] == sum(counts.values()) == sum(group["rejects"] for group in record["groups"])
    assert in_words(tmp_path).startswith(f"{record['rejects']} rejects in {len(counts)} queues; ")
    some = sorted(counts)[:2]
    asked = told(tmp_path, "--queue", some[0].upper(), "--queue", some[1])
    assert {queue["queue_id"]: queue["rejects"] for queue in asked["queues"]} == {one: counts[one] for one in some}
    assert asked["rejects"] == sum(counts[one] for one in some)


def test_rejects_over_items_lead_into_the_run(tmp_path: Path) -> None:
    """A run that does not fit has its value, its page and its item's id; an item has no page."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=8) as sandbox:
        queue = sandbox.queue()
        (of_run,) = break_rows(queue, 1, total_cost="0.0000000000000000001")
        (of_item,) = break_rows(queue, 1, added_at="last week")
        app_path = json.loads(queue.row(of_run).text)["app_path"]
        export_once(sandbox, tmp_path, {"source.endpoint": "items"})

    groups = by_path(told(tmp_path))
    (run,), (item,) = groups["$.run.total_cost"]["examples"], groups["$.added_at"]["examples"]
    assert (run["queue_run_id"], item["queue_run_id"]) == (of_run, of_item)
    assert (float(json.loads(run["value"])), item["value"]) == (1e-19, '"last week"')
    assert (run["url"], item["url"]) == (sandbox.url + app_path.partition("?")[0], None)


@pytest.mark.parametrize("endpoint", ["runs", "items"])
def test_nothing_secret_is_printed(endpoint: str, tmp_path: Path) -> None:
    """Neither the key, nor a signature, nor a share token: in the value, in a path, in an id, in the page's address."""
    with Sandbox(Population(rows=60, odd=False, days=2), seed=8) as sandbox:
        queue = sandbox.queue()
        secret = {"share_token": SHARE_TOKEN, "link": SIGNED}
        break_rows(queue, 1, added_at=secret, share_token=SHARE_TOKEN)
        break_rows(queue, 1, total_tokens=SIGNED, app_path=f"/o/1?share_token={SHARE_TOKEN}")
        break_rows(queue, 1, added_at="yesterday", queue_run_id=SIGNED, id=SIGNED)
        row = queue.rows("active")[30]
        queue.set_text(row.id, json.dumps([secret]).encode())
        row = queue.rows("active")[31]
        queue.set_text(row.id, row.text[:-1] + f', "{SIGNED}": NaN}}'.encode())
        export_once(sandbox, tmp_path, {"source.endpoint": endpoint})

    record = told(tmp_path)
    assert record["rejects"] >= 3
    printed = json.dumps(record) + in_words(tmp_path)
    assert "bucket.example" in printed
    assert [secret for secret in (SHARE_TOKEN, SIGNATURE, sandbox.api_key) if secret in printed] == []


def test_a_megabyte_is_cut(tmp_path: Path) -> None:
    """A value of 1 MB shows its first 80 characters; so does a row that is no object."""
    with Sandbox(Population(rows=30, odd=False, days=2), seed=8) as sandbox:
        queue = sandbox.queue()
        break_rows(queue, 1, tags={"long": "x" * 1_000_000})
        queue.set_text(queue.rows("active")[9].id, b'"' + b"y" * 1_000_000 + b'"')
        export_once(sandbox, tmp_path)

    groups = by_path(told(tmp_path))
    assert groups["$.tags"]["examples"][0]["value"] == '{"long": "' + "x" * 70 + "..."
    assert groups["$"]["examples"][0]["value"] == '"' + "y" * 79 + "..."
    assert len(in_words(tmp_path)) < 2000


def assert_harmless(text: str) -> None:
    """Check that nothing of the hostile text does anything."""
    assert not any(part in text for part in ("\x1b", "\x07", "\r", "\x9b", "\u202e", "\u2028", "\x7f"))
    assert not any(line.startswith("annolake: forged") for line in text.split("\n"))


def test_foreign_text_does_nothing(tmp_path: Path) -> None:
    """In the queue's name, the value, path, reason and id: escaped in words, exact in JSON."""
    with Sandbox(Population(rows=30, odd=False, days=2), seed=8) as sandbox:
        sandbox.profile(sandbox.queue_ids[0])["name"] = HOSTILE
        queue = sandbox.queue()
        break_rows(queue, 1, total_tokens=HOSTILE, app_path=f"/o/{HOSTILE}")
        broken = json.loads(queue.rows("active")[9].text) | {"queue_run_id": HOSTILE, "name": 5}
        queue.set_text(queue.rows("active")[9].id, json.dumps(broken, ensure_ascii=False).encode())
        export_once(sandbox, tmp_path)
    odd = reject(HOSTILE, HOSTILE, reason=HOSTILE, table=HOSTILE)
    hand_made(tmp_path, {"0" * 32: odd, "odd-\udcff": "{"}, sandbox.queue_ids[0], sandbox.url)

    ran = annolake("rejects", "--json", cwd=tmp_path)
    assert_harmless(ran.out)
    assert_harmless(in_words(tmp_path))
    record = json.loads(ran.out)
    assert record["queues"] == [{"queue_id": sandbox.queue_ids[0], "name": HOSTILE, "rejects": 4}]
    groups = by_path(record)
    assert groups["$.name"]["examples"][0]["queue_run_id"] == HOSTILE
    assert groups["$.total_tokens"]["examples"][0]["url"] is None
    assert (groups[HOSTILE]["table"], groups[HOSTILE]["reason"]) == (HOSTILE, HOSTILE)


def test_what_cannot_be_read_is_a_group_of_its_own(tmp_path: Path) -> None:
    """Cut off, no JSON, no reject: counted, with the file's name, and no error."""
    odd = {
        "cut": '{"path": "$',
        "empty": "",
        "list": "[]",
        "deep": "[" * 100_000,
        "other": {"path": 5, "reason": "why"},
    }
    hand_made(tmp_path, {**odd, "untabled": reject("$", "", table=5), "good": reject("$.a", {"a": 1})})

    record, words = told(tmp_path), in_words(tmp_path)
    group, good = record["groups"]
    assert (group["table"], group["path"], group["rejects"]) == (None, None, 6)
    assert "cannot be read" in group["reason"]
    assert {example["queue_run_id"] for example in group["examples"]} == {*odd, "untabled"}
    assert (good["path"], good["examples"][0]["value"]) == ("$.a", "1")
    assert (record["rejects"], files(tmp_path / "lake")) == (7, {QUEUES[0]: 7})
    assert f"6 x {group['reason']}" in words
    assert f"_annolake/rejected/queue_id={QUEUES[0]}/untabled.json" in words


@pytest.mark.parametrize("row", [5, {"a": 1}, None, "", '{"b": 1}'])
def test_a_row_that_has_no_such_value(row: object, tmp_path: Path) -> None:
    """The field is missing, or there is no text of a row: no value, and the reject counts all the same."""
    hand_made(tmp_path, {"id-1": reject("$.a", "") | {"row": row}})

    (group,) = told(tmp_path)["groups"]
    assert (group["rejects"], group["examples"][0]["value"]) == (1, None)
    assert "id-1  no value\n" in in_words(tmp_path)


def test_rejects_of_before_there_were_tables(tmp_path: Path) -> None:
    """They are of the table runs, together with the others; another table has its own group."""
    old = {name: value for name, value in reject("$.a", {"a": 1}).items() if name != "table"}
    hand_made(tmp_path, {"a": old, "b": reject("$.a", {"a": 2}), "c": reject("$.a", {"a": 3}, table="feedback")})

    record = told(tmp_path)
    assert [(group["table"], group["rejects"]) for group in record["groups"]] == [("runs", 2), ("feedback", 1)]


def test_examples_are_the_newest(tmp_path: Path) -> None:
    """20 in JSON, with the first and the last time of all; times that cannot be read come last."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    rejects = {
        f"id-{number * 7 % 50}": reject("$.a", {"a": number}, first_seen=(start + timedelta(hours=number)).isoformat())
        for number in range(50)
    }
    odd = {f"odd-{number}": reject("$.a", {}, first_seen=seen) for number, seen in enumerate(["x", None, 5, "9" * 9])}
    zoned = {
        "zoned": reject("$.a", {"a": 50}, first_seen="2026-11-03T03:00:00+01:00")
    }  # 02:00 in UTC: before all but one
    hand_made(tmp_path, rejects | odd | zoned | {"naive": reject("$.a", {"a": -1}, first_seen="2026-10-31T00:00:00")})

    (group,) = told(tmp_path)["groups"]
    assert (group["rejects"], len(group["examples"])) == (56, 20)
    assert (group["oldest_first_seen"], group["newest_first_seen"]) == ("2026-10-31T00:00:00Z", "2026-11-03T02:00:00Z")
    assert [example["value"] for example in group["examples"]] == ["50", *(str(49 - number) for number in range(19))]
    assert "first seen: 2026-10-31T00:00:00Z to 2026-11-03T02:00:00Z" in in_words(tmp_path)


def test_many_queues_in_words(tmp_path: Path) -> None:
    """Ten are listed, and the number of the others."""
    for number in range(13):
        hand_made(tmp_path, {"a": reject("$.a", {"a": 1})}, f"{number:08}-2222-4333-8444-555555555555")

    assert "and 3 more" in in_words(tmp_path)
    assert len(told(tmp_path)["groups"][0]["queues"]) == 13


def test_no_rejects(tmp_path: Path) -> None:
    """A sentence and exit code 0: of a lake, of a queue that has none, of one that nobody knows."""
    hand_made(tmp_path, {"a": reject("$.a", {"a": 1})})
    (tmp_path / "empty").mkdir()
    environ = {"ANNOLAKE_LAKE__PATH": str(tmp_path / "empty")}

    assert "there are no rejects" in annolake("rejects", cwd=tmp_path, environ=environ).out
    assert f"there are no rejects of {QUEUES[1]}" in in_words(tmp_path, "--queue", QUEUES[1])
    assert told(tmp_path, "--queue", QUEUES[1]) == {"exit_code": 0, "rejects": 0, "queues": [], "groups": []}
    assert not list((tmp_path / "empty").iterdir()), "looking makes nothing"


def settings_wrong(folder: Path) -> Ran:
    """Ask for a queue by something else than an id."""
    return annolake("rejects", "--queue", "my queue\x1b[31m", cwd=folder)


def lake_missing(folder: Path) -> Ran:
    """Ask about a lake that is not there."""
    return annolake("rejects", cwd=folder, environ={"ANNOLAKE_LAKE__PATH": "elsewhere"})


@pytest.mark.parametrize(
    ("ask", "exit_code", "words"), [(settings_wrong, 2, "no queue named"), (lake_missing, 5, "no lake")]
)
def test_what_goes_wrong_is_one_sentence(
    ask: Callable[[Path], Ran], exit_code: int, words: str, tmp_path: Path
) -> None:
    """Nothing on standard output, one line that says what to do."""
    ran = ask(hand_made(tmp_path, {}))

    assert (ran.exit_code, ran.out, ran.err.count("\n")) == (exit_code, "", 1)
    assert words in ran.err
    assert "\x1b" not in ran.err


def test_the_service_is_not_asked(tmp_path: Path) -> None:
    """Neither key nor service are needed, nor are the queues named in the settings."""
    with Sandbox(Population(rows=30, odd=False, days=2), seed=8) as sandbox:
        break_rows(sandbox.queue(), 2, name=5)
        export_once(sandbox, tmp_path)
        asked = len(sandbox.requests)
        config = write_config(tmp_path, sandbox, {"source.queues": QUEUES})
        ran = annolake("rejects", "--config", config, cwd=tmp_path)

        assert (ran.exit_code, len(sandbox.requests)) == (0, asked)
        assert "2 rejects in 1 queue;" in ran.out
