"""The range that an asked range is compared with, bucket by bucket. Query floor, pure.

An unfinished week, month, quarter or year is compared with the same elapsed days of the one before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dayfold.days import ONE_DAY, Days, bucket_end, bucket_start, buckets, hours, shift
from dayfold.errors import BadDate, QueryRefused
from dayfold.query.request import Request

if TYPE_CHECKING:
    import pyarrow as pa

_UNITS = ("week", "month", "quarter", "year")
#: A year of weeks: the same weekday, so that ISO weeks stand beside ISO weeks.
_WEEKS_OF_A_YEAR = 52


@dataclass(frozen=True, slots=True)
class Comparison:
    """An earlier range, and for each bucket of the asked one (by its first day) the bucket beside it."""

    days: Days
    beside: dict[dt.date, dt.date]


def comparison(days: Days, kind: str, grain: str, today: dt.date) -> Comparison:
    """What a range is compared with. Days after ``today`` are compared with nothing.

    ``year``: the same dates a year before (29 February: the 28th); weeks: 52 weeks before. ``previous``: as many
    buckets before; of days or a total, the calendar bucket before where the range is one, else as many days before.

    >>> comparison(Days(dt.date(2026, 11, 1), dt.date(2026, 11, 30)), "previous", "total", dt.date(2026, 11, 21)).days
    Days(first=datetime.date(2026, 10, 1), last=datetime.date(2026, 10, 21))
    """
    elapsed = Days(days.first, min(days.last, today)) if days.first <= today else days
    try:
        if grain in _UNITS:
            return _by_bucket(elapsed, kind, grain)
        if kind == "year":
            earlier = Days(shift(elapsed.first, "year", -1), shift(elapsed.last, "year", -1))
            by_day = {day: shift(day, "year", -1) for day in elapsed}
        else:
            earlier = _range_before(elapsed, days, today)
            by_day = dict(zip(elapsed, earlier, strict=False))
    except (OverflowError, BadDate):
        raise QueryRefused(f"There is no range before {days} in the calendar.") from None
    return Comparison(earlier, by_day if grain in ("hour", "day") else {days.first: earlier.first})


def hours_beside(days: Mapping[dt.date, dt.date], zone: dt.tzinfo) -> dict[dt.date, dt.date]:
    """For the hours of some days those of the days beside them: the same time on the clock, where both days have it.

    Both as instants in UTC: times of a zone that are shown twice are not told apart as keys.

    >>> pairs = hours_beside({dt.date(2026, 1, 2): dt.date(2026, 1, 1)}, dt.UTC)
    >>> str(pairs[dt.datetime(2026, 1, 2, 5, tzinfo=dt.UTC)])
    '2026-01-01 05:00:00+00:00'
    """
    pairs: dict[dt.date, dt.date] = {}
    for day, earlier in days.items():
        known = {_clock(hour, zone): hour for hour in hours(earlier, zone)}
        for hour in hours(day, zone):
            if (other := known.get(_clock(hour, zone))) is not None:
                pairs[hour] = other
    return pairs


def _clock(hour: dt.datetime, zone: dt.tzinfo) -> tuple[dt.time, int]:
    """What a clock shows at an hour; the second number tells the two hours apart that a change of clocks shows twice."""
    local = hour.astimezone(zone)
    return local.time().replace(fold=0), local.fold


def _by_bucket(elapsed: Days, kind: str, grain: str) -> Comparison:
    """Each calendar bucket beside an earlier one, cut at both ends as the asked range is."""
    starts = [bucket_start(one.days.first, grain) for one in buckets(elapsed, grain)]
    if kind == "previous":
        earlier = [shift(start, grain, -len(starts)) for start in starts]
    elif grain == "week":
        earlier = [shift(start, "week", -_WEEKS_OF_A_YEAR) for start in starts]
    else:
        earlier = [shift(start, "year", -1) for start in starts]
    first = min(earlier[0] + (elapsed.first - starts[0]), bucket_end(earlier[0], grain))
    last = _same_elapsed(starts[-1], elapsed.last, earlier[-1], grain)
    pairs = zip(starts, earlier, strict=True)
    return Comparison(Days(first, last), {max(one, elapsed.first): max(other, first) for one, other in pairs})


def _same_elapsed(start: dt.date, last: dt.date, earlier: dt.date, grain: str) -> dt.date:
    """The last day of an earlier bucket: its end beside a whole one, else as many days into it."""
    end = bucket_end(earlier, grain)
    return end if last == bucket_end(start, grain) else min(end, earlier + (last - start))


def _range_before(elapsed: Days, days: Days, today: dt.date) -> Days:
    """The range before one that is asked as days or as a total."""
    for unit in _UNITS:
        start = bucket_start(elapsed.first, unit)
        if start != elapsed.first:
            continue
        last = bucket_start(days.last, unit)
        running = last == start and bucket_start(today, unit) == start
        if running or bucket_end(last, unit) == days.last:
            count = len(buckets(elapsed, unit))
            final = bucket_start(elapsed.last, unit)
            earlier = shift(final, unit, -count)
            return Days(shift(start, unit, -count), _same_elapsed(final, elapsed.last, earlier, unit))
    return Days(elapsed.first - dt.timedelta(days=len(elapsed)), elapsed.first - ONE_DAY)


def beside(rows: pa.Table, earlier: pa.Table, request: Request, pairs: dict[dt.date, dt.date]) -> pa.Table:
    """Rows with those of the compared range, matched by bucket and keys.

    Adds ``compared_day`` (for hours ``compared_hour`` too) and, for each metric, ``<metric>_compared``; null where a bucket
    has none beside it.
    """
    import pyarrow as pa

    def bucket(row: dict[str, Any]) -> dt.date:
        return row["hour"].astimezone(dt.UTC) if request.grain == "hour" else row["day"]  # type: ignore[no-any-return]

    known = {(bucket(row), *(row[key] for key in request.by)): row for row in earlier.to_pylist()}
    matched = [
        known.get((pairs.get(bucket(row)), *(row[key] for key in request.by)), {})
        for row in rows.select([*request.bucket_columns, *request.by]).to_pylist()
    ]
    for name in (*request.bucket_columns, *request.metrics):
        label = f"compared_{name}" if name in request.bucket_columns else f"{name}_compared"
        rows = rows.append_column(label, pa.array([row.get(name) for row in matched], earlier.schema.field(name).type))
    return rows
