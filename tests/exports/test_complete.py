"""Exports of services that show less than there is: nothing lost, nothing marked removed that is still there."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from annolake.report import QueueReport
from annolake.sandbox import Changes, Population, Queue, Sandbox, Showing
from annolake.sandbox.answers import Asked
from exporting import ROWS_ALONE, annolake, export_once, export_rows, one_queue, with_duckdb, with_polars, write_config
from hostile import Hostile

ENDPOINTS = ["runs", "items"]


def untold(_true: int) -> None:
    """Tell no size."""


def ids(queue: Queue, *sections: Any) -> list[str]:
    """Return the ids of a queue's rows, in order."""
    return [row.id for section in sections or ("active", "archived") for row in queue.rows(section)]


def ran(sandbox: Sandbox, folder: Path, *options: str, endpoint: str = "runs") -> tuple[int, dict[str, Any]]:
    """Run the command against a sandbox; return its exit code and the queue's part of the report."""
    config = write_config(folder, sandbox, {**ROWS_ALONE, "source.endpoint": endpoint})
    done = annolake("run", "--config", config, "--json", *options, key=sandbox.api_key, cwd=folder)
    return done.exit_code, done.report["queues"][0]


def live(folder: Path) -> set[str]:
    """Return the ids of the rows in the lake that are not marked removed, as both engines read them."""
    found = [
        {key for key, row in read(folder / "lake").items() if row["removed_at"] is None}
        for read in (with_polars, with_duckdb)
    ]
    assert found[0] == found[1]
    return found[0]


# --- the same rows in every list


def ignoring(name: str, value: str | None) -> Callable[[Asked], Asked]:
    """Hear a parameter of the lists with that value, or not at all."""

    def hear(asked: Asked) -> Asked:
        if not asked.path.endswith(("/runs", "/items")) or name not in asked.query:
            return asked
        others = {other: values for other, values in asked.query.items() if other != name}
        return replace(asked, query={**others, name: [value]} if value else others)

    return hear


@pytest.mark.parametrize(
    ("endpoint", "hear"),
    [
        ("runs", ignoring("archived", None)),
        ("runs", ignoring("archived", "true")),
        ("items", ignoring("status", "needs_my_review")),
        ("items", ignoring("status", "archived")),
    ],
)
@pytest.mark.parametrize("rows", [8, 250])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_a_service_that_shows_one_list_for_all_is_not_complete(
    rate: float, rows: int, endpoint: str, hear: Callable[[Asked], Asked], tmp_path: Path
) -> None:
    """It ignores the parameter that names the list: what the others have is not shown, and nothing of it is removed."""
    ignores = False
    changes = Changes(rate=rate, kinds=("add",))
    sandbox = Sandbox(Population(rows=rows, odd=False, days=2, threads=2), seed=3, changes=changes)
    with Hostile(sandbox, hears=lambda asked: hear(asked) if ignores else asked) as service:
        settings = {**ROWS_ALONE, "source.endpoint": endpoint}
        healthy = one_queue(export_once(service, tmp_path, settings))
        ignores = True
        export = export_once(service, tmp_path, settings)

    report = one_queue(export)
    assert healthy.complete
    assert (export.exit_code, report.complete, report.removed) == (3, False, 0)
    assert "the service shows the same rows in more than one list" in report.incomplete_because


# --- answers cut by bytes


def heavy(sandbox: Sandbox) -> None:
    """Make four of ten rows 60 kB heavy."""
    rng = random.Random(1)
    for row_id in ids(sandbox.queue()):
        if rng.random() < 0.4:
            sandbox.queue().edit(row_id, inputs={"text": "x" * 60_000})


@pytest.mark.parametrize("size", [int, lambda true: true // 3, untold])
@pytest.mark.parametrize("cap", [100_000, 1_000_000])
def test_answers_cut_by_bytes_lose_nothing(cap: int, size: Callable[[int], int | None], tmp_path: Path) -> None:
    """A service that caps answers by bytes is read to its end, whatever it says of the size, and removes nothing."""
    with Sandbox(Population(rows=150, odd=False, days=2), seed=1) as sandbox:
        export_rows(sandbox, tmp_path)
        heavy(sandbox)
        sandbox.showing = Showing(bytes_cap=cap, size=size)
        report = one_queue(export_rows(sandbox, tmp_path))
        there = set(ids(sandbox.queue()))

    assert (report.complete, report.exit_code, report.removed, report.rows_not_shown) == (True, 0, 0, 0)
    assert live(tmp_path) == there


def test_answers_cut_by_bytes_lose_nothing_over_items(tmp_path: Path) -> None:
    """Pages of items that are shorter than asked for go on at their cursor."""
    with Sandbox(Population(rows=300, odd=False, days=2), seed=1) as sandbox:
        sandbox.showing = Showing(bytes_cap=10_000)
        exit_code, report = ran(sandbox, tmp_path, endpoint="items")

    assert (exit_code, report["complete"], report["rows_not_shown"]) == (0, True, 0)
    assert live(tmp_path) == set(ids(sandbox.queue()))


def test_windows_that_show_nothing_lose_nothing(tmp_path: Path) -> None:
    """A service that shows nothing of a window that is too heavy is asked for fewer rows at once."""
    with Sandbox(Population(rows=120, odd=False, days=2), seed=1) as sandbox:
        heavy(sandbox)
        sandbox.showing = Showing(bytes_cap=200_000, empty_over_cap=True)
        exit_code, report = ran(sandbox, tmp_path)

    assert (exit_code, report["complete"]) == (0, True)
    assert live(tmp_path) == set(ids(sandbox.queue()))


# --- rows left out


LAYOUTS: dict[str, Callable[[list[str]], list[str]]] = {
    "first": lambda rows: rows[:60],
    "middle": lambda rows: rows[100:220],
    "last": lambda rows: rows[-30:],
    "every third": lambda rows: rows[::3],
    "one": lambda rows: rows[150:151],
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_left_out_cost_no_other_row(layout: str, endpoint: str, tmp_path: Path) -> None:
    """All rows that the service shows arrive, and the report tells how many it counts besides."""
    with Sandbox(Population(rows=400, odd=False, days=2), seed=1) as sandbox:
        hidden = LAYOUTS[layout](ids(sandbox.queue(), "active"))
        sandbox.showing = Showing(hidden=frozenset(hidden))
        exit_code, report = ran(sandbox, tmp_path, endpoint=endpoint)

    assert live(tmp_path) == set(ids(sandbox.queue())) - set(hidden)
    assert (exit_code, report["complete"], report["rows_not_shown"]) == (0, True, len(hidden))


def test_a_section_that_ends_at_a_short_page_is_told(tmp_path: Path) -> None:
    """A cursor that ends where an item is left out loses the items behind it, and the export is not complete."""
    with Sandbox(Population(rows=600, odd=False, days=2), seed=1) as sandbox:
        sandbox.showing = Showing(hidden=frozenset(ids(sandbox.queue(), "active")[250:251]), ends_when_short=True)
        exit_code, report = ran(sandbox, tmp_path, endpoint="items")

    assert (exit_code, report["complete"]) == (3, False)


# --- rows that are not shown any more


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_empty_answers_remove_nothing(endpoint: str, tmp_path: Path) -> None:
    """Empty answers to every request, while sizes tell of 150 rows: none is marked removed, and the command says so."""
    with Sandbox(Population(rows=150, odd=False, days=2), seed=1) as sandbox:
        ran(sandbox, tmp_path, endpoint=endpoint)
        sandbox.showing = Showing(nothing=True)
        exit_code, report = ran(sandbox, tmp_path, endpoint=endpoint)
        accepted, _ = ran(sandbox, tmp_path, "--accept-removals", endpoint=endpoint)

    assert (exit_code, report["status"], report["removed"]) == (3, "partial", 0)
    assert (report["removed_unconfirmed"], report["rows_not_shown"]) == (150, 150)
    assert accepted == 0
    assert live(tmp_path) == set()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_many_rows_that_left_are_removed_once_two_readings_agree(endpoint: str, tmp_path: Path) -> None:
    """More than a fifth of the queue was deleted: it is read again, and they are marked removed."""
    with Sandbox(Population(rows=200, odd=False, days=2), seed=1) as sandbox:
        ran(sandbox, tmp_path, endpoint=endpoint)
        queue = sandbox.queue()
        for row_id in ids(queue)[:120]:
            queue.delete(row_id)
        exit_code, report = ran(sandbox, tmp_path, endpoint=endpoint)

    assert (exit_code, report["removed"], report["removed_unconfirmed"]) == (0, 120, 0)
    assert live(tmp_path) == set(ids(queue))


@pytest.mark.parametrize(("endpoint", "beginnings"), [("runs", 1), ("items", 2)])
def test_a_second_reading_that_shows_them_again_removes_nothing(endpoint: str, beginnings: int, tmp_path: Path) -> None:
    """Rows that only the first reading did not show are not removed, though the sizes do not tell of them.

    Over items the first page is looked at once more before the second reading.
    """

    def begun(sandbox: Sandbox) -> int:
        asked = [record.query for record in sandbox.requests if record.endpoint == endpoint]
        first = {"archived": "false", "offset": "0"} if endpoint == "runs" else {"status": "needs_my_review"}
        return sum(first.items() <= query.items() and "cursor" not in query for query in asked)

    def change(sandbox: Sandbox, _number: int) -> None:
        if before and begun(sandbox) - before[0] > beginnings:
            sandbox.showing = Showing()

    before: list[int] = []
    with Sandbox(Population(rows=200, odd=False, days=2), seed=1, before_request=change) as sandbox:
        ran(sandbox, tmp_path, endpoint=endpoint)
        hidden = frozenset(ids(sandbox.queue(), "active")[-100:])
        sandbox.showing = Showing(hidden=hidden, size=lambda true: true - 100 if true > 100 else true)
        before.append(begun(sandbox))
        exit_code, report = ran(sandbox, tmp_path, endpoint=endpoint)

    assert sandbox.showing == Showing()
    assert report["removed"] == 0
    assert exit_code == (3 if report["removed_unconfirmed"] else 0)
    assert live(tmp_path) == set(ids(sandbox.queue()))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_many_rows_are_not_removed_where_no_size_is_told(endpoint: str, tmp_path: Path) -> None:
    """Without a told size nothing speaks for it that so many rows left."""
    with Sandbox(Population(rows=200, odd=False, days=2), seed=1) as sandbox:
        ran(sandbox, tmp_path, endpoint=endpoint)
        queue = sandbox.queue()
        for row_id in ids(queue)[:120]:
            queue.delete(row_id)
        sandbox.showing = Showing(size=untold)
        exit_code, report = ran(sandbox, tmp_path, endpoint=endpoint)

    assert (exit_code, report["removed"], report["removed_unconfirmed"]) == (3, 0, 120)
    assert "does not report the queue's size" in report["unconfirmed_because"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_few_rows_are_removed_while_the_sizes_agree(endpoint: str, tmp_path: Path) -> None:
    """Rows still counted are not removed; when they are counted no more, or shown again, the next export tells."""
    with Sandbox(Population(rows=200, odd=False, days=2), seed=1) as sandbox:
        queue = sandbox.queue()
        ran(sandbox, tmp_path, endpoint=endpoint)
        expired = ids(queue, "active")[5:12]
        sandbox.showing = Showing(hidden=frozenset(expired))
        first = ran(sandbox, tmp_path, endpoint=endpoint)
        kept = live(tmp_path)
        sandbox.showing = Showing()
        second = ran(sandbox, tmp_path, endpoint=endpoint)
        queue.delete(expired[0])
        third = ran(sandbox, tmp_path, endpoint=endpoint)

    assert [(code, report["removed"], report["removed_unconfirmed"]) for code, report in (first, second, third)] == [
        (0, 0, 7),
        (0, 0, 0),
        (0, 1, 0),
    ]
    assert set(expired) < kept


def test_sizes_that_always_count_more_hold_nothing_back(tmp_path: Path) -> None:
    """What a size counts is not known, so only its change means something: a row that left is marked removed."""
    with Sandbox(Population(rows=200, odd=False, days=2), seed=1) as sandbox:
        sandbox.showing = Showing(size=lambda true: true + 9)
        ran(sandbox, tmp_path)
        sandbox.queue().delete(ids(sandbox.queue())[7])
        exit_code, report = ran(sandbox, tmp_path)

    assert (exit_code, report["removed"], report["removed_unconfirmed"], report["rows_not_shown"]) == (0, 1, 0, 18)


# --- answers that mean nothing


class Mock(BaseHTTPRequestHandler):
    """Answers as a mock made from the OpenAPI document does: rows and sizes at random."""

    disable_nagle_algorithm = True  # else every answer takes 40 ms
    rng: random.Random
    row: dict[str, Any]

    def do_GET(self) -> None:
        """Answer with random rows, or a random size."""
        if "/runs" in self.path:
            answer: Any = [self._row() for _ in range(self.rng.choice([0, 0, 1, 3, 20]))]
        elif "size" in self.path or "total" in self.path:
            answer = {"size": self.rng.choice([0, 7, 500])}
        else:
            answer = {"id": self.path.rsplit("/", 1)[-1], "name": "mock"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _row(self) -> dict[str, Any]:
        return {**self.row, "queue_run_id": f"00000000-0000-4000-8000-{self.rng.getrandbits(48):012x}"}

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


@pytest.mark.parametrize("seed", range(3))
def test_random_pages_are_never_complete(seed: int, tmp_path: Path) -> None:
    """A mock that invents rows for every answer, none among them, is not complete."""
    with Sandbox(Population(rows=1, odd=False, days=2), seed=1) as sandbox:
        row = json.loads(next(sandbox.queue().row(row_id).text for row_id in ids(sandbox.queue())))
        handler = type("Seeded", (Mock,), {"rng": random.Random(seed), "row": row, "protocol_version": "HTTP/1.1"})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            settings = {"source.base_url": f"http://127.0.0.1:{server.server_port}", "source.endpoint": "runs"}
            report: QueueReport = one_queue(export_rows(sandbox, tmp_path, settings))
            server.shutdown()
            thread.join()

    assert not report.complete
    assert report.exit_code in {3, 4}
