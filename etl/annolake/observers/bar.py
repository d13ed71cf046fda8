"""The progress of an export on a terminal.

Owns how it is drawn, at any width. Never whether it is (console.py).
"""

from collections.abc import Callable
from typing import Self, TextIO

from rich.console import Console, Group, OverflowMethod, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text

from annolake.observers.events import ProgressEvent, clock_in_words, counts_in_words, percent_in_words
from annolake.observers.overview import Overview, Totals
from annolake.printable import counted, printable

_ONE_LINE = 76  # columns that are needed for it
_NAME, _PHASE, _BAR, _GAP = 30, 10, 40, 2
_LEAST_NAME, _LEAST_BAR = 16, 12
_SPEED = 3  # its place among a line's words
_FEWEST_LINES = 4  # of a queue's, however low the terminal is


class ProgressBar:
    """A line for each queue that is at work, or two where it is narrow; under them a line for all together."""

    def __init__(self, stream: TextIO, monotonic: Callable[[], float], *, no_color: bool | None = None) -> None:
        self._overview = Overview(monotonic)
        self.planned, self.entered, self.finished = (
            self._overview.planned,
            self._overview.entered,
            self._overview.finished,
        )
        self._console = Console(file=stream, no_color=no_color, highlight=False)
        self._live = Live(
            get_renderable=self._drawn,
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._live.stop()

    def deliver(self) -> None:
        """Do nothing: the bar is redrawn by itself."""

    def print_above(self, line: str) -> None:
        """Write a line of text, which stays, above what is drawn."""
        self._console.print(line, markup=False, emoji=False, soft_wrap=True)

    def _drawn(self) -> RenderableType:
        return drawn(self._overview.now(), self._console)


def drawn(totals: Totals, console: Console) -> RenderableType:
    """Return what is shown at this moment on a terminal of that size."""
    width, height = console.size
    lines_each = 1 if width >= _ONE_LINE else 2
    room = max(_FEWEST_LINES, height - 2) // lines_each
    queues, hidden = totals.at_work[:room], len(totals.at_work) - room
    shown = [_two_lines(queue, console) for queue in queues] if lines_each > 1 else [_table(queues, console)]
    more = [_cut(f"and {counted(hidden, 'queue')} more", console)] if hidden > 0 else []
    return Group(*shown, *more, _summary(totals, console))


def _table(queues: list[ProgressEvent], console: Console) -> RenderableType:
    """Return a line for each queue. The bar is the first to go where there is no room for a name, then the speed."""
    rows = [[*_words(queue, " of ")] for queue in queues]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] or [0] * 5
    widths[0] = _PHASE
    if _left(console, widths) < _LEAST_NAME:
        rows, widths = [[*row[:_SPEED], *row[_SPEED + 1 :]] for row in rows], widths[:_SPEED] + widths[_SPEED + 1 :]
    left = _left(console, widths)
    bar = min(_BAR, left - _NAME - _GAP)
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True, width=max(1, min(_NAME, left)), overflow=_overflow(console))
    table.add_column(no_wrap=True, style="cyan", width=widths[0])
    if bar >= _LEAST_BAR:
        table.add_column(width=bar)
    for size in widths[1:]:
        table.add_column(no_wrap=True, justify="right", width=size)
    for queue, (phase, *words) in zip(queues, rows, strict=True):
        bars = [Bar(total=100, completed=queue.percent or 0.0)] if bar >= _LEAST_BAR else []
        table.add_row(Text(_name(queue)), phase, *bars, *words)
    return table


def _left(console: Console, widths: list[int]) -> int:
    """Return the columns that are left beside those of some widths."""
    return console.width - sum(widths) - _GAP * (len(widths) + 1)


def _two_lines(queue: ProgressEvent, console: Console) -> RenderableType:
    phase, percent, counts, speed, left = _words(queue, "/")
    counts = counts.rpartition(" ")[0] if percent else counts
    name = Text(_name(queue), no_wrap=True)
    name.truncate(max(1, console.width - len(phase) - 1), overflow=_overflow(console))
    name.append(f" {phase}", "cyan")
    figures = _fitting([percent, counts, left, speed.replace(" rows", "")], console.width - _GAP)
    return Group(name, _cut(figures, console, indent=_GAP)) if figures else name


def _summary(totals: Totals, console: Console) -> RenderableType:
    parts = []
    if totals.queues > 1:
        outcomes = [f"{number:,} {status}" for status, number in totals.outcomes.items() if status != "ok"]
        parts = [f"{totals.ended:,} of {totals.queues:,} queues", *outcomes]
        parts += [f"{clock_in_words(totals.seconds_left)} left"] if totals.seconds_left is not None else []
        parts.append(counted(totals.rows, "row"))
    parts += [f"{totals.rows_per_s:,.0f} rows/s"] if totals.rows_per_s else []
    parts.append(f"{clock_in_words(totals.seconds)} elapsed")
    parts += [f"{totals.throttled:,} throttled"] if totals.throttled else []
    parts.append(counted(totals.requests, "request"))
    return _cut(_fitting(parts, console.width, ", "), console, style="dim")


def _words(queue: ProgressEvent, of: str) -> tuple[str, str, str, str, str]:
    """Return phase, percent, counts, speed and the time left; empty where there is none."""
    left = queue.seconds_left or 0
    speed = f"{queue.rows_per_s:,.0f} rows/s" if queue.rows_per_s else ""
    return (
        queue.phase,
        percent_in_words(queue),
        counts_in_words(queue, of),
        speed,
        f"{clock_in_words(left)} left" if round(left) else "",
    )


def _name(queue: ProgressEvent) -> str:
    return printable(queue.name or queue.queue_id)


def _fitting(parts: list[str], width: int, between: str = "  ") -> str:
    """Return the parts that fit, the first ones before all."""
    line = ""
    for part in filter(None, parts):
        longer = f"{line}{between}{part}" if line else part
        line = longer if len(longer) <= width or not line else line
    return line


def _cut(line: str, console: Console, *, indent: int = 0, style: str = "") -> Text:
    text = Text(" " * indent + line, style, no_wrap=True)
    text.truncate(console.width, overflow=_overflow(console))
    return text


def _overflow(console: Console) -> OverflowMethod:
    return "crop" if console.options.ascii_only else "ellipsis"
