"""One queue in the four kinds of lake, by the real command: the same rows, the same words, the same exit codes."""

import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import polars as pl
import pytest

import annolake
from annolake.read.catalogue import VIEWS
from annolake.sandbox import Population, Queue, Sandbox
from kept import KINDS, TABLES, Kept, lakes_of
from load.storage.buckets import bucket_of
from object_store import BUCKET, ObjectStore

WRONG = "not the key's secret"


def break_row(queue: Queue) -> None:
    """Give a row a field that does not fit."""
    row = queue.rows("active")[0]
    queue.set_text(row.id, json.dumps({**json.loads(row.text), "name": 7}).encode())


@pytest.fixture(scope="module")
def lakes(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Kept]]:
    """Four lakes with one export each, of one queue: odd rows, a reject, feedback, turns."""
    with Sandbox(Population(rows=400, threads=20, days=8.0), seed=5) as sandbox:
        break_row(sandbox.queue())
        found = lakes_of(sandbox, object_store, tmp_path_factory.mktemp("kinds"))
        for each in found.values():
            first = each.exported()
            assert (first["exit_code"], first["inserted"], first["rejected_new"]) == (3, 419, 1)
            assert min(first["feedback"]["inserted"], first["turns"]["inserted"]) > 100
        yield found


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, lakes: Mapping[str, Kept]) -> Kept:
    """Each of the four lakes."""
    return lakes[request.param]


def assert_the_same(lakes: Mapping[str, Kept]) -> None:
    """Check that the lakes have the same rows, value for value and type for type."""
    for name in TABLES:
        plain, *others = (each.table(name) for each in lakes.values())
        for frame in others:
            assert frame.select(plain.columns).equals(plain), name
            assert dict(frame.schema) == dict(plain.schema), name


def test_the_rows_are_the_same_value_for_value(lakes: Mapping[str, Kept]) -> None:
    """In every table, null and empty values and exact decimals included."""
    assert_the_same(lakes)
    assert lakes["disk-parquet"].table("runs").height == 419


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_is_the_same_of_each(lakes: Mapping[str, Kept], name: str) -> None:
    """`annolake.scan` knows no kinds: columns, types and rows."""
    frames = [
        annolake.scan(each.address, name, environ=each.environ).drop("exported_at", strict=False).collect()
        for each in lakes.values()
    ]
    assert frames[0].height > 0
    assert len({str(frame.schema) for frame in frames}) == 1
    plain, *others = (sorted(frame.rows(), key=str) for frame in frames)
    assert all(rows == plain for rows in others)


def test_a_script_of_views_has_no_secret(lakes: Mapping[str, Kept]) -> None:
    """It says where the store is; what gives access is the machine's, found by DuckDB."""
    said = {kind: each.ran("views") for kind, each in lakes.items()}

    assert {ran.exit_code for ran in said.values()} == {0}
    for kind, each in lakes.items():
        assert each.address in said[kind].out
        assert ("PROVIDER credential_chain" in said[kind].out) == (each.store is not None)
        assert ("delta_scan" in said[kind].out) == (each.format == "delta")
        assert "writer" not in said[kind].out


@pytest.mark.parametrize(
    ("kind", "extension"), [("disk-delta", "delta"), ("s3-delta", "httpfs"), ("s3-parquet", "httpfs")]
)
def test_a_database_of_views_needs_the_extensions_of_duckdb(
    lakes: Mapping[str, Kept], kind: str, extension: str, tmp_path: Path
) -> None:
    """One sentence names what to install; `annolake.scan` has no such need. `make test-views` has the extensions."""
    ran = lakes[kind].ran("views", "--out", str(tmp_path / "lake.duckdb"), HOME=str(tmp_path))

    assert (ran.exit_code, ran.out, [*tmp_path.iterdir()]) == (2, "", [])
    assert ran.err == (
        f"annolake: --out: {lakes[kind].address} needs DuckDB's extension {extension}, and {duckdb.__version__} "
        f'has none here: run INSTALL {extension} in DuckDB, or pip install "annolake[views-delta]"; '
        "annolake.scan works without\n"
    )


def test_an_unchanged_queue_writes_nothing_but_report_proof_and_lock(kept: Kept) -> None:
    """No file of a table, no commit; nothing is removed."""
    before = kept.files()
    again = kept.exported()
    after = kept.files()

    written = {name for name, there in after.items() if before.get(name) != there}
    (queue_id,) = kept.sandbox.queue_ids
    reports = {name for name in written if name.startswith("_annolake/reports/")}
    assert (again["exit_code"], again["unchanged"], again["partitions_written"]) == (0, 419, 0)
    assert (again["rejected"], again["rejected_new"]) == (1, 0)
    assert before.keys() == after.keys() - reports
    assert len(reports) == 1
    assert written - reports == {f"_annolake/proofs/{queue_id}.json", f"_annolake/locks/{queue_id}"}


def words(kept: Kept, *arguments: str) -> str:
    """Return what a command says of a lake, without its address, and without its exports and their times."""
    ran = kept.ran(*arguments)
    assert (ran.exit_code, ran.err) == (0, "")
    said = ran.out.replace(kept.address, "the lake")
    if arguments[0] == "status":  # other tests export into some of the lakes once more
        return "\n".join(line for line in said.splitlines() if "rows (" in line)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "then", said)


@pytest.mark.parametrize("command", ["status", "verify", "rejects"])
def test_every_command_says_the_same_of_each(lakes: Mapping[str, Kept], command: str) -> None:
    """`annolake status`, `verify` and `rejects` know no kinds."""
    said = {kind: words(each, command) for kind, each in lakes.items()}

    assert len({*said.values()}) == 1, said
    expected = {"status": "419 rows", "verify": "no problem found", "rejects": "$.run.name"}
    assert expected[command] in said["disk-parquet"]


@pytest.mark.parametrize("name", TABLES)
def test_a_flat_copy_of_each_is_the_same(lakes: Mapping[str, Kept], name: str) -> None:
    """`annolake copy` knows no kinds either: the same cells, but for when they were exported."""
    copies = []
    for each in lakes.values():
        ran = each.ran("copy", name, "--format", "csv", "--out", "-")
        assert ran.exit_code == 0, ran.err
        copy = pl.read_csv(io.StringIO(ran.out), infer_schema=False).drop("exported_at")
        copies.append(copy.sort(TABLES[name]))

    assert copies[0].height == lakes["disk-parquet"].table(name).height
    assert all(copy.equals(copies[0]) for copy in copies[1:])


def test_the_page_of_a_lake_in_a_store_is_that_of_one_on_a_disk(lakes: Mapping[str, Kept]) -> None:
    """Every drawing and every table of `annolake dashboard`, but for when the exports were."""
    pages = []
    for each in (lakes["disk-parquet"], lakes["s3-delta"]):
        ran = each.ran("dashboard")
        assert ran.exit_code == 0, ran.err
        page = (each.folder / "dashboard.html").read_text()
        pages.append(re.findall("<svg.*?</svg>|<table>.*?</table>", page, re.DOTALL)[1:])

    assert len(pages[0]) > 20
    assert pages[0] == pages[1]


def test_changes_arrive_alike(object_store: ObjectStore, tmp_path: Path) -> None:
    """A row that changed, one that left, one that came: by a full export, then by --new-only."""
    with Sandbox(Population(rows=60, threads=4, days=4.0), seed=6) as sandbox:
        lakes, queue = lakes_of(sandbox, object_store, tmp_path), sandbox.queue()
        first = [each.exported() for each in lakes.values()]
        changed, gone, *_ = queue.rows("active")
        queue.edit(changed.id, reserved_by=["somebody"], last_reviewed_time="2026-11-25T10:00:00Z")
        queue.delete(gone.id)
        second = [each.exported() for each in lakes.values()]
        assert_the_same(lakes)
        queue.add()
        third = [each.exported("--new-only") for each in lakes.values()]
        assert_the_same(lakes)
        sound = [each.ran("verify").exit_code for each in lakes.values()]

    assert {(one["exit_code"], one["inserted"]) for one in first} == {(0, 64)}
    assert {(one["exit_code"], one["inserted"], one["updated"], one["removed"]) for one in second} == {(0, 0, 1, 1)}
    assert {(one["exit_code"], one["inserted"], one["mode"]) for one in third} == {(0, 1, "new")}
    assert sound == [0, 0, 0, 0]


REFUSALS = {
    "secret": ({"AWS_SECRET_ACCESS_KEY": WRONG}, "the secret does not belong to the key: correct AWS_ACCESS_KEY_ID"),
    "bucket": ({"ANNOLAKE_LAKE__PATH": "s3://no-such-bucket/lake"}, "there is no such bucket: make it"),
    "endpoint": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "there is no connection to the store: see whether"),
}
"""What is set wrong, and the reason that is told."""


@pytest.mark.parametrize("wrong", REFUSALS)
@pytest.mark.parametrize("kind", ["s3-delta", "s3-parquet"])
def test_a_store_that_cannot_be_used_is_one_sentence(lakes: Mapping[str, Kept], kind: str, wrong: str) -> None:
    """Exit code 5, of an export and of what only reads; and no secret in it."""
    variables, reason = REFUSALS[wrong]
    for command in (["run", "--quiet"], ["verify"]):
        ran = lakes[kind].ran(*command, **variables)

        assert (ran.exit_code, ran.out) == (5, ""), command
        assert ran.err.startswith("annolake: cannot "), command
        assert reason in ran.err, command
        assert ran.err.count("\n") == 1, command
        assert WRONG not in ran.err, command


def test_another_format_is_refused(kept: Kept) -> None:
    """Exit code 2 and one sentence; the lake stays as it is."""
    other = {"parquet": "delta", "delta": "parquet"}[kept.format]
    before = kept.files()
    for command in (["run", "--quiet"], ["status"], ["verify"]):
        ran = kept.ran(*command, ANNOLAKE_LAKE__FORMAT=other)

        assert (ran.exit_code, ran.out) == (2, ""), command
        assert ran.err == (
            f'annolake: lake.format: the lake {kept.address} is "{kept.format}", not "{other}", and stays so: '
            "leave the setting empty, or export to another path\n"
        )
    assert kept.files() == before


def test_a_lake_whose_record_is_lost_is_what_lies_there(kept: Kept) -> None:
    """Another format is refused all the same, and the next export records the format anew."""
    record = "_annolake/lake.json"
    recorded, _ = kept.files()[record]
    if kept.store is None:
        (Path(kept.address) / record).unlink()
    else:
        bucket_of(kept.store).delete([f"{kept.address.removeprefix(f's3://{BUCKET}/')}/{record}"])

    other = {"parquet": "delta", "delta": "parquet"}[kept.format]
    assert kept.ran("verify", ANNOLAKE_LAKE__FORMAT="").exit_code == 0
    assert kept.ran("run", "--quiet", ANNOLAKE_LAKE__FORMAT=other).exit_code == 2
    assert kept.ran("run", "--quiet", ANNOLAKE_LAKE__FORMAT="").exit_code == 0
    assert kept.files()[record][0] == recorded == f'{{"format":"{kept.format}","layout":1}}\n'.encode()
