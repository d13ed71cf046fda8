"""Queues as an Airflow DAG: runs of Airflow in this process, against a sandbox (`make test-orchestrators`)."""

import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from annolake.config import load_config
from annolake.sandbox import Population, Sandbox
from annolake.wiring import open_lake
from exporting import KEY_VARIABLE, annolake, now, write_config
from lakes import rows_of

if find_spec("airflow") is None:
    pytest.skip("Airflow is not installed: make test-orchestrators", allow_module_level=True)

HOME = TemporaryDirectory(prefix="airflow-")
# Airflow reads them when it is imported.
os.environ |= {
    "AIRFLOW_HOME": HOME.name,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME.name}/airflow.db",
}

from airflow.models.asset import AssetEvent  # noqa: E402
from airflow.models.xcom import XComModel  # noqa: E402
from airflow.sdk import DAG  # noqa: E402
from airflow.utils.db import upgradedb  # noqa: E402
from airflow.utils.session import create_session  # noqa: E402

from annolake.run_on.airflow import table_assets  # noqa: E402
from orchestrators.figures import assert_same_figures, reported  # noqa: E402
from test_rejects import plant  # noqa: E402

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TABLES = ["runs", "feedback", "turns", "queues"]
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@dataclass
class Ran:
    """A run of a DAG: its state, and by queue the state of its task, what it pushed, and its events by table."""

    state: str
    tasks: dict[str, str]
    tries: set[int]
    pushed: dict[str, dict[str, Any]]
    events: dict[str, dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def database() -> Iterator[None]:
    """Have Airflow's database in its home, which is removed at the end."""
    (Path(HOME.name) / "dags").mkdir()
    upgradedb()
    yield
    HOME.cleanup()


def dag_of(name: str, text: str) -> Any:
    """Write the file of a DAG as a user would, and return the DAG, whatever it is called there."""
    file = Path(HOME.name) / "dags" / f"{name}.py"
    file.write_text(text)
    (made,) = (each for each in runpy.run_path(str(file)).values() if isinstance(each, DAG))
    return made


def run_dag(dag_id: str, config: Path, options: str = "", run_conf: Mapping[str, Any] | None = None) -> Ran:
    """Run a DAG of exports to its end."""
    text = f'dag = export_dag("{config}", dag_id="{dag_id}", prefix="{dag_id}", schedule=None, {options})\n'
    run = dag_of(dag_id, "from annolake.run_on.airflow import export_dag\n\n" + text).test(run_conf=run_conf)
    tasks = {each.map_index: each for each in run.get_task_instances() if each.task_id == "export_queue"}
    with create_session() as session:
        mine = XComModel.dag_id == dag_id, XComModel.run_id == run.run_id
        xcoms = [
            (each.task_id, each.map_index, each.key, XComModel.deserialize_value(each))
            for each in session.query(XComModel).filter(*mine)
        ]
        events = [
            (each.source_map_index, each.uri, each.extra)
            for each in session.query(AssetEvent).filter(AssetEvent.source_run_id == run.run_id)
            if each.source_dag_id == dag_id
        ]
    (listed,) = (value for task, _, key, value in xcoms if (task, key) == ("list_queues", "return_value"))
    queues = {index: each["queue"] for index, each in enumerate(listed)}
    pushed: dict[str, dict[str, Any]] = {queue: {} for queue in queues.values()}
    told: dict[str, dict[str, Any]] = {queue: {} for queue in queues.values()}
    for task, index, key, value in xcoms:
        if task == "export_queue":
            pushed[queues[index]][key] = value
    for index, uri, extra in events:
        told[queues[index]][uri.rpartition("/")[2]] = extra
    states = {queues[index]: str(each.state) for index, each in tasks.items()}
    return Ran(str(run.state), states, {each.try_number for each in tasks.values()}, pushed, told)


def test_the_lake_and_the_figures_are_those_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row for row; what each task returns is its part of the report, and each table's asset has the table's figures."""
    settings = {"source.endpoint": "items", "metrics.textfile": str(tmp_path / "annolake.prom")}
    (tmp_path / "alone").mkdir()
    with Sandbox(Population(rows=80, queues=2, days=2, threads=3), seed=5) as sandbox:
        monkeypatch.setenv(KEY_VARIABLE, sandbox.api_key)
        write_config(tmp_path / "alone", sandbox, {"source.endpoint": "items"})
        assert annolake("run", "--quiet", key=sandbox.api_key, cwd=tmp_path / "alone").exit_code == 0
        names = [sandbox.queue(each).name for each in sandbox.queue_ids]
        config = write_config(tmp_path, sandbox, settings | {"source.queues": names})
        ran = run_dag("same", config, "at_once=1")
        again = run_dag("same", config, run_conf={"mode": "new"})

    assert (ran.state, [*ran.tasks], {*ran.tasks.values()}) == ("success", sandbox.queue_ids, {"success"})
    assert rows_of(tmp_path / "lake") == rows_of(tmp_path / "alone/lake")
    assert {pushed["return_value"]["mode"] for pushed in again.pushed.values()} == {"new"}
    for queue_id in sandbox.queue_ids:
        assert {*again.events[queue_id]} == {*TABLES}
        assert again.pushed[queue_id]["return_value"] == reported(tmp_path / "lake", queue_id)
        assert_same_figures(again.events[queue_id], config, queue_id)
        assert {table: of.get("lake_rows") for table, of in ran.events[queue_id].items()} == {
            **{
                table: sum(str(row["queue_id"]) == queue_id for row in rows_of(tmp_path / "lake")[table])
                for table in TABLES[:3]
            },
            "queues": None,
        }
    assets = table_assets(config, "same")
    assert {table: (asset.name, asset.uri) for table, asset in assets.items()} == {
        table: (f"same/{table}", (tmp_path / "lake" / table).as_uri()) for table in TABLES
    }


def test_the_files_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The DAG as docs/orchestrators.md has it updates the assets, and its consumer sees which queue has new rows."""
    exporting, consuming = BLOCK.findall((ROOT / "docs/orchestrators.md").read_text().partition("## Airflow")[2])
    with Sandbox(Population(rows=20, odd=False, days=2), seed=7) as sandbox:
        monkeypatch.setenv(KEY_VARIABLE, sandbox.api_key)
        config = write_config(tmp_path, sandbox)
        dag = dag_of("page", exporting.replace("/etc/annolake/annolake.toml", str(config)))
        exported = dag.test()
        consumed = dag_of("consumer", consuming.replace("/etc/annolake/annolake.toml", str(config))).test()

    with create_session() as session:
        (changed,) = (
            XComModel.deserialize_value(each)
            for each in session.query(XComModel).filter(XComModel.run_id == consumed.run_id)
            if each.dag_id == "consumer"
        )
    assert (dag.dag_id, str(exported.state), str(consumed.state)) == ("annolake", "success", "success")
    assert changed == sandbox.queue_ids


def test_exit_codes_are_kept_and_nothing_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """6 skips its task, any other but 0 fails it for good; a queue's failure stops no other."""
    with Sandbox(Population(rows=120, queues=3, odd=False, days=2), seed=7) as sandbox:
        monkeypatch.setenv(KEY_VARIABLE, sandbox.api_key)
        locked, broken, good = sandbox.queue_ids
        plant(sandbox.queue(broken))
        config = write_config(tmp_path, sandbox, {"source.queues": [*sandbox.queue_ids, UNKNOWN]})
        lake = open_lake(load_config(config, {}, {}), {})
        lake.prepare()
        with lake.lock(locked, since=now()):
            ran = run_dag("codes", config, 'default_args={"retries": 3}, task_options={"retries": 2}')

    assert ran.state == "failed"
    assert ran.tasks == {locked: "skipped", broken: "failed", good: "success", UNKNOWN: "failed"}
    assert {queue: pushed["exit_code"] for queue, pushed in ran.pushed.items()} == {
        locked: 6,
        broken: 3,
        good: 0,
        UNKNOWN: 4,
    }
    assert ran.tries == {1}
    assert ran.pushed[broken]["report"]["rejected_new"] == 7
    assert {queue for queue, events in ran.events.items() if events} == {good}


def test_a_task_that_is_ended_ends_its_export_in_good_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Airflow does it, by SIGTERM: the report says so, and the next export brings the rest."""

    def end(_sandbox: Sandbox, number: int) -> None:
        if number == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: None)  # Airflow's own
    try:
        with Sandbox(Population(rows=120, odd=False, days=2), seed=7, before_request=end) as sandbox:
            monkeypatch.setenv(KEY_VARIABLE, sandbox.api_key)
            config = write_config(tmp_path, sandbox, {"source.max_requests_per_second": 10})
            ran = run_dag("ended", config)
            again = run_dag("ended", config)
    finally:
        signal.signal(signal.SIGTERM, before)

    (queue,) = sandbox.queue_ids
    assert (ran.tasks[queue], ran.pushed[queue]["exit_code"]) == ("failed", 130)
    assert "interrupted" in ran.pushed[queue]["report"]["error"]
    assert (again.tasks[queue], again.pushed[queue]["return_value"]["rows_seen"]) == ("success", 120)


def test_a_dag_s_file_is_cheap_to_read() -> None:
    """Airflow reads it again and again: what exports is imported by the tasks alone."""
    heavy = ("polars", "annolake.pipeline", "annolake.load")
    program = f"import sys, annolake.run_on.airflow; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
