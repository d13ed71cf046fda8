"""What the page consists of, before it is drawn: sections with a title that says what is seen, charts, a table."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Literal

import msgspec
import polars as pl
from msgspec.structs import replace

Step = Literal["day", "week", "month"]

_MOST_DAYS, _MOST_WEEKS = 62, 420
_WEEK = 7


class Period(msgspec.Struct, frozen=True):
    """The days that the page is about, `first` and `last` among them, all UTC."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many there are."""
        return (self.last - self.first).days + 1

    @property
    def step(self) -> Step:
        """What a bar is for."""
        return "day" if self.days <= _MOST_DAYS else "week" if self.days <= _MOST_WEEKS else "month"

    @property
    def week(self) -> "Period":
        """The last 7 days, or all where there are fewer."""
        return Period(max(self.first, self.last - timedelta(days=_WEEK - 1)), self.last)

    @property
    def week_before(self) -> "Period | None":
        """The 7 days before those; None where the period has not all of them."""
        if self.days < 2 * _WEEK:
            return None
        return Period(self.last - timedelta(days=2 * _WEEK - 1), self.last - timedelta(days=_WEEK))

    def has(self, column: str | pl.Expr) -> pl.Expr:
        """Tell of each day whether it is one of these."""
        return (pl.col(column) if isinstance(column, str) else column).is_between(self.first, self.last)

    def steps(self) -> list[date]:
        """Return the first day of each step."""
        days = pl.date_range(self.first, self.last, interval="1d", eager=True).alias("day").to_frame()
        return days.select(self.step_of("day").unique().sort()).to_series().to_list()

    def ends(self) -> list[date]:
        """Return the last day of each step."""
        return [*(start - timedelta(days=1) for start in self.steps()[1:]), self.last]

    def step_of(self, column: str) -> pl.Expr:
        """Return the first day of the step of each day; weeks begin on Monday."""
        return pl.col(column).dt.truncate({"day": "1d", "week": "1w", "month": "1mo"}[self.step])


class Table(msgspec.Struct, frozen=True):
    """A table of text; columns in `numbers` are aligned to the right, `left_out` rows are counted only."""

    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: frozenset[int] = frozenset()
    left_out: int = 0


class Series(msgspec.Struct, frozen=True):
    """One line or colour of a chart, as its key names it; `figure` is a number worth reading beside the name.

    `place` is its number among all, from 0 on, whether they are in this chart or not.
    """

    place: int
    name: str
    figure: str


class Chart(msgspec.Struct, frozen=True):
    """A chart. `what` says in words what it shows, `series` are its key, none where there is but one.

    A small chart has a `title` and its `unit`. Of "lines" and "bars" `points` has day, series (a place in the key) and
    value; of "ranks" name, value and figure. Values are in `dollars`, in `percent`, or neither.
    """

    kind: Literal["lines", "bars", "ranks"]
    what: str
    points: pl.DataFrame
    series: Sequence[Series] = ()
    title: str = ""
    unit: str = ""
    dollars: bool = False
    percent: bool = False

    @property
    def drawable(self) -> "Chart":
        """The chart without values that a drawing has no place for: a mean of large scores can overflow."""
        return replace(self, points=self.points.filter(pl.col("value").is_finite()))


class Tile(msgspec.Struct, frozen=True):
    """A figure at the top of the page; `tone` is "good", "bad" or "" and is told in words too."""

    label: str
    value: str
    detail: str
    tone: str = ""


class Section(msgspec.Struct, frozen=True):
    """One part of the page. `note` says what was counted. Where nothing is to be seen there is no chart.

    `has_tones`: the table's first column says good or bad. `wide`: it takes the page's whole width.
    """

    anchor: str
    title: str
    note: str = ""
    charts: Sequence[Chart] = ()
    table: Table | None = None
    table_title: str = ""
    tile: Tile | None = None
    opened: bool = False
    wide: bool = False
    has_tones: bool = False


def as_table(
    heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, numbers: Sequence[int], most: int = 100
) -> Table:
    """Return a table of at most so many rows."""
    return Table(heads, rows[:most], frozenset(numbers), max(0, len(rows) - most))
