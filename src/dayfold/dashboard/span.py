"""Which days a page shows: a period that ends with the newest day there is something of, or a range of one's own. Dashboard door.

Invariant: a range names its first and last day, both included, in UTC.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from dayfold.dashboard.view import View
from dayfold.days import Days, as_day
from dayfold.define.rollup import RollupDef
from dayfold.errors import BadDate, QueryRefused
from dayfold.periods import CUSTOM, days_of
from dayfold.periods import USUAL as DEFAULT

#: Periods by their words, and how they are called.
PERIODS = {
    "7d": "7 days", "30d": "30 days", "90d": "90 days", "12m": "12 months", "month": "This month", "year": "This year",
}  # fmt: skip
#: How long a rollup may have had no row before its newest day is looked for further back.
_QUIET_DAYS = 90


@dataclass(frozen=True, slots=True)
class Span:
    """The days of a page.

    Attributes:
        period: One of `PERIODS`, or ``custom``.
        end: The day that periods end with.
        is_past: Whether that is long before today, because nothing came since.
    """

    days: Days
    period: str
    end: dt.date
    is_past: bool


def span(view: View, rollup: RollupDef, metric: str, default: str = DEFAULT) -> Span:
    """The days that a page's address asks for: ``from`` and ``to``, or ``period``.

    Raises:
        BadDate: for what is no day, or a range that ends before it begins.
    """
    end = newest(view, rollup, metric)
    is_past = (view.today - end).days > _QUIET_DAYS
    first, last = view.param("from"), view.param("to")
    if first or last:
        to = as_day(last, view.today) if last else max(end, as_day(first or "today", view.today))
        start = as_day(first, view.today) if first else days_before(to, 29)
        if start > to:
            raise BadDate(f"The range ends before it starts: from {start} to {to}.")
        return Span(Days(start, to), CUSTOM, end, is_past)
    period = view.one_of("period", list(PERIODS), default)
    return Span(days_of(period, end), period, end, is_past)


def days_before(day: dt.date, count: int) -> dt.date:
    """The day so many days before another one, or the first of the calendar.

    >>> str(days_before(dt.date(2026, 3, 1), 1)), str(days_before(dt.date(1, 1, 3), 29))
    ('2026-02-28', '0001-01-01')
    """
    return dt.date.fromordinal(max(1, day.toordinal() - count))


def newest(view: View, rollup: RollupDef, metric: str) -> dt.date:
    """The day that periods end with: today, or where nothing came for long the last day that has a row."""
    try:
        last = view.newest_row(rollup, metric)
    except QueryRefused:
        return view.today
    return view.today if last is None or (view.today - last).days <= _QUIET_DAYS else last


def first_day(view: View, rollup: RollupDef) -> dt.date | None:
    """The first day that is covered of any source."""
    known = view.covered(rollup.name)
    return min((one["from"] for states in known.values() for found in states.values() for one in found), default=None)
