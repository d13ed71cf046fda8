"""How items are put into batches, and a query that never ends."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from annolake.errors import UnavailableError
from annolake.extract.endpoints.runs_query import Batch, Batches, RunsQuery
from annolake.extract.http.client import Caller
from sources.reading import client_of

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Subject:
    """An item, as far as batches go."""

    run_id: str | None
    project_id: str | None = "p"
    start_time: datetime | None = NOON


@dataclass(frozen=True)
class Answer:
    """A page of a query."""

    cursor: str | None = None
    runs: dict[str, int] = field(default_factory=dict)
    size: int = 1


def batches_of(items: list[Subject], size: int) -> list[list[str | None]]:
    """Return the runs of each batch that these items make."""
    batches: Batches = Batches(lambda: size)
    batches.add(items)
    made = [*batches.full(), *batches.rest()]
    return [[item.run_id for item in batch.items] for batch in made]


def test_batches_are_full_and_keep_the_order_whatever_the_project() -> None:
    """Items near in time are asked for together; only the last batch is smaller."""
    items = [Subject(f"{project}{n}", project) for n in range(3) for project in ("a", "b")]

    assert batches_of(items, 4) == [["a0", "b0", "a1", "b1"], ["a2", "b2"]]


def test_a_size_that_shrinks_meanwhile_is_kept_to() -> None:
    """What waited for a large batch is cut into smaller ones."""
    size = [100]
    batches: Batches = Batches(lambda: size[0])
    waiting, last = [Subject(str(n)) for n in range(9)], Subject("9")

    batches.add(waiting)
    assert not list(batches.full())
    size[0] = 4
    batches.add([last])
    made = [*batches.full(), *batches.rest()]

    assert [len(batch.items) for batch in made] == [4, 4, 2]
    assert [item.run_id for batch in made for item in batch.items] == [str(n) for n in range(10)]


def test_items_of_unknown_start_are_asked_for_apart() -> None:
    """They would unbound the query of the others."""
    items = [Subject("1"), Subject("2", start_time=None), Subject("3"), Subject("4", "q", None), Subject("5", "q")]

    assert batches_of(items, 100) == [["1", "3", "5"], ["2", "4"]]


def test_items_without_a_run_or_a_project_are_never_asked_for() -> None:
    """They come out all the same, each once."""
    items = [Subject(None), Subject("1"), Subject("2", None), Subject(None, None, None)]

    assert [sorted(batch, key=str) for batch in batches_of(items, 100)] == [["1", "2", None, None]]
    assert list(Batch(items).asked) == ["1"]


@pytest.fixture
def asked() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Serve answers to any query, and remember the queries."""
    bodies: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def query(url: str, items: list[Subject], answer: Answer) -> list[str]:
    """Ask for items at a service that gives always this answer; return the missing runs."""
    with client_of(url) as client:
        runs = RunsQuery(client, ("ID", "NAME"), Caller())
        found = runs.read(Batch(items), lambda _: answer)[0].runs
        return [item.run_id for item in items if item.run_id and item.run_id not in found]


def test_an_answer_without_end_is_an_error(asked: tuple[str, list[dict[str, object]]]) -> None:
    """A cursor behind every page, and never all the runs: an error after three pages for each of them."""
    with pytest.raises(UnavailableError, match="answer to a query of 2 runs never ends"):
        query(asked[0], [Subject("1"), Subject("2")], Answer(cursor="again", runs={"1": 1}))

    assert len(asked[1]) == 6


def test_an_answer_that_has_all_is_the_last(asked: tuple[str, list[dict[str, object]]]) -> None:
    """Where every run came, the cursor is not followed to an empty page."""
    assert query(asked[0], [Subject("1")], Answer(cursor="more", runs={"1": 1, "2": 2})) == []
    assert len(asked[1]) == 1


def test_bounds_reach_a_little_further_and_then_a_day(asked: tuple[str, list[dict[str, object]]]) -> None:
    """The span of starts is widened by a second, and for a run that did not come back by a day."""
    items = [Subject("1"), Subject("2", start_time=NOON + timedelta(hours=1, microseconds=1))]

    assert query(asked[0], items, Answer(runs={"2": 1})) == ["1"]
    spans = [(body["ids"], body["min_start_time"], body["max_start_time"]) for body in asked[1]]
    assert spans == [
        (["1", "2"], "2026-11-20T11:59:59Z", "2026-11-20T13:00:01.000001Z"),
        (["1"], "2026-11-19T12:00:00Z", "2026-11-21T12:00:00Z"),
    ]


def test_the_ends_of_the_calendar_are_bounds(asked: tuple[str, list[dict[str, object]]]) -> None:
    """A start in the year 1 or 9999 is asked for as it is."""
    items = [
        Subject("1", start_time=datetime.min.replace(tzinfo=UTC)),
        Subject("2", start_time=datetime.max.replace(tzinfo=UTC)),
    ]

    query(asked[0], items, Answer(runs={"1": 1, "2": 2}))
    assert asked[1][0]["min_start_time"] == "0001-01-01T00:00:00Z"
    assert asked[1][0]["max_start_time"] == "9999-12-31T23:59:59.999999Z"
