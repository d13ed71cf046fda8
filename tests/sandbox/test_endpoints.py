"""The endpoints of the first version, over a real socket."""

import gzip
import json
import socket
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from annolake.sandbox import Population, Row, Rules, Sandbox

Connect = Callable[[Sandbox], httpx.Client]

SIGNATURE = b"0" * 64
UNKNOWN = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


def _runs_path(sandbox: Sandbox) -> str:
    return f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}/runs"


def _decoded(body: bytes) -> Any:
    return json.loads(body, parse_float=Decimal)


def _read_all(client: httpx.Client, path: str, **params: str) -> list[Any]:
    rows: list[Any] = []
    while True:
        page = _decoded(client.get(path, params={"offset": str(len(rows)), **params}).raise_for_status().content)
        if not page:
            return rows
        rows += page


def test_the_listing_sends_the_queue_s_rows_in_order(connect: Connect) -> None:
    """Paged to its end, each list holds what the queue's own state says, byte for byte but for signatures."""
    with Sandbox(Population(rows=450)) as sandbox:
        client = connect(sandbox)
        body = client.get(_runs_path(sandbox), params={"offset": 30, "limit": 40}).content
        rows = sandbox.queue().rows("active")
        lists = {flag: _read_all(client, _runs_path(sandbox), archived=flag) for flag in ("false", "true")}

    wanted = b"[" + b",".join(row.text for row in rows[30:70]) + b"]"
    pieces = wanted.split(SIGNATURE)
    assert len(pieces) > 1
    assert body.startswith(pieces[0])
    assert body.endswith(pieces[-1])
    assert len(body) == len(wanted)
    assert [value["queue_run_id"] for value in lists["false"]] == [row.id for row in rows]
    assert [value["queue_run_id"] for value in lists["true"]] == [row.id for row in sandbox.queue().rows("archived")]
    assert len(lists["true"]) == 135


def test_without_archived_the_active_list_is_sent(connect: Connect) -> None:
    """An absent `archived` means false."""
    with Sandbox(Population(rows=50)) as sandbox:
        client = connect(sandbox)
        absent = client.get(_runs_path(sandbox)).json()
        false = client.get(_runs_path(sandbox), params={"archived": "false"}).json()

    assert [row["id"] for row in absent] == [row["id"] for row in false]


def test_signatures_differ_at_every_listing(connect: Connect) -> None:
    """The same page twice differs in nothing but the signatures of its presigned URLs."""
    with Sandbox(Population(rows=200)) as sandbox:
        client = connect(sandbox)
        one, two = (client.get(_runs_path(sandbox)).content for _ in range(2))

    differing = [i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
    assert len(one) == len(two)
    assert differing
    assert SIGNATURE not in one
    assert all(one.rfind(b"Signature=", 0, i) >= i - 64 - len(b"Signature=") for i in differing)


@pytest.mark.parametrize(
    ("params", "field", "kind"),
    [
        ({"limit": "101"}, "limit", "less_than_equal"),
        ({"limit": "0"}, "limit", "greater_than_equal"),
        ({"limit": "ten"}, "limit", "int_parsing"),
        ({"offset": "-1"}, "offset", "greater_than_equal"),
        ({"archived": "maybe"}, "archived", "bool_parsing"),
        ({"include_stats": "2"}, "include_stats", "bool_parsing"),
        ({"status": "done"}, "status", "enum"),
    ],
)
def test_bad_parameters_are_refused_as_the_contract_says(
    connect: Connect, params: dict[str, str], field: str, kind: str
) -> None:
    """A parameter out of its bounds is a 422 that names it in `detail`."""
    with Sandbox(Population(rows=3)) as sandbox:
        answer = connect(sandbox).get(_runs_path(sandbox), params=params)

    assert answer.status_code == 422
    (detail,) = answer.json()["detail"]
    assert (detail["loc"], detail["type"]) == (["query", field], kind)
    assert isinstance(detail["msg"], str)


def test_queue_ids_are_checked(connect: Connect) -> None:
    """A queue id that is no UUID is a 422, one that no queue has a 404, an unknown path a 404."""
    with Sandbox(Population(rows=3)) as sandbox:
        client = connect(sandbox)
        statuses = [
            client.get(f"/api/v1/annotation-queues/{path}").status_code
            for path in ("nine/runs", f"{UNKNOWN}/runs", UNKNOWN, f"{UNKNOWN}/size", f"{UNKNOWN}/elsewhere")
        ]
        posted = client.post(_runs_path(sandbox), json={}).status_code

    assert statuses == [422, 404, 404, 404, 404]
    assert posted == 405


def test_the_key_is_checked() -> None:
    """No key, another key and another's tenant are refused; the key, or a bearer with its tenant, is not."""
    with Sandbox(Population(rows=3)) as sandbox:
        bearer = {"Authorization": f"Bearer {sandbox.api_key}"}
        statuses = [
            httpx.get(sandbox.url + _runs_path(sandbox), headers=headers).status_code
            for headers in (
                {},
                {"X-API-Key": "another"},
                {"X-API-Key": sandbox.api_key, "X-Tenant-Id": UNKNOWN},
                bearer,
                {"X-API-Key": sandbox.api_key},
                {"X-API-Key": sandbox.api_key, "X-Tenant-Id": sandbox.tenant_id},
                bearer | {"X-Tenant-Id": sandbox.tenant_id},
            )
        ]

    assert statuses == [401, 401, 403, 401, 200, 200, 200]


def test_forbidden_endpoints_answer_403_and_the_others_go_on(connect: Connect) -> None:
    """A key may list rows without being allowed to read the queue's record or sizes."""
    with Sandbox(Population(rows=3), rules=Rules(forbid=("queue", "size", "queues"))) as sandbox:
        client = connect(sandbox)
        base = f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}"
        statuses = [
            client.get(path).status_code
            for path in (base, f"{base}/size", "/api/v1/annotation-queues", f"{base}/total_size", f"{base}/runs")
        ]

    assert statuses == [403, 403, 403, 200, 200]


def test_forbidding_an_unknown_endpoint_is_told() -> None:
    """A misspelt endpoint name does not pass silently."""
    with pytest.raises(ValueError, match="unknown endpoint 'sizes', choose from runs"):
        Sandbox(Population(rows=1), rules=Rules(forbid=("sizes",)))


def test_status_filters_by_review_state(connect: Connect) -> None:
    """The three states part the rows: the caller's turn, others' turn, and the archived list."""
    with Sandbox(Population(rows=300, odd=False)) as sandbox:
        client = connect(sandbox)
        mine, others, completed, none = (
            _read_all(client, _runs_path(sandbox), status=status, archived=archived)
            for status, archived in (
                ("needs_my_review", "false"),
                ("needs_others_review", "false"),
                ("completed", "true"),
                ("completed", "false"),
            )
        )
        caller = sandbox.queue().cast.caller.id

    assert len(mine) + len(others) == 210
    assert others
    assert all(caller in row["completed_by"] for row in others)
    assert not any(caller in row["completed_by"] for row in mine)
    assert len(completed) == 90
    assert none == []


def test_without_stats_feedback_is_null(connect: Connect) -> None:
    """`include_stats=false` leaves the feedback out and nothing else."""
    with Sandbox(Population(rows=100, odd=False)) as sandbox:
        client = connect(sandbox)
        with_stats, without = (
            client.get(_runs_path(sandbox), params={"include_stats": flag}).json() for flag in ("true", "false")
        )

    assert any(row["feedback_stats"] for row in with_stats)
    assert [{**row, "feedback_stats": None} for row in with_stats] == without


def test_a_page_cap_shortens_every_page(connect: Connect) -> None:
    """A server that caps pages answers fewer rows than asked for, without saying so."""
    with Sandbox(Population(rows=100), rules=Rules(page_cap=30)) as sandbox:
        sizes = [len(connect(sandbox).get(_runs_path(sandbox), params={"offset": o}).json()) for o in (0, 60)]

    assert sizes == [30, 10]


def test_ties_can_be_unstable(connect: Connect) -> None:
    """With unstable ties, rows of equal times swap between two requests, all others keep their places."""
    with Sandbox(Population(rows=100, archived_share=0, odd=False), rules=Rules(unstable_ties=True)) as sandbox:
        client = connect(sandbox)
        one, two = (client.get(_runs_path(sandbox)).json() for _ in range(2))

    assert [row["added_at"] for row in one] == [row["added_at"] for row in two]
    assert [row["id"] for row in one] != [row["id"] for row in two]
    assert {row["id"] for row in one} == {row["id"] for row in two}


def test_queues_are_listed_filtered_and_read_one_by_one(connect: Connect) -> None:
    """The listing pages and filters by ids, name and part of a name; one queue has the same record."""
    with Sandbox(Population(rows=12, queues=8)) as sandbox:
        client = connect(sandbox)

        def listed(**params: Any) -> list[str]:
            answer = client.get("/api/v1/annotation-queues", params=params).raise_for_status()
            return [queue["id"] for queue in answer.json()]

        every = client.get("/api/v1/annotation-queues").json()
        one = client.get(f"/api/v1/annotation-queues/{every[1]['id']}").json()
        ids = sandbox.queue_ids

        assert listed() == ids
        assert listed(offset=6, limit=100) == ids[6:]
        assert listed(limit=1, offset=2) == [ids[2]]
        assert listed(ids=[ids[3], ids[0]]) == [ids[0], ids[3]]
        assert listed(name="Support answers") == [ids[0]]
        assert listed(name_contains="ANSWERS") == [ids[0], ids[3], ids[6]]
        assert listed(name="Support") == []
        rubric = {"rubric_instructions", "rubric_items"}
        assert every[1] == {**{name: one[name] for name in one.keys() - rubric}, "total_runs": 12}
        assert rubric <= one.keys()
        assert one["assigned_reviewers"][0].keys() == {"id", "name", "email"}
        assert client.get("/api/v1/annotation-queues", params={"limit": 101}).status_code == 422


def test_sizes_count(connect: Connect) -> None:
    """The three sizes follow the rows of the two lists."""
    with Sandbox(Population(rows=100)) as sandbox:
        client = connect(sandbox)

        def sizes() -> list[int]:
            base = f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}"
            return [client.get(f"{base}/{name}").json()["size"] for name in ("size", "total_size", "total_archived")]

        before = sizes()
        queue = sandbox.queue()
        queue.finish(queue.rows("active")[0].id)
        queue.delete(queue.rows("active")[0].id)

        assert (before, sizes()) == ([70, 100, 30], [68, 99, 31])


def test_the_runs_listing_can_be_retired(connect: Connect) -> None:
    """From the third request on the listing is gone, with the status that was chosen; the queue lives on."""
    for status in (410, 404):
        with Sandbox(Population(rows=5), rules=Rules(retire_runs_after=3, retired_status=status)) as sandbox:
            client = connect(sandbox)
            statuses = [client.get(_runs_path(sandbox)).status_code for _ in range(4)]
            queue = client.get(f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}").status_code

        assert statuses == [200, 200, status, status]
        assert queue == 200


def test_connections_are_kept_open() -> None:
    """HTTP/1.1: several requests are answered on one connection."""
    with Sandbox(Population(rows=5)) as sandbox:
        lines = (f"GET {_runs_path(sandbox)} HTTP/1.1", "Host: sandbox", f"X-API-Key: {sandbox.api_key}")
        request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        with socket.create_connection(("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(request * 3)
            with connection.makefile("rb") as answers:
                for _ in range(3):
                    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                    length = 0
                    while (line := answers.readline()) != b"\r\n":
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    assert len(json.loads(answers.read(length))) == 3


def test_gzip_is_for_those_who_ask_and_large_answers() -> None:
    """Compression needs the option, the client's wish and a body that is worth it."""
    with Sandbox(Population(rows=60), rules=Rules(gzip=True)) as sandbox, httpx.Client(base_url=sandbox.url) as client:

        def encoded(path: str, accept: str) -> tuple[str | None, bytes]:
            headers = {"X-API-Key": sandbox.api_key, "Accept-Encoding": accept}
            with client.stream("GET", path, headers=headers) as answer:
                return answer.headers.get("Content-Encoding"), b"".join(answer.iter_raw())

        page, packed = encoded(_runs_path(sandbox), "gzip, deflate")

        assert page == "gzip"
        assert len(json.loads(gzip.decompress(packed))) == 42
        assert encoded(_runs_path(sandbox), "identity")[0] is None
        assert encoded(f"/api/v1/annotation-queues/{sandbox.queue_ids[0]}/size", "gzip")[0] is None


def test_requests_are_recorded_without_the_key(connect: Connect) -> None:
    """Tests can read what was asked, what was answered and by whom, but never the key."""
    with Sandbox(Population(rows=5)) as sandbox:
        connect(sandbox).get(_runs_path(sandbox), params={"limit": 2}, headers={"User-Agent": "me/1"})
        connect(sandbox).get("/elsewhere")
        first, second = sandbox.requests

    assert (first.number, first.method, first.endpoint, first.status, first.rows) == (1, "GET", "runs", 200, 2)
    assert (first.path, first.query, first.queue_id) == (_runs_path(sandbox), {"limit": "2"}, sandbox.queue_ids[0])
    assert first.headers["user-agent"] == "me/1"
    assert first.key_seen
    assert sandbox.api_key not in repr(sandbox.requests)
    assert (second.endpoint, second.status, second.queue_id) == ("", 404, None)


def test_planted_rows_are_sent_as_they_are(connect: Connect) -> None:
    """Whatever bytes stand for a row reach the wire: a lone surrogate, seventy bits, no object at all."""
    with Sandbox(Population(rows=4, archived_share=0)) as sandbox:
        queue = sandbox.queue()
        texts = [b'{"name":"\\ud800"}', b'{"total_tokens":1180591620717411303424}', b"17", b'{"id":']
        for row, text in zip(queue.rows("active"), texts, strict=True):
            queue.set_text(row.id, text)
        body = connect(sandbox).get(_runs_path(sandbox)).content

    assert body == b"[" + b",".join(texts) + b"]"


def test_a_sandbox_can_leave_and_come_back(connect: Connect) -> None:
    """A sandbox that was left refuses connections; entered again it goes on with the same rows."""
    sandbox = Sandbox(Population(rows=5))
    with pytest.raises(RuntimeError, match="no address before it is entered"):
        _ = sandbox.url
    with sandbox:
        first = connect(sandbox).get(_runs_path(sandbox)).json()
        gone = sandbox.url
    with pytest.raises(httpx.ConnectError):
        httpx.get(gone)
    with sandbox:
        again = connect(sandbox).get(_runs_path(sandbox)).json()

    assert [row["id"] for row in first] == [row["id"] for row in again]


def test_rows_decode_exactly() -> None:
    """A row's value holds decimals where its text holds numbers with a point."""
    row = Row("x", 0, (b'{"a": 1.10, "b": 1E-7, "c": 3}',))

    assert row.value() == {"a": Decimal("1.10"), "b": Decimal("1E-7"), "c": 3}
    assert row.members() == {"a": b"1.10", "b": b"1E-7", "c": b"3"}
