"""Queues as Dagster assets: runs of Dagster in this process, against a sandbox (`make test-orchestrators`)."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from annolake.config import load_config
from annolake.errors import ConfigError
from annolake.sandbox import Population, Sandbox
from annolake.wiring import open_lake
from exporting import KEY_VARIABLE, annolake, now, write_config
from lakes import rows_of

dg = pytest.importorskip("dagster", reason="Dagster is not installed: make test-orchestrators")

from dagster.components.core.package_entry import discover_entry_point_package_objects  # noqa: E402
from dagster.components.testing import create_defs_folder_sandbox  # noqa: E402

from annolake.run_on.dagster import AnnolakeExport, export_assets, export_definitions  # noqa: E402
from orchestrators.figures import assert_same_figures  # noqa: E402
from test_rejects import plant  # noqa: E402

TWO = Population(rows=80, queues=2, days=2, threads=3)
TABLES = ["runs", "feedback", "turns", "queues"]
COUNT = "dagster/partition_row_count"


@dataclass
class Exported:
    """A lake that Dagster has filled by a tick of the schedule, run by run, and one that the command has.

    `instance` is for runs, and quick; a schedule needs one with a folder, `ticking`.
    """

    sandbox: Sandbox
    config: Path
    instance: Any
    ticking: Any
    definitions: Any
    runs: dict[str, Any]
    alone: Path


@contextmanager
def keyed(sandbox: Sandbox) -> Iterator[None]:
    """Have the sandbox's key in this process's environment, where a run of Dagster looks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, sandbox.api_key)
        yield


def tick(exported: Exported, definitions: Any, name: str = "annolake_job_schedule") -> tuple[list[str], dict[str, Any]]:
    """Return the queues that a schedule asks runs for, each a partition by now, and the config of the runs."""
    repository, instance = definitions.get_repository_def(), exported.ticking
    context = dg.build_schedule_context(instance=instance, repository_def=repository)
    requests = repository.get_schedule_def(name).evaluate_tick(context).run_requests
    queues = [request.partition_key for request in requests]
    assert {*queues} <= {*instance.get_dynamic_partitions("annolake_queues")}
    return queues, requests[0].run_config


def run_job(definitions: Any, instance: Any, queue: str, **options: Any) -> Any:
    """Run the job for the queue of one partition."""
    job = definitions.get_repository_def().get_job("annolake_job")
    return job.execute_in_process(instance=instance, partition_key=queue, **options)


def materialized(run: Any) -> dict[str, dict[str, Any]]:
    """Return the metadata of what a run has materialized by table, as JSON values, times as reports have them."""
    return {
        event.asset_key.path[-1]: {name: _as_json(value) for name, value in event.metadata.items()}
        for event in run.asset_materializations_for_node("annolake_export")
    }


def _as_json(value: Any) -> Any:
    is_time = isinstance(value, dg.TimestampMetadataValue)
    return msgspec.to_builtins(datetime.fromtimestamp(value.value, UTC) if is_time else value.value)


def failed_checks(run: Any) -> list[str]:
    """Return the checks that a run has failed."""
    return [
        f"{check.asset_key.path[-1]}.{check.check_name}"
        for check in run.get_asset_check_evaluations()
        if not check.passed
    ]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """Export two queues over items, threads included: by the schedule of Dagster, and by the command."""
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "alone").mkdir()
    settings = {"source.endpoint": "items", "metrics.textfile": str(folder / "annolake.prom")}
    with (
        Sandbox(TWO, seed=5) as sandbox,
        dg.DagsterInstance.ephemeral() as instance,
        dg.instance_for_test() as ticking,
        keyed(sandbox),
    ):
        write_config(folder / "alone", sandbox, {"source.endpoint": "items"})
        assert annolake("run", "--quiet", key=sandbox.api_key, cwd=folder / "alone").exit_code == 0
        config = write_config(folder, sandbox, settings)
        definitions = export_definitions(config)
        made = Exported(sandbox, config, instance, ticking, definitions, {}, folder / "alone/lake")
        asked, _ = tick(made, definitions)
        instance.add_dynamic_partitions("annolake_queues", asked)
        made.runs = {queue: run_job(definitions, instance, queue) for queue in asked}
        yield made


def test_the_lake_is_that_of_the_command(exported: Exported) -> None:
    """Row for row, in all tables; the schedule asks for a run of each queue."""
    assert all(run.success for run in exported.runs.values())
    assert [*exported.runs] == exported.sandbox.queue_ids
    assert rows_of(exported.config.parent / "lake") == rows_of(exported.alone)


def test_figures_are_those_of_report_status_and_metrics(exported: Exported) -> None:
    """Under Dagster's own key where it has one; the rows are counted as polars counts them."""
    rows = rows_of(exported.alone)
    for queue_id, run in exported.runs.items():
        told = materialized(run)
        assert [*told] == TABLES
        assert [of[COUNT] for of in told.values() if COUNT in of] == [
            sum(str(row["queue_id"]) == queue_id for row in rows[table]) for table in TABLES[:3]
        ]
        assert all(of.pop("dagster/uri").endswith(f"/lake/{table}") for table, of in told.items())
        figures = {
            table: {name.replace(COUNT, "annolake/lake_rows").removeprefix("annolake/"): of[name] for name in of}
            for table, of in told.items()
        }
        assert min(figures[table]["lake_rows"] for table in TABLES[:3]) > 0
        assert_same_figures(figures, exported.config, queue_id)


def test_the_definitions_tell_what_the_tables_are(exported: Exported) -> None:
    """Each with its columns and address; all are fresh for a day; tables that the settings leave out are no assets."""
    (assets,) = exported.definitions.assets
    specs = {spec.key.path[-1]: spec for spec in assets.specs}

    assert [*specs] == TABLES
    columns = {column.name: column for column in specs["runs"].metadata["dagster/column_schema"].columns}
    assert (columns["total_cost"].type, columns["queue_run_id"].constraints.nullable) == ("decimal128(38, 18)", False)
    assert specs["runs"].metadata["dagster/uri"] == (exported.config.parent / "lake/runs").as_uri()
    assert {spec.freshness_policy.fail_window.to_timedelta() for spec in specs.values()} == {timedelta(hours=26)}
    assert {spec.key.path[0] for spec in specs.values()} == {"annolake"}

    (exported.config.parent / "less").mkdir()
    off = {"source.feedback": False, "source.threads": False, "lake.path": "s3://bucket/lake"}
    less = export_assets(write_config(exported.config.parent / "less", exported.sandbox, off), fresh_within=None)
    assert {spec.key.path[-1]: spec.metadata["dagster/uri"] for spec in less.specs} == {
        "runs": "s3://bucket/lake/runs",
        "queues": "s3://bucket/lake/queues",
    }
    assert {kind for spec in less.specs for kind in spec.kinds} == {"deltalake"}
    with pytest.raises(ConfigError, match="at_once: expected a number of queues from 1 on, got 0"):
        export_assets(exported.config, at_once=0)
    with pytest.raises(ConfigError, match='mode: expected "full" or "new", got \'newest\''):
        export_definitions(exported.config, mode="newest")


def test_a_prefix_may_be_a_text(exported: Exported) -> None:
    """It is one part of the assets' keys, and not one for each letter."""
    definitions = export_definitions(exported.config, key_prefix="lake")
    (assets,) = definitions.assets
    (alone,) = {spec.key.path[0] for spec in export_assets(exported.config, key_prefix="lake").specs}

    assert [spec.key.path for spec in assets.specs] == [["lake", table] for table in TABLES]
    assert (alone, assets.partitions_def.name) == ("lake", "lake_queues")
    assert [job.name for job in definitions.jobs] == ["lake_job"]
    assert [schedule.name for schedule in definitions.schedules] == ["lake_job_schedule"]


def test_what_is_missing_fails_a_check(exported: Exported) -> None:
    """The run succeeds, since what could be exported was; the next one finds no new rejects."""
    with Sandbox(Population(rows=120, odd=False, days=2), seed=7) as sandbox, keyed(sandbox):
        folder = exported.config.parent / "broken"
        folder.mkdir()
        plant(sandbox.queue(sandbox.queue_ids[0]))
        definitions = export_definitions(write_config(folder, sandbox))
        exported.instance.add_dynamic_partitions("annolake_queues", sandbox.queue_ids)
        first, second = (run_job(definitions, exported.instance, sandbox.queue_ids[0]) for _ in range(2))
    assert all(failed_checks(run) == [] for run in exported.runs.values())

    told = [materialized(each)["runs"] for each in (first, second)]
    assert [(each["annolake/exit_code"], each["annolake/rejected_new"]) for each in told] == [(3, 7), (0, 0)]
    assert (first.success, second.success) == (True, True)
    assert (failed_checks(first), failed_checks(second)) == (["runs.no_new_rejects"], [])


def test_a_queue_that_another_export_has_is_skipped(exported: Exported) -> None:
    """The run is no failure, and materializes nothing."""
    queue = exported.sandbox.queue_ids[0]
    lake = open_lake(load_config(exported.config, {}, {}), {})
    with lake.lock(queue, since=now()):
        run = run_job(exported.definitions, exported.instance, queue)

    assert run.success
    assert materialized(run) == {}
    assert run.get_asset_check_evaluations() == []


def test_a_failure_has_the_exit_code_and_is_not_tried_again(exported: Exported) -> None:
    """The export has its own retries; the sentence is that of the command, and names no secret."""
    unknown = "00000000-0000-0000-0000-000000000000"
    exported.instance.add_dynamic_partitions("annolake_queues", [unknown])
    run = run_job(exported.definitions, exported.instance, unknown, raise_on_error=False)

    (failure,) = (event.event_specific_data for event in run.all_events if event.is_step_failure)
    assert not run.success
    assert failure.user_failure_data.metadata["annolake/exit_code"].value == 4
    assert failure.error_display_string.count("exit code 4") >= 1
    assert exported.sandbox.api_key not in failure.error_display_string
    assert [event for event in run.all_events if event.is_step_up_for_retry] == []


def test_a_run_that_is_ended_ends_its_export_in_good_order(exported: Exported, tmp_path: Path) -> None:
    """As Dagster does it, by a signal to the run's process: no report speaks of a bug."""

    def end(_sandbox: Sandbox, number: int) -> None:
        if number == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with Sandbox(Population(rows=120, odd=False, days=2), seed=7, before_request=end) as sandbox, keyed(sandbox):
        definitions = export_definitions(write_config(tmp_path, sandbox, {"source.max_requests_per_second": 10}))
        exported.instance.add_dynamic_partitions("annolake_queues", sandbox.queue_ids)
        run = run_job(definitions, exported.instance, sandbox.queue_ids[0], raise_on_error=False)

    (path,) = (tmp_path / "lake/_annolake/reports").iterdir()
    report = msgspec.json.decode(path.read_bytes())
    assert (run.success, report["state"], report["exit_code"]) == (False, "finished", 130)
    assert report["error"] == report["queues"][0]["error"]
    assert "interrupted by signal 2: run it again" in report["error"]


def test_a_tick_fails_in_a_sentence(exported: Exported, tmp_path: Path) -> None:
    """Settings without queues have no assets at fault: the schedule says what is missing."""
    config = write_config(tmp_path, exported.sandbox)
    config.write_text("".join(line for line in config.open() if not line.startswith("queues")))
    with pytest.raises(dg.DagsterError) as raised:
        tick(exported, export_definitions(config))

    assert isinstance(raised.value.__cause__, dg.Failure)
    assert re.fullmatch(r"source.queues: required: .*; exit code 2", str(raised.value.__cause__))


def test_who_starts_a_run_may_ask_for_new_rows_alone(exported: Exported) -> None:
    """As a second schedule does, more often; what is no mode is refused as by `export`."""
    queue = exported.sandbox.queue_ids[1]

    def run_with(run_config: dict[str, Any]) -> Any:
        return run_job(exported.definitions, exported.instance, queue, run_config=run_config, raise_on_error=False)

    often = export_definitions(exported.config, new_only_cron_schedule="*/15 * * * *")
    _, run_config = tick(exported, often, "annolake_job_new_only_schedule")
    new = run_with(run_config)
    wrong = run_with({"ops": {"annolake_export": {"config": {"mode": "newest"}}}})

    assert materialized(new)["runs"]["annolake/mode"] == "new"
    assert not wrong.success


def test_the_component_is_found_and_makes_the_same_definitions(exported: Exported, tmp_path: Path) -> None:
    """`dg` finds it by the entry point; a queue that is named by its name is looked up by the schedule."""
    found = {f"{key.namespace}.{key.name}": each for key, each in discover_entry_point_package_objects().items()}
    assert found["annolake.run_on.dagster.AnnolakeExport"] is AnnolakeExport

    page = (Path(__file__).parents[2] / "docs/orchestrators.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    told = yaml.safe_load(block)
    told["attributes"] |= {"config": "settings.toml", "group_name": "langsmith", "fresh_within_hours": 2, "mode": "new"}
    told["attributes"]["key_prefix"] = "annolake"
    with create_defs_folder_sandbox() as project:
        folder = project.scaffold_component(AnnolakeExport, defs_yaml_contents=told)
        name = exported.sandbox.queue(exported.sandbox.queue_ids[0]).name
        write_config(tmp_path, exported.sandbox, {"source.queues": [name]}).rename(folder / "settings.toml")
        with project.load_component_and_build_defs(defs_path=folder) as (_, definitions):
            asked, _ = tick(exported, definitions)
            specs = [spec for assets in definitions.assets for spec in assets.specs]

    assert asked == exported.sandbox.queue_ids[:1]
    assert {spec.group_name for spec in specs} == {"langsmith"}
    assert {spec.freshness_policy.fail_window.to_timedelta() for spec in specs} == {timedelta(hours=2)}
