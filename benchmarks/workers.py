"""Many queues by one process, and by 1, 2 and 4 workers of a Dask cluster on this machine: wall time at 100 ms.

The cluster is there before the clock starts, as one that serves many exports is. `--queues 40` for a larger case.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from distributed import LocalCluster
from processes import Service, measured, service


def main() -> None:
    """Print a table: a line for the process, and one for each number of workers."""
    args = _arguments()
    case = f"{args.queues} queues of {args.rows} rows over {args.days} days"
    print(f"{case}, {args.latency_ms:.0f} ms, median of {args.repeat}")
    with service(rows=args.rows, queues=args.queues, days=args.days, latency_ms=args.latency_ms) as there:
        alone = _median_s(there, [], args.repeat)
        print(f"one process  {alone:6.2f} s")
        for count in args.workers:
            environ = {"LANGSMITH_API_KEY": there.api_key}
            with LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address="127.0.0.1:0", env=environ
            ) as cluster:
                on = cluster.scheduler_address.replace("tcp://", "dask://")
                wall_s = _median_s(there, ["--on", on], args.repeat)
            print(f"{count} workers    {wall_s:6.2f} s  {wall_s / alone:.2f} of one process")


def _median_s(there: Service, options: list[str], repeat: int) -> float:
    """Return the wall time of an export into a new lake."""
    walls = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            environ = {
                "LANGSMITH_API_KEY": there.api_key,
                "ANNOLAKE_SOURCE__BASE_URL": there.url,
                "ANNOLAKE_SOURCE__QUEUES": ",".join(there.queue_ids),
                "ANNOLAKE_LAKE__PATH": f"{folder}/lake",
            }
            command = [sys.executable, "-m", "annolake", "run", "--json", "--quiet", *options]
            walls.append(measured(command, environ, Path(folder)).wall_s)
    return statistics.median(walls)


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
