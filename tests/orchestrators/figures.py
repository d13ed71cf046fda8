"""What annolake itself says of an export, to compare with what an orchestrator was told."""

import json
import re
from pathlib import Path
from typing import Any

from exporting import annolake

TABLES = ("runs", "feedback", "turns")

_OF_STATUS = {"lake_rows": "rows", "lake_removed": "removed", "lake_partitions": "partitions", "lake_bytes": "bytes"}
_LABEL = re.compile(r'\w+="[^"]*"')
_RESULTS = ("inserted", "updated", "unchanged", "removed")


def reported(lake: Path, queue_id: str) -> dict[str, Any]:
    """Return what the newest report of a lake with a queue says of it."""
    for path in sorted((lake / "_annolake/reports").iterdir(), reverse=True):
        for queue in json.loads(path.read_text())["queues"]:
            if queue["queue_id"] == queue_id:
                return dict(queue)
    raise LookupError(queue_id)


def assert_same_figures(told: dict[str, dict[str, Any]], config: Path, queue_id: str) -> None:
    """Check what was told of each table of a queue, as JSON values, against report, status and metrics.

    The metrics are those of the last export.
    """
    folder = config.parent
    report = reported(folder / "lake", queue_id)
    (status,) = json.loads(annolake("status", "--queue", queue_id, "--json", cwd=folder).out)["queues"]
    metrics = _metrics((folder / "annolake.prom").read_text(), queue_id)

    for table in TABLES:
        figures = told[table]
        said = report if table == "runs" else report[table]
        same = {name: value for name, value in figures.items() if name in said}
        assert same == {name: said[name] for name in same}
        assert {*said} - {*same} <= {"queue_id", "orders", *TABLES}
        held = status if table == "runs" else status[table]
        assert {name: figures[name] for name in _OF_STATUS} == {name: held[of] for name, of in _OF_STATUS.items()}
        if metrics:
            counted = {result: metrics[f'annolake_queue_rows table="{table}",result="{result}"'] for result in _RESULTS}
            assert counted == {result: figures[result] for result in _RESULTS}
    if metrics:
        runs = told["runs"]
        assert metrics["annolake_queue_exit_code"] == runs["exit_code"]
        assert metrics["annolake_queue_rows_read"] == runs["rows_seen"]
        assert metrics["annolake_queue_complete"] == runs["complete"]


def _metrics(text: str, queue_id: str) -> dict[str, float]:
    """Return the samples of a queue by name and the labels that do not name the queue or the export."""
    samples = {}
    for line in text.splitlines():
        if f'queue_id="{queue_id}"' in line:
            name, _, rest = line.partition("{")
            labels, _, value = rest.rpartition("} ")
            told = [
                label for label in _LABEL.findall(labels) if not label.startswith(("export=", "queue_id=", "name="))
            ]
            samples[" ".join([name, ",".join(told)]).rstrip()] = float(value)
    return samples
