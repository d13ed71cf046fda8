"""Queues as Dagster assets: an asset for each table, a partition for each queue (docs/orchestrators.md#dagster).

Owns what Dagster is told. A run of Dagster exports the queue of one partition.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg

from annolake.config import Config
from annolake.contract import TABLES, Column
from annolake.errors import AnnolakeError
from annolake.report import Mode, QueueReport, TableReport
from annolake.run_on.definition import QUEUES_AT_ONCE, address_of, settings_of, tables_of
from annolake.run_on.one_queue import Figures, export_queue, figures, load_config, queues_of, verdict

__all__ = ["AnnolakeExport", "Wishes", "export_assets", "export_definitions"]

DAY = timedelta(hours=26)
"""How old an asset may be: a day, and as long as an export may take."""

PREFIX = ("annolake",)

Settings = str | os.PathLike[str] | None
Prefix = str | Sequence[str]
"""Of the assets' keys: its parts, or the only one."""


class Wishes(dg.Config):
    """What a run may be asked for in the launchpad, as the options of `annolake run`.

    `mode` is "full" or "new"; empty: that of the assets.
    """

    mode: str = ""
    refresh: bool = False
    accept_removals: bool = False


def export_assets(
    config: Settings = None,
    *,
    key_prefix: Prefix = PREFIX,
    group_name: str | None = None,
    mode: Mode = "full",
    fresh_within: timedelta | None = DAY,
    at_once: int = QUEUES_AT_ONCE,
    pool: str | None = "annolake",
) -> dg.AssetsDefinition:
    """Return the assets of a lake, one for each table, which are materialized together; a partition is a queue's id.

    `config` is the settings file (default: ./annolake.toml); it is read here for the place of the lake, and by each run
    again. `at_once` is the limit that the instance has for `pool`: each run has its share of the limits on requests.
    An asset that was not materialized for as long as `fresh_within` is told to be overdue.
    Raises ConfigError.
    """
    key_prefix = _parts(key_prefix)
    file, settings = config, settings_of(config, at_once=at_once, mode=mode)
    specs = [_spec(settings, table, key_prefix, fresh_within) for table in tables_of(settings)]
    keys = {spec.key.path[-1]: spec.key for spec in specs}
    partitions = dg.DynamicPartitionsDefinition(name=_partitions_name(key_prefix))

    @dg.multi_asset(
        name=_export_name(key_prefix),
        specs=specs,
        check_specs=[
            dg.AssetCheckSpec(name, asset=keys[table], description=what)
            for table in keys
            for name, what in _CHECKS.get(table, {}).items()
        ],
        partitions_def=partitions,
        can_subset=True,  # without it the checks of a queue that is skipped would be missed
        group_name=group_name,
        pool=pool,
    )
    def export(
        context: dg.AssetExecutionContext, config: Wishes
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with _failing():
            yield from _materialized(context, config, load_config(file))

    def _materialized(
        context: dg.AssetExecutionContext, wishes: Wishes, settings: Config
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        queue = export_queue(
            settings,
            context.partition_key,
            sharing=at_once,
            mode=cast("Mode", wishes.mode or mode),
            accept_removals=wishes.accept_removals,
            refresh=wishes.refresh,
            say=context.log.info,
        )
        told = verdict(queue)
        if queue.status == "skipped":
            context.log.warning(told)
            return
        if queue.status == "failed":
            raise _failure(told, queue.exit_code)
        (context.log.info if queue.exit_code == 0 else context.log.warning)(told)
        for table, told_of in figures(settings, queue).items():
            key = keys[table]
            asked = {check.name for check in context.selected_asset_check_keys if check.asset_key == key}
            checks = [check for check in _checks(queue, table, key) if check.check_name in asked]
            if key in context.selected_asset_keys:
                metadata = _metadata(settings, table, told_of)
                yield dg.MaterializeResult(asset_key=key, metadata=metadata, check_results=checks)
            else:
                yield from checks

    return export


def export_definitions(
    config: Settings = None,
    *,
    key_prefix: Prefix = PREFIX,
    cron_schedule: str | None = "0 3 * * *",
    new_only_cron_schedule: str | None = None,
    execution_timezone: str = "UTC",
    **options: Any,
) -> dg.Definitions:
    """Return the assets with a job that exports a queue, and a schedule that runs it for each configured queue.

    The schedule also adds a partition for each new queue. Another one, `new_only_cron_schedule`, asks for the rows that
    are new since the last export. `options` are those of `export_assets`. Raises ConfigError.
    """
    key_prefix = _parts(key_prefix)
    assets = export_assets(config, key_prefix=key_prefix, **options)
    job = dg.define_asset_job("_".join([*key_prefix, "job"]), selection=[assets])
    ticks: dict[str, tuple[str | None, dict[str, Any]]] = {
        "schedule": (cron_schedule, {}),
        "new_only_schedule": (new_only_cron_schedule, {"mode": "new"}),
    }
    schedules = []
    for name, (cron, wishes) in ticks.items():
        if cron is not None:
            run_config = {"ops": {_export_name(key_prefix): {"config": wishes}}} if wishes else {}
            tick = _tick(config, key_prefix, run_config)
            schedule = dg.schedule(cron, name=f"{job.name}_{name}", job=job, execution_timezone=execution_timezone)
            schedules.append(schedule(tick))
    return dg.Definitions(assets=[assets], jobs=[job], schedules=schedules)


class AnnolakeExport(dg.Component, dg.Model, dg.Resolvable):
    """LangSmith annotation queues in a lake of Parquet or Delta tables: assets, their checks, a job and a schedule.

    `config` is the settings file, relative to the component's folder.
    """

    config: str = "annolake.toml"
    key_prefix: Prefix = PREFIX
    group_name: str | None = None
    mode: Mode = "full"
    cron_schedule: str | None = "0 3 * * *"
    new_only_cron_schedule: str | None = None
    execution_timezone: str = "UTC"
    fresh_within_hours: float | None = DAY.total_seconds() / 3600
    at_once: int = QUEUES_AT_ONCE
    pool: str | None = "annolake"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the definitions. Raises ConfigError."""
        hours = self.fresh_within_hours
        return export_definitions(
            Path(context.path) / self.config,
            key_prefix=self.key_prefix,
            group_name=self.group_name,
            mode=self.mode,
            cron_schedule=self.cron_schedule,
            new_only_cron_schedule=self.new_only_cron_schedule,
            execution_timezone=self.execution_timezone,
            fresh_within=None if hours is None else timedelta(hours=hours),
            at_once=self.at_once,
            pool=self.pool,
        )


_CHECKS = {
    "runs": {
        "complete": "Every row that the service shows was read.",
        "no_new_rejects": "No row was set aside that had not been before.",
        "no_missing_payloads": "Of no new row the run was gone before its payload could be exported.",
        "removals_confirmed": "Not so many rows are gone at once that they were not marked removed.",
    },
    **{
        table: {
            "complete": "All that was to be read of the table was.",
            "no_new_rejects": "No row was set aside that had not been before.",
        }
        for table in ("feedback", "turns")
    },
}


def _spec(settings: Config, table: str, key_prefix: Sequence[str], fresh_within: timedelta | None) -> dg.AssetSpec:
    (contract,) = (each for each in TABLES if each.name == table)
    return dg.AssetSpec(
        [*key_prefix, table],
        description=contract.description,
        skippable=True,  # another export has the queue
        kinds={_kind(settings)},
        metadata={
            "dagster/uri": address_of(settings, table),
            "dagster/column_schema": dg.TableSchema([_column(column) for column in contract.column]),
        },
        freshness_policy=dg.FreshnessPolicy.time_window(fresh_within) if fresh_within else None,
    )


def _kind(settings: Config) -> str:
    """Return how a lake is kept that these settings make."""
    lake = settings.lake
    return (
        "deltalake" if (lake.format or ("delta" if isinstance(lake.path, str) else "parquet")) == "delta" else "parquet"
    )


def _column(column: Column) -> dg.TableColumn:
    constraints = dg.TableColumnConstraints(nullable=column.nullable)
    return dg.TableColumn(column.name, column.type, description=column.description, constraints=constraints)


def _metadata(settings: Config, table: str, told_of: Figures) -> dict[str, Any]:
    """Return figures under Dagster's own keys where it has one, else under annolake's."""
    own = {"lake_rows": "dagster/partition_row_count"}
    counted = {own.get(name, f"annolake/{name}"): _value(value) for name, value in told_of.items()}
    return {"dagster/uri": address_of(settings, table), **counted}


def _value(value: Any) -> Any:
    return dg.MetadataValue.timestamp(value) if isinstance(value, datetime) else value


def _checks(queue: QueueReport, table: str, key: dg.AssetKey) -> list[dg.AssetCheckResult]:
    """Return the checks of a table: one of them fails where the command's exit code is 3, and otherwise none."""
    if table not in _CHECKS:
        return []
    error, warn = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    part: QueueReport | TableReport = queue if table == "runs" else getattr(queue, table)
    passed: dict[str, tuple[bool, dict[str, Any]]] = {
        "no_new_rejects": (not part.rejected_new, {"rejected": part.rejected, "rejected_new": part.rejected_new})
    }
    severity, whose = error, {"queue_id": queue.queue_id, "name": queue.name}
    if isinstance(part, QueueReport):
        passed["complete"] = part.complete, {"because": part.incomplete_because, "rows_seen": part.rows_seen}
        missing = {"payloads_missing": part.payloads_missing, "payloads_missing_new": part.payloads_missing_new}
        passed["no_missing_payloads"] = not part.payloads_missing_new, missing
        unconfirmed = {"removed_unconfirmed": part.removed_unconfirmed, "because": part.unconfirmed_because}
        passed["removals_confirmed"] = not part.removals_held_back, unconfirmed
    else:
        passed["complete"] = part.status not in {"partial", "refused"}, {"because": part.because, "rows": part.rows}
        severity = warn if part.status == "refused" else error
    return [
        dg.AssetCheckResult(asset_key=key, check_name=name, passed=is_good, severity=severity, metadata=whose | facts)
        for name, (is_good, facts) in passed.items()
    ]


@contextmanager
def _failing() -> Iterator[None]:
    """Have an error of annolake fail the run or the tick, in its sentence."""
    try:
        yield
    except AnnolakeError as error:
        raise _failure(f"{error}; exit code {error.exit_code}", error.exit_code) from None


def _failure(told: str, exit_code: int) -> dg.Failure:
    return dg.Failure(told, metadata={"annolake/exit_code": exit_code}, allow_retries=False)


def _parts(key_prefix: Prefix) -> Sequence[str]:
    """Return the parts of a prefix: a text is one, not as many as it has letters."""
    return (key_prefix,) if isinstance(key_prefix, str) else key_prefix


def _partitions_name(key_prefix: Sequence[str]) -> str:
    return "_".join([*key_prefix, "queues"])


def _export_name(key_prefix: Sequence[str]) -> str:
    return "_".join([*key_prefix, "export"])


def _tick(
    config: Settings, key_prefix: Sequence[str], run_config: dict[str, Any]
) -> Callable[[dg.ScheduleEvaluationContext], Iterator[dg.RunRequest]]:
    """Return what a schedule does."""

    def each_queue(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        """Run the job for each queue that the settings ask for, new ones included."""
        with _failing():
            queues = queues_of(load_config(config))
        context.instance.add_dynamic_partitions(_partitions_name(key_prefix), queues)
        for queue in queues:
            yield dg.RunRequest(run_key=queue, partition_key=queue, run_config=run_config)

    return each_queue
