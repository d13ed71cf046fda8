"""Many queues by one process, and by 1, 2 and 4 workers of a Dask cluster on this machine: wall time at 100 ms.

Each lake must hold the same rows as that of the one process. The cluster is there before the clock starts, as one that
serves many exports is. `--queues 40` for a larger case.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from distributed import LocalCluster
from processes import Service, measured, service

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from lakes import rows_of


def main() -> None:
    """Print a table: a line for the process, and one for each number of workers."""
    args = _arguments()
    case = f"{args.queues} queues of {args.rows} rows over {args.days} days"
    print(f"{case}, {args.latency_ms:.0f} ms, median of {args.repeat}")
    with service(rows=args.rows, queues=args.queues, days=args.days, latency_ms=args.latency_ms) as there:
        alone, rows = _exported(there, [], args.repeat)
        print(f"one process  {alone:6.2f} s")
        for count in args.workers:
            environ = {"LANGSMITH_API_KEY": there.api_key}
            with LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address="127.0.0.1:0", env=environ
            ) as cluster:
                on = cluster.scheduler_address.replace("tcp://", "dask://")
                wall_s, found = _exported(there, ["--on", on], args.repeat)
            if found != rows:
                raise RuntimeError(f"{count} workers made another lake than one process")
            print(f"{count} workers    {wall_s:6.2f} s  {wall_s / alone:.2f} of one process")


def _exported(there: Service, options: list[str], repeat: int) -> tuple[float, dict[str, Any]]:
    """Return the median wall time of exports into new lakes, and the rows of the last one by table.

    All lakes stay until the last export has ended: for seconds after many files were removed, ext4 takes longer to make
    new ones. Measured, 0.8 of 9 s of CPU; nobody removes a lake before each export.
    """
    walls, rows = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeat):
            lake = Path(folder, f"lake-{number}")
            environ = {
                "LANGSMITH_API_KEY": there.api_key,
                "ANNOLAKE_SOURCE__BASE_URL": there.url,
                "ANNOLAKE_SOURCE__QUEUES": ",".join(there.queue_ids),
                "ANNOLAKE_LAKE__PATH": str(lake),
            }
            command = [sys.executable, "-m", "annolake", "run", "--json", "--quiet", *options]
            walls.append(measured(command, environ, Path(folder)).wall_s)
            rows = rows_of(lake)
    return statistics.median(walls), rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, default=8)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--latency-ms", type=float, default=100)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
