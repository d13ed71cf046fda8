"""The dashboard: its numbers are the views', nothing from the lake is more than text, and nothing is loaded."""

import json
import os
import re
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import annolake
from annolake.commands import dashboard as command
from annolake.commands.dashboard import dashboard
from annolake.config import Config, load_lake_config
from annolake.read.dashboard.sums import total
from annolake.sandbox import Population, Sandbox
from exporting import Ran, annolake_process, export_once, write_config
from exporting import annolake as ran
from read.html_page import Element, read_page, sections, table_of, tiles, title_of
from read.lakes import SECOND, Odd, copy_of

NAMES = (
    "<script>alert(1)</script>",
    "\u202eevil\u202c \"quoted\" & 'single'",
    "</svg></style><img src=http://tracker.example/x onerror=alert(1)>" + "long " * 60,
)
SHOWN = ("<script>alert(1)</script>", "\\u202eevil\\u202c \"quoted\" & 'single'", NAMES[2][:59] + "…")
NOW = SECOND + timedelta(hours=3)
PERIOD = (date(2026, 11, 15), date(2026, 11, 23))
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "h1", "h2", "h3", "p"),
    *("dl", "dt", "dd", "div", "ul", "li", "i", "b", "span", "figure", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td", "svg", "g", "path", "line", "rect", "text", "tspan", "defs"),
    *("clippath", "circle"),
}
ANCHORS = ["exports", "backlog", "finished", "cost", "tokens", "reviewers", "waits", "answers", "missing"]


@pytest.fixture(scope="module")
def page(odd: Odd) -> Element:
    """The page of the odd lake."""
    config = load_lake_config(None, {"ANNOLAKE_LAKE__PATH": str(odd[0])})
    return read_page(dashboard(config, {}, now=NOW))


def rows_of(odd: Odd, view: str) -> list[dict[str, Any]]:
    """Return the rows of a view."""
    return annolake.scan(odd[0], view).collect().to_dicts()


def within(day: date | datetime | None) -> bool:
    """Tell whether a day is one of the page's."""
    day = day.astimezone(UTC).date() if isinstance(day, datetime) else day
    return day is not None and PERIOD[0] <= day <= PERIOD[1]


def number(text: str) -> int:
    """Return a whole number that the page shows."""
    return int(text.replace(",", "").replace("−", "-").replace("±", "").replace("+", ""))  # noqa: RUF001 - a minus sign


def test_waiting_runs_are_those_of_the_backlog(odd: Odd, page: Element) -> None:
    """By queue on the last day and a week before; the title and the figure at the top say the sums."""
    waiting: dict[date, dict[str, int]] = defaultdict(dict)
    for row in rows_of(odd, "queue_backlog"):
        waiting[row["day"]][row["queue_name"]] = row["waiting"]
    last = max(day for day in waiting if within(day))
    found = {row[0]: (number(row[1]), number(row[3])) for row in table_of(sections(page)["backlog"])}
    earlier = sum(waiting[PERIOD[1] - timedelta(days=7)].values())

    assert {name: now for name, (now, _) in found.items()} == waiting[last]
    assert sum(change for _, change in found.values()) == sum(waiting[last].values()) - earlier
    assert number(tiles(page)["Runs that wait"][0]) == sum(waiting[last].values())
    assert f"to {sum(waiting[last].values())} since 16 Nov" in title_of(sections(page)["backlog"])


def test_finished_reviews_are_those_of_reviews_and_throughput(odd: Odd, page: Element) -> None:
    """By queue and by reviewer, in the days of the page and in the last seven of them."""
    week = PERIOD[1] - timedelta(days=6)
    by_queue, by_reviewer, recent = Counter[str](), Counter[str](), 0
    for row in rows_of(odd, "reviews"):
        if row["state"] == "completed" and within(row["last_reviewed_time"]):
            by_queue[row["queue_name"]] += 1
            recent += row["last_reviewed_time"].astimezone(UTC).date() >= week
    for row in rows_of(odd, "reviewer_throughput"):
        if within(row["day"]):
            by_reviewer[row["reviewer_name"] or row["reviewer_id"]] += row["completed"]
    queues, reviewers = (table_of(sections(page)[anchor]) for anchor in ("finished", "reviewers"))

    assert {row[0]: number(row[1]) for row in queues} == by_queue
    assert {row[0]: number(row[1]) for row in reviewers} == by_reviewer
    assert sum(number(row[2]) for row in queues) == recent == number(tiles(page)["Reviews finished"][0])


def test_costs_and_tokens_are_those_of_daily_cost(odd: Odd, page: Element) -> None:
    """By model, runs without one included; a cost that nobody knows is no cost of 0."""
    sums: dict[str, dict[str, Any]] = defaultdict(lambda: {"runs": 0, "tokens": None, "cost": None})
    for row in rows_of(odd, "daily_cost"):
        if within(row["day"]):
            model = sums[row["model"] or "runs without a model"]
            model["runs"] += row["runs"]
            for name in ("tokens", "cost"):
                if row[name] is not None:
                    model[name] = (model[name] or 0) + row[name]
    found = {row[0]: row[1:] for row in table_of(sections(page)["cost"])}

    assert found.keys() == sums.keys()
    for name, (runs, tokens, cost, _) in found.items():
        assert number(runs) == sums[name]["runs"]
        assert (tokens == "–") is (sums[name]["tokens"] is None)  # noqa: RUF001 - the page's dash
        assert (cost == "–") is (sums[name]["cost"] is None)  # noqa: RUF001
        if cost.endswith("trillion"):
            assert float(cost[1:-9].replace(",", "")) == pytest.approx(float(sums[name]["cost"]) / 1e12, abs=0.05)
    assert table_of(sections(page)["tokens"]) == table_of(sections(page)["cost"])


def test_waits_and_answers_are_those_of_review_latency_and_feedback(odd: Odd, page: Element) -> None:
    """How many runs and answers; a feedback in two queues counts once."""
    waits = Counter(
        row["queue_name"]
        for row in rows_of(odd, "review_latency")
        if within(row["last_reviewed_time"]) and row["hours"] >= 0
    )
    said = {
        row["id"]: row["key"]
        for row in rows_of(odd, "feedback")
        if within(row["created_at"]) and row["in_rubric"] and row["source_type"] == "app"
    }

    assert {row[0]: number(row[3]) for row in table_of(sections(page)["waits"])} == waits
    assert {row[0]: number(row[1]) for row in table_of(sections(page)["answers"])} == Counter(said.values())


def test_each_chart_has_its_table_and_is_told_in_words(page: Element) -> None:
    """Sections in their order, each with a title; drawings have a description, and are hidden from who cannot see."""
    assert [*sections(page)] == ANCHORS
    for anchor, section in sections(page).items():
        assert len(title_of(section)) > 10, anchor
        charts = [each for each in section.all("div") if each.attributes.get("role") == "img"]
        assert all(chart.attributes["aria-label"] and chart.all("svg") for chart in charts)
        assert bool(section.all("details")) or not charts
    drawings = page.all("svg")
    assert len(drawings) >= 14
    assert {drawing.attributes["aria-hidden"] for drawing in drawings} == {"true"}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A folder with a lake whose names mean harm, and a reject; and the command that made its page."""
    where = tmp_path_factory.mktemp("hostile")
    with Sandbox(Population(rows=25, days=20.0, queues=3, odd=False), seed=4) as sandbox:
        for queue_id, name in zip(sandbox.queue_ids, NAMES, strict=True):
            sandbox.profile(queue_id)["name"] = name
            people: Any = sandbox.profile(queue_id)["assigned_reviewers"]
            people[0]["name"] = name
        row = sandbox.queue().rows("active")[0]
        sandbox.queue().set_text(row.id, json.dumps({**json.loads(row.text), "name": 7}).encode())
        assert export_once(sandbox, where).exit_code == 3
    return where, ran("dashboard", "--out", "page.html", cwd=where)


def test_nothing_from_the_lake_is_more_than_text(hostile: tuple[Path, Ran]) -> None:
    """Elements and attributes are the page's own, whatever queues, reviewers and models are called."""
    folder, done = hostile
    assert (done.exit_code, done.err) == (0, "")
    assert done.out == f"the page is written: {folder}/page.html\n"
    page = read_page((folder / "page.html").read_text())
    elements, shown = page.all(), page.text()

    assert {each.tag for each in elements} <= TAGS
    assert not [
        name for each in elements for name in each.attributes if name.startswith("on") or name in {"src", "href"}
    ]
    assert {row[0] for row in table_of(sections(page)["backlog"])} == {*SHOWN}
    assert all(name in shown for name in SHOWN)
    assert [row[3] for row in table_of(sections(page)["missing"])] == ["1"]
    ids = [each.attributes["id"] for each in elements if "id" in each.attributes]
    assert len(ids) == len({*ids})
    assert title_of(sections(page)["exports"]) == "1 of 3 queues needs a look: its last export was not good"


def test_nothing_is_loaded_and_nothing_is_secret(hostile: tuple[Path, Ran]) -> None:
    """No address but as text, no script, and a policy that forbids both; no key, no row's content."""
    folder, _ = hostile
    html = (folder / "page.html").read_text()
    page = read_page(html)
    (policy,) = [each for each in page.all("meta") if each.attributes.get("http-equiv")]

    assert policy.attributes["content"].startswith("default-src 'none'; style-src 'unsafe-inline'")  # type: ignore[union-attr]
    assert not re.search(r"url\((?!#)|@import|<script|javascript:|xmlns", html)
    without_text = re.sub(r">[^<]*<", "><", html)
    assert "http" not in re.sub(
        r'http-equiv="[\w-]+"', "", re.sub(r"<style>.*?</style>", "", without_text, flags=re.DOTALL)
    )
    with Sandbox(Population(rows=25, days=20.0, queues=3, odd=False), seed=4) as sandbox:
        assert sandbox.api_key not in html


def test_the_drawings_are_the_same_in_every_time_zone(hostile: tuple[Path, Ran]) -> None:
    """Days are UTC days where the page is made in Los Angeles, too."""
    folder, _ = hostile
    elsewhere = annolake_process(
        "dashboard", "--out", "elsewhere.html", cwd=folder, environ={"TZ": "America/Los_Angeles"}
    )
    drawings = [re.findall("<svg.*?</svg>", (folder / name).read_text()) for name in ("page.html", "elsewhere.html")]

    assert elsewhere.exit_code == 0, elsewhere.err
    assert drawings[0] == drawings[1]


def test_since_and_another_file_of_that_name(hostile: tuple[Path, Ran]) -> None:
    """An earlier page is replaced, another file never; days before --since are not shown."""
    folder, _ = hostile
    (folder / "mine.html").write_text("<p>mine</p>")
    (folder / "again.html").write_bytes((folder / "page.html").read_bytes())
    again = ran("dashboard", "--out", "again.html", "--since", "2026-11-18", cwd=folder)
    other = ran("dashboard", "--out", "mine.html", cwd=folder)
    inside = ran("dashboard", "--out", "lake/page.html", cwd=folder)
    wrong = ran("dashboard", "--since", "yesterday", cwd=folder)

    assert again.exit_code == 0
    assert "18 Nov 2026 to " in (folder / "again.html").read_text()
    assert (other.exit_code, (folder / "mine.html").read_text()) == (2, "<p>mine</p>")
    assert (
        other.err
        == "annolake: mine.html is there already: it is no dashboard, so it is not replaced: name another file\n"
    )
    assert (inside.exit_code, wrong.exit_code) == (2, 2)
    assert "lake/page.html is in the lake" in inside.err
    assert "argument --since: expected a day such as 2026-11-01, or 30d, got 'yesterday'" in wrong.err


def test_a_pipe_is_not_read(hostile: tuple[Path, Ran], tmp_path: Path) -> None:
    """It is no earlier dashboard: nobody waits for what it has, or takes it away; one without a name is none either."""
    pipe, written = tmp_path / "page.html", b"x" * 2000
    os.mkfifo(pipe)
    both_ends = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    os.write(both_ends, written)
    refused = ran("dashboard", "--out", pipe, cwd=hostile[0])

    assert os.read(both_ends, 2 * len(written)) == written
    os.close(both_ends)
    assert refused == Ran(2, "", f"annolake: {pipe} is not a file: name one\n")

    reading, writing = os.pipe()
    nameless = f"/dev/fd/{writing}"
    refused = ran("dashboard", "--out", nameless, cwd=hostile[0])
    os.close(reading)
    os.close(writing)
    assert refused == Ran(2, "", f"annolake: {nameless} is not a file: name one\n")


def test_an_empty_lake_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lake of a queue without rows is a page without charts; no lake, and no library to draw with, are told."""
    with Sandbox(Population(rows=0, odd=False)) as sandbox:
        write_config(tmp_path, sandbox)
        none = ran("dashboard", cwd=tmp_path)
        export_once(sandbox, tmp_path)
    empty = ran("dashboard", cwd=tmp_path)
    page = read_page((tmp_path / "dashboard.html").read_text())
    monkeypatch.setattr(command, "_NEEDED", ("no_such_library",))
    bare = ran("dashboard", cwd=tmp_path)

    assert (none.exit_code, empty.exit_code, bare.exit_code) == (5, 0, 2)
    assert none.err == f"annolake: {tmp_path}/lake: there is no lake; check lake.path, or run an export first\n"
    assert 'pip install "annolake[dashboard]"' in bare.err
    assert not page.all("svg")
    assert re.fullmatch(r"The queue was exported well \d+ s ago", title_of(sections(page)["exports"]))
    assert title_of(sections(page)["missing"]) == "Nothing was rejected, nothing is missing"


@pytest.mark.parametrize("times", [4, 99])
def test_files_that_an_export_replaces_meanwhile_are_looked_for_again(
    times: int, odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, by the part of the page that met it alone; where that goes on it is said."""
    lake = copy_of(odd[0], tmp_path)
    config = load_lake_config(None, {"ANNOLAKE_LAKE__PATH": str(lake)})
    scanned: list[str] = []

    def replacing(config: Config, name: str, **options: Any) -> pl.LazyFrame:
        frame = annolake.scan(config, name, **options)
        scanned.append(name)
        if name == "daily_cost" and scanned.count(name) <= times:
            path = next((lake / "runs").rglob("*.parquet"))
            path.rename(path.with_name(f"part-{len(scanned):08x}.parquet"))
        return frame

    monkeypatch.setattr(command, "scan", replacing)
    if times < 8:
        found = sections(read_page(dashboard(config, {}, now=NOW)))
        assert [*found] == ANCHORS
        assert (scanned.count("daily_cost"), scanned.count("queue_backlog")) == (times + 1, 1)
        return
    with pytest.raises(annolake.LakeError, match=f"{lake}: the lake could not be read: run it again when no export"):
        dashboard(config, {}, now=NOW)
    assert scanned.count("daily_cost") == 8


def test_costs_are_exact_sums() -> None:
    """Cents of many runs add up without a float between."""
    assert total([Decimal("0.000000000000000001")] * 3 + [None, Decimal(99999999999999999999)]) == Decimal(
        "99999999999999999999.000000000000000003"
    )
    assert total([None]) is None
