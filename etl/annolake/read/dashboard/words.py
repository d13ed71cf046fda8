"""Numbers, times and names as the page writes them."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

from annolake.printable import printable

_LONGEST = 60
_LARGE = ((999_950_000_000, 10**12, "trillion"), (999_950_000, 10**9, "billion"), (10**6, 10**6, "million"))
"""From where on a number is told in words, so that none is 1,000.0 of the smaller ones; the unit."""
_DAY_H = 24
_MANY_H = 48
NONE = "–"  # noqa: RUF001 - a dash, for a figure that there is not


def short(text: str, longest: int = _LONGEST) -> str:
    """Return a name fit for the page: nothing in it turns the direction of reading, and it is not endless."""
    shown = " ".join(printable(text[: 2 * longest]).split()) or NONE
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def labels(names: Mapping[str, str | None]) -> dict[str, str]:
    """Return what ids are called: by name, with the beginning of the id where names are alike, else by the id."""
    shown = {each: short(name) if name and name.strip() else each for each, name in names.items()}
    alike = [*shown.values()]
    return {each: name if alike.count(name) == 1 else f"{name} ({each[:8]})" for each, name in shown.items()}


def sums_since(first: date, last: date) -> str:
    """Return from when on the sums of a key are, for those who compare them with the title's days."""
    return f"Beside the names are the sums since {since(first, last)}."


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands marked, in words above a million."""
    if value is None:
        return NONE
    for least, size, word in _LARGE:
        if abs(value) >= least:
            return f"{value / size:,.1f} {word}"
    return f"{value:,.{digits}f}"


def money(value: Decimal | None) -> str:
    """Return dollars: cents, or two digits where it is less than a cent."""
    if value is None:
        return NONE
    sign = "-" if value < 0 else ""
    if value and abs(value) < Decimal("0.01"):
        return f"{sign}${abs(value):.2g}" if abs(value) >= Decimal("0.0001") else "under $0.0001"
    return f"{sign}${number(abs(float(value)), 2)}"


def signed(value: int) -> str:
    """Return a difference with its sign."""
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{number(abs(value))}"  # noqa: RUF001 - a minus sign


def counted(count: int, what: str) -> str:
    """Return a number of things: "1 review", "2,000 reviews"."""
    return f"{number(count)} {what}{'' if count == 1 else 's'}"


def percent(part: float | Decimal, whole: float | Decimal) -> str:
    """Return a share in percent, without saying that something is nothing; "all" where it is all."""
    share = 100 * float(part) / float(whole) if whole else 0.0
    return "under 1%" if 0 < share < 1 else "all" if part == whole else f"{round(share)}%"


def hours(value: float | None) -> str:
    """Return a length of time, given in hours, in the unit that fits it."""
    if value is None:
        return NONE
    if value >= _MANY_H:
        return f"{number(value / _DAY_H, 1).removesuffix('.0')} days"
    if value >= 1:
        shown = f"{value:.1f}".removesuffix(".0")
        return f"{shown} hour{'' if shown == '1' else 's'}"
    if value * 60 >= 1:
        return f"{value * 60:.0f} min"
    return f"{max(1.0, value * 3600):.0f} s"


def day(when: date) -> str:
    """Return a day: "19 Nov 2026"."""
    return f"{when.day} {when:%b %Y}"


def since(when: date, last: date) -> str:
    """Return a day, without its year where that is the one of the last day: "19 Nov"."""
    return f"{when.day} {when:%b}" if when.year == last.year else day(when)


def moment(when: datetime) -> str:
    """Return a time in UTC: "19 Nov 2026, 08:15 UTC"."""
    return f"{day(when.date())}, {when:%H:%M} UTC"


def change(new: float, old: float) -> str:
    """Return how much more or less a number is than an earlier one, that is not 0."""
    share = 100 * (new - old) / old
    if abs(share) < 1:
        return "as many as"
    if new >= 3 * old:
        return f"{new / old:.0f} times as many as"
    return f"{abs(share):.0f}% {'more' if share > 0 else 'fewer'} than"
