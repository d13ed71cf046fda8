"""How much annolake takes, against the floor, the public SDK and dlt: wall, CPU and peak memory of whole processes.

Owns the cases and the table. Every case has one service; its contenders take turns, and medians are told. Run it
with nothing else running: `make bench`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from processes import LAKES, Run, Service, contender, measured, service
from store import object_store

Lake = Literal["none", "same", "older"]

ALL = ("floor", "annolake", "sdk", "dlt_rest")
OWN = ("floor", "annolake")
EXPORTERS = ("without", "annolake")
KINDS = ("annolake", *LAKES)
OURS = (*EXPORTERS, *LAKES)


@dataclass(frozen=True)
class Case:
    """What is exported, and what is in annolake's lake before: nothing, the same rows, or 1% older ones.

    The first contender is what the others are compared with. `unknown` names the fields that each row has besides the
    contract's (`service.py`); with `feedback` what was said on them is exported, too. The contender "without" is
    annolake where such fields, or feedback, are left out.
    """

    title: str
    rows: int
    lake: Lake = "none"
    lanes: int = 8
    contenders: tuple[str, ...] = OWN
    options: dict[str, Any] = field(default_factory=dict)
    endpoint: str = "auto"
    unknown: str = "nothing"
    feedback: bool = False


def _unknown_fields() -> Iterator[tuple[str, Case]]:
    """Yield a case for each kind of unknown field, endpoint and state of the lake."""
    for endpoint in ("runs", "items"):
        for unknown in ("a scalar", "an object", "five fields"):
            for lake, title in (("none", "first export"), ("same", "nothing changed")):
                name = f"unknown-{unknown.split()[-1]}-{endpoint}" + ("" if lake == "none" else "-unchanged")
                text = f"20,000 rows over {endpoint}, {unknown} unknown, {title}"
                yield name, Case(text, 20_000, lake, contenders=EXPORTERS, endpoint=endpoint, unknown=unknown)  # type: ignore[arg-type]


LIMITS = {"latency_ms": 20, "queries_per_10_s": 15}
"""The documented limit on run queries."""

CASES = {
    "first-2k": Case("2,000 rows, first export", 2_000, contenders=ALL),
    "first": Case("20,000 rows, first export", 20_000, contenders=ALL),
    "unchanged": Case("20,000 rows, nothing changed", 20_000, "same"),
    "changed": Case("20,000 rows, 1% changed", 20_000, "older"),
    "latency": Case("20,000 rows, 100 ms, 16 lanes", 20_000, lanes=16, contenders=ALL, options={"latency_ms": 100}),
    "latency-6k": Case("6,000 rows, 100 ms, 16 lanes", 6_000, lanes=16, options={"latency_ms": 100}),
    "first-200k": Case("200,000 rows, first export", 200_000, contenders=ALL),
    "unchanged-200k": Case("200,000 rows, nothing changed", 200_000, "same"),
    "heavy": Case("5,000 rows of 300 kB, first export", 5_000, contenders=ALL, options={"payload_kb": 300}),
    **dict(_unknown_fields()),
    "items": Case("20,000 rows over items, first export", 20_000, endpoint="items"),
    "items-unchanged": Case("20,000 rows over items, nothing changed", 20_000, "same", endpoint="items"),
    "items-latency": Case(
        "20,000 rows over items, 100 ms, 16 lanes", 20_000, lanes=16, options={"latency_ms": 100}, endpoint="items"
    ),
    "items-latency-unchanged": Case(
        "20,000 rows over items, 100 ms, 16 lanes, nothing changed",
        20_000,
        "same",
        lanes=16,
        options={"latency_ms": 100},
        endpoint="items",
    ),
    "items-limits": Case("6,000 rows over items, 15 queries in 10 s, 20 ms", 6_000, options=LIMITS, endpoint="items"),
    "items-limits-unchanged": Case(
        "6,000 rows over items, 15 queries in 10 s, 20 ms, nothing changed",
        6_000,
        "same",
        options=LIMITS,
        endpoint="items",
    ),
    "feedback": Case("20,000 rows, 53,000 feedbacks, first export", 20_000, contenders=EXPORTERS, feedback=True),
    "feedback-unchanged": Case(
        "20,000 rows, 53,000 feedbacks, nothing changed", 20_000, "same", contenders=EXPORTERS, feedback=True
    ),
    "lakes": Case("20,000 rows, first export", 20_000, contenders=KINDS),
    "lakes-unchanged": Case("20,000 rows, nothing changed", 20_000, "same", contenders=KINDS),
    "lakes-changed": Case("20,000 rows, 1% changed", 20_000, "older", contenders=KINDS),
}
QUICK = ("first-2k", "first", "unchanged")


def main() -> None:
    """Run the chosen cases and print a Markdown table."""
    args = _arguments()
    print(_heading())
    for name in args.cases:
        case = CASES[name]
        chosen = [each for each in case.contenders if each in args.contenders.split(",")]
        with ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory(dir=args.folder))
            if any(each.startswith("s3") for each in chosen):
                os.environ |= opened.enter_context(object_store(Path(folder) / "store"))
            runs = _measure(case, chosen, Path(folder), args.repeat)
        for each in chosen:
            print(_line(case, each, runs[each], runs.get(case.contenders[0])), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="turns of each contender (5)")
    parser.add_argument("--quick", action="store_true", help=f"one turn of {', '.join(QUICK)}")
    parser.add_argument("--folder", help="where lakes and files go, for the time of a case")
    every = (*ALL, "without", *LAKES)
    parser.add_argument("--contenders", default=",".join(every), help=f"by commas, of: {', '.join(every)} (all)")
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of: {', '.join(CASES)} (all)")
    args = parser.parse_args()
    if args.quick:
        args.repeat = 1
    args.cases = args.cases or list(QUICK if args.quick else CASES)
    unknown = [name for name in args.cases if name not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    return args


def _measure(case: Case, chosen: list[str], folder: Path, repeat: int) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    with service(rows=case.rows, **case.options) as there:
        ours = [name for name in chosen if name in OURS and case.lake != "none"]
        for name in ours:
            _turn(name, there, folder / name, case)
        for number in range(repeat):
            if case.lake == "older":
                there.tell("edit", share=0.01, round=number)
            for name in _alternating(chosen, number):
                _say(f"{case.title}: {name}, turn {number + 1} of {repeat}")
                with tempfile.TemporaryDirectory(dir=folder) as out:
                    runs[name].append(_turn(name, there, folder / name if name in ours else Path(out) / "out", case))
    return runs


def _alternating(chosen: list[str], number: int) -> Iterator[str]:
    """Yield the contenders, each turn beginning with another one."""
    return (chosen[(number + place) % len(chosen)] for place in range(len(chosen)))


def _turn(name: str, there: Service, out: Path, case: Case) -> Run:
    there.tell("unknown", fields="nothing" if name == "without" else case.unknown)
    feedback = case.feedback and name != "without"
    command, environ = contender(name, there, out, lanes=case.lanes, endpoint=case.endpoint, feedback=feedback)
    run = measured(command, environ, cwd=out.parent)
    rows = run.told["queues"][0]["rows_seen"] if name in OURS else run.told["rows"]
    if rows != case.rows:
        raise RuntimeError(f"{name} met {rows} of {case.rows} rows")
    return run


def _heading() -> str:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    _say(f"load before: {load}")
    return (
        "| case | contender | wall s | CPU s | peak MB | wall / first | CPU / first | CPU ms per 1,000 rows |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|"
    )


def _line(case: Case, name: str, runs: list[Run], first: list[Run] | None) -> str:
    wall, cpu, peak = (median(values) for values in _values(runs))
    ratios = ["", ""]
    if first and name != case.contenders[0]:
        pairs = list(zip(runs, first, strict=True))
        ratios = [f"{median(one.wall_s / other.wall_s for one, other in pairs):.2f}"]
        ratios += [f"{median(one.cpu_s / other.cpu_s for one, other in pairs):.2f}"]
    cells = [case.title, name, f"{wall:.2f}", f"{cpu:.2f}", f"{peak:.0f}", *ratios, f"{cpu / case.rows * 1e6:.0f}"]
    return "| " + " | ".join(cells) + " |"


def _values(runs: list[Run]) -> tuple[list[float], list[float], list[float]]:
    return [run.wall_s for run in runs], [run.cpu_s for run in runs], [run.peak_mb for run in runs]


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
