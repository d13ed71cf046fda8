"""Every fault really happens on the wire, when and how the options say."""

import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from annolake.clock import Clock
from annolake.sandbox import Faults, Population, Sandbox
from annolake.sandbox.faults import FAULTS

Connect = Callable[[Sandbox], httpx.Client]

NOW = datetime(2026, 11, 20, 18, tzinfo=UTC)


def _runs_path(sandbox: Sandbox) -> str:
    return f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}/runs"


class Hands:
    """A clock whose hands a test moves; `sleep` moves them too."""

    def __init__(self) -> None:
        self.at = 0.0
        self.slept: list[float] = []
        self.clock = Clock(now=lambda: NOW + timedelta(seconds=self.at), monotonic=lambda: self.at, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        """Let time pass at once, and take note."""
        self.slept.append(seconds)
        self.at += seconds


@pytest.fixture
def faulty(connect: Connect) -> Callable[[str], httpx.Response]:
    """Return a function that asks a sandbox whose only answer has that fault."""

    def ask(fault: Any) -> httpx.Response:
        with Sandbox(Population(rows=40), faults=Faults(script=[fault])) as sandbox:
            return connect(sandbox).get(_runs_path(sandbox))

    return ask


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 507, 520, 529])
def test_status_faults(faulty: Callable[[str], httpx.Response], status: int) -> None:
    """Each of the statuses that may pass comes with a body that says nothing."""
    answer = faulty(str(status))

    assert answer.status_code == status
    assert set(answer.json()) == {"detail"}


def test_retry_after_in_its_three_forms(connect: Connect) -> None:
    """A 429 tells seconds, an HTTP date that much ahead, or nothing; plain ones take the configured form."""
    script: Any = ["429_seconds", "429_date", "429_none", "429"]
    faults = Faults(script=script, retry_after="date", retry_after_s=7)
    with Sandbox(Population(rows=3), faults=faults, clock=Hands().clock) as sandbox:
        answers = [connect(sandbox).get(_runs_path(sandbox)) for _ in script]

    seconds, date, none, plain = (answer.headers.get("Retry-After") for answer in answers)
    assert (seconds, none) == ("7", None)
    assert parsedate_to_datetime(str(date)) == parsedate_to_datetime(str(plain)) == NOW + timedelta(seconds=7)


def test_a_reset_cuts_the_body_and_the_connection() -> None:
    """The peer gets part of the body, then a reset (not an orderly end) while it reads."""
    with Sandbox(Population(rows=1000, archived_share=0), faults=Faults(script=["reset"])) as sandbox:
        port = int(sandbox.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"GET {_runs_path(sandbox)} HTTP/1.1\r\nX-API-Key: {sandbox.api_key}\r\n\r\n"
            connection.sendall(head.encode())
            chunks = iter(lambda: connection.recv(100), b"")
            with pytest.raises(ConnectionResetError):
                sum(map(len, chunks))


def test_a_reset_is_a_transport_error_to_a_client(faulty: Callable[[str], httpx.Response]) -> None:
    """An HTTP client sees the reset as an error of the wire, not as an answer."""
    with pytest.raises(httpx.TransportError):
        faulty("reset")


def test_a_dropped_connection_answers_nothing(faulty: Callable[[str], httpx.Response]) -> None:
    """The connection closes before the first byte of an answer."""
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        faulty("drop")


def test_a_short_body_ends_before_its_length(faulty: Callable[[str], httpx.Response]) -> None:
    """The connection closes in an orderly way, but the body lacks what Content-Length announced."""
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        faulty("short")


def test_truncated_json_has_the_length_it_announces(faulty: Callable[[str], httpx.Response]) -> None:
    """Half of the JSON arrives whole, with status 200 and a Content-Length that fits."""
    answer = faulty("truncated")

    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        json.loads(answer.content)


def test_a_proxy_s_page_has_status_200(faulty: Callable[[str], httpx.Response]) -> None:
    """An HTML page stands where JSON was promised."""
    answer = faulty("html")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.text.startswith("<!doctype html>")


def test_json_of_a_wrong_shape(connect: Connect) -> None:
    """A list is answered by an object, an object by a list, both with status 200."""
    with Sandbox(Population(rows=3), faults=Faults(script=["wrong_shape", "wrong_shape"])) as sandbox:
        client = connect(sandbox)
        runs = client.get(_runs_path(sandbox))
        queue = client.get(f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}")

    assert (runs.status_code, type(runs.json())) == (200, dict)
    assert (queue.status_code, type(queue.json())) == (200, list)


def test_a_redirect_leads_to_another_host(connect: Connect) -> None:
    """The redirect names the same path on another host, by default one that leads back to the sandbox."""
    with Sandbox(Population(rows=3), faults=Faults(script=["redirect"])) as sandbox:
        answer = connect(sandbox).get(_runs_path(sandbox))
        port = sandbox.url.rsplit(":", 1)[1]

        assert answer.status_code == 307
        assert answer.headers["Location"] == f"http://localhost:{port}{_runs_path(sandbox)}"
        assert httpx.get(answer.headers["Location"]).status_code == 401
        assert [record.key_seen for record in sandbox.requests] == [True, False]


def test_a_redirect_can_lead_to_a_chosen_place(connect: Connect) -> None:
    """A test may choose where a redirect leads."""
    faults = Faults(script=["redirect"], redirect_to="http://127.0.0.9:9")
    with Sandbox(Population(rows=3), faults=faults) as sandbox:
        answer = connect(sandbox).get(_runs_path(sandbox))

    assert answer.headers["Location"] == f"http://127.0.0.9:9{_runs_path(sandbox)}"


def test_a_repeated_page_ignores_the_offset(connect: Connect) -> None:
    """The first page comes back whatever offset is asked for."""
    with Sandbox(Population(rows=60, archived_share=0), faults=Faults(rate=1, kinds=("repeat",))) as sandbox:
        client = connect(sandbox)
        first, later, beyond = (
            [row["id"] for row in client.get(_runs_path(sandbox), params={"offset": o, "limit": 10}).json()]
            for o in (0, 30, 500)
        )

    assert first == later == beyond
    assert len(first) == 10


def test_after_the_script_all_is_well(connect: Connect) -> None:
    """A script is used up request by request, refused ones aside, and a client goes on after each fault."""
    script: Any = ["ok", "503", "truncated", "short", "drop"]
    with Sandbox(Population(rows=5, archived_share=0), faults=Faults(script=script)) as sandbox:
        seen: list[Any] = []
        httpx.get(sandbox.url + _runs_path(sandbox))
        for _ in range(7):
            try:
                answer = connect(sandbox).get(_runs_path(sandbox))
                seen.append(len(answer.json()) if answer.status_code == 200 else answer.status_code)
            except (httpx.TransportError, ValueError) as error:
                seen.append(type(error).__name__)

        assert seen == [5, 503, "JSONDecodeError", "RemoteProtocolError", "RemoteProtocolError", 5, 5]
        assert [record.fault for record in sandbox.requests][1:6] == script


def test_a_rate_of_faults_is_the_same_for_a_seed(connect: Connect) -> None:
    """By seed and number, a share of the requests meets faults of the chosen kinds."""
    kinds: Any = ("500", "429_none")
    statuses = []
    for seed in (3, 3, 4):
        with Sandbox(Population(rows=2), seed=seed, faults=Faults(rate=0.4, kinds=kinds)) as sandbox:
            client = connect(sandbox)
            statuses.append([client.get(_runs_path(sandbox)).status_code for _ in range(60)])

    assert statuses[0] == statuses[1] != statuses[2]
    assert set(statuses[0]) == {200, 500, 429}
    assert 12 <= sum(status != 200 for status in statuses[0]) <= 36


def test_faults_can_be_kept_to_some_endpoints(connect: Connect) -> None:
    """Endpoints that are not named meet no fault and use up no script."""
    with Sandbox(Population(rows=2), faults=Faults(script=["503"], endpoints=("runs",))) as sandbox:
        client = connect(sandbox)
        queue = client.get(f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}").status_code
        runs = [client.get(_runs_path(sandbox)).status_code for _ in range(2)]

    assert (queue, runs) == (200, [503, 200])


def test_a_rate_limit_is_a_sliding_window(connect: Connect) -> None:
    """Ten requests pass in any second, the eleventh is a 429 that costs no room in the window."""
    hands = Hands()
    with Sandbox(Population(rows=2), faults=Faults(rate_limit=10), clock=hands.clock) as sandbox:
        client = connect(sandbox)

        def ask(times: int) -> list[int]:
            return [client.get(_runs_path(sandbox)).status_code for _ in range(times)]

        assert ask(5) == [200] * 5
        hands.at = 0.6
        assert ask(7) == [200] * 5 + [429] * 2
        hands.at = 1.0
        assert ask(6) == [200] * 5 + [429]
        hands.at = 1.6
        answer = [client.get(_runs_path(sandbox)) for _ in range(6)][-1]

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def test_latency_is_slept_for_each_request(connect: Connect) -> None:
    """Half of the latency is spent before the one moment of the answer, half after it."""
    hands = Hands()
    with Sandbox(Population(rows=2), faults=Faults(latency_s=0.1), clock=hands.clock) as sandbox:
        connect(sandbox).get(_runs_path(sandbox))

    assert hands.slept == [0.05, 0.05]


def test_latency_does_not_serialise_requests() -> None:
    """Eight requests on eight connections are all on their way before the first of them is answered."""
    all_there = threading.Barrier(8)

    def meet(_: float) -> None:
        all_there.wait(timeout=10)

    clock = Clock(sleep=meet)
    with Sandbox(Population(rows=2), faults=Faults(latency_s=1), clock=clock) as sandbox:
        statuses: list[int] = []

        def ask() -> None:
            headers = {"X-API-Key": sandbox.api_key}
            statuses.append(httpx.get(sandbox.url + _runs_path(sandbox), headers=headers).status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert statuses == [200] * 8


def test_unknown_faults_are_told() -> None:
    """A misspelt fault does not pass silently as no fault."""
    misspelt: Any = ["resett"]
    with pytest.raises(ValueError, match="unknown fault 'resett', choose from ok, 429"):
        Faults(script=misspelt)


def test_every_fault_has_a_test_here() -> None:
    """No fault is left out of this file."""
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123 - this very file
        text = file.read()

    assert [fault for fault in FAULTS if fault not in text] == []
