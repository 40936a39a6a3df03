"""The range that an asked range is compared with. Query floor, pure.

An unfinished week, month, quarter or year is compared with the same elapsed days of the one before.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from dayfold.days import ONE_DAY, Days, bucket_end, bucket_start, buckets, shift
from dayfold.errors import QueryRefused
from dayfold.query.request import Request

if TYPE_CHECKING:
    import pyarrow as pa

_UNITS = ("week", "month", "quarter", "year")


def compared_range(days: Days, kind: str, grain: str, today: dt.date) -> Days:
    """The earlier range.

    ``year``: the same dates a year before (29 February: the 28th). ``previous``: as many whole buckets before, where
    the range is made of calendar buckets, the last one perhaps unfinished; else as many days before.

    >>> compared_range(Days(dt.date(2026, 11, 1), dt.date(2026, 11, 21)), "previous", "total", dt.date(2026, 11, 21))
    Days(first=datetime.date(2026, 10, 1), last=datetime.date(2026, 10, 21))
    """
    try:
        if kind == "year":
            return Days(shift(days.first, "year", -1), shift(days.last, "year", -1))
        unit = _unit(days, grain, today)
        if unit is None:
            return Days(days.first - dt.timedelta(days=len(days)), days.first - ONE_DAY)
        return _buckets_before(days, unit)
    except OverflowError:
        raise QueryRefused(f"There is no range before {days} in the calendar.") from None


def _unit(days: Days, grain: str, today: dt.date) -> str | None:
    """The calendar bucket that a range is made of, or None where it is just days."""
    for unit in (grain,) if grain in _UNITS else _UNITS:
        if bucket_start(days.first, unit) != days.first:
            continue
        last = bucket_start(days.last, unit)
        finished = bucket_end(last, unit) == days.last
        if finished or (days.last >= today and (grain in _UNITS or last == days.first)):
            return unit
    return None


def _buckets_before(days: Days, unit: str) -> Days:
    """As many buckets before the first, the last of them as far as the asked one goes."""
    count, start = 1, days.first
    while bucket_end(start, unit) < days.last:
        start, count = shift(start, unit, 1), count + 1
    before = shift(days.first, unit, -count)
    last = shift(start, unit, -count)
    end = bucket_end(last, unit)
    if bucket_end(start, unit) != days.last:
        end = min(end, last + (days.last - start))
    return Days(before, end)


def beside(rows: pa.Table, earlier: pa.Table, request: Request, compared: Request) -> pa.Table:
    """Rows with those of the compared range: matched by the place of their bucket in the range, and by keys.

    Adds ``compared_day`` and, for each metric, ``<metric>_compared``; null where the earlier range has no such row.
    """
    places = {bucket.days.first: place for place, bucket in enumerate(buckets(compared.days, compared.grain))}
    known = {(places[row["day"]], *(row[key] for key in request.by)): row for row in earlier.to_pylist()}
    order = {bucket.days.first: place for place, bucket in enumerate(buckets(request.days, request.grain))}
    matched = [
        known.get((order[row["day"]], *(row[key] for key in request.by)), {})
        for row in rows.select(["day", *request.by]).to_pylist()
    ]
    for name in ("day", *request.metrics):
        label = "compared_day" if name == "day" else f"{name}_compared"
        rows = rows.append_column(label, [[row.get(name) for row in matched]])
    return rows
