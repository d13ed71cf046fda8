"""Answers that mean something else than they should: one plain sentence, never a traceback, never a wrong end."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annolake.extract.endpoints import queues
from annolake.sandbox import Changes, Population, Sandbox
from annolake.sandbox.answers import Answer, Asked
from exporting import ROWS_ALONE, annolake, export_once, one_queue, with_polars, write_config
from hostile import CERTIFICATE, Behave, Hostile, Wire, honest, lists

ENDPOINTS = ["runs", "items"]
ITEMS = {**ROWS_ALONE, "source.endpoint": "items"}


def lists_queues(asked: Asked) -> bool:
    """Tell whether the queues are asked for."""
    return asked.path.endswith("/annotation-queues")


def tells_queues(change: Callable[[list[dict[str, Any]], Asked], list[Any]]) -> Behave:
    """Return a behaviour that lists other queues than there are."""

    def behave(_wire: Wire, asked: Asked, answer: Answer) -> Answer:
        if not lists_queues(asked):
            return answer
        return Answer(200, json.dumps(change(json.loads(answer.body), asked)).encode())

    return behave


# --- redirects and certificates

LOCATIONS = [
    *("javascript:alert(1)", "data:text/plain,x", "http:\\\\x", "http://xn--/", "http://xn--a/", "http://[broken"),
    *("http://127.0.0.1:99999999/", "//", "///", "http://", "https:", "mailto:a@b", "http://\x7f/", "\xff\xfe", "h:/x"),
    *("http://user:pw@elsewhere.invalid/?token=abc", "http://elsewhere.invalid/" + "x" * 60_000),
]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("location", LOCATIONS, ids=lambda text: ascii(text)[1:25])
def test_a_redirect_anywhere_is_one_sentence(location: str, endpoint: str, tmp_path: Path) -> None:
    """Whatever the Location is, the key goes nowhere else, and exit 4 says who redirects."""

    def redirects(_wire: Wire, asked: Asked, answer: Answer) -> Answer:
        return Answer(302, b"", headers={"Location": location}) if lists(asked) else answer

    with Hostile(Sandbox(Population(rows=9, days=2), seed=2), redirects) as service:
        path = write_config(tmp_path, service, {"source.endpoint": endpoint, "retry.max_attempts": 1})
        ran = annolake("run", "--config", path, "--quiet", key=service.api_key, cwd=tmp_path)

    assert ran.exit_code == 4, ran.err
    assert "Traceback" not in ran.err
    assert "token" not in ran.err
    assert len(ran.err.splitlines()) == 1
    assert len(ran.err) < 1_000


def test_an_untrusted_certificate_is_told_with_what_to_set(tmp_path: Path) -> None:
    """SSL_CERT_FILE is named, and what it names is trusted from then on."""
    with Hostile(Sandbox(Population(rows=9, odd=False, days=2), seed=2), tls=True) as service:
        command = ("run", "--config", write_config(tmp_path, service), "--quiet")
        ran = annolake(*command, key=service.api_key, cwd=tmp_path)
        trusting = {"SSL_CERT_FILE": str(CERTIFICATE)}
        trusted = annolake(*command, key=service.api_key, cwd=tmp_path, environ=trusting)

    assert (ran.exit_code, len(ran.err.splitlines())) == (4, 1)
    assert "has a certificate that cannot be verified" in ran.err
    assert "SSL_CERT_FILE" in ran.err
    assert (trusted.exit_code, trusted.err) == (0, "")


# --- cursors and sizes of pages


def test_a_cursor_of_a_megabyte_is_refused(tmp_path: Path) -> None:
    """No address can hold it: one sentence, exit 4."""

    def overdoes(_wire: Wire, asked: Asked, answer: Answer) -> Answer:
        if not asked.path.endswith("/items"):
            return answer
        return Answer(200, json.dumps({**json.loads(answer.body), "next_cursor": "x" * 1_000_000}).encode())

    with Hostile(Sandbox(Population(rows=9, days=2), seed=2), overdoes) as service:
        path = write_config(tmp_path, service, ITEMS)
        ran = annolake("run", "--config", path, "--quiet", key=service.api_key, cwd=tmp_path)

    assert ran.exit_code == 4, ran.err
    assert "a cursor of 1,000,000 characters" in ran.err
    assert len(ran.err.splitlines()) == 1


def a_hundred(asked: Asked) -> Asked:
    """Hear a hundred, whatever page_size is asked for."""
    return replace(asked, query={**asked.query, "page_size": ["100"]}) if asked.path.endswith("/items") else asked


@pytest.mark.parametrize(("page_size", "rows"), [(1, 500), (30, 2_600), (100, 2_600)])
def test_a_service_that_does_not_heed_page_size_is_exported(page_size: int, rows: int, tmp_path: Path) -> None:
    """It sends more items than were asked for: no row is lost, and a quiet queue is shown complete."""
    sandbox = Sandbox(Population(rows=rows, odd=False, days=2), seed=2)
    with Hostile(sandbox, honest, a_hundred) as service:
        report = one_queue(export_once(service, tmp_path, {**ITEMS, "source.page_size": page_size}))

    assert (report.status, report.complete, report.inserted) == ("ok", True, rows)


@pytest.mark.parametrize("seed", range(3))
def test_nor_is_it_refused_while_reviewers_are_at_work(seed: int, tmp_path: Path) -> None:
    """Its pages cannot be made to overlap: the rows arrive, and what could not be shown is told."""
    changes = Changes(rate=0.5, kinds=("finish", "add", "unarchive"))
    sandbox = Sandbox(Population(rows=900, odd=False, days=2), seed=seed, changes=changes)
    with Hostile(sandbox, honest, a_hundred) as service:
        report = one_queue(export_once(service, tmp_path, ITEMS))

    assert report.exit_code in {0, 3}, report.error
    assert report.inserted > 800


# --- one element without an id, for ever


@pytest.mark.parametrize(
    ("path", "body", "endpoint", "exit_code"),
    [
        ("/runs", "[{}]", "runs", 4),
        ("/items", '{"items": [{}], "next_cursor": "after %d"}', "items", 4),
        ("/feedback", "[{}]", "runs", 3),
    ],
)
def test_an_unreadable_element_at_every_offset_ends_after_some_hundred_requests(
    path: str, body: str, endpoint: str, exit_code: int, tmp_path: Path
) -> None:
    """Nothing tells it from others, so there is no end to be seen; but nothing new comes, either."""
    asked: list[str] = []

    def repeats(_wire: Wire, ask: Asked, answer: Answer) -> Answer:
        if not ask.path.endswith(path):
            return answer
        asked.append(ask.path)
        assert len(asked) < 2_000
        return Answer(200, (body.replace("%d", str(len(asked)))).encode())

    with Hostile(Sandbox(Population(rows=5, odd=False, days=2), seed=2), repeats) as service:
        export = export_once(service, tmp_path, {"source.endpoint": endpoint, "retry.max_attempts": 1})

    assert export.exit_code == exit_code
    assert len(asked) < 1_000


# --- the listing of queues


def from_the_start(asked: Asked) -> Asked:
    """Hear no offset where queues are asked for."""
    return replace(asked, query={}) if lists_queues(asked) else asked


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_listing_of_queues_that_ignores_offset_ends(command: str, tmp_path: Path) -> None:
    """What it shows is shown again and again: a second page without a queue that is new is the last one."""
    sandbox = Sandbox(Population(rows=3, queues=3, odd=False, days=2), seed=2)
    with Hostile(sandbox, hears=from_the_start) as service:
        path = write_config(tmp_path, service, {"source.queues": "all"})
        ran = annolake(command, "--config", path, key=service.api_key, cwd=tmp_path)
        asked = sum(map(lists_queues, service.asked))

    assert (ran.exit_code, asked) == (0, 2), ran.err


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_listing_that_shows_its_first_hundred_for_ever_is_told(command: str, tmp_path: Path) -> None:
    """There may be more queues than it shows: one sentence, exit 4."""
    sandbox = Sandbox(Population(rows=1, queues=130, odd=False, days=2), seed=2)
    with Hostile(sandbox, hears=from_the_start) as service:
        path = write_config(tmp_path, service, {"source.queues": "all"})
        ran = annolake(command, "--config", path, key=service.api_key, cwd=tmp_path)

    assert ran.exit_code == 4
    assert "shows the same queues at every offset: name the queues to export in source.queues" in ran.out + ran.err


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_listing_that_never_ends_is_told(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New queues on every page: after so many pages one sentence, exit 4."""
    monkeypatch.setattr(queues, "MOST_PAGES", 50)
    with Hostile(
        Sandbox(Population(rows=1, days=2), seed=2), tells_queues(lambda _, asked: [{"id": f"q{asked.query}"}])
    ) as service:
        path = write_config(tmp_path, service, {"source.queues": "all"})
        ran = annolake(command, "--config", path, key=service.api_key, cwd=tmp_path)
        asked = sum(map(lists_queues, service.asked))

    assert (ran.exit_code, asked) == (4, 50)
    assert "the listing of queues never ends" in ran.out + ran.err


def listing_also(record: object) -> Behave:
    """Return a behaviour that lists one record more."""
    return tells_queues(lambda told, asked: [record, *told] if asked.query["offset"] == ["0"] else told)


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("record", [{"name": "nameless"}, {"id": None}, {"id": 7}, "a queue", None, ["x"]])
def test_a_record_without_id_costs_no_other_queue(record: object, command: str, tmp_path: Path) -> None:
    """It is passed over, with one warning; the exit code is what the others earn."""
    with Hostile(Sandbox(Population(rows=3, queues=2, odd=False, days=2), seed=2), listing_also(record)) as service:
        path = write_config(tmp_path, service, {"source.queues": "all"})
        ran = annolake(command, "--config", path, key=service.api_key, cwd=tmp_path)

    assert ran.exit_code == 0, ran.err
    assert ran.err.count("event=queue_records_unreadable records=1") == 1
    if command == "run":
        assert len(with_polars(tmp_path / "lake")) == 6


ODD_IDS = ["", "not a uuid", "../../x", "a/b", "\x1b[2J\nforged", "\x00", "\u2028", "\ud800", "x" * 5_000, "ü"]


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("queue_id", ODD_IDS, ids=lambda text: ascii(text)[1:20])
def test_a_listed_id_that_is_none_fails_alone(queue_id: str, command: str, tmp_path: Path) -> None:
    """Exit 4 for that queue, in printable characters; the others are exported."""
    with Hostile(
        Sandbox(Population(rows=3, queues=2, odd=False, days=2), seed=2), listing_also({"id": queue_id})
    ) as service:
        path = write_config(tmp_path, service, {"source.queues": "all"})
        options = ["--quiet", "--json"] if command == "run" else []
        ran = annolake(command, "--config", path, *options, key=service.api_key, cwd=tmp_path)

    assert ran.exit_code == 4, ran.err
    assert "is not the id of a queue, although the service lists it" in ran.out + ran.err
    assert not [char for char in ran.out + ran.err if not char.isprintable() and char != "\n"]
    if command == "run":
        assert [one["status"] for one in ran.report["queues"]] == ["failed", "ok", "ok"]
        assert len(ran.err.splitlines()) == 1


def test_a_queue_that_is_listed_in_two_spellings_is_exported_once(tmp_path: Path) -> None:
    """Capitals make no other queue."""
    sandbox = Sandbox(Population(rows=3, queues=2, odd=False, days=2), seed=2)
    shouted = tells_queues(lambda told, _: [*told, *({**one, "id": one["id"].upper()} for one in told)])
    with Hostile(sandbox, shouted) as service:
        report = export_once(service, tmp_path, {"source.queues": "all"})

    assert [queue.queue_id for queue in report.queues] == sandbox.queue_ids
    assert report.exit_code == 0
