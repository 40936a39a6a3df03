"""Days, ranges and buckets; names; the compared range; which days a fold looks at."""

from __future__ import annotations

import calendar
import datetime as dt
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dayfold.days import (
    GRAINS,
    ONE_DAY,
    Bucket,
    Days,
    bucket_end,
    bucket_start,
    buckets,
    parse_day,
    shift,
    union,
    without,
)
from dayfold.errors import BadDate, QueryRefused
from dayfold.plan.cells import Covered, due, history_start, portions
from dayfold.query.compare import comparison

D = dt.date
TODAY = D(2026, 3, 12)  # a Thursday
CALENDAR_GRAINS = ("day", "week", "month", "quarter", "year")
days = st.dates(D(1900, 1, 1), D(2100, 12, 31))


def span(first: str, last: str | None = None) -> Days:
    return Days(D.fromisoformat(first), D.fromisoformat(last or first))


def test_a_range_includes_both_ends() -> None:
    """One day is a range of length one, and a leap February has 29."""
    assert len(span("2026-03-01")) == 1
    assert len(span("2024-02-01", "2024-02-29")) == 29
    assert list(span("2026-02-28", "2026-03-01")) == [D(2026, 2, 28), D(2026, 3, 1)]
    assert D(2026, 3, 1) in span("2026-02-28", "2026-03-01")
    assert D(2026, 3, 2) not in span("2026-02-28", "2026-03-01")
    assert str(span("2026-02-28", "2026-03-01")) == "2026-02-28..2026-03-01"


def test_a_range_does_not_end_before_it_starts() -> None:
    """The message names both days and the rule."""
    with pytest.raises(BadDate) as refused:
        span("2026-03-02", "2026-03-01")
    assert str(refused.value) == (
        "The range ends before it starts: from 2026-03-02 to 2026-03-01.\n"
        "  A range names its first and its last day, both included."
    )


@pytest.mark.parametrize(("text", "day"), [
    ("2026-01-31", D(2026, 1, 31)), ("today", TODAY), ("yesterday", D(2026, 3, 11)), ("-0d", TODAY), ("-7d", D(2026, 3, 5)),
    ("2024-02-29", D(2024, 2, 29)), ("-365d", D(2025, 3, 12)),
])  # fmt: skip
def test_words_for_days(text: str, day: dt.date) -> None:
    """A date in full, today, yesterday, or so many days back."""
    assert parse_day(text, TODAY) == day


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-02-29",
        "2026-1-1",
        "20260101",
        "01/02/2026",
        "tomorrow",
        "Today",
        "7d",
        "-7",
        "+7d",
        "-999999d",
        "2026-01-01 ",
        "-7d\n",
    ],
)
def test_other_words_are_no_days(text: str) -> None:
    """Whatever else is written is refused with all the forms there are."""
    with pytest.raises(BadDate) as refused:
        parse_day(text, TODAY)
    assert str(refused.value) == f"{text!r} is not a date.\n  Expected YYYY-MM-DD, today, yesterday (UTC), or -7d."


ranges = st.lists(
    st.builds(lambda first, length: Days(first, first + length * ONE_DAY), days, st.integers(0, 9)), max_size=12
)


@given(ranges)
def test_united_ranges_hold_exactly_the_days(some: list[Days]) -> None:
    """In order, apart from each other, and no day more or less."""
    joined = union(some)
    assert {day for one in joined for day in one} == {day for one in some for day in one}
    assert all((after.first - before.last).days > 1 for before, after in itertools.pairwise(joined))


@given(ranges.filter(bool), ranges)
def test_a_range_without_others_holds_the_rest(some: list[Days], holes: list[Days]) -> None:
    """Every day that no other range holds, once and in order."""
    whole = some[0]
    left = [day for part in without(whole, holes) for day in part]
    taken = {day for hole in holes for day in hole}
    assert left == [day for day in whole if day not in taken]


@given(days, st.sampled_from(CALENDAR_GRAINS))
def test_a_bucket_is_one_of_the_calendar(day: dt.date, grain: str) -> None:
    """It holds the day, begins where the calendar says, and the next one begins after it."""
    start = bucket_start(day, grain)
    end = bucket_end(start, grain)
    assert start <= day <= end
    assert bucket_start(end, grain) == start
    assert bucket_start(end + ONE_DAY, grain) == end + ONE_DAY
    expected = {
        "day": day,
        "week": dt.date.fromisocalendar(*day.isocalendar()[:2], 1),
        "month": D(day.year, day.month, 1),
        "quarter": D(day.year, (1, 4, 7, 10)[(day.month - 1) // 3], 1),
        "year": D(day.year, 1, 1),
    }
    assert start == expected[grain]


@given(days, st.integers(0, 900), st.sampled_from(GRAINS))
def test_buckets_cover_the_range_once(first: dt.date, length: int, grain: str) -> None:
    """Every day of the range is in one bucket, in order; only the ends may be cut short."""
    asked = Days(first, first + dt.timedelta(days=length))
    found = buckets(asked, grain)
    assert [day for one in found for day in one.days] == list(asked)
    assert not any(one.partial for one in found[1:-1])


def test_buckets_that_the_range_cuts_are_partial() -> None:
    """Also where a single bucket is cut at both ends."""
    assert buckets(span("2026-01-30", "2026-02-02"), "month") == [
        Bucket(span("2026-01-30", "2026-01-31"), True),
        Bucket(span("2026-02-01", "2026-02-02"), True),
    ]
    assert buckets(span("2026-02-01", "2026-02-28"), "month") == [Bucket(span("2026-02-01", "2026-02-28"), False)]
    assert buckets(span("2026-02-02", "2026-02-03"), "year") == [Bucket(span("2026-02-02", "2026-02-03"), True)]
    assert buckets(span("2026-02-02", "2026-02-03"), "total") == [Bucket(span("2026-02-02", "2026-02-03"), False)]


def test_the_calendar_has_an_end() -> None:
    """The last bucket of all ends with it, and a day beyond it is refused."""
    assert bucket_end(D(9999, 12, 27), "week") == D.max
    assert buckets(Days(D(9999, 12, 1), D.max), "month")[-1].days.last == D.max
    with pytest.raises(BadDate) as refused:
        shift(D(9999, 12, 1), "month", 1)
    assert str(refused.value) == "The year 10000 is outside the calendar (1 to 9999)."


@given(days, st.integers(-60, 60), st.sampled_from(("month", "quarter", "year")))
@example(D(2024, 2, 29), 1, "year")
@example(D(2026, 1, 31), 1, "month")
def test_shifted_days_keep_their_place_in_the_month(day: dt.date, count: int, grain: str) -> None:
    """The same day so many months on, or the month's last day where it is shorter."""
    months = day.year * 12 + day.month - 1 + count * {"month": 1, "quarter": 3, "year": 12}[grain]
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    assert shift(day, grain, count) == D(year, month + 1, min(day.day, last))


#: (asked, kind, grain, compared), all of them on Thursday, 12 March 2026
COMPARED = [
    ("2026-03-05..2026-03-09", "previous", "day", "2026-02-28..2026-03-04"),
    ("2026-03-10", "previous", "day", "2026-03-09"),
    ("2026-03-02..2026-03-08", "previous", "week", "2026-02-23..2026-03-01"),
    ("2026-03-09..2026-03-12", "previous", "week", "2026-03-02..2026-03-05"),
    ("2026-03-02..2026-03-12", "previous", "week", "2026-02-16..2026-02-26"),
    ("2026-02-01..2026-02-28", "previous", "month", "2026-01-01..2026-01-31"),
    ("2026-03-01..2026-03-12", "previous", "month", "2026-02-01..2026-02-12"),
    ("2026-03-01..2026-03-12", "previous", "day", "2026-02-01..2026-02-12"),
    ("2026-02-01..2026-03-12", "previous", "month", "2025-12-01..2026-01-12"),
    ("2026-01-01..2026-03-12", "previous", "quarter", "2025-10-01..2025-12-10"),
    ("2025-10-01..2025-12-31", "previous", "quarter", "2025-07-01..2025-09-30"),
    ("2026-01-01..2026-03-12", "previous", "year", "2025-01-01..2025-03-12"),
    ("2025-01-01..2025-12-31", "previous", "year", "2024-01-01..2024-12-31"),
    ("2025-01-01..2025-12-31", "previous", "total", "2024-01-01..2024-12-31"),
    ("2026-03-02..2026-03-08", "previous", "total", "2026-02-23..2026-03-01"),
    ("2026-03-03..2026-03-08", "previous", "week", "2026-02-24..2026-03-01"),
    ("2026-03-01..2026-03-10", "previous", "month", "2026-02-01..2026-02-10"),
    ("2026-03-01..2026-03-10", "previous", "total", "2026-02-01..2026-02-10"),
    ("2026-03-01..2026-03-31", "previous", "month", "2026-02-01..2026-02-12"),
    ("2026-03-01..2026-03-31", "previous", "total", "2026-02-01..2026-02-12"),
    ("2026-03-09..2026-03-15", "previous", "week", "2026-03-02..2026-03-05"),
    ("2026-02-11..2026-03-12", "previous", "month", "2025-12-11..2026-01-12"),
    ("2026-03-02..2026-03-08", "year", "week", "2025-03-03..2025-03-09"),
    ("2026-03-02..2026-03-12", "year", "week", "2025-03-03..2025-03-13"),
    ("2026-01-01..2026-12-31", "year", "total", "2025-01-01..2025-03-12"),
    ("2026-03-01..2026-03-12", "year", "day", "2025-03-01..2025-03-12"),
    ("2024-02-29", "year", "day", "2023-02-28"),
    ("2024-02-01..2024-02-29", "year", "month", "2023-02-01..2023-02-28"),
    ("2025-02-01..2025-02-28", "year", "month", "2024-02-01..2024-02-29"),
]


@pytest.mark.parametrize(("asked", "kind", "grain", "compared"), COMPARED)
def test_compared_ranges(asked: str, kind: str, grain: str, compared: str) -> None:
    """Whole buckets with whole buckets, an unfinished one with as many days, other days with as many before."""
    assert str(comparison(span(*asked.split("..")), kind, grain, TODAY).days) == compared


def test_an_unfinished_month_on_the_last_days_stops_at_the_end_of_a_shorter_one() -> None:
    """31 March against February: 28 days, none of them in March."""
    found = comparison(span("2026-03-01", "2026-03-30"), "previous", "month", D(2026, 3, 30))
    assert found.days == span("2026-02-01", "2026-02-28")


def test_days_stand_beside_the_same_dates_a_year_before() -> None:
    """Also across a leap day, which stands beside the 28th."""
    found = comparison(span("2024-02-28", "2024-03-01"), "year", "day", TODAY).beside
    assert list(found.values()) == [D(2023, 2, 28), D(2023, 2, 28), D(2023, 3, 1)]


@given(days, st.integers(0, 800), st.sampled_from(GRAINS), st.sampled_from(("previous", "year")))
def test_every_elapsed_bucket_stands_beside_one_of_the_compared(
    first: dt.date, length: int, grain: str, kind: str
) -> None:
    """Buckets are paired whole: both ranges have the same number of them, and each is known by its first day."""
    asked = Days(first, first + dt.timedelta(days=length))
    found = comparison(asked, kind, grain, asked.last)
    mine = [one.days.first for one in buckets(asked, grain)]
    others = {one.days.first for one in buckets(found.days, grain)}
    assert set(found.beside.values()) <= others
    assert list(found.beside) == mine[: len(found.beside)]
    if grain not in ("hour", "day", "total"):
        assert len(found.beside) == len(mine) == len(others)


@given(days, st.integers(0, 800), st.sampled_from(GRAINS), st.sampled_from(("previous", "year")))
def test_a_compared_range_lies_before(first: dt.date, length: int, grain: str, kind: str) -> None:
    """It ends before the asked one starts, unless a year back of more than a year."""
    asked = Days(first, first + dt.timedelta(days=length))
    found = comparison(asked, kind, grain, asked.last).days
    assert found.first < asked.first
    if kind == "previous":
        assert found.last < asked.first


@pytest.mark.parametrize(("kind", "grain"), [("previous", "day"), ("previous", "year"), ("year", "day")])
def test_nothing_lies_before_the_calendar(kind: str, grain: str) -> None:
    """Comparing with a range before the year 1 is refused, not a crash."""
    with pytest.raises((QueryRefused, BadDate)):
        comparison(Days(D(1, 1, 1), D(1, 12, 31)), kind, grain, TODAY)


def test_history_starts_with_the_first_fact_or_coverage() -> None:
    """``since`` comes first; a fact in the future starts nothing."""
    covered = [Covered([], D(2026, 1, 5)), Covered([], None)]
    assert history_start([D(2026, 2, 1), None], covered, None, TODAY) == D(2026, 1, 5)
    assert history_start([D(2025, 2, 1)], covered, None, TODAY) == D(2025, 2, 1)
    assert history_start([D(2025, 2, 1)], covered, D(2026, 3, 1), TODAY) == D(2026, 3, 1)
    assert history_start([D(2027, 2, 1)], [], None, TODAY) == TODAY
    assert history_start([], [], D(2030, 1, 1), TODAY) == D(2030, 1, 1)
    assert due(D(2030, 1, 1), TODAY, 7, {}) == []


def test_due_days_are_the_uncovered_and_those_looked_back_on() -> None:
    """A day is settled only when every source has folded it; today never is."""
    whole, gapped = ["2026-03-01..2026-03-11"], ["2026-03-01..2026-03-03", "2026-03-05..2026-03-11"]
    one, other = (Covered([span(*text.split("..")) for text in ranges], D(2026, 3, 1)) for ranges in (whole, gapped))
    ranges = due(D(2026, 3, 1), TODAY, 2, {"a": one, "b": other})
    assert [str(r) for r in ranges] == ["2026-03-04", "2026-03-10..2026-03-12"]
    assert due(D(2026, 3, 1), TODAY, 0, {"a": one}) == [Days(TODAY, TODAY)]
    assert due(D(2026, 3, 1), TODAY, 0, {}) == [Days(D(2026, 3, 1), TODAY)]
    assert due(TODAY, TODAY, 3660, {"a": one}) == [Days(TODAY, TODAY)]


@given(st.dictionaries(days, st.integers(1, 9), max_size=30), st.integers(1, 20))
def test_portions_cover_the_ranges_once(facts: dict[dt.date, int], limit: int) -> None:
    """No day is lost or folded twice, and only a single day may pass the limit."""
    ranges = [Days(D(1990, 1, 1), D(2020, 1, 1)), Days(D(2020, 2, 1), D(2060, 1, 1))]
    found = portions(ranges, facts, limit)
    assert found[0].first == ranges[0].first
    assert found[-1].last == ranges[-1].last
    gaps = [(a.last, b.first) for a, b in itertools.pairwise(found) if b.first - a.last != ONE_DAY]
    assert gaps == [(D(2020, 1, 1), D(2020, 2, 1))]
    for one in found:
        inside = [count for day, count in facts.items() if day in one]
        assert sum(inside) <= limit or len(inside) == 1
