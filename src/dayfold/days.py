"""Days, ranges of days and the buckets they resample into. Ground floor; reads no clock.

Invariant: a range names its first and its last day, both included.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dayfold.errors import BadDate

ONE_DAY = dt.timedelta(days=1)
ONE_HOUR = dt.timedelta(hours=1)
#: The buckets of an answer, the finest first. Hours are of rollups that keep them.
GRAINS = ("hour", "day", "week", "month", "quarter", "year", "total")
#: Stored grains and their length in minutes.
STORED_GRAINS = {"day": 1440, "hour": 60, "15min": 15}
#: The grain of a profile, whose one bucket is the whole life of an entity.
LIFELONG = "life"
#: The day under which the ledger keeps a profile's cells: one that no fact counts on, and that is never over.
LIFE = dt.date(1, 1, 1)


@dataclass(frozen=True, slots=True, order=True)
class Days:
    """A range of days, first and last both included.

    >>> days = Days(dt.date(2026, 1, 30), dt.date(2026, 2, 1))
    >>> len(days), dt.date(2026, 1, 31) in days
    (3, True)
    """

    first: dt.date
    last: dt.date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise BadDate(
                f"The range ends before it starts: from {self.first} to {self.last}.",
                hint="A range names its first and its last day, both included.",
            )

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __iter__(self) -> Iterator[dt.date]:
        return (self.first + dt.timedelta(days=n) for n in range(len(self)))

    def __contains__(self, day: dt.date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Some days of an asked range that are answered as one; ``partial`` where the range cuts it short.

    ``hour``: the start of the one hour of its day that it is.
    """

    days: Days
    partial: bool
    hour: dt.datetime | None = None

    @property
    def label(self) -> dt.date:
        """What the bucket is called in an answer: the start of its hour, else its first day."""
        return self.days.first if self.hour is None else self.hour


def parse_day(text: str, today: dt.date) -> dt.date:
    """A day from ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d``.

    Raises:
        BadDate: for anything else.

    >>> parse_day("-7d", dt.date(2026, 1, 10))
    datetime.date(2026, 1, 3)
    """
    match text:
        case "today":
            return today
        case "yesterday":
            return today - ONE_DAY
    if back := re.fullmatch(r"-([0-9]{1,6})d", text):
        try:
            return today - dt.timedelta(days=int(back[1]))
        except OverflowError:
            pass
    elif re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            pass
    raise BadDate(f"{text!r} is not a date.", hint="Expected YYYY-MM-DD, today, yesterday (UTC), or -7d.")


def as_day(day: dt.date | str, today: dt.date) -> dt.date:
    """A day as callers give it: a date, or words for `parse_day`. Raises BadDate, also for a moment."""
    if isinstance(day, dt.datetime):
        raise BadDate("A range is made of days; got a moment.", hint="Pass its date: moment.date().")
    return day if isinstance(day, dt.date) else parse_day(day, today)


def overlap(one: Days, other: Days) -> Days | None:
    """The days that two ranges share, if there are any.

    >>> str(overlap(Days(dt.date(2026, 1, 1), dt.date(2026, 1, 5)), Days(dt.date(2026, 1, 4), dt.date(2026, 2, 1))))
    '2026-01-04..2026-01-05'
    """
    first, last = max(one.first, other.first), min(one.last, other.last)
    return Days(first, last) if first <= last else None


def without(whole: Days, holes: Iterable[Days]) -> list[Days]:
    """What is left of a range when others are taken out of it.

    >>> [str(r) for r in without(Days(dt.date(2026, 1, 1), dt.date(2026, 1, 9)), [Days(dt.date(2026, 1, 3), dt.date(2026, 1, 4))])]
    ['2026-01-01..2026-01-02', '2026-01-05..2026-01-09']
    """
    left: list[Days] = []
    first: dt.date | None = whole.first
    for hole in sorted(holes):
        if first is None or hole.last < first or hole.first > whole.last:
            continue
        if hole.first > first:
            left.append(Days(first, hole.first - ONE_DAY))
        first = hole.last + ONE_DAY if hole.last < whole.last else None
    return left if first is None else [*left, Days(first, whole.last)]


def union(ranges: Iterable[Days]) -> list[Days]:
    """The fewest ranges that hold the days of all of them.

    >>> [str(r) for r in union([Days(dt.date(2026, 1, 3), dt.date(2026, 1, 4)), Days(dt.date(2026, 1, 1), dt.date(2026, 1, 2))])]
    ['2026-01-01..2026-01-04']
    """
    joined: list[Days] = []
    for one in sorted(ranges):
        if joined and (one.first - joined[-1].last).days <= 1:
            joined[-1] = Days(joined[-1].first, max(joined[-1].last, one.last))
        else:
            joined.append(one)
    return joined


def bucket_start(day: dt.date, grain: str) -> dt.date:
    """The first day of the calendar bucket that holds a day. Weeks start on Monday (ISO 8601).

    >>> bucket_start(dt.date(2026, 8, 15), "quarter")
    datetime.date(2026, 7, 1)
    """
    match grain:
        case "week":
            return day - dt.timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case "year":
            return day.replace(month=1, day=1)
    return day


def shift(day: dt.date, grain: str, count: int) -> dt.date:
    """The day so many buckets later, the day of the month kept where the month has it.

    >>> shift(dt.date(2024, 2, 29), "year", 1)
    datetime.date(2025, 2, 28)
    """
    months = {"month": 1, "quarter": 3, "year": 12}.get(grain)
    if months is None:
        return day + dt.timedelta(days=count * (7 if grain == "week" else 1))
    year, month = divmod(day.year * 12 + day.month - 1 + months * count, 12)
    if not dt.MINYEAR <= year <= dt.MAXYEAR:
        raise BadDate(f"The year {year} is outside the calendar ({dt.MINYEAR} to {dt.MAXYEAR}).")
    for last in (day.day, 30, 29, 28):
        if last > day.day:
            continue
        try:
            return dt.date(year, month + 1, last)
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def bucket_end(start: dt.date, grain: str) -> dt.date:
    """The last day of the calendar bucket that starts on this day.

    >>> bucket_end(dt.date(2026, 2, 1), "month")
    datetime.date(2026, 2, 28)
    """
    if grain == "day":
        return start
    try:
        return shift(start, grain, 1) - ONE_DAY
    except (BadDate, OverflowError):
        return dt.date.max


def start_of(day: dt.date, zone: dt.tzinfo = dt.UTC) -> dt.datetime:
    """The instant, in UTC, at which a day of a zone begins.

    >>> import zoneinfo
    >>> str(start_of(dt.date(2026, 3, 10), zoneinfo.ZoneInfo("Asia/Kathmandu")))
    '2026-03-09 18:15:00+00:00'
    """
    return dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC)


def hours(day: dt.date, zone: dt.tzinfo = dt.UTC) -> list[dt.datetime]:
    """The instants, in UTC, at which the hours of a zone's day begin: 23 or 25 of them where its clocks change.

    >>> import zoneinfo
    >>> len(hours(dt.date(2026, 3, 29), zoneinfo.ZoneInfo("Europe/London")))
    23
    """
    start, end = start_of(day, zone), start_of(day + ONE_DAY, zone)
    return [start + n * ONE_HOUR for n in range(-((start - end) // ONE_HOUR))]


def buckets(asked: Days, grain: str) -> list[Bucket]:
    """The buckets of a range, in order, clipped to it; for hours, the days that have them.

    >>> [str(b.days) for b in buckets(Days(dt.date(2026, 1, 30), dt.date(2026, 2, 2)), "month")]
    ['2026-01-30..2026-01-31', '2026-02-01..2026-02-02']
    """
    if grain == "total":
        return [Bucket(asked, partial=False)]
    if grain == "day":
        return [Bucket(Days(day, day), partial=False) for day in asked]
    found = []
    first = asked.first
    while True:
        start = bucket_start(first, grain)
        end = bucket_end(start, grain)
        last = min(end, asked.last)
        found.append(Bucket(Days(first, last), partial=first > start or last < end))
        if last >= asked.last:
            return found
        first = last + ONE_DAY
