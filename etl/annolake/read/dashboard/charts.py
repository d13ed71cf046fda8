"""The page's charts, drawn by altair as SVG: twice, for a wide page and for a narrow one.

Owns that colours are the page's, by variables that follow light and dark, and that nothing is in a drawing but shapes
and text. Names come shortened and are escaped by whoever draws.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import altair as alt
import vl_convert

from annolake.read.dashboard.parts import Chart, Period

WIDE, NARROW, SMALL = 520, 330, 300
"""Widths in pixels; small ones are those of several charts in one section."""

_COLOURS = [f"var(--c{number})" for number in range(1, 8)]
_SVG = "{http://www.w3.org/2000/svg}"
_UNSEEN = {"background", "foreground"}
_KEPT = {"svg", "g", "path", "line", "rect", "text", "tspan", "defs", "clipPath", "circle"}
_ATTRIBUTES = {
    *("viewBox", "transform", "d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "fill", "stroke", "opacity"),
    *("stroke-width", "fill-opacity", "stroke-opacity", "text-anchor", "font-size", "font-weight", "display"),
    *("stroke-dasharray", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "r", "dy"),
}
_AXIS_PX, _LABEL_PX, _NARROW_LABEL_PX = 44, 150, 120
_HEIGHT, _SMALL_HEIGHT = 200, 140
_GAP = 0.08
_DAY_MS = 86_400_000
_DATE_PX = 80
_FEW = 4
_THOUSAND, _CENTS = 1000, 0.1
_BAR_PX = 26
_ROOM_FOR_FIGURES = 1.5


def drawn(chart: Chart, period: Period, width: int, anchor: str) -> str:
    """Return a chart as SVG for a page of HTML; `anchor` makes what is named in it different from other charts'."""
    plot = _ranks(chart, width) if chart.kind == "ranks" else _over_time(chart, period, width)
    spec = plot.configure(**_style()).to_json(indent=None)
    root = ET.fromstring(vl_convert.vegalite_to_svg(spec))  # noqa: S314 - see above
    return ET.tostring(_cleaned(root, anchor), encoding="unicode")


def _style() -> dict[str, Any]:
    return {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "padding": 2,
        "view": alt.ViewConfig(stroke=None),
        "aria": False,
        "axis": alt.AxisConfig(
            labelColor="var(--muted)",
            labelFontSize=12,
            gridColor="var(--grid)",
            domainColor="var(--grid)",
            tickColor="var(--grid)",
            titleColor="var(--muted)",
        ),
    }


def _data(rows: Sequence[Mapping[str, Any]]) -> Any:
    return alt.Data(values=rows)  # type: ignore[no-untyped-call]


def _milliseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def _over_time(chart: Chart, period: Period, width: int) -> Any:
    times = _Times(period)
    # numbers stand for times in UTC: a time as text would be one of the machine's own zone
    x = alt.X("x:T", title=None, scale=alt.Scale(type="utc", domain=times.domain), axis=times.axis(width))
    y = alt.Y("value:Q", title=None, stack=None, axis=_value_axis(chart), scale=_value_scale(chart))
    number = 1 + int(chart.points["series"].max() or 0)  # type: ignore[arg-type]
    scale = alt.Scale(domain=[*range(number)], range=_COLOURS[:number])
    colour = alt.Color("series:O", legend=None, scale=scale)
    is_bars = chart.kind == "bars"
    rows = [*(_stacked(chart, times) if is_bars else _dots(chart, times))]
    base = alt.Chart(_data(rows), width=width - _AXIS_PX, height=_SMALL_HEIGHT if chart.title else _HEIGHT)
    if is_bars:
        return base.mark_rect().encode(x=x, x2="x2", y=y, y2="from", color=colour)
    has_dots = bool(chart.title) or chart.points["day"].n_unique() < _FEW
    point = alt.OverlayMarkDef(filled=True, size=36) if has_dots else False
    return base.mark_line(point=point, strokeWidth=2.5).encode(x=x, y=y, color=colour)


class _Times:
    """Where the steps of a period lie on the axis, in milliseconds."""

    def __init__(self, period: Period) -> None:
        self._step = period.step
        steps = period.steps()
        self.begins = [*map(_milliseconds, steps)]
        self.domain = [self.begins[0], _milliseconds(period.last + timedelta(days=1))]
        self._until = dict(zip(self.begins, [*self.begins[1:], self.domain[1]], strict=True))

    def edges(self, begin: int) -> tuple[float, float]:
        """Return where the bar of a step begins and ends."""
        length = self._until[begin] - begin
        return begin + _GAP * length, begin + (1 - _GAP) * length

    def axis(self, width: int) -> alt.Axis:
        """Return the axis: a day is named at its middle, what is longer at its beginning."""
        every = -(-len(self.begins) // max(2, width // _DATE_PX))
        shift = _DAY_MS // 2 if self._step == "day" else 0
        shown = [begin + shift for begin in self.begins[::every]]
        form = "%b %Y" if self._step == "month" else "%-d %b"
        return alt.Axis(grid=False, values=shown, format=form, labelOverlap="greedy", labelFlush=False)


def _dots(chart: Chart, times: _Times) -> Iterator[dict[str, float]]:
    for day, series, value in chart.points.select("day", "series", "value").rows():
        at = min(max(_milliseconds(day), times.domain[0]) + _DAY_MS // 2, times.domain[1])
        yield {"x": at, "series": series, "value": value}


def _stacked(chart: Chart, times: _Times) -> Iterator[dict[str, float]]:
    """Yield a rectangle for each step and series, one above the other, the first series at the bottom."""
    reached: dict[int, float] = {}
    for day, series, value in chart.points.sort("day", "series").select("day", "series", "value").rows():
        begin = _milliseconds(day)
        below = reached.get(begin, 0.0)
        reached[begin] = below + value
        left, right = times.edges(begin)
        yield {"x": left, "x2": right, "from": below, "value": below + value, "series": series}


def _value_scale(chart: Chart) -> alt.Scale:
    """Return a scale from 0 on; where scores are small or shares in percent, to what they can be at most."""
    values = chart.points["value"].to_list()
    if chart.title and min(values) >= 0 and max(values) <= 1:
        return alt.Scale(domain=[0, 1])
    return alt.Scale(domain=[0, 100]) if chart.percent else alt.Scale(zero=True, nice=True)


def _value_axis(chart: Chart) -> alt.Axis:
    """Return the axis of values: a few numbers, whole ones of what is counted, thousands and more by their letter."""
    largest = max((abs(value) for value in chart.points["value"].to_list()), default=0)
    dollar = "'$' + " if chart.dollars else ""
    form: dict[str, Any] = {"format": "~f"}
    if largest >= _THOUSAND:
        # of "G" people think that it is a gigabyte
        form = {"labelExpr": f"{dollar}replace(format(datum.value, '.3~s'), 'G', 'B')"}
    elif chart.dollars:
        form = {"labelExpr": f"{dollar}format(datum.value, '{'.2f' if largest >= _CENTS else '.2~g'}')"}
    elif not chart.title and largest < _FEW:
        form |= {"values": [*range(_FEW + 1)]}
    return alt.Axis(tickCount=4, domain=False, ticks=False, minExtent=_AXIS_PX, **form)


def _ranks(chart: Chart, width: int) -> Any:
    rows = chart.points.to_dicts()
    largest = max((row["value"] for row in rows), default=0) or 1
    label = _LABEL_PX if width == WIDE else _NARROW_LABEL_PX
    base = alt.Chart(_data(rows), width=width - label, height=alt.Step(_BAR_PX))
    axis = alt.Axis(domain=False, ticks=False, minExtent=label, labelLimit=label - 30, labelColor="var(--text)")
    y = alt.Y("name:N", title=None, sort=None, axis=axis)
    x = alt.X("value:Q", title=None, axis=None, scale=alt.Scale(domain=[0, largest * _ROOM_FOR_FIGURES]))
    bars = base.mark_bar(color=_COLOURS[0], cornerRadiusEnd=2, height=16).encode(x=x, y=y)
    figures = base.mark_text(align="left", dx=5, fontSize=12, color="var(--text)").encode(x=x, y=y, text="figure:N")
    return alt.layer(bars, figures)


def _cleaned(root: ET.Element, anchor: str) -> ET.Element:
    """Return the drawing without what a page does not need: other elements, roles, links, fixed sizes."""
    clean = _copied(root, _Names(anchor))
    clean.attrib.clear()
    clean.set("viewBox", root.get("viewBox", "0 0 0 0"))
    clean.set("aria-hidden", "true")  # the page says in words what it shows, and has the table
    clean.set("focusable", "false")
    return clean


class _Names:
    """Names within a drawing: new ones, for the drawer counts on from drawing to drawing."""

    def __init__(self, anchor: str) -> None:
        self._anchor = anchor
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the name in the place of another one."""
        return self._known.setdefault(name, f"{self._anchor}-{len(self._known)}")


def _copied(element: ET.Element, names: _Names) -> ET.Element:
    copy = ET.Element(element.tag.removeprefix(_SVG), dict(_attributes(element, names)))
    copy.text = element.text
    for child in element:
        if child.tag.removeprefix(_SVG) in _KEPT and child.get("class") not in _UNSEEN:
            copy.append(_copied(child, names))
    return copy


def _attributes(element: ET.Element, names: _Names) -> Iterable[tuple[str, str]]:
    for name, value in element.attrib.items():
        if name == "id":
            yield name, names.of(value)
        elif name == "clip-path":
            yield name, re.sub(r"url\(#([\w-]+)\)", lambda found: f"url(#{names.of(found[1])})", value)
        elif name in _ATTRIBUTES:
            yield name, value
