"""`annolake dashboard`: what the lake tells at a glance, as one page (docs/dashboard.md).

Owns which parts the page has, and where they come from: the views, the last attempts, the rejects. Reads the lake
alone.
"""

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import polars as pl

from annolake.clock import Clock
from annolake.commands.status import reasons_of
from annolake.config import Config, load_lake_config
from annolake.errors import ConfigError, LakeError
from annolake.load.lake import Lake
from annolake.load.status import LakeStatus, QueueStatus, status
from annolake.out_file import new_file, require_free
from annolake.printable import printable
from annolake.read.dashboard import costs, figures, health, people, words
from annolake.read.dashboard.parts import Period
from annolake.read.dashboard.sums import View
from annolake.read.frames import scan
from annolake.reject_groups import group_rejects
from annolake.streams import Streams
from annolake.version import __version__
from annolake.wiring import open_lake

T = TypeVar("T")

DEFAULT_DAYS = 30

_NEEDED = ("altair", "jinja2", "vl_convert")
_MARK = b'<meta name="generator" content="annolake '
_NOT_OURS = "it is no dashboard, so it is not replaced: name another file"
_LOOKS = 8
_TITLE = "Annotation queues"


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Write the page and say where it is; return 0. Raises ConfigError, LakeError."""
    if not can_draw():
        raise ConfigError('what draws the charts is not installed: pip install "annolake[dashboard]"')
    config = load_lake_config(arguments.config, environ)
    out: Path = arguments.out
    require_free(out, force=_is_dashboard(out), lake=config.lake.path, advice=_NOT_OURS)
    since = arguments.since
    days = since if isinstance(since, int) else DEFAULT_DAYS
    html = dashboard(config, environ, now=Clock().now(), days=days, since=since if isinstance(since, date) else None)
    with new_file(out, force=_is_dashboard(out)) as opened:
        opened.write(html.encode())
    print(printable(f"the page is written: {out.resolve()}"), file=streams.out)
    return 0


def can_draw() -> bool:
    """Tell whether the extra `dashboard` is installed."""
    return all(map(find_spec, _NEEDED))


def _is_dashboard(path: Path) -> bool:
    """Tell whether a file is an earlier dashboard, which is replaced without asking."""
    with suppress(OSError):
        if path.is_file():  # a pipe would be waited for
            with path.open("rb") as opened:
                return _MARK in opened.read(2000)
    return False


def dashboard(
    config: Config, environ: Mapping[str, str], *, now: datetime, days: int = DEFAULT_DAYS, since: date | None = None
) -> str:
    """Return the page as HTML, of the last so many days on which something happened, or of those since a day.

    Raises LakeError where there is no lake, or where it can't be read.
    """
    lake = open_lake(config, environ)
    if not lake.is_there():
        raise LakeError(f"{config.lake.path}: there is no lake; check lake.path, or run an export first")

    looks = _Looks(config, environ)
    period = looks.at(lambda view: figures.period_of(view, today=now.date(), days=days, since=since))
    return _page(lake, looks, period, now=now, base_url=config.source.base_url)


class _Looks:
    """Looks at the views; one that meets a file that an export has replaced since it was listed is repeated, alone."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._config, self._environ = config, environ
        self._found: dict[str, pl.LazyFrame] = {}

    def _view(self, name: str) -> pl.LazyFrame:
        if name not in self._found:
            self._found[name] = scan(self._config, name, environ=self._environ)
        return self._found[name]

    def at(self, part: Callable[[View], T]) -> T:
        """Return what a part of the page makes of the views. Raises LakeError."""
        for _ in range(_LOOKS - 1):
            with suppress(OSError, pl.exceptions.ComputeError):  # in a store it is no FileNotFoundError
                return part(self._view)
            self._found.clear()
        try:
            return part(self._view)
        except (OSError, pl.exceptions.ComputeError) as error:
            raise _unread(self._config) from error


def _unread(config: Config) -> LakeError:
    return LakeError(
        f"{config.lake.path}: the lake could not be read: run it again when no export runs, "
        "and `annolake verify` where that does not help"
    )


def _page(lake: Lake, looks: "_Looks", period: Period, *, now: datetime, base_url: str) -> str:
    from annolake.read.dashboard.page import page  # noqa: PLC0415 - an extra

    found = status(lake, now=now)
    names = words.labels({each.queue_id: each.name for each in found.queues})
    queues = [_health(each, names) for each in found.queues]
    rejects = _rejects(lake, base_url, names)
    sections = [
        health.exports(queues, _wrong(found), now=now),
        *looks.at(lambda view: figures.queues(view, period, names)),
        *looks.at(lambda view: costs.costs(view, period)),
        looks.at(lambda view: people.reviewers(view, period)),
        looks.at(lambda view: figures.waits(view, period, names)),
        looks.at(lambda view: people.answers(view, period)),
        health.missing(queues, rejects),
    ]
    subtitle = f"{words.day(period.first)} to {words.day(period.last)}, in UTC days. Made {words.moment(now)}."
    return page(sections, period, title=_TITLE, subtitle=subtitle, version=__version__)


def _wrong(found: LakeStatus) -> list[str]:
    """Return what concerns the whole lake: a stray file, an export that ended before it came to any queue."""
    wrong, last = [found.error] if found.error else [], found.last_attempt
    if last and last.concerns_all and last.state != "running" and not last.is_good:
        wrong += [f"The last export failed: {reason}" for reason in reasons_of(last)]
    return wrong


def _health(queue: QueueStatus, names: Mapping[str, str]) -> health.QueueHealth:
    history = queue.history
    last, good, full = history.last, history.good, history.full
    ended: health.Ended = "bad"
    reasons: Sequence[str] = ()
    if queue.error:
        reasons = [queue.error]
    elif last is None and history.running:
        ended = "running"
    elif last is None:
        reasons = ["no export is on record"]
    elif last.is_good:
        ended = "good"
    else:
        reasons = reasons_of(last) or [str(last.status)]
    return health.QueueHealth(
        names[queue.queue_id],
        ended,
        reasons,
        good.time if good else None,
        queue.held.rows if queue.held else None,
        queue.rejects,
        (full.entry or {}).get("payloads_missing") if full else None,
    )


def _rejects(lake: Lake, base_url: str, names: Mapping[str, str]) -> list[health.RejectKind]:
    return [
        health.RejectKind(group.table, group.path, group.reason, group.rejects, _called(group.queues, names))
        for group in group_rejects(lake, lake.rejected_queues(), base_url)
    ]


def _called(queue_ids: Collection[str], names: Mapping[str, str]) -> list[str]:
    return [names.get(each, each) for each in sorted(queue_ids)]
