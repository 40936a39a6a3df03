"""Templates, and how values are written on pages. Dashboard door.

Invariant: every text is escaped; numbers are written with all their digits, and carry the value that a program would read.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from dayfold.clock import UTC
from dayfold.dashboard import static
from dayfold.dashboard.drawing import bar, chart_picture, sparkline

_FOLDER = Path(__file__).parent / "templates"
NOTHING = "–"


def rendered(template: str, words: Mapping[str, Any]) -> str:
    """A template with its words."""
    return environment().get_template(template).render(words)


@cache
def environment() -> Environment:
    """The templates of the pages."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        auto_reload=False, cache_size=-1,
    )  # fmt: skip
    made.filters |= {
        "number": number, "amount": amount, "day": day, "moment": moment, "ago": ago, "percent": percent, "duration": duration,
        "bytes": size, "cell": cell, "script_data": script_data, "label": label,
    }  # fmt: skip
    made.globals |= {
        "static": static.address,
        "sparkline_picture": sparkline,
        "bar_picture": bar,
        "chart_picture": chart_picture,
    }
    return made


def prepare() -> None:
    """Every template is compiled, and every file that pages load is read."""
    static.digest()
    for name in environment().list_templates(extensions=["html"]):
        environment().get_template(name)


def amount(value: object) -> str:
    """A number as text: thousands apart, decimals with all their digits, other numbers with at most four after the point.

    >>> amount(1234567), amount(Decimal("0.10")), amount(0.123456), amount(None), amount(2.0)
    ('1,234,567', '0.10', '0.1235', '–', '2')
    """
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int() | Decimal():
            return f"{value:,}"
        case float() if math.isfinite(value):
            text = f"{value:,.4f}"
            return text.rstrip("0").rstrip(".") if float(text.replace(",", "")) or not value else f"{value:.4g}"
    return str(value)


def number(value: object) -> Markup:
    """A number with the value that programs read.

    >>> number(1234567)
    Markup('<data value="1234567">1,234,567</data>')
    """
    if value is None:
        return Markup('<span class="nothing" title="not known">–</span>')
    raw = repr(value) if isinstance(value, float) else str(value)
    return Markup('<data value="{}">{}</data>').format(raw, amount(value))


def day(value: dt.date | None) -> str:
    """A day as it is everywhere: YYYY-MM-DD."""
    return NOTHING if value is None else value.isoformat()[:10]


def moment(value: dt.datetime | str | None) -> Markup:
    """A moment in UTC, to the minute; all of it for programs.

    >>> moment(dt.datetime(2026, 11, 22, 14, 5, 7, tzinfo=UTC))
    Markup('<time datetime="2026-11-22T14:05:07+00:00">2026-11-22 14:05 UTC</time>')
    """
    if value is None:
        return Markup(NOTHING)
    known = as_moment(value)
    return Markup('<time datetime="{}">{} UTC</time>').format(known.isoformat(), f"{known:%Y-%m-%d %H:%M}")


def as_moment(value: dt.datetime | str) -> dt.datetime:
    """A moment in UTC; one without a zone is of it already."""
    known = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return known.replace(tzinfo=UTC) if known.tzinfo is None else known.astimezone(UTC)


@pass_context
def ago(context: Context, value: dt.datetime | str | None) -> Markup:
    """How long before the present a moment was, or how soon it comes."""
    if value is None:
        return Markup(NOTHING)
    known = as_moment(value)
    seconds = (context["view"].now.now - known).total_seconds()
    words = _span(abs(seconds))
    text = "now" if abs(seconds) < 1 else f"{words} ago" if seconds > 0 else f"in {words}"
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        known.isoformat(), f"{known:%Y-%m-%d %H:%M:%S}", text
    )


def _span(seconds: float) -> str:
    """A span of time in its greatest unit.

    >>> _span(59), _span(90), _span(7200), _span(200_000)
    ('59 s', '1 min', '2 h', '2 days')
    """
    for size, unit in ((86_400, "day"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if unit == 'day' and count != 1 else ''}"
    return f"{int(seconds)} s"


def percent(value: float | Decimal | None, digits: int = 1) -> str:
    """A share as a percentage.

    >>> percent(0.1234), percent(None)
    ('12.3 %', '–')
    """
    return NOTHING if value is None else f"{float(value) * 100:,.{digits}f} %"


def duration(seconds: float | None) -> str:
    """How long something took.

    >>> duration(0.0123), duration(75)
    ('12 ms', '1 min 15 s')
    """
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(count: int | None) -> str:
    """A number of bytes.

    >>> size(1_500_000)
    '1.5 MB'
    """
    if count is None:
        return NOTHING
    place = min(len(str(abs(count))) - 1, 14) // 3
    unit = ("B", "kB", "MB", "GB", "TB")[place]
    return f"{count:,} B" if place == 0 else f"{count / 1000**place:,.1f} {unit}"


def cell(value: object) -> Markup:
    """Any value of a table: numbers as numbers, the rest as it is; nothing and the empty text are told apart."""
    match value:
        case bool():
            return escape("yes" if value else "no")
        case None | int() | float() | Decimal():
            return number(value)
        case dt.datetime():
            return moment(value)
        case dt.date():
            return escape(day(value))
        case "":
            return Markup('<span class="nothing">""</span>')
        case list() | tuple() | dict():
            return escape(json.dumps(value, default=str, ensure_ascii=False))
    return escape(str(value))


def label(name: str) -> str:
    """A name of a definition as a heading.

    >>> label("revenue_per_order"), label("SalesDaily")
    ('revenue per order', 'SalesDaily')
    """
    return name.replace("_", " ")


def script_data(value: object) -> Markup:
    """A value as JSON within a script element: nothing of it can end the element.

    >>> "<" in script_data({"a": "</script>"})
    False
    """
    text = json.dumps(value, default=_plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _plain(value: object) -> object:
    match value:
        case dt.datetime() | dt.date():
            return value.isoformat()
        case Decimal():
            # A chart draws no more digits than a float has; tables beside it have them all.
            return float(value)
        case UUID():
            return str(value)
    raise TypeError(f"{type(value).__name__} is not drawn")
