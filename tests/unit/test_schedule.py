"""When a job is due: cron expressions and times of day, in zones whose clocks change."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest

from dayfold.errors import UsageError
from dayfold.schedule import Schedule, check_zone, expression

EXPECTED = 'expected a cron expression of five fields such as "*/5 * * * *", a time of day such as "01:00", or "off"'


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def due(schedule: Schedule, first: str, last: str) -> list[str]:
    """Every due moment after one and up to another, in UTC."""
    found = []
    moment: dt.datetime | None = utc(first)
    while (moment := schedule.after(moment)) is not None and moment <= utc(last):
        found.append(moment.strftime("%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(("text", "meant"), [
    ("*/5 * * * *", "*/5 * * * *"),
    ("  5   0 * * * ", "5 0 * * *"),
    ("01:00", "0 1 * * *"),
    ("23:59", "59 23 * * *"),
    ("0 2 * * MON-FRI", "0 2 * * MON-FRI"),
    ("off", None),
])  # fmt: skip
def test_a_schedule_is_a_cron_expression_or_a_time(text: str, meant: str | None) -> None:
    """Both forms are allowed wherever a schedule is."""
    assert expression(text) == meant


@pytest.mark.parametrize(("text", "message"), [
    ("24:00", EXPECTED),
    ("1:00", EXPECTED),
    ("daily", EXPECTED),
    ("", EXPECTED),
    ("0 0 1 * * *", EXPECTED),
    (5, EXPECTED),
    ("61 * * * *", f"{EXPECTED}; cron says: Bad minute"),
    ("0 0 30 2 *", f"{EXPECTED}; cron says: Bad day-of-month"),
])  # fmt: skip
def test_what_is_no_schedule_is_refused(text: object, message: str) -> None:
    """With what would be one."""
    with pytest.raises(UsageError) as refused:
        expression(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(("name", "message"), [
    ("Europe/Londn", "expected a time zone such as Europe/London; the nearest is 'Europe/London'"),
    (None, "expected a time zone such as Europe/London"),
])  # fmt: skip
def test_what_is_no_zone_is_refused(name: object, message: str) -> None:
    """With the nearest one."""
    with pytest.raises(UsageError) as refused:
        check_zone(name)
    assert str(refused.value) == message


def test_a_job_that_is_off_is_never_due() -> None:
    """Whatever the time."""
    assert Schedule("off").after(utc("2026-01-01T00:00")) is None


def test_due_is_after_the_moment_never_at_it() -> None:
    """So a slot that was claimed at its very second is not claimed again."""
    assert due(Schedule("*/5 * * * *"), "2026-03-01T00:05", "2026-03-01T00:20") == [
        "03-01 00:10", "03-01 00:15", "03-01 00:20",
    ]  # fmt: skip


@pytest.mark.parametrize(("schedule", "first", "last", "moments"), [
    # The clocks of London go forward at 01:00 UTC on 2026-03-29: 01:30 is not there, and is due when 02:00 comes.
    (Schedule("01:30", "Europe/London"), "2026-03-28T00:00", "2026-03-30T12:00", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
    (Schedule("02:00", "Europe/London"), "2026-03-28T00:00", "2026-03-30T12:00", ["03-28 02:00", "03-29 01:00", "03-30 01:00"]),
    # They go back at 01:00 UTC on 2026-10-25: 01:30 comes twice, and is due the first time.
    (Schedule("01:30", "Europe/London"), "2026-10-24T00:00", "2026-10-26T12:00", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
    # Asked from within the second time round.
    (Schedule("01:30", "Europe/London"), "2026-10-25T01:10", "2026-10-26T12:00", ["10-26 01:30"]),
    # Casablanca goes back on 2026-02-15 at 02:00 UTC (03:00 there) and forward on 2026-03-22.
    (Schedule("02:30", "Africa/Casablanca"), "2026-02-14T00:00", "2026-02-16T12:00", ["02-14 01:30", "02-15 01:30", "02-16 02:30"]),
    (Schedule("02:30", "Africa/Casablanca"), "2026-03-21T00:00", "2026-03-23T12:00", ["03-21 02:30", "03-22 02:00", "03-23 01:30"]),
    (Schedule("00:05", "UTC"), "2026-03-28T00:00", "2026-03-30T00:00", ["03-28 00:05", "03-29 00:05"]),
])  # fmt: skip
def test_a_time_of_day_is_due_once_a_day(schedule: Schedule, first: str, last: str, moments: list[str]) -> None:
    """Neither twice nor never where the zone's clocks change; moments are UTC."""
    assert due(schedule, first, last) == moments


@pytest.mark.parametrize(
    "zone", ["Europe/London", "Africa/Casablanca", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]
)
@pytest.mark.parametrize("text", ["00:00", "01:30", "02:15", "30 2 * * *"])
def test_a_daily_job_is_due_365_times_a_year(zone: str, text: str) -> None:
    """In every zone, once a day, 23 to 25 hours and the width of the gap apart."""
    moments = []
    moment: dt.datetime | None = utc("2025-12-31T23:00")
    while (moment := Schedule(text, zone).after(moment)) is not None and len(moments) < 366:
        moments.append(moment)
    gaps = {b - a for a, b in pairwise(moments)}
    assert min(gaps) >= dt.timedelta(hours=22, minutes=30)
    assert max(gaps) <= dt.timedelta(hours=25)


def test_every_five_minutes_follows_the_time_that_passes() -> None:
    """288 times a day of 24 hours, whatever the clocks of the zone do."""
    every = Schedule("*/5 * * * *", "Europe/London")
    for day in ("2026-03-29", "2026-10-25"):
        assert len(due(every, f"{day}T00:00", f"{day}T23:59")) == 287
