"""Queues as an Airflow DAG: a task for each queue, an asset for each table (docs/orchestrators.md#airflow).

Owns what Airflow is told. Every exit code but 0 fails its task for good, for annolake has tried again itself, and 6
skips it.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from airflow.sdk import DAG, Asset, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from annolake.errors import AnnolakeError
from annolake.report import Mode
from annolake.run_on.definition import QUEUES_AT_ONCE, SKIPPED, address_of, settings_of, tables_of

__all__ = ["export_dag", "export_tasks", "table_assets"]

Settings = str | os.PathLike[str] | None


def export_dag(
    config: Settings = None,
    *,
    dag_id: str = "annolake",
    prefix: str = "annolake",
    schedule: Any = "@daily",
    mode: Mode = "full",
    at_once: int = QUEUES_AT_ONCE,
    task_options: Mapping[str, Any] | None = None,
    **dag_options: Any,
) -> DAG:
    """Return a DAG that exports each configured queue by a task of its own, `at_once` of them at a time.

    `config` is the settings file (default: ./annolake.toml); it is read here for the place of the lake, and by each
    task again. The tables are the assets `<prefix>/<table>`; another lake needs another prefix. `task_options` go to
    the task that exports, `dag_options` to the DAG. Who triggers it chooses `mode`, `refresh` and `accept_removals`.
    Raises ConfigError.
    """
    options = {"catchup": False, "max_active_runs": 1, "tags": ["annolake"], **dag_options}
    options["params"] = {
        "mode": Param(mode, enum=["full", "new"], description="all rows, or those added since the last export"),
        "refresh": Param(default=False, type="boolean", description="ask for the run of every row"),
        "accept_removals": Param(default=False, type="boolean", description="mark rows that are gone, however many"),
        **(dag_options.get("params") or {}),
    }

    @dag(dag_id=dag_id, schedule=schedule, **options)
    def exports() -> None:
        """Export LangSmith annotation queues into the lake."""
        export_tasks(config, prefix=prefix, mode=mode, at_once=at_once, **(task_options or {}))

    made: DAG = exports()
    return made


def table_assets(config: Settings = None, prefix: str = "annolake") -> dict[str, Asset]:
    """Return the asset of each table, by the table's name, as the tasks update it. Raises ConfigError."""
    settings = settings_of(config)
    return {table: Asset(f"{prefix}/{table}", address_of(settings, table)) for table in tables_of(settings)}


def export_tasks(
    config: Settings = None,
    *,
    prefix: str = "annolake",
    mode: Mode = "full",
    at_once: int = QUEUES_AT_ONCE,
    **task_options: Any,
) -> Any:
    """Add both tasks to the DAG that is being made: `list_queues`, and `export_queue`, which is mapped over them.

    Returns the reports of the queues. Params of the DAG called `mode`, `refresh` and `accept_removals` are heeded.
    Raises ConfigError.
    """
    settings_of(config, at_once=at_once, mode=mode)
    assets = table_assets(config, prefix)

    @task(retries=0)
    def list_queues() -> list[dict[str, Any]]:
        """Return the queues of the settings, each with the number of exports that share the limits on requests."""
        from annolake.run_on import one_queue  # noqa: PLC0415 - 0.5 s, in the reading of a DAG

        with _failing():
            queues = one_queue.queues_of(one_queue.load_config(config))
        return [{"queue": queue, "sharing": min(at_once, len(queues))} for queue in queues]

    options = {
        "outlets": [*assets.values()],
        "max_active_tis_per_dagrun": at_once,
        "map_index_template": "{{ queue_name }}",
        **task_options,
        "retries": 0,
    }

    @task(multiple_outputs=False, **options)
    def export_queue(queue: str, sharing: int) -> dict[str, Any]:
        """Export a queue and return its report."""
        with _failing():
            return _export(config, queue, sharing=sharing, mode=mode, assets=assets)

    return export_queue.expand_kwargs(list_queues())


def _export(config: Settings, queue: str, *, sharing: int, mode: Mode, assets: Mapping[str, Asset]) -> dict[str, Any]:
    from annolake.run_on import one_queue  # noqa: PLC0415 - as above

    context: Any = get_current_context()
    params = context["params"]
    settings = one_queue.load_config(config)
    with _stopping() as stop:
        report = one_queue.export_queue(
            settings,
            queue,
            sharing=sharing,
            mode=params.get("mode", mode),
            accept_removals=params.get("accept_removals", False),
            refresh=params.get("refresh", False),
            say=_say,
            stop=stop,
        )
    context["queue_name"] = report.name or queue
    told = one_queue.verdict(report)
    as_json = one_queue.as_json_values(report)
    _push_exit_code(report.exit_code)
    if report.exit_code:
        context["ti"].xcom_push("report", as_json)
        raise (AirflowSkipException if report.exit_code == SKIPPED else AirflowFailException)(told)
    _say(told)
    for table, figures in one_queue.figures(settings, report).items():
        extra = {"queue_id": report.queue_id, **one_queue.as_json_values(figures)}
        context["outlet_events"][assets[table]].extra = extra
    return as_json


@contextmanager
def _failing() -> Iterator[None]:
    """Have an error of annolake fail the task for good, in its sentence."""
    try:
        yield
    except AnnolakeError as error:
        _push_exit_code(error.exit_code)
        raise AirflowFailException(f"{error}; exit code {error.exit_code}") from None


def _push_exit_code(exit_code: int) -> None:
    ti: Any = get_current_context()["ti"]
    ti.xcom_push("exit_code", exit_code)


def _say(told: str) -> None:
    logging.getLogger("annolake").info("%s", told)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give what is set when Airflow ends the task, by SIGTERM; it goes on to Airflow's own handler."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()
        if callable(before):
            before(number, frame)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
