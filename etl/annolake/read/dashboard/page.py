"""The page: sections, tiles and drawings in one file of HTML that asks for nothing else.

Owns escaping: whatever comes from the lake goes through the template, which escapes all but the drawings.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from annolake.read.dashboard.charts import NARROW, SMALL, WIDE, drawn
from annolake.read.dashboard.parts import Chart, Period, Section


class _Drawn(msgspec.Struct, frozen=True):
    """A chart with its drawings; of a small one there is but one."""

    chart: Chart
    wide: Markup
    narrow: Markup | None


def page(sections: Sequence[Section], period: Period, *, title: str, subtitle: str, version: str) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("annolake.read.dashboard", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=title,
        subtitle=subtitle,
        version=version,
        tiles=[section.tile for section in sections if section.tile],
        sections=[_as_shown(section, period) for section in sections],
    )


def _as_shown(section: Section, period: Period) -> Mapping[str, Any]:
    charts = [chart.drawable for chart in section.charts]
    return {
        "section": section,
        "charts": [
            _drawn(chart, period, f"{section.anchor}{n}") for n, chart in enumerate(charts) if chart.points.height
        ],
    }


def _drawn(chart: Chart, period: Period, anchor: str) -> _Drawn:
    widths = (SMALL,) if chart.title else (WIDE, NARROW)
    drawings = [Markup(drawn(chart, period, width, f"{anchor}-{width}")) for width in widths]  # noqa: S704 - cleaned there
    return _Drawn(chart, drawings[0], drawings[1] if len(drawings) > 1 else None)
