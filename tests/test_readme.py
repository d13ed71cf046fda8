"""Every code block of the README does what it says, in the order a reader meets them."""

import ast
import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from annolake.help_texts import EXIT_CODES
from annolake.sandbox import Population, Queue, Sandbox
from exporting import KEY_VARIABLE, annolake, export_once, with_polars, write_config
from object_store import ObjectStore

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CLI = str(Path(sys.executable).with_name("annolake"))

QUESTIONS, SAID = "Questions", "What reviewers said"
"""The headings of the two sections of questions."""

PLACES = "Where a lake can live"
BUCKET_LAKE = "s3://bucket/lake"
"""The heading of the section on places, and the address in it."""

ZONES = ("America/Los_Angeles", "UTC", "Pacific/Kiritimati")
MIDNIGHTS = ("00:00:00Z", "00:00:00.000001Z", "07:59:59Z", "09:59:59Z", "10:00:00Z", "23:59:59.999999Z")
"""Times at which a day of UTC, or of one of the zones, begins or ends."""

REVIEWS = 2
"""The place, among the questions, of the one for reviewers."""

ANSWERED_DIFFERENTLY = 4
"""The place of the one question that polars answers by model and DuckDB by feedback key."""

ASK = """
import duckdb, json, sys

view, *questions = json.load(sys.stdin)
duckdb.execute(view)
answers = [duckdb.sql(question) for question in questions]
print(json.dumps([[answer.columns, answer.fetchall()] for answer in answers], default=str))
"""


POPULATION = Population(rows=600, odd=False)
"""The queue that the questions are put to."""


def blocks(language: str, under: str = "") -> list[str]:
    """Return the README's code blocks in one language, those of the section `under` a heading alone."""
    text = README.partition(f"\n## {under}\n")[2].partition("\n## ")[0] if under else README
    return [block for kind, block in BLOCK.findall(text) if kind == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the lake that the README's questions are put to, `lake`."""
    where = tmp_path_factory.mktemp("readme")
    with Sandbox(POPULATION, seed=12) as sandbox:
        export_once(sandbox, where)
        yield where


def test_every_block_is_in_a_language_that_is_tested_here() -> None:
    """A block of a new language would otherwise go untested."""
    assert {kind for kind, _ in BLOCK.findall(README)} == {"sh", "python", "sql", "cron"}


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """`make demo` and `make test` exist, and nothing else is in that block."""
    targets = re.findall(r"^make (\w+)", blocks("sh")[0], re.MULTILINE)

    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets)


def test_the_first_real_export_works_as_written(tmp_path: Path) -> None:
    """With the reader's key and queue filled in, the three lines export the queue."""
    with Sandbox(Population(rows=30), seed=2) as sandbox:
        lines = blocks("sh")[1].replace("your key", sandbox.api_key).replace("your queue's name", sandbox.queue().name)
        environ = {"PATH": f"{Path(CLI).parent}:{os.environ['PATH']}", "ANNOLAKE_SOURCE__BASE_URL": sandbox.url}
        done = subprocess.run(
            ["bash", "-ec", lines], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stderr
    assert len(with_polars(tmp_path / "lake")) == 30


def answer_of(block: str, names: dict[str, object]) -> object:
    """Run a block of Python and return the value of its last expression."""
    tree = ast.parse(block)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, "README.md", "exec"), names)  # noqa: S102 - the README is ours
    value = ast.Expression(last.value) if isinstance(last, ast.Expr) else ast.Expression(ast.Constant(None))
    return eval(compile(ast.fix_missing_locations(value), "README.md", "eval"), names)  # noqa: S307 - the README is ours


def renamed(sandbox: Sandbox, queue_id: str, reviewer: int, name: str | None) -> None:
    """Let a queue list one of its reviewers under another name, or under none."""
    people: Any = sandbox.profile(queue_id)["assigned_reviewers"]
    people[reviewer]["name"] = name


def finished_near_midnight(queue: Queue) -> None:
    """Let rows be added and finished about the midnights of all zones, by none to several reviewers, by one twice."""
    ids = [person.id for person in queue.cast.reviewers]
    several = [[], [ids[0]], ids[:3], [ids[1], ids[1]], [ids[2]], ["nobody's id"]]
    for place, row in enumerate(queue.rows("archived")):
        at = f"2026-11-{10 + place % 3}T{MIDNIGHTS[place % len(MIDNIGHTS)]}"
        queue.edit(row.id, last_reviewed_time=at, completed_by=several[place // 2 % len(several)])
    for place, row in enumerate(queue.rows("active")[: len(MIDNIGHTS)]):
        queue.edit(row.id, added_at=f"2026-11-09T{MIDNIGHTS[place]}", last_reviewed_time=None, completed_by=[ids[0]])


def truth(sandbox: Sandbox, names: dict[str, str]) -> Counter[tuple[date | None, str, str | None]]:
    """Count by day, reviewer and name what a sandbox's reviewers finished."""
    count: Counter[tuple[date | None, str, str | None]] = Counter()
    for queue in map(sandbox.queue, sandbox.queue_ids):
        for row in (*queue.rows("active"), *queue.rows("archived")):
            value = row.value()
            at = value.get("last_reviewed_time")
            day = datetime.fromisoformat(at).astimezone(UTC).date() if at else None
            count.update((day, person, names.get(person)) for person in {*value["completed_by"]})
    return count


@pytest.fixture(scope="module")
def listed_differently(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Sandbox]]:
    """A lake of three queues: each lists the second reviewer under another name, one alone tells the third's."""
    where = tmp_path_factory.mktemp("differently")
    with Sandbox(Population(rows=90, queues=3, odd=False, archived_share=0.6), seed=12) as sandbox:
        for queue_id, second, third in zip(sandbox.queue_ids, "ACB", ("Chiara", None, None), strict=True):
            renamed(sandbox, queue_id, 1, f"{second}. Lindqvist")
            renamed(sandbox, queue_id, 2, third)
            finished_near_midnight(sandbox.queue(queue_id))
        assert export_once(sandbox, where).exit_code == 0
        yield where, sandbox


def in_polars(opening: str = "") -> list[pl.DataFrame]:
    """Open a lake by a block of Python, by the first of the questions where none is given, and put the six."""
    names: dict[str, object] = {}
    first, *questions = blocks("python", QUESTIONS)
    answer_of(opening or first, names)
    answers = [answer_of(question, names) for question in questions]
    assert len(answers) == 6
    return [answer for answer in answers if isinstance(answer, pl.DataFrame)]


@pytest.fixture(scope="module")
def places(folder: Path, object_store: ObjectStore) -> dict[tuple[str, str], str]:
    """Return where lakes of that queue are, by place and format: two in the folder of the first, two in the store."""
    found = {("disk", "parquet"): "lake", ("disk", "delta"): "lake-delta"}
    found |= {("s3", kind): object_store.address() for kind in ("parquet", "delta")}
    with Sandbox(POPULATION, seed=12) as sandbox:
        for (_, kind), address in found.items():
            if address == "lake":
                continue
            settings = {"source.queues": "all", "lake.path": address, "lake.format": kind}
            config = write_config(folder, sandbox, settings)
            ran = annolake(
                "run", "--config", config, "--quiet", key=sandbox.api_key, cwd=folder, environ=object_store.environ()
            )
            assert ran.exit_code == 0, ran.err
    return found


OPENED = [("polars", "parquet"), ("polars", "delta"), ("pyarrow", "parquet"), ("pyarrow", "delta")]
"""What opens which format, in the order of the section's blocks; the last block puts pyarrow's before DuckDB."""


@pytest.fixture
def reachable(folder: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the process where the lakes on the disk are, with credentials for the store in its environment."""
    monkeypatch.chdir(folder)
    for name, value in object_store.environ().items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize("place", ["disk", "s3"])
@pytest.mark.parametrize("opened", OPENED, ids="-".join)
def test_every_way_to_open_a_lake_gives_the_same_answers(
    places: dict[tuple[str, str], str], opened: tuple[str, str], place: str
) -> None:
    """Each of the six questions, put to each lake as the section opens it, is answered as of the lake in the folder."""
    engine, kind = opened
    *opening, over_duckdb = blocks("python", PLACES)
    block = opening[OPENED.index(opened)].replace(BUCKET_LAKE, places[place, kind])

    if engine == "polars":
        found, wanted = ([frame.rows() for frame in in_polars(opening)] for opening in (block, ""))
    else:
        found, wanted = ([rows for _, rows in answers] for answers in (in_duckdb([block, over_duckdb]), by_files()))

    for answer, right in zip(found, wanted, strict=True):
        assert len(answer) == len(right) > 0
        assert all(map(same, answer, right))


def by_files() -> list[tuple[list[str], list[Any]]]:
    """Put the six questions to DuckDB over the files of the lake in the folder of the process."""
    return list(json.loads(by_the_session("UTC")))


def in_duckdb(opening: list[str]) -> list[tuple[list[str], list[Any]]]:
    """Put the six questions to DuckDB's own connection, over what blocks of Python make `runs`."""
    names: dict[str, object] = {}
    duckdb.execute("SET TimeZone = 'UTC'")
    try:
        for block in opening:
            answer_of(block, names)
        answers = [duckdb.sql(question) for question in blocks("sql", QUESTIONS)[1:]]
        return list(json.loads(json.dumps([[each.columns, each.fetchall()] for each in answers if each], default=str)))
    finally:
        duckdb.execute("DROP VIEW IF EXISTS runs; RESET TimeZone")


def test_an_address_and_credentials_are_enough(object_store: ObjectStore, tmp_path: Path) -> None:
    """The section's three lines make a Delta lake, with the credentials, key and queue filled in."""
    address, variables = object_store.address(), object_store.environ()
    lines = blocks("sh", PLACES)[0].replace(BUCKET_LAKE, address).replace("eu-central-1", variables["AWS_REGION"])
    lines = lines.replace("your key's id", variables["AWS_ACCESS_KEY_ID"])
    lines = lines.replace("your secret", variables["AWS_SECRET_ACCESS_KEY"])
    with Sandbox(Population(rows=30), seed=2) as sandbox:
        environ = {
            "PATH": f"{Path(CLI).parent}:{os.environ['PATH']}",
            KEY_VARIABLE: sandbox.api_key,
            "ANNOLAKE_SOURCE__BASE_URL": sandbox.url,
            "ANNOLAKE_SOURCE__QUEUES": "all",
            "AWS_ENDPOINT_URL": variables["AWS_ENDPOINT_URL"],
            "AWS_ALLOW_HTTP": variables["AWS_ALLOW_HTTP"],
        }
        done = subprocess.run(
            ["bash", "-ec", lines], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stderr
    options = {name.lower(): value for name, value in variables.items()}
    assert pl.scan_delta(f"{address}/runs", storage_options=options).collect().height == 30


def by_the_session(zone: str) -> str:
    """Put the six questions to DuckDB in a process whose session is told a time zone."""
    view, *questions = blocks("sql", QUESTIONS)
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = '{zone}'")
        connection.execute(view)
        answers = [connection.sql(question) for question in questions]
        return json.dumps([[answer.columns, answer.fetchall()] for answer in answers], default=str)


def by_the_environment(zone: str) -> str:
    """Put the six questions to DuckDB in a process of its own, on a machine in a time zone."""
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(blocks("sql", QUESTIONS)),
        env={"TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Tell whether two rows are equal, floats but for their last digits."""
    return all(
        math.isclose(a, b, rel_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in zip(one, other, strict=True)
    )


def test_questions_in_polars_have_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block opens the lake, each of the six others answers with rows."""
    monkeypatch.chdir(folder)
    answers = in_polars()

    assert len(answers) == 6
    assert all(answer.height > 0 for answer in answers)


def test_questions_in_duckdb_have_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block makes the view, each of the six others answers with rows."""
    monkeypatch.chdir(folder)
    answers = json.loads(by_the_session("UTC"))

    assert len(answers) == 6
    assert all(rows for _, rows in answers)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("ask", [by_the_session, by_the_environment])
def test_polars_and_duckdb_give_the_same_answers_in_every_time_zone(
    listed_differently: tuple[Path, Sandbox], monkeypatch: pytest.MonkeyPatch, ask: Callable[[str], str], zone: str
) -> None:
    """Columns and rows are the same but for the question that is another one; reviewers come in the same order, too."""
    monkeypatch.chdir(listed_differently[0])
    frames, answers = in_polars(), json.loads(ask(zone))

    for place, (frame, (columns, rows)) in enumerate(zip(frames, answers, strict=True)):
        if place == ANSWERED_DIFFERENTLY:
            continue
        of_polars = json.loads(json.dumps(frame.rows(), default=str))
        if place != REVIEWS:
            of_polars, rows = sorted(of_polars, key=str), sorted(rows, key=str)  # noqa: PLW2901 - the order of nulls differs
        assert frame.columns == columns
        assert len(of_polars) == len(rows)
        assert all(map(same, of_polars, rows)), [pair for pair in zip(of_polars, rows, strict=True) if not same(*pair)]


def test_a_finished_run_counts_once_for_each_reviewer(
    listed_differently: tuple[Path, Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever names the queues list a reviewer under: one is shown wherever there is any."""
    where, sandbox = listed_differently
    monkeypatch.chdir(where)
    people = sandbox.queue().cast.reviewers
    names = {person.id: person.name for person in people} | {people[1].id: "C. Lindqvist", people[2].id: "Chiara"}
    wanted = truth(sandbox, names)
    answer = in_polars()[REVIEWS]

    assert wanted.total() == answer["finished"].sum()
    assert {row[:3]: row[3] for row in answer.rows()} == wanted
    assert answer.height == len(wanted)
    assert {None, *(date(2026, 11, day) for day in (10, 11, 12))} <= {day for day, *_ in wanted}
    assert {None, "C. Lindqvist", "Chiara"} <= {name for *_, name in wanted}


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Sandbox]]:
    """A lake of a queue that few people review, so that they meet on many runs."""
    where = tmp_path_factory.mktemp("reviewed")
    with Sandbox(Population(rows=400, odd=False, archived_share=0.8), seed=9) as sandbox:
        answered_by_three(sandbox)
        assert export_once(sandbox, where).exit_code == 0
        yield where, sandbox


def answered_by_three(sandbox: Sandbox) -> None:
    """Let three people answer two keys of each run once, or twice, and agree a little more than by chance."""
    rng, people = random.Random(4), sandbox.queue().cast.reviewers[:3]
    for run_id in sorted({row.run_id for row in sandbox.queue().listing("archived") if row.run_id}):
        leaning = rng.random()
        for place, person in enumerate(rng.sample(people, rng.randrange(4))):
            for again in range(rng.randrange(1, 3)):
                at = f"2026-11-2{again}T10:0{place}:00Z"
                source = {"type": "app", "metadata": {}, "user_id": person.id, "user_name": person.name}
                said: dict[str, Any] = {"created_at": at, "modified_at": at, "feedback_source": source}
                score, comment = round(rng.random() * 0.5 + leaning * 0.5), rng.choice([None, "because"])
                sandbox.feedback.add(run_id, key="helpfulness", score=score, comment=comment, **said)
                sandbox.feedback.add(run_id, key="tone", value=rng.choice(["friendly", "curt"]), **said)


def said_in_polars() -> list[pl.DataFrame]:
    """Put the questions of the second section to polars, in the folder of the process."""
    names: dict[str, object] = {}
    answer_of(blocks("python", QUESTIONS)[0], names)
    answers = [answer_of(block, names) for block in blocks("python", SAID)]
    return [answer for answer in answers if isinstance(answer, pl.DataFrame)]


def said_in_duckdb(zone: str) -> list[tuple[list[str], list[Any]]]:
    """Put the same questions to DuckDB."""
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = '{zone}'")
        answers = [connection.sql(block) for block in (blocks("sql", QUESTIONS)[0], *blocks("sql", SAID))]
        return [(answer.columns, answer.fetchall()) for answer in answers if answer]


@pytest.mark.parametrize("zone", ZONES)
def test_both_engines_tell_the_same_of_what_reviewers_said(
    reviewed: tuple[Path, Sandbox], monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Each of the five questions has rows, the same ones in the same order."""
    monkeypatch.chdir(reviewed[0])
    frames, answers = said_in_polars(), said_in_duckdb(zone)

    assert len(frames) == len(answers) == 5
    for frame, (columns, rows) in zip(frames, answers, strict=True):
        assert frame.height > 0
        assert (frame.columns, frame.height) == (columns, len(rows))
        assert all(map(same, frame.rows(), rows))


def last_answers(sandbox: Sandbox) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Return the last feedback of each person on a run's key, by run and key, straight from the service's data."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    there = [one.value() for one in sandbox.feedback.of_queue(sandbox.queue()) if one.run_id]
    for one in sorted(there, key=lambda one: (datetime.fromisoformat(one["created_at"]), one["id"])):
        source, value = one["feedback_source"], one.get("value")
        if source["type"] == "app" and not (value is None and one.get("score") is None):
            found[one["run_id"], one["key"]][source["user_id"]] = one
    return found


def test_agreement_and_kappa_are_those_of_the_data(
    reviewed: tuple[Path, Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Percent and Cohen's kappa of each pair are what the definition gives for the service's own data."""
    monkeypatch.chdir(reviewed[0])
    pairs: dict[tuple[str, str, str], list[tuple[Any, Any]]] = defaultdict(list)
    for (_, key), by_person in last_answers(reviewed[1]).items():
        told = {
            who: one["value"] if one.get("value") is not None else float(one["score"]) for who, one in by_person.items()
        }
        for a, b in combinations(sorted(told), 2):
            pairs[key, a, b].append((told[a], told[b]))

    wanted = {}
    for pair, both in pairs.items():
        of_a, of_b = (Counter(answers) for answers in zip(*both, strict=True))
        agreed = Fraction(sum(a == b for a, b in both), len(both))
        chance = Fraction(sum(n * of_b[answer] for answer, n in of_a.items()), len(both) ** 2)
        kappa = None if chance == 1 else float((agreed - chance) / (1 - chance))
        wanted[pair] = (len(both), float(agreed * 100), kappa)
    rows = {tuple(row[:3]): row[3:] for row in said_in_polars()[1].rows()}

    assert rows.keys() == wanted.keys()
    assert all(rows[pair] == pytest.approx(wanted[pair]) for pair in wanted)
    assert max(n for n, *_ in wanted.values()) > 20
    assert any(kappa and kappa > 0 for *_, kappa in wanted.values())


def test_the_runs_that_differ_most_are_those_of_the_data(
    reviewed: tuple[Path, Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list has the twenty answers that lie furthest apart, with who gave them and what they wrote."""
    monkeypatch.chdir(reviewed[0])
    apart = []
    for (run_id, key), by_person in last_answers(reviewed[1]).items():
        for a, b in combinations(sorted(by_person), 2):
            scores = [float(by_person[who]["score"]) for who in (a, b) if by_person[who].get("score") is not None]
            if len(scores) == 2 and (distance := abs(scores[0] - scores[1])):
                comments = [by_person[who].get("comment") for who in (a, b)]
                apart.append((distance, run_id, key, a, scores[0], comments[0], b, scores[1], comments[1]))
    wanted = sorted(apart, key=lambda row: (-row[0], *row[1:4], row[6]))[:20]

    assert said_in_polars()[2].rows() == wanted
    assert any(row[5] for row in wanted)


def test_the_python_api_works_as_written(tmp_path: Path) -> None:
    """The last block exports by the settings of the file and prints what the report says."""
    with Sandbox(Population(rows=25), seed=2) as sandbox:
        write_config(tmp_path, sandbox)
        done = subprocess.run(
            [sys.executable, "-c", blocks("python")[-1]],
            cwd=tmp_path,
            env={KEY_VARIABLE: sandbox.api_key},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.stdout.split() == ["0", "25"], done.stderr


def cron_command(number: int, place: Path) -> str:
    """Return what cron hands to the shell: all behind the five fields of time, up to the first percent sign."""
    (line,) = blocks("cron")[number].splitlines()
    command = line.split(None, 5)[5].partition("%")[0]
    return command.replace("/srv/annolake/.venv/bin/annolake", CLI).replace("/srv/annolake", str(place))


def test_the_cron_lines_run_as_cron_runs_them(tmp_path: Path) -> None:
    """With their paths filled in, and nothing but cron's own surroundings: an export, quietly, and a young status."""
    home, place = tmp_path / "home", tmp_path / "srv"
    home.mkdir()
    place.mkdir()
    surroundings = ["PATH=/usr/bin:/bin", f"HOME={home}", "SHELL=/bin/sh", "LOGNAME=somebody"]
    with Sandbox(Population(rows=10), seed=2) as sandbox:
        write_config(place, sandbox)
        (place / "key").touch(mode=0o600)
        (place / "key").write_text(sandbox.api_key + "\n")
        done, told = (
            subprocess.run(
                ["env", "-i", *surroundings, "/bin/sh", "-c", cron_command(number, place)],
                cwd=home,
                capture_output=True,
                text=True,
                check=False,
            )
            for number in range(2)
        )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines()[-1] == "queues without a good export younger than 26 hours: 0 of 1"
    assert len(with_polars(place / "lake")) == 10
    assert list(home.iterdir()) == []


def test_the_exit_codes_are_those_of_the_help() -> None:
    """README names no code that `annolake --help` does not, and the most frequent ones."""
    in_help = set(re.findall(r"\b\d+\b", EXIT_CODES))
    paragraph = README.partition("Exit code 0 means")[2].partition("\n\n")[0]
    named = set(re.findall(r"\b(\d+)\b[^.]", paragraph))

    assert {"3", "4", "5", "6"} <= named <= in_help
