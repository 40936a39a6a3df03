"""Small pictures that the server draws: lines and bars as SVG, without a style of their own. Dashboard door, pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

#: Numbers or nothing: a gap is a day that is not known, and never a zero.
Values = Sequence[Any]
_WIDTH, _HEIGHT = 160, 36
_CHART_WIDTH, _CHART_HEIGHT = 960, 240


def sparkline(values: Values, label: str) -> Markup:
    """A line of values, from zero or their least; days that are not known are gaps.

    >>> "<path" in sparkline([1, None, 3, 4], "orders")
    True
    """
    return _picture([values], label, _WIDTH, _HEIGHT, "sparkline")


def chart_picture(series: Sequence[Values], label: str) -> Markup:
    """Lines of several series over one another, for readers without scripts."""
    return _picture(series, label, _CHART_WIDTH, _CHART_HEIGHT, "chart-picture")


def bar(value: Any, largest: Any) -> Markup:
    """A bar of a value beside the largest one.

    >>> 'width="50%"' in bar(2, 4)
    True
    """
    share = 0.0
    if value is not None and largest is not None and float(largest) > 0:
        share = max(0.0, min(1.0, float(value) / float(largest)))
    return Markup(
        '<svg class="bar" width="100%" height="6" aria-hidden="true"><rect width="{}%" height="6" rx="2"/></svg>'
    ).format(f"{share * 100:.1f}".removesuffix(".0"))


def _picture(series: Sequence[Values], label: str, width: int, height: int, name: str) -> Markup:
    known = [float(one) for values in series for one in values if one is not None]
    low, high = min(0.0, *known) if known else 0.0, max(known, default=0.0)
    span = (high - low) or 1.0
    paths = [
        Markup('<path class="line-{}" d="{}"/>').format(place % 10, _path(values, low, span, width, height))
        for place, values in enumerate(series)
    ]
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(name, width, height, label, Markup("").join(paths))


def _path(values: Values, low: float, span: float, width: int, height: int) -> str:
    """Moves and lines; a lone value between gaps is a short dash."""
    step = width / max(len(values) - 1, 1)
    words, is_down = [], False
    for place, value in enumerate(values):
        if value is None:
            is_down = False
            continue
        x, y = place * step, 2 + (height - 4) * (1 - (float(value) - low) / span)
        words.append(f"{'L' if is_down else 'M'}{x:.1f} {y:.1f}")
        following = values[place + 1] if place + 1 < len(values) else None
        if not is_down and following is None:
            words.append(f"h{min(2.0, step):.1f}")
        is_down = True
    return "".join(words)
